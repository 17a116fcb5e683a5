"""Langevin dynamics on a manifold, adjusted so that it samples the density at any step size."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch

from geomstats_vae.geodesics.table.metric_table import MetricTable
from geomstats_vae.geometry.protocol import Bools, Floats, Geometry, Ints
from geomstats_vae.sampling.coefficients import Coefficients, times
from geomstats_vae.sampling.functions import PointFunction, real_values
from geomstats_vae.sampling.walk import Seed, Walkers, WalkSampler, WalkStatus


class LangevinDynamics(WalkSampler):
    r"""Langevin dynamics: Brownian motion that is driven towards where a density is high.

    The diffusion :math:`dz = \tfrac12 M^{-1} \nabla \log p \, dt + dB`, with Brownian motion B on
    the space, leaves p invariant. Its steps in coordinates are Euler's; the Metropolis adjustment
    accepts or refuses each so that p is invariant at any step size. That is the manifold
    Metropolis-adjusted Langevin algorithm of [1]_ (section 5), with the metric of the space.

    Parameters
    ----------
    space : Manifold
        Equipped space in intrinsic coordinates; see `BrownianMotion`.
    log_density : callable
        Maps points, shape=[n_points, dim], to the logarithm of the density p, shape=[n_points], up
        to a constant. The density is one with respect to Riemannian volume, as that of
        `LAND.score_samples` is; of a density for Lebesgue measure in coordinates subtract the
        logarithm of sqrt(det M). Minus infinity where there is none: walkers do not go there.
    gradient : callable, optional
        Maps points, shape=[n_points, dim], to the derivatives of log_density by the coordinates,
        shape=[n_points, dim]. By default central differences of log_density, in one call for all
        walkers, 2 dim evaluations for each. While steps are adjusted, an inexact gradient costs
        acceptance, and no exactness; one that is zero makes a random walk of it.
    adjust : bool
        Whether steps are adjusted. If not, the distribution is off by the order of the step's time.
    difference_step : float
        Step of the central differences, in standard deviations of a move. The error of the gradient
        is far below the noise by such a step, and so is that of an inexact log_density.
    random_state : int, numpy.random.RandomState or None
        Seed of the noise. With an integer every call gives the same paths.
    max_seconds : float, optional
        Seconds after which a call returns: walkers that are under way stop where they are, with the
        status ``OUT_OF_TIME``. The move that is under way is finished.
    verbose : bool
        Show a progress bar that counts steps of walkers.

    Raises
    ------
    ValueError
        If the space has no metric or is not in intrinsic coordinates, or log_density or gradient
        is not callable.

    Notes
    -----
    Time is in units of squared distance. Steps are right where the `acceptance` that `sample_walk`
    reports is about 0.6. The adjustment is for the density of the proposal, which depends on the
    position through the determinant of M.

    References
    ----------
    .. [1] Girolami, Calderhead. "Riemann Manifold Langevin and Hamiltonian Monte Carlo Methods."
       Journal of the Royal Statistical Society B 73 (2011).

    Examples
    --------
    >>> land = LAND(space, n_components=2, random_state=0).fit(codes)
    >>> dynamics = LangevinDynamics(space, land.score_samples, random_state=0)
    >>> walk = dynamics.sample_walk(end_time=1.0, n_steps=20, initial_point=codes[:10])
    >>> walk.points[:, -1], walk.acceptance
    """

    def __init__(
        self,
        space: Any,
        log_density: PointFunction,
        *,
        gradient: PointFunction | None = None,
        adjust: bool = True,
        difference_step: float = 0.1,
        random_state: Seed = None,
        max_seconds: float | None = None,
        verbose: bool = False,
    ) -> None:
        super().__init__(space, random_state, max_seconds, verbose)
        for name, function in (("log_density", log_density), ("gradient", gradient)):
            if not callable(function) and not (name == "gradient" and function is None):
                raise ValueError(
                    f"Expected a callable as {name}, got {type(function).__name__}; pass a "
                    "function of points, shape=[n_points, dim]."
                )
        if not difference_step > 0.0:
            raise ValueError(f"Expected difference_step > 0, got {difference_step}.")
        self.log_density, self.gradient, self.adjust = log_density, gradient, adjust
        self.difference_step = difference_step

    def _walkers(
        self,
        geometry: Geometry,
        z: Floats,
        random_state: np.random.RandomState,
        device: torch.device | None,
        table: MetricTable | None,
    ) -> Walkers:
        return _LangevinWalkers(self, geometry, z, random_state, device, table)


class _State(NamedTuple):
    """What a walker knows of its point; rows belong to walkers."""

    log_density: Floats
    push: Floats
    coefficients: Coefficients

    @property
    def usable(self) -> Bools:
        finite = np.isfinite(self.log_density) & np.all(np.isfinite(self.push), axis=1)
        return finite & self.coefficients.regular

    def take(self, rows: Ints) -> _State:
        return _State(self.log_density[rows], self.push[rows], self.coefficients.take(rows))

    def put(self, rows: Ints, other: _State, chosen: Bools) -> None:
        """Overwrite some rows by chosen ones of another state."""
        mine = (self.log_density, self.push, *self.coefficients)
        theirs = (other.log_density, other.push, *other.coefficients)
        for old, new in zip(mine, theirs, strict=True):
            old[rows] = new[chosen]


class _LangevinWalkers(Walkers):
    def __init__(
        self,
        dynamics: LangevinDynamics,
        geometry: Geometry,
        z: Floats,
        random_state: np.random.RandomState,
        device: torch.device | None,
        table: MetricTable | None,
    ) -> None:
        super().__init__(geometry, dynamics.space, z, random_state, device, table)
        self.dynamics = dynamics
        self.n_accepted = np.zeros(len(z))
        self.state: _State | None = None

    @property
    def acceptance(self) -> Floats | None:
        """Share of accepted moves; see `Walkers.acceptance`."""
        if not self.dynamics.adjust:
            return None
        return self.n_accepted / np.maximum(self.n_substeps, 1)

    def advance(self, rows: Ints, step: float) -> Ints:
        """Propose a move to every walker, and take it or stay; see `Walkers.advance`."""
        if self.state is None:
            self.state = self._begin(step)
            rows = rows[self.status[rows] == 0]
            if not len(rows):  # the metric is irregular wherever they start
                return rows
        here, start = self.state.take(rows), self.z[rows]
        noise = self.noise(len(rows))
        with np.errstate(invalid="ignore", over="ignore"):
            end = _mean(start, here, step) + step**0.5 * times(here.coefficients.root, noise)
        belongs = np.all(np.isfinite(end), axis=1)
        belongs &= self.in_space(np.where(belongs[:, None], end, start))
        end = np.where(belongs[:, None], end, start)
        there = self._look(end, step)
        sound = belongs & there.usable
        self.n_substeps[rows] += 1
        if self.dynamics.adjust:
            sound &= self._accept(start, here, end, there, noise, step)
            self.n_accepted[rows] += sound
        else:
            self.status[rows[~sound]] = WalkStatus.NON_FINITE
        self.z[rows[sound]] = end[sound]
        self.state.put(rows[sound], there, sound)
        return rows[self.status[rows] == 0]

    def _begin(self, step: float) -> _State:
        state = self._look(self.z, step)
        self.stop_irregular(np.arange(len(self.z)), state.coefficients)
        bad = (self.status == 0) & ~state.usable
        if bad.any():
            raise ValueError(
                "Expected a finite log_density, and gradient, at the initial points, got others at "
                f"{int(bad.sum())} of {len(bad)}; start where the density is positive."
            )
        return state

    def _look(self, z: Floats, step: float) -> _State:
        """Evaluate metric and density at points."""
        coefficients, gradient = self.coefficients(z), self.dynamics.gradient
        if gradient is not None:
            slope = real_values(gradient, "gradient", z, z.shape, self.device)
            root = coefficients.root
            with np.errstate(invalid="ignore", over="ignore"):
                push = 0.5 * times(root, times(root.swapaxes(1, 2), slope))
            return _State(self._log_densities(z), push, coefficients)
        # Differences along the frame: its vectors have unit length, whatever the coordinates.
        offset = self.dynamics.difference_step * step**0.5
        frame = np.where(coefficients.regular[:, None, None], coefficients.root, 0.0)
        moves = offset * frame.swapaxes(1, 2)
        points = np.concatenate((z[:, None], z[:, None] + moves, z[:, None] - moves), axis=1)
        logs = self._log_densities(points.reshape(-1, z.shape[1])).reshape(len(z), -1)
        ahead, behind = np.split(logs[:, 1:], 2, axis=1)
        # Beside a point of positive density there may be none.
        with np.errstate(invalid="ignore"):
            along = (ahead - behind) / (2.0 * offset)
        along = np.where(np.isfinite(along), along, 0.0)
        return _State(logs[:, 0].copy(), 0.5 * times(frame, along), coefficients)

    def _log_densities(self, z: Floats) -> Floats:
        return real_values(self.dynamics.log_density, "log_density", z, z.shape[:1], self.device)

    def _accept(
        self,
        start: Floats,
        here: _State,
        end: Floats,
        there: _State,
        noise: Floats,
        step: float,
    ) -> Bools:
        """Decide by Metropolis and Hastings: accept with the ratio of the fluxes there and back.

        In coordinates the target is p sqrt(det M), and the proposal normal with the covariance
        step M^{-1}, so that each direction brings one factor sqrt(det M).
        """
        uniform = self.random_state.uniform(size=len(start))
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            # The noise that would lead back.
            to_frame = there.coefficients.factor.swapaxes(1, 2)
            back = times(to_frame, start - _mean(end, there, step)) / step**0.5
            log_ratio = there.log_density - here.log_density
            log_ratio += 2.0 * (there.coefficients.log_volume - here.coefficients.log_volume)
            log_ratio += 0.5 * (np.square(noise).sum(axis=1) - np.square(back).sum(axis=1))
            return np.log(uniform) < log_ratio  # which is false of NaN


def _mean(z: Floats, state: _State, step: float) -> Floats:
    """Mean of the proposal of a move."""
    return z + step * (state.coefficients.drift + state.push)
