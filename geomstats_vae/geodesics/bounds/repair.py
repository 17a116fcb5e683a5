"""From any function on a mesh to a bound that holds: how steep it is, level by level.

If a function u rises along a curve from t to t + dt, the curve is at least dt / r long, where r is
the largest slope |grad u| on the level t. So the distance between two ends is at least the integral
of dt / r(t) from one to the other. That is more than the difference of u over its largest slope
anywhere, and it holds whatever u is.
"""

from __future__ import annotations

import numpy as np

from geomstats_vae.geodesics.arrays import Floats, Ints
from geomstats_vae.geodesics.bounds.lattice import Lattice


def squared_slopes(a: Floats, values: Floats, lattice: Lattice) -> Floats:
    """Evaluate g'Ag of a quadratic function at the places of each triangle.

    Parameters
    ----------
    a : array, shape=[n_triangles, n_places, 3]
        Entries 00, 01 and 11 of the inverse metric A, in barycentric coordinates.
    values : array, shape=[n_triangles, 6]
        The function at corners and middles of edges.
    lattice : Lattice
        The places.

    Returns
    -------
    square : array, shape=[n_triangles, n_places]
        Squared norms of the gradient g.
    """
    g = (values @ lattice.gradients.reshape(-1, 6).T).reshape(*a.shape[:2], 2)
    x, y = g[..., 0], g[..., 1]
    return np.asarray(a[..., 0] * x * x + 2.0 * a[..., 1] * x * y + a[..., 2] * y * y)


def largest_slopes(square: Floats, lattice: Lattice, remainder: float) -> Floats:
    """Estimate the largest slope in each triangle from those at some places.

    Parameters
    ----------
    square : array, shape=[n_triangles, n_places]
        Squared slopes.
    lattice : Lattice
        The places.
    remainder : float
        Share of the largest second difference that is added for what lies between them.

    Returns
    -------
    slope : array, shape=[n_triangles]
        What no slope in the triangle exceeds, if second differences say how much squared slopes
        bend. Where the places between the lattice's show that they do not, more is added: as much
        again.
    """
    a, b, c = lattice.triples.T
    bend = remainder * np.abs(square[:, a] - 2.0 * square[:, b] + square[:, c]).max(axis=1)
    even = square[:, : lattice.n_even].max(axis=1)
    between = square[:, lattice.n_even :].max(axis=1)
    bend = np.maximum(bend, 2.0 * (between - even))
    return np.sqrt(even + bend)


def bound_by_levels(
    values: Floats, slope: Floats, begin: float, end: float, n_levels: int
) -> tuple[float, Floats]:
    """Integrate 1 / r over the levels between the ends.

    Parameters
    ----------
    values : array, shape=[n_triangles, 6]
        The function at corners and middles of edges.
    slope : array, shape=[n_triangles]
        Its largest slope in each triangle.
    begin, end : float
        The function at the two ends.
    n_levels : int
        Intervals of levels.

    Returns
    -------
    bound : float
        Lower bound of the distance; zero if the function does not rise.
    loss : array, shape=[n_triangles]
        What each triangle costs by being steeper than 1, the steepest on some level.
    """
    loss = np.zeros(len(slope))
    if not end > begin:
        return 0.0, loss
    low, high = _ranges(values)
    scale = n_levels / (end - begin)
    # Rounding must not leave a level out.
    first = np.clip(np.floor((low - begin) * scale - 1e-6).astype(int), 0, n_levels)
    last = np.clip(np.floor((high - begin) * scale + 1e-6).astype(int) + 1, 0, n_levels)
    steepest = _steepest(first, last, slope, n_levels)
    largest = slope[steepest]
    np.add.at(loss, steepest, np.maximum(largest - 1.0, 0.0) / scale)
    with np.errstate(divide="ignore"):
        return float((1.0 / largest).sum() / scale), loss


def _ranges(values: Floats) -> tuple[Floats, Floats]:
    """Between which values a quadratic function lies: those of its Bernstein coefficients."""
    corners = values[:, :3]
    middles = 2.0 * values[:, 3:] - 0.5 * (corners + np.roll(corners, -1, axis=1))
    control = np.concatenate([corners, middles], axis=1)
    return control.min(axis=1), control.max(axis=1)


def _steepest(first: Ints, last: Ints, slope: Floats, n_levels: int) -> Ints:
    """Find the steepest triangle on each level; the function is continuous, so there is one."""
    steepest = np.zeros(n_levels, dtype=int)
    order = np.argsort(slope, kind="stable")
    for k in order[(last > first)[order]]:
        steepest[first[k] : last[k]] = k
    return steepest
