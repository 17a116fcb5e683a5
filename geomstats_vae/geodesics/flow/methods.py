"""Embedded Runge-Kutta methods: one step, and how far it is off.

References
----------
.. [1] Dormand, Prince. "A family of embedded Runge-Kutta formulae." Journal of Computational and
   Applied Mathematics 6 (1980), table 2: RK5(4)7M.
.. [2] Hairer, Nørsett, Wanner. "Solving Ordinary Differential Equations I." 2nd edition, Springer
   1993, section II.10: DOP853.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from scipy.integrate import DOP853

from geomstats_vae.geodesics.flow.systems import PathSystem

# Weight of the second error estimate of order 8 ([2]_, equation II.10.17).
SECOND_ESTIMATE = 0.01


@dataclass(frozen=True)
class Method:
    """An explicit method whose last stage is the slope at the end of the step.

    Parameters
    ----------
    order : int
        Power of the step by which the estimated error grows.
    stages : tuple of tuple of float
        Weights of the slopes so far, for each slope after the first; the last row is that of the
        new state.
    errors : tuple of tuple of float
        Weights of all slopes, for one or two estimates of the error.
    """

    order: int
    stages: tuple[tuple[float, ...], ...]
    errors: tuple[tuple[float, ...], ...]

    def step(
        self, system: PathSystem, state: torch.Tensor, slope: torch.Tensor, size: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, list[torch.Tensor]]:
        """Take one step on every path.

        Parameters
        ----------
        system : PathSystem
            The equation.
        state, slope : torch.Tensor, shape=[n, width]
            States and their slopes.
        size : torch.Tensor, shape=[n]
            Times that the steps take.

        Returns
        -------
        new_state, new_slope : torch.Tensor, shape=[n, width]
            States after the step, and their slopes.
        errors : list of torch.Tensor, shape=[n, width]
            Estimates of their errors.
        """
        slopes, new = [slope], state
        for weights in self.stages:
            new = state + size[:, None] * _combine(weights, slopes)
            slopes.append(system.slope(new))
        errors = [size[:, None] * _combine(weights, slopes) for weights in self.errors]
        return new, slopes[-1], errors

    def ratio(self, errors: Sequence[torch.Tensor], tolerance: torch.Tensor) -> torch.Tensor:
        """Largest error of each path relative to its tolerance.

        Parameters
        ----------
        errors : sequence of torch.Tensor, shape=[n, width]
            What `step` returned.
        tolerance : torch.Tensor, shape=[n, width]
            Largest errors that are accepted.

        Returns
        -------
        ratio : torch.Tensor, shape=[n]
            At most 1 where the step is good enough.
        """
        first, *others = ((error.abs() / tolerance).amax(1) for error in errors)
        for second in others:
            both = (first.square() + SECOND_ESTIMATE * second.square()).sqrt()
            first = torch.where(both == 0.0, first, first.square() / both)
        return first


def _combine(weights: Sequence[float], slopes: Sequence[torch.Tensor]) -> torch.Tensor:
    total = weights[0] * slopes[0]
    for weight, slope in zip(weights[1:], slopes[1:], strict=True):
        if weight:
            total = total + weight * slope
    return total


def _order_8() -> Method:
    """DOP853 [2], with the coefficients that scipy has."""
    stages = [tuple(map(float, row[:k])) for k, row in enumerate(DOP853.A) if k]
    errors = (tuple(map(float, weights)) for weights in (DOP853.E5, DOP853.E3))
    return Method(8, (*stages, tuple(map(float, DOP853.B))), tuple(errors))


# Weights of order 5, and their distance from those of order 4 [1].
ORDER_5 = Method(
    5,
    (
        (1 / 5,),
        (3 / 40, 9 / 40),
        (44 / 45, -56 / 15, 32 / 9),
        (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
        (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
        (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
    ),
    ((71 / 57600, 0.0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40),),
)
ORDER_8 = _order_8()
