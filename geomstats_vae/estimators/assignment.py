"""The nearest of a few centers for each point, by as few geodesics as the answer needs.

Where geodesics are solved for, each costs milliseconds, and most centers of most points can be
ruled out without one: by the triangle inequality from distances that are known (Elkan, "Using the
triangle inequality to accelerate k-means", ICML 2003, lemmas 1 and 2), by chords in data space,
which no curve undercuts, and by the distances on the graph of the metric's global starts. Those
bounds only decide where they are clear. What is left is solved for, so the answer is that of all
geodesics.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from geomstats_vae.estimators.estimates import chords, graph_distances
from geomstats_vae.manifolds.rows import Geodesics

# Share by which a bound must exceed a distance. Lengths are certified to the solver's rtol, 1e-3,
# each. Distances on the graph have been seen to exceed exact ones by 9 % in two dimensions, and by
# more in many: how much is learnt from the pairs that are solved, and this is added.
_SLACK, _GRAPH_SLACK = 2e-3, 0.05
# All distances to this many centers, or between so many points, are held at once.
_PAIRS_AT_ONCE = 2**20


class Assignment(NamedTuple):
    """The nearest center of each point.

    Parameters
    ----------
    centers : numpy.ndarray, shape=[n_clusters, n_features]
        Centers.
    labels : numpy.ndarray of int32, shape=[n_samples]
        Index of each point's nearest center; the first of several.
    geodesics : Geodesics
        From each point's nearest center to the point.
    """

    centers: np.ndarray
    labels: np.ndarray
    geodesics: Geodesics


class Assigner:
    """Assigns the same points to centers that move.

    Parameters
    ----------
    geometry : RowGeometry
        Measures and connects points.
    X : numpy.ndarray, shape=[n_samples, n_features]
        Points.
    sparing : bool
        Whether bounds may rule centers out where geodesics are solved for.
    """

    def __init__(self, geometry, X, *, sparing=True):
        self.geometry, self.X = geometry, X
        self.sparing = sparing and geometry.solves
        self._centers, self._bounds = None, None

    def __call__(self, centers, labels=None, geodesics=None):
        """Assign each point to its nearest center.

        Parameters
        ----------
        centers : numpy.ndarray, shape=[n_clusters, n_features]
            Centers.
        labels : numpy.ndarray of int, shape=[n_samples], optional
            A guess, such as the assignment before the centers moved.
        geodesics : Geodesics, optional
            From the guessed centers to the points; both or neither.

        Returns
        -------
        assignment : Assignment
            Nearest centers; they do not depend on the guess.
        """
        if not self.sparing:
            return self._exhaust(centers)
        bounds = self._lower_bounds(centers)
        if labels is None:
            labels = bounds.guess()
            geodesics = self.geometry.connect(centers[labels], self.X)
        labels = labels.astype(np.int32)
        geodesics = Geodesics(*(column.copy() for column in geodesics))
        everyone = np.arange(len(self.X))
        bounds.solved(everyone, labels, geodesics.length)
        while True:
            rivals = bounds.rivals(labels, geodesics.length)
            rows = np.flatnonzero(rivals >= 0)
            if not len(rows):
                break
            found = self.geometry.connect(centers[rivals[rows]], self.X[rows])
            bounds.solved(rows, rivals[rows], found.length)
            _take_nearer(rows, rivals[rows], found, labels, geodesics)
        self._centers, self._bounds = centers, bounds
        return Assignment(centers, labels, geodesics)

    def _exhaust(self, centers):
        n_clusters = len(centers)
        labels = np.empty(len(self.X), dtype=np.int32)
        parts = []
        size = max(1, _PAIRS_AT_ONCE // n_clusters)
        for begin in range(0, len(self.X), size):
            X = self.X[begin : begin + size]
            start, end = np.tile(centers, (len(X), 1)), np.repeat(X, n_clusters, axis=0)
            # A closed form gives distances alone at less cost.
            every = self.geometry.connect(start, end) if self.geometry.solves else None
            length = every.length if every else self.geometry.dist(start, end)[0]
            nearest = length.reshape(-1, n_clusters).argmin(axis=1)
            labels[begin : begin + size] = nearest
            rows = n_clusters * np.arange(len(X)) + nearest
            parts.append(
                [column[rows] for column in every]
                if every
                else self.geometry.connect(centers[nearest], X)
            )
        return Assignment(
            centers, labels, Geodesics(*map(np.concatenate, zip(*parts, strict=True)))
        )

    def _lower_bounds(self, centers):
        metric = self.geometry.space.metric
        chord = chords(metric, self.X, centers)
        graph = graph_distances(metric, self.X, centers)
        known = np.zeros((len(self.X), len(centers)))
        if self._bounds is not None:
            moved = self.geometry.dist(self._centers, centers)[0]
            known = self._bounds.known - moved * (1.0 + _SLACK)
        return _Bounds(chord, graph, np.maximum(known, chord), self._between(centers))

    def _between(self, centers):
        """Distances between centers, or zeros if they cost as much as those of the points."""
        n_clusters = len(centers)
        between = np.zeros((n_clusters, n_clusters))
        if n_clusters**2 < len(self.X):
            a, b = np.triu_indices(n_clusters, 1)
            between[a, b] = between[b, a] = self.geometry.dist(centers[a], centers[b])[0]
        return between


class _Bounds:
    """Bounds from below of the distances of all points to all centers.

    Parameters
    ----------
    chord : array, shape=[n_samples, n_clusters]
        Chords in data space.
    graph : array, shape=[n_samples, n_clusters], or None
        Distances on the graph.
    known : array, shape=[n_samples, n_clusters]
        Bounds that hold for sure.
    between : array, shape=[n_clusters, n_clusters]
        Distances of the centers from each other.
    """

    def __init__(self, chord, graph, known, between):
        self.chord, self.graph, self.known, self.between = chord, graph, known, between
        self.exact = np.zeros(known.shape, dtype=bool)
        self._excess = 1.0

    def guess(self):
        """Labels of the centers that seem nearest."""
        return (self.chord if self.graph is None else self.graph).argmin(axis=1)

    def solved(self, rows, labels, length):
        """Take in distances that were solved for."""
        self.known[rows, labels], self.exact[rows, labels] = length, True
        if self.graph is None:
            return
        graph = self.graph[rows, labels]
        good = np.isfinite(graph) & np.isfinite(length) & (length > 0.0)
        self._excess = max(self._excess, np.max(graph[good] / length[good], initial=0.0))

    def rivals(self, labels, length):
        """Index of the center of each row that may be nearer than its label's, or -1.

        Parameters
        ----------
        labels : array of int, shape=[n_samples]
            Nearest of the centers whose distances are known.
        length : array, shape=[n_samples]
            Distances to them.

        Returns
        -------
        rivals : array of int, shape=[n_samples]
            Of several, the center with the least bound.
        """
        lower = np.maximum(self.known, self.between[labels] - length[:, None])
        lower *= 1.0 - _SLACK
        if self.graph is not None:
            trusted = self.graph / (self._excess * (1.0 + _GRAPH_SLACK))
            lower = np.maximum(lower, np.where(np.isfinite(trusted), trusted, 0.0))
        lower[self.exact] = np.inf
        rivals = lower.argmin(axis=1)
        return np.where(lower[np.arange(len(lower)), rivals] <= length, rivals, -1)


def _take_nearer(rows, rivals, found, labels, geodesics):
    """Move rows to rivals that turned out nearer, or as near and of a lower index."""
    held = geodesics.length[rows]
    nearer = (found.length < held) | ((found.length == held) & (rivals < labels[rows]))
    labels[rows[nearer]] = rivals[nearer]
    for column, new in zip(geodesics, found, strict=True):
        column[rows[nearer]] = new[nearer]
