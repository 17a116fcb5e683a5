"""Functions of one number that networks apply to every component, with their derivatives.

`find_activation` looks one up by the name that torch has for it.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional

from geomstats_vae.immersions.network.kinks import Activation, Formula, Number, kinked

_ROUNDING = tuple(torch.finfo(dtype).eps for dtype in (torch.float32, torch.float64))


def _line(slope: Number, shift: float = 0.0) -> Activation:
    def derivatives(u: torch.Tensor) -> Formula:
        return slope * u + shift, slope * torch.ones_like(u), lambda: torch.zeros_like(u)

    return Activation(lambda u: slope * u + shift, derivatives)


def _activation(
    derivatives: Callable[[torch.Tensor], Formula], *, curvature_jumps: bool = False
) -> Activation:
    def value(u: torch.Tensor) -> torch.Tensor:
        return derivatives(u)[0]

    return Activation(value, derivatives, curvature_jumps=curvature_jumps)


def _tanh(u: torch.Tensor) -> Formula:
    # On CPUs torch takes 2.5 times as long for a hyperbolic tangent as for this.
    y = torch.sigmoid(u + u).mul(2.0).sub(1.0) if u.device.type == "cpu" else torch.tanh(u)
    slope = 1.0 - y * y
    return y, slope, lambda: -2.0 * y * slope


def _sigmoid(u: torch.Tensor) -> Formula:
    y = torch.sigmoid(u)
    slope = y * (1.0 - y)
    return y, slope, lambda: slope * (1.0 - 2.0 * y)


def _silu(u: torch.Tensor) -> Formula:
    s = torch.sigmoid(u)
    slope = s * (1.0 + u * (1.0 - s))
    return u * s, slope, lambda: s * (1.0 - s) * (2.0 + u * (1.0 - 2.0 * s))


def _normal_gelu(u: torch.Tensor) -> Formula:
    # u Phi(u), with Phi and phi of the standard normal distribution.
    share = 0.5 * torch.erfc(-math.sqrt(0.5) * u)
    density = torch.exp(-0.5 * u * u) / math.sqrt(2.0 * math.pi)
    return u * share, share + u * density, lambda: density * (2.0 - u * u)


def _tanh_gelu(u: torch.Tensor) -> Formula:
    # u (1 + tanh(k)) / 2 with k = sqrt(2 / pi) (u + 0.044715 u^3); Hendrycks and Gimpel (2016).
    a, b = math.sqrt(2.0 / math.pi), 0.044715
    square = u * u
    t, rise = torch.tanh(a * u * (1.0 + b * square)), a * (1.0 + 3.0 * b * square)
    change = 1.0 - t * t
    slope = 0.5 * (1.0 + t + u * change * rise)

    def curvature() -> torch.Tensor:
        return change * (rise + u * (3.0 * a * b * u - t * rise * rise))

    return 0.5 * u * (1.0 + t), slope, curvature


def _mish(u: torch.Tensor) -> Formula:
    s, t = torch.sigmoid(u), torch.tanh(functional.softplus(u))
    change = (1.0 - t * t) * s  # of t
    slope = t + u * change
    return u * t, slope, lambda: change * (2.0 + u * (1.0 - s - 2.0 * t * s))


def _log_sigmoid(u: torch.Tensor) -> Formula:
    slope = torch.sigmoid(-u)
    return functional.logsigmoid(u), slope, lambda: slope * (slope - 1.0)


def _asinh(u: torch.Tensor) -> Formula:
    slope = torch.rsqrt(u * u + 1.0)
    return torch.asinh(u), slope, lambda: -u * slope**3


def _atan(u: torch.Tensor) -> Formula:
    slope = 1.0 / (u * u + 1.0)
    return torch.atan(u), slope, lambda: -2.0 * u * slope * slope


def _exp(u: torch.Tensor) -> Formula:
    y = torch.exp(u)
    return y, y, lambda: y


def _expm1(u: torch.Tensor) -> Formula:
    y = torch.exp(u)
    return torch.expm1(u), y, lambda: y


def _log(u: torch.Tensor) -> Formula:
    slope = 1.0 / u
    return torch.log(u), slope, lambda: -slope * slope


def _log1p(u: torch.Tensor) -> Formula:
    slope = 1.0 / (1.0 + u)
    return torch.log1p(u), slope, lambda: -slope * slope


def _sin(u: torch.Tensor) -> Formula:
    y = torch.sin(u)
    return y, torch.cos(u), lambda: -y


def _cos(u: torch.Tensor) -> Formula:
    y = torch.cos(u)
    return y, -torch.sin(u), lambda: -y


def _sinh(u: torch.Tensor) -> Formula:
    y = torch.sinh(u)
    return y, torch.cosh(u), lambda: y


def _cosh(u: torch.Tensor) -> Formula:
    y = torch.cosh(u)
    return y, torch.sinh(u), lambda: y


def _erf(u: torch.Tensor) -> Formula:
    slope = 2.0 / math.sqrt(math.pi) * torch.exp(-u * u)
    return torch.erf(u), slope, lambda: -2.0 * u * slope


def _sqrt(u: torch.Tensor) -> Formula:
    y = torch.sqrt(u)
    slope = 0.5 / y
    return y, slope, lambda: -0.5 * slope / u


def _rsqrt(u: torch.Tensor) -> Formula:
    y = torch.rsqrt(u)
    slope = -0.5 * y * y * y
    return y, slope, lambda: -1.5 * slope * y * y


def _reciprocal(u: torch.Tensor) -> Formula:
    y = torch.reciprocal(u)
    return y, -y * y, lambda: 2.0 * y * y * y


def _square(u: torch.Tensor) -> Formula:
    return u * u, 2.0 * u, lambda: torch.full_like(u, 2.0)


def _power(exponent: float) -> Activation:
    if exponent == 2.0:
        return _activation(_square)

    def derivatives(u: torch.Tensor) -> Formula:
        p = exponent
        return u**p, p * u ** (p - 1.0), lambda: p * (p - 1.0) * u ** (p - 2.0)

    return _activation(derivatives)


def _softplus(beta: float = 1.0, threshold: float = 20.0) -> Activation:
    def value(u: torch.Tensor) -> torch.Tensor:
        return functional.softplus(u, beta, threshold)

    def derivatives(u: torch.Tensor) -> Formula:
        # Past the threshold torch's value is a line.
        slope = torch.where(beta * u > threshold, 1.0, torch.sigmoid(beta * u))
        return value(u), slope, lambda: beta * slope * (1.0 - slope)

    return Activation(value, derivatives)


def _smooth_elu(alpha: float) -> Activation:
    """Alpha elu(u), whose slope does not jump; its curvature does."""

    def derivatives(u: torch.Tensor) -> Formula:
        tail, positive = alpha * torch.exp(torch.clamp(u, max=0.0)), u > 0
        return (
            alpha * functional.elu(u),
            torch.where(positive, alpha, tail),
            lambda: torch.where(positive, torch.zeros_like(u), tail),
        )

    return _activation(derivatives, curvature_jumps=True)


def _elu(alpha: float = 1.0, scale: float = 1.0, input_scale: float = 1.0) -> Activation | None:
    if input_scale != 1.0:
        return None
    base = _smooth_elu(scale * alpha)
    if alpha == 1.0:
        return base
    return kinked(lambda u: scale * functional.elu(u, alpha), base, (0.0, scale * (1.0 - alpha)))


def _celu(alpha: float = 1.0) -> Activation:
    inner = _smooth_elu(alpha)

    def derivatives(u: torch.Tensor) -> Formula:
        value, slope, curve = inner.derivatives(u / alpha)
        return value, slope / alpha, lambda: curve() / alpha**2

    return _activation(derivatives, curvature_jumps=True)


def _leaky_relu(negative_slope: Number = 0.01) -> Activation:
    def value(u: torch.Tensor) -> torch.Tensor:
        return torch.where(u > 0, u, negative_slope * u)

    return kinked(value, _line(negative_slope), (0.0, 1.0 - negative_slope))


def _relu() -> Activation:
    return kinked(torch.relu, None, (0.0, 1.0))


def _abs() -> Activation:
    return kinked(torch.abs, _line(-1.0), (0.0, 2.0))


def _hardsigmoid() -> Activation:
    return kinked(functional.hardsigmoid, None, (-3.0, 1.0 / 6.0), (3.0, -1.0 / 6.0))


def _hardswish() -> Activation:
    # The slope jumps by -1/2 at -3 and 3. Without these jumps it is that of
    # 3/2 clamp(u / 3 + 1, 0, 2)^2, and goes on as a line.
    def derivatives(u: torch.Tensor) -> Formula:
        slope = torch.clamp(u / 3.0 + 1.0, 0.0, 2.0)
        value = torch.where(u > 3.0, 2.0 * u, 1.5 * slope * slope)
        return value, slope, lambda: (u.abs() < 3.0).to(u.dtype) / 3.0

    return kinked(functional.hardswish, _activation(derivatives), (-3.0, -0.5), (3.0, -0.5))


def _clamp(low: Number | None = None, high: Number | None = None) -> Activation:
    def value(u: torch.Tensor) -> torch.Tensor:
        u = u if low is None else torch.clamp_min(u, low)
        return u if high is None else torch.clamp_max(u, high)

    def base(u: torch.Tensor) -> Formula:
        # Left of the first corner: the lower limit, or the input itself.
        line = u if low is None else low * torch.ones_like(u)
        rise = torch.ones_like(u) if low is None else torch.zeros_like(u)
        return line, rise, lambda: torch.zeros_like(u)

    corners: list[tuple[Number, Number]] = [] if low is None else [(low, 1.0)]
    corners += [] if high is None else [(high, -1.0)]
    clamp = kinked(value, _activation(base), *corners, is_guard=True)
    limits = not isinstance(low, torch.Tensor) and not isinstance(high, torch.Tensor)
    if limits and any((low, high) == (eps, 1.0 - eps) for eps in _ROUNDING):
        # torch keeps probabilities one rounding error away from 0 and 1: no kink in practice.
        return Activation(value, clamp.derivatives)
    return clamp


def _clamp_min(low: Number) -> Activation:
    return _clamp(low)


def _clamp_max(high: Number) -> Activation:
    return _clamp(None, high)


def _hardtanh(low: float = -1.0, high: float = 1.0) -> Activation:
    return _clamp(low, high)


def _gelu(approximate: str = "none") -> Activation:
    derivatives = _normal_gelu if approximate == "none" else _tanh_gelu
    return Activation(lambda u: functional.gelu(u, approximate=approximate), derivatives)


def _fixed(derivatives: Callable[[torch.Tensor], Formula]) -> Callable[[], Activation]:
    return lambda: _activation(derivatives)


# By torch's name of the operation; each takes the operation's options, in torch's order.
_FACTORIES: dict[str, Callable[..., Activation | None]] = {
    "abs": _abs,
    "asinh": _fixed(_asinh),
    "atan": _fixed(_atan),
    "celu": _celu,
    "clamp": _clamp,
    "clamp_max": _clamp_max,
    "clamp_min": _clamp_min,
    "cos": _fixed(_cos),
    "cosh": _fixed(_cosh),
    "elu": _elu,
    "erf": _fixed(_erf),
    "exp": _fixed(_exp),
    "expm1": _fixed(_expm1),
    "gelu": _gelu,
    "hardsigmoid": _hardsigmoid,
    "hardswish": _hardswish,
    "hardtanh": _hardtanh,
    "leaky_relu": _leaky_relu,
    "log": _fixed(_log),
    "log1p": _fixed(_log1p),
    "log_sigmoid_forward": _fixed(_log_sigmoid),
    "maximum": _clamp_min,
    "minimum": _clamp_max,
    "mish": _fixed(_mish),
    "pow": _power,
    "_prelu_kernel": _leaky_relu,
    "reciprocal": _fixed(_reciprocal),
    "relu": _relu,
    "rsqrt": _fixed(_rsqrt),
    "sigmoid": lambda: Activation(torch.sigmoid, _sigmoid),
    "silu": lambda: Activation(functional.silu, _silu),
    "sin": _fixed(_sin),
    "sinh": _fixed(_sinh),
    "softplus": _softplus,
    "sqrt": _fixed(_sqrt),
    "square": _fixed(_square),
    "tanh": lambda: Activation(torch.tanh, _tanh),
}


def find_activation(name: str, *options: Any, **named: Any) -> Activation | None:
    """Look up a function of one number.

    Parameters
    ----------
    name : str
        Torch's name of the operation, such as ``"leaky_relu"``.
    *options : Any
        Arguments of the operation behind its input.
    **named : Any
        The same, by name.

    Returns
    -------
    activation : Activation or None
        None for operations that are not known.
    """
    factory = _FACTORIES.get(name)
    activation = None if factory is None else factory(*options, **named)
    if activation is None:
        return None
    recipe = functools.partial(find_activation, **named), (name, *options)
    return dataclasses.replace(activation, recipe=recipe)
