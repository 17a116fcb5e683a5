"""Samples and what stands beside them in their file."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geomstats_vae.report.errors import ReportError
from geomstats_vae.report.reading import arrays
from geomstats_vae.report.reading.columns import split_columns
from geomstats_vae.report.reading.files import SUFFIXES, existing
from geomstats_vae.report.reading.images import ImageLayout, layout_of
from geomstats_vae.report.reading.labels import as_classes
from geomstats_vae.report.reading.pictures import read_images
from geomstats_vae.report.reading.table import read_table


@dataclass(frozen=True)
class Samples:
    """Samples of a file.

    Attributes
    ----------
    X : numpy.ndarray, shape=[n_samples, n_features]
        Finite samples in float64, two at least.
    labels : numpy.ndarray, shape=[n_samples], or None
        Class of each sample, where the file gives it.
    layout : ImageLayout or None
        How the samples are images, where their shape says so.
    assumptions : tuple of str
        What had to be assumed.
    names : tuple of str, or None
        Descriptions of the features, where they are columns of a table.
    headers : tuple of str, or None
        Names of these columns, where the table gives them.
    """

    X: NDArray[np.float64]
    labels: np.ndarray | None = None
    layout: ImageLayout | None = None
    assumptions: tuple[str, ...] = ()
    names: tuple[str, ...] | None = None
    headers: tuple[str, ...] | None = None


def read_samples(
    path: str | os.PathLike[str], wants_labels: bool = True, labels_column: str | None = None
) -> Samples:
    """Read samples from a file, or from a folder of images.

    Parameters
    ----------
    path : path-like
        An array of numpy, .npy or .npz, or a table, .csv, .tsv, .txt or .parquet, with one sample
        per row; or a folder of images, .png or .jpg, of one size.
    wants_labels : bool
        Whether to take the classes from the file, too, if it has them.
    labels_column : str, optional
        Column of a table that holds the classes: its name, or its number from 1 on.

    Returns
    -------
    samples : Samples
        What the file holds.

    Raises
    ------
    ReportError
        If the file cannot be read or holds anything else.
    """
    folder = Path(path)
    is_folder = folder.is_dir() and folder.suffix.lower() not in SUFFIXES
    file = folder if is_folder else existing(path, "data", or_else=", or a folder of images")
    is_table = not is_folder and file.suffix.lower() not in arrays.SUFFIXES
    if labels_column is not None and not is_table:
        raise ReportError(
            f"Expected a table with --labels-column, got {str(path)!r}, which has no columns with "
            "names; pass the classes by --labels FILE."
        )
    if is_folder:
        X, labels, layout, assumption = read_images(folder)
        labels = (
            as_classes(labels, len(X), str(path)) if wants_labels and labels is not None else None
        )
        return Samples(X, labels, layout, (assumption,))
    if not is_table:
        return _from_array(file, wants_labels)
    table = read_table(file)
    if len(table.values) < 2:
        raise ReportError(
            f"Expected at least two samples in {path}, got {len(table.values)}; put one sample in "
            "each row."
        )
    columns = split_columns(table, wants_labels, labels_column)
    X, labels = columns.X, columns.labels
    if labels is not None:
        labels = as_classes(labels, len(X), str(path))
    assumptions = (*table.assumptions, *columns.assumptions)
    return Samples(X, labels, None, assumptions, columns.names, columns.headers)


def _from_array(file: Path, wants_labels: bool) -> Samples:
    X, labels, assumptions = arrays.load_samples(file, wants_labels)
    if X.dtype.kind not in "buif":
        raise ReportError(f"Expected real numbers in {file}, got an array of {X.dtype}.")
    if X.ndim not in (2, 3, 4) or len(X) < 2 or not X.size:
        raise ReportError(
            f"Expected at least two samples of shape [n_samples, n_features] in {file}, got shape "
            f"{list(X.shape)}; put one sample in each row."
        )
    layout = _layout(file, X.shape[1:], assumptions)
    scale = 1.0
    if layout is not None and X.dtype == np.uint8 and X.max() > 1:
        # As those of a folder of images, so that errors and distances have one unit.
        scale = float(np.iinfo(X.dtype).max)
        assumptions.append("Pixels from 0 to 255 are divided by 255.")
    X = X.reshape(len(X), -1).astype(np.float64) / scale
    bad = np.argwhere(~np.isfinite(X))
    if len(bad):
        raise ReportError(
            f"Expected finite numbers in {file}, got {len(bad)} missing or infinite values in "
            f"{len(np.unique(bad[:, 1]))} features of {len(np.unique(bad[:, 0]))} samples, the "
            f"first in sample {bad[0][0] + 1}; drop or fill these samples."
        )
    if labels is not None:
        try:
            labels = as_classes(labels, len(X), "the array of labels")
        except ReportError as error:
            # Nobody asked for them.
            assumptions.append(f"The labels are left out: {error}")
            labels = None
    return Samples(X, labels, layout, tuple(assumptions))


def _layout(file: Path, axes: tuple[int, ...], assumptions: list[str]) -> ImageLayout | None:
    """Return how samples are images, and note it."""
    if len(axes) == 1:
        return None
    layout = layout_of(axes)
    shape = " x ".join(map(str, axes))
    if layout is None:
        raise ReportError(
            f"Expected images of 1, 3 or 4 channels in {file}, first or last, got samples of shape "
            f"{shape}; pass one row of features per sample."
        )
    if min(layout.shape[:2]) == 1:
        assumptions.append(f"Samples of shape {shape} are read as sequences, not as images.")
        return None
    assumptions.append(f"Samples of shape {shape} are read as {layout}.")
    return layout
