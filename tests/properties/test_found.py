"""Faults that the properties found: each was a hang, a wrong certificate or an unnamed error."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from geomstats_vae import (
    LAND,
    GeodesicSolver,
    GeodesicStatus,
    LangevinDynamics,
    LatentSpace,
    RandomWalkWarning,
    TangentPCA,
)
from geomstats_vae.geodesics.flow.exponential import ExponentialSolver
from geomstats_vae.manifolds.arrays import LARGEST
from geomstats_vae.sampling import WalkStatus
from geomstats_vae.volume.ray_quadrature import RayQuadrature
from tests.manifolds.spaces import array, draw, host
from tests.properties.decoders import LOOSE, Decoded
from tests.properties.watching import call


def solve(decoder, dim, start, end, solver=LOOSE):
    metric = LatentSpace(decoder, dim, solver=solver).metric
    return metric.solve_geodesic(array(start), array(end)).map(host)


@pytest.mark.parametrize("dim", [2, 4])
def test_points_far_out_of_the_graph_take_no_more_elements(dim):
    """As many elements as the box would take for a way that is a million boxes long: a hang."""
    metric = Decoded("linear", dim, graph=True).metric
    path = call(metric.solve_geodesic, array(np.zeros(dim)), array(np.full(dim, 1e6)))
    assert host(path.points).shape[0] <= 1 + 8 * LOOSE.max_elements


def test_codes_whose_squares_overflow_are_refused():
    """Numpy's warnings, and errors of scipy's trees, before."""
    metric = LatentSpace(lambda z: z, 2).metric
    with pytest.raises(ValueError, match="overflow"):
        metric.dist(array([0.0, 0.0]), array([2.0 * LARGEST, 0.0]))
    assert host(metric.dist(array([0.0, 0.0]), array([LARGEST, 0.0]))) == LARGEST


def test_steps_of_a_saturated_decoder_are_no_curves_without_length():
    """No quadrature point sees the step: certified, with the chord from end to end as length."""
    path = solve(torch.tanh, 2, [[0.3, -0.2]], [[1e6, 2e6]])
    assert path.length[0] > 0.99 * np.hypot(np.tanh(1.0) - np.tanh(0.3), 1.0)
    values = np.tanh(path(np.linspace(0.0, 1.0, 4097)))
    chords = np.linalg.norm(np.diff(values, axis=1), axis=2).sum()
    assert not path.converged[0] or path.length[0] == pytest.approx(chords, rel=1e-3)


def test_short_lines_that_are_not_straight_are_solved_for():
    """The speed in the middle times one, before: off by 1 % and more."""

    def tiny(z):
        return 1.0 + 1e-9 * torch.stack((torch.cos(z[:, 0]), torch.sin(z[:, 0])), dim=1)

    path = solve(tiny, 1, [[0.0]], [[2.0]])
    np.testing.assert_allclose(path.length, 2e-9, rtol=1e-3)

    def power(z):
        return 1.0 + 1e-9 * z**3

    path = solve(power, 1, [[0.0]], [[1.0]])
    assert path.status[0] != 0 or path.length[0] == pytest.approx(1e-9, rel=1e-3)


def test_short_lines_into_what_is_no_number_are_not_finite():
    """Length zero, before, where the band was neither in the middle nor at an end."""

    def banded(z):
        return torch.where((z[:, :1] > 0.7) & (z[:, :1] < 0.8), torch.nan, 1.0 + 0.0 * z)

    path = solve(banded, 2, [[0.0, 0.0], [0.0, 0.0]], [[1.0, 0.5], [0.6, 0.5]])
    np.testing.assert_array_equal(path.status, [GeodesicStatus.NON_FINITE, 0])
    np.testing.assert_array_equal(path.length, [np.inf, 0.0])


@pytest.mark.parametrize("dim", [2, 5])
def test_curves_on_rounded_kinks_are_not_longer_than_lines(dim):
    """M is constant, so lines are geodesics; curves in the valleys of rounded kinks, before."""
    start = draw(3, dim)
    end = start + 30.0 * draw(3, dim, seed=1)

    def folded(z):
        return torch.cat((z.abs(), z.sum(dim=1, keepdim=True)), dim=1)

    solver = GeodesicSolver(tol=1e-3)
    path = solve(folded, dim, start, end, solver)
    way = end - start
    exact = np.sqrt((way**2).sum(axis=1) + way.sum(axis=1) ** 2)
    assert (path.length <= (1.0 + 2.0 * solver.rtol) * exact).all()
    assert (path.length >= (1.0 - 2.0 * solver.rtol) * exact).all()


def test_langevin_dynamics_where_no_metric_is_regular():
    """An error of numpy's reshape, before: no walker was left to propose a move to."""
    space = LatentSpace(lambda z: 0.0 * z, 2)
    dynamics = LangevinDynamics(space, lambda z: -0.5 * (z * z).sum(-1))
    with pytest.warns(RandomWalkWarning, match="2 of 2 walkers stopped"):
        walk = dynamics.sample_walk(0.1, 2, array(draw(2, 2)))
    assert (host(walk.status) != WalkStatus.COMPLETED).all()
    np.testing.assert_array_equal(host(walk.points), np.repeat(draw(2, 2)[:, None], 3, axis=1))


