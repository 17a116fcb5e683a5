"""Layers for torch's operations, one function for each kind of operation."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import torch

from geomstats_vae.immersions.network.activations import find_activation
from geomstats_vae.immersions.network.builder import Builder, Wire, require_constants
from geomstats_vae.immersions.network.convolution import Convolution
from geomstats_vae.immersions.network.joints import MatrixProduct, Product, Sum
from geomstats_vae.immersions.network.layers import Affine, ElementwiseLayer
from geomstats_vae.immersions.network.linear import BlockAffine, StackProduct, TorchOperation
from geomstats_vae.immersions.network.norms import (
    batch_norm,
    euclidean_norm,
    group_norm,
    layer_norm,
    log_softmax,
    log_sum_exp,
    softmax,
)
from geomstats_vae.immersions.network.trace import Operation, TraceError, Variable, variables_of

Translation: TypeAlias = Callable[[Builder, Operation], Wire]

# Operations that move components, leave some out, repeat them, or set them to constants.
_MOVES = {
    "alias",
    "cat",
    "channel_shuffle",
    "clone",
    "constant_pad_nd",
    "contiguous",
    "detach",
    "expand",
    "fill",
    "flip",
    "index",
    "index_select",
    "lift_fresh_copy",
    "narrow",
    "permute",
    "pixel_shuffle",
    "pixel_unshuffle",
    "reflection_pad1d",
    "reflection_pad2d",
    "repeat",
    "replication_pad1d",
    "replication_pad2d",
    "reshape",
    "_reshape_alias",
    "roll",
    "select",
    "select_scatter",
    "slice",
    "slice_scatter",
    "split",
    "split_with_sizes",
    "squeeze",
    "stack",
    "t",
    "transpose",
    "unbind",
    "_unsafe_view",
    "unsqueeze",
    "upsample_nearest1d",
    "upsample_nearest2d",
    "upsample_nearest3d",
    "view",
}
# Linear operations of one tensor, point by point; torch transposes them.
_LINEAR = {
    "_adaptive_avg_pool2d",
    "avg_pool1d",
    "avg_pool2d",
    "avg_pool3d",
    "upsample_bilinear2d",
    "upsample_bicubic2d",
    "upsample_linear1d",
    "upsample_trilinear3d",
}


def translate(builder: Builder, operation: Operation) -> None:
    """Append the layers that stand for an operation.

    Parameters
    ----------
    builder : Builder
        Layers so far.
    operation : Operation
        The operation.

    Raises
    ------
    TraceError
        If it is not known, or not in this use.
    """
    if operation.name in _MOVES:
        _move(builder, operation)
        return
    wire = _translation(operation)(builder, operation)
    if wire.shape != operation.results[0].shape:
        raise TraceError(f"{operation.name} gives {operation.results[0].shape}, not {wire.shape}")
    builder.set(operation.results[0], wire)


def _translation(operation: Operation) -> Translation:
    if operation.name in _TRANSLATIONS:
        return _TRANSLATIONS[operation.name]
    return _linear_function if operation.name in _LINEAR else _elementwise


def _move(builder: Builder, operation: Operation) -> None:
    """Results of moves; operations such as split have several."""
    variables = list(dict.fromkeys(variables_of(operation)))
    wires = [builder.wire(variable) for variable in variables]

    def move(k: int, *tensors: torch.Tensor) -> torch.Tensor:
        known = dict(zip(variables, tensors, strict=True))
        args = _filled(operation.args, known)
        result = operation.function(*args, **_filled(operation.kwargs, known))
        return result if isinstance(result, torch.Tensor) else result[k]

    for k, result in enumerate(operation.results):
        builder.set(result, builder.rearranged(functools.partial(move, k), wires))


def _filled(part: Any, known: dict[Variable, torch.Tensor]) -> Any:
    """Arguments with tensors in the place of variables, and constants of the tensors' type."""
    if isinstance(part, Variable):
        return known[part]
    if isinstance(part, torch.Tensor) and part.is_floating_point():
        return part.to(next(iter(known.values())).dtype)
    if isinstance(part, (tuple, list)):
        return type(part)(_filled(item, known) for item in part)
    if isinstance(part, dict):
        return {key: _filled(item, known) for key, item in part.items()}
    return part


