"""A further start of EM, where it ended with a component on stray rows: it is put elsewhere."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import special

from geomstats_vae.estimators.mixture import Mixture, expectation
from geomstats_vae.geometry.protocol import Bools, Floats

# A component is on stray rows if its weight is below this share of the mean weight.
_STRAY = 0.2


class Split(NamedTuple):
    """A component, cut in two by a plane through its mean row.

    Parameters
    ----------
    gain : float
        Rise of the log likelihood if both halves are normal distributions on the tangent space,
        without curvature.
    component : int
        Index of the component.
    beyond : numpy.ndarray of bool, shape=[n_rows]
        Rows on one side.
    """

    gain: float
    component: int
    beyond: Bools


def moved_component(mixture: Mixture, mass: Floats) -> Floats | None:
    """Responsibilities after a component on stray rows is moved to where it helps most.

    Its rows go to the other components, and of these the one is cut in two that gains most: the
    merge and the split of [1]_, without a search over pairs.

    Parameters
    ----------
    mixture : Mixture
        Mixture that EM has converged to.
    mass : numpy.ndarray, shape=[n_rows]
        Positive weights of the rows.

    Returns
    -------
    responsibilities : numpy.ndarray or None, shape=[n_rows, n_components]
        Of sum 1 in each row; None if no component is on stray rows, or none can be cut.

    References
    ----------
    .. [1] Ueda, Nakano, Ghahramani, Hinton. "SMEM algorithm for mixture models." Neural Computation
       12 (2000).
    """
    _, shares = expectation(mixture, mass)
    total = shares.sum(axis=0)
    stray = int(total.argmin())
    if total[stray] >= _STRAY * total.mean():
        return None
    splits = [s for k in range(len(total)) if k != stray for s in _splits(mixture, shares, k)]
    if not splits:
        return None
    best = max(splits, key=lambda split: split.gain)
    responsibilities = _without(mixture, stray)
    column = responsibilities[:, best.component].copy()
    responsibilities[:, best.component] = np.where(best.beyond, 0.0, column)
    responsibilities[:, stray] = np.where(best.beyond, column, 0.0)
    return responsibilities


def _without(mixture: Mixture, stray: int) -> Floats:
    """Responsibilities of the other components; equal for rows that none of them reaches."""
    joint = mixture.log_joint()
    joint[:, stray] = -np.inf
    joint[~np.isfinite(joint).any(axis=1)] = 0.0
    joint[:, stray] = -np.inf
    return special.softmax(joint, axis=1)


def _splits(mixture: Mixture, shares: Floats, k: int) -> list[Split]:
    """Cut a component across each of its rows' principal axes."""
    component = mixture.components[k]
    weights = shares[:, k] * component.converged
    if not weights.any():
        return []
    mean = weights @ component.coordinates / weights.sum()
    centered = component.coordinates - mean
    axes = np.linalg.eigh((centered.T * weights) @ centered)[1]
    sides = (centered @ axes > 0.0).T
    whole = _log_likelihood(centered, weights)
    cuts = [
        Split(sum(_log_likelihood(centered, weights * half) for half in (side, ~side)), k, side)
        for side in sides
    ]
    return [cut._replace(gain=cut.gain - whole) for cut in cuts if np.isfinite(cut.gain - whole)]


def _log_likelihood(coordinates: Floats, weights: Floats) -> float:
    """Largest log likelihood of a weighted normal distribution of the rows' share, up to a sum.

    Minus infinity if their covariance is singular.
    """
    total = weights.sum()
    if total <= 0.0:
        return -np.inf
    mean = weights @ coordinates / total
    centered = coordinates - mean
    sign, log_det = np.linalg.slogdet((centered.T * weights) @ centered / total)
    if sign <= 0.0 or not np.isfinite(log_det):
        return -np.inf
    return float(total * (np.log(total) - 0.5 * log_det))
