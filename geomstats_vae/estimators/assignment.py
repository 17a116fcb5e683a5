"""The nearest of a few centers for each point, by as few geodesics as the answer needs.

Where geodesics are solved for, each costs milliseconds, and most centers of most points can be
ruled out without one: by the triangle inequality from distances that are known (Elkan, "Using the
triangle inequality to accelerate k-means", ICML 2003, lemmas 1 and 2), by chords in data space,
which no curve undercuts, and by lengths of graph paths. Those bounds decide only where they are
clear. What is left is solved for, so the answer is that of all geodesics.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from geomstats_vae.estimators.rows import with_metric
from geomstats_vae.geometry.decoder import DecoderGeometry
from geomstats_vae.geometry.protocol import (
    Bools,
    Bounds,
    Floats,
    Geometry,
    Ints,
    KeptCurves,
    Logs,
    no_curves,
)

Labels = NDArray[np.int32] | NDArray[np.int64]

# Share by which a bound must exceed a distance: lengths are certified to the solver's rtol, 1e-3,
# each.
_SLACK = 2e-3
# The same for lengths of graph paths. These have been seen to exceed distances by 9 % in two
# dimensions, and by more in many: how much is learnt from the pairs that are solved, and this is
# added.
_GRAPH_SLACK = 0.05
# Curves from centers to points are kept from one assignment to the next for so many pairs at most.
# A curve takes some 10 kB in 16 dimensions.
_CURVES_KEPT = 20_000
# All distances to the centers are held at once for this many pairs.
_PAIRS_AT_ONCE = 2**20


class Assignment(NamedTuple):
    """The nearest center of each point.

    Parameters
    ----------
    centers : numpy.ndarray, shape=[n_clusters, n_features]
        Centers.
    labels : numpy.ndarray of int32, shape=[n_samples]
        Index of each point's nearest center; the first of several.
    geodesics : Logs
        From each point's nearest center to the point.

    Notes
    -----
    A point that no center reaches has an infinite length, and the label of any center here;
    `reached_labels` are those for users.
    """

    centers: Floats
    labels: Labels
    geodesics: Logs


class Assigner:
    """Assigns the same points to centers that move.

    Parameters
    ----------
    geometry : Geometry
        Finds geodesics.
    X : numpy.ndarray, shape=[n_samples, n_features]
        Points.
    sparing : bool
        Whether bounds may rule centers out, where the geometry has any.
    """

    def __init__(self, geometry: Geometry, X: Floats, *, sparing: bool = True) -> None:
        self.geometry, self.X = geometry, X
        self._cheap = geometry.bounds if sparing else None
        self._before: tuple[Floats, DistanceBounds] | None = None
        self._curves: KeptCurves | None = None  # shape=[n_samples, n_clusters]

    def __call__(
        self, centers: Floats, labels: Labels | None = None, geodesics: Logs | None = None
    ) -> Assignment:
        """Assign each point to its nearest center.

        Parameters
        ----------
        centers : numpy.ndarray, shape=[n_clusters, n_features]
            Centers.
        labels : numpy.ndarray of int, shape=[n_samples], optional
            A guess, such as the assignment before the centers moved.
        geodesics : Logs, optional
            From the guessed centers to the points, if they are known.

        Returns
        -------
        assignment : Assignment
            Nearest centers; they do not depend on the guess.
        """
        if self._cheap is None:
            return self._exhaust(centers)
        bounds = self._lower_bounds(self._cheap, centers)
        if labels is None:
            labels, geodesics = bounds.guess(), None
        if geodesics is None:
            geodesics = self._logs(centers, np.arange(len(self.X)), labels)
        labels = labels.astype(np.int32)
        geodesics = geodesics.copy()
        everyone = np.arange(len(self.X))
        self._keep(centers, everyone, labels, geodesics)
        bounds.solved(everyone, labels, geodesics.length)
        while True:
            rivals = bounds.rivals(labels, geodesics.length)
            rows = np.flatnonzero(rivals >= 0)
            if not len(rows):
                break
            found = self._logs(centers, rows, rivals[rows])
            bounds.solved(rows, rivals[rows], found.length)
            _take_nearer(rows, rivals[rows], found, labels, geodesics)
        self._before = centers, bounds
        return Assignment(centers, labels, geodesics)

    def _logs(self, centers: Floats, rows: Ints, labels: Labels) -> Logs:
        """Find geodesics from centers to some rows, from where the last ones were."""
        guess = None if self._curves is None else self._curves[rows, labels]
        found = self.geometry.logs(centers[labels], self.X[rows], guess=guess)
        self._keep(centers, rows, labels, found)
        return found

    def go_on_from(self, assignment: Assignment) -> None:
        """Start geodesics from those of an assignment of these points, or of points nearby."""
        centers, labels, geodesics = assignment
        self._keep(centers, np.arange(len(self.X)), labels, geodesics)

    def _keep(self, centers: Floats, rows: Ints, labels: Labels, found: Logs) -> None:
        """Keep curves for the next assignment, unless there are too many."""
        if self._curves is None and len(self.X) * len(centers) <= _CURVES_KEPT:
            self._curves = no_curves(len(self.X) * len(centers)).reshape(-1, len(centers))
        if self._curves is not None:
            self._curves[rows, labels] = found.curves

    def _exhaust(self, centers: Floats) -> Assignment:
        """Measure all distances, and find the geodesics from the nearest centers."""
        n_clusters = len(centers)
        labels = np.empty(len(self.X), dtype=np.int32)
        size = max(1, _PAIRS_AT_ONCE // n_clusters)
        for begin in range(0, len(self.X), size):
            X = self.X[begin : begin + size]
            start, end = np.tile(centers, (len(X), 1)), np.repeat(X, n_clusters, axis=0)
            length = self.geometry.lengths(start, end).length
            labels[begin : begin + size] = length.reshape(-1, n_clusters).argmin(axis=1)
        return Assignment(centers, labels, self.geometry.logs(centers[labels], self.X))

    def _lower_bounds(self, cheap: Bounds, centers: Floats) -> DistanceBounds:
        chord = cheap.chords(self.X, centers)
        graph = None
        if self.geometry.codes is not None:
            graph = cheap.graph_lengths(self.X, centers)
        known = np.zeros((len(self.X), len(centers)))
        if self._before is not None:
            old_centers, old = self._before
            moved = self.geometry.lengths(old_centers, centers).length
            # From where it is now, a center may reach rows that it did not reach before.
            known = np.where(np.isfinite(old.known), old.known, 0.0) - moved * (1.0 + _SLACK)
        return DistanceBounds(chord, graph, np.maximum(known, chord), self._between(centers))

    def _between(self, centers: Floats) -> Floats:
        """Distances between centers, or zeros if they cost as much as those of the points."""
        n_clusters = len(centers)
        between = np.zeros((n_clusters, n_clusters))
        if n_clusters**2 < len(self.X):
            a, b = np.triu_indices(n_clusters, 1)
            length = self.geometry.lengths(centers[a], centers[b]).length
            # Without a curve between two centers nothing is known.
            between[a, b] = between[b, a] = np.where(np.isfinite(length), length, 0.0)
        return between


class DistanceBounds:
    """Bounds from below of the distances of all points to all centers.

    Parameters
    ----------
    chord : numpy.ndarray, shape=[n_samples, n_clusters]
        Chords in data space.
    graph : numpy.ndarray, shape=[n_samples, n_clusters], or None
        Lengths of graph paths.
    known : numpy.ndarray, shape=[n_samples, n_clusters]
        Bounds that hold for sure.
    between : numpy.ndarray, shape=[n_clusters, n_clusters]
        Distances of the centers from each other.
    """

    def __init__(self, chord: Floats, graph: Floats | None, known: Floats, between: Floats) -> None:
        self.chord, self.graph, self.known, self.between = chord, graph, known, between
        self.exact = np.zeros(known.shape, dtype=bool)
        self._excess = 1.0

    def guess(self) -> Labels:
        """Labels of the centers that seem nearest."""
        return (self.chord if self.graph is None else self.graph).argmin(axis=1)

    def solved(self, rows: Ints, labels: Labels, length: Floats) -> None:
        """Take in distances that were solved for."""
        self.known[rows, labels], self.exact[rows, labels] = length, True
        if self.graph is None:
            return
        graph = self.graph[rows, labels]
        good = np.isfinite(graph) & np.isfinite(length) & (length > 0.0)
        self._excess = max(self._excess, np.max(graph[good] / length[good], initial=0.0))

    def rivals(self, labels: Labels, length: Floats) -> Ints:
        """Index of the center of each row that may be nearer than its label's, or -1.

        Parameters
        ----------
        labels : numpy.ndarray of int, shape=[n_samples]
            Nearest of the centers whose distances are known.
        length : numpy.ndarray, shape=[n_samples]
            Distances to them.

        Returns
        -------
        rivals : numpy.ndarray of int, shape=[n_samples]
            Of several, the center with the least bound.
        """
        lower = np.maximum(self.known, self.between[labels] - length[:, None])
        lower *= 1.0 - _SLACK
        if self.graph is not None:
            trusted = self.graph / (self._excess * (1.0 + _GRAPH_SLACK))
            lower = np.maximum(lower, np.where(np.isfinite(trusted), trusted, 0.0))
        lower[self.exact] = np.inf
        rivals = lower.argmin(axis=1)
        least = lower[np.arange(len(lower)), rivals]
        # Of a row that no center reaches all distances are infinite, and known in the end.
        return np.where(np.isfinite(least) & (least <= length), rivals, -1)


def reached_labels(assignment: Assignment) -> Labels:
    """Labels of points, -1 of those that no center reaches.

    Parameters
    ----------
    assignment : Assignment
        Nearest centers.

    Returns
    -------
    labels : numpy.ndarray of int32, shape=[n_samples]
        Labels.
    """
    reached = np.isfinite(assignment.geodesics.length)
    return np.where(reached, assignment.labels, -1).astype(np.int32)


def assign(geometry: Geometry, X: Floats, centers: Floats, *, sparing: bool = True) -> Assignment:
    """Assign points to centers once, those where the metric is not defined included.

    Parameters
    ----------
    geometry : Geometry
        Finds geodesics.
    X : numpy.ndarray, shape=[n_samples, n_features]
        Points.
    centers : numpy.ndarray, shape=[n_clusters, n_features]
        Centers.
    sparing : bool
        As of `Assigner`.

    Returns
    -------
    assignment : Assignment
        Nearest centers. None reaches the points where the metric is not defined.
    """
    defined = with_metric(geometry, X)
    n_lost = int((~defined).sum())
    nowhere = np.full(n_lost, np.inf), np.zeros((n_lost, X.shape[1])), np.zeros(n_lost, dtype=bool)
    none = Logs(*nowhere, no_curves(n_lost))
    lost = Assignment(centers, np.zeros(n_lost, dtype=np.int32), none)
    if n_lost == len(X):
        return lost
    return merge(Assigner(geometry, X[defined], sparing=sparing)(centers), lost, defined)


def unsolved_lengths(geometry: Geometry, X: Floats, centers: Floats) -> Floats:
    """Measure from centers to points without a geodesic, where there is no time for any.

    Parameters
    ----------
    geometry : Geometry
        Geometry of a space.
    X : numpy.ndarray, shape=[n_samples, n_features]
        Points.
    centers : numpy.ndarray, shape=[n_clusters, n_features]
        Centers.

    Returns
    -------
    length : numpy.ndarray, shape=[n_samples, n_clusters]
        Lengths of graph paths; without a graph, distances in data space; in closed form, distances.
        Infinite where the metric is not defined.
    """
    if isinstance(geometry, DecoderGeometry):
        geometry = replace(geometry, tabulated=False)  # no time to build a table either
    bounds = geometry.bounds
    if bounds is None:
        start, end = np.tile(centers, (len(X), 1)), np.repeat(X, len(centers), axis=0)
        return geometry.lengths(start, end).length.reshape(len(X), -1)
    length = (bounds.chords if geometry.codes is None else bounds.graph_lengths)(X, centers)
    return np.where(with_metric(geometry, X)[:, None], length, np.inf)


def assign_unsolved(geometry: Geometry, X: Floats, centers: Floats) -> Assignment:
    """Assign points to centers by `unsolved_lengths`, which are no geodesics' and not converged.

    Parameters
    ----------
    geometry : Geometry
        Geometry of a space.
    X : numpy.ndarray, shape=[n_samples, n_features]
        Points.
    centers : numpy.ndarray, shape=[n_clusters, n_features]
        Centers.

    Returns
    -------
    assignment : Assignment
        Centers that seem nearest, without velocities and curves.
    """
    length = unsolved_lengths(geometry, X, centers)
    labels = length.argmin(axis=1).astype(np.int32)
    return Assignment(centers, labels, unsolved_logs(length[np.arange(len(X)), labels], X))


def unsolved_logs(length: Floats, X: Floats) -> Logs:
    """Take lengths for those of geodesics to points, which are not known.

    Parameters
    ----------
    length : numpy.ndarray, shape=[n_samples]
        Lengths.
    X : numpy.ndarray, shape=[n_samples, n_features]
        Points.

    Returns
    -------
    logs : Logs
        Without velocities and curves, not converged.
    """
    return Logs(length, np.zeros_like(X), np.zeros(len(X), dtype=bool), no_curves(len(X)))


def merge(some: Assignment, others: Assignment, where: Bools) -> Assignment:
    """Put assignments of some points among those of others.

    Parameters
    ----------
    some : Assignment
        Assignment of some points.
    others : Assignment
        Assignment of the other points, to the same centers.
    where : numpy.ndarray of bool, shape=[n_samples]
        Which points are the former.

    Returns
    -------
    assignment : Assignment
        That of all points.
    """

    def put(ours: Any, theirs: Any) -> Any:
        every = np.empty((len(where), *ours.shape[1:]), dtype=ours.dtype)
        every[where], every[~where] = ours, theirs
        return every

    pairs = zip(some.geodesics, others.geodesics, strict=True)
    geodesics = Logs(*(put(a, b) for a, b in pairs))
    return Assignment(some.centers, put(some.labels, others.labels), geodesics)


def _take_nearer(rows: Ints, rivals: Ints, found: Logs, labels: Labels, geodesics: Logs) -> None:
    """Move rows to rivals that turned out nearer, or as near and of a lower index."""
    held = geodesics.length[rows]
    nearer = (found.length < held) | ((found.length == held) & (rivals < labels[rows]))
    labels[rows[nearer]] = rivals[nearer]
    for column, new in zip(geodesics, found, strict=True):
        column[rows[nearer]] = new[nearer]
