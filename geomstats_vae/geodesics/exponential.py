"""The exponential map: geodesics followed from a point along a velocity.

With the immersion F a geodesic's acceleration in latent coordinates is -M^{-1} J' d^2F(v, v), and
the Jacobi fields along it need no more than second derivatives either: the curvature comes from
the second fundamental form by the equation of Gauss ([2]_, chapter 6, theorem 2.5).

References
----------
.. [1] Dormand, Prince. "A family of embedded Runge-Kutta formulae." Journal of Computational and
   Applied Mathematics 6 (1980), table 2: RK5(4)7M.
.. [2] do Carmo. "Riemannian Geometry." Birkhäuser 1992.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import torch

from geomstats_vae.geodesics.dense import Samples
from geomstats_vae.geodesics.jacobi import GeodesicSystem, JacobiSystem, TransportSystem

# Stages, weights of order 5 (the last stage's row) and their distance from those of order 4 [1].
_STAGES = (
    (1 / 5,),
    (3 / 40, 9 / 40),
    (44 / 45, -56 / 15, 32 / 9),
    (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
    (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
    (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
)
_ERROR = (71 / 57600, 0.0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40)

_SAFETY, _SHRINK, _GROW = 0.9, 0.2, 5.0
# A first step that is long could jump over a wall of the metric without seeing it.
_LONGEST_FIRST_STEP = 0.05


class ExponentialStatus(IntEnum):
    """How a geodesic ended; `message` says it in a sentence."""

    CONVERGED = 0
    MAX_STEPS = 1
    NON_FINITE = 2
    STEP_UNDERFLOW = 3
    MISSED = 4

    @property
    def message(self):
        """One sentence."""
        return _MESSAGES[self]


_MESSAGES = {
    ExponentialStatus.CONVERGED: "The geodesic was followed to its end within the tolerance.",
    ExponentialStatus.MAX_STEPS: (
        "The steps ran out before the end; raise max_steps or shorten the tangent vector."
    ),
    ExponentialStatus.NON_FINITE: (
        "The geodesic left the floating-point range, or met a point where the decoder is not "
        "finite or its metric is singular."
    ),
    ExponentialStatus.STEP_UNDERFLOW: (
        "The tolerance asked for steps below the floating-point resolution of time: the metric "
        "is not smooth there, or the tolerance is too small."
    ),
    ExponentialStatus.MISSED: (
        "The geodesic followed from the logarithm ends elsewhere than at the end point: it is too "
        "sensitive to its velocity, or the logarithm did not converge."
    ),
}


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
    """Dormand-Prince of order 5(4) on the geodesic equation, with a step size for every path.

    Paths are independent of each other: a result does not depend on the rest of its batch.

    Parameters
    ----------
    rtol : float
        Largest error of one step, in position and velocity, relative to the velocity; never
        taken smaller than 64 machine epsilons.
    atol : float
        The same, absolute, in units of latent length (time runs from 0 to 1).
    max_steps : int
        Number of steps after which a path is given up.
    chunk_size : int
        Number of points at which the decoder's derivatives are evaluated at once.

    Notes
    -----
    Second derivatives of a ReLU network vanish where they exist, and the refraction of geodesics
    at its kinks is not followed: they come out as straight lines in latent space.
    """

    rtol: float = 1e-8
    atol: float = 1e-10
    max_steps: int = 2000
    chunk_size: int = 64

    def solve(self, immersion, base_point, tangent_vec):
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
        return ExponentialResult(*end.split(immersion.dim, dim=1), status, n_steps)

    def solve_dense(self, immersion, base_point, tangent_vec, times):
        """Evaluate geodesics at given times.

        Parameters
        ----------
        immersion : Immersion
            The decoder's F.
        base_point : torch.Tensor, shape=[n, dim]
            Starting points, at time 0.
        tangent_vec : torch.Tensor, shape=[n, dim]
            Velocities there.
        times : torch.Tensor, shape=[n_times]
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

    def integrate_dense(self, system, base_point, tangent_vec, times):
        """Evaluate geodesics of any connection at given times.

        Parameters
        ----------
        system : GeodesicSystem
            The geodesic equation, as a system of states (point, velocity).
        base_point : torch.Tensor, shape=[n, dim]
            Starting points, at time 0.
        tangent_vec : torch.Tensor, shape=[n, dim]
            Velocities there.
        times : torch.Tensor, shape=[n_times]
            Any times.

        Returns
        -------
        points, status : torch.Tensor
            As of `solve_dense`.
        """
        points = base_point[:, None, :].repeat(1, len(times), 1)
        status = torch.zeros(len(base_point), dtype=torch.long, device=base_point.device)
        for side in (times > 0, times < 0):
            if side.any():
                horizon = times[side][times[side].abs().argmax()]
                # A geodesic at time t s is the one of velocity s v at time t.
                start = torch.cat((base_point, horizon * tangent_vec), dim=1)
                record = Samples(points, side.nonzero()[:, 0], times[side] / horizon)
                end, code, _ = self.integrate(system, start, record)
                record.close(end, code)
                status = torch.where(status == 0, code, status)
        return points, status

    def differential(self, immersion, base_point, tangent_vec):
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

    def transport(self, immersion, base_point, tangent_vec):
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

    def _integrate_chunks(self, system, base_point, tangent_vec):
        """Integrate fields along paths; they take dim times the memory, so paths go in chunks."""
        ends, codes = [base_point.new_zeros(0, system.width)], []
        for point, vector in zip(
            base_point.split(self.chunk_size), tangent_vec.split(self.chunk_size), strict=True
        ):
            if len(point):
                end, code, _ = self.integrate(system, system.start(point, vector))
                ends.append(end)
                codes.append(code)
        end = torch.cat(ends)
        return end, torch.cat([end.new_zeros(0, dtype=torch.long), *codes])

    def integrate(self, system, start, record=None):
        """Integrate from time 0 to 1; returns the last states, statuses and numbers of steps."""
        end = start.clone()
        status = torch.zeros(len(start), dtype=torch.long, device=start.device)
        n_steps = torch.zeros_like(status)
        run = _Run(system, start, self._rtol(start.dtype), self.atol)
        while True:
            code = run.codes(self.max_steps)
            done = code >= 0
            if done.any():
                rows = run.rows[done]
                end[rows], status[rows] = run.state[done], code[done]
                n_steps[rows] = run.n_steps[done]
                run.keep(~done)
            if not len(run.rows):
                return end, status, n_steps
            run.advance(record)

    def _rtol(self, dtype):
        return max(self.rtol, 64 * torch.finfo(dtype).eps)


