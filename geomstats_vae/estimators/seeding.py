"""Where centers start: k-means++ on any distances, and a descent on a graph that knows them all.

Draws are by inverse distribution functions over the rows in their order, so that equal random
numbers draw equal points.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.spatial import cKDTree
from sklearn.cluster import KMeans

from geomstats_vae.estimators.rows import whiten
from geomstats_vae.geodesics import LatentGraph
from geomstats_vae.geodesics.graph.dijkstra import Dijkstra
from geomstats_vae.geometry.protocol import Floats, Geometry, Ints

# The grid of the global starts is too large to be searched from every cell. One of this many nodes
# per side takes its place.
_GRID_SIZE = {2: 128, 3: 24}


class Cells(NamedTuple):
    """A few points that stand for many.

    Parameters
    ----------
    points : numpy.ndarray, shape=[n_cells, n_features]
        Averages of the cells' points.
    weights : numpy.ndarray, shape=[n_cells]
        Their total weights.
    place : numpy.ndarray of int, shape=[n_samples]
        Cell of each point.
    """

    points: Floats
    weights: Floats
    place: Ints


def gather(X: Floats, weights: Floats, n_cells: int) -> Cells:
    """Gather points in small cells of latent space.

    Parameters
    ----------
    X : numpy.ndarray, shape=[n_samples, n_features]
        Distinct points of a vector space.
    weights : numpy.ndarray, shape=[n_samples]
        Positive weights.
    n_cells : int
        Number of cells; each point is its own cell if there are not twice as many points.

    Returns
    -------
    cells : Cells
        Cells of Euclidean k-means in coordinates of unit covariance, so that no linear change of
        coordinates changes them. A cell's average lies off each of its points, but as a mean of
        many its effect is of second order in the cells' size.
    """
    if len(X) <= 2 * n_cells:
        return Cells(X, weights, np.arange(len(X)))
    white = whiten(X)
    kmeans = KMeans(n_cells, init=_evenly(white, n_cells), n_init=1, max_iter=10)
    place = np.unique(kmeans.fit_predict(white), return_inverse=True)[1]
    mass = np.bincount(place, weights).astype(float)
    points = np.stack([np.bincount(place, weights * column) / mass for column in X.T], axis=1)
    return Cells(points, mass, place)


def _evenly(X: Floats, n_rows: int) -> Floats:
    return X[np.linspace(0, len(X) - 1, n_rows).astype(int)]


def draw_rows(mass: Floats, random_state: np.random.RandomState, size: int) -> Ints:
    """Draw rows with probabilities proportional to their mass.

    Parameters
    ----------
    mass : numpy.ndarray, shape=[n_samples]
        Nonnegative; rows are equally likely if all of it is zero.
    random_state : numpy.random.RandomState
        Source of the draws.
    size : int
        Number of draws.

    Returns
    -------
    rows : numpy.ndarray of int, shape=[size]
        Rows, with replacement.
    """
    total = np.cumsum(mass if mass.any() else np.ones_like(mass))
    rows = np.searchsorted(total, random_state.uniform(size=size) * total[-1], side="right")
    return np.minimum(rows, np.flatnonzero(np.diff(total, prepend=0.0))[-1])


def draw_distinct(mass: Floats, random_state: np.random.RandomState, size: int) -> Ints:
    """Draw different rows, one after the other, with probabilities proportional to their mass.

    Parameters
    ----------
    mass : numpy.ndarray, shape=[n_samples]
        Nonnegative.
    random_state : numpy.random.RandomState
        Source of the draws.
    size : int
        Number of draws; if it exceeds the rows with mass, some repeat.

    Returns
    -------
    rows : numpy.ndarray of int, shape=[size]
        Rows.
    """
    left, rows = mass.copy(), list[int]()
    for _ in range(size):
        rows.append(int(draw_rows(left, random_state, 1)[0]))
        left[rows[-1]] = 0.0
    return np.array(rows)


def distances_to(geometry: Geometry, X: Floats, rows: Ints) -> Floats:
    """Geodesic distances of some points to all.

    Parameters
    ----------
    geometry : Geometry
        Measures them.
    X : numpy.ndarray, shape=[n_samples, n_features]
        Points.
    rows : numpy.ndarray of int, shape=[n]
        Some of them.

    Returns
    -------
    distances : numpy.ndarray, shape=[n, n_samples]
        Distances.
    """
    start, end = np.repeat(X[rows], len(X), axis=0), np.tile(X, (len(rows), 1))
    return geometry.lengths(start, end).length.reshape(len(rows), len(X))


def kmeans_plus_plus(
    distances: Callable[[Ints], Floats],
    weights: Floats,
    n_clusters: int,
    random_state: np.random.RandomState,
) -> Ints:
    """Draw centers far from each other, by greedy k-means++.

    Parameters
    ----------
    distances : callable
        Takes rows, shape=[n], and returns their distances to all, shape=[n, n_samples].
    weights : numpy.ndarray, shape=[n_samples]
        Weights of the rows.
    n_clusters : int
        Number of centers.
    random_state : numpy.random.RandomState
        Source of the draws.

    Returns
    -------
    rows : numpy.ndarray of int, shape=[n_clusters]
        Rows of the centers.

    References
    ----------
    .. [1] Arthur, Vassilvitskii. "k-means++: the advantages of careful seeding." SODA 2007,
       section 2.2; the greedy choice is that of section 4, with scikit-learn's number of trials.
    """
    rows = [int(draw_rows(weights, random_state, 1)[0])]
    closest = _squared(distances(np.array(rows)))[0]
    n_trials = 2 + int(np.log(n_clusters))
    for _ in range(1, n_clusters):
        trials = draw_rows(weights * closest, random_state, n_trials)
        candidates = np.minimum(closest, _squared(distances(trials)))
        best = int(np.argmin(candidates @ weights))
        rows.append(int(trials[best]))
        closest = candidates[best]
    return np.array(rows)


def _squared(distances: Floats) -> Floats:
    """Squares; points out of reach count as the farthest that are not."""
    finite = np.isfinite(distances)
    return np.where(finite, distances, np.max(distances, where=finite, initial=0.0)) ** 2


def _distances(graph: LatentGraph, sources: Ints) -> Floats:
    """Distances of some nodes from all, shape=[n_sources, n_nodes]."""
    search, everywhere = Dijkstra(graph.matrix), np.arange(len(graph.nodes))
    length = np.empty((len(sources), len(everywhere)))
    for row, source in enumerate(sources):
        search.search(np.array([source]), everywhere[:0])
        length[row] = search.lengths(everywhere)
    return length


class GraphKMeans:
    """k-means on a graph over a latent space, for starts.

    Centers are nodes, and each point counts at the node nearest to its cell. Then all distances are
    known from one search for each cell, and a descent costs nothing. Distances are right to several
    percent, and so are the centers.

    Parameters
    ----------
    graph : LatentGraph
        Graph over the latent space. A coarser grid is used.
    X : numpy.ndarray, shape=[n_samples, dim]
        Latent codes.
    cells : Cells
        Their cells.
    """

    def __init__(self, graph: LatentGraph, X: Floats, cells: Cells) -> None:
        size = _GRID_SIZE.get(graph.dim)
        if size is not None:
            coarse = LatentGraph(graph.immersion, graph.codes, grid_size=size)
            graph = coarse.scaled(graph.factor)
        self.X, self.nodes = X, graph.nodes
        node = cKDTree(self.nodes).query(cells.points)[1]
        self.sources, merged = np.unique(node, return_inverse=True)
        self.place = merged.ravel()[cells.place]
        self.mass = np.bincount(merged.ravel(), cells.weights)
        self.squares = _squared(_distances(graph, self.sources)).astype(np.float32)

    def rows(self, rows: Ints) -> Floats:
        """Distances of some points to all, shape=[n, n_samples]."""
        between = np.sqrt(self.squares[:, self.sources[self.place[rows]]].astype(float))
        return between[self.place].T

    def descend(self, rows: Ints, max_iter: int) -> tuple[Floats, float]:
        """Lloyd's iterations on the graph.

        Parameters
        ----------
        rows : numpy.ndarray of int, shape=[n_clusters]
            Points where centers start.
        max_iter : int
            Largest number of iterations.

        Returns
        -------
        centers : numpy.ndarray, shape=[n_clusters, dim]
            Nodes of the graph; the points themselves of clusters that lost all others.
        inertia : float
            Weighted sum of squared distances on the graph.
        """
        nodes, empty = self.sources[self.place[rows]], np.zeros(len(rows), dtype=bool)
        labels = None
        for _ in range(max_iter):
            before, labels = labels, self.squares[:, nodes].argmin(axis=1)
            if before is not None and (labels == before).all():
                break
            members = np.eye(len(rows))[labels].T * self.mass
            empty = members.sum(axis=1) == 0.0
            total = members.astype(np.float32) @ self.squares
            nodes = np.where(empty, nodes, total.argmin(axis=1))
        inertia = float(self.mass @ self.squares[:, nodes].min(axis=1))
        return np.where(empty[:, None], self.X[rows], self.nodes[nodes]), inertia
