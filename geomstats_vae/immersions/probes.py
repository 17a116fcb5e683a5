"""What is tried on a decoder before it is used: values at a few codes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.distributions import Distribution, Independent

from geomstats_vae.immersions import likelihoods
from geomstats_vae.immersions.differentiable import FAILURES
from geomstats_vae.immersions.errors import DecoderError
from geomstats_vae.immersions.protocol import is_pair

# Codes that a decoder is evaluated at together: some have large outputs.
N_PROBES = 3
_N_CENTRAL, _N_NORMAL, _CENTRAL_WIDTH = 6, 12, 0.1
# A parameter changes with the code if it differs by more than this, relative to itself.
_CONSTANT_RTOL = 1e-5

# Rounding errors by which two evaluations may differ.
_ROUNDINGS = 1e3


def probe_codes(dim: int) -> torch.Tensor:
    """Draw the first codes that a decoder is evaluated at, from a standard normal distribution.

    Parameters
    ----------
    dim : int
        Dimension of the latent space.

    Returns
    -------
    codes : torch.Tensor, shape=[n_probes, dim]
        The same codes each time.
    """
    generator = torch.Generator().manual_seed(0)
    return torch.randn(N_PROBES, dim, dtype=torch.float64, generator=generator)


def check_codes(dim: int) -> torch.Tensor:
    """Draw codes at which the parameters of what a decoder returns are looked at.

    Parameters
    ----------
    dim : int
        Dimension of the latent space.

    Returns
    -------
    codes : torch.Tensor, shape=[n_codes, dim]
        The same codes each time: the origin, some around it, and standard normal ones.
    """
    generator = torch.Generator().manual_seed(1)
    n_codes = _N_CENTRAL + _N_NORMAL
    codes = torch.randn(n_codes, dim, dtype=torch.float64, generator=generator)
    codes[0] = 0.0
    codes[1:_N_CENTRAL] *= _CENTRAL_WIDTH
    return codes


def check_function(function: Callable[[torch.Tensor], torch.Tensor], probes: torch.Tensor) -> int:
    """Raise unless a function maps codes to rows one by one.

    Parameters
    ----------
    function : callable
        Maps codes to what they are embedded as.
    probes : torch.Tensor, shape=[n_probes, dim]
        Codes.

    Returns
    -------
    n_outputs : int
        Number of its outputs.

    Raises
    ------
    DecoderError
        If it fails, is random, mixes the points of a batch, or returns something else.
    """
    with torch.no_grad():
        try:
            first = function(probes)
            second, single = function(probes), function(probes[:1])
        except DecoderError:
            raise
        except FAILURES as error:
            raise DecoderError(_failure(error, probes)) from error
    if first.ndim != 2 or len(first) != len(probes):
        raise DecoderError(
            f"Expected one output per latent code, got outputs of shape {list(first.shape)} for "
            f"{len(probes)} codes; keep the first dimension, as by output=lambda out: "
            "out.flatten(1), and do not average over the codes."
        )
    if not first.is_floating_point():
        raise DecoderError(
            f"Expected floating-point outputs, got {first.dtype}, which have no derivatives; "
            "return probabilities in the place of classes, torch.softmax(logits, dim=-1) and not "
            "logits.argmax(dim=-1), and real numbers without rounding."
        )
    scale = first.nan_to_num().abs().max() + 1.0
    # Accelerators may add in another order each time; a dropped unit changes far more.
    noise = 0.0 if first.device.type == "cpu" else _ROUNDINGS * torch.finfo(first.dtype).eps
    if not _close(first, second, noise * float(scale), noise):
        raise DecoderError(
            "The decoder is random: two calls on the same codes differ. Call decoder.eval(), which "
            "switches dropout off, and return a mean or a distribution in the place of a sample: "
            "mean, and not mean + std * torch.randn_like(std)."
        )
    if not _close(single, first[:1], 1e-4 * float(scale), 1e-3):
        raise DecoderError(
            "The decoder mixes the points of a batch: the output of a code depends on the "
            "others. Call decoder.eval(), which switches batch statistics off, and take no means "
            "over the first dimension."
        )
    return first.shape[1]


def _close(one: torch.Tensor, other: torch.Tensor, atol: float, rtol: float) -> bool:
    if one.shape != other.shape:
        return False
    return torch.allclose(one.nan_to_num(), other.nan_to_num(), rtol=rtol, atol=atol)


def _failure(error: Exception, probes: torch.Tensor) -> str:
    """Words for a decoder that failed on codes, with what to do."""
    said, shape = str(error), list(probes.shape)
    failed = f"The decoder failed on {probes.dtype} codes of shape {shape}: {said}"
    failed = failed if failed.endswith(".") else f"{failed}."
    missing = re.search(r"missing \d+ required \S+ arguments?: (.*)", said)
    if isinstance(error, TypeError) and missing:
        name = missing[1].split("'")[1]
        return (
            f"{failed} Expected a decoder of latent codes alone, got one that also wants "
            f"{missing[1]}; fix their values by functools.partial(decoder, {name}=...)."
        )
    if "numpy" in said or "np." in said:
        return f"{failed} Write the decoder with torch operations: numpy has no derivatives."
    if "Guard failed" in said:
        return (
            f"{failed} Export the decoder with a dynamic number of codes: torch.export.export(..., "
            "dynamic_shapes=({0: torch.export.Dim('n_codes')},))."
        )
    return (
        f"{failed} Pass a decoder of latent codes of dimension dim={shape[1]}; of an autoencoder "
        "that is its decoder, such as model.decoder, not the whole. If it takes codes in "
        "another shape, such as [n_points, 4, 8, 8], pass latent_shape=(4, 8, 8)."
    )


def check_parameters(
    decode: Callable[[torch.Tensor], Any], codes: torch.Tensor, *, constants: bool
) -> list[str]:
    """Raise unless standard deviations are positive and constant parameters are constant.

    Parameters
    ----------
    decode : callable
        Maps codes to what the decoder returns.
    codes : torch.Tensor, shape=[n_codes, dim]
        Codes to try.
    constants : bool
        Whether distributions are embedded by their entries.

    Returns
    -------
    approximations : list of str
        What the embeddings leave out.

    Raises
    ------
    DecoderError
        If a pair's second tensor has a value that is zero or negative, or a distribution has a
        parameter that changes with the code and must not.
    """
    first: dict[str, torch.Tensor] = {}
    found: list[str] = []
    for output in _outputs(decode, codes):
        if is_pair(output):
            _check_std(output[1])
        elif constants and isinstance(output, Distribution):
            said = likelihoods.approximation(output)
            found = [said] if said is not None else []
            for name, value in likelihoods.constants(output).items():
                _check_constant(name, value, first.setdefault(name, value[:1]), output)
    return found


def _outputs(decode: Callable[[torch.Tensor], Any], codes: torch.Tensor) -> Iterator[Any]:
    for part in codes.split(N_PROBES):
        with torch.no_grad():
            output = decode(part)
        yield output
        if not (is_pair(output) or isinstance(output, Distribution)):
            return


def _check_std(std: torch.Tensor) -> None:
    wrong = std <= 0.0
    if wrong.any():
        raise DecoderError(
            "Expected positive standard deviations as the second of the pair (mean, std), got "
            f"{float(std.min()):.3g}. If the decoder returns the logarithm of the variance, take "
            "exp(0.5 * logvar) of it: pass output=lambda out: (out[0], torch.exp(0.5 * out[1])). "
            "If it has no standard deviation, pass output=lambda out: out[0]."
        )


def _check_constant(
    name: str, value: torch.Tensor, first: torch.Tensor, distribution: Distribution
) -> None:
    if not ((value - first).abs() > _CONSTANT_RTOL * first.abs()).any():
        return
    while isinstance(distribution, Independent):
        distribution = distribution.base_dist
    worst = int((value - first).abs().flatten(1).amax(0).argmax()) if value.ndim > 1 else 0
    column = torch.cat((first, value)).flatten(1)[:, worst] if value.ndim > 1 else value
    raise DecoderError(
        f"Expected a constant {name} of {type(distribution).__name__}, got one that changes with "
        f"the latent code, from {float(column.min()):.4g} to {float(column.max()):.4g}: no "
        "embedding gives its Fisher information then. Pass likelihood='expected' to compare means "
        f"and standard deviations instead, or let the decoder return a constant {name}."
    )
