"""Lloyd's iterations on a manifold: assign to the nearest center, move to the Frechet mean."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from geomstats_vae.estimators.assignment import Assigner, Assignment
from geomstats_vae.estimators.estimates import image_variance
from geomstats_vae.estimators.frechet import frechet_means
from geomstats_vae.estimators.spaces import Geodesics

# Means are found to rounding in closed form, and to what averages of logarithms are worth where
# those are solved for: residuals relative to the root of the variance.
_CLOSED_FORM, _SOLVED = 1e-9, 1e-4
# Where each evaluation is a batch of solves, a mean is found to a share of how far it was off,
# at last to that share of the tolerance on the movement of the centers.
_SHARE = 0.1


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
    """

    assignment: Assignment
    inertia: float
    n_iter: int


def lloyd(geometry, X, weights, centers, *, max_iter, tol, sparing=True):
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

    Yields
    ------
    partition : Partition
        After each assignment; the last is the result.
    """
    assign = Assigner(geometry, X, sparing=sparing)
    assignment = assign(centers)
    for n_iter in range(1, max_iter + 1):
        yield _partition(assignment, weights, n_iter)
        means, labels = _update(geometry, X, weights, assignment, tol)
        moved = geometry.dist(assignment.centers, means.points)[0]
        before = assignment.labels
        assignment = assign(means.points, labels, means.geodesics)
        settled = (assignment.labels == before).all() and means.converged.all()
        if settled or (moved**2).sum() <= tol:
            # scikit-learn counts the assignment that found nothing to change.
            n_iter = min(n_iter + settled, max_iter)
            break
    yield _partition(assignment, weights, n_iter)


def _partition(assignment, weights, n_iter):
    inertia = float(weights @ _finite(assignment.geodesics.length) ** 2)
    return Partition(assignment, inertia, n_iter)


def _finite(length):
    """Lengths; zero of points out of reach, which are counted as failures and pull no center."""
    return np.where(np.isfinite(length), length, 0.0)


def _update(geometry, X, weights, assignment, tol):
    """Frechet means of the clusters, with the labels that they are means of."""
    centers, labels, geodesics = _fill_empty(X, assignment)
    n_clusters = len(centers)
    mass = np.bincount(labels, weights, minlength=n_clusters)
    squares = np.bincount(labels, weights * _finite(geodesics.length) ** 2, minlength=n_clusters)
    radius = np.sqrt(squares / np.where(mass > 0.0, mass, 1.0))
    rtol, atol = 0.0, _CLOSED_FORM * radius
    if geometry.solves:
        rtol, atol = _SHARE, np.maximum(_SHARE * np.sqrt(tol / n_clusters), _SOLVED * radius)
    means = frechet_means(
        geometry, X, labels, weights, centers, geodesics=geodesics, rtol=rtol, atol=atol
    )
    return means._replace(converged=means.residual <= atol), labels


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
        Frechet variance divided by the dimension; where geodesics are solved for, that of the
        images in data space, which is no larger.
    """
    space = geometry.space
    if geometry.solves:
        return image_variance(space.metric, X, weights) / space.dim
    near = X[((X - np.average(X, axis=0, weights=weights)) ** 2).sum(axis=1).argmin()]
    label = np.zeros(len(X), dtype=int)
    means = frechet_means(geometry, X, label, weights, near[None], rtol=1e-6, max_iter=10)
    return float(means.variance[0]) / space.dim
