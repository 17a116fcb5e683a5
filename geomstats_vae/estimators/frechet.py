"""Weighted Frechet means of several groups of points at once.

The Frechet mean of a group minimises the variance f(m) = sum_i w_i d(m, x_i)^2 / sum_i w_i, whose
gradient is -2 sum_i w_i Log_m(x_i) / sum_i w_i (Karcher, "Riemannian center of mass and mollifier
smoothing", Communications on Pure and Applied Mathematics 30, 1977, theorem 1.2): it descends
along the mean logarithm. All groups step together, so one batch of geodesics serves them all, and
every logarithm that a step evaluates is kept for whoever needs distances to the means.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from geomstats_vae.estimators.assignment import Labels, unsolved_lengths, unsolved_logs
from geomstats_vae.geometry.decoder import DecoderGeometry
from geomstats_vae.geometry.hessians import distance_hessians
from geomstats_vae.geometry.protocol import Bools, Floats, Geometry, Ints, KeptCurves, Logs

# Steps in units of the mean logarithm, which is exact in flat space.
_SHORTEST_STEP, _LONGEST_STEP = 2.0**-8, 4.0
# Relative error of where a step leads to.
_STEP_RTOL = 1e-4
# Most dimensions in which second variations of curves cost less than geodesics.
NEWTON_DIM = 5


class Move(NamedTuple):
    """The last step of each group, from which the next step's size is found.

    Parameters
    ----------
    points : numpy.ndarray, shape=[n_groups, n_features]
        Where the step began.
    mean_log : numpy.ndarray, shape=[n_groups, n_features]
        Mean logarithms there.
    residual : numpy.ndarray, shape=[n_groups]
        Their norms; zero of groups that took no step.
    step : numpy.ndarray, shape=[n_groups]
        Size of the step in units of the mean logarithm.
    """

    points: Floats
    mean_log: Floats
    residual: Floats
    step: Floats


class FrechetMeans(NamedTuple):
    """Means of groups, and the geodesics from each to its points.

    Parameters
    ----------
    points : numpy.ndarray, shape=[n_groups, n_features]
        The means.
    geodesics : Logs
        From each point's mean to the point.
    variance : numpy.ndarray, shape=[n_groups]
        Weighted mean squared distances; zero of an empty group.
    residual : numpy.ndarray, shape=[n_groups]
        Norms of the mean logarithms, in units of distance: zero at the mean.
    converged : numpy.ndarray of bool, shape=[n_groups]
        Whether the residual is at most the tolerance, or the group has no weight.
    n_iter : int
        Steps tried.
    move : Move
        The last steps.
    """

    points: Floats
    geodesics: Logs
    variance: Floats
    residual: Floats
    converged: Bools
    n_iter: int
    move: Move


def frechet_means(
    geometry: Geometry, X: Floats, labels: Labels, weights: Floats, start: Floats, **options: Any
) -> FrechetMeans:
    """Weighted Frechet means of groups of points.

    Parameters
    ----------
    geometry : Geometry
        Finds and follows geodesics.
    X : numpy.ndarray, shape=[n_samples, n_features]
        Points.
    labels : numpy.ndarray of int, shape=[n_samples]
        Groups of the points.
    weights : numpy.ndarray, shape=[n_samples]
        Nonnegative weights.
    start : numpy.ndarray, shape=[n_groups, n_features]
        Where each mean starts.
    **options : dict
        As of `frechet_steps`.

    Returns
    -------
    means : FrechetMeans
        The last of `frechet_steps`.
    """
    *_, means = frechet_steps(geometry, X, labels, weights, start, **options)
    return means


def unsolved_means(
    geometry: Geometry, X: Floats, labels: Labels, weights: Floats, start: Floats
) -> FrechetMeans:
    """Take the starts for means where there is no time for a geodesic.

    Parameters
    ----------
    geometry : Geometry
        Geometry of a space.
    X : numpy.ndarray, shape=[n_samples, n_features]
        Points.
    labels : numpy.ndarray of int, shape=[n_samples]
        Groups of the points.
    weights : numpy.ndarray, shape=[n_samples]
        Nonnegative weights.
    start : numpy.ndarray, shape=[n_groups, n_features]
        Where each mean starts.

    Returns
    -------
    means : FrechetMeans
        Variances by `unsolved_lengths`, and residuals that are NaN.
    """
    groups = _Groups(labels, weights, len(start))
    length = unsolved_lengths(geometry, X, start)[np.arange(len(X)), labels]
    variance = groups.average(np.where(np.isfinite(length), length, 0.0) ** 2)
    unknown, nothing = np.full(len(start), np.nan), np.zeros(len(start))
    move = Move(start, np.zeros_like(start), nothing, np.ones(len(start)))
    logs = unsolved_logs(length, X)
    return FrechetMeans(start, logs, variance, unknown, nothing > 0.0, 0, move)


def frechet_steps(
    geometry: Geometry,
    X: Floats,
    labels: Labels,
    weights: Floats,
    start: Floats,
    *,
    geodesics: Logs | None = None,
    guess: KeptCurves | None = None,
    move: Move | None = None,
    tol: float | Floats = 0.0,
    rtol: float = 0.0,
    max_iter: int = 20,
    one_step: bool = False,
    newton: bool = False,
) -> Iterator[FrechetMeans]:
    """Descend to weighted Frechet means of groups of points, step by step.

    Parameters
    ----------
    geometry : Geometry
        Finds and follows geodesics.
    X : numpy.ndarray, shape=[n_samples, n_features]
        Points.
    labels : numpy.ndarray of int, shape=[n_samples]
        Groups of the points.
    weights : numpy.ndarray, shape=[n_samples]
        Nonnegative weights.
    start : numpy.ndarray, shape=[n_groups, n_features]
        Where each mean starts; that of a group without weight stays there.
    geodesics : Logs, optional
        From each point's start to the point, if they are known.
    guess : numpy.ndarray of object, shape=[n_samples], optional
        Curves of other logarithms, from points near the starts; see `Geometry.logs`.
    move : Move, optional
        The steps that led to the start, if this goes on from there.
    tol : float or numpy.ndarray, shape=[n_groups]
        Stop a group when its residual is at most this, in units of distance.
    rtol : float
        Stop a group when its residual is at most this share of the root of its variance.
    max_iter : int
        Largest number of steps tried.
    one_step : bool
        Stop each group after its first step, for groups that are about to change.
    newton : bool
        Take Newton's steps on a decoder's metric; see the notes.

    Yields
    ------
    means : FrechetMeans
        The best so far, before the first step and after each. Where curvature allows several local
        means, descent leads to the one that is downhill from the start.

    Notes
    -----
    The first step is the mean logarithm. Those after it are divided by the curvature of the
    variance along the step before ([1]_, equation 5, with parallel transport along the step). A
    step that lowers neither the variance nor the residual is taken back and halved. Newton's steps
    multiply the mean logarithm by the inverse Hessian of half the variance instead, which follows
    from the curves of the geodesics at a fraction of their cost (`distance_hessians`). Eigenvalues
    are taken positive, and no smaller than a quarter of that in flat space.

    References
    ----------
    .. [1] Barzilai, Borwein. "Two-point step size gradient methods." IMA Journal of Numerical
       Analysis 8 (1988), 141-148.
    """
    groups = _Groups(labels, weights, len(start))
    state = _evaluate(geometry, X, groups, start, geodesics, guess)
    if move is None:
        move = Move(start, state.mean_log, np.zeros(len(start)), np.ones(len(start)))
    step, moved = np.ones(len(start)), move.residual > 0.0
    newton = newton and isinstance(geometry, DecoderGeometry)
    direction, stale = state.mean_log, np.ones(len(start), dtype=bool)
    waiting = groups.weight > 0.0
    for n_iter in range(max_iter + 1):
        small = state.residual <= np.maximum(tol, rtol * np.sqrt(state.variance))
        parts = (state.points, state.geodesics, state.variance, state.residual)
        yield FrechetMeans(*parts, small | (groups.weight == 0.0), n_iter, move)
        active = waiting & ~small & (step >= _SHORTEST_STEP)
        if n_iter == max_iter or not active.any():
            return
        if newton:
            step[moved] = 1.0
            direction = _newton(geometry, groups, state, direction, active & stale)
        else:
            again = np.flatnonzero(active & moved)
            step[again] = _next_step(geometry, move, state, again)
            direction = state.mean_log
        velocity = step[:, None] * direction
        trial, valid = _step(geometry, X, groups, state, velocity, active)
        lower = (trial.variance <= state.variance) | (trial.residual < state.residual)
        moved = stale = active & valid & lower
        old = Move(state.points, state.mean_log, state.residual, step.copy())
        move = Move(*(_pick(moved, new, kept) for new, kept in zip(old, move, strict=True)))
        state = _choose(moved, trial, state, groups)
        step = np.where(active & ~moved, 0.5 * step, step)
        waiting &= ~moved if one_step else True


def newton_ahead(
    geometry: DecoderGeometry,
    labels: Labels,
    weights: Floats,
    means: FrechetMeans,
) -> Floats:
    """Take Newton's steps from means that were found, with no geodesics where they lead to.

    Parameters
    ----------
    geometry : DecoderGeometry
        The geometry that the means were found in.
    labels : numpy.ndarray of int, shape=[n_samples]
        Groups of the points.
    weights : numpy.ndarray, shape=[n_samples]
        Nonnegative weights.
    means : FrechetMeans
        The means.

    Returns
    -------
    points : numpy.ndarray, shape=[n_groups, n_features]
        Where the steps lead to; the means themselves of those that are not converged.
    """
    groups = _Groups(labels, weights, len(means.points))
    mean_log = groups.average(means.geodesics.velocity)
    parts = means.points, means.geodesics, mean_log, means.variance, means.residual
    near = means.converged & (groups.weight > 0.0)
    direction = _newton(geometry, groups, _State(*parts), mean_log, near)
    points = means.points.copy()
    points[near] = geometry.exps(points[near], direction[near], rtol=_STEP_RTOL)
    valid = np.asarray(np.isfinite(points).all(axis=1))
    return np.where(valid[:, None], points, means.points)


class _Groups:
    """Weighted averages over the groups of rows."""

    def __init__(self, labels: Labels, weights: Floats, n_groups: int) -> None:
        self.labels, self.weights, self.n_groups = labels, weights, n_groups
        self.weight = np.bincount(labels, weights, minlength=n_groups)

    def average(self, values: Floats) -> Floats:
        """Weighted averages of values, shape=[n_rows, ...]; zero of groups without weight."""
        columns = [
            np.bincount(self.labels, self.weights * column, minlength=self.n_groups)
            for column in values.reshape(len(values), -1).T
        ]
        divisor = np.where(self.weight > 0.0, self.weight, 1.0)
        return (np.stack(columns, axis=-1) / divisor[:, None]).reshape(-1, *values.shape[1:])


@dataclass(frozen=True)
class _State:
    """Candidates of the means, and what the logarithms at them say."""

    points: Floats
    geodesics: Logs
    mean_log: Floats
    variance: Floats
    residual: Floats


def _evaluate(
    geometry: Geometry,
    X: Floats,
    groups: _Groups,
    points: Floats,
    geodesics: Logs | None = None,
    guess: KeptCurves | None = None,
) -> _State:
    if geodesics is None:
        geodesics = geometry.logs(points[groups.labels], X, guess=guess)
    found = np.isfinite(geodesics.length)
    mean_log = groups.average(geodesics.velocity)
    squares = geometry.inner_products(mean_log, mean_log, points)
    residual = np.sqrt(np.maximum(squares, 0.0))
    variance = groups.average(np.where(found, geodesics.length, 0.0) ** 2)
    return _State(points, geodesics, mean_log, variance, residual)


def _step(
    geometry: Geometry, X: Floats, groups: _Groups, state: _State, velocity: Floats, active: Bools
) -> tuple[_State, Bools]:
    """Follow velocities from the means of active groups; which of the new points are valid."""
    points = state.points.copy()
    points[active] = geometry.exps(state.points[active], velocity[active], rtol=_STEP_RTOL)
    valid = np.asarray(np.isfinite(points).all(axis=1))
    points = np.where(valid[:, None], points, state.points)
    rows = np.flatnonzero((active & valid)[groups.labels])
    found = geometry.logs(points[groups.labels[rows]], X[rows], guess=state.geodesics.curves[rows])
    geodesics = state.geodesics.copy()
    for column, new in zip(geodesics, found, strict=True):
        column[rows] = new
    return _evaluate(geometry, X, groups, points, geodesics), valid


def _newton(
    geometry: Any, groups: _Groups, state: _State, direction: Floats, wanted: Bools
) -> Floats:
    """Renew Newton's directions of some groups: the inverse Hessian times the mean logarithm."""
    rows, which = np.flatnonzero(wanted[groups.labels]), np.flatnonzero(wanted)
    if not len(rows):
        return direction
    metric = geometry.metrics(state.points)
    hessian = metric[groups.labels]  # in flat space, and where there is no curve
    found = distance_hessians(geometry, state.geodesics.curves[rows]).by_start
    known = np.isfinite(found).all(axis=(1, 2))
    hessian[rows[known]] = found[known]
    direction = direction.copy()
    for k, total in zip(which, groups.average(hessian)[which], strict=True):
        direction[k] = _newton_direction(total, metric[k], state.mean_log[k])
    return direction


