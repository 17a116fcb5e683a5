"""Rows of data in an order, and in coordinates, that do not depend on how they are given."""

from __future__ import annotations

import numpy as np

from geomstats_vae.geometry.protocol import Floats, Geometry, Ints


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


def canonical_order(X: Floats) -> Ints:
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


def whiten(X: Floats) -> Floats:
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
