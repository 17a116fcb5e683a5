"""How far geodesics from a point stay shortest: an estimate of the injectivity radius."""

from __future__ import annotations

import numpy as np
import torch

# A geodesic is taken to be shortest unless a curve is found that is shorter by more than the error
# of the lengths: they are certified to much less.
_RTOL = 3e-4
_FEWEST_DIRECTIONS = 16
# Radii tried: down to 1/64 of the largest, 2 % apart.
_OCTAVES, _PER_OCTAVE = 6, 32


def directions(dim, n_directions=None):
    """Spread unit vectors over a sphere.

    Parameters
    ----------
    dim : int
        Dimension.
    n_directions : int, optional
        Number of vectors; by default 16, or 4 dim if that is more.

    Returns
    -------
    directions : array, shape=[n_directions, dim]
        Equally spaced on a circle; elsewhere pairs of opposite random ones, always the same.
    """
    if dim == 1:
        return np.array([[1.0], [-1.0]])
    n_directions = n_directions or max(_FEWEST_DIRECTIONS, 4 * dim)
    if dim == 2:
        angle = 2.0 * np.pi * np.arange(n_directions) / n_directions
        return np.stack((np.cos(angle), np.sin(angle)), axis=1)
    half = np.random.default_rng(0).standard_normal((-(-n_directions // 2), dim))
    half /= np.linalg.norm(half, axis=1, keepdims=True)
    return np.concatenate((half, -half))[:n_directions]


def cut_distances(follow, dist, metric, base, unit, largest):
    """Estimate the distance from points to the nearest of their cut points.

    Geodesics are followed in all directions, octave by octave of radii, until one of them is not
    the shortest; the least such radius is found by bisection, for a geodesic that has ceased to be
    shortest never is so again.

    Parameters
    ----------
    follow : callable
        Takes base points and velocities, shape=[n, dim], and times in [0, 1], shape=[n_times];
        returns points of the geodesics, shape=[n, n_times, dim], the last that could be reached
        where they end before.
    dist : callable
        Takes end points, shape=[n, dim] each; returns lengths of geodesics.
    metric : torch.Tensor, shape=[n_points, dim, dim]
        Metric matrices at the points.
    base : torch.Tensor, shape=[n_points, dim]
        Points.
    unit : array, shape=[n_directions, dim]
        Directions, unit vectors of orthonormal frames.
    largest : torch.Tensor, shape=[n_points]
        Radii up to which cut points are looked for.

    Returns
    -------
    radius : torch.Tensor, shape=[n_points]
        Distances; infinite where no cut point was found, NaN where the metric is singular.
    """
    factor, info = torch.linalg.cholesky_ex(metric)
    regular = ((info == 0) & metric.isfinite().all(dim=(1, 2)) & (largest > 0.0)).nonzero()[:, 0]
    radius = base.new_full((len(base),), torch.nan)
    if not len(regular):
        return radius
    # With M = L L' the columns of L'^-1 are orthonormal.
    unit = torch.as_tensor(unit).to(base).T.expand(len(regular), -1, -1)
    frames = torch.linalg.solve_triangular(factor[regular].mT, unit, upper=True).mT
    rays = _Rays(follow, dist, base[regular], frames)
    top = largest[regular] / 2.0**_OCTAVES
    low, high = torch.zeros_like(top), torch.full_like(top, torch.inf)
    open_ = torch.arange(len(top), device=base.device)
    for _ in range(_OCTAVES + 1):
        low[open_], high[open_] = rays.bracket(open_, low[open_], top[open_])
        open_ = open_[high[open_].isinf()]
        top[open_] *= 2.0
        if not len(open_):
            break
    # Below the first octave there is no geometric middle.
    middle = torch.where(low > 0.0, (low * high).sqrt(), 0.5 * high)
    radius[regular] = middle
    return radius


class _Rays:
    """Geodesics in all directions from some points."""

    def __init__(self, follow, dist, base, frames):
        self.follow, self.dist, self.base, self.frames = follow, dist, base, frames

    def bracket(self, rows, low, top):
        """Radii between which geodesics cease to be shortest; (top, infinity) if they do not."""
        n_rays = self.frames.shape[1]
        start = self.base[rows].repeat_interleave(n_rays, dim=0)
        velocity = (top[:, None, None] * self.frames[rows]).flatten(0, 1)
        steps = torch.arange(1 - _PER_OCTAVE, 1, dtype=top.dtype, device=top.device)
        times = 2.0 ** (steps / _PER_OCTAVE)
        points = self.follow(start, velocity, times)

        def shortest(which, index):
            rays = which[:, None] * n_rays + torch.arange(n_rays, device=top.device)
            ends = points[rays.flatten(), index.repeat_interleave(n_rays)]
            length = self.dist(start[rays.flatten()], ends)
            length = torch.as_tensor(length).to(top).view(rays.shape)
            along = top[which] * times[index]
            return (length >= (1.0 - _RTOL) * along[:, None]).all(dim=1)

        which = torch.arange(len(rows), device=top.device)
        before, after = torch.full_like(which, -1), torch.full_like(which, _PER_OCTAVE - 1)
        unbounded = shortest(which, after)
        which = which[~unbounded]
        while len(which):
            middle = torch.div(before[which] + after[which], 2, rounding_mode="floor")
            good = shortest(which, middle)
            before[which[good]], after[which[~good]] = middle[good], middle[~good]
            which = which[after[which] - before[which] > 1]
        low = torch.where(before >= 0, top * times[before], low)
        return torch.where(unbounded, top, low), torch.where(
            unbounded, torch.inf, top * times[after]
        )
