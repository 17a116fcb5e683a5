"""Objectives of the two stages of training: the negative ELBO, then the likelihood of residuals."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

import torch

_LOG_2_PI = math.log(2.0 * math.pi)


def kl_divergence(mean: torch.Tensor, std: torch.Tensor) -> torch.Tensor:
    """Kullback-Leibler divergence of N(mean, std^2) from N(0, 1), for each latent dimension.

    Parameters
    ----------
    mean : torch.Tensor, shape=[..., dim]
        Means.
    std : torch.Tensor, shape=[..., dim]
        Standard deviations.

    Returns
    -------
    divergence : torch.Tensor, shape=[..., dim]
        Divergence in nats; [1]_, appendix B.

    References
    ----------
    .. [1] Kingma, Welling. "Auto-Encoding Variational Bayes." ICLR 2014. arXiv:1312.6114.
    """
    return 0.5 * (mean**2 + std**2 - 1.0) - torch.log(std)


def gaussian_log_density(squared_residuals: torch.Tensor, std: torch.Tensor) -> torch.Tensor:
    """Log density of independent Gaussian residuals, summed over the outputs.

    Parameters
    ----------
    squared_residuals : torch.Tensor, shape=[..., n_outputs]
        Squared differences of data and mean.
    std : torch.Tensor, shape=[..., n_outputs]
        Standard deviations.

    Returns
    -------
    log_density : torch.Tensor, shape=[...]
        Log density in nats.
    """
    standardised = squared_residuals / std**2
    return -(0.5 * (standardised + _LOG_2_PI) + torch.log(std)).sum(dim=-1)


def sample_codes(
    encoder: Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]],
    x: torch.Tensor,
    generator: torch.Generator,
) -> torch.Tensor:
    """Draw one code from the encoder's distribution of every row.

    Parameters
    ----------
    encoder : callable
        Maps data to means and standard deviations of codes.
    x : torch.Tensor, shape=[n_points, n_features]
        Data.
    generator : torch.Generator
        Source of the noise, on the CPU.

    Returns
    -------
    z : torch.Tensor, shape=[n_points, dim]
        Codes.
    """
    mean, std = encoder(x)
    return mean + std * _normal(mean, generator)


def _normal(like: torch.Tensor, generator: torch.Generator, *leading: int) -> torch.Tensor:
    # Drawn on the CPU, so that a seed means the same on every device.
    noise = torch.randn(*leading, *like.shape, generator=generator, dtype=like.dtype)
    return noise.to(like.device)


_Decoder = Callable[[torch.Tensor], torch.Tensor]


class Decoders(Protocol):
    """Decoders, one after the other; what torch's list of modules and lists have in common."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[_Decoder]: ...


class EncoderDecoders(Protocol):
    """What the first stage trains: an encoder, and decoders that return means of the data."""

    @property
    def decoders(self) -> Decoders:
        """Decoders of codes, shape=[n_points, dim]."""

    def encoder(self, x: torch.Tensor, /) -> tuple[torch.Tensor, torch.Tensor]:
        """Return means and standard deviations of codes."""