def test_principal_components_of_equal_points():
    """NaN, with numpy's warning, before."""
    pca = TangentPCA(LatentSpace(lambda z: z, 2), n_components=1)
    pca.fit(array(np.ones((3, 2))))
    np.testing.assert_array_equal(host(pca.explained_variance_), [0.0])
    np.testing.assert_array_equal(host(pca.explained_variance_ratio_), [0.0])
    with pytest.raises(ValueError, match="Expected two points or more, got 1"):
        pca.fit(array(np.ones((1, 2))))


@pytest.mark.long
def test_importance_grid_with_empty_rows():
    """A warning of numpy's, before: the mass of cells far from a mean underflows."""
    space = Decoded("linear", 3, graph=True, seconds=60.0).space
    # Two rows are far away: one alone is a component that collapses, on some machines always.
    rows = draw(5, 3) * np.array([[1e3], [1e3], [1.0], [1.0], [1.0]])
    model = LAND(space, 2, max_iter=0, n_normalizer_samples=8, random_state=0)
    call(model.fit, rows)
    assert np.isfinite(model.means_).all()


def test_rays_keep_to_the_time_of_exponentials():
    """They had a limit of steps only, which took minutes where geodesics break off."""
    space = LatentSpace(lambda z: z**3, 2, exponential=ExponentialSolver(max_seconds=0.0))
    rays = space.metric.geometry.rays(np.ones((3, 2)), np.ones((3, 2)))
    assert rays.advance(2)[2].all()


def test_rays_that_are_fewer_than_their_control_needs():
    """The logarithm of a negative integral, before: the control missed more than the integral."""
    unit, one = np.array([[[1.0, 0.0]]]), np.ones((1, 1))
    quadrature = RayQuadrature(unit, np.eye(2), one[0], 0.1 * one, 0.02 * one, 0)
    moments = quadrature.moments(np.diag([1e-3, 1.0]))
    exact = 2.0 * np.pi * 0.02 * np.exp(-0.5 * 0.1**2 * 1e-3)  # area of the circle, weight, kernel
    np.testing.assert_allclose(moments.log_normalizer, np.log(exact), rtol=1e-12)
    np.testing.assert_allclose(moments.second, np.diag([0.1**2, 0.0]), atol=1e-12)
    nothing = replace(quadrature, weights=np.zeros((1, 1))).moments(np.eye(2))
    assert nothing.log_normalizer == -np.inf


def test_curves_that_are_given_up_have_velocities():
    """NaN, before, and so were the derivatives of distances by their ends."""
    solver = replace(LOOSE, max_seconds=0.02)
    path = solve(Decoded("walls", 2).decoder, 2, draw(3, 2), 30.0 * draw(3, 2, seed=1), solver)
    reached = np.isfinite(path.length)
    assert np.isfinite(path.initial_velocity[reached]).all()
    assert np.isfinite(path.final_velocity[reached]).all()
