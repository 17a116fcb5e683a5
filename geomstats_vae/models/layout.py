"""Where codes begin: a layout of the data in few dimensions that keeps distances along them."""

from __future__ import annotations

import numpy as np
import scipy.linalg
from numpy.typing import NDArray
from scipy.sparse.csgraph import dijkstra
from sklearn.metrics import pairwise_distances_argmin

from geomstats_vae.geometry.neighbors import neighbor_graph

# Rows that are laid out by distances, evenly spaced ones, and their neighbours in the graph. Other
# rows take the place of the nearest of these.
_MAX_ROWS, _N_NEIGHBORS = 1000, 10


def isomap_layout(X: NDArray[np.float64], dim: int) -> NDArray[np.float64]:
    """Lay data out by Isomap: multidimensional scaling of distances along a graph of neighbors.

    Parameters
    ----------
    X : numpy.ndarray, shape=[n_samples, n_features]
        Data.
    dim : int
        Number of dimensions.

    Returns
    -------
    layout : numpy.ndarray, shape=[n_samples, dim]
        Centred points with a mean variance of one over the dimensions; zeros if all data are the
        same.

    Notes
    -----
    Parts of the data that are far from each other are joined by their shortest links ([1]_ lays
    them out one by one). Of more than 1000 rows this many are laid out, and every other one takes
    the place of the nearest of them.

    References
    ----------
    .. [1] Tenenbaum, de Silva, Langford. "A Global Geometric Framework for Nonlinear
       Dimensionality Reduction." Science 290 (2000).
    """
    rows = np.linspace(0, len(X) - 1, min(len(X), _MAX_ROWS)).astype(int)
    some = X[rows]
    layout = np.zeros((len(rows), dim))
    if len(rows) > 1:
        graph = neighbor_graph(some, some, _N_NEIGHBORS)
        squares = dijkstra(graph, directed=False) ** 2
        gram = -0.5 * (squares - squares.mean(axis=0) - squares.mean(axis=1, keepdims=True))
        gram -= gram.mean()
        n_axes = min(dim, len(rows))
        largest = (len(rows) - n_axes, len(rows) - 1)
        values, axes = scipy.linalg.eigh(gram, subset_by_index=largest)
        layout[:, :n_axes] = (axes * np.sqrt(values.clip(min=0.0)))[:, ::-1]
    scale = np.sqrt(layout.var(axis=0).mean())
    layout = (
        layout / scale if scale > np.finfo(float).eps * max(1.0, np.abs(X).max()) else 0.0 * layout
    )
    if len(rows) < len(X):
        layout = layout[pairwise_distances_argmin(X, some)]
    return layout