class NegativeElbo:
    """Negative evidence lower bound with one noise variance, at its optimum for every batch.

    Parameters
    ----------
    model : torch.nn.Module
        With parts ``encoder`` and ``decoders``.
    inputs, targets : torch.Tensor, shape=[n_points, n_features]
        Training data as the encoder takes it and as the decoder returns it.
    held_out : tuple of torch.Tensor
        Inputs and targets of the held-out rows.
    layout : torch.Tensor or None, shape=[n_points, dim]
        Places where the codes of the training data begin, centred, with a mean variance of one.
        During the warm-up the codes are pulled there, less and less: the penalty is half the
        squared distance to the place, times n_features, times the squared share of the warm-up
        that is left. Codes are shrunk to the size of the layout first, so it is the shape that
        matters. Without a layout the weight of the KL divergence grows from zero to one instead.
    warmup_epochs : int
        Epochs of the warm-up.
    variance_floor : float
        Smallest noise variance, in units of the targets squared.
    unit : float
        Unit of the targets in data units; densities are reported in data units.
    generator : torch.Generator
        Source of all noise.

    Notes
    -----
    The optimal variance is the mean squared residual, so a batch's reconstruction term is
    n_features / 2 * log(mean squared residual) up to a constant; [1]_, section 4.2.

    Of several decoders the squared residual is the mean over all of them, each with codes that are
    drawn for it. So each decoder takes as many steps as one alone would. If instead one of K
    decoders were drawn for each batch, each would take 1 / K of them.

    References
    ----------
    .. [1] Rybkin, Daniilidis, Levine. "Simple and Effective VAE Training with Calibrated
       Decoders." ICML 2021. arXiv:2006.13202.
    """

    # Draws of the code per held-out row: enough to choose an epoch by.
    n_held_out_draws = 8

    def __init__(
        self,
        model: EncoderDecoders,
        inputs: torch.Tensor,
        targets: torch.Tensor,
        held_out: tuple[torch.Tensor, torch.Tensor],
        *,
        layout: torch.Tensor | None = None,
        warmup_epochs: int,
        variance_floor: float,
        unit: float,
        generator: torch.Generator,
    ) -> None:
        self.model = model
        self.inputs, self.targets = inputs, targets
        self.held_out_inputs, self.held_out_targets = held_out
        self.layout, self.warmup_epochs = layout, warmup_epochs
        self.variance_floor = variance_floor
        self.unit = unit
        self.generator = generator
        self.noise_variance = variance_floor
        self.train_loss = math.nan
        # Every epoch is judged with the same noise, so that their order is not by chance.
        like = model.encoder(self.held_out_inputs)[0].detach()
        self._held_out_noise = _normal(like, generator, self.n_held_out_draws)

    def _warmed_up(self, epoch: int) -> float:
        """Share of the warm-up that is over."""
        return min(1.0, epoch / max(self.warmup_epochs, 1))

    def _pull(self, mean: torch.Tensor, layout: torch.Tensor) -> torch.Tensor:
        """Distance of codes from their places, shape=[]."""
        size = layout.square().sum().clamp(min=torch.finfo(layout.dtype).tiny)
        scale = ((mean * layout).sum() / size).detach().clamp(min=1.0)
        squares = (mean / scale - layout).square().sum(dim=1)
        return 0.5 * self.targets.shape[1] * squares.mean()

    def _prior(
        self, mean: torch.Tensor, kl: torch.Tensor, rows: torch.Tensor, epoch: int
    ) -> torch.Tensor:
        """KL divergence with what the warm-up makes of it, shape=[]."""
        if self.layout is None:
            return self._warmed_up(epoch + 1) * kl
        weight = (1.0 - self._warmed_up(epoch)) ** 2
        return kl + weight * self._pull(mean, self.layout[rows]) if weight else kl

    def epoch_losses(self, batches: Iterable[torch.Tensor], epoch: int) -> Iterator[torch.Tensor]:
        """Generate one epoch's losses to be minimised, and learn its noise variance.

        Parameters
        ----------
        batches : iterable of torch.Tensor
            Indices of rows.
        epoch : int
            Number of the epoch, from zero.

        Yields
        ------
        loss : torch.Tensor, shape=[]
            Loss of a batch, with what the warm-up changes at this epoch.
        """
        total_error, total_kl, seen = 0.0, 0.0, 0
        for rows in batches:
            mean, std = self.model.encoder(self.inputs[rows])
            noise = _normal(mean, self.generator, len(self.model.decoders))
            codes, targets = mean + std * noise, self.targets[rows]
            error = self._error(zip(self.model.decoders, codes, strict=True), targets)
            kl = kl_divergence(mean, std).sum(dim=1).mean()
            reconstruction = 0.5 * self.targets.shape[1] * torch.log(error + self.variance_floor)
            yield reconstruction + self._prior(mean, kl, rows, epoch)
            seen += len(rows)
            total_error += len(rows) * error.item()
            total_kl += len(rows) * kl.item()
        self.noise_variance = total_error / seen + self.variance_floor
        self.train_loss = self._negative_elbo(total_error / seen, total_kl / seen)

    def _error(
        self,
        drawn: Iterable[tuple[_Decoder, torch.Tensor]],
        targets: torch.Tensor,
    ) -> torch.Tensor:
        """Mean squared residual over pairs of a decoder and codes."""
        errors = [((decoder(z) - targets) ** 2).mean() for decoder, z in drawn]
        return torch.stack(errors).mean()

    def _negative_elbo(self, error: float, kl: float) -> float:
        log_variance = math.log(self.noise_variance) + 2.0 * math.log(self.unit)
        per_output = 0.5 * (error / self.noise_variance + log_variance + _LOG_2_PI)
        return self.targets.shape[1] * per_output + kl

    @torch.no_grad()
    def held_out_loss(self) -> float:
        """Evaluate the negative ELBO of the held-out rows, with the last epoch's noise.

        Returns
        -------
        loss : float
            Mean over rows, in nats.
        """
        mean, std = self.model.encoder(self.held_out_inputs)
        codes = mean + std * self._held_out_noise
        drawn = itertools.product(self.model.decoders, codes)
        error = self._error(drawn, self.held_out_targets)
        kl = kl_divergence(mean, std).sum(dim=1).mean()
        return self._negative_elbo(error.item(), kl.item())


