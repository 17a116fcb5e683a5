"""Arrays in numpy's own files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from zipfile import BadZipFile
from zlib import error as ZlibError

import numpy as np

from geomstats_vae.report.errors import ReportError, first_line

# Names of arrays in archives, in small letters.
_SAMPLES = ("x", "data", "images", "x_train", "train_images")
_LABELS = ("y", "labels", "label", "target", "targets", "y_train", "train_labels")
SUFFIXES = (".npy", ".npz")


def load_samples(
    path: Path, wants_labels: bool = True
) -> tuple[np.ndarray, np.ndarray | None, list[str]]:
    """Load samples, and the labels beside them.

    Parameters
    ----------
    path : pathlib.Path
        An .npy file, or an .npz file with one array, or with an array of a usual name: "X", "data"
        or "images"; "y", "labels" or "target" for labels.
    wants_labels : bool
        Whether to load the labels.

    Returns
    -------
    samples : numpy.ndarray
        The samples.
    labels : numpy.ndarray or None
        Labels of the same archive.
    assumptions : list of str
        What had to be assumed.

    Raises
    ------
    ReportError
        If the file holds no array that numpy loads without pickle, or several and none of these.
    """
    with _opened(path) as arrays:
        name = _choose(path, arrays, _SAMPLES)
        other = _find(arrays, _LABELS) if wants_labels else None
        labels = None if other in (None, name) else arrays[str(other)]
        assumptions = []
        if len(arrays) > 1:
            beside = "" if labels is None else f", array {other!r} as their classes"
            assumptions.append(f"Array {name!r} is read as the samples{beside}.")
        return arrays[name], labels, assumptions


def load_labels(path: Path) -> tuple[np.ndarray, list[str]]:
    """Load labels.

    Parameters
    ----------
    path : pathlib.Path
        An .npy file, or an .npz file with one array, or with one named "y", "labels" or "target".

    Returns
    -------
    labels : numpy.ndarray
        The labels.
    assumptions : list of str
        What had to be assumed.

    Raises
    ------
    ReportError
        As `load_samples`.
    """
    with _opened(path) as arrays:
        name = _choose(path, arrays, _LABELS)
        several = len(arrays) > 1
        return arrays[name], [f"Array {name!r} is read as the classes."] if several else []


@contextmanager
def _opened(path: Path) -> Iterator[Mapping[str, np.ndarray]]:
    """Yield the arrays of a file by name. Those of an archive are loaded when asked for."""
    try:
        # numpy leaves a file open that it cannot read.
        with path.open("rb") as file:
            loaded = np.load(file, allow_pickle=False)
            yield {"": loaded} if isinstance(loaded, np.ndarray) else loaded
    except ReportError:
        raise
    except (OSError, ValueError, EOFError, BadZipFile, ZlibError) as error:
        raise ReportError(
            f"Expected an array in {path}, got a file that numpy cannot read without pickle "
            f"({first_line(error)}); write it with numpy.save."
        ) from error


def _choose(path: Path, arrays: Mapping[str, np.ndarray], names: tuple[str, ...]) -> str:
    if len(arrays) == 1:
        return next(iter(arrays))
    name = _find(arrays, names)
    if name is None:
        raise ReportError(
            f"Expected one array in {path}, or one with the name {names[0]!r} or {names[1]!r}, got "
            f"{', '.join(map(repr, arrays)) or 'none'}; write the one to read with numpy.save."
        )
    return name


def _find(arrays: Mapping[str, np.ndarray], names: tuple[str, ...]) -> str | None:
    present = {name.lower(): name for name in arrays}
    return next((present[name] for name in names if name in present), None)
