"""Kinks of torch functions, and smooth functions in place of them.

A decoder with ReLUs is piecewise smooth. Its curvature sits on the kinks, where no Newton step can
see it. Geodesics are therefore sought on a decoder whose kinks are rounded. Every kinked function
of torch can be written with ReLUs, as |u| = 2 relu(u) - u, so one smooth function serves all of
them: w softplus(u / w), which tends to relu(u) as its width w tends to 0. Its slope is a mean of
the slopes around u.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional

Function: TypeAlias = Callable[[Tensor], Tensor]
# Takes a ReLU and the arguments of a torch function; returns its value, or None where it is smooth.
Rule: TypeAlias = Callable[..., Any]

_LEAST_SPREAD = 1e-3  # of one unit, in units of the root mean square over all of them
_SOFTPLUS_THRESHOLD = 40.0  # in widths; there softplus differs from its line by 4e-18


def check_width(width: float) -> float:
    """Return a width of kinks, or raise ValueError unless it is positive and finite."""
    if not 0.0 < width < math.inf:
        raise ValueError(f"Expected a width of kinks > 0 and finite, got {width!r}.")
    return float(width)


def smooth_relu(u: Tensor, width: Tensor | float) -> Tensor:
    """Evaluate a ReLU whose kink is rounded.

    Parameters
    ----------
    u : torch.Tensor, shape=[...]
        Arguments.
    width : torch.Tensor or float
        Positive width w of the kink; broadcasts against u.

    Returns
    -------
    value : torch.Tensor, shape=[...]
        w softplus(u / w) = w log(1 + exp(u / w)): at least relu(u), and at most w log 2 more.
    """
    return width * functional.softplus(u / width, threshold=_SOFTPLUS_THRESHOLD)


def spread_over_codes(u: Tensor, n_codes: int) -> Tensor:
    """Measure how much the input of a kinked function varies over latent codes.

    Parameters
    ----------
    u : torch.Tensor, shape=[n_codes, ...]
        Inputs.
    n_codes : int
        Number of codes. An input without this axis gives one number for all its units.

    Returns
    -------
    spread : torch.Tensor, shape=[...] or []
        Standard deviation of each unit, positive: units that hardly vary get a small share of the
        root mean square over all of them.
    """
    has_codes = u.ndim > 1 and u.shape[0] == n_codes > 1
    spread = u.std(dim=0, correction=0) if has_codes else u.std(correction=0)
    mean_square = spread.square().mean()
    # All units may be the same at all codes, and even zero; any width will do then.
    size = torch.where(mean_square > 0.0, mean_square, u.square().mean()).sqrt()
    return torch.maximum(spread, _LEAST_SPREAD * torch.where(size > 0.0, size, 1.0))


def _relu(relu: Function, u: Tensor) -> Tensor:
    return relu(u)


def _leaky_relu(relu: Function, u: Tensor, negative_slope: float = 0.01) -> Tensor:
    return negative_slope * u + (1.0 - negative_slope) * relu(u)


def _prelu(relu: Function, u: Tensor, weight: Tensor) -> Tensor:
    # Several weights belong to the second axis.
    slope = weight.reshape(-1, *(1,) * (u.ndim - 2)) if weight.numel() > 1 else weight
    return slope * u + (1.0 - slope) * relu(u)


def _rrelu(
    relu: Function, u: Tensor, lower: float = 1 / 8, upper: float = 1 / 3, training: bool = False
) -> Tensor | None:
    return None if training else _leaky_relu(relu, u, 0.5 * (lower + upper))


def _elu(relu: Function, u: Tensor, alpha: float = 1.0) -> Tensor | None:
    # With alpha = 1 the slope does not jump.
    return None if alpha == 1.0 else alpha * functional.elu(u) + (1.0 - alpha) * relu(u)


def _selu(relu: Function, u: Tensor) -> Tensor:
    # torch.nn.SELU: the coefficients of Klambauer et al., arXiv:1706.02515, section 2.
    alpha, scale = 1.6732632423543772, 1.0507009873554805
    return scale * (alpha * functional.elu(u) + (1.0 - alpha) * relu(u))


def _clamp(
    relu: Function,
    u: Tensor,
    min: Tensor | float | None = None,
    max: Tensor | float | None = None,
) -> Tensor:
    if min is not None:
        u = min + relu(u - min)
    return u if max is None else max - relu(max - u)


def _clamp_max(relu: Function, u: Tensor, max: Tensor | float) -> Tensor:
    return _clamp(relu, u, max=max)


def _hardtanh(relu: Function, u: Tensor, min_val: float = -1.0, max_val: float = 1.0) -> Tensor:
    return _clamp(relu, u, min_val, max_val)


def _relu6(relu: Function, u: Tensor) -> Tensor:
    return _clamp(relu, u, 0.0, 6.0)


def _hardsigmoid(relu: Function, u: Tensor) -> Tensor:
    return _clamp(relu, u + 3.0, 0.0, 6.0) / 6.0


def _hardswish(relu: Function, u: Tensor) -> Tensor:
    return u * _hardsigmoid(relu, u)


def _threshold(relu: Function, u: Tensor, threshold: float, value: float) -> Tensor | None:
    # Other values are jumps.
    return threshold + relu(u - threshold) if value == threshold else None


def _softshrink(relu: Function, u: Tensor, lambd: float = 0.5) -> Tensor:
    return relu(u - lambd) - relu(-u - lambd)


def _abs(relu: Function, u: Tensor) -> Tensor:
    return 2.0 * relu(u) - u


def _maximum(relu: Function, u: Tensor, other: Tensor) -> Tensor:
    return other + relu(u - other)


def _minimum(relu: Function, u: Tensor, other: Tensor) -> Tensor:
    return u - relu(u - other)


def _amax(
    relu: Function, u: Tensor, dim: int | tuple[int, ...] = (), keepdim: bool = False
) -> Tensor | None:
    axes = (dim,) if isinstance(dim, int) else tuple(dim)
    if not axes:
        return None  # over all points of the batch
    for axis in axes:
        u = _largest(relu, u, axis)
    return u if keepdim else u.squeeze(axes)


def _amin(
    relu: Function, u: Tensor, dim: int | tuple[int, ...] = (), keepdim: bool = False
) -> Tensor | None:
    largest = _amax(relu, -u, dim, keepdim)
    return None if largest is None else -largest


def _largest(relu: Function, u: Tensor, axis: int) -> Tensor:
    """Largest entries along an axis, which is kept with length 1: pairs, pairs of pairs ..."""
    while u.shape[axis] > 1:
        half = u.shape[axis] // 2
        parts = u.split([half, half, u.shape[axis] - 2 * half], dim=axis)
        u = torch.cat((_maximum(relu, parts[0], parts[1]), parts[2]), dim=axis)
    return u


def _largest_of(relu: Function, parts: list[Tensor]) -> Tensor:
    largest = parts[0]
    for part in parts[1:]:
        largest = _maximum(relu, part, largest)
    return largest


def _max(relu: Function, u: Tensor, *args: Any, **kwargs: Any) -> Any:
    return _extreme(_maximum, _amax, torch.max, torch.return_types.max, relu, u, *args, **kwargs)


def _min(relu: Function, u: Tensor, *args: Any, **kwargs: Any) -> Any:
    return _extreme(_minimum, _amin, torch.min, torch.return_types.min, relu, u, *args, **kwargs)


def _extreme(
    of_two: Rule,
    along: Rule,
    exact: Callable[..., Any],
    kind: Callable[..., Any],
    relu: Function,
    u: Tensor,
    dim: Tensor | int | None = None,
    keepdim: bool = False,
    *,
    other: Tensor | None = None,
) -> Any:
    """Torch's max and min are three functions: of a tensor, of two, and along an axis."""
    other = dim if isinstance(dim, Tensor) else other
    if other is not None:
        return of_two(relu, u, other)
    if not isinstance(dim, int):
        return None
    return kind((along(relu, u, dim, keepdim), exact(u, dim, keepdim).indices))


