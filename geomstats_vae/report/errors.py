"""What the report says of input that it cannot use."""

from __future__ import annotations


class ReportError(ValueError):
    """Input that no report can be made of. Its message is written for the user."""


def first_line(error: Exception) -> str:
    """Return what an error says in one line.

    Parameters
    ----------
    error : Exception
        The error.

    Returns
    -------
    line : str
        The first line of its message, or its name if it has none.
    """
    return (str(error) or type(error).__name__).splitlines()[0]
