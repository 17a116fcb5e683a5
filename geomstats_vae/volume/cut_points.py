"""Where rays stop being shortest: the cut locus, seen from one point.

Every point of a space is counted once if tangent vectors count only up to there. Along a ray the
shortest geodesics come first, so one radius for each ray says it all. A point of the ray lies
before it if its distance from the base point is the length of the ray up to there.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from geomstats_vae.geometry.fans import ROUGH_STAGE, descends_first, rough_curves
from geomstats_vae.geometry.protocol import Bools, Floats, Geometry, Ints
from geomstats_vae.volume.rays import FarTest, RayBundle

# Bisections of a ray: few where each asks for geodesics that cost, down to rounding elsewhere.
_COSTLY_ROUNDS, _CHEAP_ROUNDS = 4, 24
# A ray is no shortest geodesic if the graph path is shorter than this share of it. The graph is
# wrong by a few percent, see `PullbackDecoderMetric.dist_pairwise`.
_FAR_ON_GRAPH = 0.9
# Nor if a rough curve is shorter than this share: a few chords undercut a curve by less than the
# rest.
_ROUGHLY = 0.98


class CutRadii(NamedTuple):
    """Scaled radii up to which rays are shortest.

    Parameters
    ----------
    radii : numpy.ndarray, shape=[n_rays]
        Scaled radii; the end of a ray where no shorter curve was found.
    n_failed : int
        Geodesics that should have told but did not converge; the lengths of the curves found were
        used, which are too large, if anything.
    """

    radii: Floats
    n_failed: int


def graph_test(geometry: Geometry, base: Floats) -> FarTest | None:
    """Tell cheaply which points of rays have a much shorter curve from the base point.

    Parameters
    ----------
    geometry : Geometry
        Geometry of a space whose points are vectors.
    base : numpy.ndarray, shape=[n_features]
        Base point of the rays.

    Returns
    -------
    is_far : callable or None
        See `FarTest`. None where the geometry has no graph.
    """
    bounds = geometry.bounds
    if bounds is None or geometry.codes is None:
        return None

    def is_far(points: Floats, along: Floats) -> Bools:
        return bounds.graph_lengths(points, base[None])[:, 0] < _FAR_ON_GRAPH * along

    return is_far


def cut_radii(bundle: RayBundle) -> CutRadii:
    """Find how far rays are shortest, by bisection.

    Parameters
    ----------
    bundle : RayBundle
        Rays from a point.

    Returns
    -------
    cut : CutRadii
        Scaled radii. Where geodesics cost, a radius is the middle of an interval of 1/16 of the
        ray.
    """
    geometry, high = bundle.geometry, bundle.ends()
    n_failed = 0

    def shortest(rays: Ints, radii: Floats) -> Bools:
        nonlocal n_failed
        points, along = bundle.points_at(radii, rays), bundle.lengths(radii, rays)
        answer, failed = is_shortest(geometry, bundle.frame.base, points, along)
        n_failed += failed
        return answer

    # Just before a conjugate point, where the ray is not shortest by a rounding error only.
    rays = np.flatnonzero(high > 0.0)
    rays = rays[~shortest(rays, high[rays] * (1.0 - geometry.rtol))]
    low = np.where(np.isin(np.arange(len(high)), rays), 0.0, high)
    rounds = _CHEAP_ROUNDS if geometry.bounds is None else _COSTLY_ROUNDS
    for _ in range(rounds if len(rays) else 0):
        middle = 0.5 * (low[rays] + high[rays])
        ahead = shortest(rays, middle)
        low[rays] = np.where(ahead, middle, low[rays])
        high[rays] = np.where(ahead, high[rays], middle)
    return CutRadii(0.5 * (low + high), n_failed)


def is_shortest(
    geometry: Geometry, base: Floats, points: Floats, along: Floats
) -> tuple[Bools, int]:
    """Whether rays are shortest geodesics up to points of theirs.

    Parameters
    ----------
    geometry : Geometry
        Measures distances.
    base : numpy.ndarray, shape=[n_features] or [n, n_features]
        Base points of the rays.
    points : numpy.ndarray, shape=[n, n_features]
        Points of rays.
    along : numpy.ndarray, shape=[n]
        Lengths of the rays up to there.

    Returns
    -------
    shortest : numpy.ndarray of bool, shape=[n]
        Whether no shorter curve was found; False of points that are not finite.
    n_failed : int
        Geodesics that did not converge.
    """
    left = np.flatnonzero(np.isfinite(points).all(axis=1))
    base = np.broadcast_to(base, points.shape)
    if descends_first(geometry) and len(left):
        _, rough = rough_curves(geometry, base[left], points[left], ROUGH_STAGE)
        left = left[rough >= _ROUGHLY * along[left]]
    length, converged = geometry.lengths(base[left], points[left])
    shortest = np.zeros(len(points), dtype=bool)
    shortest[left] = length >= (1.0 - geometry.rtol) * along[left]
    return shortest, int((~converged).sum())
