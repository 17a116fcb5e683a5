"""Recognise decoders made of known layers, whose immersions need no autodiff."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TypeAlias

import torch
from torch import nn

from geomstats_vae.immersions.composed import ConcatenatedImmersion
from geomstats_vae.immersions.gaussian import GaussianDecoder
from geomstats_vae.immersions.immersion import Immersion
from geomstats_vae.immersions.network.convolution import Convolution
from geomstats_vae.immersions.network.immersions import ChainImmersion, RBFStdImmersion
from geomstats_vae.immersions.network.layers import (
    ACTIVATIONS,
    Affine,
    ElementwiseLayer,
    Layer,
    LinearLayer,
    Scale,
)
from geomstats_vae.immersions.rbf import RBFPrecision

_IMAGE_AXES = 3  # channels, height and width

Kind: TypeAlias = tuple[torch.dtype, torch.device]
Shape: TypeAlias = tuple[int, ...] | None  # of images; None stands for flat rows


def compile_immersion(
    decoder: object,
    dim: int,
    *,
    dtype: torch.dtype = torch.float64,
    device: torch.device | str = "cpu",
) -> Immersion | None:
    """Build the fast immersion of a decoder made of known layers.

    Parameters
    ----------
    decoder : callable
        Frozen decoder.
    dim : int
        Dimension of the latent space.
    dtype, device : torch.dtype, torch.device
        Where layers compute that have no parameters to tell it.

    Returns
    -------
    immersion : Immersion or None
        A chain, or a chain beside a standard deviation. None if any part of the decoder is not
        known, or carries hooks.
    """
    if not isinstance(decoder, nn.Module) or _has_hooks(decoder):
        return None
    elsewhere = dtype, torch.device(device)
    if type(decoder) is not GaussianDecoder:
        return _chain(decoder, dim, elsewhere)
    mean = _chain(decoder.mean, dim, elsewhere)
    if type(decoder.std) is RBFPrecision:
        std: Immersion | None = RBFStdImmersion(decoder.std)
    else:
        std = _chain(decoder.std, dim, elsewhere, is_std=True)
    return None if mean is None or std is None else ConcatenatedImmersion([mean, std])


def _has_hooks(module: nn.Module) -> bool:
    return any(
        bool(part._forward_hooks or part._forward_pre_hooks) or "forward" in vars(part)
        for part in module.modules()
    )


def _chain(
    module: object, dim: int, elsewhere: Kind, *, is_std: bool = False
) -> ChainImmersion | None:
    if not isinstance(module, nn.Module):
        return None
    layers = _compile_layers(_flatten_sequential(module))
    if not layers:
        return None
    kinds = [
        (tensor.dtype, tensor.device)
        for tensor in (*module.parameters(), *module.buffers())
        if tensor.is_floating_point()
    ]
    dtype, device = kinds[0] if kinds else elsewhere
    return ChainImmersion(layers, dim, is_std=is_std, dtype=dtype, device=device)


def _flatten_sequential(module: nn.Module) -> Iterator[nn.Module]:
    """Yield the modules of a chain, one after the other."""
    if type(module) is nn.Sequential:
        for child in module:
            yield from _flatten_sequential(child)
    else:
        yield module


def _compile_layers(modules: Iterator[nn.Module]) -> list[Layer] | None:
    """Layers of a chain, or None if one of them is unknown."""
    layers: list[Layer] = []
    shape: Shape = None
    for module in modules:
        if type(module) is nn.Unflatten and shape is None and module.dim in (1, -1):
            shape = _image_shape(module, layers)
            if shape is None:
                return None
        elif type(module) is nn.Flatten and (module.start_dim, module.end_dim) == (1, -1):
            shape = None
        elif type(module) in ACTIVATIONS:
            layers.append(ElementwiseLayer(module))
        elif type(module) is not nn.Identity:
            layer, shape = linear_layer(module, shape)
            if layer is None:
                return None
            layers.append(layer)
    return layers


def _image_shape(unflatten: nn.Unflatten, layers: list[Layer]) -> Shape:
    """Channels, height and width that rows are unflattened to; None if unknown or no image's."""
    shape = tuple(unflatten.unflattened_size)
    if -1 in shape:
        widths = [layer.weight.shape[0] for layer in layers if isinstance(layer, Affine)]
        rest = -math.prod(shape)
        shape = tuple(widths[-1] // rest if n == -1 else n for n in shape) if widths else ()
    return shape if len(shape) == _IMAGE_AXES else None


def linear_layer(module: nn.Module, shape: Shape) -> tuple[LinearLayer | None, Shape]:
    """Translate a linear layer.

    Parameters
    ----------
    module : torch.nn.Module
        The layer, in evaluation mode.
    shape : tuple of int, or None
        Channels, height and width of the images it gets; None for flat rows.

    Returns
    -------
    layer : LinearLayer or None
        None for layers that are not known.
    shape : tuple of int, or None
        Shape of what it returns.
    """
    if type(module) is nn.Linear and shape is None:
        return Affine(module.weight, module.bias), None
    if type(module) is nn.Conv2d or type(module) is nn.ConvTranspose2d:
        if shape is None or module.padding_mode != "zeros" or isinstance(module.padding, str):
            return None, shape
        layer = Convolution(module, shape)
        return layer, layer.output_shape
    pixels = 1 if shape is None else shape[1] * shape[2]
    if type(module) is (nn.BatchNorm1d if shape is None else nn.BatchNorm2d):
        return _batch_norm(module, pixels), shape
    return None, shape


def _batch_norm(module: nn.BatchNorm1d | nn.BatchNorm2d, pixels: int) -> Scale | None:
    if module.running_mean is None or module.running_var is None or module.training:
        return None
    scale = torch.rsqrt(module.running_var + module.eps)
    scale = scale if module.weight is None else scale * module.weight
    shift = -module.running_mean * scale
    shift = shift if module.bias is None else shift + module.bias
    return Scale(scale.repeat_interleave(pixels), shift.repeat_interleave(pixels))
