"""Networks with fewer outputs and the same lengths: QR factors of their last affine maps.

Outputs y = W_1 h_1 + ... + W_K h_K + b, with [W_1 ... W_K] = Q [R_1 ... R_K], differ by as much as
R_1 h_1 + ... + R_K h_K do, which are fewer numbers if the h_k are fewer than the outputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from geomstats_vae.immersions.network.joints import Concatenation, Sum
from geomstats_vae.immersions.network.layers import Affine


def condense(
    layers: tuple[Any, ...], inputs: Sequence[tuple[int, ...]], n_mean: int | None
) -> tuple[tuple[Any, ...], int | None]:
    """Replace the last affine maps of a network by smaller ones.

    Parameters
    ----------
    layers : tuple of Layer or Joint
        Layers of the network.
    inputs : sequence of tuple of int
        What each takes, as in `Wiring`.
    n_mean : int or None
        Number of leading outputs that are no standard deviations; None for all of them.

    Returns
    -------
    layers : tuple of Layer or Joint
        The new layers; the same tuple if nothing can be replaced.
    n_mean : int or None
        The new number.
    """
    if n_mean == 0:
        return layers, n_mean
    last = layers[-1]
    head, rest = len(layers), 0
    if isinstance(last, Concatenation):
        # The first input is the mean if standard deviations stand beside it.
        if len(last.widths) != 2 or n_mean != last.widths[0]:
            return layers, n_mean
        (head, other), rest = inputs[-1], last.widths[1]
        if head == other:
            return layers, n_mean
    elif n_mean is not None:
        return layers, n_mean
    maps = _affine_terms(layers, inputs, head)
    if maps is None:
        return layers, n_mean
    factors = _smaller([layers[k].weight * factor for k, factor in maps])
    if factors is None:
        return layers, n_mean
    replaced = list(layers)
    for (k, factor), weight in zip(maps, factors, strict=True):
        replaced[k] = Affine(weight / factor)
    if rest:
        n_mean = len(factors[0])
        replaced[-1] = Concatenation([n_mean, rest])
    return tuple(replaced), n_mean


def _affine_terms(
    layers: Sequence[Any], inputs: Sequence[tuple[int, ...]], number: int
) -> list[tuple[int, float]] | None:
    """Affine layers that a result is the sum of, with factors; None if it is no such sum.

    Results are counted from 1, as in `Wiring`, and layers from 0.
    """
    used = sum(numbers.count(number) for numbers in inputs)
    k = number - 1
    if k < 0 or used > (0 if number == len(layers) else 1):
        return None
    if type(layers[k]) is Affine:
        return [(k, 1.0)]
    if not isinstance(layers[k], Sum):
        return None
    terms: list[tuple[int, float]] = []
    for factor, part in zip(layers[k].factors, inputs[k], strict=True):
        own = _affine_terms(layers, inputs, part)
        if own is None or factor == 0.0:
            return None
        terms += [(j, factor * inner) for j, inner in own]
    return terms


def _smaller(weights: list[torch.Tensor]) -> list[torch.Tensor] | None:
    """Blocks of R in [W_1 ... W_K] = Q R; None if R has as many rows as the W."""
    widths = [weight.shape[1] for weight in weights]
    if len(weights[0]) <= sum(widths):
        return None
    return list(torch.linalg.qr(torch.cat(weights, dim=1), mode="r")[1].split(widths, dim=1))
