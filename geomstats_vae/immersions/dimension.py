"""The dimension of a latent space, where a decoder itself tells it."""

from __future__ import annotations

from typing import Any

import torch

from geomstats_vae.immersions.ensemble import EnsembleDecoder
from geomstats_vae.immersions.frozen import module_of
from geomstats_vae.immersions.gaussian import GaussianDecoder
from geomstats_vae.immersions.immersion import Immersion
from geomstats_vae.immersions.rbf import RBFPrecision

# What models call the dimension of their latent space.
_ATTRIBUTES = ("latent_dim", "n_latent")


def latent_dim(decoder: Any) -> int | None:
    """Read the dimension of the latent space off a decoder.

    Parameters
    ----------
    decoder : callable or Immersion
        Decoder.

    Returns
    -------
    dim : int or None
        That of an immersion or a precision, the attribute ``latent_dim`` or ``n_latent`` of a
        module, or the inputs of its first linear layer; None if there is nothing of these.
    """
    if isinstance(decoder, Immersion):
        return int(decoder.dim)
    if isinstance(decoder, EnsembleDecoder):
        found = (latent_dim(member) for member in decoder.members)
        return next((dim for dim in found if dim is not None), None)
    if isinstance(decoder, GaussianDecoder) and isinstance(decoder.std, RBFPrecision):
        return int(decoder.std.centers.shape[1])
    module = module_of(decoder)
    for name in _ATTRIBUTES:
        dim = getattr(module, name, None)
        if isinstance(dim, int) and dim > 0:
            return int(dim)
    # The first layer of the model of a method or a partial may be the encoder's.
    return _first_inputs(decoder) if isinstance(decoder, torch.nn.Module) else None


def _first_inputs(module: torch.nn.Module) -> int | None:
    for part in module.modules():
        if isinstance(part, torch.nn.Linear) and part.in_features > 0:
            return int(part.in_features)
        if isinstance(part, torch.nn.modules.conv._ConvNd):
            return None
    return None
