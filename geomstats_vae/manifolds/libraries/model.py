"""What a latent space needs of a model of another library, and how it is taken out of one."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch

from geomstats_vae.immersions.errors import DecoderError
from geomstats_vae.manifolds.arrays import to_tensor

Module = TypeVar("Module", bound=torch.nn.Module)

# What encoders raise when they are given data of another shape or kind than they take.
_ENCODER_FAILURES = (ArithmeticError, IndexError, RuntimeError, TypeError, ValueError)


class LibraryModel(NamedTuple):
    """A decoder, and the codes of the data.

    Attributes
    ----------
    decoder : torch.nn.Module
        Frozen copy of the model's decoder, in evaluation mode; maps codes, shape=[n_points, dim].
    dim : int
        Dimension of the latent space.
    points : numpy.ndarray, shape=[n_points, dim], or None
        Latent codes of the data.
    """

    decoder: torch.nn.Module
    dim: int
    points: np.ndarray | None


def require(model: Any, kind: str, attributes: Sequence[str]) -> None:
    """Raise unless a model has some attributes.

    Parameters
    ----------
    model : object
        Model of another library.
    kind : str
        What is expected, with the library's name.
    attributes : sequence of str
        Names of the attributes, dotted where they belong to a part of the model.

    Raises
    ------
    DecoderError
        If an attribute is missing, or the model is a class.
    """
    for path in attributes:
        part = model
        for name in path.split("."):
            part = getattr(part, name, None)
        if part is None or isinstance(model, type):
            wanted = ", ".join(f".{name}" for name in attributes)
            found = f"the class {model.__name__}" if isinstance(model, type) else _name(model)
            raise DecoderError(
                f"Expected {kind} with {wanted}, got {found} (no .{path}); other decoders are "
                "passed as they are, LatentSpace(decoder, dim, points=codes)."
            )


def evaluation_copy(module: Module, *, without: Sequence[str] = ()) -> Module:
    """Copy a module and put the copy in evaluation mode.

    Parameters
    ----------
    module : torch.nn.Module
        Module; it is not touched.
    without : sequence of str
        Children that are not needed, such as the encoder. The copy has None in their place.

    Returns
    -------
    copied : torch.nn.Module
        The copy, on the same device, without gradients of its parameters.
    """
    # An object that is in the memory of `deepcopy` counts as copied.
    children = (getattr(module, name, None) for name in without)
    memory = {id(child): None for child in children if child is not None}
    copied: Module = copy.deepcopy(module, memory)
    return copied.requires_grad_(False).eval()


def encode(
    encoder: Callable[[torch.Tensor], torch.Tensor],
    data: Any,
    *,
    like: torch.nn.Module,
    batch_size: int,
    name: str,
) -> torch.Tensor:
    """Encode data in batches.

    Parameters
    ----------
    encoder : callable
        Maps a batch of data to its codes, shape=[n_points, ...].
    data : array-like, shape=[n_points, ...]
        Data, as the encoder takes them.
    like : torch.nn.Module
        The batches get the type and the device of this module's parameters.
    batch_size : int
        Number of data that are encoded at once.
    name : str
        What messages call the data.

    Returns
    -------
    codes : torch.Tensor, shape=[n_points, ...]
        Codes, float64, on the host.

    Raises
    ------
    ValueError
        If there are no data, they are not finite numbers, or the encoder fails on them.
    """
    values = to_tensor(data, name)
    if values.ndim < 2 or not len(values) or not values.isfinite().all():
        raise ValueError(
            f"Expected finite {name} of shape [n_points > 0, ...], got shape "
            f"{list(values.shape)}; pass one item per code, without missing values."
        )
    if batch_size < 1:
        raise ValueError(f"Expected batch_size >= 1, got {batch_size}.")
    parameter = next(like.parameters())
    codes = []
    with torch.no_grad():
        for batch in values.split(batch_size):
            try:
                found = encoder(batch.to(dtype=parameter.dtype, device=parameter.device))
            except _ENCODER_FAILURES as error:
                raise ValueError(
                    f"The encoder failed on {name} of shape {list(batch.shape)}: {error}. Pass "
                    "them in the shape that the model was trained on."
                ) from error
            codes.append(found.to(device="cpu", dtype=torch.float64))
    return torch.cat(codes)


def check_points(points: Any, dim: int) -> np.ndarray:
    """Check codes that the caller brings in place of data.

    Parameters
    ----------
    points : array-like, shape=[n_points, ...]
        Latent codes, in one row or in the shape of the latent space.
    dim : int
        Dimension of the latent space.

    Returns
    -------
    points : numpy.ndarray, shape=[n_points, dim]
        The codes in rows.

    Raises
    ------
    ValueError
        If the codes have another dimension.
    """
    rows = to_tensor(points, "points").detach().cpu().numpy().astype(np.float64)
    if rows.ndim < 2 or rows[:1].size != dim:
        raise ValueError(
            f"Expected latent codes of shape [n_points, {dim}] as points, got "
            f"{list(rows.shape)}; the model's latent space has {dim} dimensions."
        )
    return rows.reshape(len(rows), dim)


def refuse_both(points: Any, data: Any, name: str) -> None:
    """Raise if there are codes and also data to encode.

    Parameters
    ----------
    points : array-like or None
        Latent codes.
    data : array-like or None
        Data.
    name : str
        What messages call the data.

    Raises
    ------
    ValueError
        If both are given.
    """
    if points is not None and data is not None:
        raise ValueError(
            f"Expected {name} to encode or points, got both; pass {name} for the codes of the "
            "model's encoder, or the codes themselves."
        )


def _name(model: Any) -> str:
    name = type(model).__name__
    return f"an object of type {name}"
