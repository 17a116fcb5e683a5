"""What a decoder may be, and how its output is read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from torch.distributions import Distribution

from geomstats_vae.immersions import likelihoods
from geomstats_vae.immersions.errors import DecoderError

# Codes of shape=[n_points, dim] to a tensor, a pair of tensors, a distribution or another object.
DecoderFunction: TypeAlias = Callable[[torch.Tensor], Any]
# What a decoder returns, to an embedding or a pair of embeddings.
Likelihood: TypeAlias = (
    Callable[[Any], torch.Tensor | tuple[torch.Tensor, torch.Tensor]] | Literal["expected"]
)
MeanStd: TypeAlias = tuple[torch.Tensor, torch.Tensor | None]
EXPECTED = "expected"

_OUTPUT_ATTRIBUTES = ("reconstruction", "sample", "mean")
# Parts of a tuple that a message names.
_N_PARTS = 4


def read_embedding(output: Any, likelihood: Likelihood | None = None) -> MeanStd:
    """Read the embedding out of what a decoder returned.

    Parameters
    ----------
    output : torch.Tensor, tuple, torch.distributions.Distribution or object
        A tensor is the mean of a deterministic decoder. A pair is (mean, std). A distribution
        gives its `likelihoods.embedding`. Of any other object the first tensor among
        ``.reconstruction``, ``.sample`` and ``.mean`` is the mean.
    likelihood : callable or 'expected', optional
        Maps the output to its embedding instead; 'expected' reads mean and standard deviation of
        the data, as `read_mean_std` does.

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
    if isinstance(likelihood, str):
        return read_mean_std(output)
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


def read_mean(output: Any) -> torch.Tensor:
    """Read the mean of the data out of what a decoder returned, in the data's own shape.

    Parameters
    ----------
    output : torch.Tensor, tuple, torch.distributions.Distribution or object
        As of `read_mean_std`.

    Returns
    -------
    mean : torch.Tensor, shape=[n_points, data_shape]
        Mean of the data.

    Raises
    ------
    DecoderError
        If the output is none of these.
    """
    if isinstance(output, Distribution):
        output = likelihoods.mean_std(output)
    if isinstance(output, torch.Tensor):
        return output
    return output[0] if is_pair(output) else _attribute(output)


def _read_tensors(output: Any) -> MeanStd:
    if isinstance(output, torch.Tensor):
        return _flatten(output), None
    if is_pair(output):
        mean, std = (_flatten(part) for part in output)
        if mean.shape != std.shape:
            raise DecoderError(
                f"Expected a mean and a std of the same shape, got {list(mean.shape)} and "
                f"{list(std.shape)}; pass output=lambda out: (out[0], out[1].expand_as(out[0])) to "
                "repeat the std, or output=lambda out: out[0] to leave it out."
            )
        return mean, std
    return _flatten(_attribute(output)), None


def _attribute(output: Any) -> torch.Tensor:
    """Find the mean in an object."""
    for name in _OUTPUT_ATTRIBUTES:
        part = getattr(output, name, None)
        if isinstance(part, torch.Tensor):
            return part
    if isinstance(output, np.ndarray):
        raise DecoderError(
            "Expected the decoder to return a torch tensor, got a numpy array, which has no "
            "derivatives; write the decoder with torch operations, torch.exp(z) in the place of "
            "numpy.exp(z), and without .numpy()."
        )
    raise DecoderError(
        "Expected the decoder to return a tensor, a pair (mean, std) of tensors, a "
        "torch.distributions.Distribution, or an object with a tensor .reconstruction, .sample or "
        f".mean; got {_described(output)}. Say how to read it: pass "
        f"{_way_to_read(output)}."
    )


def _described(output: Any) -> str:
    """Name a type, with the parts of a tuple."""
    name = type(output).__name__
    if not isinstance(output, (tuple, list)):
        return name
    parts = ", ".join(type(part).__name__ for part in output[:_N_PARTS])
    return f"{name} of {len(output)} ({parts}{', ...' if len(output) > _N_PARTS else ''})"


def _way_to_read(output: Any) -> str:
    """Write an `output` that may be meant, as code."""
    if isinstance(output, Mapping):
        keys = [key for key, part in output.items() if isinstance(part, torch.Tensor)]
        key = next(iter(keys or output), "mean")
        return f"output=lambda out: out[{key!r}]"
    if isinstance(output, (tuple, list)):
        places = [k for k, part in enumerate(output) if isinstance(part, torch.Tensor)]
        return f"output=lambda out: out[{places[0] if places else 0}]"
    parts = vars(output) if hasattr(output, "__dict__") else {}
    names = [name for name, part in parts.items() if isinstance(part, torch.Tensor)]
    return f"output=lambda out: out.{names[0] if names else 'mean'}"


def _read_pair(found: Any, source: str) -> MeanStd:
    if isinstance(found, torch.Tensor):
        return _flatten(found), None
    if is_pair(found):
        first, second = found
        return _flatten(first), _flatten(second)
    raise DecoderError(
        f"Expected the {source} to return a tensor or a pair of tensors, got "
        f"{type(found).__name__}; return the embedding, shape=[n_points, ...]."
    )


def is_pair(output: Any) -> bool:
    """Whether an output is a pair of tensors.

    Parameters
    ----------
    output : object
        What a decoder returned.

    Returns
    -------
    is_pair : bool
        True for a tuple or list of two tensors.
    """
    is_sequence = isinstance(output, (tuple, list)) and len(output) == 2
    return is_sequence and all(isinstance(part, torch.Tensor) for part in output)


def _flatten(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.flatten(1) if tensor.ndim > 1 else tensor[:, None]
