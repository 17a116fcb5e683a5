"""Distances between many points: functions of a decoder's metric that are its methods."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import geomstats.backend as gs
import numpy as np

from geomstats_vae.geodesics import GeodesicStatus
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