def _newton_direction(hessian: Floats, metric: Floats, mean_log: Floats) -> Floats:
    """Solve for Newton's direction in orthonormal coordinates, where flat space has Hessian 1."""
    if not (np.isfinite(metric).all() and np.isfinite(hessian).all()):
        return mean_log
    size, axes = np.linalg.eigh(metric)
    frame = axes / np.sqrt(np.maximum(size, np.finfo(float).eps * size[-1]))
    curvature, turned = np.linalg.eigh(frame.T @ hessian @ frame)
    frame = frame @ turned
    slope = frame.T @ metric @ mean_log
    return frame @ (slope / np.maximum(np.abs(curvature), 1.0 / _LONGEST_STEP))


def _next_step(geometry: Geometry, move: Move, state: _State, which: Ints) -> Floats:
    """Divide by the curvature of half the variance along the last steps of some groups.

    With the step s, its transport s' to its end and the mean logarithms g and g', the curvature is
    (<s, g> - <s', g'>) / <s, s>; s' is minus the logarithm of the start at the end.
    """
    points, residual, step = state.points[which], move.residual[which], move.step[which]
    back = geometry.logs(points, move.points[which]).velocity
    after = geometry.inner_products(back, state.mean_log[which], points)
    curvature = (step * residual**2 + after) / (step * residual) ** 2
    longest = np.full(len(which), _LONGEST_STEP)
    return np.divide(1.0, curvature, out=longest, where=curvature * _LONGEST_STEP > 1.0)


def _pick(where: Bools, new: Any, old: Any) -> Any:
    return np.where(where.reshape(-1, *[1] * (new.ndim - 1)), new, old)


def _choose(taken: Bools, trial: _State, state: _State, groups: _Groups) -> _State:
    """Take the trial where it is better."""
    rows = taken[groups.labels]
    names = ("points", "mean_log", "variance", "residual")
    parts = {name: _pick(taken, getattr(trial, name), getattr(state, name)) for name in names}
    pairs = zip(trial.geodesics, state.geodesics, strict=True)
    return replace(state, geodesics=Logs(*(_pick(rows, a, b) for a, b in pairs)), **parts)
