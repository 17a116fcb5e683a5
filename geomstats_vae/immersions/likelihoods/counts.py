"""Formulas of counts, and the distributions of counts that are known by their parameters alone."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.distributions import Distribution


def root(value: torch.Tensor) -> torch.Tensor:
    """Square root of values that are positive, from their logarithm.

    Derivatives are finite down to the root of the smallest number of the type; below it the result
    stays the same.

    Parameters
    ----------
    value : torch.Tensor, shape=[...]
        Not negative.

    Returns
    -------
    root : torch.Tensor, shape=[...]
        Its square root.
    """
    return torch.exp(0.5 * safe_log(value))


def safe_log(value: torch.Tensor) -> torch.Tensor:
    """Logarithm of values that are positive but for rounding.

    Parameters
    ----------
    value : torch.Tensor, shape=[...]
        Not negative.

    Returns
    -------
    log : torch.Tensor, shape=[...]
        Logarithm. Of numbers below the root of the smallest of the type it is the logarithm of
        that root, as their second derivatives would overflow.
    """
    return value.clamp_min(torch.finfo(value.dtype).tiny ** 0.5).log()


def negative_binomial(log_ratio: torch.Tensor, dispersion: torch.Tensor) -> torch.Tensor:
    """Embed negative binomial distributions of mean m and constant dispersion t.

    The information of m is t / (m (t + m)), and e = 2 sqrt(t) asinh(sqrt(m / t)).

    Parameters
    ----------
    log_ratio : torch.Tensor, shape=[...]
        log(m / t).
    dispersion : torch.Tensor, shape=[...]
        t; the variance is m + m^2 / t.

    Returns
    -------
    embedding : torch.Tensor, shape=[...]
        e.
    """
    return 2.0 * dispersion.sqrt() * torch.asinh(torch.exp(0.5 * log_ratio))


@dataclass(frozen=True)
class Overdispersed:
    """A negative binomial distribution, and the moments of the data that it stands for.

    Parameters
    ----------
    mean, dispersion : torch.Tensor, shape=[n_points, ...]
        Mean m and dispersion t of the negative binomial distribution.
    name : str
        Attribute that holds the dispersion.
    data_mean, data_variance : torch.Tensor, shape=[n_points, ...]
        Moments of the data.
    approximation : str or None
        What the data's distribution has beyond a negative binomial one, if anything.
    """

    mean: torch.Tensor
    dispersion: torch.Tensor
    name: str
    data_mean: torch.Tensor
    data_variance: torch.Tensor
    approximation: str | None = None


def overdispersed(distribution: Distribution) -> Overdispersed | None:
    """Recognise distributions of counts by their parameters, as in scvi-tools.

    Parameters
    ----------
    distribution : torch.distributions.Distribution
        Tensors ``mu`` and ``theta`` make it negative binomial, ``zi_logits`` with them
        zero-inflated, ``mu1``, ``mu2``, ``theta1`` and ``mixture_logits`` a mixture of two.

    Returns
    -------
    law : Overdispersed or None
        Of a zero-inflated distribution its part that is not inflated, of a mixture one of the same
        mean and the first dispersion. None for other distributions.
    """
    if _has(distribution, "mu", "theta"):
        return _negative_binomial(distribution)
    if _has(distribution, "mu1", "mu2", "theta1", "mixture_logits"):
        return _mixture(distribution)
    return None


def _has(distribution: Distribution, *names: str) -> bool:
    return all(isinstance(getattr(distribution, name, None), torch.Tensor) for name in names)


def _negative_binomial(distribution: Distribution) -> Overdispersed:
    mu, theta = distribution.mu, distribution.theta  # type: ignore[attr-defined]
    mean = _positive(mu)
    if not _has(distribution, "zi_logits"):
        return Overdispersed(mean, theta, "theta", mu, _variance(mu, theta))
    present = torch.sigmoid(-distribution.zi_logits)  # type: ignore[attr-defined]
    # E x^2 is that of the part which is not inflated, times its share.
    variance = present * (_variance(mu, theta) + (1.0 - present) * mu**2)
    said = "zero-inflated counts are embedded by the negative binomial part alone"
    return Overdispersed(mean, theta, "theta", present * mu, variance, said)


def _mixture(distribution: Distribution) -> Overdispersed:
    first, second = distribution.mu1, distribution.mu2  # type: ignore[attr-defined]
    theta = distribution.theta1  # type: ignore[attr-defined]
    other = getattr(distribution, "theta2", None)
    share = torch.sigmoid(distribution.mixture_logits)  # type: ignore[attr-defined]
    mean = share * first + (1.0 - share) * second
    within = share * _variance(first, theta)
    within = within + (1.0 - share) * _variance(second, theta if other is None else other)
    variance = within + share * (1.0 - share) * (first - second) ** 2
    said = "a mixture of negative binomials is embedded as one of the same mean"
    return Overdispersed(_positive(mean), theta, "theta1", mean, variance, said)


def _positive(mean: torch.Tensor) -> torch.Tensor:
    return mean.clamp_min(torch.finfo(mean.dtype).tiny ** 0.5)


def _variance(mean: torch.Tensor, dispersion: torch.Tensor) -> torch.Tensor:
    return mean + mean**2 / dispersion
