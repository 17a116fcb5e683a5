"""Steps of a Runge-Kutta method, with a size for every path."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch

from geomstats_vae.geodesics.flow.methods import Method
from geomstats_vae.geodesics.flow.systems import PathSystem
from geomstats_vae.geodesics.status import Status


class ExponentialStatus(Status):
    """How a geodesic ended; `message` says it in a sentence."""

    CONVERGED = 0
    MAX_STEPS = 1
    NON_FINITE = 2
    STEP_UNDERFLOW = 3
    MISSED = 4
    OUT_OF_TIME = 5

    @property
    def message(self) -> str:
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
    ExponentialStatus.OUT_OF_TIME: "The time was over before the end; raise max_seconds.",
}


@dataclass(frozen=True)
class StepControl:
    """How step sizes follow the errors of steps ([1]_, equation II.4.13).

    Parameters
    ----------
    longest_first_step : float
        Longest first step, in time. A longer one could jump over a wall of the metric without
        seeing it.
    safety : float
        The next step is this share of the one whose error is expected to meet the tolerance.
    shrink, grow : float
        Least and largest ratio of a step to the one before. A step that was not finite is followed
        by one that is shorter by the first.

    References
    ----------
    .. [1] Hairer, Nørsett, Wanner. "Solving Ordinary Differential Equations I." 2nd edition,
       Springer 1993.
    """

    longest_first_step: float = 0.05
    safety: float = 0.9
    shrink: float = 0.2
    grow: float = 5.0


class Step(NamedTuple):
    """Steps that were taken, one for each of some paths.

    Parameters
    ----------
    rows : torch.Tensor of int, shape=[n]
        The paths.
    time, size : torch.Tensor, shape=[n]
        Times at which the steps begin, and how long they take.
    state, slope : torch.Tensor, shape=[n, width]
        States and their slopes at the beginning.
    new_state, new_slope : torch.Tensor, shape=[n, width]
        The same at the end.
    """

    rows: torch.Tensor
    time: torch.Tensor
    size: torch.Tensor
    state: torch.Tensor
    slope: torch.Tensor
    new_state: torch.Tensor
    new_slope: torch.Tensor

    def take(self, which: torch.Tensor) -> Step:
        """Take some of the steps, by a mask or by indices."""
        return Step(*(part[which] for part in self))


Record = Callable[[Step], None]


class Run:
    """Paths under way; those that end leave.

    Parameters
    ----------
    system : PathSystem
        The equation.
    start : torch.Tensor, shape=[n, width]
        States at time 0.
    rtol, atol : float
        Largest error of a step, relative to the system's scale, and absolute.
    control : StepControl
        How step sizes follow the errors.
    method : Method
        Takes the steps.
    """

    _FIELDS = ("rows", "time", "step", "state", "slope", "n_steps", "failed", "broken")

    def __init__(
        self,
        system: PathSystem,
        start: torch.Tensor,
        rtol: float,
        atol: float,
        control: StepControl,
        method: Method,
    ) -> None:
        self.system, self.control, self.method = system, control, method
        eps = torch.finfo(start.dtype).eps
        # Errors of fewer roundings cannot be told from rounding, nor steps of so few from none.
        self.rtol, self.atol, self._shortest = max(rtol, 64 * eps), atol, 16 * eps
        n, new = len(start), start.new_zeros
        self.rows = torch.arange(n, device=start.device)
        self.time, self.n_steps = new(n), torch.zeros_like(self.rows)
        self.state = start
        # Whether the last step tried was refused, and whether for not being finite.
        self.failed = new(n, dtype=torch.bool)
        self.broken = ~start.isfinite().all(1)
        self.step = new(n)
        self.slope = torch.zeros_like(start)
        self._begin()

    def _begin(self) -> None:
        """First slopes and steps; the steps stay 0, which ends a path, where there is no slope."""
        still = ~self.broken & self.system.at_rest(self.state)
        self.time = torch.where(still, 1.0, self.time)
        go = (~still & ~self.broken).nonzero()[:, 0]
        if not len(go):
            return
        self.slope[go] = self.system.slope(self.state[go])
        self.broken[go] = ~self.slope[go].isfinite().all(1)
        longest = self.control.longest_first_step
        speed, turn = self.system.speed(self.state[go]), self.system.speed(self.slope[go])
        step = torch.where(turn > 0, self.rtol ** (1.0 / self.method.order) * speed / turn, longest)
        step = step.clamp(2 * self._shortest, longest)
        self.step[go] = torch.where(self.broken[go], 0.0, step)

    def codes(self, max_steps: int) -> torch.Tensor:
        """Status of each path, shape=[n]; -1 while it is under way."""
        code = torch.full_like(self.rows, -1)
        code[self.n_steps >= max_steps] = ExponentialStatus.MAX_STEPS
        short = self.step < self._shortest
        code[short & ~self.broken] = ExponentialStatus.STEP_UNDERFLOW
        code[short & self.broken] = ExponentialStatus.NON_FINITE
        code[self.time >= 1.0] = ExponentialStatus.CONVERGED
        return code

    def keep(self, mask: torch.Tensor) -> None:
        """Drop the other paths."""
        for name in self._FIELDS:
            setattr(self, name, getattr(self, name)[mask])

    def advance(self, record: Record | None = None) -> None:
        """Try one step on every path; those that are taken are recorded."""
        last = self.step >= 1.0 - self.time
        size = torch.where(last, 1.0 - self.time, self.step)
        new, slopes, errors = self.method.step(self.system, self.state, self.slope, size)
        scale = torch.maximum(self.system.scale(self.state), self.system.scale(new))
        ratio = self.method.ratio(errors, self.atol + self.rtol * scale)
        # A ratio that is not finite must not hide in a comparison: its step is refused and cut.
        finite = new.isfinite().all(1) & slopes.isfinite().all(1) & ratio.isfinite()
        accepted = finite & (ratio <= 1.0)
        if record is not None and accepted.any():
            step = Step(self.rows, self.time, size, self.state, self.slope, new, slopes)
            record(step.take(accepted))
        self._resize(size, ratio, finite, accepted)
        ended = torch.where(last, torch.ones_like(size), self.time + size)
        self.time = torch.where(accepted, ended, self.time)
        self.state = torch.where(accepted[:, None], new, self.state)
        self.slope = torch.where(accepted[:, None], slopes, self.slope)
        self.n_steps = self.n_steps + 1

    def _resize(
        self,
        size: torch.Tensor,
        ratio: torch.Tensor,
        finite: torch.Tensor,
        accepted: torch.Tensor,
    ) -> None:
        safety, shrink, grow = self.control.safety, self.control.shrink, self.control.grow
        # An error of 0 counts as one that is so small that the factor is cut to the largest.
        order = self.method.order
        factor = safety * ratio.clamp_min(grow ** (-order - 3)) ** (-1.0 / order)
        factor = factor.clamp(shrink, grow)
        factor = torch.where(finite, factor, shrink)
        # After a refusal no growth: it would be refused again.
        factor = torch.where(self.failed, factor.clamp_max(1.0), factor)
        # A last step is shortened to hit the end, not by its error; no path goes on after it.
        self.step = size * factor
        self.failed, self.broken = ~accepted, ~finite
