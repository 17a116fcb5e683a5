"""Whether the arguments of `Decoder` fit together; nothing is evaluated here."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from numbers import Real
from typing import Any

import torch

from geomstats_vae.immersions.errors import DecoderError
from geomstats_vae.immersions.immersion import Immersion
from geomstats_vae.immersions.protocol import EXPECTED


def check_arguments(
    decoder: Any, dim: int, output: Any, likelihood: Any, latent_shape: Any
) -> None:
    """Raise unless the arguments of `Decoder` fit together.

    Parameters
    ----------
    decoder, dim, output, likelihood, latent_shape : object
        Arguments of `Decoder`.

    Raises
    ------
    DecoderError
        If one has a wrong type or value, or an immersion comes with another dimension or with
        what only decoders have.
    """
    if not callable(decoder):
        raise DecoderError(
            f"Expected a callable as decoder, got {type(decoder).__name__}; {_remedy(decoder)}."
        )
    if not isinstance(dim, Real) or dim != dim // 1 or dim < 1:
        raise DecoderError(
            f"Expected a positive integer as dim, got {dim!r}; pass the number of coordinates of a "
            "latent code, dim=codes.shape[1]."
        )
    if output is not None and not callable(output):
        raise DecoderError(
            f"Expected a callable as output, got {type(output).__name__}; pass a function of "
            "what the decoder returns, such as output=lambda out: out[0]."
        )
    if likelihood is not None and likelihood != EXPECTED and not callable(likelihood):
        got = repr(likelihood) if isinstance(likelihood, str) else type(likelihood).__name__
        raise DecoderError(
            f"Expected a callable as likelihood, {EXPECTED!r} or None, got {got}; pass a function "
            f"of what the decoder returns, or {EXPECTED!r} for its mean and standard deviation."
        )
    if latent_shape is not None and math.prod(latent_shape) != dim:
        raise DecoderError(
            f"Expected latent_shape to have dim={dim} entries, got {tuple(latent_shape)} with "
            f"{math.prod(latent_shape)}; pass dim={math.prod(latent_shape)}."
        )
    if not isinstance(decoder, Immersion):
        return
    if decoder.dim != dim:
        raise DecoderError(
            f"Expected an immersion of dimension dim={dim}, got one of dimension {decoder.dim}; "
            f"pass dim={decoder.dim}."
        )
    if output is not None or likelihood is not None or latent_shape is not None:
        raise DecoderError(
            "Expected an immersion alone, got output, likelihood or latent_shape with it; an "
            "immersion is used as it is, so pass them where it is built: "
            "Decoder(decoder, dim, likelihood=...)."
        )


def _remedy(decoder: Any) -> str:
    """Say what to pass in place of what is often taken for a decoder."""
    if isinstance(decoder, Mapping):
        return (
            "weights alone are no decoder: build its module, call "
            "module.load_state_dict(weights) and module.eval(), and pass module"
        )
    if isinstance(decoder, (str, os.PathLike)):
        return "load the file first, and pass the torch module"
    if hasattr(decoder, "decoder_"):
        return "pass model.decoder_, or take model.latent_space_, which is made of it"
    if callable(getattr(decoder, "decoder", None)):
        return "pass its decoder, model.decoder"
    return "pass a torch module, a function of latent codes or an Immersion"


def check_kind(immersion: Immersion, dtype: torch.dtype, device: torch.device) -> None:
    """Raise unless an immersion has a type and a device.

    Parameters
    ----------
    immersion : Immersion
        Any immersion.
    dtype : torch.dtype
        Floating-point type that it must compute in.
    device : torch.device
        Device that it must compute on.

    Raises
    ------
    DecoderError
        If it has others.
    """
    indices = {immersion.device.index, device.index} - {None}
    same_device = immersion.device.type == device.type and len(indices) < 2
    if immersion.dtype != dtype or not same_device:
        raise DecoderError(
            f"Expected an immersion in {dtype} on {device}, as asked for, got one in "
            f"{immersion.dtype} on {immersion.device}; an immersion is not cast, so build it as "
            f"Decoder(decoder, dim).immersion({dtype}, {str(device)!r})."
        )
