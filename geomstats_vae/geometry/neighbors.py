"""Graphs of nearest neighbors among points, with lengths that are measured elsewhere."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_matrix
from sklearn.neighbors import NearestNeighbors

from geomstats_vae.geodesics.graph.edges import join_components
from geomstats_vae.geometry.protocol import Floats, Ints


def nearest_neighbors(points: Floats, n_neighbors: int) -> tuple[Ints, Ints]:
    """Find the nearest neighbors of every point.

    Parameters
    ----------
    points : numpy.ndarray, shape=[n_points, n_coordinates]
        Points.
    n_neighbors : int
        Number of neighbors of each, fewer if there are fewer points.

    Returns
    -------
    a, b : numpy.ndarray of int, shape=[n_edges]
        Numbers of points, and of a neighbor of each.
    """
    n_neighbors = min(n_neighbors, len(points) - 1)
    if n_neighbors < 1:
        return np.zeros(0, dtype=int), np.zeros(0, dtype=int)
    nearest = NearestNeighbors(n_neighbors=n_neighbors).fit(points).kneighbors()[1]
    return np.repeat(np.arange(len(points)), n_neighbors), nearest.ravel()


def neighbor_graph(points: Floats, values: Floats, n_neighbors: int) -> csr_matrix:
    """Join every point to its nearest ones, and the parts of the graph by their shortest links.

    Parameters
    ----------
    points : numpy.ndarray, shape=[n_points, n_coordinates]
        Points, two at least.
    values : numpy.ndarray, shape=[n_points, n_features]
        What is measured along the edges.
    n_neighbors : int
        Number of neighbors of each.

    Returns
    -------
    graph : csr_matrix, shape=[n_points, n_points]
        Euclidean distances of the values at both ends; each edge is there once, for a graph
        without directions.
    """
    a, b = join_components(points, *nearest_neighbors(points, n_neighbors))
    # A zero would be no edge.
    lengths = np.linalg.norm(values[a] - values[b], axis=1) + np.finfo(float).tiny
    return csr_matrix((lengths, (a, b)), shape=(len(points),) * 2)
