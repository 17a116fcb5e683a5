"""Lloyd's iterations on a manifold: assign to the nearest center, move to the Frechet mean."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from geomstats_vae.estimators.assignment import Assigner, Assignment
from geomstats_vae.estimators.estimates import graph_distances, image_variance
from geomstats_vae.estimators.frechet import Move, frechet_means
from geomstats_vae.estimators.seeding import gather
from geomstats_vae.manifolds.rows import Geodesics

# Means are found to what averages of logarithms are worth, those of geomstats' hyperbolic spaces in
# closed form, and those that are solved for: residuals relative to the root of the variance.
_CLOSED_FORM, _SOLVED = 1e-7, 1e-4
# What leads there where geodesics are solved for: their tolerance, and the cells of points.
_LOOSE = 1e-3
_N_CELLS = 200
# Points from which the variance of all is estimated.
_N_ESTIMATE = 8


class Partition(NamedTuple):
    """Clusters at some iteration.

    Parameters
    ----------
    assignment : Assignment
        Centers, labels, and geodesics from the centers to their points.
    inertia : float
        Weighted sum of squared distances of the points to their centers.
    n_iter : int
        Iterations so far.
    move : Move or None
        How the centers came here, if in steps.
    """

    assignment: Assignment
    inertia: float
    n_iter: int
    move: Move | None


def descend(geometry, X, weights, centers, *, max_iter, tol, sparing=True):
    """Iterate from given centers: where geodesics are solved for, first by fewer and less exact.

    Parameters
    ----------
    geometry : RowGeometry
        Measures and connects points.
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
    options, move, n_before = {"tol": tol, "sparing": sparing}, None, 0
    if geometry.solves:
        cells = gather(X, weights, _N_CELLS)
        loose = geometry.loosened(_LOOSE)
        for partition in lloyd(
            loose, cells.points, cells.weights, centers, max_iter=max_iter, **options
        ):
            yield _spread(partition, cells.place)
        centers, move = partition.assignment.centers, partition.move
        n_before = partition.n_iter - 1
    options |= {"max_iter": max_iter - n_before, "move": move}
    for partition in lloyd(geometry, X, weights, centers, **options):
        yield partition._replace(n_iter=n_before + partition.n_iter)


def _spread(partition, place):
    """Give points the labels and the distances of their cells, for the time being."""
    centers, labels, geodesics = partition.assignment
    geodesics = Geodesics(*(column[place] for column in geodesics))
    return partition._replace(assignment=Assignment(centers, labels[place], geodesics))


def lloyd(geometry, X, weights, centers, *, max_iter, tol, sparing=True, move=None):
    """Iterate from given centers.

    Parameters
    ----------
    geometry : RowGeometry
        Measures and connects points.
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

    Yields
    ------
    partition : Partition
        After each assignment; the last is the result.
    """
    assign = Assigner(geometry, X, sparing=sparing)
    assignment = assign(centers)
    for n_iter in range(1, max_iter + 1):
        yield _partition(assignment, weights, n_iter, move)
        means, labels, move = _update(geometry, X, weights, assignment, move, tol)
        if means.n_iter == 0 and (means.points == assignment.centers).all():
            return
        moved = geometry.dist(assignment.centers, means.points)[0]
        before = assignment.labels
        assignment = assign(means.points, labels, means.geodesics)
        if (moved**2).sum() <= tol:
            break
        if (assignment.labels == before).all() and means.converged.all():
            # KMeans counts the assignment that found nothing to change.
            n_iter = min(n_iter + 1, max_iter)
            break
    yield _partition(assignment, weights, n_iter, move)


def _partition(assignment, weights, n_iter, move):
    inertia = float(weights @ _finite(assignment.geodesics.length) ** 2)
    return Partition(assignment, inertia, n_iter, move)


def _finite(length):
    """Lengths; zero of points out of reach, which are counted as failures and pull no center."""
    return np.where(np.isfinite(length), length, 0.0)


def _update(geometry, X, weights, assignment, move, tol):
    """Centers nearer to the means, the labels that they are means of, and how they moved.

    In closed form they are the means. Where each evaluation is a batch of solves, they take one
    step: the geodesics that show where it led are those that the next assignment asks for.
    """
    filled = _fill_empty(X, assignment)
    centers, labels, geodesics = filled
    n_clusters = len(centers)
    mass = np.bincount(labels, weights, minlength=n_clusters)
    squares = np.bincount(labels, weights * _finite(geodesics.length) ** 2, minlength=n_clusters)
    radius = np.sqrt(squares / np.where(mass > 0.0, mass, 1.0))
    options = {"tol": _CLOSED_FORM * radius}
    if geometry.solves:
        centers, geodesics = _meet_lone_points(X, centers, labels, geodesics)
        options = {
            "tol": np.maximum(np.sqrt(tol), _SOLVED * radius),
            "move": move if filled is assignment else None,
            "one_step": True,
        }
    means = frechet_means(geometry, X, labels, weights, centers, geodesics=geodesics, **options)
    return means, labels, means.move


def _fill_empty(X, assignment):
    """Move the center of each empty cluster to a point that is far from its own, as KMeans does."""
    centers, labels, geodesics = assignment
    empty = np.flatnonzero(np.bincount(labels, minlength=len(centers)) == 0)
    far = np.argsort(-geodesics.length, kind="stable")[: len(empty)]
    far = far[geodesics.length[far] > 0.0]
    if not len(far):
        return assignment
    centers, labels = centers.copy(), labels.copy()
    geodesics = Geodesics(*(column.copy() for column in geodesics))
    centers[empty[: len(far)]], labels[far] = X[far], empty[: len(far)]
    geodesics.length[far], geodesics.velocity[far], geodesics.converged[far] = 0.0, 0.0, True
    return Assignment(centers, labels, geodesics)


def _meet_lone_points(X, centers, labels, geodesics):
    """Move the center of a cluster of one point to it: the steps there would have no scale."""
    lone = np.flatnonzero(np.bincount(labels, minlength=len(centers))[labels] == 1)
    centers, geodesics = centers.copy(), Geodesics(*(column.copy() for column in geodesics))
    centers[labels[lone]] = X[lone]
    geodesics.length[lone], geodesics.velocity[lone], geodesics.converged[lone] = 0.0, 0.0, True
    return centers, geodesics


def mean_variance(geometry, X, weights):
    """Variance of the points per dimension, the scale of KMeans' tolerance.

    Parameters
    ----------
    geometry : RowGeometry
        Measures and connects points.
    X : numpy.ndarray, shape=[n_samples, n_features]
        Points.
    weights : numpy.ndarray, shape=[n_samples]
        Their weights.

    Returns
    -------
    variance : float
        Frechet variance divided by the dimension. Where geodesics are solved for it is estimated:
        half the mean squared distance on the graph to some of the points, or, without a graph,
        the variance of the images in data space, which is no larger.
    """
    space = geometry.space
    if not geometry.solves:
        near = X[((X - np.average(X, axis=0, weights=weights)) ** 2).sum(axis=1).argmin()]
        label = np.zeros(len(X), dtype=int)
        means = frechet_means(geometry, X, label, weights, near[None], max_iter=5)
        return float(means.variance[0]) / space.dim
    some = X[np.linspace(0, len(X) - 1, _N_ESTIMATE).astype(int)]
    graph = graph_distances(space.metric, X, some)
    if graph is None:
        return image_variance(space.metric, X, weights) / space.dim
    squares = _finite(graph) ** 2
    return 0.5 * float(np.average(squares.mean(axis=1), weights=weights)) / space.dim
