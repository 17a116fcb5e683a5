"""Files that are there and of a kind that can be read."""

from __future__ import annotations

import os
from pathlib import Path

from geomstats_vae.report.errors import ReportError

SUFFIXES = (".npy", ".npz", ".csv", ".tsv", ".txt", ".parquet")


def existing(path: str | os.PathLike[str], role: str, *, or_else: str = "") -> Path:
    """Check that a file is there and of a kind that can be read.

    Parameters
    ----------
    path : path-like
        The file.
    role : str
        What it is read for, for the message.
    or_else : str
        What would do beside a file, for the message.

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
    if path.suffix.lower() in SUFFIXES:
        if path.is_file():
            return path
        got = "is no file" if path.exists() else "does not exist"
        raise ReportError(
            f"Expected a file of {role}, got {str(path)!r}, which {got}; check its "
            "name and its folder."
        )
    got, remedy = repr(str(path)), "save it as one"
    if not path.exists():
        got, remedy = f"{got}, which does not exist", "check its name"
    raise ReportError(
        f"Expected a file of {role}, {', '.join(SUFFIXES)}{or_else}, got {got}; {remedy}."
    )
