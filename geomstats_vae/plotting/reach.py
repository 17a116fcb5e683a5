"""Distances from a few points to many, as exact as a picture needs them."""

from __future__ import annotations

import geomstats.backend as gs
import numpy as np
from geomstats.geometry.riemannian_metric import RiemannianMetric

from geomstats_vae.plotting.axes import Arrays, Floats, as_array

# Up to this dimension the graph of a decoder's metric is a grid, with distances to a percent.
_GRID_DIM = 3
METHODS = ("graph", "exact")


def distances_from(
    metric: RiemannianMetric, centers: Arrays, points: Arrays, method: str = "graph"
) -> Floats:
    """Measure geodesic distances from each of a few points to each of many.

    Parameters
    ----------
    metric : geomstats.geometry.riemannian_metric.RiemannianMetric
        Metric of a space.
    centers : array-like, shape=[n_centers, dim]
        The few.
    points : array-like, shape=[n_points, dim]
        The many.
    method : str, {'graph', 'exact'}
        'graph' measures paths on the graph of a decoder's metric, if it has a grid of latent
        codes. 'exact' solves for all geodesics.

    Returns
    -------
    distances : numpy.ndarray, shape=[n_centers, n_points]
        Distances; infinite where there is no path.

    Raises
    ------
    ValueError
        If method is neither.
    """
    check_method(method)
    starts = gs.from_numpy(as_array(centers).astype(float))
    ends = gs.from_numpy(as_array(points).astype(float))
    if method == "graph" and has_grid(metric, ends.shape[-1]):
        return as_array(metric.dist_broadcast(starts[:, None], ends, method="graph"))
    return np.stack([as_array(metric.dist(start, ends)) for start in starts])


def has_grid(metric: RiemannianMetric, dim: int) -> bool:
    """Tell whether a metric has a graph whose nodes are a grid over latent space.

    Parameters
    ----------
    metric : geomstats.geometry.riemannian_metric.RiemannianMetric
        Metric of a space.
    dim : int
        Its dimension.

    Returns
    -------
    has_grid : bool
        True for a decoder's metric that has codes of the data, in up to three dimensions.
    """
    metric = getattr(metric, "underlying_metric", metric)
    return getattr(metric, "points", None) is not None and dim <= _GRID_DIM


def check_method(method: str) -> None:
    """Raise ValueError if a method is unknown."""
    if method not in METHODS:
        raise ValueError(
            f"Expected method to be one of {', '.join(map(repr, METHODS))}, got {method!r}."
        )
