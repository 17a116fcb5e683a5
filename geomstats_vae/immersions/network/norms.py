"""Layers for torch's norms and softmax."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch

from geomstats_vae.immersions.network.builder import Builder, Wire, require_constants
from geomstats_vae.immersions.network.joints import Sum
from geomstats_vae.immersions.network.linear import TorchOperation
from geomstats_vae.immersions.network.normalization import LogSoftmax, Normalization
from geomstats_vae.immersions.network.trace import Operation, TraceError


def _by_channel(numbers: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
    return numbers.view(-1, *[1] * (len(shape) - 2))


def batch_norm(builder: Builder, operation: Operation) -> Wire:
    """Translate a batch norm with running statistics.

    Parameters
    ----------
    builder : Builder
        Layers so far.
    operation : Operation
        The operation.

    Returns
    -------
    wire : Wire
        The result.

    Raises
    ------
    TraceError
        If points are mixed, or weights depend on the codes.
    """
    a, weight, bias, mean, variance, *rest = operation.args
    training = rest[0] if len(rest) == 3 else False
    if training or mean is None or variance is None:
        raise TraceError("statistics of the batch are not known")
    require_constants(weight, bias, mean, variance)
    scale = torch.rsqrt(variance + rest[-1])
    scale = scale if weight is None else scale * weight
    shift = -mean * scale if bias is None else bias - mean * scale
    wire = builder.wire(a)
    builder.point_shape(wire)
    shape = wire.shape
    return builder.scaled(wire, _by_channel(scale, shape), _by_channel(shift, shape), shape)


def layer_norm(builder: Builder, operation: Operation) -> Wire:
    """Translate a layer norm.

    Parameters
    ----------
    builder : Builder
        Layers so far.
    operation : Operation
        The operation.

    Returns
    -------
    wire : Wire
        The result.

    Raises
    ------
    TraceError
        If points are mixed, or weights depend on the codes.
    """
    a, axes, weight, bias, eps = operation.args
    require_constants(weight, bias)
    wire = builder.wire(a)
    builder.point_shape(wire)
    if len(axes) == len(wire.shape):
        raise TraceError("a norm over all points is not known")
    normal = builder.add(Normalization(math.prod(axes), eps), [wire], wire.shape)
    if weight is None and bias is None:
        return normal
    scale, shift = 1.0 if weight is None else weight, 0.0 if bias is None else bias
    return builder.scaled(normal, scale, shift, wire.shape)


def group_norm(builder: Builder, operation: Operation) -> Wire:
    """Translate a group norm.

    Parameters
    ----------
    builder : Builder
        Layers so far.
    operation : Operation
        The operation.

    Returns
    -------
    wire : Wire
        The result.

    Raises
    ------
    TraceError
        If points are mixed, or weights depend on the codes.
    """
    a, weight, bias, _, channels, pixels, groups, eps = operation.args
    require_constants(weight, bias)
    wire = builder.wire(a)
    if builder.point_shape(wire)[0] != 1:
        raise TraceError("images of one point are several")
    layer = Normalization(channels * pixels // groups, eps)
    normal = builder.add(layer, [wire], wire.shape)
    if weight is None and bias is None:
        return normal
    shape = wire.shape
    scale = 1.0 if weight is None else _by_channel(weight, shape)
    shift = 0.0 if bias is None else _by_channel(bias, shape)
    return builder.scaled(normal, scale, shift, shape)


def _last_axis(builder: Builder, wire: Wire, axis: int) -> tuple[Wire, Callable[[Wire], Wire]]:
    """Move an axis to the end; the wire, and what moves the axis of a result back."""
    n_axes = len(wire.shape)
    axis %= n_axes
    if axis == 0:
        raise TraceError("an operation over all points is not known")
    builder.point_shape(wire)
    if axis == n_axes - 1:
        return wire, lambda result: result
    moved = builder.rearranged(lambda part: part.movedim(axis, -1), [wire])
    return moved, lambda result: builder.rearranged(lambda part: part.movedim(-1, axis), [result])


def log_softmax(builder: Builder, operation: Operation) -> Wire:
    """Translate log softmax along an axis.

    Parameters
    ----------
    builder : Builder
        Layers so far.
    operation : Operation
        The operation.

    Returns
    -------
    wire : Wire
        The result.

    Raises
    ------
    TraceError
        If points are mixed, or weights depend on the codes.
    """
    a, axis = operation.args[:2]
    wire, back = _last_axis(builder, builder.wire(a), axis)
    return back(builder.add(LogSoftmax(wire.shape[-1]), [wire], wire.shape))


def softmax(builder: Builder, operation: Operation) -> Wire:
    """Translate softmax, as exp of log softmax.

    Parameters
    ----------
    builder : Builder
        Layers so far.
    operation : Operation
        The operation.

    Returns
    -------
    wire : Wire
        The result.

    Raises
    ------
    TraceError
        If points are mixed, or weights depend on the codes.
    """
    return builder.applied("exp", log_softmax(builder, operation))


def log_sum_exp(builder: Builder, operation: Operation) -> Wire:
    """Translate log sum exp u, as u_1 - log_softmax(u)_1.

    Parameters
    ----------
    builder : Builder
        Layers so far.
    operation : Operation
        The operation.

    Returns
    -------
    wire : Wire
        The result.

    Raises
    ------
    TraceError
        If points are mixed, or weights depend on the codes.
    """
    a, axes = operation.args[:2]
    if len(axes) != 1:
        raise TraceError("a sum over several axes is not known")
    wire, _ = _last_axis(builder, builder.wire(a), axes[0])
    normal = builder.add(LogSoftmax(wire.shape[-1]), [wire], wire.shape)
    parts = [builder.rearranged(lambda part: part[..., 0], [one]) for one in (wire, normal)]
    total = builder.add(Sum((1.0, -1.0)), parts, parts[0].shape)
    return builder.rearranged(lambda part: part.reshape(operation.results[0].shape), [total])


def euclidean_norm(builder: Builder, operation: Operation) -> Wire:
    """Translate the Euclidean norm over some axes, as in `torch.nn.functional.normalize`.

    Parameters
    ----------
    builder : Builder
        Layers so far.
    operation : Operation
        The operation.

    Returns
    -------
    wire : Wire
        The result.

    Raises
    ------
    TraceError
        If points are mixed, or weights depend on the codes.
    """
    a, order, *given = operation.args
    axes = given[0] if given else None
    keepdim = len(given) > 1 and given[1]
    wire = builder.wire(a)
    shape = builder.point_shape(wire)
    if order != 2 or not axes:
        raise TraceError("this norm is not known")
    if any(axis % len(shape) == 0 for axis in axes):
        raise TraceError("a norm over all points is not known")
    square = builder.applied("square", wire)

    sums = TorchOperation("sum.dim_IntList", (axes, keepdim))
    total = builder.mapped(sums, square, operation.results[0].shape)
    return builder.applied("sqrt", total)
