"""The part of a latent space that a picture shows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from geomstats_vae.plotting.axes import Arrays, Floats, as_array


@dataclass(frozen=True)
class LatentWindow:
    """Rectangle of the first two latent coordinates, the other coordinates held fixed.

    Attributes
    ----------
    low, high : numpy.ndarray, shape=[2]
        Corners of the rectangle.
    rest : numpy.ndarray, shape=[dim - 2]
        Values of the coordinates that are not drawn.
    """

    low: Floats
    high: Floats
    rest: Floats

    @classmethod
    def around(cls, codes: Arrays, margin: float = 0.08) -> LatentWindow:
        """Return the window that holds all codes.

        Parameters
        ----------
        codes : array-like, shape=[n_points, dim]
            Latent codes, dim at least two.
        margin : float
            Space left on each side, as a fraction of the codes' range.

        Returns
        -------
        window : LatentWindow
            The window; coordinates beyond the second are fixed at the codes' medians.

        Raises
        ------
        ValueError
            If there are no codes or fewer than two coordinates.
        """
        points = as_codes(codes)
        low, high = points[:, :2].min(axis=0), points[:, :2].max(axis=0)
        width = high - low
        # A coordinate without spread still needs a window of positive width.
        width = np.where(width > 0, width, max(width.max(), 1.0))
        return cls(low - margin * width, high + margin * width, np.median(points[:, 2:], axis=0))

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """The rectangle's sides.

        Returns
        -------
        extent : tuple of float
            Left, right, bottom and top, as matplotlib orders them.
        """
        return (self.low[0], self.high[0], self.low[1], self.high[1])

    def grid(self, n_points: int) -> Floats:
        """Return the centres of nearly square cells that tile the window.

        Parameters
        ----------
        n_points : int
            Cells along the longer side.

        Returns
        -------
        points : numpy.ndarray, shape=[n_rows, n_columns, dim]
            Latent points; the first row is the lowest, the first column the leftmost.
        """
        width = self.high - self.low
        n_columns, n_rows = np.maximum(np.rint(n_points * width / width.max()), 1).astype(int)
        x = self.low[0] + (np.arange(n_columns) + 0.5) * width[0] / n_columns
        y = self.low[1] + (np.arange(n_rows) + 0.5) * width[1] / n_rows
        plane = np.stack(np.meshgrid(x, y), axis=-1)
        rest = np.broadcast_to(self.rest, (n_rows, n_columns, len(self.rest)))
        return np.concatenate([plane, rest], axis=-1)


def as_codes(codes: Arrays) -> Floats:
    """Check that codes can be drawn.

    Parameters
    ----------
    codes : array-like, shape=[n_points, dim]
        Latent codes.

    Returns
    -------
    codes : numpy.ndarray, shape=[n_points, dim]
        The codes in double precision.

    Raises
    ------
    ValueError
        If there are no codes or fewer than two coordinates.
    """
    points = as_array(codes).astype(float)
    if points.ndim != 2 or points.shape[1] < 2 or not len(points):
        raise ValueError(
            f"Expected latent codes of shape [n_points, dim] with dim at least two, got "
            f"{list(points.shape)}; a picture needs two coordinates."
        )
    return points
