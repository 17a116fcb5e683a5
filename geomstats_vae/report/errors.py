"""What the report and the command line say of input that they cannot use."""

from __future__ import annotations


class ReportError(ValueError):
    """Input that a report or a command cannot use. Its message is written for the user."""


def first_line(error: Exception, of_file: bool = False) -> str:
    """Return what an error says in one line.

    Parameters
    ----------
    error : Exception
        The error.
    of_file : bool
        Whether the file that it concerns is named already.

    Returns
    -------
    line : str
        The first line of its message, or its name if it has none.
    """
    if of_file and isinstance(error, FileNotFoundError):
        return "no such file"
    return (str(error) or type(error).__name__).splitlines()[0]
