"""Points of geodesics between the steps of the integrator."""

from __future__ import annotations

import torch


class Samples:
    """Points of paths at times within [0, 1], picked up as the steps go by.

    Positions, velocities and accelerations at both ends of a step fix a polynomial of degree 5,
    one order better than the interpolant of the method itself.

    Parameters
    ----------
    points : torch.Tensor, shape=[n, n_times, dim]
        Filled in place.
    columns : torch.Tensor of int, shape=[n_samples]
        Which of the n_times the samples are.
    times : torch.Tensor, shape=[n_samples]
        Times of the samples, in [0, 1].
    """

    def __init__(self, points, columns, times):
        self.points, self.columns, self.times = points, columns, times
        self.filled = torch.zeros(len(points), len(times), dtype=torch.bool, device=points.device)

    def __call__(self, rows, time, step, state, slope, new, new_slope):
        """Fill the samples within (time, time + step]."""
        # Rounding may leave the last time just behind the last step.
        end = time + step
        end = torch.where(end >= 1.0 - 4 * torch.finfo(end.dtype).eps, torch.ones_like(end), end)
        inside = (self.times > time[:, None]) & (self.times <= end[:, None])
        path, sample = inside.nonzero(as_tuple=True)
        dim = state.shape[1] // 2
        h = step[path, None]
        s = ((self.times[sample] - time[path]) / step[path])[:, None]
        left = state[path, :dim], h * state[path, dim:], h * h * slope[path, dim:]
        right = new[path, :dim], h * new[path, dim:], h * h * new_slope[path, dim:]
        self.points[rows[path], self.columns[sample]] = _hermite(s, left, right)
        self.filled[rows[path], sample] = True

    def close(self, end, status):
        """Put the last point that was reached where a failed path has none."""
        dim = end.shape[1] // 2
        path, sample = ((status != 0)[:, None] & ~self.filled).nonzero(as_tuple=True)
        self.points[path, self.columns[sample]] = end[path, :dim]


def _hermite(s, left, right):
    """Quintic through value, first and second derivative at s = 0 and s = 1."""

    def half(s, derivatives, sign):
        value, first, second = derivatives
        return (1 - s) ** 3 * (
            (1 + 3 * s + 6 * s * s) * value + sign * (s + 3 * s * s) * first + 0.5 * s * s * second
        )

    return half(s, left, 1.0) + half(1 - s, right, -1.0)
