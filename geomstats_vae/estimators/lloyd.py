"""Lloyd's iterations on a manifold: assign to the nearest center, move to the Frechet mean."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import numpy as np

from geomstats_vae.estimators.assignment import Assigner, Assignment, Labels, assign_unsolved
from geomstats_vae.estimators.base import between_steps
from geomstats_vae.estimators.frechet import NEWTON_DIM, FrechetMeans, Move, frechet_means
from geomstats_vae.estimators.rough_lloyd import rough_lloyd
from geomstats_vae.estimators.seeding import gather
from geomstats_vae.geometry.decoder import DecoderGeometry
from geomstats_vae.geometry.fans import descends_first
from geomstats_vae.geometry.protocol import Floats, Geometry, Ints, Logs

# Residuals of means, relative to the root of the variance: what averages of logarithms are worth in
# closed form (those of geomstats' hyperbolic spaces), where they are solved for, and where that is
# in many dimensions.
_CLOSED_FORM, _SOLVED, _SOLVED_OF_MANY = 1e-7, 1e-4, 1e-2
# The first iterations where geodesics are solved for: their tolerance, and the number of cells that
# stand for the points.
_LOOSE_TOL, _N_CELLS = 1e-3, 200
# Points from which the variance of all is estimated.
_N_ESTIMATE = 8


class Partition(NamedTuple):
    """Clusters at some iteration.

    Parameters
    ----------
    assignment : Assignment
        Centers, labels, and geodesics from the centers to their points.
    inertia : float
        Weighted sum of squared distances of the points that a center reaches to their centers.
    lost : float
        Weight of the points that no center reaches.
    n_iter : int
        Iterations so far.
    move : Move or None
        How the centers came here, if in steps.
    """

    assignment: Assignment
    inertia: float
    lost: float
    n_iter: int
    move: Move | None

    @property
    def cost(self) -> tuple[float, float]:
        """What is compared between partitions: first the points lost, then the inertia."""
        return self.lost, self.inertia


def descend(
    geometry: Geometry,
    X: Floats,
    weights: Floats,
    centers: Floats,
    *,
    max_iter: int,
    tol: float,
    sparing: bool = True,
) -> Iterator[Partition]:
    """Iterate from given centers. Where geodesics cost, begin with fewer and less exact ones.

    Parameters
    ----------
    geometry : Geometry
        Finds and follows geodesics.
    X : numpy.ndarray, shape=[n_samples, n_features]
        Points.
    weights : numpy.ndarray, shape=[n_samples]
        Positive weights.
    centers : numpy.ndarray, shape=[n_clusters, n_features]
        Initial centers.
    max_iter : int
        Largest number of iterations.
    tol : float
        Stop when the squared movements of the centers sum to no more.
    sparing : bool
        Whether bounds may stand in for geodesics where they are clear.

    Yields
    ------
    partition : Partition
        After each assignment; the last is the result.
    """
    run, n_before = partial(lloyd, tol=tol, sparing=sparing), 0
    move, before = None, None
    if descends_first(geometry):
        cells = gather(X, weights, _N_CELLS)
        data = cells.points, cells.weights
        for assignment, n_before in rough_lloyd(geometry, *data, centers, max_iter=max_iter):
            rough = _partition(assignment, cells.weights, n_before, None)
            before = _spread(rough, cells.place)
            yield before
        centers, n_before = assignment.centers, n_before - 1
    elif geometry.bounds is not None:
        cells = gather(X, weights, _N_CELLS)
        loose = between_steps(geometry.with_tol(_LOOSE_TOL))
        for partition in run(loose, cells.points, cells.weights, centers, max_iter=max_iter):
            before = _spread(partition, cells.place)
            yield before
        centers, move = partition.assignment.centers, partition.move
        n_before = partition.n_iter - 1
    run = partial(run, max_iter=max_iter - n_before, move=move, before=before)
    working = between_steps(geometry)
    for partition in run(working, X, weights, centers):
        yield partition._replace(n_iter=n_before + partition.n_iter)
    if working is not geometry:
        certified = _certified(geometry, working, X, weights, partition)
        yield certified._replace(n_iter=n_before + partition.n_iter)


def _certified(
    geometry: Geometry, by_table: Geometry, X: Floats, weights: Floats, partition: Partition
) -> Partition:
    """Certify the geodesics of a partition, which were found by a table alone.

    Curves that were taken along may stay in valleys that have become the longer ones: once more all
    valleys are looked at, by the table.
    """
    centers, labels, _ = partition.assignment
    found = by_table.logs(centers[labels], X)
    geodesics = geometry.logs(centers[labels], X, guess=found.curves)
    assignment = Assignment(centers, labels, geodesics)
    return _partition(assignment, weights, partition.n_iter, partition.move)


def _spread(partition: Partition, place: Ints) -> Partition:
    """Give points the labels and the distances of their cells, for the time being."""
    centers, labels, found = partition.assignment
    geodesics = found.take(place)
    return partition._replace(assignment=Assignment(centers, labels[place], geodesics))


def lloyd(
    geometry: Geometry,
    X: Floats,
    weights: Floats,
    centers: Floats,
    *,
    max_iter: int,
    tol: float,
    sparing: bool = True,
    move: Move | None = None,
    before: Partition | None = None,
) -> Iterator[Partition]:
    """Iterate from given centers.

    Parameters
    ----------
    geometry : Geometry
        Finds and follows geodesics.
    X : numpy.ndarray, shape=[n_samples, n_features]
        Points.
    weights : numpy.ndarray, shape=[n_samples]
        Positive weights.
    centers : numpy.ndarray, shape=[n_clusters, n_features]
        Initial centers.
    max_iter : int
        Largest number of iterations.
    tol : float
        Stop when the squared movements of the centers sum to no more.
    sparing : bool
        Whether bounds may stand in for geodesics where they are clear.
    move : Move, optional
        The steps that led to the centers.
    before : Partition, optional
        A partition by these centers, from whose labels and curves the first assignment starts.

    Yields
    ------
    partition : Partition
        After each assignment; the last is the result.
    """
    assign = Assigner(geometry, X, sparing=sparing)
    tabulated = isinstance(geometry, DecoderGeometry) and geometry.tabulated
    if before is not None and not tabulated:  # by a table all valleys are searched once more
        assign.go_on_from(before.assignment)
    assignment = assign(centers, None if before is None else before.assignment.labels)
    for n_iter in range(1, max_iter + 1):
        yield _partition(assignment, weights, n_iter, move)
        means, labels, move = _update(geometry, X, weights, assignment, move, tol)
        if means.n_iter == 0 and (means.points == assignment.centers).all():
            return
        moved = geometry.lengths(assignment.centers, means.points).length
        old_labels = assignment.labels
        assignment = assign(means.points, labels, means.geodesics)
        if (moved**2).sum() <= tol:
            break
        if (assignment.labels == old_labels).all() and means.converged.all():
            # KMeans counts the assignment that found nothing to change.
            n_iter = min(n_iter + 1, max_iter)
            break
    yield _partition(assignment, weights, n_iter, move)


def unsolved_partition(
    geometry: Geometry, X: Floats, weights: Floats, centers: Floats
) -> Partition:
    """Divide points among initial centers where there is no time for a geodesic.

    Parameters
    ----------
    geometry : Geometry
        Geometry of a space.
    X : numpy.ndarray, shape=[n_samples, n_features]
        Points.
    weights : numpy.ndarray, shape=[n_samples]
        Positive weights.
    centers : numpy.ndarray, shape=[n_clusters, n_features]
        Initial centers.

    Returns
    -------
    partition : Partition
        By `unsolved_lengths`, after no iteration.
    """
    return _partition(assign_unsolved(geometry, X, centers), weights, 0, None)


def _partition(
    assignment: Assignment, weights: Floats, n_iter: int, move: Move | None
) -> Partition:
    length = assignment.geodesics.length
    inertia = float(weights @ _finite(length) ** 2)
    return Partition(assignment, inertia, float(weights @ ~np.isfinite(length)), n_iter, move)


def _finite(length: Floats) -> Floats:
    """Lengths; zero of points out of reach, which pull no center."""
    return np.where(np.isfinite(length), length, 0.0)


def _update(
    geometry: Geometry,
    X: Floats,
    weights: Floats,
    assignment: Assignment,
    move: Move | None,
    tol: float,
) -> tuple[FrechetMeans, Labels, Move]:
    """Centers nearer to the means, the labels that they are means of, and how they moved.

    Where geodesics are cheap, the new centers are the means. Where they cost, the centers take one
    step: the geodesics that show where it led are those that the next assignment asks for.
    """
    filled = _fill_empty(X, assignment)
    centers, labels, geodesics = filled
    n_clusters = len(centers)
    weights = np.where(np.isfinite(geodesics.length), weights, 0.0)
    mass = np.bincount(labels, weights, minlength=n_clusters)
    squares = np.bincount(labels, weights * _finite(geodesics.length) ** 2, minlength=n_clusters)
    radius = np.sqrt(squares / np.where(mass > 0.0, mass, 1.0))
    find = partial(frechet_means, geometry, X, labels, weights)
    if geometry.bounds is None:
        means = find(centers, geodesics=geodesics, tol=_CLOSED_FORM * radius)
    else:
        share = _SOLVED_OF_MANY if descends_first(geometry) else _SOLVED
        centers, geodesics = _meet_lone_points(X, centers, labels, geodesics)
        means = find(
            centers,
            geodesics=geodesics,
            move=move if filled is assignment else None,
            tol=np.maximum(np.sqrt(tol), share * radius),
            one_step=True,
            newton=geometry.dim <= NEWTON_DIM,
        )
    return means, labels, means.move


def _fill_empty(X: Floats, assignment: Assignment) -> Assignment:
    """Move the center of each empty cluster to a point that is far from its own, as KMeans does.

    The farthest are those that no center reaches.
    """
    centers, labels, geodesics = assignment
    reached = np.isfinite(geodesics.length)
    empty = np.flatnonzero(np.bincount(labels[reached], minlength=len(centers)) == 0)
    far = np.argsort(-geodesics.length, kind="stable")[: len(empty)]
    far = far[geodesics.length[far] > 0.0]
    if not len(far):
        return assignment
    centers, labels, geodesics = centers.copy(), labels.copy(), geodesics.copy()
    centers[empty[: len(far)]], labels[far] = X[far], empty[: len(far)]
    geodesics.length[far], geodesics.velocity[far], geodesics.converged[far] = 0.0, 0.0, True
    return Assignment(centers, labels, geodesics)


def _meet_lone_points(
    X: Floats, centers: Floats, labels: Labels, geodesics: Logs
) -> tuple[Floats, Logs]:
    """Move the center of a cluster of one point to it: the steps there would have no scale."""
    lone = np.flatnonzero(np.bincount(labels, minlength=len(centers))[labels] == 1)
    centers, geodesics = centers.copy(), geodesics.copy()
    centers[labels[lone]] = X[lone]
    geodesics.length[lone], geodesics.velocity[lone], geodesics.converged[lone] = 0.0, 0.0, True
    return centers, geodesics


def mean_variance(geometry: Geometry, X: Floats, weights: Floats) -> float:
    """Variance of the points per dimension, the scale of KMeans' tolerance.

    Parameters
    ----------
    geometry : Geometry
        Finds and follows geodesics.
    X : numpy.ndarray, shape=[n_samples, n_features]
        Points.
    weights : numpy.ndarray, shape=[n_samples]
        Their weights.

    Returns
    -------
    variance : float
        Frechet variance divided by the dimension. Where geodesics cost it is estimated: half the
        mean squared length of graph paths to some of the points, or, without a graph and in many
        dimensions, the variance of the embeddings in data space, which is no larger.
    """
    bounds = geometry.bounds
    if bounds is None:
        first = X[((X - np.average(X, axis=0, weights=weights)) ** 2).sum(axis=1).argmin()]
        label = np.zeros(len(X), dtype=int)
        means = frechet_means(geometry, X, label, weights, first[None], max_iter=5)
        return float(means.variance[0]) / geometry.dim
    if geometry.codes is None or descends_first(geometry):
        return bounds.variance(X, weights) / geometry.dim
    some = X[np.linspace(0, len(X) - 1, _N_ESTIMATE).astype(int)]
    squares = _finite(bounds.graph_lengths(X, some)) ** 2
    return 0.5 * float(np.average(squares.mean(axis=1), weights=weights)) / geometry.dim
