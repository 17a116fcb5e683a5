"""Entries of discrete distributions; all formulas start from logits or logarithms.

The embeddings e are those of [1]_ or follow from the Fisher information by de = sqrt(information).

References
----------
.. [1] Amari, Nagaoka. "Methods of Information Geometry." Oxford University Press 2000, section 2.2.
"""

from __future__ import annotations

import torch
from torch.distributions import (
    Bernoulli,
    Binomial,
    Categorical,
    Geometric,
    Multinomial,
    NegativeBinomial,
    OneHotCategorical,
    Poisson,
)
from torch.nn.functional import logsigmoid

from geomstats_vae.immersions.likelihoods import counts
from geomstats_vae.immersions.likelihoods.registry import constant, embedding, mean_std


@embedding.register
def _(distribution: Bernoulli) -> torch.Tensor:
    return _angle(distribution.logits)


@embedding.register
@constant("total_count")
def _(distribution: Binomial) -> torch.Tensor:
    # n trials have n times the information of one.
    return distribution.total_count.sqrt() * _angle(distribution.logits)


@embedding.register(Categorical)
@embedding.register(OneHotCategorical)
def _(distribution: Categorical | OneHotCategorical) -> torch.Tensor:
    # 2 sqrt(p): the sum of squares is that of dp^2 / p.
    return 2.0 * torch.exp(0.5 * distribution.logits)


@embedding.register
@constant("total_count")
def _(distribution: Multinomial) -> torch.Tensor:
    return 2.0 * distribution.total_count**0.5 * torch.exp(0.5 * distribution.logits)


@embedding.register
def _(distribution: Poisson) -> torch.Tensor:
    # 2 sqrt(m): its square is dm^2 / m.
    return 2.0 * counts.root(distribution.rate)


@embedding.register
@constant("total_count")
def _(distribution: NegativeBinomial) -> torch.Tensor:
    # The mean is total_count exp(logits).
    return counts.negative_binomial(distribution.logits, distribution.total_count)


@embedding.register
def _(distribution: Geometric) -> torch.Tensor:
    # The negative binomial with t = 1; its logits are those of the end of the trials.
    return counts.negative_binomial(-distribution.logits, torch.ones_like(distribution.logits))


@mean_std.register
def _(distribution: Bernoulli) -> tuple[torch.Tensor, torch.Tensor]:
    return distribution.probs, _binary_std(distribution.logits)


@mean_std.register
def _(distribution: Binomial) -> tuple[torch.Tensor, torch.Tensor]:
    std = distribution.total_count.sqrt() * _binary_std(distribution.logits)
    return distribution.mean, std


@mean_std.register(Categorical)
@mean_std.register(OneHotCategorical)
def _(distribution: Categorical | OneHotCategorical) -> tuple[torch.Tensor, torch.Tensor]:
    # Torch has no mean of a label.
    p = distribution.probs
    return p, counts.root(p * (1.0 - p))


@mean_std.register
def _(distribution: Multinomial) -> tuple[torch.Tensor, torch.Tensor]:
    return distribution.mean, counts.root(distribution.variance)


@mean_std.register
def _(distribution: Poisson) -> tuple[torch.Tensor, torch.Tensor]:
    return distribution.rate, counts.root(distribution.rate)


def _angle(logits: torch.Tensor) -> torch.Tensor:
    """2 arcsin(sqrt p): its square is dp^2 / (p (1 - p)). This form is smooth where p rounds."""
    return 2.0 * torch.atan(torch.exp(0.5 * logits))


def _binary_std(logits: torch.Tensor) -> torch.Tensor:
    """Evaluate sqrt(p (1 - p)); smooth where p rounds."""
    return torch.exp(0.5 * (logsigmoid(logits) + logsigmoid(-logits)))
