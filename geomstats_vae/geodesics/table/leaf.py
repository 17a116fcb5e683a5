"""Parts of the box of a table."""

from __future__ import annotations

import math

import numpy as np

from geomstats_vae.geodesics.arrays import Floats, Ints


class Leaf:
    """A part of the box, and the splines on it.

    Parameters
    ----------
    origin, size : array, shape=[dim]
        Its lower corner and its sides.
    halvings : int
        How often the block it belongs to was halved.
    place : array of int, shape=[dim]
        Its place among parts of this size.

    Attributes
    ----------
    coefficients : array or None
        Of the splines; None where there are none.
    error : float
        Largest relative error of the metric that was seen.
    children : list of Leaf
        Its parts, if it was halved.
    """

    def __init__(
        self,
        origin: Floats,
        size: Floats,
        halvings: int,
        place: Ints,
    ) -> None:
        self.origin, self.size, self.halvings, self.place = origin, size, halvings, place
        self.coefficients: Floats | None = None
        self.error, self.children = math.inf, list[Leaf]()

    def n_held(self, points: Floats) -> int:
        """Count the points that lie in it."""
        inside = (points >= self.origin) & (points <= self.origin + self.size)
        return int(inside.all(axis=1).sum())

    def halve(self) -> list[Leaf]:
        """Make the children; bit k of their places says on which side of axis k they lie."""
        half, dim = 0.5 * self.size, len(self.size)
        for place in range(2**dim):
            side = np.array([place >> k & 1 for k in range(dim)])
            child = Leaf(self.origin + side * half, half, self.halvings + 1, 2 * self.place + side)
            self.children.append(child)
        self.coefficients = None
        return self.children


def lattice(axis: Ints, dim: int) -> Ints:
    """Make a lattice with the same coordinates along each axis.

    Parameters
    ----------
    axis : array of int, shape=[n]
        Coordinates.
    dim : int
        Number of axes.

    Returns
    -------
    points : array of int, shape=[n ** dim, dim]
        Points, in C order.
    """
    return np.stack(np.meshgrid(*[axis] * dim, indexing="ij"), axis=-1).reshape(-1, dim)


def relative_errors(exact: Floats, found: Floats) -> Floats:
    """Norms of the errors of metric matrices, relative to the metric.

    Parameters
    ----------
    exact, found : array, shape=[n_points, dim, dim]
        Matrices.

    Returns
    -------
    error : array, shape=[n_points]
        Norms; infinite where the exact matrix is no metric.
    """
    diagonal = np.diagonal(exact, axis1=1, axis2=2)
    known = np.asarray(np.isfinite(np.concatenate((exact, found), axis=2)).all(axis=(1, 2)))
    known &= (diagonal > 0.0).all(axis=1)
    # Coordinates may have very different scales.
    root = np.sqrt(diagonal[known])
    scale = root[:, :, None] * root[:, None, :]
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        exact, error = exact[known] / scale, (found[known] - exact[known]) / scale
        usable = np.isfinite(np.concatenate((exact, error), axis=2)).all(axis=(1, 2))
    # Cholesky's method fails within rounding of a singular matrix.
    usable[usable] = np.linalg.eigvalsh(exact[usable])[:, 0] > 1e-15 * exact.shape[1]
    known[known] = usable
    off = np.full(len(known), np.inf)
    factor = np.linalg.cholesky(exact[usable])
    half = np.linalg.solve(factor, error[usable])
    both = np.linalg.solve(factor, half.transpose(0, 2, 1))
    off[known] = np.linalg.norm(both, axis=(1, 2))
    return off
