r"""Frechet means in many dimensions, by one descent of the means and of all their curves.

The weighted sum of squared distances from a point m to points x_i is the least one of curves,

.. math:: \sum_i w_i d(m, x_i)^2 = \min_{c_i} 2 \sum_i w_i E(c_i),

where c_i begins at m and ends at x_i. So m and the curves may be unknowns of one problem ([1]_),
and no geodesic is solved for on the way to the mean. Energies are those of chords of F. The
unknowns are scaled as in `geodesics.descent`: for a constant metric the energy's matrix is the
identity. Each group of points has a quasi-Newton matrix of its own ([2]_), so groups do not know of
each other.

References
----------
.. [1] Rygaard, Hauberg, Markvorsen. "Simultaneous Optimization of Geodesics and Frechet Means."
   2025. arXiv:2511.04301.
.. [2] Liu, Nocedal. "On the limited memory BFGS method for large scale optimization."
   Mathematical Programming 45, 1989, algorithm 2.1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from geomstats_vae.geodesics.deadline import NO_LIMIT, Deadline
from geomstats_vae.geodesics.descent import SineCurves
from geomstats_vae.geometry.protocol import Floats
from geomstats_vae.immersions import Immersion


@dataclass(frozen=True)
class Stage:
    """How fine curves are, and when they are done.

    Parameters
    ----------
    chords, modes : int
        Chords of F of a curve, and sine waves that it is made of.
    rtol : float
        A group is done when its last steps together lowered the energy by less than this share.
    """

    chords: int
    modes: int
    rtol: float


@dataclass(frozen=True)
class MeanDescentOptions:
    """The descent of means and curves.

    Parameters
    ----------
    max_iter, patience : int
        Most steps, and those that are meant by the last ones.
    memory : int
        Steps that a quasi-Newton matrix is made of.
    accept, shorten, shortest : float
        A step is taken if the energy falls by this share of what the slope promises. Otherwise it
        is shortened by this factor. A group is done when its steps are this short.
    convex : float
        Least curvature, in units of the reciprocal, of steps that are remembered.
    metrics : int
        Points of each curve at which the metric is averaged.
    ridge : float
        Least eigenvalue of the mean metric, relative to the largest.
    points, device_points : int
        Points that F is evaluated on at once; and on an accelerator.
    """

    max_iter: int = 600
    patience: int = 5
    memory: int = 10
    accept: float = 1e-4
    shorten: float = 0.4
    shortest: float = 1e-4
    convex: float = 1e-6
    metrics: int = 4
    ridge: float = 1e-4
    points: int = 2048
    device_points: int = 2**16


class Fans(NamedTuple):
    """Means of groups, and curves from these to the points.

    Parameters
    ----------
    means : numpy.ndarray, shape=[n_groups, dim]
        Means.
    curves : SineCurves
        From the mean of each point's group to the point.
    length : numpy.ndarray, shape=[n_samples]
        Root of twice the energy of each curve, its length by chords at constant speed. Not finite
        where F is not.
    """

    means: Floats
    curves: SineCurves
    length: Floats


def descend_to_means(
    immersion: Immersion,
    curves: SineCurves,
    labels: NDArray[np.integer],
    weights: Floats,
    means: Floats,
    stage: Stage,
    *,
    options: MeanDescentOptions | None = None,
    deadline: Deadline = NO_LIMIT,
) -> Fans:
    """Let means and curves descend together.

    Parameters
    ----------
    immersion : Immersion
        The decoder's F; single precision is enough.
    curves : SineCurves
        First curves, from the means to the points.
    labels : numpy.ndarray of int, shape=[n_samples]
        Groups of the points.
    weights : numpy.ndarray, shape=[n_samples]
        Nonnegative weights.
    means : numpy.ndarray, shape=[n_groups, dim]
        Where means start; that of a group without weight stays there.
    stage : Stage
        Numbers of chords and waves.
    options : MeanDescentOptions, optional
        Steps.
    deadline : Deadline, optional
        When to take no more steps.

    Returns
    -------
    fans : Fans
        Means and curves, of no more energy than at first.
    """
    curves = curves.finer(stage.modes) if curves.amplitudes.shape[1] < stage.modes else curves
    curves = SineCurves(curves.start, curves.end, curves.amplitudes[:, : stage.modes])
    with torch.no_grad():
        energy = _FanEnergy(immersion, curves, labels, weights, means, stage, options)
        return _LBFGS(energy).run(deadline)


class _Unknowns(NamedTuple):
    """Scaled amplitudes, shape=[n_samples, n_modes, dim], and means, shape=[n_groups, dim]."""

    y: Tensor
    m: Tensor


class _FanEnergy:
    """Weighted energies of the curves of each group, as a function of scaled unknowns.

    For a constant metric M and weights w of sum W the energy of a group is that of its straight
    lines plus sum_i |y_i|^2 / 2, where the amplitude of sin(k pi t) is
    sqrt(2) / (k pi sqrt(w_i)) M^(-1/2) y_ik. The mean is m_0 + M^(-1/2) m / sqrt(W), so that the
    straight lines add |m - m*|^2 / 2.
    """

    def __init__(
        self,
        immersion: Immersion,
        curves: SineCurves,
        labels: NDArray[np.integer],
        weights: Floats,
        means: Floats,
        stage: Stage,
        options: MeanDescentOptions | None,
    ) -> None:
        self.immersion, self.stage = immersion, stage
        self.options = MeanDescentOptions() if options is None else options
        on_cpu = immersion.device.type == "cpu"
        self._points = self.options.points if on_cpu else self.options.device_points
        like = torch.empty(0, dtype=immersion.dtype, device=immersion.device)
        self.given = curves
        self.labels = torch.as_tensor(np.asarray(labels, dtype=np.int64), device=like.device)
        self.t = torch.arange(stage.chords).to(like) / stage.chords
        frequency = torch.pi * torch.arange(1, stage.modes + 1).to(like)
        self._waves = torch.sin(self.t[:, None] * frequency) * (2.0**0.5 / frequency)
        self._scale = (2.0**0.5 / frequency)[:, None]
        self._start, self._end = (
            torch.as_tensor(means).to(like),
            torch.as_tensor(curves.end).to(like),
        )
        self._end_values = immersion(self._end)
        self.n_groups = len(means)
        metric = self._metrics(curves)
        known = metric.isfinite().all(-1).all(-1) & self._end_values.isfinite().all(-1)
        self.mass = torch.as_tensor(weights).to(like) * known
        self._root = self._inverse_roots(metric)
        total = self.by_group(self.mass)
        self._total = torch.where(total > 0.0, total, 1.0)
        mean_metric = torch.zeros(self.n_groups, *metric.shape[1:]).to(like)
        share = torch.where(known[:, None, None], metric, 0.0) * self.mass[:, None, None]
        mean_metric.index_add_(0, self.labels, share)
        self._mean_root = self._inverse_roots(mean_metric / self._total[:, None, None])
        self._size = torch.where(self.mass > 0.0, self.mass.sqrt(), 1.0)[:, None, None]
        self._first = torch.as_tensor(curves.amplitudes).to(like) / self._scale

    @property
    def first(self) -> _Unknowns:
        """The unknowns at the start: changes of amplitudes and of means, so zero."""
        return _Unknowns(torch.zeros_like(self._first), torch.zeros_like(self._start))

    def by_group(self, values: Tensor) -> Tensor:
        """Sum values of the points, shape=[n_samples], over groups."""
        return values.new_zeros(self.n_groups).index_add_(0, self.labels, values)

    def _metrics(self, curves: SineCurves) -> Tensor:
        """Metrics averaged along the curves, shape=[n_samples, dim, dim]."""
        n = self.options.metrics
        points = torch.as_tensor(curves((np.arange(n) + 0.5) / n)).to(self._end)
        parts = points.flatten(0, 1).split(self._points)
        return torch.cat([self.immersion.metric(p) for p in parts]).unflatten(0, (-1, n)).mean(1)

    def _inverse_roots(self, metric: Tensor) -> Tensor:
        """M^(-1/2) of metrics, whose eigenvalues are bounded from below."""
        metric = torch.where(metric.isfinite().all(-1).all(-1)[:, None, None], metric, 0.0)
        values, vectors = (part.to(metric) for part in torch.linalg.eigh(metric.cpu()))
        floor = self.options.ridge * values[:, -1:]
        values = torch.where(floor > 0.0, torch.maximum(values, floor), 1.0)
        return (vectors * values.rsqrt()[:, None]) @ vectors.mT

    def means(self, u: _Unknowns) -> Tensor:
        """Means, shape=[n_groups, dim]."""
        step = (self._mean_root @ u.m[:, :, None])[:, :, 0]
        return self._start + step / self._total.sqrt()[:, None]

    def _waves_of(self, u: _Unknowns, rows: Tensor) -> Tensor:
        """Amplitudes in units of the waves, shape=[n_rows, n_modes, dim]."""
        return self._first[rows] + (u.y[rows] / self._size[rows]) @ self._root[rows]

    def __call__(self, u: _Unknowns, active: Tensor) -> tuple[Tensor, _Unknowns]:
        """Energies of the curves of active groups, shape=[n_samples], and gradients."""
        energy = u.y.new_zeros(len(u.y))
        gradient = _Unknowns(torch.zeros_like(u.y), torch.zeros_like(u.m))
        rows = (active[self.labels] & (self.mass > 0.0)).nonzero()[:, 0]
        means = self.means(u)
        for part in rows.split(max(1, self._points // self.stage.chords)):
            energy[part], slope = self._block(u, means, part)
            along = self._waves.T @ (slope @ self._root[part])
            gradient.y[part] = along * self._size[part]
            pull = ((1.0 - self.t)[:, None] * slope).sum(dim=1) * self.mass[part, None]
            gradient.m.index_add_(0, self.labels[part], pull)
        back = (self._mean_root @ gradient.m[:, :, None])[:, :, 0] / self._total.sqrt()[:, None]
        return energy, _Unknowns(gradient.y, back)

    def _block(self, u: _Unknowns, means: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Energies of some curves, and gradients by their points; the last point is fixed."""
        start, end = means[self.labels[rows], None], self._end[rows, None]
        points = start + self.t[:, None] * (end - start) + self._waves @ self._waves_of(u, rows)
        flat = points.flatten(0, 1).requires_grad_()
        with torch.enable_grad():
            values = self.immersion(flat).unflatten(0, (len(rows), -1))
            chords = torch.cat((values, self._end_values[rows, None]), dim=1).diff(dim=1)
            energy = 0.5 * self.stage.chords * chords.square().sum(dim=(1, 2))
            (slope,) = torch.autograd.grad(energy.sum(), flat)
        return energy.detach(), slope.view_as(points)

    def fans(self, u: _Unknowns, energy: Tensor) -> Fans:
        """Means and curves of some unknowns."""
        everyone = torch.arange(len(u.y), device=u.y.device)
        amplitudes = (self._scale * self._waves_of(u, everyone)).double().cpu().numpy()
        means = self.means(u).double().cpu().numpy()
        start = means[self.labels.cpu().numpy()]
        length = torch.where(self.mass > 0.0, (2.0 * energy).sqrt(), torch.nan)
        return Fans(
            means,
            SineCurves(start, self.given.end, amplitudes),
            length.double().cpu().numpy(),
        )


