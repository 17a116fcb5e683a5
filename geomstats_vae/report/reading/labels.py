"""Classes of samples."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from geomstats_vae.report.errors import ReportError
from geomstats_vae.report.reading import arrays
from geomstats_vae.report.reading.delimited import number, read_delimited
from geomstats_vae.report.reading.files import existing
from geomstats_vae.report.reading.parquet import read_parquet

MAX_CLASSES = 50


def read_labels(path: Path, n_samples: int) -> tuple[np.ndarray, list[str]]:
    """Read one class per sample from a file.

    Parameters
    ----------
    path : pathlib.Path
        An array of numpy or a text file, of numbers or words. A text file has one class per line;
        it may have a header and, in a first column, an index.
    n_samples : int
        Number of samples.

    Returns
    -------
    labels : numpy.ndarray, shape=[n_samples]
        Classes; whole numbers where all are.
    assumptions : list of str
        What had to be assumed.

    Raises
    ------
    ReportError
        If the file cannot be read, or its length or its number of classes does not fit.
    """
    path = existing(path, "labels")
    if path.suffix.lower() in arrays.SUFFIXES:
        labels, assumptions = arrays.load_labels(path)
    else:
        labels, assumptions = _read_text(path, n_samples)
    return as_classes(labels, n_samples, str(path)), assumptions


def as_classes(labels: np.ndarray, n_samples: int, source: str) -> np.ndarray:
    """Check that labels are classes.

    Parameters
    ----------
    labels : numpy.ndarray, shape=[n_samples] or [n_samples, 1]
        Numbers or text.
    n_samples : int
        Number of samples.
    source : str
        Where they were read, for the message.

    Returns
    -------
    labels : numpy.ndarray, shape=[n_samples]
        Classes; whole numbers where all are.

    Raises
    ------
    ReportError
        If they are not finite, of another length, or of more than 50 classes.
    """
    if labels.dtype.kind not in "buifU":
        raise ReportError(f"Expected numbers or text in {source}, got an array of {labels.dtype}.")
    if labels.shape == (n_samples, 1):
        labels = labels[:, 0]
    if labels.shape != (n_samples,):
        raise ReportError(
            f"Expected {n_samples} labels in {source}, one per sample, got shape "
            f"{list(labels.shape)}; pass one class per row of the data."
        )
    if labels.dtype.kind == "U":
        numbers = [number(label) for label in labels]
        if None not in numbers:
            labels = np.array(numbers, dtype=float)
    if labels.dtype.kind == "f":
        if not np.isfinite(labels).all():
            raise ReportError(
                f"Expected a class for every sample in {source}, got NaN or infinity; leave these "
                "samples out."
            )
        if np.array_equal(labels, np.round(labels)) and np.abs(labels).max() < 2**53:
            labels = labels.astype(int)
    n_classes = len(np.unique(labels))
    if n_classes > MAX_CLASSES:
        raise ReportError(
            f"Expected at most {MAX_CLASSES} classes in {source}, got {n_classes}; pass classes, "
            "not measurements."
        )
    return labels


def _read_text(path: Path, n_samples: int) -> tuple[np.ndarray, list[str]]:
    is_parquet = path.suffix.lower() == ".parquet"
    text = read_parquet(path) if is_parquet else read_delimited(path, (",", ";", "\t"))
    rows = [fields for _, fields in text.rows()]
    if len({len(row) for row in rows}) > 1:
        # Signs between words, not between columns.
        rows = [[line.strip().strip('"')] for line in text.lines if line.strip()]
    assumptions = []
    if len(rows) == n_samples + 1:
        names = rows.pop(0)
        assumptions.append(f"The first line of {path}, {names[-1]!r}, is read as a name.")
    columns = np.array(rows, dtype=str)
    if columns.shape == (n_samples, 2) and len(np.unique(columns[:, 0])) == n_samples:
        assumptions.append(f"The first column of {path} is read as an index and left out.")
        columns = columns[:, 1:]
    return columns[:, 0] if columns.shape[-1] == 1 else columns, assumptions
