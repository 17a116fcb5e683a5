"""The two stages of training a variational autoencoder: its mean, then its standard deviation."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import nn

from geomstats_vae.geodesics.deadline import Deadline
from geomstats_vae.immersions.rbf import RBFPrecision
from geomstats_vae.models.architecture import Architecture
from geomstats_vae.models.layout import isomap_layout
from geomstats_vae.models.networks import (
    Encoder,
    StdNetwork,
    absorb_input_scaling,
    absorb_output_scaling,
    freeze,
)
from geomstats_vae.models.objectives import NegativeElbo, ResidualLikelihood, sample_codes
from geomstats_vae.models.training import TrainingOptions, TrainingResult, train

# Smallest standard deviation of the noise, as a share of the data's own. Without it the likelihood
# would be unbounded on data that the mean reproduces exactly, such as constant columns.
_NOISE_FLOOR = 1e-3
# Smallest variance of an output as a share of the mean squared residual, for both kinds of standard
# deviation. With a smaller one, nearly constant outputs such as pixels on the border of images
# become overconfident. On digits the held-out likelihood is best near this value.
RESIDUAL_FLOOR = 3e-3


@dataclass(frozen=True)
class Rows:
    """Data split into training rows and held-out rows.

    Attributes
    ----------
    train, held_out : torch.Tensor, shape=[n_points, n_features]
        The two parts.
    """

    train: torch.Tensor
    held_out: torch.Tensor

    @classmethod
    def split(cls, x: torch.Tensor, held_out_fraction: float, generator: torch.Generator) -> Rows:
        """Split data at random.

        Parameters
        ----------
        x : torch.Tensor, shape=[n_points, n_features]
            At least two rows.
        held_out_fraction : float
            Share of the held-out rows, of which there is at least one.
        generator : torch.Generator
            Source of the split.

        Returns
        -------
        rows : Rows
            The two parts.
        """
        order = torch.randperm(len(x), generator=generator)
        n_held_out = min(len(x) - 1, max(1, round(held_out_fraction * len(x))))
        return cls(train=x[order[n_held_out:]], held_out=x[order[:n_held_out]])

    def map(self, function: Callable[[torch.Tensor], torch.Tensor]) -> Rows:
        """Apply a function to both parts.

        Parameters
        ----------
        function : callable
            Maps tensors to tensors.

        Returns
        -------
        rows : Rows
            The results.
        """
        return Rows(function(self.train), function(self.held_out))


def _scaling(x: torch.Tensor) -> tuple[torch.Tensor, float]:
    """Return the mean of every feature, and one standard deviation for all features together.

    One scale for all features keeps the metric of data space, up to a factor.
    """
    shift = x.mean(dim=0)
    scale = (x - shift).square().mean().sqrt().item()
    # Data that vary by rounding errors only are constant: they are not scaled.
    rounding = torch.finfo(x.dtype).eps * max(1.0, x.abs().max().item())
    return shift, scale if scale > rounding else 1.0


class _Autoencoder(nn.Module):
    def __init__(self, encoder: Encoder, decoders: Iterable[nn.Sequential]) -> None:
        super().__init__()
        self.encoder, self.decoders = encoder, nn.ModuleList(decoders)


@dataclass(frozen=True)
class MeanStage:
    """Result of the first stage.

    Attributes
    ----------
    encoder : Encoder
    means : tuple of torch.nn.Sequential
        Trained networks on data units, float64, frozen: one mean for each decoder.
    scale : float
        Standard deviation of the data, over all features.
    training : TrainingResult
        Losses, in nats per row for densities on data units.
    """

    encoder: Encoder
    means: tuple[nn.Sequential, ...]
    scale: float
    training: TrainingResult

    def mean(self, z: torch.Tensor) -> torch.Tensor:
        """Decode codes as the mean over the decoders.

        Parameters
        ----------
        z : torch.Tensor, shape=[n_points, dim]
            Codes.

        Returns
        -------
        mean : torch.Tensor, shape=[n_points, n_features]
            Means of the data.
        """
        return torch.stack([mean(z) for mean in self.means]).mean(dim=0)

    @property
    def variance_floor(self) -> float:
        """Smallest noise variance.

        Returns
        -------
        variance_floor : float
            In data units squared.
        """
        return (_NOISE_FLOOR * self.scale) ** 2


def _layout(x: torch.Tensor, dim: int, like: torch.Tensor) -> torch.Tensor:
    return torch.as_tensor(isomap_layout(x.numpy(), dim)).to(like)


def fit_mean(
    rows: Rows,
    architecture: Architecture,
    options: TrainingOptions,
    generator: torch.Generator,
    *,
    n_decoders: int,
    device: torch.device,
    deadline: Deadline,
    verbose: bool,
) -> MeanStage:
    """First stage: encoder and means, by the ELBO with one noise variance for all outputs.

    Parameters
    ----------
    rows : Rows
        Data, float64, on the CPU.
    architecture : Architecture
        What the networks look like.
    options : TrainingOptions
        How they are trained.
    generator : torch.Generator
        Source of all randomness.
    n_decoders : int
        Number of decoders, which share the encoder.
    device : torch.device
        Where they are trained.
    deadline : Deadline
        When the training ends.
    verbose : bool
        Show a progress bar.

    Returns
    -------
    stage : MeanStage
        Trained networks.
    """
    shift, scale = _scaling(rows.train)
    # Single precision is enough for stochastic gradients; data are centred before they are rounded.
    precision = torch.float32
    inputs = rows.map(lambda x: ((x - shift) / scale).to(device, precision))
    targets = rows.map(lambda x: x.to(device, precision)) if architecture.bounded else inputs
    encoder = architecture.encoder(precision, generator)
    means = [architecture.mean(precision, generator) for _ in range(n_decoders)]
    model = _Autoencoder(encoder, means).to(device)
    unit = 1.0 if architecture.bounded else scale
    objective = NegativeElbo(
        model,
        inputs.train,
        targets.train,
        (inputs.held_out, targets.held_out),
        layout=_layout(rows.train, architecture.dim, inputs.train)
        if options.warmup == "layout"
        else None,
        warmup_epochs=options.warmup_epochs,
        variance_floor=(_NOISE_FLOOR * scale / unit) ** 2,
        unit=unit,
        generator=generator,
    )
    result = train(
        model,
        objective,
        len(rows.train),
        options,
        generator,
        shares={"decoders": 1.0 / n_decoders},
        deadline=deadline,
        desc="VAE: mean",
        verbose=verbose,
    )
    model = freeze(model.to("cpu", torch.float64))
    absorb_input_scaling(cast(nn.Linear, model.encoder.body[0]), shift, scale)
    for mean in means:
        if not architecture.bounded:
            absorb_output_scaling(cast(nn.Linear, mean[-1]), shift, scale)
    return MeanStage(encoder, tuple(means), scale, result)


def fit_precisions(
    stage: MeanStage, x: torch.Tensor, generator: torch.Generator, **options: Any
) -> list[RBFPrecision]:
    """Second stage: RBF precision of each decoder, with its mean frozen.

    Parameters
    ----------
    stage : MeanStage
        Result of the first stage.
    x : torch.Tensor, shape=[n_points, n_features]
        Data, float64.
    generator : torch.Generator
        Source of the codes, drawn from the encoder for each decoder: the likelihood is the one in
        the ELBO.
    **options : dict
        Arguments of `RBFPrecision.fit`.

    Returns
    -------
    precisions : list of RBFPrecision
        The networks.
    """
    precisions = []
    for mean in stage.means:
        z, squares = residuals_at_codes(stage, mean, x, generator)
        fitted = RBFPrecision.fit(z, squares, residual_floor=RESIDUAL_FLOOR, **options)
        precisions.append(fitted)
    return precisions


@torch.no_grad()
def residuals_at_codes(
    stage: MeanStage, mean: nn.Module, x: torch.Tensor, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw codes of data, and square what a decoder's mean misses there.

    Parameters
    ----------
    stage : MeanStage
        Result of the first stage.
    mean : torch.nn.Module
        One of its means.
    x : torch.Tensor, shape=[n_points, n_features]
        Data, float64.
    generator : torch.Generator
        Source of the codes.

    Returns
    -------
    z : torch.Tensor, shape=[n_points, dim]
        Codes.
    squares : torch.Tensor, shape=[n_points, n_features]
        Squared residuals, at least the smallest noise variance.
    """
    z = sample_codes(stage.encoder, x, generator)
    return z, (x - mean(z)).square_().clamp_(min=stage.variance_floor)


