"""What the report is made of: data, labels and the layout of images."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geomstats_vae.datasets import load_digits, make_rotated_digit
from geomstats_vae.report.errors import ReportError
from geomstats_vae.report.reading import (
    ImageLayout,
    parse_image_shape,
    read_labels,
    read_samples,
)

# Names of the samples that come with the package.
SAMPLES = ("digits", "rotation")
# Degrees in a class of rotated images.
_SECTOR = 30


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
    layout : ImageLayout, optional
        How the values of a sample lie in an image, where samples are images.
    assumptions : tuple of str
        What had to be assumed to read them, in sentences.
    names : tuple of str, optional
        Descriptions of the features, where they are columns of a table.
    headers : tuple of str, optional
        Names of these columns, where the table gives them.
    """

    name: str
    X: NDArray[np.float64]
    labels: np.ndarray | None = None
    layout: ImageLayout | None = None
    assumptions: tuple[str, ...] = ()
    names: tuple[str, ...] | None = None
    headers: tuple[str, ...] | None = None


def read_inputs(
    data: str | os.PathLike[str] | None = None,
    labels: str | os.PathLike[str] | None = None,
    image_shape: str | None = None,
    sample: str | None = None,
    labels_column: str | None = None,
) -> Inputs:
    """Read the input files of a report, or of another command.

    Parameters
    ----------
    data : path-like, optional
        A file of samples: .npy, .npz, .csv, .tsv, .txt or .parquet, or a folder of images; without
        it `sample` is taken.
    labels : path-like, optional
        A file with one class per sample. Without it classes are taken from the data's file, if it
        has them.
    image_shape : str, optional
        Height and width as in "8x8", or with channels as in "32x32x3" or "3x32x32".
    sample : str, {'digits', 'rotation'}, optional
        Data that come with the package: scikit-learn's digits, the default, or one of them rotated
        by 0 to 300 degrees, with classes of 30 degrees.
    labels_column : str, optional
        Column of a table that holds the classes, in place of `labels`: its name, or its number
        from 1 on.

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
        if any(part is not None for part in (labels, image_shape, labels_column)):
            raise ReportError(
                "Expected a file of data with --labels, --labels-column or --image-shape, got "
                "none; pass the file. The samples that come with the package bring theirs."
            )
        return _sample(sample or "digits")
    if sample is not None:
        raise ReportError(
            f"Expected a file of data or --sample, got both {os.fspath(data)!r} and {sample!r}; "
            "leave one out."
        )
    if labels is not None and labels_column is not None:
        raise ReportError(
            f"Expected classes from one place, got --labels {os.fspath(labels)!r} and "
            f"--labels-column {labels_column!r}; leave one out."
        )
    given = None if image_shape is None else parse_image_shape(image_shape)
    samples = read_samples(data, labels is None, labels_column)
    classes, assumptions = samples.labels, list(samples.assumptions)
    if given is not None and np.prod(given.axes) != samples.X.shape[1]:
        raise ReportError(
            f"Expected an image shape of {samples.X.shape[1]} values, as many as a sample of "
            f"{data} has, got {_times(given.axes)} = {np.prod(given.axes)}; pass --image-shape "
            "HEIGHTxWIDTH to match."
        )
    if labels is not None:
        classes, assumed = read_labels(Path(labels), len(samples.X))
        assumptions += assumed
    layout = _layout(given, samples.layout)
    if layout is given and given is not None and samples.layout is not None:
        assumptions.append(f"They are drawn as {given}, as --image-shape says.")
    name = Path(data).name or Path(data).resolve().name
    described = samples.names, samples.headers
    return Inputs(name, samples.X, classes, layout, tuple(assumptions), *described)


def _sample(name: str) -> Inputs:
    if name == "digits":
        digits = load_digits()
        square = ImageLayout(digits.image_shape)
        return Inputs("handwritten digits", digits.data, digits.target, square)
    rotations = make_rotated_digit(random_state=0)
    classes = (rotations.target // _SECTOR).astype(int) * _SECTOR
    square = ImageLayout(rotations.image_shape)
    return Inputs("one digit, rotated", rotations.data, classes, square)


def _layout(given: ImageLayout | None, found: ImageLayout | None) -> ImageLayout | None:
    """Return the layout to draw. The order of axes in the file holds where it fits the shape."""
    if given is None or (found is not None and found.shape == given.shape):
        return found
    return given


def _times(axes: Sequence[int]) -> str:
    return "x".join(str(number) for number in axes)
