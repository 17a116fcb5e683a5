"""Which derivatives torch has of a decoder, found out by taking each of them once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from geomstats_vae.immersions.autodiff import AutodiffImmersion
from geomstats_vae.immersions.errors import DecoderError
from geomstats_vae.immersions.formulas import ByFormula, needs_formula
from geomstats_vae.immersions.linearization import Function

# What torch and decoders raise where a derivative does not exist, or a value cannot be computed.
FAILURES = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    IndexError,
    RuntimeError,
    TypeError,
    ValueError,
)
# Relative error of finite differences from which on they are another function's.
_TOLERANCE = 0.5
# Rounding errors of differences, in units of step^2 |F|: the step is the cubic root of the type's
# epsilon, and outputs that add up many terms round by more than that.
_NOISE = 100.0


@dataclass(frozen=True)
class Differentiation:
    """How derivatives of a decoder are taken.

    Parameters
    ----------
    forward_mode : bool
        Whether in forward mode; otherwise by two reverse passes each.
    by_formula : bool
        Whether attention and layer normalisation are computed by their formulas.
    """

    forward_mode: bool
    by_formula: bool

    def immersion(self, function: Function, dim: int, **options: Any) -> AutodiffImmersion:
        """Make an immersion of a function.

        Parameters
        ----------
        function : callable
            Maps shape=[n_points, dim] to shape=[n_points, n_outputs], row by row.
        dim : int
            Dimension of the latent space.
        **options : dict
            Further options of `AutodiffImmersion`.

        Returns
        -------
        immersion : AutodiffImmersion
            The immersion.
        """
        function = ByFormula(function) if self.by_formula else function
        return AutodiffImmersion(function, dim, forward_mode=self.forward_mode, **options)


# What torch says when numpy is called on tensors that are being differentiated.
_WORDS_OF_NUMPY = ("numpy()", "doesn't have storage")
# In the order of their speed.
_WAYS = (
    Differentiation(forward_mode=True, by_formula=False),
    Differentiation(forward_mode=True, by_formula=True),
    Differentiation(forward_mode=False, by_formula=True),
)


def choose_differentiation(function: Function, probe: torch.Tensor, step: float) -> Differentiation:
    """Find the fastest way to take all derivatives of a function that are needed.

    These are the first and second ones, in forward and reverse mode, along some directions at once.

    Parameters
    ----------
    function : callable
        Maps shape=[n_points, dim] to shape=[n_points, n_outputs], row by row.
    probe : torch.Tensor, shape=[n_points, dim]
        Latent codes to try them at.
    step : float
        Step of finite differences, in units of the latent space.

    Returns
    -------
    differentiation : Differentiation
        The way.

    Raises
    ------
    DecoderError
        If a derivative fails in every way, or is not that of the function.
    """
    errors: list[Exception] = []
    with torch.no_grad():
        ways = [way for way in _WAYS if way.by_formula or not needs_formula(function, probe)]
    for way in ways:
        try:
            _differentiate(way.immersion(function, probe.shape[1]), probe, step)
        except DecoderError:
            raise
        except FAILURES as error:
            errors.append(error)
        else:
            return way
    if any(isinstance(error, _WrongDerivativeError) for error in errors):
        raise DecoderError(
            "Expected a decoder that torch can differentiate, got one whose derivatives are not "
            "those of its values; take `.detach()`, `.data`, `torch.no_grad()`, "
            "`torch.inference_mode()` and numpy out of it."
        )
    if any(word in str(error) for error in errors for word in _WORDS_OF_NUMPY):
        raise DecoderError(
            f"Expected a decoder of torch operations, got one that fails: {errors[-1]}. Numpy has "
            "no derivatives; write the decoder with torch."
        ) from errors[-1]
    forward, reverse = errors[-2:]
    raise DecoderError(
        "Expected a decoder that torch can differentiate twice, got one that fails. In forward "
        f"mode, {forward}; in reverse mode, {reverse}. Write that operation with others that torch "
        "differentiates; no `if` may depend on the codes."
    ) from errors[-1]


class _WrongDerivativeError(ValueError):
    """Derivatives that torch returns, but that are wrong."""


def _differentiate(immersion: AutodiffImmersion, z: torch.Tensor, step: float) -> None:
    """Take each derivative once; raise if one fails, or if two do not agree.

    Values tell first derivatives but for the curvature, and forward and reverse mode agree but for
    rounding.
    """
    v = torch.cos(torch.arange(1.0, z.numel() + 1.0)).to(z).view_as(z)
    pushed = _named("the derivative along a direction", immersion.push, z, v)
    q = torch.cos(torch.arange(float(pushed.numel()))).to(pushed).view_as(pushed)
    directions = torch.stack((v, -v))
    tangents, second = _named(
        "second derivatives along directions", immersion.tangents_along, z, v, directions
    )
    products = _named("products with the Hessian", immersion.hessian_products, z, q, directions)
    linearization = _named("the velocity's derivative", immersion.linearize, z, v)
    pulled = _named("its transpose", linearization.pull, q)
    zero = torch.zeros_like(pushed[:, 0])
    quadratic = _named("its second variation", linearization.quadratic, zero, q)
    varied = _named("its second variation", quadratic, v, v)
    with torch.no_grad():
        difference = (immersion(z + step * v) - immersion(z - step * v)) / (2.0 * step)
        noise = _NOISE * step**2 * float(immersion(z).detach().norm())
    _compare(pushed, difference, _TOLERANCE, noise)
    _compare(tangents[:, 0], pushed, step, noise)
    _compare((pulled[1] * v).sum(), (q * pushed).sum(), step, noise)
    curvature = (q * second[:, 0]).sum()
    for other in (products[:, 0], pulled[0], varied[0]):
        _compare((other * v).sum(), curvature, step, noise)


def _named(name: str, function: Callable[..., Any], *args: Any) -> Any:
    try:
        return function(*args)
    except DecoderError:
        raise
    except FAILURES as error:
        raise RuntimeError(f"{name}: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__


def _compare(found: torch.Tensor, expected: torch.Tensor, rtol: float, noise: float) -> None:
    # Functions may hold parameters that record gradients.
    found, expected = found.detach(), expected.detach()
    size = max(float(found.norm()), float(expected.norm()))
    if size > noise and float((found - expected).norm()) > rtol * size + noise:
        raise _WrongDerivativeError
