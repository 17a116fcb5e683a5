"""Files that are written all at once or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from geomstats_vae.report.errors import ReportError


def check_writable(folder: str | os.PathLike[str]) -> Path:
    """Check that files can be written to a folder, and leave no trace.

    Parameters
    ----------
    folder : path-like
        The folder. If it does not exist, it must be possible to make it.

    Returns
    -------
    folder : pathlib.Path
        The folder.

    Raises
    ------
    ReportError
        If it cannot be written to.
    """
    folder = Path(folder)
    # The nearest folder that is there: the others will be made when there is something to write.
    present = next(
        path for path in (folder.absolute(), *folder.absolute().parents) if path.exists()
    )
    try:
        with tempfile.TemporaryFile(dir=present):
            pass
    except OSError as error:
        raise _not_writable(folder, error) from error
    return folder


def write_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write files to a folder, each of them as a whole.

    All are written beside their places first and then moved there, in their order. Whoever reads
    them, and whenever the writing is stopped, finds an old file or a new one, never half of it.

    Parameters
    ----------
    folder : pathlib.Path
        The folder; it is made if it does not exist.
    files : dict of str to bytes
        Contents by name.

    Raises
    ------
    ReportError
        If they cannot be written. Files that were there before are as they were, unless the
        fault is with a single one of them.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".unfinished-", dir=folder) as unfinished:
            for name, content in files.items():
                (Path(unfinished) / name).write_bytes(content)
            for name in files:
                os.replace(Path(unfinished) / name, folder / name)
    except OSError as error:
        raise _not_writable(folder, error) from error


def _not_writable(folder: Path, error: OSError) -> ReportError:
    return ReportError(
        f"Expected a folder to write to, got {str(folder)!r} ({error.strerror or error}); pass "
        "another --output."
    )