def fit_variance_head(
    stage: MeanStage,
    rows: Rows,
    architecture: Architecture,
    options: TrainingOptions,
    generator: torch.Generator,
    *,
    deadline: Deadline,
    verbose: bool,
) -> tuple[StdNetwork, TrainingResult]:
    """Second stage, for comparison: the decoder's own variance head, with the mean frozen.

    Of several decoders the mean is that over all of them.

    Parameters
    ----------
    stage : MeanStage
        Result of the first stage.
    rows : Rows
        Data, float64.
    architecture : Architecture
        What the network looks like.
    options : TrainingOptions
        How it is trained.
    generator : torch.Generator
        Source of all randomness.
    deadline : Deadline
        When the training ends.
    verbose : bool
        Show a progress bar.

    Returns
    -------
    head : StdNetwork
        The network.
    training : TrainingResult
        Losses.
    """
    head = architecture.variance_head(generator=generator)
    objective = ResidualLikelihood(
        head, stage.encoder, stage.mean, rows.train, rows.held_out, generator=generator
    )
    with torch.no_grad():
        variances = objective.mean_squared_residuals() + stage.variance_floor
        head.floor.fill_(RESIDUAL_FLOOR * variances.mean().item())
        # Start at the best constant, so that the network only learns deviations from it.
        cast(nn.Linear, head.log_variance[-1]).bias.copy_(variances.log())
    result = train(
        head,
        objective,
        len(rows.train),
        options,
        generator,
        deadline=deadline,
        desc="VAE: variance head",
        verbose=verbose,
    )
    return freeze(head), result
