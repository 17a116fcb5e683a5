"""A curve model from outside the package: Gauss-Newton's method, without the curvature."""

import inspect

import numpy as np
import pytest
import torch

from geomstats_vae import GeodesicSolver, LatentSpace
from geomstats_vae.geodesics import ElementModel
from geomstats_vae.geodesics.curves.chain import solve_between_ends
from geomstats_vae.geodesics.elements import curve_points
from tests.manifolds import spaces


class GaussNewton(ElementModel):
    """Steps that minimise int |dF(c') + (dF(c'))' u|^2 / |c'|, linearised in the displacement u.

    Of the second variation it lacks the curvature, so that it converges linearly.
    """

    def newton_step(self, curves, variation):
        parts = self.chunks(curves.nodes, len(self.element.weights))
        matrices = np.concatenate([self.evaluation(nodes) for nodes in parts])
        matrices += 1e-9 * np.abs(matrices).max() * np.eye(matrices.shape[1])
        return solve_between_ends(curves, matrices, variation.gradient)

    def evaluation(self, nodes):
        """Matrices of elements, shape=[n_elements, (degree + 1) * dim, (degree + 1) * dim]."""
        b, d, w = (self.rule(name) for name in ("interpolate", "differentiate", "weights"))
        position, velocity = curve_points(nodes, b, d)
        jet = self.immersion.jet(position, velocity)
        # A displacement of a node changes the velocity in data space by these vectors.
        change = b.repeat(len(nodes), 1)[:, :, None, None] * jet.derivatives[:, None]
        change = change + d.repeat(len(nodes), 1)[:, :, None, None] * jet.tangents[:, None]
        speed = (velocity[:, None] @ jet.tangents)[:, 0].norm(dim=1)
        weight = w.repeat(len(nodes)) / speed.clamp_min(torch.finfo(speed.dtype).tiny)
        rows = (change * weight.sqrt()[:, None, None, None]).flatten(1, 2)
        products = (rows @ rows.transpose(1, 2)).unflatten(0, (len(nodes), len(w)))
        return products.sum(dim=1).double().cpu().numpy()


@pytest.fixture(scope="module")
def both():
    """A latent space with the package's model, one with that from outside, and points."""
    decoder, codes = spaces.vae_like_decoder(), spaces.draw(40, 2, scale=0.6)
    solvers = GeodesicSolver(), GeodesicSolver(max_iter=200, model=GaussNewton)
    made = (LatentSpace(decoder, 2, points=codes, solver=solver) for solver in solvers)
    return *made, codes[:2], codes[4:6]


def test_it_is_short():
    assert len(inspect.getsource(GaussNewton).splitlines()) <= 60


def test_distances_are_those_of_the_default(both):
    space, other, start, end = both
    expected = space.metric.dist(start, end)
    np.testing.assert_allclose(other.metric.dist(start, end), expected, rtol=1e-5)


def test_geodesics_are_those_of_the_default(both):
    space, other, start, end = both
    path, expected = (each.metric.solve_geodesic(start, end) for each in (other, space))
    assert path.converged.all()
    t = np.linspace(0.0, 1.0, 9)
    np.testing.assert_allclose(path(t), expected(t), atol=2e-3)


def test_guesses_are_used(both):
    _, other, start, end = both
    solver, immersion = other.metric.solver, other.metric.decoder.immersion()
    path = solver.solve(immersion, start, end)
    again = solver.solve(immersion, start + 1e-7, end, None, path)
    assert again.converged.all()
    assert again.n_iter.sum() < path.n_iter.sum()
