"""The rectangle in which a distance is bounded: curves that leave it are known to be longer.

Outside of it the metric is taken to be zero, which is true of no decoder and makes distances
smaller. So the rectangle has to be so wide that the way over its boundary is longer than a curve
that is known.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import dijkstra

from geomstats_vae.geodesics.arrays import Floats
from geomstats_vae.geodesics.bounds.options import DomainOptions
from geomstats_vae.geodesics.graph.grid import grid_directions
from geomstats_vae.geodesics.table.samples import Metric


@dataclass(frozen=True)
class Domain:
    """A rectangle around a curve.

    Parameters
    ----------
    low, high : array, shape=[2]
        Its corners.
    way : float
        Length of the shortest way from end to end over the outside, as a share of the curve's:
        an estimate from a coarse grid.
    """

    low: Floats
    high: Floats
    way: float


def find_domain(metric: Metric, curve: Floats, length: float, options: DomainOptions) -> Domain:
    """Choose the smallest rectangle that is wide enough, or the best.

    Parameters
    ----------
    metric : callable
        Takes points, shape=[n_points, 2]; returns finite matrices, shape=[n_points, 2, 2].
    curve : array, shape=[n_points, 2]
        Points of a curve, from end to end.
    length : float
        Its length.
    options : DomainOptions
        What is tried.

    Returns
    -------
    domain : Domain
        The rectangle.
    """
    low, high = curve.min(axis=0), curve.max(axis=0)
    (a, b), c = np.diagonal(metric(curve), axis1=1, axis2=2).T, metric(curve)[:, 0, 1]
    # How far a curve of this length leads in the metric at most of the curve's points.
    with np.errstate(divide="ignore", invalid="ignore"):
        inverse = np.stack([b, a]) / np.maximum(a * b - c * c, 0.0)
    reach = length * np.sqrt(np.nanmedian(np.where(np.isnan(inverse), np.inf, inverse), axis=1))
    reach = np.minimum(reach, options.widest * (high - low).max())
    best: Domain | None = None
    for margin in options.margins:
        corners = low - margin * reach, high + margin * reach
        domain = Domain(*corners, _way_outside(metric, *corners, curve, options) / length)
        if best is None or domain.way > best.way:
            best = domain
        if domain.way >= options.way:
            break
    assert best is not None
    return best


def _way_outside(
    metric: Metric, low: Floats, high: Floats, curve: Floats, options: DomainOptions
) -> float:
    """Length of the shortest way from one end to the boundary, and from there to the other."""
    size, shape = options.grid_size, (options.grid_size,) * 2
    axes = [np.linspace(a, b, size) for a, b in zip(low, high, strict=True)]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 2)
    metrics, index = metric(points), np.arange(size * size).reshape(shape)
    edges, lengths = [], []
    for offset in grid_directions(2, options.reach):
        near = tuple(slice(max(0, -k), size - max(0, k)) for k in offset)
        far = tuple(slice(max(0, k), size - max(0, -k)) for k in offset)
        a, b = index[near].ravel(), index[far].ravel()
        step = points[b] - points[a]
        sides = [np.einsum("nij,ni,nj->n", metrics[k], step, step) for k in (a, b)]
        edges.append(np.stack([a, b]))
        lengths.append(0.5 * sum(np.sqrt(np.maximum(side, 0.0)) for side in sides))
    a, b = np.concatenate(edges, axis=1)
    # Edges of no length would not be there.
    weights = np.maximum(np.concatenate(lengths), np.finfo(float).tiny)
    graph = sparse.csr_matrix((weights, (a, b)), shape=(len(points),) * 2)
    ends = [np.argmin((((points - end) / (high - low)) ** 2).sum(axis=1)) for end in curve[[0, -1]]]
    distance = dijkstra(graph, directed=False, indices=ends)
    edge = np.concatenate([index[0], index[-1], index[:, 0], index[:, -1]])
    return float(distance[:, edge].min(axis=1).sum())
