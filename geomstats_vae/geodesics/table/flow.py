"""Geodesics of a tabulated metric from points along velocities, with Jacobi fields, compiled.

In coordinates a geodesic is x'' = -Gamma(x', x'). Its derivatives by the initial point and velocity
are Jacobi fields Y with Y'' = -d Gamma(Y)(x', x') - 2 Gamma(x', Y'), which take second derivatives
of the metric. The method is that of Dormand and Prince of order 5 ([1]_), with a step size for
every path; between steps positions and fields are quintic polynomials of time.

References
----------
.. [1] Dormand, Prince. "A family of embedded Runge-Kutta formulae." Journal of Computational and
   Applied Mathematics 6 (1980), table 2: RK5(4)7M.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numba import njit

from geomstats_vae.geodesics.arrays import Floats, Ints
from geomstats_vae.geodesics.flow.integrator import StepControl
from geomstats_vae.geodesics.flow.methods import ORDER_5
from geomstats_vae.geodesics.table.splines import (
    INNER,
    SplineTree,
    find_mesh,
    jet_scratch,
    spline_jet,
)


class FlowStatus(IntEnum):
    """How a path ended.

    At its end; where the table knows no metric; out of steps; where numbers are not finite, the
    metric is singular, or steps vanish.
    """

    DONE = 0
    UNKNOWN = 1
    OUT_OF_STEPS = 2
    NOT_FINITE = 3


def _weights() -> tuple[Floats, Floats]:
    """Weights of the slopes so far, the last row those of the new state, and of the error."""
    errors = np.array(ORDER_5.errors[0])
    stages = np.zeros((len(errors), len(errors)))
    for k, row in enumerate(ORDER_5.stages):
        stages[k + 1, : k + 1] = row
    return stages, errors


_STAGES, _ERRORS = _weights()
_N_STAGES = len(_ERRORS)
_CONTROL = StepControl()
_SAFETY, _SHRINK, _GROW = _CONTROL.safety, _CONTROL.shrink, _CONTROL.grow
_LONGEST_FIRST_STEP = _CONTROL.longest_first_step


@njit(**INNER)
def accelerate(jet: Floats, q: Floats, p: Floats, a: Floats, s: Floats) -> bool:
    """Accelerations of a path and its fields.

    Parameters
    ----------
    jet : array, shape=[n_jet, n_functions]
        Jet of the metric at the point; see `spline_jet`.
    q, p : array, shape=[(1 + n_fields) * dim]
        The point and the fields, one after the other, and their rates.
    a : array, shape=[(1 + n_fields) * dim]
        Written: rates of the rates.
    s : array, shape=[6, dim, dim]
        Scratch. Its first matrix is left to be the Cholesky factor of the metric.

    Returns
    -------
    regular : bool
        Whether the metric is positive definite.
    """
    dim = s.shape[1]
    factor, slope, along, bend, rate, turn = s[0], s[1], s[2], s[3], s[4], s[5]
    with_fields = len(q) > dim
    for i in range(dim):
        for j in range(dim):
            # Slopes of M v, entry [k, i] by coordinate k; dM(v); derivatives of Gamma_i(v, v).
            slope[i, j] = along[i, j] = bend[i, j] = 0.0
    n = 0
    for i in range(dim):
        for j in range(i, dim):
            factor[j, i] = jet[0, n]
            for k in range(dim):
                d = jet[1 + k, n]
                slope[k, i] += d * p[j]
                along[i, j] += d * p[k]
                if i != j:
                    slope[k, j] += d * p[i]
                    along[j, i] += d * p[k]
            n += 1
    if with_fields:
        m = 1 + dim
        for k in range(dim):
            for o in range(k, dim):
                n = 0
                for i in range(dim):
                    for j in range(i, dim):
                        d = jet[m, n]
                        # d_k d_o M_ij in d_o of (d_k M_ij v_k v_j), and the other way round.
                        bend[i, o] += d * p[k] * p[j]
                        if k != o:
                            bend[i, k] += d * p[o] * p[j]
                        if i != j:
                            bend[j, o] += d * p[k] * p[i]
                            if k != o:
                                bend[j, k] += d * p[o] * p[i]
                        weight = 0.5 * p[i] * p[j] if i == j else p[i] * p[j]
                        bend[k, o] -= weight * d
                        if k != o:
                            bend[o, k] -= weight * d
                        n += 1
                m += 1
    for i in range(dim):
        for j in range(i + 1):
            total = factor[i, j]
            for k in range(j):
                total -= factor[i, k] * factor[j, k]
            if i > j:
                factor[i, j] = total / factor[j, j]
            else:
                if not total > 0.0:
                    return False
                factor[i, i] = np.sqrt(total)
    for f in range(len(q) // dim):
        begin = f * dim
        if f == 1:
            # With the path's acceleration at hand: what multiplies fields, and their rates.
            for i in range(dim):
                for j in range(dim):
                    rate[i, j] = along[i, j] + slope[j, i] - slope[i, j]
                    turn[i, j] = bend[i, j]
            n = 0
            for i in range(dim):
                for j in range(i, dim):
                    for k in range(dim):
                        turn[i, k] += jet[1 + k, n] * a[j]
                        if i != j:
                            turn[j, k] += jet[1 + k, n] * a[i]
                    n += 1
        for i in range(dim):
            total = 0.0
            for j in range(dim):
                if f == 0:
                    total += along[i, j] * p[j] - 0.5 * slope[i, j] * p[j]
                else:
                    total += rate[i, j] * p[begin + j] + turn[i, j] * q[begin + j]
            for j in range(i):
                total += factor[i, j] * a[begin + j]
            a[begin + i] = -total / factor[i, i]
        for i in range(dim - 1, -1, -1):
            for j in range(i + 1, dim):
                a[begin + i] -= factor[j, i] * a[begin + j]
            a[begin + i] /= factor[i, i]
    return True


@njit(**INNER)
def relative_defect(
    tree: SplineTree, mesh: int, p: Floats, a: Floats, factor: Floats, dual: Floats
) -> float:
    """How far the table's acceleration may be off, relative to the speed.

    It follows from the error of the metric that was seen on the mesh. The first derivatives of
    splines are off by at most 3.1 times as much per cell: the ratio of the maxima of 6 B_5 and of
    B_6 - B_6(0), Bernoulli's polynomials.
    """
    dim = len(tree.low)
    square, turn, cells, crossing = 0.0, 0.0, 0.0, 0.0
    for i in range(dim):
        speed = acceleration = 0.0
        for j in range(i, dim):
            speed += factor[j, i] * p[j]
            acceleration += factor[j, i] * a[j]
        square += speed * speed
        turn += acceleration * acceleration
        crossing += tree.per_cell[mesh, i] * abs(p[i])
        total = tree.per_cell[mesh, i]
        for j in range(i):
            total -= factor[i, j] * dual[j]
        dual[i] = total / factor[i, i]
        cells += dual[i] * dual[i]
    speed = np.sqrt(square)
    slope = 3.1 * (crossing + 0.5 * speed * np.sqrt(cells))
    return tree.error[mesh] * (slope + np.sqrt(turn) / max(speed, 1e-300))


@njit(cache=True, nogil=True)
def follow_paths(
    tree: SplineTree,
    q: Floats,
    p: Floats,
    times: Floats,
    rtol: float,
    fields_rtol: float,
    atol: float,
    max_steps: int,
    dense: Floats,
    defect: Floats,
    status: Ints,
    n_steps: Ints,
) -> None:
    """Follow geodesics, with fields or without, for unit time.

    Parameters
    ----------
    tree : SplineTree
        The metric's components on and above the diagonal.
    q, p : array, shape=[n_paths, (1 + n_fields) * dim]
        Points and fields, and their rates, at time 0; overwritten by those at time 1, or by the
        last that were reached.
    times : array, shape=[n_times]
        Times in (0, 1], in ascending order.
    rtol, fields_rtol, atol : float
        Largest error of a step: of the path relative to the velocity, of fields relative to their
        largest entry, and absolute.
    max_steps : int
        Number of steps after which a path is given up.
    dense : array, shape=[2, n_paths, n_times, (1 + n_fields) * dim]
        Written: q and p at these times, as far as they were reached.
    defect : array, shape=[n_paths]
        Written: the error that velocities may have at time 1 by the error of the metric that was
        seen on the leaves on the way, relative to the speed, if nothing amplifies it.
    status, n_steps : array of int, shape=[n_paths]
        Written: how the paths ended, and numbers of steps tried.
    """
    dim, width = len(tree.low), q.shape[1]
    # A path ends when a stage was where the metric is not known so many times.
    most_cuts, shortest = 6, 1e-12
    jet = np.empty((1 + dim + dim * (dim + 1) // 2, dim * (dim + 1) // 2))
    scratch, s, dual = jet_scratch(dim), np.empty((6, dim, dim)), np.empty(dim)
    # Rates and accelerations of all stages.
    kq, kp = np.empty((_N_STAGES, width)), np.empty((_N_STAGES, width))
    x, v = np.empty(width), np.empty(width)
    for n in range(len(q)):
        time, size, first_stage, sample = 0.0, 0.0, 0, 0
        n_steps[n], defect[n], status[n] = 0, 0.0, -1
        n_cuts, refused, rate = 0, False, 0.0
        still = width == dim
        for k in range(dim):
            still &= p[n, k] == 0.0
        while status[n] < 0:
            # -- the stages of a step, or its first slope alone
            last_stage = 0 if first_stage == 0 else _N_STAGES - 1
            known, regular = True, True
            for stage in range(first_stage, last_stage + 1):
                for k in range(width):
                    by_rate = by_acceleration = 0.0
                    for o in range(stage):
                        by_rate += _STAGES[stage, o] * kq[o, k]
                        by_acceleration += _STAGES[stage, o] * kp[o, k]
                    x[k] = q[n, k] + size * by_rate
                    v[k] = p[n, k] + size * by_acceleration
                known = spline_jet(tree, x, scratch, jet)
                if not known:
                    break
                regular = accelerate(jet, x, v, kp[stage], s)
                if not regular:
                    break
                for k in range(width):
                    kq[stage, k] = v[k]
            if first_stage == 0:
                # -- the first step
                speed = turn = total = 0.0
                for k in range(dim):
                    speed, turn = max(speed, abs(p[n, k])), max(turn, abs(kp[0, k]))
                    total += abs(p[n, k]) + abs(kp[0, k])
                if not known:
                    status[n] = FlowStatus.UNKNOWN
                elif not (regular and np.isfinite(total)):
                    status[n] = FlowStatus.NOT_FINITE
                if status[n] >= 0:
                    break
                mesh = find_mesh(tree, x)
                rate = relative_defect(tree, mesh, p[n], kp[0], s[0], dual)
                longest, crossing = _LONGEST_FIRST_STEP, 0.0
                for k in range(dim):
                    crossing = max(crossing, tree.per_cell[mesh, k] * abs(p[n, k]))
                # A step within a cell jumps over nothing.
                longest = 1.0 if crossing < 1.0 else max(longest, 1.0 / crossing)
                size = longest
                if turn > 0.0:
                    size = min(longest, rtol**0.2 * speed / turn)
                size = 1.0 if still else min(max(size, 2.0 * shortest), 1.0)
                first_stage = 1
                continue
            n_steps[n] += 1
            # -- the error of a step
            ratio = np.inf
            if known and regular:
                path = fields = 0.0
                for k in range(width):
                    if k >= dim:
                        fields = max(fields, max(abs(q[n, k]), abs(p[n, k])))
                        fields = max(fields, max(abs(x[k]), abs(v[k])))
                    else:
                        path = max(path, max(abs(p[n, k]), abs(v[k])))
                ratio = 0.0
                for k in range(width):
                    by_rate = by_acceleration = 0.0
                    for o in range(_N_STAGES):
                        by_rate += _ERRORS[o] * kq[o, k]
                        by_acceleration += _ERRORS[o] * kp[o, k]
                    error = size * max(abs(by_rate), abs(by_acceleration))
                    # Written so that what is no number stays.
                    share = error / (atol + (rtol * path if k < dim else fields_rtol * fields))
                    ratio = ratio if ratio >= share else share
            if np.isfinite(ratio) and ratio <= 1.0:
                # -- a step is taken
                last = time + size >= 1.0 - 1e-14
                while sample < len(times) and (last or times[sample] <= time + size):
                    u = (times[sample] - time) / size
                    w, uu, ww = 1.0 - u, u * u, (1.0 - u) * (1.0 - u)
                    # Quintics through values, rates and accelerations at both ends.
                    b0 = ww * w * (1.0 + 3.0 * u + 6.0 * uu)
                    b1 = size * ww * w * (u + 3.0 * uu)
                    b2 = 0.5 * size * size * ww * w * uu
                    c0 = uu * u * (1.0 + 3.0 * w + 6.0 * ww)
                    c1 = -size * uu * u * (w + 3.0 * ww)
                    c2 = 0.5 * size * size * uu * u * ww
                    d0 = -30.0 * uu * ww / size
                    d1 = ww * (1.0 + 2.0 * u - 15.0 * uu)
                    d2 = 0.5 * size * u * ww * (2.0 - 5.0 * u)
                    e1 = uu * (1.0 + 2.0 * w - 15.0 * ww)
                    e2 = -0.5 * size * w * uu * (2.0 - 5.0 * w)
                    for k in range(width):
                        dense[0, n, sample, k] = (
                            b0 * q[n, k]
                            + b1 * p[n, k]
                            + b2 * kp[0, k]
                            + c0 * x[k]
                            + c1 * v[k]
                            + c2 * kp[_N_STAGES - 1, k]
                        )
                        dense[1, n, sample, k] = (
                            d0 * (q[n, k] - x[k])
                            + d1 * p[n, k]
                            + d2 * kp[0, k]
                            + e1 * v[k]
                            + e2 * kp[_N_STAGES - 1, k]
                        )
                    sample += 1
                mesh = find_mesh(tree, x)
                new_rate = relative_defect(tree, mesh, v, kp[_N_STAGES - 1], s[0], dual)
                defect[n] += 0.5 * size * (rate + new_rate)
                rate, time = new_rate, time + size
                for k in range(width):
                    q[n, k], p[n, k] = x[k], v[k]
                    kq[0, k], kp[0, k] = kq[_N_STAGES - 1, k], kp[_N_STAGES - 1, k]
                if last:
                    status[n] = FlowStatus.DONE
                    break
            # -- the next step
            factor = _SHRINK
            if np.isfinite(ratio):
                factor = _SAFETY * max(ratio, 1e-6) ** -0.2
                factor = min(max(factor, _SHRINK), 1.0 if refused else _GROW)
            refused = not ratio <= 1.0
            if not (known and regular):
                n_cuts += 1
                if n_cuts > most_cuts:
                    status[n] = FlowStatus.NOT_FINITE if known else FlowStatus.UNKNOWN
            size *= factor
            if n_steps[n] >= max_steps and status[n] < 0:
                status[n] = FlowStatus.OUT_OF_STEPS
            if size < shortest and status[n] < 0:
                status[n] = FlowStatus.NOT_FINITE
            size = min(size, 1.0 - time)
