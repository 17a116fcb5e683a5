"""The dimension of a latent space: what is given, or what the other arguments tell."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from geomstats_vae.immersions.dimension import latent_dim

READ_OFF = "dim={} was read off the decoder; if it takes codes of another length, pass dim"


def resolve_dim(
    decoder: Any, dim: int | None, points: Any = None, latent_shape: Sequence[int] | None = None
) -> tuple[int, bool]:
    """Find the dimension of a latent space.

    Parameters
    ----------
    decoder : callable or Immersion
        Decoder.
    dim : int or None
        What was asked for.
    points : array-like, shape=[n_points, dim], optional
        Latent codes.
    latent_shape : sequence of int, optional
        Shape of one code.

    Returns
    -------
    dim : int
        As given; else that of the points, of the latent shape, or of the decoder.
    guessed : bool
        Whether the decoder told it.

    Raises
    ------
    TypeError
        If nothing tells it, dim is no whole number, or the decoder cannot be called.
    """
    if not callable(decoder):
        better = ", or model.latent_space_" if hasattr(decoder, "latent_space_") else ""
        raise TypeError(
            f"Expected a callable as decoder, got {type(decoder).__name__}; pass a torch module, a "
            f"function of latent codes or an Immersion{better}."
        )
    if dim is not None:
        return _whole(dim), False
    shape: tuple[int, ...] = () if points is None else np.shape(points)
    if len(shape) > 1:
        return int(shape[-1]), False
    if latent_shape is not None:
        return math.prod(latent_shape), False
    found = latent_dim(decoder)
    if found is None:
        kind = getattr(decoder, "__name__", type(decoder).__name__)
        raise TypeError(
            f"Expected the dimension of the latent space, got none, and {kind} does not tell it; "
            "pass points=codes, the latent codes of the data, or dim."
        )
    return found, True


def _whole(dim: Any) -> int:
    number = isinstance(dim, (int, float, np.integer)) and not isinstance(dim, bool)
    if number and float(dim).is_integer():
        return int(dim)
    shape = np.shape(dim)
    got = f"an array of shape {list(shape)}" if shape else repr(dim)
    raise TypeError(
        f"Expected a whole number as dim, got {got}; latent codes are passed as points=codes."
    )
