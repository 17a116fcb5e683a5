"""Features brought to mean zero and standard deviation one, and back."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geomstats_vae.commands.codes import table
from geomstats_vae.report.errors import ReportError, first_line

FILE = "scaling.csv"
_HEADER = ["feature", "mean", "std"]


@dataclass(frozen=True)
class Scaling:
    """Means and standard deviations of features.

    Parameters
    ----------
    mean, std : numpy.ndarray, shape=[n_features]
        Of the data that a model was trained on; the std of a constant feature is 1.
    """

    mean: NDArray[np.float64]
    std: NDArray[np.float64]

    @classmethod
    def of(cls, X: NDArray[np.float64]) -> Scaling:
        """Measure data, shape=[n_samples, n_features]."""
        mean, std = X.mean(axis=0), X.std(axis=0)
        # The mean of equal numbers may be off by rounding.
        constant = std <= np.finfo(float).eps * len(X) * np.abs(mean)
        return cls(mean, np.where(constant, 1.0, std))

    def apply(self, X: NDArray[np.float64]) -> NDArray[np.float64]:
        """Standardise data, shape=[..., n_features]."""
        return (X - self.mean) / self.std

    def invert(self, X: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return standardised data, shape=[..., n_features], to their units."""
        return X * self.std + self.mean

    def to_csv(self, names: Sequence[str]) -> bytes:
        """Write a line per feature, with its description."""
        return table(_HEADER, zip(names, self.mean.tolist(), self.std.tolist(), strict=True))

    @classmethod
    def read(cls, path: Path, n_features: int) -> Scaling:
        """Read what `to_csv` wrote.

        Parameters
        ----------
        path : pathlib.Path
            The file.
        n_features : int
            Number of features of the model beside it.

        Returns
        -------
        scaling : Scaling
            Means and standard deviations.

        Raises
        ------
        ReportError
            If it holds anything else.
        """
        try:
            with path.open(encoding="utf-8", newline="") as file:
                header, *rows = csv.reader(file)
            if header != _HEADER:
                raise ValueError(f"its first line is {','.join(header)!r}")
            numbers = np.array([row[1:] for row in rows], dtype=float)
            if numbers.shape != (n_features, 2) or not np.isfinite(numbers).all():
                raise ValueError(f"it has numbers of shape {list(numbers.shape)}")
            if (numbers[:, 1] <= 0.0).any():
                raise ValueError("a standard deviation is not positive")
        except (OSError, ValueError) as error:
            raise ReportError(
                f"Expected means and standard deviations of {n_features} features in {path}, "
                f"beside the model, got a file that cannot be read so ({first_line(error)}); "
                "train again, or take it away if the model was trained without --standardize."
            ) from error
        return cls(numbers[:, 0], numbers[:, 1])