def _check(immersion, base_point, tangent_vec):
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


class _Run:
    """Paths under way; those that end leave."""

    _FIELDS = ("rows", "time", "step", "state", "slope", "n_steps", "failed", "broken")

    def __init__(self, system, start, rtol, atol):
        self.system, self.rtol, self.atol = system, rtol, atol
        n, new = len(start), start.new_zeros
        self.rows = torch.arange(n, device=start.device)
        self.time, self.n_steps = new(n), torch.zeros_like(self.rows)
        self.state = start
        # What the last step tried was: refused, and if so, for not being finite.
        self.failed = new(n, dtype=torch.bool)
        self.broken = ~start.isfinite().all(1)
        self.step = new(n)
        self.slope = torch.zeros_like(start)
        self._begin()

    @property
    def _shortest(self):
        return 16 * torch.finfo(self.state.dtype).eps

    def _begin(self):
        """First slopes and steps; the steps stay 0, which ends a path, where there is no slope."""
        still = ~self.broken & self.system.at_rest(self.state)
        self.time = torch.where(still, 1.0, self.time)
        go = (~still & ~self.broken).nonzero()[:, 0]
        if not len(go):
            return
        self.slope[go] = self.system.slope(self.state[go])
        self.broken[go] = ~self.slope[go].isfinite().all(1)
        speed, turn = self.system.speed(self.state[go]), self.system.speed(self.slope[go])
        step = torch.where(turn > 0, self.rtol**0.2 * speed / turn, _LONGEST_FIRST_STEP)
        step = step.clamp(2 * self._shortest, _LONGEST_FIRST_STEP)
        self.step[go] = torch.where(self.broken[go], 0.0, step)

    def codes(self, max_steps):
        """Status of each path, -1 while it is under way."""
        code = torch.full_like(self.rows, -1)
        code[self.n_steps >= max_steps] = ExponentialStatus.MAX_STEPS
        short = self.step < self._shortest
        code[short & ~self.broken] = ExponentialStatus.STEP_UNDERFLOW
        code[short & self.broken] = ExponentialStatus.NON_FINITE
        code[self.time >= 1.0] = ExponentialStatus.CONVERGED
        return code

    def keep(self, mask):
        """Drop the other paths."""
        for name in self._FIELDS:
            setattr(self, name, getattr(self, name)[mask])

    def advance(self, record=None):
        """Try one step on every path."""
        last = self.step >= 1.0 - self.time
        step = torch.where(last, 1.0 - self.time, self.step)
        slopes = [self.slope]
        for weights in _STAGES:
            new = self.state + step[:, None] * _combine(weights, slopes)
            slopes.append(self.system.slope(new))
        error = step[:, None] * _combine(_ERROR, slopes)
        scale = torch.maximum(self.system.scale(self.state), self.system.scale(new))
        ratio = (error.abs() / (self.atol + self.rtol * scale)).amax(1)
        # A non-finite ratio hides in no comparison: it is refused and the step cut.
        finite = new.isfinite().all(1) & slopes[-1].isfinite().all(1) & ratio.isfinite()
        accepted = finite & (ratio <= 1.0)
        if record is not None and accepted.any():
            pieces = self.rows, self.time, step, self.state, self.slope, new, slopes[-1]
            record(*(piece[accepted] for piece in pieces))
        self._resize(step, ratio, finite, accepted)
        ended = torch.where(last, torch.ones_like(step), self.time + step)
        self.time = torch.where(accepted, ended, self.time)
        self.state = torch.where(accepted[:, None], new, self.state)
        self.slope = torch.where(accepted[:, None], slopes[-1], self.slope)
        self.n_steps = self.n_steps + 1

    def _resize(self, step, ratio, finite, accepted):
        factor = (_SAFETY * ratio.clamp_min(_GROW**-8) ** -0.2).clamp(_SHRINK, _GROW)
        factor = torch.where(finite, factor, _SHRINK)
        # After a refusal no growth: it would be refused again.
        factor = torch.where(self.failed, factor.clamp_max(1.0), factor)
        # A last step is shortened to hit the end, not by its error; no path goes on after it.
        self.step = step * factor
        self.failed, self.broken = ~accepted, ~finite


def _combine(weights, slopes):
    return sum(w * slope for w, slope in zip(weights, slopes, strict=True) if w)
