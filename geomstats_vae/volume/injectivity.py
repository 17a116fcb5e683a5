"""How far geodesics from a point stay shortest: an estimate of the injectivity radius."""

from __future__ import annotations

import numpy as np

from geomstats_vae.geometry.protocol import Bools, Floats, Geometry, Ints
from geomstats_vae.volume.cut_points import is_shortest
from geomstats_vae.volume.frames import along_coordinates, frame_at

_FEWEST_DIRECTIONS = 16
# Radii tried: down to 1/64 of the largest, 2 % apart.
_OCTAVES, _PER_OCTAVE = 6, 32
# Tolerance of the distances: far below what a cut point is told by.
_TOL = 1e-4
# Norms of a unit step in latent space, where no codes say how far data go.
_FAR = 64.0


def injectivity_radii(
    geometry: Geometry,
    base: Floats,
    *,
    n_directions: int | None = None,
    max_radius: float | None = None,
) -> Floats:
    """Estimate the radii up to which exponential maps are one to one, along some geodesics.

    Parameters
    ----------
    geometry : Geometry
        Geometry of a space whose points are vectors.
    base : numpy.ndarray, shape=[n_points, n_features]
        Points.
    n_directions : int, optional
        Geodesics followed from each point, equally spaced or random; by default 16, or 4 dim if
        that is more.
    max_radius : float, optional
        Radius up to which cut points are looked for. By default the largest distance to one of the
        codes on the graph; without codes, 64 times the norm of a unit step in coordinates.

    Returns
    -------
    radius : numpy.ndarray, shape=[n_points]
        Estimates; infinity where every geodesic followed is shortest up to the largest radius, NaN
        where the metric is singular.

    Raises
    ------
    ValueError
        If n_directions or max_radius is not positive.

    Notes
    -----
    The radius is where the first of the geodesics meets a cut point: where a curve of the same
    ends is found that is shorter, or where it cannot be followed farther. It is found to 1 %, down
    to 1/64 of the largest. An estimate and no bound: nearer cut points in directions between are
    missed, and those whose shorter curve the solver does not find. A bound would ask for curvatures
    everywhere.
    """
    for name, value in (("n_directions", n_directions), ("max_radius", max_radius)):
        if value is not None and not value > 0:
            raise ValueError(f"Expected {name} > 0, got {value}.")
    if max_radius is not None:
        largest = np.full(len(base), float(max_radius))
    else:
        largest = _reach(geometry, base)
    unit = directions(geometry.dim, n_directions)
    return cut_distances(geometry.with_tol(_TOL), base, unit, largest)


def _reach(geometry: Geometry, base: Floats) -> Floats:
    """Radii within which all data lie, or some for lack of data."""
    bounds, codes = geometry.bounds, geometry.codes
    if bounds is None or codes is None or not len(base):
        return _FAR * np.sqrt(np.diagonal(geometry.metrics(base), axis1=1, axis2=2).mean(axis=1))
    lengths = bounds.graph_lengths(codes, base)
    return np.where(np.isfinite(lengths), lengths, 0.0).max(axis=0)


