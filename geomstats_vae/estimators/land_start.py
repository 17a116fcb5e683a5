"""Where EM starts: responsibilities from draws that no choice of latent coordinates changes."""

from __future__ import annotations

import warnings

import geomstats.backend as gs
import numpy as np
from sklearn.cluster import KMeans, kmeans_plusplus
from sklearn.exceptions import ConvergenceWarning

STARTS = ("kmeans", "k-means++", "random", "random_from_data")


def canonical_order(X):
    """Order of rows that depends neither on their order nor on linear coordinates.

    Parameters
    ----------
    X : numpy.ndarray, shape=[n_samples, n_features]
        Rows.

    Returns
    -------
    order : numpy.ndarray of int, shape=[n_samples]
        By the distance from the mean in units of the covariance; rows of equal distance
        lexicographically.
    """
    lexical = np.lexsort(X.T[::-1])
    squares = (whiten(X[lexical]) ** 2).sum(axis=1)
    return lexical[np.argsort(squares, kind="stable")]


def whiten(X):
    """Rows in coordinates in which their covariance is 1, up to a rotation.

    Parameters
    ----------
    X : numpy.ndarray, shape=[n_samples, n_features]
        Rows.

    Returns
    -------
    white : numpy.ndarray, shape=[n_samples, n_features]
        Centred rows; directions in which they do not differ are left out, as zeros.
    """
    left, values, _ = np.linalg.svd(X - X.mean(axis=0), full_matrices=False)
    tiny = max(X.shape) * np.finfo(float).eps * np.maximum(values.max(initial=0.0), np.abs(X).max())
    white = np.zeros_like(X)
    white[:, : len(values)] = np.sqrt(len(X)) * left * (values > tiny)
    return white


def first_responsibilities(X, n_components, init_params, random_state):
    """Draw responsibilities.

    Parameters
    ----------
    X : numpy.ndarray, shape=[n_samples, n_features]
        Rows in canonical order.
    n_components : int
        Number of components, at most that of the rows.
    init_params : str, {'kmeans', 'k-means++', 'random', 'random_from_data'}
        Clusters of k-means; the rows nearest to k-means++ seeds or to random rows; or random
        numbers. Distances are Euclidean on whitened coordinates.
    random_state : numpy.random.RandomState
        Source of the draws.

    Returns
    -------
    responsibilities : numpy.ndarray, shape=[n_samples, n_components]
        Of sum 1 in each row; no column is zero.
    """
    n_samples = len(X)
    if init_params == "random":
        responsibilities = random_state.uniform(size=(n_samples, n_components))
        return responsibilities / responsibilities.sum(axis=1, keepdims=True)
    white = whiten(X)
    if init_params == "kmeans":
        with warnings.catch_warnings():  # of fewer distinct rows than components, met below
            warnings.simplefilter("ignore", ConvergenceWarning)
            kmeans = KMeans(n_components, n_init=1, random_state=random_state)
            labels = kmeans.fit(white).labels_
    else:
        if init_params == "k-means++":
            _, rows = kmeans_plusplus(white, n_components, random_state=random_state)
        else:
            rows = random_state.choice(n_samples, n_components, replace=False)
        labels = ((white[:, None] - white[rows]) ** 2).sum(axis=2).argmin(axis=1)
    responsibilities = np.eye(n_components)[labels]
    empty = ~responsibilities.any(axis=0)
    # Components without rows share all of them.
    responsibilities[:, empty] = 1.0 / n_samples
    return responsibilities / responsibilities.sum(axis=1, keepdims=True)


def to_space(space, point):
    """Put a mean of coordinates on a space.

    Parameters
    ----------
    space : geomstats.geometry.manifold.Manifold
        Space.
    point : numpy.ndarray, shape=[n_features]
        Mean of the coordinates of points.

    Returns
    -------
    point : numpy.ndarray or None, shape=[n_features]
        Point of the space; None if it has no projection there.
    """
    point = np.asarray(point, dtype=float)
    if _on_space(space, point):
        return point
    if not hasattr(space, "projection"):
        return None
    projected = gs.to_numpy(space.projection(gs.from_numpy(point.copy())))
    return projected if np.isfinite(projected).all() and _on_space(space, projected) else None


def _on_space(space, point):
    return bool(gs.to_numpy(space.belongs(gs.from_numpy(point.copy()))))