def _elementwise(builder: Builder, operation: Operation) -> Wire:
    """Functions of one number, with options that are constants."""
    first, *options = operation.args
    if operation.name in ("maximum", "minimum") and not isinstance(first, Variable):
        first, options = options[0], [first]
    wire = builder.wire(first)
    if any(isinstance(part, Variable) for part in (*options, *operation.kwargs.values())):
        raise TraceError(f"{operation.name} of several variables is not known")
    options = [
        builder.rows(part, wire.shape) if isinstance(part, torch.Tensor) else part
        for part in options
    ]
    activation = find_activation(operation.name, *options, **operation.kwargs)
    if activation is None:
        raise TraceError(f"{operation.name} is not known")
    return builder.add(ElementwiseLayer(activation), [wire], wire.shape)


def _sum(builder: Builder, operation: Operation, signs: tuple[float, float]) -> Wire:
    """Alpha times the second of two arguments, added to the first or subtracted."""
    a, b = operation.args[:2]
    factors = signs[0], signs[1] * float(operation.kwargs.get("alpha", 1.0))
    shape = operation.results[0].shape
    if isinstance(a, Variable) and isinstance(b, Variable):
        wires = [builder.expanded(builder.wire(part), shape) for part in (a, b)]
        if wires[0] == wires[1]:
            return builder.scaled(wires[0], sum(factors), 0.0, shape)
        return builder.add(Sum(factors), wires, shape)
    if isinstance(a, Variable):
        return builder.scaled(builder.wire(a), factors[0], factors[1] * b, shape)
    return builder.scaled(builder.wire(b), factors[1], factors[0] * a, shape)


def _add(builder: Builder, operation: Operation) -> Wire:
    return _sum(builder, operation, (1.0, 1.0))


def _subtract(builder: Builder, operation: Operation) -> Wire:
    return _sum(builder, operation, (1.0, -1.0))


def _subtract_from(builder: Builder, operation: Operation) -> Wire:
    a, b = operation.args[:2]
    if "alpha" in operation.kwargs or len(operation.args) > 2:
        raise TraceError("rsub with a factor is not known")
    return builder.scaled(builder.wire(a), -1.0, b, operation.results[0].shape)


def _negate(builder: Builder, operation: Operation) -> Wire:
    return builder.scaled(builder.wire(operation.args[0]), -1.0, 0.0, operation.results[0].shape)


def _multiply(builder: Builder, operation: Operation) -> Wire:
    a, b = operation.args[:2]
    shape = operation.results[0].shape
    if not isinstance(a, Variable):
        a, b = b, a
    if not isinstance(b, Variable):
        return builder.scaled(builder.wire(a), b, 0.0, shape)
    return _product(builder, builder.wire(a), builder.wire(b), shape)


def _product(builder: Builder, a: Wire, b: Wire, shape: Sequence[int]) -> Wire:
    a, b = builder.expanded(a, shape), builder.expanded(b, shape)
    if a == b:
        return builder.applied("square", a)
    return builder.add(Product(), [a, b], shape)


def _gated(builder: Builder, operation: Operation) -> Wire:
    """One half times the sigmoid of the other."""
    a, axis = (*operation.args, -1)[:2]
    wire = builder.wire(a)
    halves = [
        builder.rearranged(lambda part, k=k: part.chunk(2, axis)[k], [wire]) for k in range(2)
    ]
    gate = builder.applied("sigmoid", halves[1])
    return _product(builder, halves[0], gate, operation.results[0].shape)


def _divide(builder: Builder, operation: Operation) -> Wire:
    if operation.kwargs.get("rounding_mode") is not None:
        raise TraceError("rounding is not known")
    a, b = operation.args[:2]
    shape = operation.results[0].shape
    if not isinstance(b, Variable):
        reciprocal = 1.0 / torch.as_tensor(b, dtype=builder.dtype, device=builder.device)
        return builder.scaled(builder.wire(a), reciprocal, 0.0, shape)
    inverse = builder.applied("reciprocal", builder.wire(b))
    if not isinstance(a, Variable):
        return builder.scaled(inverse, a, 0.0, shape)
    return _product(builder, builder.wire(a), inverse, shape)


