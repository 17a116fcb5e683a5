"""What a decoder may be, how its output is read, and what is refused."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar

import torch
from torch.distributions import Distribution
from torch.nn.modules.batchnorm import _NormBase

from geomstats_vae.immersions import likelihoods

# Codes of shape=[n_points, dim] to a tensor, a pair of tensors, a distribution or another object.
DecoderFunction: TypeAlias = Callable[[torch.Tensor], Any]
# What a decoder returns, to an embedding or a pair of embeddings.
Likelihood: TypeAlias = Callable[[Any], torch.Tensor | tuple[torch.Tensor, torch.Tensor]]
MeanStd: TypeAlias = tuple[torch.Tensor, torch.Tensor | None]
AnyDecoder = TypeVar("AnyDecoder", bound=DecoderFunction)

_OUTPUT_ATTRIBUTES = ("reconstruction", "sample", "mean")


class DecoderError(ValueError):
    """A decoder that cannot define a metric: random, training, or of an unreadable output."""


def read_embedding(output: Any, likelihood: Likelihood | None = None) -> MeanStd:
    """Read the embedding out of what a decoder returned.

    Parameters
    ----------
    output : torch.Tensor, tuple, torch.distributions.Distribution or object
        A tensor is the mean of a deterministic decoder. A pair is (mean, std). A distribution
        gives its `likelihoods.embedding`. Of any other object the first tensor among
        ``.reconstruction``, ``.sample`` and ``.mean`` is the mean.
    likelihood : callable, optional
        Maps the output to its embedding instead.

    Returns
    -------
    mean : torch.Tensor, shape=[n_points, n_mean]
        Embedding, without the part that is a standard deviation; image-shaped outputs flattened.
    std : torch.Tensor, shape=[n_points, n_std], or None
        Standard deviation; None where there is none.

    Raises
    ------
    DecoderError
        If the output is none of these, or the likelihood returns no tensor or pair of tensors.
    """
    if likelihood is not None:
        return _read_pair(likelihood(output), "likelihood")
    if isinstance(output, Distribution):
        return _read_pair(likelihoods.embedding(output), "embedding")
    return _read_tensors(output)


def read_mean_std(output: Any) -> MeanStd:
    """Read the mean and the standard deviation of the data out of what a decoder returned.

    Parameters
    ----------
    output : torch.Tensor, tuple, torch.distributions.Distribution or object
        As of `read_embedding`; a distribution gives its `likelihoods.mean_std`.

    Returns
    -------
    mean : torch.Tensor, shape=[n_points, n_outputs]
        Mean of the data, image-shaped outputs flattened.
    std : torch.Tensor, shape=[n_points, n_outputs], or None
        Standard deviation of the data; None for a deterministic decoder.

    Raises
    ------
    DecoderError
        If the output is none of these.
    """
    if isinstance(output, Distribution):
        return _read_pair(likelihoods.mean_std(output), "mean_std")
    return _read_tensors(output)


def _read_tensors(output: Any) -> MeanStd:
    if isinstance(output, torch.Tensor):
        return _flatten(output), None
    if _is_pair(output):
        mean, std = (_flatten(part) for part in output)
        if mean.shape != std.shape:
            raise DecoderError(
                f"Expected a mean and a std of the same shape, got {list(mean.shape)} and "
                f"{list(std.shape)}; expand the std to the shape of the mean."
            )
        return mean, std
    for name in _OUTPUT_ATTRIBUTES:
        part = getattr(output, name, None)
        if isinstance(part, torch.Tensor):
            return _flatten(part), None
    raise DecoderError(
        "Expected the decoder to return a tensor, a pair (mean, std) of tensors, a "
        "torch.distributions.Distribution, or an object with a tensor .reconstruction, .sample or "
        f".mean; got {type(output).__name__}. Pass output=callable to say how to read it."
    )


def _read_pair(found: Any, source: str) -> MeanStd:
    if isinstance(found, torch.Tensor):
        return _flatten(found), None
    if _is_pair(found):
        first, second = found
        return _flatten(first), _flatten(second)
    raise DecoderError(
        f"Expected the {source} to return a tensor or a pair of tensors, got "
        f"{type(found).__name__}; return the embedding, shape=[n_points, ...]."
    )


def _is_pair(output: Any) -> bool:
    is_sequence = isinstance(output, (tuple, list)) and len(output) == 2
    return is_sequence and all(isinstance(part, torch.Tensor) for part in output)


def _flatten(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.flatten(1) if tensor.ndim > 1 else tensor[:, None]


def refuse_randomness(module: torch.nn.Module) -> None:
    """Raise if a module is in training mode or uses the statistics of the batch.

    Parameters
    ----------
    module : torch.nn.Module
        Decoder.

    Raises
    ------
    DecoderError
        If any part of the module is in training mode, or normalises by batch statistics.
    """
    training = [
        name or type(part).__name__ for name, part in module.named_modules() if part.training
    ]
    if training:
        raise DecoderError(
            f"Expected a decoder in evaluation mode, got training mode (in {training[0]!r}): "
            "dropout and batch statistics would make the metric random; call decoder.eval() first."
        )
    for name, part in module.named_modules():
        if isinstance(part, _NormBase) and part.running_mean is None:
            raise DecoderError(
                f"Expected running statistics in {name or type(part).__name__!r}, got batch "
                "statistics (track_running_stats=False): what a code decodes to would depend on "
                "the rest of its batch; train with track_running_stats=True."
            )


def frozen_copy(decoder: AnyDecoder, dtype: torch.dtype, device: torch.device | None) -> AnyDecoder:
    """Copy a module, freeze its parameters and cast it; other callables are returned as they are.

    Parameters
    ----------
    decoder : callable
        Decoder; the caller's module is not touched.
    dtype : torch.dtype
        Floating-point type of the copy.
    device : torch.device or None
        Device of the copy; None keeps the module's own.

    Returns
    -------
    frozen : callable
        The copy.
    """
    if not isinstance(decoder, torch.nn.Module):
        return decoder
    frozen = copy.deepcopy(decoder)
    frozen.requires_grad_(False)
    return frozen.to(dtype=dtype, device=device)
