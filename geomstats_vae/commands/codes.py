"""Codes with the numbers of their rows and their classes, as they stand in codes.csv."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geomstats_vae.report.errors import ReportError, first_line

FILE = "codes.csv"
# Rows that a message names.
_N_SHOWN = 5


@dataclass(frozen=True)
class Codes:
    """Latent codes of some rows of the data.

    Parameters
    ----------
    z : numpy.ndarray, shape=[n_rows, dim]
        Codes.
    rows : numpy.ndarray of int, shape=[n_rows]
        Numbers of their rows in the data, from 0, all different.
    labels : numpy.ndarray, shape=[n_rows], optional
        Classes.
    """

    z: NDArray[np.float64]
    rows: NDArray[np.int64]
    labels: np.ndarray | None = None

    def take(self, places: NDArray[np.int64]) -> Codes:
        """Take some of the codes, by their places among these."""
        labels = None if self.labels is None else self.labels[places]
        return Codes(self.z[places], self.rows[places], labels)

    def to_csv(self) -> bytes:
        """Write a line per code: row, coordinates, and label where there are any."""
        names = [f"z{k + 1}" for k in range(self.z.shape[1])]
        columns: list[Iterable[Any]] = [self.rows.tolist(), *self.z.T.tolist()]
        if self.labels is not None:
            names, columns = [*names, "label"], [*columns, self.labels.tolist()]
        return table(["row", *names], zip(*columns, strict=True))


def read_codes(path: Path, dim: int) -> Codes:
    """Read what `Codes.to_csv` wrote.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    dim : int
        Latent dimension of the model beside it.

    Returns
    -------
    codes : Codes
        The codes.

    Raises
    ------
    ReportError
        If it holds anything else.
    """
    names = ["row", *(f"z{k + 1}" for k in range(dim))]
    try:
        with path.open(encoding="utf-8", newline="") as file:
            header, *lines = csv.reader(file)
        if header not in (names, [*names, "label"]):
            raise ValueError(f"its first line is {','.join(header)!r}")
        z = np.array([line[1 : dim + 1] for line in lines], dtype=float).reshape(-1, dim)
        rows = np.array([line[0] for line in lines]).astype(np.int64)
        if not len(rows) or not np.isfinite(z).all() or len(np.unique(rows)) < len(rows):
            raise ValueError("it has no rows, the same twice, or numbers that are not finite")
        labels = np.array([line[dim + 1] for line in lines]) if len(header) > len(names) else None
    except (IndexError, OSError, ValueError) as error:
        raise ReportError(
            f"Expected codes of {dim} coordinates in {path}, beside the model, got a file that "
            f"cannot be read so ({first_line(error)}); train again, or pass the file of data with "
            "--model."
        ) from error
    return Codes(z, rows, labels)


def places_of(asked: Sequence[int], rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Find rows by their numbers.

    Parameters
    ----------
    asked : sequence of int
        Numbers of rows in the data.
    rows : numpy.ndarray of int, shape=[n_rows]
        Numbers of the rows that there are.

    Returns
    -------
    places : numpy.ndarray of int
        Where each stands among them.

    Raises
    ------
    ReportError
        If one is not there.
    """
    place = {row: k for k, row in enumerate(rows.tolist())}
    missing = [row for row in dict.fromkeys(asked) if row not in place]
    if missing:
        more = ", ..." if len(missing) > _N_SHOWN else ""
        thinned = "" if len(rows) == rows.max() + 1 else ", of which not all are here"
        raise ReportError(
            f"Expected numbers of rows from 0 to {rows.max()}{thinned}, got "
            f"{', '.join(map(str, missing[:_N_SHOWN]))}{more}; count rows from 0, without the "
            "header."
        )
    return np.array([place[row] for row in asked], dtype=np.int64)


def table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> bytes:
    """Write a table as CSV.

    Parameters
    ----------
    header : sequence of str
        Names of the columns.
    rows : iterable of sequence
        Numbers of Python, which keep all their digits, and texts.

    Returns
    -------
    content : bytes
        The file.
    """
    buffer = io.StringIO(newline="")
    csv.writer(buffer, lineterminator="\n").writerows([header, *rows])
    return buffer.getvalue().encode()
