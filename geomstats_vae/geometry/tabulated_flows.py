"""Geodesics from points along velocities by a table of the metric, as far as that is exact enough.

Those of the table are certified one by one: each by the decoder's accelerations at some of its
points, unless the table is known to be that exact all along. The others, and those that leave the
table, are followed on the decoder itself. So results hold their tolerance either way.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from geomstats_vae.geodesics.deadline import NO_LIMIT, Deadline
from geomstats_vae.geodesics.flow.exponential import ExponentialSolver
from geomstats_vae.geodesics.table.exponential import PathState, TabulatedExponential
from geomstats_vae.geodesics.table.metric_table import MetricTable
from geomstats_vae.geometry.protocol import Bools, Floats
from geomstats_vae.geometry.rays import (
    RAY_EXPONENTIAL,
    DecoderRays,
    ray_solver,
    volume_densities_of,
)
from geomstats_vae.geometry.time_limit import check_time
from geomstats_vae.immersions import Immersion

# Tolerance below which the table is not asked: few of its paths would be that exact.
LEAST_RTOL = 1e-6
# Tolerance of rays, relative to the length of each stretch. It is far below the standard errors of
# the quadratures that rays serve, which are a hundredth to a thousandth.
RAY_RTOL = 1e-4
# Paths that are followed between two looks at the clock.
_PATHS = 4096


def exps_of(geometry: Any, base: Floats, velocity: Floats) -> Floats:
    """Follow geodesics for unit time.

    Parameters
    ----------
    geometry : DecoderGeometry
        Whose table is asked, if it is in use and the tolerance of ``geometry.exponential`` is not
        below `LEAST_RTOL`. Then ends are off by no more than that, relative to the lengths of the
        geodesics; see `TabulatedExponential`.
    base, velocity : numpy.ndarray, shape=[n, dim]
        Initial points and velocities.

    Returns
    -------
    points : numpy.ndarray, shape=[n, dim]
        Ends; NaN where a geodesic cannot be followed.

    Raises
    ------
    OutOfTimeError
        If the deadline of the geometry's blocks passes.
    """
    n, rtol = len(base), geometry.exponential.rtol
    points, good = np.full_like(base, np.nan), np.zeros(n, dtype=bool)
    if rtol >= LEAST_RTOL and geometry.metric_table is not None:
        found, good = _follow(geometry, base, velocity, np.ones(1), rtol)
        points[good] = found[good, 0]
    if not good.all() or not n:
        end, status = geometry.follow(base[~good], velocity[~good])
        points[~good] = np.where(status[:, None] == 0, end, np.nan)
    return points


def points_of(geometry: Any, base: Floats, velocity: Floats, times: Floats) -> Floats:
    """Find points of geodesics at several times, as exactly as rays are followed.

    Parameters
    ----------
    geometry : DecoderGeometry
        As of `exps_of`; the tolerance is `RAY_RTOL`, of the last point. The geometry's
        ``exponential`` follows the others.
    base, velocity : numpy.ndarray, shape=[n, dim]
        Points and velocities at time 0.
    times : numpy.ndarray, shape=[n_times]
        Times; the table is asked if all are positive.

    Returns
    -------
    points : numpy.ndarray, shape=[n, n_times, dim]
        Points.
    """
    if not (len(times) and times.min() > 0.0 and _has_table_for_rays(geometry)):
        return np.asarray(geometry.follow_dense(base, velocity, times)[0])
    points, good = _follow(geometry, base, velocity, times, RAY_RTOL)
    if not good.all():
        points[~good] = geometry.follow_dense(base[~good], velocity[~good], times)[0]
    return points


def rays_of(geometry: Any, base: Floats, velocity: Floats) -> TabulatedRays | DecoderRays:
    """Begin to follow rays.

    Parameters
    ----------
    geometry : DecoderGeometry
        Whose table is asked, if it is in use and its rays need be no more exact than by default.
    base, velocity : numpy.ndarray, shape=[n_rays, dim]
        Initial points and velocities.

    Returns
    -------
    rays : TabulatedRays or DecoderRays
        The rays.
    """
    parts = geometry.smooth_immersion(), ray_solver(geometry), base, velocity
    deadline = geometry.blocks.deadline
    if not _has_table_for_rays(geometry):
        return DecoderRays(*parts, deadline)
    return TabulatedRays(geometry.metric_table, *parts, deadline)


def _has_table_for_rays(geometry: Any) -> bool:
    coarse = geometry.ray_exponential.rtol >= RAY_EXPONENTIAL.rtol
    return coarse and geometry.metric_table is not None


def _follow(
    geometry: Any, base: Floats, velocity: Floats, times: Floats, rtol: float
) -> tuple[Floats, Bools]:
    """Points at positive times, shape=[n, n_times, dim], and whether they are exact enough."""
    n, dim = base.shape
    flow = TabulatedExponential(geometry.metric_table, geometry.smooth_immersion(), rtol)
    points, good = np.full((n, len(times), dim), np.nan), np.zeros(n, dtype=bool)
    order, horizon = np.argsort(times, kind="stable"), times.max()
    for first in range(0, n, _PATHS):
        check_time(geometry.blocks.deadline)
        part = slice(first, first + _PATHS)
        state = PathState.start(base[part], horizon * velocity[part])
        stretch = flow.advance(state, times[order] / horizon)
        good[part] = stretch.good
        points[part, order] = stretch.q[:, :, :dim]
    return points, good


class TabulatedRays:
    """Rays by a table; those that it does not know well go on on the decoder.

    Parameters
    ----------
    table : MetricTable
        The metric.
    immersion : Immersion
        The decoder's F, smooth.
    exponential : ExponentialSolver
        Integrates the equations of rays that the table is not exact enough for.
    base, velocity : numpy.ndarray, shape=[n_rays, dim]
        Initial points and velocities.
    deadline : Deadline
        When `advance` ends with `OutOfTimeError`.

    Notes
    -----
    After each stretch the point of a ray is off by at most `RAY_RTOL` of the stretch's length, to
    first order, besides what comes of its errors before. So are the Jacobi fields, about.
    """

    def __init__(
        self,
        table: MetricTable,
        immersion: Immersion,
        exponential: ExponentialSolver,
        base: Floats,
        velocity: Floats,
        deadline: Deadline = NO_LIMIT,
    ) -> None:
        self._immersion, self._deadline = immersion, deadline
        self._flow = TabulatedExponential(table, immersion, RAY_RTOL, exact_fields=True)
        self._on_table = np.ones(len(base), dtype=bool)
        self._state = PathState.start(base, velocity)
        self._density = volume_densities_of(immersion, base)
        self._others = DecoderRays(immersion, exponential, base[:0], velocity[:0], deadline)
        self._time = 0.0

    def advance(self, n_times: int) -> tuple[Floats, Floats, Bools]:
        """Follow all rays for a unit of time; see `Rays.advance`."""
        check_time(self._deadline)
        dim, n = self._immersion.dim, len(self._on_table)
        times = np.arange(1, n_times + 1) / n_times
        before = self._state
        after = PathState(before.q.copy(), before.p.copy())
        stretch = self._flow.advance(after, times)
        good = stretch.good
        self._others.take_over(*self._handed(before.take(~good)), self._density[~good], self._time)
        self._state, self._density = after.take(good), self._density[good]
        rows = np.flatnonzero(self._on_table)
        # Those that are handed over come last.
        order = np.concatenate((np.flatnonzero(~self._on_table), rows[~good]))
        self._on_table[rows[~good]] = False
        points, volume = np.empty((n, n_times, dim)), np.empty((n, n_times))
        failed = np.zeros(n, dtype=bool)
        points[rows[good]] = stretch.q[good, :, :dim]
        volume[rows[good]] = self._volumes(stretch.q[good], self._time + times)
        back = np.argsort(order, kind="stable")
        self._others.keep(back)
        others = np.flatnonzero(~self._on_table)
        if len(others):
            points[others], volume[others], failed[others] = self._others.advance(n_times)
        self._time += 1.0
        return points, volume, failed

    def keep(self, which: Bools) -> None:
        """Go on with some of the rays, shape=[n_rays]."""
        mine = which[self._on_table]
        self._state, self._density = self._state.take(mine), self._density[mine]
        self._others.keep(which[~self._on_table])
        self._on_table = self._on_table[which]

    def _volumes(self, q: Floats, times: Floats) -> Floats:
        """Return the changes of volume at points of rays, shape=[n, n_times]."""
        n, n_times, _ = q.shape
        dim = self._immersion.dim
        fields = q[:, :, dim : dim + dim * dim].reshape(n, n_times, dim, dim)
        jacobian = np.linalg.det(fields / times[:, None, None])
        flat = np.ascontiguousarray(q[:, :, :dim]).reshape(-1, dim)
        density = volume_densities_of(self._immersion, flat).reshape(n, n_times)
        return jacobian * density / self._density[:, None]

    def _handed(self, state: PathState) -> tuple[Floats, Floats, Floats, Floats]:
        """Points, velocities, fields and their rates, as `DecoderRays.take_over` takes them."""
        dim, n = self._immersion.dim, len(state.q)
        fields, rates = (part[:, dim:].reshape(n, 2 * dim, dim).swapaxes(1, 2) for part in state)
        return state.q[:, :dim], state.p[:, :dim], fields, rates
