"""Networks with fewer layers: linear layers that follow each other become one.

A batch norm after an affine map or a convolution is folded into its weights, so are scales before
affine maps and selections of their inputs or outputs.
"""

from __future__ import annotations

from typing import Any

import torch

from geomstats_vae.immersions.network.convolution import Convolution
from geomstats_vae.immersions.network.layers import Affine, LinearLayer, Scale
from geomstats_vae.immersions.network.linear import LinearFunction, Selection

Inputs = list[tuple[int, ...]]


def fold(layers: list[Any], inputs: Inputs) -> tuple[list[Any], Inputs]:
    """Merge linear layers where that saves time.

    Parameters
    ----------
    layers : list of Layer or Joint
        Layers, first to last.
    inputs : list of tuple of int
        What each takes, as in `Wiring`.

    Returns
    -------
    layers, inputs : list
        The same of a network with the same function, without layers that nothing uses.
    """
    layers, inputs = list(layers), list(inputs)
    merged = True
    while merged:
        layers, inputs = _used(layers, inputs)
        merged = any(_merge(k, layers, inputs) for k in range(len(layers)))
    return layers, inputs


def _merge(k: int, layers: list[Any], inputs: Inputs) -> bool:
    """Merge a layer with the one before it; say whether that was done."""
    if len(inputs[k]) != 1 or inputs[k][0] == 0:
        return False
    before = inputs[k][0] - 1
    users = [j for j, own in enumerate(inputs) if before + 1 in own]
    if len(users) > 1 and not all(isinstance(layers[j], Selection) for j in users):
        return False
    product = merged(layers[before], layers[k])
    if product is None:
        return False
    layers[k], inputs[k] = product, inputs[before]
    return True


def merged(first: Any, second: Any) -> LinearLayer | None:
    """Find one layer for two that follow each other.

    Parameters
    ----------
    first, second : Layer or Joint
        The layers.

    Returns
    -------
    layer : LinearLayer or None
        Their composition; None if it would take longer than the two, or is not known.
    """
    if isinstance(second, Scale):
        if isinstance(first, Scale):
            return Scale(first.scale * second.scale, second.value(first.shift))
        if isinstance(first, Convolution):
            return first.scaled(second.scale, second.shift)
    if isinstance(first, Selection) and isinstance(second, Selection):
        inner = torch.cat((first.index, first.index.new_tensor([-1])))
        return Selection(inner[second.index], first.n_inputs)
    if isinstance(first, Affine) and isinstance(second, _SIMPLE):
        return _affine_first(first, second)
    if isinstance(first, _SIMPLE) and isinstance(second, Affine):
        return _affine_second(first, second)
    return None


_SIMPLE = (Affine, Scale, Selection, LinearFunction)


def _affine_first(first: Affine, second: LinearLayer) -> Affine | None:
    n_inner, n_inputs = first.weight.shape
    weight = second.tangents(first.weight.T).T.contiguous()
    if not _pays(len(weight) * n_inputs, n_inner * n_inputs, second):
        return None
    origin = first.weight.new_zeros(1, n_inputs)
    bias = second.value(first.value(origin))[0]
    return Affine(weight, bias if bias.any() else None)


def _affine_second(first: LinearLayer, second: Affine) -> Affine | None:
    weight = first.pull(second.weight)
    n_outputs, n_inputs = weight.shape
    if not _pays(n_outputs * n_inputs, second.weight.numel(), first):
        return None
    bias = second.value(first.value(weight.new_zeros(1, n_inputs)))[0]
    return Affine(weight.contiguous(), bias if bias.any() else None)


def _pays(merged: int, alone: int, other: LinearLayer) -> bool:
    """Whether products with a merged matrix take no longer than with two layers."""
    return merged <= alone + (other.weight.numel() if isinstance(other, Affine) else 0)


def _used(layers: list[Any], inputs: Inputs) -> tuple[list[Any], Inputs]:
    """Leave out layers that the last one does not depend on."""
    wanted = {len(layers)}
    for k in reversed(range(len(layers))):
        if k + 1 in wanted:
            wanted.update(inputs[k])
    kept = [k for k in range(len(layers)) if k + 1 in wanted]
    number = {0: 0} | {k + 1: place + 1 for place, k in enumerate(kept)}
    return [layers[k] for k in kept], [tuple(number[i] for i in inputs[k]) for k in kept]
