"""Langevin dynamics on a manifold, adjusted so that its law is the density at any step size."""

from __future__ import annotations

from typing import NamedTuple

import torch

from geomstats_vae.manifolds.arrays import to_array, to_tensor
from geomstats_vae.sampling.coefficients import Coefficients
from geomstats_vae.sampling.walk import Walkers, WalkSampler, WalkStatus

# Step of the central differences, in standard deviations of a move. Errors of the gradient that
# it makes are far below the noise, and errors of the density, by such a step, too.
_DIFFERENCE_STEP = 0.1


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
        Whether steps are adjusted. If not, the law is off by the order of the step's time.
    random_state : int, numpy.random.RandomState or None
        Seed of the noise. With an integer every call gives the same paths.

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

    def __init__(self, space, log_density, *, gradient=None, adjust=True, random_state=None):
        super().__init__(space, random_state)
        for name, function in (("log_density", log_density), ("gradient", gradient)):
            if not callable(function) and not (name == "gradient" and function is None):
                raise ValueError(
                    f"Expected a callable as {name}, got {type(function).__name__}; pass a "
                    "function of points, shape=[n_points, dim]."
                )
        self.log_density, self.gradient, self.adjust = log_density, gradient, adjust

    def _walkers(self, geometry, z, random_state):
        return _LangevinWalkers(self, geometry, z, random_state)


class _State(NamedTuple):
    """What a walker knows of its point; rows belong to walkers."""

    log_density: torch.Tensor
    push: torch.Tensor
    coefficients: Coefficients

    @property
    def usable(self):
        finite = self.log_density.isfinite() & self.push.isfinite().all(1)
        return finite & self.coefficients.regular

    def put(self, rows, other, chosen):
        """Overwrite some rows by chosen ones of another state."""
        mine = (self.log_density, self.push, *self.coefficients)
        theirs = (other.log_density, other.push, *other.coefficients)
        for old, new in zip(mine, theirs, strict=True):
            old[rows] = new[chosen]


class _LangevinWalkers(Walkers):
    def __init__(self, dynamics, geometry, z, random_state):
        super().__init__(geometry, z, random_state)
        self.dynamics = dynamics
        self.n_accepted = torch.zeros_like(z[:, 0])
        self.state: _State | None = None

    @property
    def acceptance(self):
        """Share of accepted moves; see `Walkers.acceptance`."""
        if not self.dynamics.adjust:
            return None
        return self.n_accepted / self.n_substeps.clamp_min(1)

    def advance(self, rows, step):
        """Propose a move to every walker, and take it or stay; see `Walkers.advance`."""
        if self.state is None:
            self.state = self._begin(step)
            rows = rows[self.status[rows] == 0]
        here = _State(*(part[rows] for part in self.state[:2]), self.state[2].take(rows))
        start = self.z[rows]
        mean = self._mean(start, here, step)
        noise = self.noise(len(rows))
        end = mean + step**0.5 * (here.coefficients.root @ noise[:, :, None])[:, :, 0]
        belongs = end.isfinite().all(1)
        belongs &= self.dynamics._belongs(torch.where(belongs[:, None], end, start))
        end = torch.where(belongs[:, None], end, start)
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

    def _begin(self, step):
        state = self._look(self.z, step)
        self.stop_irregular(torch.arange(len(self.z), device=self.z.device), state.coefficients)
        bad = (self.status == 0) & ~state.usable
        if bad.any():
            raise ValueError(
                "Expected a finite log_density, and gradient, at the initial points, got others at "
                f"{int(bad.sum())} of {len(bad)}; start where the density is positive."
            )
        return state

    def _look(self, z, step):
        """Evaluate metric and density at points."""
        coefficients = self.geometry.coefficients(z)
        if self.dynamics.gradient is not None:
            log_density = self._density(z)
            gradient = _checked(self.dynamics.gradient, "gradient", z, z.shape)
            push = 0.5 * (coefficients.root @ (coefficients.root.mT @ gradient[:, :, None]))
            return _State(log_density, push[:, :, 0], coefficients)
        # Differences along the frame: its vectors have unit length, whatever the coordinates.
        offset = _DIFFERENCE_STEP * step**0.5
        frame = torch.where(coefficients.regular[:, None, None], coefficients.root, 0.0)
        moves = offset * frame.transpose(1, 2)
        points = torch.stack((z[:, None] + moves, z[:, None] - moves), dim=1)
        logs = self._density(torch.cat((z[:, None], points.flatten(1, 2)), dim=1).flatten(0, 1))
        logs = logs.view(len(z), 1 + 2 * z.shape[1])
        ahead, behind = logs[:, 1:].chunk(2, dim=1)
        slope = (ahead - behind) / (2.0 * offset)
        # Beside a point of positive density there may be none.
        slope = torch.where(slope.isfinite(), slope, 0.0)
        push = 0.5 * (frame @ slope[:, :, None])[:, :, 0]
        return _State(logs[:, 0], push, coefficients)

    def _density(self, z):
        return _checked(self.dynamics.log_density, "log_density", z, z.shape[:1])

    def _mean(self, z, state, step):
        return z + step * (state.coefficients.drift + state.push)

    def _accept(self, start, here, end, there, noise, step):
        """Decide by Metropolis and Hastings: accept with the ratio of the fluxes there and back.

        In coordinates the target is p sqrt(det M), and the proposal normal with the covariance
        step M^{-1}, so that each direction brings one factor sqrt(det M).
        """
        back = (start - self._mean(end, there, step))[:, :, None] / step**0.5
        # Its square in the metric: the inverse of the root is triangular.
        back = torch.linalg.solve_triangular(there.coefficients.root, back, upper=True)[:, :, 0]
        log_ratio = there.log_density - here.log_density
        log_ratio += 2.0 * (there.coefficients.log_volume - here.coefficients.log_volume)
        log_ratio += 0.5 * (noise.square().sum(1) - back.square().sum(1))
        uniform = torch.from_numpy(self.random_state.uniform(size=len(start))).to(start)
        return uniform.log() < log_ratio  # which is false of NaN


def _checked(function, name, z, shape):
    values = to_tensor(function(to_array(z)), name).detach().to(z)
    if values.shape != shape:
        raise ValueError(
            f"Expected {name} to return shape {list(shape)} for points of shape {list(z.shape)}, "
            f"got {list(values.shape)}; return one row per point."
        )
    return values
