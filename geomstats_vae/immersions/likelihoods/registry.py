"""Entries of distributions: embeddings, their constants, means and standard deviations."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch.distributions import Distribution, Independent

from geomstats_vae.immersions.errors import DecoderError
from geomstats_vae.immersions.likelihoods import counts

Entry = TypeVar("Entry", bound=Callable[..., Any])


def constant(*names: str) -> Callable[[Entry], Entry]:
    """Mark the parameters that an entry of `embedding` takes for constants.

    A `Decoder` that returns such a distribution is refused if they change with the latent code.

    Parameters
    ----------
    *names : str
        Attributes of the distribution.

    Returns
    -------
    mark : callable
        Decorator of the entry; it goes below ``embedding.register``.
    """

    def mark(entry: Entry) -> Entry:
        entry.constants = names  # type: ignore[attr-defined]
        return entry

    return mark


@functools.singledispatch
def embedding(distribution: Distribution) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
    """Embed distributions into a Euclidean space.

    This is a `functools.singledispatch` function: ``embedding.register`` adds an entry for a
    type of distribution, or replaces one. Distributions with tensors ``mu`` and ``theta`` are
    negative binomials, as in scvi-tools. Without an entry the embedding is (mean, std).

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
    law = counts.overdispersed(distribution)
    if law is not None:
        return counts.negative_binomial(law.mean.log() - law.dispersion.log(), law.dispersion)
    return mean_std(distribution)


@embedding.register
def _(distribution: Independent) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
    return embedding(distribution.base_dist)


def constants(distribution: Distribution) -> dict[str, torch.Tensor]:
    """Find the parameters that the embedding of a distribution takes for constants.

    Parameters
    ----------
    distribution : torch.distributions.Distribution
        Distributions at some latent codes, batch_shape=[n_points, ...].

    Returns
    -------
    constants : dict of str to torch.Tensor, shape=[n_points, ...]
        Their names and values; they are to be equal for all codes.
    """
    distribution = _base(distribution)
    law = counts.overdispersed(distribution) if _has_no_entry(distribution) else None
    if law is not None:
        return {law.name: torch.broadcast_to(law.dispersion, law.mean.shape)}
    names = getattr(embedding.dispatch(type(distribution)), "constants", ())
    values = {name: torch.as_tensor(getattr(distribution, name)) for name in names}
    shape = distribution.batch_shape
    return {name: torch.broadcast_to(value, shape) for name, value in values.items()}


def approximation(distribution: Distribution) -> str | None:
    """Say what the embedding of a distribution leaves out.

    Parameters
    ----------
    distribution : torch.distributions.Distribution
        Distributions at some latent codes.

    Returns
    -------
    approximation : str or None
        A sentence; None if nothing is left out.
    """
    distribution = _base(distribution)
    law = counts.overdispersed(distribution) if _has_no_entry(distribution) else None
    return None if law is None else law.approximation


@functools.singledispatch
def mean_std(distribution: Distribution) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation of distributions, in units of the data.

    This is a `functools.singledispatch` function as `embedding` is. An entry is needed only where
    ``mean`` and ``stddev`` of the distribution are not those of the data, or not smooth.

    Parameters
    ----------
    distribution : torch.distributions.Distribution
        Distributions at some latent codes, batch_shape=[n_points, ...].

    Returns
    -------
    mean : torch.Tensor, shape=[n_points, ...]
        Means; of a categorical distribution the probabilities, the means of its one-hot vector.
    std : torch.Tensor, shape=[n_points, ...]
        Standard deviations of the same; infinite or NaN where the distribution has none.

    Raises
    ------
    DecoderError
        A ValueError: if torch knows no mean or standard deviation of the distribution.
    """
    law = counts.overdispersed(distribution)
    if law is not None:
        return law.data_mean, counts.root(law.data_variance)
    try:
        return distribution.mean, distribution.stddev
    except NotImplementedError as error:
        kind = type(distribution).__name__
        raise DecoderError(
            f"Expected a distribution with an embedding, or with a mean and a stddev, got {kind}, "
            "which has none in torch; register an entry by embedding.register, or pass "
            "likelihood=callable, which maps the distribution to its embedding."
        ) from error


@mean_std.register
def _(distribution: Independent) -> tuple[torch.Tensor, torch.Tensor]:
    return mean_std(distribution.base_dist)


def _base(distribution: Distribution) -> Distribution:
    """Return the distribution of one output inside `Independent` ones."""
    while isinstance(distribution, Independent):
        distribution = distribution.base_dist
    return distribution


def _has_no_entry(distribution: Distribution) -> bool:
    return embedding.dispatch(type(distribution)) is embedding.dispatch(Distribution)
