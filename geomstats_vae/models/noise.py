"""The second stage of training: the standard deviation of decoders whose means are frozen."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from geomstats_vae.geodesics.deadline import Deadline
from geomstats_vae.immersions.rbf import RBFPrecision
from geomstats_vae.models.architecture import Architecture
from geomstats_vae.models.choices import WIDTHS, choose_precision
from geomstats_vae.models.networks import StdNetwork
from geomstats_vae.models.stages import MeanStage, Rows, fit_precisions, fit_variance_head
from geomstats_vae.models.training import TrainingOptions, TrainingResult

# Effort after an interrupt.
_EPOCHS_AFTER_INTERRUPT = 5
# The variance head starts at the best constant and overfits soon: it needs no more patience.
_HEAD_PATIENCE = 20
_TOL, _TOL_AFTER_INTERRUPT = 1e-6, 1e-3
# Radial basis functions, where there are rows enough: from fewer, sigma between them is a guess.
N_CENTERS, ROWS_PER_CENTER = 64, 10


@dataclass(frozen=True)
class NoiseOptions:
    """What the standard deviation looks like.

    Attributes
    ----------
    n_centers : int or 'auto'
        Number of radial basis functions in each precision.
    a : float or 'auto'
        Width of the radial basis functions.
    zeta : float, 'auto' or None
        Precision far from the data.
    variance_head : bool
        Whether to train the decoder's own variance head, too.
    """

    n_centers: int | str
    a: float | str
    zeta: float | str | None
    variance_head: bool

    def n_centers_of(self, n_rows: int) -> int:
        """Resolve the number of radial basis functions for some number of rows."""
        if isinstance(self.n_centers, str):
            return min(N_CENTERS, max(1, n_rows // ROWS_PER_CENTER))
        return self.n_centers


@dataclass(frozen=True)
class NoiseStage:
    """Result of the second stage.

    Attributes
    ----------
    a : float
        Width of the radial basis functions.
    precisions : list of RBFPrecision
        Precision of each decoder.
    head : StdNetwork or None
        The decoder's own variance head; None if not asked for.
    training : TrainingResult
        How the head was trained; without epochs if it was not.
    """

    a: float
    precisions: list[RBFPrecision]
    head: StdNetwork | None
    training: TrainingResult

    def interrupted(self) -> NoiseStage:
        """Say that the user stopped the stage."""
        return replace(self, training=replace(self.training, interrupted=True))


def fit_noise(
    stage: MeanStage,
    x: torch.Tensor,
    rows: Rows,
    architecture: Architecture,
    generator: torch.Generator,
    random_state: np.random.RandomState,
    deadline: Deadline,
    *,
    options: NoiseOptions,
    effort: TrainingOptions,
    quick: bool,
    verbose: bool,
) -> NoiseStage:
    """Fit the precisions and, if asked for, the variance head.

    Parameters
    ----------
    stage : MeanStage
        Result of the first stage.
    x : torch.Tensor, shape=[n_points, n_features]
        Data, float64.
    rows : Rows
        The same, split.
    architecture : Architecture
        What networks look like.
    generator : torch.Generator
        Source of codes and of the head's weights.
    random_state : numpy.random.RandomState
        Source of the centres.
    deadline : Deadline
        When the training of the head ends.
    options : NoiseOptions
        What is fitted.
    effort : TrainingOptions
        How the head is trained.
    quick : bool
        Whether the user waits: loose tolerances, few epochs.
    verbose : bool
        Show progress bars.

    Returns
    -------
    noise : NoiseStage
        What was fitted.
    """
    sizes: dict[str, Any] = {"n_centers": options.n_centers_of(len(x))}
    sizes["random_state"] = random_state
    a = WIDTHS[0] if quick and options.a == "auto" else options.a
    a, zeta = choose_precision(stage, rows, generator, a=a, zeta=options.zeta, **sizes)
    tol = _TOL_AFTER_INTERRUPT if quick else _TOL
    fitting = {"a": a, "zeta": zeta, "tol": tol, "verbose": verbose}
    precisions = fit_precisions(stage, x, generator, **sizes, **fitting)
    if not options.variance_head:
        return NoiseStage(a, precisions, None, TrainingResult([], [], 0, interrupted=False))
    most = _EPOCHS_AFTER_INTERRUPT if quick else effort.max_epochs
    effort = replace(
        effort,
        max_epochs=min(effort.max_epochs, most),
        warmup_epochs=0,
        patience=min(effort.patience, _HEAD_PATIENCE),
    )
    head, training = fit_variance_head(
        stage, rows, architecture, effort, generator, deadline=deadline, verbose=verbose
    )
    return NoiseStage(a, precisions, head, training)
