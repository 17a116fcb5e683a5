"""States of paths between the steps of the integrator."""

from __future__ import annotations

from collections.abc import Callable

import torch

from geomstats_vae.geodesics.flow.integrator import Step

# Takes the share of its step at which each row is wanted, shape=[n, 1], and the steps.
Interpolant = Callable[[torch.Tensor, Step], torch.Tensor]


class Samples:
    """Values of paths at times within [0, 1], picked up as the steps go by.

    Parameters
    ----------
    values : torch.Tensor, shape=[n, n_times, n_values]
        Filled in place.
    columns : torch.Tensor of int, shape=[n_samples]
        Which of the n_times the samples are.
    times : torch.Tensor, shape=[n_samples]
        Times of the samples, in [0, 1].
    interpolate : callable
        `quintic_points`, of geodesics, or `cubic_states`, of any system.
    """

    def __init__(
        self,
        values: torch.Tensor,
        columns: torch.Tensor,
        times: torch.Tensor,
        interpolate: Interpolant,
    ) -> None:
        self.values, self.columns, self.times = values, columns, times
        self.interpolate = interpolate
        shape = (len(values), len(times))
        self.filled = torch.zeros(shape, dtype=torch.bool, device=values.device)

    def __call__(self, step: Step) -> None:
        """Fill the samples within (time, time + size] of each step."""
        # Rounding may leave the last time just behind the last step.
        end = step.time + step.size
        end = torch.where(end >= 1.0 - 4 * torch.finfo(end.dtype).eps, torch.ones_like(end), end)
        inside = (self.times > step.time[:, None]) & (self.times <= end[:, None])
        path, sample = inside.nonzero(as_tuple=True)
        step = step.take(path)
        share = (self.times[sample] - step.time) / step.size
        self.values[step.rows, self.columns[sample]] = self.interpolate(share[:, None], step)
        self.filled[step.rows, sample] = True

    def close(self, end: torch.Tensor, status: torch.Tensor) -> None:
        """Put the last values that were reached where a failed path has none.

        Parameters
        ----------
        end : torch.Tensor, shape=[n, width]
            Last states; they begin with the values.
        status : torch.Tensor of int, shape=[n]
            Codes of `ExponentialStatus`.
        """
        path, sample = ((status != 0)[:, None] & ~self.filled).nonzero(as_tuple=True)
        self.values[path, self.columns[sample]] = end[path, : self.values.shape[2]]


def quintic_points(share: torch.Tensor, step: Step) -> torch.Tensor:
    """Points of geodesics, whose states are points and velocities.

    Positions, velocities and accelerations at both ends of a step fix a polynomial of degree 5,
    one order better than the interpolant of the method itself.

    Parameters
    ----------
    share : torch.Tensor, shape=[n, 1]
        Share of each step.
    step : Step
        Steps.

    Returns
    -------
    points : torch.Tensor, shape=[n, dim]
        Points.
    """
    left = _half(share, step.size[:, None], step.state, step.slope)
    # Seen from the other end, time runs backwards.
    return left + _half(1 - share, -step.size[:, None], step.new_state, step.new_slope)


def _half(
    s: torch.Tensor, h: torch.Tensor, state: torch.Tensor, slope: torch.Tensor
) -> torch.Tensor:
    """Part of the quintic that belongs to the end where s is 0."""
    dim, square = state.shape[1] // 2, s * s
    value, first, second = state[:, :dim], h * state[:, dim:], h * h * slope[:, dim:]
    value = (1 + 3 * s + 6 * square) * value + (s + 3 * square) * first
    return (1 - s) ** 3 * (value + 0.5 * square * second)


def cubic_states(share: torch.Tensor, step: Step) -> torch.Tensor:
    """States of any system, by Hermite's cubics through states and slopes.

    Parameters
    ----------
    share : torch.Tensor, shape=[n, 1]
        Share of each step.
    step : Step
        Steps.

    Returns
    -------
    states : torch.Tensor, shape=[n, width]
        States.
    """
    s, h = share, step.size[:, None]
    left = (1 + 2 * s) * step.state + s * h * step.slope
    right = (3 - 2 * s) * step.new_state - (1 - s) * h * step.new_slope
    return (1 - s) ** 2 * left + s**2 * right
