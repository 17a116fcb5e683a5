"""Where rays stop being shortest: the cut locus, seen from one point.

Every point of a space is counted once if tangent vectors count only up to there. Along a ray the
shortest geodesics come first, so one radius per ray says it all, and a point of the ray tells on
which side of it it lies: whether it is nearer to the base point than the ray is long.
"""

from __future__ import annotations

from typing import NamedTuple

import geomstats.backend as gs
import numpy as np

from geomstats_vae.manifolds.rows import decoder_metric

# Lengths are solved for to far less; closed forms lose half of the digits near a cut locus.
_EXACT_RTOL, _SOLVED_RTOL = 1e-6, 3e-4
_EXACT_ROUNDS, _SOLVED_ROUNDS = 24, 4
# The graph's error, with room to spare: see PullbackDecoderMetric.dist_pairwise. A ray this much
# longer than the way on the graph is no shortest geodesic.
_FAR_ON_GRAPH = 0.9


class CutRadii(NamedTuple):
    """Scaled radii up to which rays are shortest.

    Parameters
    ----------
    radii : numpy.ndarray, shape=[n_rays]
        Scaled radii; the end of a ray where no shorter way was found.
    n_failed : int
        Geodesics that should have told but did not converge; the lengths of the curves found were
        used, which are too large, if anything.
    """

    radii: np.ndarray
    n_failed: int


def graph_filter(space, base):
    """Tell cheaply which points of rays have a much shorter way from the base point.

    Parameters
    ----------
    space : geomstats.geometry.manifold.Manifold
        Equipped space.
    base : numpy.ndarray, shape=[n_features]
        Base point of the rays.

    Returns
    -------
    is_far : callable or None
        Takes points, shape=[n, n_features], and their distances along rays, shape=[n]; True says
        that a ray is longer than a shortest geodesic. None where the metric has no graph.
    """
    lengths = graph_lengths(space, base)
    if lengths is None:
        return None
    return lambda points, along: lengths(points) < _FAR_ON_GRAPH * along


def graph_lengths(space, base):
    """Lengths on the graph of global starts, as a function of end points.

    Parameters
    ----------
    space : geomstats.geometry.manifold.Manifold
        Equipped space.
    base : numpy.ndarray, shape=[n_features]
        Start of the ways.

    Returns
    -------
    lengths : callable or None
        Takes points, shape=[n, n_features]; None where the metric has no graph.
    """
    metric, factor = decoder_metric(space.metric)
    if metric is None or metric.points is None:
        return None

    def lengths(points):
        ends = gs.from_numpy(np.array(points, dtype=float))
        ways = metric.dist_broadcast(gs.from_numpy(base[None].copy()), ends, method="graph")
        return factor * np.reshape(gs.to_numpy(ways), len(points))

    return lengths


def cut_radii(geometry, frame, fan):
    """Find how far rays are shortest, by bisection.

    Parameters
    ----------
    geometry : RowGeometry
        Distances.
    frame : TangentFrame
        Frame at the base point.
    fan : Fan
        Rays from there.

    Returns
    -------
    cut : CutRadii
        Scaled radii. Where geodesics are solved for, and so cost, a radius is the middle of an
        interval of 1/16 of the ray.
    """
    high = fan.ends()
    norms = np.linalg.norm(fan.directions, axis=1)
    n_failed = 0

    def shortest(rays, radii):
        nonlocal n_failed
        points = fan.points_at(radii, rays)
        answer, failed = is_shortest(geometry, frame, points, radii * norms[rays])
        n_failed += failed
        return answer

    # Just before a conjugate point, where the ray is not shortest by a rounding error only.
    rays = np.flatnonzero(high > 0.0)
    rays = rays[~shortest(rays, high[rays] * (1.0 - _rtol(geometry)))]
    low = np.where(np.isin(np.arange(len(high)), rays), 0.0, high)
    rounds = _SOLVED_ROUNDS if geometry.solves else _EXACT_ROUNDS
    for _ in range(rounds if len(rays) else 0):
        middle = 0.5 * (low[rays] + high[rays])
        ahead = shortest(rays, middle)
        low[rays] = np.where(ahead, middle, low[rays])
        high[rays] = np.where(ahead, high[rays], middle)
    return CutRadii(0.5 * (low + high), n_failed)


def is_shortest(geometry, frame, points, along):
    """Whether rays are shortest geodesics up to points of theirs.

    Parameters
    ----------
    geometry : RowGeometry
        Distances.
    frame : TangentFrame
        Frame at the base point of the rays.
    points : numpy.ndarray, shape=[n, n_features]
        Points of rays.
    along : numpy.ndarray, shape=[n]
        Lengths of the rays up to there.

    Returns
    -------
    shortest : numpy.ndarray of bool, shape=[n]
        Whether no shorter way was found.
    n_failed : int
        Geodesics that did not converge.
    """
    length, converged = geometry.dist(frame.base, points)
    return length >= (1.0 - _rtol(geometry)) * along, int((~converged).sum())


def _rtol(geometry):
    return _SOLVED_RTOL if geometry.solves else _EXACT_RTOL
