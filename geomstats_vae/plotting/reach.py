"""Distances from a few points to many, as quickly as a picture allows."""

from __future__ import annotations

import geomstats.backend as gs
import numpy as np

from geomstats_vae.plotting.axes import as_array

# The graph of a decoder's metric is a grid up to this dimension, and knows distances to a percent.
_GRID_DIM = 3
METHODS = ("graph", "exact")


def distances_from(metric, centers, points, method="graph"):
    """Geodesic distances from each of a few points to each of many.

    Parameters
    ----------
    metric : geomstats.geometry.riemannian_metric.RiemannianMetric
        Metric of a space.
    centers : array-like, shape=[n_centers, dim]
        The few.
    points : array-like, shape=[n_points, dim]
        The many.
    method : str, {'graph', 'exact'}
        Take the ways on the graph of a decoder's metric, if it has a grid of latent codes, or solve
        for all geodesics.

    Returns
    -------
    distances : numpy.ndarray, shape=[n_centers, n_points]
        Distances; infinite where there is no way.

    Raises
    ------
    ValueError
        If method is neither.
    """
    check_method(method)
    centers = gs.from_numpy(as_array(centers).astype(float))
    points = gs.from_numpy(as_array(points).astype(float))
    if method == "graph" and has_grid(metric, points.shape[-1]):
        return as_array(metric.dist_broadcast(centers[:, None], points, method="graph"))
    return np.stack([as_array(metric.dist(center, points)) for center in centers])


def has_grid(metric, dim):
    """Whether a metric knows distances from a grid over latent space.

    Parameters
    ----------
    metric : geomstats.geometry.riemannian_metric.RiemannianMetric
        Metric of a space.
    dim : int
        Its dimension.

    Returns
    -------
    has_grid : bool
        True of a decoder's metric that knows codes of the data, in up to three dimensions.
    """
    metric = getattr(metric, "underlying_metric", metric)
    return getattr(metric, "points", None) is not None and dim <= _GRID_DIM


def check_method(method):
    """Raise ValueError if a method is unknown."""
    if method not in METHODS:
        raise ValueError(
            f"Expected method to be one of {', '.join(map(repr, METHODS))}, got {method!r}."
        )
