"""Decoders on another device."""

from __future__ import annotations

import copy

import torch

from geomstats_vae.immersions.decoder import Decoder
from geomstats_vae.immersions.ensemble import EnsembleDecoder
from geomstats_vae.immersions.errors import DecoderError
from geomstats_vae.immersions.frozen import frozen_copy, module_of
from geomstats_vae.immersions.immersion import Immersion


def check_device(device: torch.device | str) -> torch.device:
    """Check that a device is there, and that something can be computed on it.

    Parameters
    ----------
    device : torch.device or str
        Device.

    Returns
    -------
    device : torch.device
        The device.

    Raises
    ------
    ValueError
        If torch does not know it, or it is not there.
    """
    try:
        found = torch.device(device)
        torch.zeros(1, device=found).cpu()
    except (AssertionError, NotImplementedError, RuntimeError, TypeError) as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(
            f"Expected a device that torch finds on this machine, got {device!r} ({reason}); pass "
            "'cpu', or 'cuda' where torch.cuda.is_available()."
        ) from error
    return found


def moved(decoder: Decoder, device: torch.device) -> Decoder:
    """Copy a decoder to a device.

    Parameters
    ----------
    decoder : Decoder
        Decoder; it is not touched.
    device : torch.device
        Device of the copy.

    Returns
    -------
    moved : Decoder
        The copy.

    Raises
    ------
    DecoderError
        If it is a function or an immersion and not on that device: nothing is known of its tensors.
    """
    other = copy.copy(decoder)
    if decoder.members:
        other.members = tuple(moved(member, device) for member in decoder.members)
        other.source = EnsembleDecoder(other.members)
        return other
    source = decoder.source
    if isinstance(source, Immersion) or module_of(source) is None:
        if decoder.device.type != device.type:
            raise DecoderError(
                f"Expected a module to move to {str(device)!r}, got a {type(source).__name__}, of "
                "whose tensors nothing is known; move them yourself, or make it a torch module."
            )
        return other
    other.source = frozen_copy(source, decoder.dtype, device)
    return other