def directions(dim: int, n_directions: int | None = None) -> Floats:
    """Spread unit vectors over a sphere.

    Parameters
    ----------
    dim : int
        Dimension.
    n_directions : int, optional
        Number of vectors; by default 16, or 4 dim if that is more.

    Returns
    -------
    directions : numpy.ndarray, shape=[n_directions, dim]
        Equally spaced on a circle; elsewhere pairs of opposite random ones, always the same.
    """
    if dim == 1:
        return np.array([[1.0], [-1.0]])
    n_directions = n_directions or max(_FEWEST_DIRECTIONS, 4 * dim)
    if dim == 2:
        angle = 2.0 * np.pi * np.arange(n_directions) / n_directions
        return np.stack((np.cos(angle), np.sin(angle)), axis=1)
    half = np.random.default_rng(0).standard_normal((-(-n_directions // 2), dim))
    half /= np.linalg.norm(half, axis=1, keepdims=True)
    return np.concatenate((half, -half))[:n_directions]


def cut_distances(geometry: Geometry, base: Floats, unit: Floats, largest: Floats) -> Floats:
    """Estimate the distance from points to the nearest of their cut points.

    Geodesics are followed in all directions, octave by octave of radii, until one of them is not
    the shortest. The least such radius is found by bisection, for a geodesic that has ceased to be
    shortest never is so again.

    Parameters
    ----------
    geometry : Geometry
        Follows geodesics, and measures distances.
    base : numpy.ndarray, shape=[n_points, n_features]
        Points.
    unit : numpy.ndarray, shape=[n_directions, dim]
        Directions, unit vectors of orthonormal frames.
    largest : numpy.ndarray, shape=[n_points]
        Radii up to which cut points are looked for.

    Returns
    -------
    radius : numpy.ndarray, shape=[n_points]
        Distances; infinite where no cut point was found, NaN where the metric is singular.
    """
    vectors = np.full((len(base), *unit.shape[:1], base.shape[1]), np.nan)
    for k in np.flatnonzero(largest > 0.0):
        try:
            vectors[k] = along_coordinates(frame_at(geometry, base[k])).vectors(unit)
        except ValueError:  # a singular metric
            continue
    regular = np.flatnonzero(np.isfinite(vectors).all(axis=(1, 2)))
    radius = np.full(len(base), np.nan)
    spheres = _Spheres(geometry, base[regular], vectors[regular])
    top = largest[regular] / 2.0**_OCTAVES
    low, high = np.zeros_like(top), np.full_like(top, np.inf)
    open_ = np.arange(len(top))
    for _ in range(_OCTAVES + 1):
        if not len(open_):
            break
        low[open_], high[open_] = spheres.bracket(open_, low[open_], top[open_])
        open_ = open_[np.isinf(high[open_])]
        top[open_] *= 2.0
    # Below the first octave there is no geometric middle.
    with np.errstate(invalid="ignore"):
        radius[regular] = np.where(low > 0.0, np.sqrt(low * high), 0.5 * high)
    return radius


class _Spheres:
    """Geodesic spheres around some points, seen in some directions."""

    def __init__(self, geometry: Geometry, base: Floats, vectors: Floats) -> None:
        self._geometry, self._base, self._vectors = geometry, base, vectors

    def bracket(self, rows: Ints, low: Floats, top: Floats) -> tuple[Floats, Floats]:
        """Radii between which geodesics cease to be shortest; (top, infinity) if they do not."""
        n_rays = self._vectors.shape[1]
        start = np.repeat(self._base[rows], n_rays, axis=0)
        velocity = (top[:, None, None] * self._vectors[rows]).reshape(len(start), -1)
        times = 2.0 ** (np.arange(1 - _PER_OCTAVE, 1) / _PER_OCTAVE)
        points = self._geometry.points_along(start, velocity, times)

        def shortest(which: Ints, index: Ints) -> Bools:
            rays = (which[:, None] * n_rays + np.arange(n_rays)).ravel()
            ends = points[rays, np.repeat(index, n_rays)]
            along = np.repeat(top[which] * times[index], n_rays)
            answer, _ = is_shortest(self._geometry, start[rays], ends, along)
            return np.asarray(answer.reshape(len(which), n_rays).all(axis=1))

        which = np.arange(len(rows))
        before, after = np.full(len(rows), -1), np.full(len(rows), _PER_OCTAVE - 1)
        unbounded = shortest(which, after)
        which = which[~unbounded]
        while len(which):
            middle = (before[which] + after[which]) // 2
            good = shortest(which, middle)
            before[which[good]], after[which[~good]] = middle[good], middle[~good]
            which = which[after[which] - before[which] > 1]
        low = np.where(before >= 0, top * times[before], low)
        return np.where(unbounded, top, low), np.where(unbounded, np.inf, top * times[after])