class ResidualLikelihood:
    """Negative log likelihood of the residuals of a frozen mean under a standard deviation.

    Parameters
    ----------
    std : torch.nn.Module
        Maps codes to standard deviations; the part to be trained.
    encoder, mean : torch.nn.Module
        Frozen parts; codes are drawn from the encoder.
    x, held_out : torch.Tensor, shape=[n_points, n_features]
        Training data and held-out data.
    generator : torch.Generator
        Source of all noise.
    """

    def __init__(
        self,
        std: Callable[[torch.Tensor], torch.Tensor],
        encoder: Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]],
        mean: Callable[[torch.Tensor], torch.Tensor],
        x: torch.Tensor,
        held_out: torch.Tensor,
        *,
        generator: torch.Generator,
    ) -> None:
        self.std, self.encoder, self.mean = std, encoder, mean
        self.x, self.generator = x, generator
        self.train_loss = math.nan
        self._held_out = self._residuals(held_out)

    def mean_squared_residuals(self) -> torch.Tensor:
        """Average the squared residuals of the training rows at codes drawn for the purpose.

        Returns
        -------
        mean_squared_residuals : torch.Tensor, shape=[n_outputs]
            In data units squared.
        """
        return self._residuals(self.x)[1].mean(dim=0)

    @torch.no_grad()
    def _residuals(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        z = sample_codes(self.encoder, x, self.generator)
        return z, (x - self.mean(z)) ** 2

    def _loss(self, z: torch.Tensor, squared_residuals: torch.Tensor) -> torch.Tensor:
        return -gaussian_log_density(squared_residuals, self.std(z)).mean()

    def epoch_losses(self, batches: Iterable[torch.Tensor], epoch: int) -> Iterator[torch.Tensor]:
        """Generate one epoch's losses to be minimised.

        Parameters
        ----------
        batches : iterable of torch.Tensor
            Indices of rows.
        epoch : int
            Number of the epoch, from zero; the loss does not depend on it.

        Yields
        ------
        loss : torch.Tensor, shape=[]
            Loss of a batch.
        """
        total, seen = 0.0, 0
        for rows in batches:
            loss = self._loss(*self._residuals(self.x[rows]))
            yield loss
            seen += len(rows)
            total += len(rows) * loss.item()
        self.train_loss = total / seen

    @torch.no_grad()
    def held_out_loss(self) -> float:
        """Evaluate the negative log likelihood of the held-out rows.

        Returns
        -------
        loss : float
            Mean over rows, in nats.
        """
        return self._loss(*self._held_out).item()
