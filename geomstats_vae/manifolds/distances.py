"""Distances between many points: functions of a decoder's metric that are its methods."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import geomstats.backend as gs
import numpy as np
import torch

from geomstats_vae.geodesics import GeodesicStatus
from geomstats_vae.geodesics.bounds import DistanceBounds, StretchOptions
from geomstats_vae.geodesics.deadline import check_seconds
from geomstats_vae.geometry.distance_bounds import distance_bounds
from geomstats_vae.geometry.members import member_geometries, member_lengths
from geomstats_vae.manifolds.arrays import Array, symmetric_matrix, to_backend


def dist_pairwise(
    metric: Any,
    points: Array,
    n_jobs: int | None = 1,
    *,
    method: str = "exact",
    verbose: bool = False,
    **joblib_kwargs: Any,
) -> Array:
    """Distances between all pairs of points, each pair solved once.

    Parameters
    ----------
    points : array-like, shape=[n_points, dim]
        Points in latent space.
    n_jobs : int, optional
        Blocks of pairs solved at a time, as joblib understands it; 1 works in this process.
    method : str, {'exact', 'graph'}
        Solve for geodesics, or take the shortest paths on the graph of global starts, or
        straight lines where they are shorter; the metric must have points. Graph distances are
        not differentiable; the guide says how far they are from exact ones.
    verbose : bool
        Show a progress bar, in pairs.
    **joblib_kwargs : dict
        Further arguments of `joblib.Parallel`.

    Returns
    -------
    dist : array-like, shape=[n_points, n_points]
        Symmetric matrix of distances.

    Raises
    ------
    ValueError
        If points are no rows, method is neither, or there is no graph.
    """
    points = to_backend(points, "points")
    metric._enter(points=points)  # refuses what are no codes
    if points.ndim != 2:
        raise ValueError(
            f"Expected points of shape [n_points, {metric._space.dim}], got "
            f"{list(points.shape)}; pass one row per point."
        )
    rows, columns = np.triu_indices(len(points), 1)
    options = {"method": method, "n_jobs": n_jobs, "verbose": verbose}
    lengths = metric._lengths(points[rows], points[columns], **options, options=joblib_kwargs)
    return symmetric_matrix(lengths, len(points))


def dist_broadcast(
    metric: Any,
    point_a: Array,
    point_b: Array,
    n_jobs: int | None = 1,
    *,
    method: str = "exact",
    verbose: bool = False,
    **joblib_kwargs: Any,
) -> Array:
    """Distances between points of the same index, or all pairs if the numbers differ.

    Parameters
    ----------
    point_a, point_b : array-like, shape=[n_points_a, dim], shape=[n_points_b, dim] or [dim]
        Points in latent space.
    n_jobs : int, optional
        Blocks of pairs solved at a time, as of `dist_pairwise`.
    method : str, {'exact', 'graph'}
        As of `dist_pairwise`.
    verbose : bool
        Show a progress bar, in pairs.
    **joblib_kwargs : dict
        Further arguments of `joblib.Parallel`.

    Returns
    -------
    dist : array-like, shape=[n_points] or [n_points_a, n_points_b]
        Distances.
    """
    a, b = to_backend(point_a, "points"), to_backend(point_b, "other_points")
    if a.ndim == b.ndim == 2 and len(a) != len(b) and 1 not in (len(a), len(b)):
        a = a[:, None]
    options = {"method": method, "n_jobs": n_jobs, "verbose": verbose}
    return metric._lengths(a, b, **options, options=joblib_kwargs)


def dist_members(
    metric: Any,
    point_a: Array,
    point_b: Array,
    n_jobs: int | None = 1,
    *,
    verbose: bool = False,
    **joblib_kwargs: Any,
) -> Array:
    """Distances in the metric of each decoder of an ensemble: they show how far the decoders agree.

    Their standard deviation over their mean is the coefficient of variation of a distance. The
    distance in the ensemble's own metric is at least their root mean square, for one curve has to
    be short in all metrics at once.

    Parameters
    ----------
    point_a, point_b : array-like, shape=[..., dim]
        Points in latent space.
    n_jobs : int, optional
        Blocks of pairs solved at a time, as of `dist_pairwise`.
    verbose : bool
        Show a progress bar for each member, in pairs.
    **joblib_kwargs : dict
        Further arguments of `joblib.Parallel`.

    Returns
    -------
    dist : array-like, shape=[..., n_members]
        Distances, in the units of the data. Not differentiable.

    Raises
    ------
    ValueError
        If the metric's decoder is no `EnsembleDecoder`.

    Notes
    -----
    Each member is solved by itself, with the metric's solver and global starts on a graph of its
    own over the metric's points. The graphs are built by the first call, which takes a second or
    two per member, and kept.

    Members on one encoder agree much better than new trainings do: for those see
    `geomstats_vae.models.distances_over_trainings`.
    """
    (a, b), origin = metric._enter(points=point_a, other_points=point_b)
    working = {"n_jobs": n_jobs, "verbose": verbose, "options": joblib_kwargs}
    geometry = metric.geometry.working(**working)
    with origin.recording():
        length, status = member_lengths(member_geometries(geometry, metric._member_graphs), a, b)
    metric._report(status.ravel(), GeodesicStatus, "geodesics of the members")
    return replace(origin, requires_grad=False).give(length)


def dist_bounds(
    metric: Any,
    point_a: Array,
    point_b: Array,
    *,
    rtol: float = 1e-2,
    max_seconds: float | None = 60.0,
    options: StretchOptions | None = None,
    verbose: bool = False,
) -> DistanceBounds:
    """Bound distances from both sides: a curve from above, what no curve undercuts from below.

    A geodesic is known to be stationary, and `dist` does not prove that no other curve is shorter.
    In two dimensions this does, up to the gap between the bounds: the lower bound is the difference
    of a function that no curve can climb faster than at unit speed. See the notes for what is
    proved, and what is estimated.

    Parameters
    ----------
    point_a, point_b : array-like, shape=[..., dim]
        Points in latent space.
    rtol : float
        Relative gap, 1 - lower / upper, between 0 and 1, at which bounds are good enough.
    max_seconds : float, optional
        Limit of time for all pairs, each of which may take an equal share of what is left when it
        is begun; None is no limit. A step that was begun is ended: seconds on the largest meshes.
    options : StretchOptions, optional
        How lower bounds are found.
    verbose : bool
        Show a progress bar, in pairs, with the gap and the number of triangles.

    Returns
    -------
    bounds : DistanceBounds
        ``lower`` and ``upper``, array-like of shape=[...], in the units of the data; ``status``,
        a `BoundStatus` of each pair; ``gap`` and ``tight``. Not differentiable. There are no
        warnings: what is not tight says why. An interrupt by the keyboard while bounds are made
        better ends the call, and the best ones until then are returned.

    Raises
    ------
    ValueError
        If points, rtol or max_seconds are not as described.

    Notes
    -----
    Upper bounds are lengths of the curves that `dist` finds, times one plus their relative
    ``length_error``, which estimates how well they are measured. Where the bounds stay apart in two
    dimensions, shorter curves are looked for along the meshes, and upper bounds may be less than
    `dist`.

    Lower bounds are at least the distance in data space, which is proved. In one dimension they are
    sums of such chords of the interval, which is proved, too. In more than two they are no better
    than the distance in data space.

    In two dimensions a function u, quadratic on each of many triangles, is made to rise as far as
    it can from one point to the other, while |grad u| <= 1 in the inverse metric ([1]_). The
    triangles are refined where it falls short. It is constant outside of a rectangle, as if the
    metric were zero there, so that curves are bounded wherever they run. From |grad u| at 19 places
    of each triangle the bound follows exactly, whatever the optimisation did, if |grad u| is no
    larger between them than second differences there say. That is an estimate: no interval
    arithmetic bounds the decoder. Where nothing is refined, places are a hundredth of a side of the
    rectangle apart, which reaches beyond the curve by 0.03 to 5 times its length. A valley of the
    metric that is narrower can be missed. Then the lower bound is above the distance, and neither
    gap nor status says so: with Gaussian valleys of a standard deviation of 1e-3 of the side it was
    10 % too large, with one of 4e-5 that of the metric without the valley. More ``cells`` in the
    options see narrower ones. Of decoders that are not known to be smooth, more is added for what
    lies between. Where the metric is not finite it is taken to be zero; where it is singular, it is
    raised by a share of 1e-12, and the bound lowered by what that costs curves of up to eight sides
    of the rectangle.

    References
    ----------
    .. [1] Edelstein, Guillen, Solomon, Ben-Chen. "A Convex Optimization Framework for Regularized
       Geodesic Distances." SIGGRAPH 2023. arXiv:2305.13101.

    Examples
    --------
    >>> bounds = space.metric.dist_bounds(codes[0], codes[1], rtol=1e-3)
    >>> bounds.lower <= bounds.upper
    True
    """
    check_seconds(max_seconds)
    (a, b), origin = metric._enter(points=point_a, other_points=point_b)
    working: dict[str, Any] = {"rtol": rtol, "max_seconds": max_seconds, "options": options}
    with origin.recording(), torch.no_grad():
        bounds = distance_bounds(metric.geometry, a, b, verbose=verbose, **working)
    return bounds.map(replace(origin, requires_grad=False).give)


def diameter(metric: Any, points: Array) -> Array:
    """Largest distance between two of some points, shape=[n_points, dim]; a number."""
    points = to_backend(points, "points")
    rows, columns = np.triu_indices(len(points), 1)
    lengths = metric._lengths(points[rows], points[columns])
    return lengths.max() if len(rows) else points.sum() * 0.0


def closest_neighbor_index(metric: Any, point: Array, neighbors: Array) -> Array:
    """Index of the closest of some neighbors, shape=[n_neighbors, dim], for each point."""
    point, neighbors = to_backend(point, "points"), to_backend(neighbors, "neighbors")
    if neighbors.ndim != 2 or len(neighbors) == 0:
        raise ValueError(
            f"Expected neighbors of shape [n_neighbors > 0, {metric._space.dim}], got "
            f"{list(neighbors.shape)}; pass one row per neighbor."
        )
    return gs.argmin(metric.dist(point[..., None, :], neighbors), axis=-1)
