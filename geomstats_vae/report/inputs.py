"""What the report reads: data, labels, the shape of an image and a trained model."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geomstats_vae.datasets import load_digits

_MAX_CLASSES = 50


class ReportError(ValueError):
    """Input that no report can be made of. Its message is written for the user."""


@dataclass(frozen=True)
class Inputs:
    """Data for a report.

    Attributes
    ----------
    name : str
        What the data are called in the report.
    X : numpy.ndarray, shape=[n_samples, n_features]
        Samples.
    labels : numpy.ndarray, shape=[n_samples], optional
        Class of each sample.
    image_shape : tuple of int, optional
        Height and width, and three channels if any, where samples are images.
    """

    name: str
    X: NDArray[np.float64]
    labels: np.ndarray | None = None
    image_shape: tuple[int, ...] | None = None


def read_inputs(
    data: str | os.PathLike[str] | None = None,
    labels: str | os.PathLike[str] | None = None,
    image_shape: str | None = None,
) -> Inputs:
    """Read the report's input files.

    Parameters
    ----------
    data : path-like, optional
        An .npy or .csv file of samples; scikit-learn's digits without it.
    labels : path-like, optional
        An .npy or .csv file with one class per sample.
    image_shape : str, optional
        Height and width as in "8x8", or with channels as in "32x32x3".

    Returns
    -------
    inputs : Inputs
        The data.

    Raises
    ------
    ReportError
        If a file cannot be read or the parts do not fit together.
    """
    if data is None:
        if labels is not None or image_shape is not None:
            raise ReportError(
                "Expected --data with --labels or --image-shape, got none; the digits bring theirs."
            )
        digits = load_digits()
        return Inputs("handwritten digits", digits.data, digits.target, digits.image_shape)
    X = read_data(data)
    shape = None if image_shape is None else parse_image_shape(image_shape)
    if X.ndim > 2:
        shape = shape or X.shape[1:]
        X = X.reshape(len(X), -1)
    if shape is not None and np.prod(shape) != X.shape[1]:
        raise ReportError(
            f"Expected an image shape of {X.shape[1]} values, as many as {data} has columns, got "
            f"{_times(shape)} = {np.prod(shape)}; pass --image-shape HEIGHTxWIDTH to match."
        )
    classes = None if labels is None else read_labels(labels, len(X))
    return Inputs(Path(data).name, X, classes, shape)


def read_data(path: str | os.PathLike[str]) -> NDArray[np.float64]:
    """Read samples from an .npy or .csv file.

    Parameters
    ----------
    path : path-like
        The file. A first line of a .csv file that holds no number is its header.

    Returns
    -------
    X : numpy.ndarray, shape=[n_samples, n_features] or [n_samples, height, width, ...]
        Finite samples in float64, two at least.

    Raises
    ------
    ReportError
        If the file cannot be read or holds anything else.
    """
    file = _existing(path, "data", (".npy", ".csv"))
    X = _load_npy(file) if file.suffix == ".npy" else _load_csv(file)
    if X.dtype.kind not in "buif":
        raise ReportError(f"Expected real numbers in {path}, got an array of {X.dtype}.")
    if X.ndim not in (2, 3, 4) or len(X) < 2 or not X.size:
        raise ReportError(
            f"Expected at least two samples of shape [n_samples, n_features] in {path}, got shape "
            f"{list(X.shape)}; put one sample in each row."
        )
    X = X.astype(np.float64)
    bad = np.argwhere(~np.isfinite(X))
    if len(bad):
        raise ReportError(
            f"Expected finite numbers in {path}, got {len(bad)} missing, infinite or unreadable "
            f"values, the first in sample {bad[0][0] + 1}; drop or fill these samples."
        )
    return X


def read_labels(path: str | os.PathLike[str], n_samples: int) -> np.ndarray:
    """Read one class per sample from an .npy or .csv file.

    Parameters
    ----------
    path : path-like
        The file: numbers or text. A .csv file has one class per line and may have a header.
    n_samples : int
        Number of samples.

    Returns
    -------
    labels : numpy.ndarray, shape=[n_samples]
        Classes; whole numbers where all are.

    Raises
    ------
    ReportError
        If the file cannot be read, or its length or its number of classes does not fit.
    """
    file = _existing(path, "labels", (".npy", ".csv"))
    labels = _load_npy(file) if file.suffix == ".npy" else _load_lines(file, n_samples)
    if labels.dtype.kind not in "buifU":
        raise ReportError(f"Expected numbers or text in {path}, got an array of {labels.dtype}.")
    if labels.shape == (n_samples, 1):
        labels = labels[:, 0]
    if labels.shape != (n_samples,):
        raise ReportError(
            f"Expected {n_samples} labels in {path}, one per sample, got shape "
            f"{list(labels.shape)}; pass one class per row of the data."
        )
    if labels.dtype.kind == "f":
        if not np.isfinite(labels).all():
            raise ReportError(f"Expected a class for every sample in {path}, got NaN or infinity.")
        if np.array_equal(labels, labels.astype(int)):
            labels = labels.astype(int)
    n_classes = len(np.unique(labels))
    if n_classes > _MAX_CLASSES:
        raise ReportError(
            f"Expected at most {_MAX_CLASSES} classes in {path}, got {n_classes}; pass classes, "
            "not measurements."
        )
    return labels


def parse_image_shape(text: str) -> tuple[int, ...]:
    """Read an image's shape from text such as "8x8".

    Parameters
    ----------
    text : str
        Height and width, optionally followed by three channels, joined by "x".

    Returns
    -------
    shape : tuple of int
        The shape.

    Raises
    ------
    ReportError
        If the text is anything else.
    """
    if not re.fullmatch(r"[1-9]\d{0,5}x[1-9]\d{0,5}(x3)?", text):
        raise ReportError(
            f"Expected an image shape such as 8x8 or 32x32x3, got {text!r}; pass --image-shape "
            "HEIGHTxWIDTH, with x3 for colours."
        )
    return tuple(int(number) for number in text.split("x"))


def _existing(path: str | os.PathLike[str], role: str, suffixes: Sequence[str]) -> Path:
    path = Path(path)
    if path.suffix not in suffixes:
        raise ReportError(
            f"Expected a {' or '.join(suffixes)} file of {role}, got {str(path)!r}; save it as one."
        )
    if not path.is_file():
        raise ReportError(f"Expected a file of {role}, got {str(path)!r}, which does not exist.")
    return path


def _load_npy(path: Path) -> np.ndarray:
    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ReportError(
            f"Expected an array in {path}, got a file that numpy cannot read without pickle "
            f"({first_line(error)}); write it with numpy.save."
        ) from error
    if not isinstance(array, np.ndarray):
        raise ReportError(f"Expected a single array in {path}, got an archive; use numpy.save.")
    return array


def _load_csv(path: Path) -> NDArray[np.float64]:
    lines = _read_lines(path)
    if not lines:
        raise ReportError(f"Expected rows of numbers in {path}, got an empty file.")
    header = not any(_is_number(field) for field in lines[0].split(","))
    try:
        return np.genfromtxt(lines[header:], delimiter=",", dtype=np.float64, ndmin=2)
    except ValueError as error:
        raise ReportError(
            f"Expected rows of equal length separated by commas in {path}, got {_uneven(lines)}; "
            "check the file's separators."
        ) from error


def _load_lines(path: Path, n_samples: int) -> np.ndarray:
    fields = [line.strip().strip('"') for line in _read_lines(path)]
    if len(fields) == n_samples + 1:
        fields = fields[1:]
    if all(_is_number(field) for field in fields):
        return np.array(fields, dtype=float)
    return np.array(fields, dtype=str)


def _read_lines(path: Path) -> list[str]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ReportError(
            f"Expected text in {path}, got a file that cannot be read ({first_line(error)})."
        ) from error
    return [line for line in text.splitlines() if line.strip()]


def _uneven(lines: Sequence[str]) -> str:
    """Describe the first line whose number of fields differs from the first line's."""
    expected = len(lines[0].split(","))
    for number, line in enumerate(lines, start=1):
        if len(line.split(",")) != expected:
            return f"{len(line.split(','))} fields in line {number} after {expected} in line 1"
    return "text that numpy.genfromtxt does not read"


def _is_number(field: str) -> bool:
    try:
        float(field)
    except ValueError:
        return False
    return True


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


def _times(shape: Sequence[int]) -> str:
    return "x".join(str(number) for number in shape)
