"""Warnings about a fitted model: of a latent space with faults, and of a training cut short."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning

from geomstats_vae.models.training import TrainingResult

# Frames between a warning and the caller of `fit`, which scikit-learn wraps.
_STACK_LEVEL = 4


class LatentCollapseWarning(UserWarning):
    """A latent dimension carries no information about the data."""


class TornLatentSpaceWarning(UserWarning):
    """Neighbors in the data have codes that lie far apart."""


def warn_of_faults(active_dims: NDArray[np.bool_], torn_share: float) -> None:
    """Warn of collapsed dimensions, and of torn data.

    Parameters
    ----------
    active_dims : numpy.ndarray of bool, shape=[latent_dim]
        Whether a dimension carries information.
    torn_share : float
        Share of the neighbors in the data that the codes tear apart.
    """
    if not active_dims.all():
        collapsed = np.flatnonzero(~active_dims).tolist()
        warnings.warn(
            f"Expected {len(active_dims)} informative latent dimensions, got "
            f"{active_dims.sum()}: the codes do not vary along {collapsed}. Reduce "
            "latent_dim, train longer, or change learning_rate or weight_decay.",
            LatentCollapseWarning,
            stacklevel=_STACK_LEVEL,
        )
    if torn_share > 0.0:
        warnings.warn(
            f"Expected neighbors in the data to have codes near each other, got {torn_share:.2%} "
            "of them far apart: the codes tear the data, and geodesics take ways around. Fit "
            "again with another random_state, more max_epochs or a larger latent_dim.",
            TornLatentSpaceWarning,
            stacklevel=_STACK_LEVEL,
        )


def warn_stopped(
    stage: str,
    training: TrainingResult,
    n_iter: int,
    max_epochs: int,
    max_seconds: float | None,
) -> None:
    """Warn of a training that was cut short.

    Parameters
    ----------
    stage : str
        'first' or 'second'.
    training : TrainingResult
        How that stage ended.
    n_iter, max_epochs : int
        Number of epochs of the first stage: those that were done, and those that were asked for.
    max_seconds : float or None
        Time that was given.
    """
    late = training.out_of_time
    how = f"stopped by max_seconds={max_seconds:g}" if late else "interrupted"
    remedy = "Allow more" if late else "Call fit again"
    warnings.warn(
        f"The {stage} stage was {how}, after {n_iter} of {max_epochs} epochs of the first; the "
        f"best state was kept. {remedy} to train to the end.",
        ConvergenceWarning,
        stacklevel=_STACK_LEVEL,
    )
