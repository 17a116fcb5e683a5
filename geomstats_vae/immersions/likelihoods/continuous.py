"""Entries of continuous distributions of fixed scale, shape or concentration.

Their Fisher information is a constant, in the location or in the logarithm of the mean.
"""

from __future__ import annotations

import torch
from torch.distributions import (
    Cauchy,
    Exponential,
    Gamma,
    Laplace,
    LogNormal,
    StudentT,
    VonMises,
)

from geomstats_vae.immersions.likelihoods import counts
from geomstats_vae.immersions.likelihoods.registry import constant, embedding, mean_std


@embedding.register
@constant("concentration")
def _(distribution: Gamma) -> torch.Tensor:
    # sqrt(k) log m with the mean m = k / rate: the information of m is k / m^2.
    shape = distribution.concentration
    return shape.sqrt() * (shape.log() - counts.safe_log(distribution.rate))


@embedding.register
def _(distribution: Exponential) -> torch.Tensor:
    return -counts.safe_log(distribution.rate)


@embedding.register
@constant("scale")
def _(distribution: Laplace) -> torch.Tensor:
    return distribution.loc / distribution.scale


@embedding.register
@constant("scale")
def _(distribution: LogNormal) -> torch.Tensor:
    # The logarithm of the data is normal.
    return distribution.loc / distribution.scale


@embedding.register
@constant("df", "scale")
def _(distribution: StudentT) -> torch.Tensor:
    freedom = distribution.df
    return ((freedom + 1.0) / (freedom + 3.0)).sqrt() * distribution.loc / distribution.scale


@embedding.register
@constant("scale")
def _(distribution: Cauchy) -> torch.Tensor:
    # Student's t with one degree of freedom.
    return 0.5**0.5 * distribution.loc / distribution.scale


@embedding.register
@constant("concentration")
def _(distribution: VonMises) -> torch.Tensor:
    # The information of the angle is k I1(k) / I0(k), the squared radius of the circle.
    angle, radius = distribution.loc, (distribution.concentration * _resultant(distribution)).sqrt()
    return torch.stack((radius * angle.cos(), radius * angle.sin()), dim=-1)


@mean_std.register
def _(distribution: VonMises) -> tuple[torch.Tensor, torch.Tensor]:
    # The circular standard deviation, an angle; torch's `variance` is 1 - I1 / I0.
    return distribution.loc, (-2.0 * _resultant(distribution).log()).sqrt()


def _resultant(distribution: VonMises) -> torch.Tensor:
    """I1(k) / I0(k), the mean of the cosine of the angle to the location."""
    k = distribution.concentration
    return torch.special.i1e(k) / torch.special.i0e(k)
