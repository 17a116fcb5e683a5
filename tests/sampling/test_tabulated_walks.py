"""Walks on a table of the metric: their laws, and what they do where the table ends."""

import numpy as np
import pytest
from scipy import stats

from geomstats_vae.geodesics.table import TableOptions
from geomstats_vae.geometry.tables import TableOnDemand
from geomstats_vae.manifolds import LatentSpace
from geomstats_vae.manifolds.geometries import geometry_of
from geomstats_vae.sampling import BrownianMotion, LangevinDynamics, WalkStatus
from geomstats_vae.sampling.coefficients import coefficients_at
from tests import surfaces
from tests.manifolds.spaces import array, host
from tests.sampling import distributions
from tests.sampling.test_brownian import START, TIME, p_value
from tests.sampling.test_domains import BOX, p_values, uniform_in_box


def tabulated(surface, low, high):
    """Latent space with a coarse table over a box, in use whatever is asked."""
    space = LatentSpace(surface, 2, points=array([low, high]), on_failure="ignore", table=True)
    table = space.metric.geometry.table
    assert isinstance(table, TableOnDemand)
    table.options = TableOptions(cells=8, most_halvings=1, margin=0.0)
    return space


@pytest.fixture(scope="module")
def sphere():
    # Walkers leave the box, and come back.
    return tabulated(distributions.lambert, [-0.5, -1.0], [1.1, 0.6])


@pytest.fixture(scope="module")
def paraboloid():
    return tabulated(surfaces.paraboloid, *BOX)


def ends(space, time, n_steps, start, **options):
    motion = BrownianMotion(space, random_state=0, **options)
    return motion.sample_walk(time, n_steps, array(start), every=n_steps)


def test_the_walk_asks_the_table_and_where_it_ends_the_decoder(sphere):
    geometry = geometry_of(sphere).for_many()
    z = np.array([[0.3, -0.2], [-0.4, 0.5], [1.4, 0.0]])
    exact = coefficients_at(geometry, z)
    found = coefficients_at(geometry, z, geometry.metric_table)
    for mine, theirs in zip(found, exact, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=2e-3, atol=1e-4)
        assert not np.array_equal(mine[:2], theirs[:2])
        np.testing.assert_array_equal(mine[2], theirs[2])


def test_euler_has_the_distribution_of_the_heat_kernel(sphere):
    walk = ends(sphere, TIME, 12, np.tile(START, (5000, 1)))
    final = host(walk.points)[:, -1]
    assert ((final < [-0.5, -1.0]) | (final > [1.1, 0.6])).any()
    assert p_value(distributions.sphere_angle(final, START)) > 0.01


def test_without_drift_the_distribution_is_another(sphere):
    walk = ends(sphere, TIME, 12, np.tile(START, (3000, 1)), drift=False)
    assert p_value(distributions.sphere_angle(host(walk.points)[:, -1], START)) < 1e-3


def test_geodesic_walk_has_the_distribution_of_the_heat_kernel(sphere):
    walk = ends(sphere, TIME, 3, np.tile(START, (1500, 1)), method="geodesic", rtol=1e-3)
    assert p_value(distributions.sphere_angle(host(walk.points)[:, -1], START)) > 0.01


def test_reflected_walkers_are_spread_by_volume(paraboloid):
    walk = ends(paraboloid, 3.0, 100, uniform_in_box(3000), domain=BOX)
    final = host(walk.points)[:, -1]
    assert ((final >= BOX[0]) & (final <= BOX[1])).all()
    assert min(p_values(final)) > 0.01


def test_absorbed_walkers_stop_at_the_edge(paraboloid):
    walk = ends(paraboloid, 1.0, 50, uniform_in_box(50), domain=BOX, boundary="absorb")
    status, final = host(walk.status), host(walk.points)[:, -1]
    gone = status == WalkStatus.ABSORBED
    assert gone.any()
    edge = np.isclose(final, BOX[0]) | np.isclose(final, BOX[1])
    np.testing.assert_array_equal(edge.any(axis=1), gone)
    stopped = host(walk.stop_time)
    assert (stopped[gone] < 1.0).all()
    assert (stopped[~gone] == 1.0).all()


def test_kept_points_are_those_of_the_whole_path(paraboloid):
    motion = BrownianMotion(paraboloid, domain=BOX, random_state=0)
    start = array(uniform_in_box(20))
    whole = motion.sample_walk(0.1, 30, start)
    some = motion.sample_walk(0.1, 30, start, every=10)
    np.testing.assert_array_equal(host(some.points), host(whole.points)[:, ::10])
    np.testing.assert_array_equal(host(whole.n_substeps), host(some.n_substeps))
    assert (np.diff(host(whole.points), axis=1) != 0.0).any(axis=2).all()


def test_increments_have_the_mean_and_covariance_of_the_scheme(paraboloid):
    z, step = np.array([0.9, 0.7]), 0.01
    walk = ends(paraboloid, step, 1, np.tile(z, (40_000, 1)), max_change=None)
    moves = host(walk.points)[:, 1] - z
    c = coefficients_at(geometry_of(paraboloid), z[None])
    covariance = step * c.root[0] @ c.root[0].T
    np.testing.assert_allclose(np.cov(moves.T), covariance, rtol=0.05, atol=2e-4)
    error = (moves.mean(axis=0) - step * c.drift[0]) / np.sqrt(np.diag(covariance) / len(moves))
    assert np.abs(error).max() < 4.0


def test_langevin_dynamics_on_a_table_leave_the_density_invariant(paraboloid):
    def log_density(z):
        return -8.0 * ((z - array([0.9, 0.6])) ** 2).sum(-1)

    start = array(np.tile([0.9, 0.6], (1000, 1)))
    dynamics = LangevinDynamics(paraboloid, log_density, random_state=0)
    final = host(dynamics.sample_walk(3.0, 60, start, every=60).points)[:, -1]
    grid = np.stack(np.meshgrid(*[np.linspace(-2.0, 4.0, 400)] * 2), axis=-1).reshape(-1, 2)
    weight = np.exp(-8.0 * ((grid - [0.9, 0.6]) ** 2).sum(1)) * np.sqrt(1.0 + (grid**2).sum(1))
    order = np.argsort(grid[:, 0], kind="stable")
    below = np.cumsum(weight[order]) / weight.sum()

    def cdf(x):
        return np.interp(x, grid[order, 0], below)

    assert stats.kstest(final[:, 0], cdf).pvalue > 0.01
