"""Where EM starts: responsibilities from draws that no choice of latent coordinates changes."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import geomstats.backend as gs
import numpy as np
from sklearn.cluster import KMeans, kmeans_plusplus
from sklearn.exceptions import ConvergenceWarning

from geomstats_vae.estimators.rows import whiten
from geomstats_vae.geometry.decoder import DecoderGeometry
from geomstats_vae.geometry.protocol import Floats, Geometry

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


def first_mean(
    geometry: Geometry,
    to_space: Callable[[Floats], Floats | None],
    X: Floats,
    weights: Floats,
) -> Floats:
    """Find where the mean of a component starts.

    The coordinate mean of a curved strip lies beside the strip. With a decoder that is a place of
    large volume, from which EM may find no way back to the rows.

    Parameters
    ----------
    geometry : Geometry
        Geometry of the space.
    to_space : callable
        Puts a mean of coordinates, shape=[n_features], on the space; None if it cannot.
    X : numpy.ndarray, shape=[n_rows, n_features]
        Rows.
    weights : numpy.ndarray, shape=[n_rows]
        Their shares in the component, not negative and not all zero.

    Returns
    -------
    point : numpy.ndarray, shape=[n_features]
        Coordinate mean, put on the space; the row next to it if that is not possible. With a
        decoder, if the density of volume is larger there than at each row of the component, it is
        the row next to it in coordinates of unit covariance.
    """
    held = X[weights > 0.0]
    mean = np.average(X, axis=0, weights=weights)
    point = to_space(mean)
    if point is None:
        return held[np.argmin(((held - mean) ** 2).sum(axis=1))]
    if not isinstance(geometry, DecoderGeometry):
        return point
    points = np.vstack((held, point))
    volumes = geometry.volume_densities(points)
    if not volumes[-1] > volumes[:-1].max():
        return point
    white = whiten(points)
    return held[np.argmin(((white[:-1] - white[-1]) ** 2).sum(axis=1))]


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
