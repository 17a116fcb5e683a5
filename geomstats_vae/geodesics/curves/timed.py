"""Curves of polynomials evaluated at times: points, velocities and accelerations.

An element is a polynomial x(s), with another polynomial T(s) for the time, on s in [-1, 1]. The
point at time t is x(s) where T(s) = t, so its derivatives by time are x' / T' and
(x'' T' - x' T'') / T'^3.
"""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np
import torch

from geomstats_vae.geodesics.arrays import Bools, Floats
from geomstats_vae.geodesics.curves.reference import (
    differentiation_matrix,
    lagrange_matrix,
    reference_element,
)

# Derivatives by time that are known: the point itself, its velocity and its acceleration.
_HIGHEST_ORDER = 2
# Times may miss an end by the rounding of the type in which they were computed.
_ROUNDING = 8.0 * float(np.finfo(np.float32).eps)


def host(array: Any) -> Any:
    """Take the values of a tensor, a list of tensors, or anything like an array, to numpy."""
    if isinstance(array, (list, tuple)):
        return np.asarray([host(part) for part in array])
    if not isinstance(array, torch.Tensor):
        return np.asarray(array)
    array = array.detach().cpu()
    # numpy knows no bfloat16.
    return (array.double() if array.is_floating_point() else array).numpy()


@dataclass(frozen=True)
class TimedCurves:
    """Curves of elements, with the times of their nodes.

    Parameters
    ----------
    times : numpy.ndarray, shape=[n_curves, n_points]
        Times of the nodes, from 0 to 1.
    points : numpy.ndarray, shape=[n_curves, n_points, dim]
        Nodes.
    degree : int
        Degree of an element; elements share their end nodes.
    """

    times: Floats
    points: Floats
    degree: int

    def derivative(self, t: Floats, order: int) -> Floats:
        """Differentiate the curves by time.

        Parameters
        ----------
        t : numpy.ndarray, shape=[n_curves, n_times]
            Times; at those outside of [0, 1] a curve stays at its ends.
        order : int
            0 for points, 1 for velocities, 2 for accelerations.

        Returns
        -------
        values : numpy.ndarray, shape=[n_curves, n_times, dim]
            Points or their derivatives.
        """
        inside = np.clip(t, 0.0, 1.0)
        nodes = self._nodes(inside)
        rows = np.arange(len(t))[:, None, None]
        node_times, node_points = self.times[rows, nodes], self.points[rows, nodes]
        reference = reference_element(self.degree).nodes
        x, stretch = _invert(node_times, inside, reference)
        basis = lagrange_matrix(reference, x.ravel()).reshape(*x.shape, self.degree + 1)
        if order == 0:
            return np.einsum("nta,ntad->ntd", basis, node_points)
        first = basis @ differentiation_matrix(reference)
        slope = np.einsum("nta,ntad->ntd", first, node_points)
        if order == 1:
            values = slope * stretch.rate[..., None]
        else:
            second = first @ differentiation_matrix(reference)
            bend = np.einsum("nta,ntad->ntd", second, node_points)
            turn = np.where(stretch.linear, 0.0, (second * node_times).sum(axis=-1))
            rate = stretch.rate[..., None]
            values = bend * rate**2 - slope * turn[..., None] * rate**3
        moving = (t >= -_ROUNDING) & (t <= 1.0 + _ROUNDING)
        return np.where(moving[..., None], values, 0.0)

    def _nodes(self, inside: Floats) -> Any:
        """Nodes of the elements around times, shape=[n_curves, n_times, degree + 1]."""
        n_curves, n_times = inside.shape
        ends = self.times[:, :: self.degree]
        rows = np.arange(n_curves)[:, None]
        # One search for all curves: each curve's times are shifted into an interval of its own.
        shift = 4.0 * rows
        element = np.searchsorted((ends + shift).ravel(), (inside + shift).ravel(), side="right")
        element = element.reshape(n_curves, n_times) - 1 - ends.shape[1] * rows
        # Not the elements behind, which only fill the array.
        last = (ends < ends[:, -1:]).sum(axis=1, keepdims=True) - 1
        element = np.clip(element, 0, np.maximum(last, 0))
        return element[..., None] * self.degree + np.arange(self.degree + 1)


@dataclass(frozen=True)
class _Stretch:
    """How fast the parameter runs by time, shape=[n_curves, n_times]; where times are linear."""

    rate: Floats
    linear: Bools