def _affine(
    builder: Builder, wire: Wire, matrix: torch.Tensor, bias: Any, shape: Sequence[int]
) -> Wire:
    """U -> u matrix + bias on the last axis; bias is broadcast to the shape of the result."""
    row = None if bias is None else builder.rows(bias, shape)
    builder.point_shape(wire)
    if builder.width(wire) == matrix.shape[0]:
        return builder.add(Affine(matrix.T.contiguous(), row), [wire], shape)
    return builder.add(BlockAffine(matrix.T.contiguous(), row), [wire], shape)


def _matrix_product(builder: Builder, operation: Operation) -> Wire:
    a, matrix = operation.args[:2]
    require_constants(matrix)
    return _affine(builder, builder.wire(a), matrix, None, operation.results[0].shape)


def _affine_map(builder: Builder, operation: Operation) -> Wire:
    bias, a, matrix = operation.args[:3]
    require_constants(matrix, bias)
    bias = bias * operation.kwargs.get("beta", 1)
    matrix = matrix * operation.kwargs.get("alpha", 1)
    return _affine(builder, builder.wire(a), matrix, bias, operation.results[0].shape)


def _stacked_product(builder: Builder, operation: Operation) -> Wire:
    """Products of stacks of matrices, of variables or constants that are the same for all."""
    a, b = operation.args[:2]
    shape = operation.results[0].shape
    if isinstance(a, Variable) and isinstance(b, Variable):
        wires = builder.wire(a), builder.wire(b)
        first, second = (builder.point_shape(wire) for wire in wires)
        return builder.add(MatrixProduct(first, second), wires, shape)
    wire = builder.wire(a if isinstance(a, Variable) else b)
    inner = builder.point_shape(wire)
    constant = b if isinstance(a, Variable) else a
    matrices = builder.rows(constant, constant.shape).view(inner[0], *constant.shape[1:])
    product = StackProduct(matrices, isinstance(a, Variable))
    return builder.mapped(product, wire, shape, inner)


def _convolution(builder: Builder, operation: Operation) -> Wire:
    a, weight, bias, stride, padding, dilation, transposed, output_padding, groups = operation.args
    require_constants(weight, bias)
    wire, shape = builder.wire(a), operation.results[0].shape
    if builder.point_shape(wire)[0] != 1:
        raise TraceError("images of one point are several")
    row = None
    if bias is not None:
        row = builder.rows(bias.view(-1, *[1] * (len(shape) - 2)), shape)
    layer = Convolution(
        weight,
        row,
        wire.shape[1:],
        transposed=transposed,
        output_padding=output_padding,
        stride=tuple(stride),
        padding=tuple(padding),
        dilation=tuple(dilation),
        groups=groups,
    )
    return builder.add(layer, [wire], shape)


def _reduction(builder: Builder, operation: Operation) -> Wire:
    """Sum or average over some axes."""
    wire = builder.wire(operation.args[0])
    shape = builder.point_shape(wire)
    axes = operation.args[1] if len(operation.args) > 1 else None
    if not axes or any(axis % len(shape) == 0 for axis in axes):
        raise TraceError("a sum over all points is not known")
    return _linear_function(builder, operation)


def _linear_function(builder: Builder, operation: Operation) -> Wire:
    first, *options = operation.args
    wire = builder.wire(first)
    require_constants(*options, *operation.kwargs.values())
    name = operation.function.__name__
    apply = TorchOperation(name, tuple(options), operation.kwargs)
    return builder.mapped(apply, wire, operation.results[0].shape)


_TRANSLATIONS: dict[str, Translation] = {
    "add": _add,
    "addmm": _affine_map,
    "bmm": _stacked_product,
    "convolution": _convolution,
    "div": _divide,
    "glu": _gated,
    "linalg_vector_norm": euclidean_norm,
    "log_softmax": log_softmax,
    "_log_softmax": log_softmax,
    "logsumexp": log_sum_exp,
    "mean": _reduction,
    "mm": _matrix_product,
    "mul": _multiply,
    "native_batch_norm": batch_norm,
    "_native_batch_norm_legit_no_training": batch_norm,
    "native_group_norm": group_norm,
    "native_layer_norm": layer_norm,
    "neg": _negate,
    "rsub": _subtract_from,
    "softmax": softmax,
    "_softmax": softmax,
    "sub": _subtract,
    "sum": _reduction,
}