def _max_pool(
    relu: Function,
    u: Tensor,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
    *,
    rank: int,
) -> Tensor | None:
    sizes, steps, paddings, gaps = (
        _per_axis(part, rank) for part in (kernel_size, stride or kernel_size, padding, dilation)
    )
    if ceil_mode or return_indices or gaps != (1,) * rank:
        return None
    if any(paddings):
        # Every window holds the entries nearest to its padding, so copies of them change nothing.
        both = [amount for amount in reversed(paddings) for _ in range(2)]
        u = functional.pad(u, both, mode="replicate")
    for axis, size, step in zip(range(-rank, 0), sizes, steps, strict=True):
        u = _largest_of(relu, _window_entries(u, axis, size, step))
    return u


def _window_entries(u: Tensor, axis: int, size: int, step: int) -> list[Tensor]:
    """First, second ... entries of all windows along an axis."""
    span = step * ((u.shape[axis] - size) // step) + 1
    every = torch.arange(0, span, step, device=u.device)
    return [u.narrow(axis, k, span).index_select(axis, every) for k in range(size)]


def _adaptive_max_pool(
    relu: Function, u: Tensor, output_size: Any, return_indices: bool = False, *, rank: int
) -> Tensor | None:
    shape, sizes = u.shape[-rank:], _per_axis(output_size, rank)
    sizes = tuple(n if m is None else m for n, m in zip(shape, sizes, strict=True))
    if return_indices or any(n % m for n, m in zip(shape, sizes, strict=True)):
        return None
    windows = tuple(n // m for n, m in zip(shape, sizes, strict=True))
    return _max_pool(relu, u, windows, rank=rank)


def _per_axis(value: Any, rank: int) -> tuple[Any, ...]:
    value = tuple(value) if isinstance(value, (tuple, list)) else (value,)
    return value * rank if len(value) == 1 else value


def _of_rank(rule: Rule, rank: int) -> Rule:
    return lambda *args, **kwargs: rule(*args, **kwargs, rank=rank)


# By the names that torch's functions and methods have; those in place end with "_".
RULES: Mapping[str, Rule] = {
    "relu": _relu,
    "leaky_relu": _leaky_relu,
    "prelu": _prelu,
    "rrelu": _rrelu,
    "elu": _elu,
    "selu": _selu,
    "clamp": _clamp,
    "clip": _clamp,
    "clamp_min": _clamp,
    "clamp_max": _clamp_max,
    "hardtanh": _hardtanh,
    "relu6": _relu6,
    "hardsigmoid": _hardsigmoid,
    "hardswish": _hardswish,
    "threshold": _threshold,
    "_threshold": _threshold,
    "softshrink": _softshrink,
    "abs": _abs,
    "absolute": _abs,
    "maximum": _maximum,
    "fmax": _maximum,
    "minimum": _minimum,
    "fmin": _minimum,
    "amax": _amax,
    "amin": _amin,
    "max": _max,
    "min": _min,
    "max_pool1d": _of_rank(_max_pool, 1),
    "max_pool2d": _of_rank(_max_pool, 2),
    "max_pool3d": _of_rank(_max_pool, 3),
    "adaptive_max_pool1d": _of_rank(_adaptive_max_pool, 1),
    "adaptive_max_pool2d": _of_rank(_adaptive_max_pool, 2),
    "adaptive_max_pool3d": _of_rank(_adaptive_max_pool, 3),
}