class _LBFGS:
    """L-BFGS on groups at once, each with its own history and step length."""

    def __init__(self, function: _FanEnergy) -> None:
        self._function, self._options = function, function.options
        self.u = function.first
        every = torch.ones(function.n_groups, dtype=torch.bool, device=self.u.y.device)
        self.each, self.gradient = function(self.u, every)
        good = self.each.isfinite()
        if not good.all():  # curves along which F is not finite have no say
            function.mass = torch.where(good, function.mass, 0.0)
            self.each, self.gradient = function(self.u, every)
        self.energy = function.by_group(function.mass * self.each)
        self.active = self.energy.isfinite() & (self.energy > 0.0)
        self.step = torch.ones_like(self.energy)
        self._falls = self.energy.new_full((self._options.patience, len(every)), torch.inf)
        self._count = torch.zeros(len(every), dtype=torch.long, device=every.device)
        # Last steps, changes of the gradient, and 1 / their products; 0 of groups that took none.
        self._history: list[tuple[_Unknowns, _Unknowns, Tensor]] = []
        self._gamma = torch.ones_like(self.energy)

    def run(self, deadline: Deadline) -> Fans:
        """Descend."""
        direction = self._times(self.gradient, -torch.ones_like(self.energy))
        for _ in range(self._options.max_iter):
            if not self.active.any() or deadline.passed:
                break
            self._try(direction)
            direction = self._direction()
        return self._function.fans(self.u, self.each)

    def _try(self, direction: _Unknowns) -> None:
        """Try one step of each active group."""
        options, labels = self._options, self._function.labels
        move = self._times(direction, torch.where(self.active, self.step, 0.0))
        limit = self.energy + options.accept * self._dot(self.gradient, move)
        trial = _Unknowns(self.u.y + move.y, self.u.m + move.m)
        each, gradient = self._function(trial, self.active)
        energy = self._function.by_group(self._function.mass * each)
        good = self.active & (energy <= limit)
        self._remember(good, move, gradient)
        self._take_fall(good, 1.0 - energy / self.energy)
        self.u, self.gradient = (
            self._pick(good, trial, self.u),
            self._pick(good, gradient, self.gradient),
        )
        self.each = torch.where(good[labels], each, self.each)
        self.energy = torch.where(good, energy, self.energy)
        shorter = torch.where(self.active, options.shorten * self.step, self.step)
        self.step = torch.where(good, 1.0, shorter)
        self.active &= (self._falls.sum(dim=0) > self._function.stage.rtol) & (
            self.step > options.shortest
        )

    def _take_fall(self, good: Tensor, fall: Tensor) -> None:
        """Note by what shares the energies of some groups fell."""
        groups = good.nonzero()[:, 0]
        self._falls[self._count[groups] % self._options.patience, groups] = fall[groups]
        self._count[groups] += 1

    def _remember(self, good: Tensor, move: _Unknowns, gradient: _Unknowns) -> None:
        new = self._pick(good, gradient, self.gradient)
        change = _Unknowns(new.y - self.gradient.y, new.m - self.gradient.m)
        product, square = self._dot(move, change), self._dot(change, change)
        convex = good & (product > self._options.convex * square)
        if not convex.any():
            return
        inverse = torch.where(convex, 1.0 / product, 0.0)
        self._history.append((move, change, inverse))
        del self._history[: -self._options.memory]
        self._gamma = torch.where(convex, product / square, self._gamma)

    def _direction(self) -> _Unknowns:
        """Minus the inverse matrices times the gradients."""
        q, shares = self.gradient, []
        for move, change, inverse in reversed(self._history):
            share = inverse * self._dot(move, q)
            q = self._plus(q, change, -share)
            shares.append(share)
        q = self._times(q, self._gamma)
        for (move, change, inverse), share in zip(self._history, reversed(shares), strict=True):
            q = self._plus(q, move, share - inverse * self._dot(change, q))
        downhill = self._dot(q, self.gradient) > 0.0
        return self._times(self._pick(downhill, q, self.gradient), -torch.ones_like(self.energy))

    def _dot(self, a: _Unknowns, b: _Unknowns) -> Tensor:
        """Scalar products of each group, shape=[n_groups]."""
        return self._function.by_group((a.y * b.y).sum(dim=(1, 2))) + (a.m * b.m).sum(dim=1)

    def _times(self, u: _Unknowns, factor: Tensor) -> _Unknowns:
        return _Unknowns(u.y * factor[self._function.labels, None, None], u.m * factor[:, None])

    def _plus(self, u: _Unknowns, other: _Unknowns, factor: Tensor) -> _Unknowns:
        part = self._times(other, factor)
        return _Unknowns(u.y + part.y, u.m + part.m)

    def _pick(self, groups: Tensor, new: _Unknowns, old: _Unknowns) -> _Unknowns:
        rows = groups[self._function.labels]
        return _Unknowns(
            torch.where(rows[:, None, None], new.y, old.y),
            torch.where(groups[:, None], new.m, old.m),
        )
