"""Rows of data in an order, and in coordinates, that do not depend on how they are given."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils.validation import _check_sample_weight

from geomstats_vae.geometry.decoder import DecoderGeometry
from geomstats_vae.geometry.protocol import Bools, Floats, Geometry, Ints


def distinct_rows(geometry: Geometry, X: Floats) -> tuple[Floats, Ints]:
    """Distinct rows in an order of their own, whatever that in X.

    Parameters
    ----------
    geometry : Geometry
        Geometry of a space.
    X : numpy.ndarray, shape=[n_samples, n_features]
        Points.

    Returns
    -------
    rows : numpy.ndarray, shape=[n_rows, n_features]
        The distinct ones. With a decoder they are ordered along some direction in data space, so
        that no change of latent coordinates changes the order; otherwise lexicographically.
    place : numpy.ndarray of int, shape=[n_samples]
        Where each row of X is in them.
    """
    rows, place = np.unique(X, axis=0, return_inverse=True)
    place = place.ravel()
    if geometry.bounds is None:
        return rows, place
    order = geometry.bounds.order(rows)
    return rows[order], np.argsort(order)[place]


def with_metric(geometry: Geometry, X: Floats) -> Bools:
    """Tell the rows at which the metric is defined; no geodesic reaches the others.

    Parameters
    ----------
    geometry : Geometry
        Geometry of a space.
    X : numpy.ndarray, shape=[n_samples, n_features]
        Points.

    Returns
    -------
    defined : numpy.ndarray of bool, shape=[n_samples]
        With a decoder, whether it is finite there. Otherwise, whether the distance of the point
        from itself is.
    """
    if not isinstance(geometry, DecoderGeometry):
        return np.isfinite(geometry.lengths(X, X).length)
    defined = np.empty(len(X), dtype=bool)
    for rows, embedding in geometry.bounds.embeddings(X):
        defined[rows] = embedding.isfinite().all(dim=1).cpu().numpy()
    return defined


def check_weights(sample_weight: ArrayLike | None, X: Floats) -> Floats:
    """Check weights of rows.

    Parameters
    ----------
    sample_weight : array-like, shape=[n_samples], or None
        Weights; all 1 by default.
    X : numpy.ndarray, shape=[n_samples, n_features]
        Rows.

    Returns
    -------
    weights : numpy.ndarray, shape=[n_samples]
        The weights.

    Raises
    ------
    ValueError
        If they are not one for each row, not finite, negative, or all zero.
    """
    weights = _check_sample_weight(sample_weight, X, dtype=np.float64)
    if (weights < 0.0).any() or not weights.any():
        found = "negative ones" if weights.any() else "zeros only"
        raise ValueError(
            f"Expected sample_weight to be nonnegative and not all zero, got {found}; give rows "
            "that should not count a weight of zero."
        )
    return weights


def canonical_order(X: Floats, weights: Floats | None = None) -> Ints:
    """Order of rows that depends neither on their order nor on linear coordinates.

    Parameters
    ----------
    X : numpy.ndarray, shape=[n_samples, n_features]
        Rows.
    weights : numpy.ndarray, shape=[n_samples], optional
        Positive weights of the mean and the covariance; all 1 by default.

    Returns
    -------
    order : numpy.ndarray of int, shape=[n_samples]
        By the distance from the mean in units of the covariance; rows of equal distance
        lexicographically.
    """
    lexical = np.lexsort(X.T[::-1])
    mass = None if weights is None else weights[lexical]
    squares = (whiten(X[lexical], mass) ** 2).sum(axis=1)
    return lexical[np.argsort(squares, kind="stable")]


def whiten(X: Floats, weights: Floats | None = None) -> Floats:
    """Rows in coordinates in which their covariance is 1, up to a rotation.

    Parameters
    ----------
    X : numpy.ndarray, shape=[n_samples, n_features]
        Rows.
    weights : numpy.ndarray, shape=[n_samples], optional
        Positive weights of the mean and the covariance; all 1 by default.

    Returns
    -------
    white : numpy.ndarray, shape=[n_samples, n_features]
        Centred rows; directions in which they do not differ are left out, as zeros.
    """
    mass = np.ones(len(X)) if weights is None else weights
    root = np.sqrt(mass)[:, None]
    centred = X - np.average(X, axis=0, weights=mass)
    left, values, _ = np.linalg.svd(root * centred, full_matrices=False)
    largest = np.maximum(values.max(initial=0.0), root.max() * np.abs(X).max())
    tiny = max(X.shape) * np.finfo(float).eps * largest
    white = np.zeros_like(X)
    white[:, : len(values)] = np.sqrt(mass.sum()) * left * (values > tiny) / root
    return white
