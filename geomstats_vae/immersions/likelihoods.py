"""What distributions are compared by: their embeddings, and their means and standard deviations.

Distances between distributions are Euclidean distances between their embeddings. Where Fisher-Rao's
metric is flat output by output, the embedding e of a parameter satisfies |de|^2 = Fisher
information, and the pullback by it is the Fisher information of the latent code. Everything else is
embedded as (mean, std), whose pullback is the expected metric of [1]_, Theorem 1.

A new distribution is one entry, here or in the user's own code::

    @embedding.register
    def _(distribution: torch.distributions.Poisson) -> torch.Tensor:
        return 2.0 * distribution.rate.sqrt()

References
----------
.. [1] Arvanitidis, Hansen, Hauberg. "Latent Space Oddity: on the Curvature of Deep Generative
   Models." ICLR 2018. arXiv:1710.11379.
"""

from __future__ import annotations

import functools

import torch
from torch.distributions import (
    Bernoulli,
    Categorical,
    Distribution,
    Independent,
    OneHotCategorical,
)


@functools.singledispatch
def embedding(distribution: Distribution) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
    """Embed distributions into a Euclidean space.

    This is a `functools.singledispatch` function: ``embedding.register`` adds an entry for a
    type of distribution, or replaces one. Without an entry the embedding is (mean, std).

    Parameters
    ----------
    distribution : torch.distributions.Distribution
        Distributions at some latent codes, batch_shape=[n_points, ...].

    Returns
    -------
    embedding : torch.Tensor, shape=[n_points, ...], or a pair of them
        The embedding. The second of a pair is a standard deviation: in the search for the first
        curve, geodesics keep to levels of its norm.

    Notes
    -----
    Entries are differentiated twice, so they are to be smooth: from logits rather than from
    probabilities that round to 0 or 1.
    """
    return distribution.mean, distribution.stddev


@embedding.register
def _(distribution: Independent) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
    return embedding(distribution.base_dist)


@embedding.register
def _(distribution: Bernoulli) -> torch.Tensor:
    # 2 arcsin(sqrt p): its square is dp^2 / (p (1 - p)). This form is smooth where p rounds.
    return 2.0 * torch.atan(torch.exp(0.5 * distribution.logits))


@embedding.register(Categorical)
@embedding.register(OneHotCategorical)
def _(distribution: Categorical | OneHotCategorical) -> torch.Tensor:
    # 2 sqrt(p): the sum of squares is that of dp^2 / p.
    return 2.0 * torch.exp(0.5 * distribution.logits)


@functools.singledispatch
def mean_std(distribution: Distribution) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation of distributions, in units of the data.

    This is a `functools.singledispatch` function as `embedding` is. An entry is needed only where
    ``mean`` and ``stddev`` of the distribution are not those of the data.

    Parameters
    ----------
    distribution : torch.distributions.Distribution
        Distributions at some latent codes, batch_shape=[n_points, ...].

    Returns
    -------
    mean : torch.Tensor, shape=[n_points, ...]
        Means; of a categorical distribution the probabilities, the means of its one-hot vector.
    std : torch.Tensor, shape=[n_points, ...]
        Standard deviations of the same.
    """
    return distribution.mean, distribution.stddev


@mean_std.register
def _(distribution: Independent) -> tuple[torch.Tensor, torch.Tensor]:
    return mean_std(distribution.base_dist)


@mean_std.register
def _(distribution: Categorical) -> tuple[torch.Tensor, torch.Tensor]:
    # Torch has no mean of a label.
    p = distribution.probs
    return p, (p * (1.0 - p)).sqrt()
