r"""The precision of a normal distribution on a tangent space, by maximum likelihood.

For rows of normal coordinates with second moment S the mean log density

.. math:: f(G) = -tr(G S) / 2 - log C(G)

is concave in the precision G: an exponential family. Its maximum over the matrices of a covariance
type, G = sum_a g_a T_a, is where E[w' T_a w] = tr(T_a S): second moments under the density, with
its volume and its cut locus, are those of the data. Without curvature E[w w'] is the covariance.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import linalg

from geomstats_vae.geometry.protocol import Floats
from geomstats_vae.volume.frames import TangentFrame
from geomstats_vae.volume.quadrature import TangentMoments, TangentQuadrature

COVARIANCE_TYPES = ("full", "diag", "spherical")

# A quadrature that was made for the covariance L L' serves others: in passing those from an eighth
# to four times it, and in the end those from a quarter to 1.6 times it.
_NARROWEST, _WIDEST = 8.0, 4.0
_NARROW, _WIDE = 4.0, 1.6
_MAX_NEWTON_STEPS, _MAX_HALVINGS = 50, 30
# Newton's method stops when the gain of f that it expects is no more.
_TOL = 1e-12


class PrecisionFit(NamedTuple):
    """What maximum likelihood finds.

    Parameters
    ----------
    precision : numpy.ndarray, shape=[dim, dim]
        Matrix G in normal coordinates.
    moments : TangentMoments
        Normaliser and moments for it.
    """

    precision: Floats
    moments: TangentMoments


def forms(covariance_type: str, frame: TangentFrame) -> Floats:
    """Basis of the precisions of a covariance type, in normal coordinates.

    Parameters
    ----------
    covariance_type : str, {'full', 'diag', 'spherical'}
        Any covariance, one that is diagonal in the coordinates of the space, or a multiple of the
        inverse metric.
    frame : TangentFrame
        Frame at the mean.

    Returns
    -------
    forms : numpy.ndarray, shape=[n_forms, dim, dim]
        Symmetric matrices T_a.
    """
    dim = frame.dim
    if covariance_type == "spherical":
        return np.eye(dim)[None]
    if covariance_type == "diag":
        return frame.basis[:, :, None] * frame.basis[:, None, :]
    rows, columns = np.triu_indices(dim)
    basis = np.zeros((len(rows), dim, dim))
    basis[np.arange(len(rows)), rows, columns] = 1.0
    return 0.5 * (basis + basis.transpose(0, 2, 1))


def flat_precision(second: Floats, covariance_type: str, frame: TangentFrame) -> Floats:
    """Precision of maximum likelihood in a flat space, the inverse covariance.

    Parameters
    ----------
    second : numpy.ndarray, shape=[dim, dim]
        Second moment S of normal coordinates, positive definite.
    covariance_type : str, {'full', 'diag', 'spherical'}
        Covariance type.
    frame : TangentFrame
        Frame at the mean.

    Returns
    -------
    precision : numpy.ndarray, shape=[dim, dim]
        Matrix G in normal coordinates.
    """
    if covariance_type == "spherical":
        return np.eye(frame.dim) / (np.trace(second) / frame.dim)
    if covariance_type == "diag":
        variances = np.einsum("ia,ab,ib->i", frame.basis, second, frame.basis)
        return (frame.basis.T / variances) @ frame.basis
    return linalg.inv(second)


def fit_precision(
    quadrature: TangentQuadrature, second: Floats, basis: Floats, start: Floats
) -> PrecisionFit:
    """Maximise f over the precisions that a quadrature serves, by Newton's method.

    Parameters
    ----------
    quadrature : TangentQuadrature
        Quadrature at the mean.
    second : numpy.ndarray, shape=[dim, dim]
        Second moment S of the data in normal coordinates.
    basis : numpy.ndarray, shape=[n_forms, dim, dim]
        Matrices T_a.
    start : numpy.ndarray, shape=[dim, dim]
        First precision, spanned by the T_a; f does not fall below its value there.

    Returns
    -------
    fit : PrecisionFit
        The maximum, or the best precision found towards one that the quadrature does not serve.
    """
    precision, moments = start, quadrature.moments(start)
    for _ in range(_MAX_NEWTON_STEPS):
        slope = 0.5 * np.einsum("aij,ij->a", basis, moments.second - second)
        curvature = 0.25 * quadrature.covariance_of_squares(precision, basis)
        # Forms that the density cannot tell apart leave no unique step: the shortest is taken.
        step = linalg.lstsq(curvature, slope)[0]
        gain = 0.5 * slope @ step
        if not gain > _TOL:
            break
        better = _search_line(quadrature, second, precision, moments, np.tensordot(step, basis, 1))
        if better is None:
            break
        precision, moments = better
    return PrecisionFit(precision, moments)


def _search_line(
    quadrature: TangentQuadrature,
    second: Floats,
    precision: Floats,
    moments: TangentMoments,
    step: Floats,
) -> PrecisionFit | None:
    """Halve the step until f rises within what the quadrature serves; None if it does not."""
    value = log_likelihood(precision, second, moments)
    for _ in range(_MAX_HALVINGS):
        candidate = precision + step
        spread = quadrature.spread(candidate)
        if spread[0] >= 1.0 / _WIDEST and spread[-1] <= _NARROWEST:
            found = quadrature.moments(candidate)
            if log_likelihood(candidate, second, found) > value:
                return PrecisionFit(candidate, found)
        step = 0.5 * step
    return None


def is_stale(quadrature: TangentQuadrature, precision: Floats) -> bool:
    """Whether a density is so wide or narrow that a new quadrature should be made for it.

    Parameters
    ----------
    quadrature : TangentQuadrature
        Quadrature at the mean.
    precision : numpy.ndarray, shape=[dim, dim]
        Precision in normal coordinates.

    Returns
    -------
    is_stale : bool
        Whether it is.
    """
    spread = quadrature.spread(precision)
    return bool(spread[0] < 1.0 / _WIDE or spread[-1] > _NARROW)


def log_likelihood(precision: Floats, second: Floats, moments: TangentMoments) -> float:
    """Mean log density of rows with a second moment.

    Parameters
    ----------
    precision : numpy.ndarray, shape=[dim, dim]
        Matrix G in normal coordinates.
    second : numpy.ndarray, shape=[dim, dim]
        Second moment S of the rows.
    moments : TangentMoments
        Integrals for G.

    Returns
    -------
    value : float
        f(G).
    """
    return -0.5 * (precision * second).sum() - moments.log_normalizer
