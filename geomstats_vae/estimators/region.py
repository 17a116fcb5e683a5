"""Rows in other coordinates than a space's codes: scaled ones, most of all.

A pipeline such as ``make_pipeline(StandardScaler(), GeodesicKMeans(space))`` gives a space points
that its decoder was not made for, and each of them has a latent code's shape. Such rows tend to lie
where there are no codes.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from scipy.spatial.distance import cdist

from geomstats_vae.geometry.protocol import Floats
from geomstats_vae.manifolds.failures import caller_level
from geomstats_vae.manifolds.geometries import geometry_of

# Share of the rows that must lie outside for a warning: in a fit, and in other calls, where rows
# may be a grid for a picture, much of which lies outside.
IN_FIT, IN_USE = 0.5, 0.9
# Codes and rows that are looked at, and the least of each that tell anything.
_MOST, _FEWEST_CODES, _FEWEST_ROWS = 1000, 50, 5
# A row is outside if it is farther from the nearest code than this share of other codes is from its
# neighbour of this rank: the fifth, for codes may be given several times.
_QUANTILE, _NEIGHBOR = 0.99, 5
# The least standard deviation of the codes along an axis, relative to the largest.
_FLATTEST = 1e-3


def warn_outside(space: Any, X: Floats, share: float) -> None:
    """Warn if most rows lie outside the region of a space's codes.

    Parameters
    ----------
    space : geomstats.geometry.manifold.Manifold
        Equipped space. If it has no codes, there is nothing to compare with.
    X : numpy.ndarray, shape=[n_samples, n_features]
        Rows.
    share : float
        Share of the rows, above which to warn.

    Warns
    -----
    UserWarning
        If more rows lie outside.
    """
    codes = geometry_of(space).codes
    if codes is None or len(codes) < _FEWEST_CODES or len(X) < _FEWEST_ROWS:
        return
    outside = share_outside(codes, X)
    if outside > share:
        warnings.warn(
            f"Expected latent codes as the encoder gives them, got rows of which {outside:.0%} lie "
            "outside the region of the space's codes. If they were scaled, as by StandardScaler in "
            "a pipeline, leave that out, or build the space on scaled codes with a decoder that "
            "undoes the scaling.",
            UserWarning,
            stacklevel=caller_level(),
        )


def share_outside(codes: Floats, X: Floats) -> float:
    """Estimate the share of rows that lie outside the region of codes.

    Parameters
    ----------
    codes : numpy.ndarray, shape=[n_codes, n_features]
        Latent codes.
    X : numpy.ndarray, shape=[n_samples, n_features]
        Rows.

    Returns
    -------
    share : float
        Share of the rows that are farther from the nearest of one half of the codes than 99 % of
        the other half are from their fifth nearest there, in coordinates in which the covariance of
        the first half is 1. Rows of the codes' own distribution are to the first half what the
        other half is to it: about one in a hundred lies outside at most, in any dimension.
    """
    codes, rows = _some(codes), _some(X)
    half, others = codes[::2], codes[1::2]
    centre = half.mean(axis=0)
    _, values, axes = np.linalg.svd(half - centre)
    if not values[0] > 0.0:
        return 0.0
    stds = np.full(codes.shape[1], _FLATTEST * values[0])
    stds[: len(values)] = np.maximum(values, stds[: len(values)])
    half, others, rows = ((part - centre) @ axes.T / stds for part in (half, others, rows))
    between = np.partition(cdist(others, half), _NEIGHBOR - 1, axis=1)[:, _NEIGHBOR - 1]
    return float((cdist(rows, half).min(axis=1) > np.quantile(between, _QUANTILE)).mean())


def _some(points: Floats) -> Floats:
    """Take at most so many points, evenly over their order."""
    n = len(points)
    return points if n <= _MOST else points[np.linspace(0, n - 1, _MOST).astype(int)]
