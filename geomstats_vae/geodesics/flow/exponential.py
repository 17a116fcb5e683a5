"""The exponential map: geodesics followed from a point along a velocity."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch

from geomstats_vae.geodesics.deadline import Deadline, check_seconds
from geomstats_vae.geodesics.flow.dense import Samples, quintic_points
from geomstats_vae.geodesics.flow.integrator import (
    ExponentialStatus,
    Record,
    Run,
    StepControl,
)
from geomstats_vae.geodesics.flow.jacobi import JacobiSystem
from geomstats_vae.geodesics.flow.methods import ORDER_5, ORDER_8, Method
from geomstats_vae.geodesics.flow.systems import GeodesicSystem, PathSystem
from geomstats_vae.geodesics.flow.transport import TransportSystem
from geomstats_vae.immersions.immersion import Immersion

# Tolerance below which the method of order 8 takes fewer evaluations than that of order 5.
_ORDER_8 = 1e-7

__all__ = ["ExponentialResult", "ExponentialSolver", "ExponentialStatus"]


@dataclass(frozen=True)
class ExponentialResult:
    """Ends of geodesics; where the status is not CONVERGED, the last point that was reached.

    Parameters
    ----------
    point : torch.Tensor, shape=[n, dim]
        End points in latent space.
    velocity : torch.Tensor, shape=[n, dim]
        Velocities there.
    status : torch.Tensor of int, shape=[n]
        Codes of `ExponentialStatus`.
    n_steps : torch.Tensor of int, shape=[n]
        Numbers of steps tried.
    """

    point: torch.Tensor
    velocity: torch.Tensor
    status: torch.Tensor
    n_steps: torch.Tensor


@dataclass(frozen=True)
class ExponentialSolver:
    """Runge-Kutta methods on the geodesic equation, with a step size for every path.

    Paths are independent of each other: a result does not depend on the rest of its batch.

    Parameters
    ----------
    rtol : float
        Largest error of one step, in position and velocity, relative to the velocity; never
        taken smaller than 64 machine epsilons.
    dense_rtol : float
        The same, at least, where points along the paths are asked for: they are interpolated by
        polynomials of degree 5.
    order : int, optional
        5 or 8, the methods of Dormand and Prince; see `flow.methods`. By default 8 if ``rtol`` is
        below 1e-7: to be more exact it takes fewer evaluations.
    atol : float
        The same, absolute, in units of latent length (time runs from 0 to 1).
    max_steps : int
        Number of steps after which a path is given up.
    max_seconds : float, optional
        Seconds after which all paths of a call are given up.
    chunk_size : int
        Number of points at which the decoder's derivatives are evaluated at once.
    control : StepControl
        How step sizes follow the errors.

    Notes
    -----
    Second derivatives of a ReLU network vanish where they exist, and the refraction of geodesics
    at its kinks is not followed. Pass a smoothed immersion, as `DecoderGeometry` does; see
    `Immersion.smoothed`.
    """

    rtol: float = 1e-10
    atol: float = 1e-12
    dense_rtol: float = 1e-8
    order: int | None = None
    max_steps: int = 2000
    max_seconds: float | None = None
    chunk_size: int = 64
    control: StepControl = field(default_factory=StepControl)

    def __post_init__(self) -> None:
        check_seconds(self.max_seconds)
        if self.order not in (None, 5, 8):
            raise ValueError(f"Expected order to be 5, 8 or None, got {self.order!r}.")

    @property
    def method(self) -> Method:
        """Takes the steps."""
        order = self.order or (8 if self.rtol < _ORDER_8 else 5)
        return ORDER_8 if order == 8 else ORDER_5

    def for_dense_output(self) -> ExponentialSolver:
        """Return the solver of paths that are interpolated."""
        rtol = max(self.rtol, self.dense_rtol)
        atol = self.atol * rtol / self.rtol
        return replace(self, rtol=rtol, atol=atol, order=5)

    def solve(
        self, immersion: Immersion, base_point: torch.Tensor, tangent_vec: torch.Tensor
    ) -> ExponentialResult:
        """Follow geodesics for unit time.

        Parameters
        ----------
        immersion : Immersion
            The decoder's F.
        base_point : torch.Tensor, shape=[n, dim]
            Starting points in latent space.
        tangent_vec : torch.Tensor, shape=[n, dim]
            Velocities there, in latent coordinates.

        Returns
        -------
        result : ExponentialResult
            Ends of the geodesics.

        Raises
        ------
        ValueError
            If the shapes or types of points and vectors do not match.
        """
        base_point, tangent_vec = _check(immersion, base_point, tangent_vec)
        system = GeodesicSystem(immersion, self.chunk_size)
        end, status, n_steps = self.integrate(system, torch.cat((base_point, tangent_vec), dim=1))
        point, velocity = end.split(immersion.dim, dim=1)
        return ExponentialResult(point, velocity, status, n_steps)

    def solve_dense(
        self,
        immersion: Immersion,
        base_point: torch.Tensor,
        tangent_vec: torch.Tensor,
        times: torch.Tensor | Sequence[float],
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Evaluate geodesics at given times.

        Parameters
        ----------
        immersion : Immersion
            The decoder's F.
        base_point : torch.Tensor, shape=[n, dim]
            Starting points, at time 0.
        tangent_vec : torch.Tensor, shape=[n, dim]
            Velocities there.
        times : torch.Tensor or sequence of float, shape=[n_times]
            Any times, also beyond 1 and negative.

        Returns
        -------
        points : torch.Tensor, shape=[n, n_times, dim]
            Points of the geodesics; after a failure, the last point that was reached.
        status : torch.Tensor of int, shape=[n]
            Codes of `ExponentialStatus`.

        Raises
        ------
        ValueError
            If the shapes or types do not match, or a time is not finite.
        """
        base_point, tangent_vec = _check(immersion, base_point, tangent_vec)
        times = torch.as_tensor(times, dtype=base_point.dtype, device=base_point.device)
        if times.ndim != 1 or not times.isfinite().all():
            raise ValueError(f"Expected finite times of shape [n_times], got {times}.")
        system = GeodesicSystem(immersion, self.chunk_size)
        return self.integrate_dense(system, base_point, tangent_vec, times)

    def integrate_dense(
        self,
        system: PathSystem,
        base_point: torch.Tensor,
        tangent_vec: torch.Tensor,
        times: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Evaluate geodesics of any connection at given times.

        Parameters
        ----------
        system : PathSystem
            The geodesic equation, as a system of states (point, velocity).
        base_point : torch.Tensor, shape=[n, dim]
            Starting points, at time 0.
        tangent_vec : torch.Tensor, shape=[n, dim]
            Velocities there.
        times : torch.Tensor, shape=[n_times]
            Any times.

        Returns
        -------
        points : torch.Tensor, shape=[n, n_times, dim]
            Points of the geodesics; see `solve_dense`.
        status : torch.Tensor of int, shape=[n]
            Codes of `ExponentialStatus`.
        """
        points = base_point[:, None, :].repeat(1, len(times), 1)
        status = torch.zeros(len(base_point), dtype=torch.long, device=base_point.device)
        solver = self.for_dense_output()
        deadline = Deadline.after(self.max_seconds)
        for side in (times > 0, times < 0):
            if side.any():
                horizon = times[side][times[side].abs().argmax()]
                # A geodesic at time t s is the one of velocity s v at time t.
                start = torch.cat((base_point, horizon * tangent_vec), dim=1)
                columns = side.nonzero()[:, 0]
                record = Samples(points, columns, times[side] / horizon, quintic_points)
                end, code, _ = solver.integrate(system, start, record, deadline)
                record.close(end, code)
                status = torch.where(status == 0, code, status)
        return points, status

    def differential(
        self, immersion: Immersion, base_point: torch.Tensor, tangent_vec: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Follow geodesics for unit time together with their Jacobi fields.

        Parameters
        ----------
        immersion : Immersion
            The decoder's F; its third derivatives are not needed.
        base_point : torch.Tensor, shape=[n, dim]
            Starting points x.
        tangent_vec : torch.Tensor, shape=[n, dim]
            Velocities v there.

        Returns
        -------
        point : torch.Tensor, shape=[n, dim]
            End points Exp_x(v).
        by_vector : torch.Tensor, shape=[n, dim, dim]
            D_v Exp, entry [i, j] = d Exp_i / d v_j.
        by_point : torch.Tensor, shape=[n, dim, dim]
            D_x Exp at constant coordinates of v, entry [i, j] = d Exp_i / d x_j.
        status : torch.Tensor of int, shape=[n]
            Codes of `ExponentialStatus`; after a failure the rest belongs to the last point
            that was reached.

        Raises
        ------
        ValueError
            If the shapes or types of points and vectors do not match.
        """
        base_point, tangent_vec = _check(immersion, base_point, tangent_vec)
        dim = immersion.dim
        system = JacobiSystem(immersion, self.chunk_size)
        end, status = self._integrate_chunks(system, base_point, tangent_vec)
        fields = system.fields(end)
        return end[:, :dim], fields[:, :, :dim], fields[:, :, dim:], status

    def transport(
        self, immersion: Immersion, base_point: torch.Tensor, tangent_vec: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Follow geodesics for unit time together with the parallel transport along them.

        Parameters
        ----------
        immersion : Immersion
            The decoder's F.
        base_point : torch.Tensor, shape=[n, dim]
            Starting points.
        tangent_vec : torch.Tensor, shape=[n, dim]
            Velocities there.

        Returns
        -------
        point : torch.Tensor, shape=[n, dim]
            End points.
        transport : torch.Tensor, shape=[n, dim, dim]
            Linear maps P from the tangent space at the start to that at the end, in latent
            coordinates.
        status : torch.Tensor of int, shape=[n]
            Codes of `ExponentialStatus`; after a failure the rest belongs to the last point
            that was reached.

        Raises
        ------
        ValueError
            If the shapes or types of points and vectors do not match.
        """
        base_point, tangent_vec = _check(immersion, base_point, tangent_vec)
        system = TransportSystem(immersion, self.chunk_size)
        end, status = self._integrate_chunks(system, base_point, tangent_vec)
        point, _, transport = system.split(end)
        return point, transport, status

    def _integrate_chunks(
        self,
        system: JacobiSystem | TransportSystem,
        base_point: torch.Tensor,
        tangent_vec: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Integrate fields along paths; they take dim times the memory, so paths go in chunks."""
        ends, codes = [base_point.new_zeros(0, system.width)], []
        deadline = Deadline.after(self.max_seconds)
        for point, vector in zip(
            base_point.split(self.chunk_size), tangent_vec.split(self.chunk_size), strict=True
        ):
            if len(point):
                end, code, _ = self.integrate(
                    system, system.start(point, vector), deadline=deadline
                )
                ends.append(end)
                codes.append(code)
        end = torch.cat(ends)
        return end, torch.cat([end.new_zeros(0, dtype=torch.long), *codes])

    def integrate(
        self,
        system: PathSystem,
        start: torch.Tensor,
        record: Record | None = None,
        deadline: Deadline | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Integrate any system from time 0 to 1.

        Parameters
        ----------
        system : PathSystem
            The equation.
        start : torch.Tensor, shape=[n, width]
            States at time 0.
        record : callable, optional
            Is given the steps that are taken, such as `Samples`.
        deadline : Deadline, optional
            When to give up; by default ``max_seconds`` from now.

        Returns
        -------
        end : torch.Tensor, shape=[n, width]
            States at time 1; after a failure the last that were reached.
        status : torch.Tensor of int, shape=[n]
            Codes of `ExponentialStatus`.
        n_steps : torch.Tensor of int, shape=[n]
            Numbers of steps tried.
        """
        end = start.clone()
        status = torch.zeros(len(start), dtype=torch.long, device=start.device)
        n_steps = torch.zeros_like(status)
        run = Run(system, start, self.rtol, self.atol, self.control, self.method)
        deadline = Deadline.after(self.max_seconds) if deadline is None else deadline
        while True:
            code = run.codes(self.max_steps)
            if deadline.passed:
                code[code < 0] = ExponentialStatus.OUT_OF_TIME
            done = code >= 0
            if done.any():
                rows = run.rows[done]
                end[rows], status[rows] = run.state[done], code[done]
                n_steps[rows] = run.n_steps[done]
                run.keep(~done)
            if not len(run.rows):
                return end, status, n_steps
            run.advance(record)


def _check(
    immersion: Immersion, base_point: torch.Tensor, tangent_vec: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Refuse what does not match; detach the rest, for no graph is to grow along the steps."""
    shape = (len(base_point), immersion.dim)
    if base_point.shape != shape or tangent_vec.shape != shape:
        raise ValueError(
            f"Expected base points and tangent vectors of shape [n, {immersion.dim}], got "
            f"{list(base_point.shape)} and {list(tangent_vec.shape)}."
        )
    if base_point.dtype != tangent_vec.dtype or not base_point.is_floating_point():
        raise ValueError(
            "Expected base points and tangent vectors of one floating-point type, got "
            f"{base_point.dtype} and {tangent_vec.dtype}."
        )
    return base_point.detach(), tangent_vec.detach()
