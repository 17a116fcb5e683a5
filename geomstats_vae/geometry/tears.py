"""Torn latent spaces: neighbors in the data whose codes lie far apart along the codes."""

from __future__ import annotations

import numpy as np
from scipy.sparse.csgraph import dijkstra

from geomstats_vae.geometry.neighbors import nearest_neighbors, neighbor_graph
from geomstats_vae.geometry.protocol import Floats

# Rows that are looked at, evenly spaced ones, and neighbours of each in the data and in the codes.
_MAX_ROWS, _N_DATA_NEIGHBORS, _N_CODE_NEIGHBORS = 1000, 4, 12
# Neighbours are torn apart if the way between their codes is more than this share of the longest
# way, and more than this many times what nine tenths of the neighbours have. Where a latent space
# of too few dimensions folds the data, many ways are long, and none stands out.
_TORN_SHARE, _TORN_RATIO, _USUAL = 0.1, 10.0, 90


def neighbor_ways(X: Floats, codes: Floats, images: Floats) -> Floats:
    """Measure how far neighbors in the data are apart along the codes.

    Parameters
    ----------
    X : numpy.ndarray, shape=[n_samples, n_features]
        Data.
    codes : numpy.ndarray, shape=[n_samples, dim]
        Their codes.
    images : numpy.ndarray, shape=[n_samples, n_features]
        The codes, decoded.

    Returns
    -------
    ways : numpy.ndarray, shape=[n_pairs]
        Length of the shortest path between the codes of each sample and of its four nearest
        neighbors in the data, as a share of the longest of all shortest paths. Paths follow the
        graph of 12 nearest codes, joined by its shortest links; an edge is as long as the decoded
        codes are apart. At most 1000 samples are looked at, evenly spaced ones.
    """
    rows = np.linspace(0, len(X) - 1, min(len(X), _MAX_ROWS)).astype(int)
    X, codes, images = X[rows], codes[rows], images[rows]
    if len(rows) < 2:
        return np.zeros(0)
    graph = neighbor_graph(codes, images, _N_CODE_NEIGHBORS)
    ways = dijkstra(graph, directed=False)
    return ways[nearest_neighbors(X, _N_DATA_NEIGHBORS)] / max(ways.max(), np.finfo(float).tiny)


def torn_share(X: Floats, codes: Floats, images: Floats) -> float:
    """Measure which share of the neighbors in the data the codes have torn apart.

    Parameters
    ----------
    X, codes, images : numpy.ndarray
        As of `neighbor_ways`.

    Returns
    -------
    share : float
        Share of the pairs of neighbors in the data whose way along the codes is more than a tenth
        of the longest one, and more than ten times the 90th percentile of these ways. So it is
        zero where the codes fold the data for want of dimensions: there many ways are long.
    """
    ways = neighbor_ways(X, codes, images)
    if not len(ways):
        return 0.0
    usual = float(np.percentile(ways, _USUAL))
    return float((ways > max(_TORN_SHARE, _TORN_RATIO * usual)).mean())
