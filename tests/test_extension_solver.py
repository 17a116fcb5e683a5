"""A solver from outside the package: L-BFGS on the energy of chords."""

import inspect
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from geomstats_vae import GeodesicSolver, LatentSpace
from geomstats_vae.geodesics import GeodesicPath, GeodesicStatus, Solver
from tests.manifolds import spaces


@dataclass(frozen=True)
class ChordSolver:
    """Minimises the energy of polylines by SciPy, from the straight line or from a graph path."""

    tol: float = 1e-4
    n_chords: int = 64
    rtol: float = 1e-3

    def with_tol(self, tol):
        return replace(self, tol=max(self.tol, tol))

    def solve(self, immersion, start, end, graph=None, guess=None):
        share = np.linspace(0.0, 1.0, self.n_chords + 1)
        starts = start[:, None] + share[:, None] * (end - start)[:, None]
        if guess is not None:
            starts = guess(share) + (starts - guess(share))[:, [0]] * (1.0 - share[:, None])
        found = [self._minimise(immersion, points) for points in starts]
        points, length, success = (np.array(column) for column in zip(*found, strict=True))
        status = np.where(success, GeodesicStatus.CONVERGED, GeodesicStatus.MAX_ITER)
        ends = np.diff(points, axis=1)[:, [0, -1]] * self.n_chords
        return GeodesicPath(
            points=points,
            times=np.repeat(share[None], len(start), axis=0),
            length=length,
            energy=0.5 * length**2,
            initial_velocity=ends[:, 0],
            final_velocity=ends[:, 1],
            converged=status == GeodesicStatus.CONVERGED,
            status=status,
            residual=np.zeros(len(start)),
            length_error=np.full(len(start), self.n_chords**-2.0),
            n_iter=np.zeros(len(start), dtype=int),
            width=np.zeros(len(start)),
        )

    def _minimise(self, immersion, points):
        def chords(inner):
            z = torch.tensor(points)
            return immersion(torch.cat((z[:1], inner, z[-1:]))).diff(dim=0).square().sum(dim=1)

        def energy(flat):
            inner = torch.tensor(flat.reshape(-1, points.shape[1]), requires_grad=True)
            with torch.enable_grad():
                value = chords(inner).sum()
                (gradient,) = torch.autograd.grad(value, inner)
            return value.item(), gradient.numpy().ravel()

        options = {"maxiter": 2000, "maxcor": 30, "ftol": 1e-2 * self.tol**2, "gtol": 0.0}
        found = minimize(energy, points[1:-1].ravel(), jac=True, method="L-BFGS-B", options=options)
        inner = found.x.reshape(-1, points.shape[1])
        length = chords(torch.tensor(inner)).sqrt().sum().item()
        return np.concatenate((points[:1], inner, points[-1:])), length, found.success


@pytest.fixture(scope="module")
def both():
    """A latent space with the package's solver, one with that from outside, and points."""
    decoder, codes = spaces.vae_like_decoder(), spaces.draw(40, 2, scale=0.6)
    solvers = GeodesicSolver(), ChordSolver()
    made = (LatentSpace(decoder, 2, points=codes, solver=solver) for solver in solvers)
    return *made, codes[:2], codes[4:6]


def test_it_is_short():
    assert len(inspect.getsource(ChordSolver).splitlines()) <= 60


def test_both_are_solvers():
    assert isinstance(ChordSolver(), Solver)
    assert isinstance(GeodesicSolver(), Solver)


def test_distances_are_those_of_the_default(both):
    space, other, start, end = both
    np.testing.assert_allclose(
        other.metric.dist(start, end), space.metric.dist(start, end), rtol=2e-3
    )


def test_geodesics_and_logarithms_are_those_of_the_default(both):
    space, other, start, end = both
    path, expected = (each.metric.solve_geodesic(start, end) for each in (other, space))
    assert path.converged.all()
    t = np.linspace(0.0, 1.0, 9)
    np.testing.assert_allclose(path(t), expected(t), atol=2e-2)
    size = np.abs(expected.initial_velocity).max()
    log = other.metric.log(end, start)
    np.testing.assert_allclose(log, space.metric.log(end, start), atol=5e-2 * size)


def test_tolerances_are_never_more_exact_than_asked():
    for solver in (ChordSolver(), GeodesicSolver()):
        assert solver.with_tol(1e-2).tol == 1e-2
        assert solver.with_tol(1e-12) == solver
