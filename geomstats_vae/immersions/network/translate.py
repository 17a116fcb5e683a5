"""Layers for torch's operations, one function for each kind of operation."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import torch

from geomstats_vae.immersions.network.activations import find_activation
from geomstats_vae.immersions.network.builder import Builder, Wire
from geomstats_vae.immersions.network.convolution import Convolution
from geomstats_vae.immersions.network.joints import MatrixProduct, Product, Sum
from geomstats_vae.immersions.network.layers import Affine, ElementwiseLayer, Scale
from geomstats_vae.immersions.network.linear import BlockAffine, LinearFunction
from geomstats_vae.immersions.network.normalization import LogSoftmax, Normalization
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


def _apply(builder: Builder, name: str, wire: Wire, *options: Any) -> Wire:
    activation = find_activation(name, *options)
    assert activation is not None
    return builder.add(ElementwiseLayer(activation), [wire], wire.shape)


def _scale(builder: Builder, wire: Wire, scale: Any, shift: Any, shape: Sequence[int]) -> Wire:
    wire = builder.expanded(wire, shape)
    layer = Scale(builder.rows(scale, shape), builder.rows(shift, shape))
    return builder.add(layer, [wire], shape)


def _sum(builder: Builder, operation: Operation, signs: tuple[float, float]) -> Wire:
    """Alpha times the second of two arguments, added to the first or subtracted."""
    a, b = operation.args[:2]
    factors = signs[0], signs[1] * float(operation.kwargs.get("alpha", 1.0))
    shape = operation.results[0].shape
    if isinstance(a, Variable) and isinstance(b, Variable):
        wires = [builder.expanded(builder.wire(part), shape) for part in (a, b)]
        if wires[0] == wires[1]:
            return _scale(builder, wires[0], sum(factors), 0.0, shape)
        return builder.add(Sum(factors), wires, shape)
    if isinstance(a, Variable):
        return _scale(builder, builder.wire(a), factors[0], factors[1] * b, shape)
    return _scale(builder, builder.wire(b), factors[1], factors[0] * a, shape)


def _add(builder: Builder, operation: Operation) -> Wire:
    return _sum(builder, operation, (1.0, 1.0))


def _subtract(builder: Builder, operation: Operation) -> Wire:
    return _sum(builder, operation, (1.0, -1.0))


def _subtract_from(builder: Builder, operation: Operation) -> Wire:
    a, b = operation.args[:2]
    if "alpha" in operation.kwargs or len(operation.args) > 2:
        raise TraceError("rsub with a factor is not known")
    return _scale(builder, builder.wire(a), -1.0, b, operation.results[0].shape)


def _negate(builder: Builder, operation: Operation) -> Wire:
    return _scale(builder, builder.wire(operation.args[0]), -1.0, 0.0, operation.results[0].shape)


def _multiply(builder: Builder, operation: Operation) -> Wire:
    a, b = operation.args[:2]
    shape = operation.results[0].shape
    if not isinstance(a, Variable):
        a, b = b, a
    if not isinstance(b, Variable):
        return _scale(builder, builder.wire(a), b, 0.0, shape)
    return _product(builder, builder.wire(a), builder.wire(b), shape)


def _product(builder: Builder, a: Wire, b: Wire, shape: Sequence[int]) -> Wire:
    a, b = builder.expanded(a, shape), builder.expanded(b, shape)
    if a == b:
        return _apply(builder, "square", a)
    return builder.add(Product(), [a, b], shape)


def _gated(builder: Builder, operation: Operation) -> Wire:
    """One half times the sigmoid of the other."""
    a, axis = (*operation.args, -1)[:2]
    wire = builder.wire(a)
    halves = [
        builder.rearranged(lambda part, k=k: part.chunk(2, axis)[k], [wire])  # type: ignore[misc]
        for k in range(2)
    ]
    gate = _apply(builder, "sigmoid", halves[1])
    return _product(builder, halves[0], gate, operation.results[0].shape)


def _divide(builder: Builder, operation: Operation) -> Wire:
    if operation.kwargs.get("rounding_mode") is not None:
        raise TraceError("rounding is not known")
    a, b = operation.args[:2]
    shape = operation.results[0].shape
    if not isinstance(b, Variable):
        reciprocal = 1.0 / torch.as_tensor(b, dtype=builder.dtype, device=builder.device)
        return _scale(builder, builder.wire(a), reciprocal, 0.0, shape)
    inverse = _apply(builder, "reciprocal", builder.wire(b))
    if not isinstance(a, Variable):
        return _scale(builder, inverse, a, 0.0, shape)
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
    _only_constants(matrix)
    return _affine(builder, builder.wire(a), matrix, None, operation.results[0].shape)


def _affine_map(builder: Builder, operation: Operation) -> Wire:
    bias, a, matrix = operation.args[:3]
    _only_constants(matrix, bias)
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
    on_the_right = isinstance(a, Variable)

    def times(stack: torch.Tensor) -> torch.Tensor:
        return stack @ matrices if on_the_right else matrices @ stack

    return builder.add(LinearFunction(times, inner, math.prod(inner)), [wire], shape)


def _convolution(builder: Builder, operation: Operation) -> Wire:
    a, weight, bias, stride, padding, dilation, transposed, output_padding, groups = operation.args
    _only_constants(weight, bias)
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


def _by_channel(numbers: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
    return numbers.view(-1, *[1] * (len(shape) - 2))


def _batch_norm(builder: Builder, operation: Operation) -> Wire:
    a, weight, bias, mean, variance, *rest = operation.args
    training = rest[0] if len(rest) == 3 else False
    if training or mean is None or variance is None:
        raise TraceError("statistics of the batch are not known")
    _only_constants(weight, bias, mean, variance)
    scale = torch.rsqrt(variance + rest[-1])
    scale = scale if weight is None else scale * weight
    shift = -mean * scale if bias is None else bias - mean * scale
    wire = builder.wire(a)
    builder.point_shape(wire)
    shape = wire.shape
    return _scale(builder, wire, _by_channel(scale, shape), _by_channel(shift, shape), shape)


def _layer_norm(builder: Builder, operation: Operation) -> Wire:
    a, axes, weight, bias, eps = operation.args
    _only_constants(weight, bias)
    wire = builder.wire(a)
    builder.point_shape(wire)
    if len(axes) == len(wire.shape):
        raise TraceError("a norm over all points is not known")
    normal = builder.add(Normalization(math.prod(axes), eps), [wire], wire.shape)
    if weight is None and bias is None:
        return normal
    scale, shift = 1.0 if weight is None else weight, 0.0 if bias is None else bias
    return _scale(builder, normal, scale, shift, wire.shape)


def _group_norm(builder: Builder, operation: Operation) -> Wire:
    a, weight, bias, _, channels, pixels, groups, eps = operation.args
    _only_constants(weight, bias)
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
    return _scale(builder, normal, scale, shift, shape)


def _last_axis(builder: Builder, wire: Wire, axis: int) -> tuple[Wire, Callable[[Wire], Wire]]:
    """A wire with some axis last, and what puts the axis of a result back."""
    n_axes = len(wire.shape)
    axis %= n_axes
    if axis == 0:
        raise TraceError("an operation over all points is not known")
    builder.point_shape(wire)
    if axis == n_axes - 1:
        return wire, lambda result: result
    moved = builder.rearranged(lambda part: part.movedim(axis, -1), [wire])
    return moved, lambda result: builder.rearranged(lambda part: part.movedim(-1, axis), [result])


def _log_softmax(builder: Builder, operation: Operation) -> Wire:
    a, axis = operation.args[:2]
    wire, back = _last_axis(builder, builder.wire(a), axis)
    return back(builder.add(LogSoftmax(wire.shape[-1]), [wire], wire.shape))


def _softmax(builder: Builder, operation: Operation) -> Wire:
    return _apply(builder, "exp", _log_softmax(builder, operation))


def _log_sum_exp(builder: Builder, operation: Operation) -> Wire:
    """Log sum exp u = u_1 - log_softmax(u)_1."""
    a, axes = operation.args[:2]
    if len(axes) != 1:
        raise TraceError("a sum over several axes is not known")
    wire, _ = _last_axis(builder, builder.wire(a), axes[0])
    normal = builder.add(LogSoftmax(wire.shape[-1]), [wire], wire.shape)
    parts = [builder.rearranged(lambda part: part[..., 0], [one]) for one in (wire, normal)]
    total = builder.add(Sum((1.0, -1.0)), parts, parts[0].shape)
    return builder.rearranged(lambda part: part.reshape(operation.results[0].shape), [total])


def _reduction(builder: Builder, operation: Operation) -> Wire:
    """Sums and means over some axes."""
    wire = builder.wire(operation.args[0])
    shape = builder.point_shape(wire)
    axes = operation.args[1] if len(operation.args) > 1 else None
    if not axes or any(axis % len(shape) == 0 for axis in axes):
        raise TraceError("a sum over all points is not known")
    return _linear_function(builder, operation)


def _norm(builder: Builder, operation: Operation) -> Wire:
    """Euclidean norm over some axes, as in `torch.nn.functional.normalize`."""
    a, order, axes, keepdim = (*operation.args, *(2, None, False)[len(operation.args) - 1 :])
    wire = builder.wire(a)
    shape = builder.point_shape(wire)
    if order != 2 or not axes:
        raise TraceError("this norm is not known")
    if any(axis % len(shape) == 0 for axis in axes):
        raise TraceError("a norm over all points is not known")
    square = _apply(builder, "square", wire)

    def sums(part: torch.Tensor) -> torch.Tensor:
        return part.sum(axes, keepdim)

    layer = LinearFunction(sums, wire.shape[1:], builder.width(wire))
    total = builder.add(layer, [square], operation.results[0].shape)
    return _apply(builder, "sqrt", total)


def _linear_function(builder: Builder, operation: Operation) -> Wire:
    first, *options = operation.args
    wire = builder.wire(first)
    _only_constants(*options, *operation.kwargs.values())

    def apply(part: torch.Tensor) -> torch.Tensor:
        return operation.function(part, *options, **operation.kwargs)

    builder.point_shape(wire)
    layer = LinearFunction(apply, wire.shape[1:], builder.width(wire))
    return builder.add(layer, [wire], operation.results[0].shape)


def _only_constants(*parts: Any) -> None:
    if any(isinstance(part, Variable) for part in parts):
        raise TraceError("a weight depends on the codes")


_TRANSLATIONS: dict[str, Translation] = {
    "add": _add,
    "addmm": _affine_map,
    "bmm": _stacked_product,
    "convolution": _convolution,
    "div": _divide,
    "glu": _gated,
    "linalg_vector_norm": _norm,
    "log_softmax": _log_softmax,
    "_log_softmax": _log_softmax,
    "logsumexp": _log_sum_exp,
    "mean": _reduction,
    "mm": _matrix_product,
    "mul": _multiply,
    "native_batch_norm": _batch_norm,
    "_native_batch_norm_legit_no_training": _batch_norm,
    "native_group_norm": _group_norm,
    "native_layer_norm": _layer_norm,
    "neg": _negate,
    "rsub": _subtract_from,
    "softmax": _softmax,
    "_softmax": _softmax,
    "sub": _subtract,
    "sum": _reduction,
}
