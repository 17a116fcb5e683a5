"""Where EM starts: responsibilities from draws that no choice of latent coordinates changes."""

from __future__ import annotations

import warnings
from typing import Any

import geomstats.backend as gs
import numpy as np
from sklearn.cluster import KMeans, kmeans_plusplus
from sklearn.exceptions import ConvergenceWarning

from geomstats_vae.estimators.rows import whiten
from geomstats_vae.geometry.protocol import Floats

STARTS = ("kmeans", "k-means++", "random", "random_from_data")


def first_responsibilities(
    X: Floats,
    mass: Floats,
    n_components: int,
    init_params: str,
    random_state: np.random.RandomState,
) -> Floats:
    """Draw responsibilities.

    Parameters
    ----------
    X : numpy.ndarray, shape=[n_samples, n_features]
        Distinct rows in canonical order.
    mass : numpy.ndarray, shape=[n_samples]
        Their positive weights.
    n_components : int
        Number of components; those in excess of the rows share all rows.
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
    white, n_groups = whiten(X, mass), min(n_components, n_samples)
    if init_params == "kmeans":
        with warnings.catch_warnings():  # of fewer distinct rows than components, met below
            warnings.simplefilter("ignore", ConvergenceWarning)
            kmeans = KMeans(n_groups, n_init=1, random_state=random_state)
            labels = kmeans.fit(white, sample_weight=mass).labels_
    else:
        if init_params == "k-means++":
            _, rows = kmeans_plusplus(
                white, n_groups, sample_weight=mass, random_state=random_state
            )
        else:
            rows = random_state.choice(n_samples, n_groups, replace=False, p=mass / mass.sum())
        labels = ((white[:, None] - white[rows]) ** 2).sum(axis=2).argmin(axis=1)
    responsibilities = np.eye(n_components)[labels]
    empty = ~responsibilities.any(axis=0)
    # Components without rows share all of them.
    responsibilities[:, empty] = 1.0 / n_samples
    return responsibilities / responsibilities.sum(axis=1, keepdims=True)


def to_space(space: Any, point: Floats) -> Floats | None:
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


def _on_space(space: Any, point: Floats) -> bool:
    return bool(gs.to_numpy(space.belongs(gs.from_numpy(point.copy()))))