def _invert(node_times: Floats, t: Floats, reference: Floats) -> tuple[Floats, _Stretch]:
    """Parameters in [-1, 1] at which the times of elements are t, shape=[n_curves, n_times].

    Newton's method on the interpolant of the times, kept between the two nodes around t. Where the
    interpolant goes back in time, as where the speed changes by orders of magnitude within an
    element, times are linear between nodes: speed is not constant there, but points stay in order.
    """
    degree = len(reference) - 1
    derivative = node_times @ differentiation_matrix(reference).T
    between = lagrange_matrix(reference, np.linspace(-1.0, 1.0, 4 * degree + 1))
    forward = (derivative @ between.T > 0.0).all(axis=-1)
    last = (node_times[..., 1:-1] <= t[..., None]).sum(axis=-1)
    low, high = reference[last], reference[last + 1]
    before = np.take_along_axis(node_times, last[..., None], axis=-1)[..., 0]
    after = np.take_along_axis(node_times, last[..., None] + 1, axis=-1)[..., 0]
    lasts = np.maximum(after - before, np.finfo(float).tiny)
    linear = low + np.clip((t - before) / lasts, 0.0, 1.0) * (high - low)
    chord = np.where(after > before, (high - low) / lasts, 0.0)
    x = linear
    for _ in range(12):
        basis = lagrange_matrix(reference, x.ravel()).reshape(*x.shape, degree + 1)
        excess = (basis * node_times).sum(axis=-1) - t
        rate = (basis * derivative).sum(axis=-1)
        low, high = np.where(excess < 0.0, x, low), np.where(excess > 0.0, x, high)
        step = x - excess / np.where(rate > 0.0, rate, np.inf)
        x = np.where((step >= low) & (step <= high), step, 0.5 * (low + high))
    basis = lagrange_matrix(reference, x.ravel()).reshape(*x.shape, degree + 1)
    rate = (basis * derivative).sum(axis=-1)
    rate = np.where(forward, 1.0 / np.where(forward, rate, 1.0), chord)
    return np.where(forward, x, linear), _Stretch(rate, np.asarray(~forward))


class _Evaluation(torch.autograd.Function):
    """A derivative of curves by time, whose own derivative is the next."""

    @staticmethod
    def forward(ctx: Any, t: torch.Tensor, curves: TimedCurves, order: int) -> torch.Tensor:
        ctx.save_for_backward(t)
        ctx.curves, ctx.order = curves, order
        return torch.as_tensor(curves.derivative(host(t), order), device=t.device)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        if ctx.order == _HIGHEST_ORDER:
            raise RuntimeError(
                f"Expected at most {_HIGHEST_ORDER} derivatives of a path by time, got more; "
                "differentiate path.velocity once, or path(t) twice."
            )
        (t,) = ctx.saved_tensors
        return (grad * _Evaluation.apply(t, ctx.curves, ctx.order + 1)).sum(dim=-1), None, None


def differentiable_curves(curves: TimedCurves, t: torch.Tensor, order: int) -> torch.Tensor:
    """Differentiate curves by time, with a record for torch.

    Parameters
    ----------
    curves : TimedCurves
        The curves.
    t : torch.Tensor, shape=[n_curves, n_times]
        Times, in float64.
    order : int
        0 for points, 1 for velocities.

    Returns
    -------
    values : torch.Tensor, shape=[n_curves, n_times, dim]
        Points or velocities. Accelerations are the highest derivatives that are known.
    """
    return _Evaluation.apply(t, curves, order)


def equal_steps(n_points: int) -> Floats:
    """Divide the time from 0 to 1 into equal steps.

    Parameters
    ----------
    n_points : int
        Number of times.

    Returns
    -------
    times : numpy.ndarray, shape=[n_points]
        The times, both ends among them.

    Raises
    ------
    ValueError
        If n_points is no whole number, or below 2.
    """
    if isinstance(n_points, bool) or not isinstance(n_points, Integral) or n_points < 2:
        raise ValueError(f"Expected a whole number n_points >= 2, got {n_points!r}.")
    return np.linspace(0.0, 1.0, int(n_points))


def times_of_curves(t: Any, batch: tuple[int, ...]) -> Floats:
    """Give each curve its times.

    Parameters
    ----------
    t : array-like, shape=[n_times] or [*batch, n_times], or float
        Times.
    batch : tuple of int
        Batch shape of the curves.

    Returns
    -------
    times : numpy.ndarray, shape=[*batch, n_times]
        Times of each.

    Raises
    ------
    ValueError
        If times are not finite, or their shape does not suit the batch.
    """
    times = np.atleast_1d(np.asarray(t, dtype=float))
    if not np.isfinite(times).all():
        raise ValueError("Expected finite times, got NaN or infinity; remove them.")
    try:
        return np.broadcast_to(times, (*batch, times.shape[-1]))
    except ValueError as error:
        shape = "".join(f"{n}, " for n in batch)
        raise ValueError(
            f"Expected times of shape [n_times] or [{shape}n_times], got "
            f"{list(times.shape)}; pass the same times for all pairs, or a row for each."
        ) from error
