"""Derivatives of what solvers return, by the implicit function theorem: nothing is unrolled.

The length of a geodesic has the first variation dL = <c'(1), dy> / L - <c'(0), dx> / L in the
metric of each end (do Carmo, "Riemannian Geometry", 1992, chapter 9, proposition 2.4); the
logarithm v of y at x solves Exp(x, v) = y, so D_v Exp dv = dy - D_x Exp dx.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.autograd.function import once_differentiable

from geomstats_vae.geodesics.flow.exponential import ExponentialSolver
from geomstats_vae.geometry.decoder import Ends
from geomstats_vae.immersions import Immersion


class _Linearised(torch.autograd.Function):
    """A value that was computed without record, with its Jacobians."""

    @staticmethod
    def forward(
        ctx: Any, value: torch.Tensor, jacobians: list[torch.Tensor], *inputs: torch.Tensor
    ) -> torch.Tensor:
        ctx.save_for_backward(*jacobians)
        return value.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[Any, ...]:
        pulled = [(grad[:, None, :] @ jacobian)[:, 0] for jacobian in ctx.saved_tensors]
        return None, None, *pulled


def linearised(
    value: torch.Tensor, jacobians: list[torch.Tensor], inputs: list[torch.Tensor]
) -> torch.Tensor:
    """Attach first derivatives to a value.

    Parameters
    ----------
    value : torch.Tensor, shape=[n, m]
        Value.
    jacobians : list of torch.Tensor, shape=[n, m, dim]
        Derivative of each row of the value in the same row of each input.
    inputs : list of torch.Tensor, shape=[n, dim]
        Inputs.

    Returns
    -------
    value : torch.Tensor, shape=[n, m]
        Equal to value; differentiable once.
    """
    return _Linearised.apply(value, jacobians, *inputs)


def differentiable_length(
    immersion: Immersion, start: torch.Tensor, end: torch.Tensor, ends: Ends, *, squared: bool
) -> torch.Tensor:
    """Attach the first variation to lengths of geodesics.

    Parameters
    ----------
    immersion : Immersion
        The decoder's F.
    start, end : torch.Tensor, shape=[n_pairs, dim]
        End points.
    ends : Ends
        Lengths and end velocities of the geodesics.
    squared : bool
        Give squared lengths.

    Returns
    -------
    length : torch.Tensor, shape=[n_pairs]
        Lengths. At coincident points, where the length has a kink, its derivative is zero.
    """
    length, first, last = (
        torch.as_tensor(array).to(start)
        for array in (ends.length, ends.initial_velocity, ends.final_velocity)
    )
    with torch.no_grad():
        at_start = -(immersion.metric(start) @ first[:, :, None])
        at_end = immersion.metric(end) @ last[:, :, None]
        if squared:
            value, scale = length**2, torch.full_like(length, 2.0)
        else:
            value, scale = length, torch.where(length > 0.0, 1.0 / length, 0.0)
        jacobians = [scale[:, None, None] * c.transpose(1, 2) for c in (at_start, at_end)]
        # Coincident points leave velocities undefined, but the derivative is zero there.
        jacobians = [torch.where((length > 0.0)[:, None, None], j, 0.0) for j in jacobians]
    return linearised(value[:, None], jacobians, [start, end])[:, 0]


def differentiable_exp(
    exponential: ExponentialSolver,
    immersion: Immersion,
    base_point: torch.Tensor,
    tangent_vec: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Exponential map with its derivatives by Jacobi fields.

    Parameters
    ----------
    exponential : ExponentialSolver
        Integrates the geodesic and its Jacobi fields.
    immersion : Immersion
        The decoder's F.
    base_point, tangent_vec : torch.Tensor, shape=[n_points, dim]
        Initial points and velocities.

    Returns
    -------
    point : torch.Tensor, shape=[n_points, dim]
        End points, differentiable once.
    status : torch.Tensor, shape=[n_points]
        Statuses of the solver.
    """
    with torch.no_grad():
        point, d_vector, d_point, status = exponential.differential(
            immersion, base_point.detach(), tangent_vec.detach()
        )
    return linearised(point, [d_point, d_vector], [base_point, tangent_vec]), status


def differentiable_log(
    exponential: ExponentialSolver,
    immersion: Immersion,
    point: torch.Tensor,
    base_point: torch.Tensor,
    velocity: torch.Tensor,
) -> torch.Tensor:
    """Attach derivatives to logarithms.

    Parameters
    ----------
    exponential : ExponentialSolver
        Integrates the geodesic and its Jacobi fields.
    immersion : Immersion
        The decoder's F.
    point, base_point : torch.Tensor, shape=[n_points, dim]
        End points y and base points x.
    velocity : torch.Tensor, shape=[n_points, dim]
        Logarithms of y at x.

    Returns
    -------
    log : torch.Tensor, shape=[n_points, dim]
        The logarithms, differentiable once; not where y is conjugate to x.
    """
    with torch.no_grad():
        _, d_vector, d_point, _ = exponential.differential(immersion, base_point.detach(), velocity)
        inverse, _ = torch.linalg.inv_ex(d_vector)
    return linearised(velocity, [inverse, -inverse @ d_point], [point, base_point])
