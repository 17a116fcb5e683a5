"""What a decoder may be, how its output is read, and what is refused."""

from __future__ import annotations

import copy

import torch
from torch.distributions import (
    Bernoulli,
    Categorical,
    Distribution,
    Independent,
    OneHotCategorical,
)

_BATCH_STATISTICS = (torch.nn.modules.batchnorm._NormBase,)
_OUTPUT_ATTRIBUTES = ("reconstruction", "sample", "mean")


class DecoderError(ValueError):
    """A decoder that cannot define a metric: random, training, or of an unreadable output."""


def read_output(output):
    """Read the mean and the standard deviation out of what a decoder returned.

    Parameters
    ----------
    output : torch.Tensor, tuple, torch.distributions.Distribution or object
        A tensor is the mean of a deterministic decoder. A pair is (mean, std). A distribution
        gives its mean and standard deviation; a Bernoulli gives 2 arcsin(sqrt(p)) and a
        categorical one 2 sqrt(p), whose Euclidean metrics are Fisher-Rao's. Of any other object the
        first tensor among ``.reconstruction``, ``.sample`` and ``.mean`` is the mean.

    Returns
    -------
    mean : torch.Tensor, shape=[n_points, n_outputs]
        Mean, image-shaped outputs flattened.
    std : torch.Tensor, shape=[n_points, n_outputs], or None
        Standard deviation, None for a deterministic decoder.

    Raises
    ------
    DecoderError
        If the output is none of these.
    """
    if isinstance(output, Distribution):
        return _read_distribution(output)
    if isinstance(output, torch.Tensor):
        return _flatten(output), None
    if isinstance(output, (tuple, list)) and len(output) == 2:
        mean, std = output
        if isinstance(mean, torch.Tensor) and isinstance(std, torch.Tensor):
            return _same_width(_flatten(mean), _flatten(std))
    for name in _OUTPUT_ATTRIBUTES:
        part = getattr(output, name, None)
        if isinstance(part, torch.Tensor):
            return _flatten(part), None
    raise DecoderError(
        "Expected the decoder to return a tensor, a pair (mean, std) of tensors, a "
        "torch.distributions.Distribution, or an object with a tensor .reconstruction, .sample or "
        f".mean; got {type(output).__name__}. Pass output=callable to say how to read it."
    )


def _same_width(mean, std):
    if mean.shape != std.shape:
        raise DecoderError(
            f"Expected a mean and a std of the same shape, got {list(mean.shape)} and "
            f"{list(std.shape)}; expand the std to the shape of the mean."
        )
    return mean, std


def _read_distribution(distribution):
    base = distribution
    while isinstance(base, Independent):
        base = base.base_dist
    if isinstance(base, Bernoulli):
        # Fisher-Rao: d(2 arcsin sqrt p)^2 = dp^2 / (p (1 - p)); from the logits it is smooth
        # even where p rounds to 0 or 1: 2 arcsin(sqrt p) = 2 arctan(exp(logit / 2)).
        return _flatten(2.0 * torch.atan(torch.exp(0.5 * base.logits))), None
    if isinstance(base, (Categorical, OneHotCategorical)):
        return _flatten(2.0 * torch.exp(0.5 * base.logits)), None  # 2 sqrt(p), Fisher-Rao again
    return _flatten(distribution.mean), _flatten(distribution.stddev)


def _flatten(tensor):
    return tensor.flatten(1) if tensor.ndim > 1 else tensor[:, None]


def refuse_randomness(module):
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
        if isinstance(part, _BATCH_STATISTICS) and part.running_mean is None:
            raise DecoderError(
                f"Expected running statistics in {name or type(part).__name__!r}, got batch "
                "statistics (track_running_stats=False): a point's image would depend on the rest "
                "of its batch; train with track_running_stats=True."
            )


def frozen_copy(decoder, dtype, device):
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
