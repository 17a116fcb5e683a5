"""Files that are there and of a kind that can be read."""

from __future__ import annotations

import os
from pathlib import Path

from geomstats_vae.report.errors import ReportError

_SUFFIXES = (".npy", ".npz", ".csv", ".tsv", ".txt")


def existing(path: str | os.PathLike[str], role: str) -> Path:
    """Check that a file is there and of a kind that can be read.

    Parameters
    ----------
    path : path-like
        The file.
    role : str
        What it is read for, for the message.

    Returns
    -------
    path : pathlib.Path
        The file.

    Raises
    ------
    ReportError
        If it is not.
    """
    path = Path(path)
    if path.suffix.lower() not in _SUFFIXES:
        raise ReportError(
            f"Expected a file of {role}, {', '.join(_SUFFIXES)}, got {str(path)!r}; save it as one."
        )
    if not path.is_file():
        got = "is no file" if path.exists() else "does not exist"
        raise ReportError(f"Expected a file of {role}, got {str(path)!r}, which {got}.")
    return path
