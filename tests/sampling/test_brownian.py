import numpy as np
import pytest
import torch
from geomstats.geometry.euclidean import Euclidean
from scipy import stats

from geomstats_vae.manifolds import LatentSpace
from geomstats_vae.sampling import BrownianMotion
from tests import surfaces
from tests.manifolds.spaces import array, host, vae_like_decoder
from tests.sampling import distributions

START, TIME = np.array([0.3, -0.2]), 0.3


@pytest.fixture(scope="module")
def sphere():
    return LatentSpace(distributions.lambert, 2, on_failure="ignore")


def angles(space, n_steps, n_walkers=5000, **options):
    motion = BrownianMotion(space, random_state=0, **options)
    start = array(np.tile(START, (n_walkers, 1)))
    walk = motion.sample_walk(TIME, n_steps, start, every=n_steps)
    return distributions.sphere_angle(host(walk.points)[:, -1], START)


def p_value(sample):
    return stats.kstest(sample, lambda angle: distributions.heat_kernel_cdf(angle, TIME)).pvalue


def test_euler_has_the_distribution_of_the_heat_kernel(sphere):
    assert p_value(angles(sphere, 12)) > 0.01


@pytest.mark.long
def test_geodesic_walk_has_the_distribution_of_the_heat_kernel(sphere):
    # It is off by about TIME * step / 6 in the mean cosine, far below what 5,000 walkers show.
    assert p_value(angles(sphere, 3, method="geodesic")) > 0.01


def test_without_drift_the_distribution_is_another(sphere):
    assert p_value(angles(sphere, 12, n_walkers=2000, drift=False)) < 1e-3


def mean_embedding_error(space, step, **options):
    """Error of E[F] after one step: coordinates of the sphere decay by exp(-t) in the mean."""
    quadrature = distributions.QuadratureState(12)
    start = array(np.tile(START, (len(quadrature.weights), 1)))
    motion = BrownianMotion(space, random_state=quadrature, max_change=None, **options)
    end = torch.as_tensor(host(motion.sample_path(step, 1, start)))[:, -1]
    mean = torch.as_tensor(quadrature.weights) @ distributions.lambert(end)
    exact = np.exp(-step) * distributions.lambert(torch.as_tensor(START))
    return float((mean - exact).norm())


@pytest.mark.parametrize(
    ("options", "expected"),
    [({}, 2), ({"method": "geodesic"}, 2), ({"drift": False}, 1)],
    ids=["euler", "geodesic", "without drift"],
)
def test_local_weak_order(sphere, options, expected):
    steps = np.array([0.02, 0.01, 0.005])
    errors = [mean_embedding_error(sphere, step, **options) for step in steps]
    order = np.polyfit(np.log(steps), np.log(errors), 1)[0]
    assert expected - 0.1 < order < expected + 0.1


@pytest.fixture(scope="module")
def torus():
    return distributions.plane_with(distributions.TorusMetric)


def tube_angles(space, **options):
    start = array(np.random.default_rng(1).uniform(-np.pi, np.pi, (2000, 2)))
    motion = BrownianMotion(space, random_state=0, **options)
    walk = motion.sample_walk(10.0, 150, start, every=150)
    return distributions.wrap(host(walk.points)[:, -1, 0])


def test_in_the_long_run_the_distribution_is_riemannian_volume(torus):
    assert stats.kstest(tube_angles(torus), distributions.tube_cdf).pvalue > 0.01


def test_in_the_long_run_the_distribution_without_drift_is_another(torus):
    sample = tube_angles(torus, drift=False)
    assert stats.kstest(sample, distributions.tube_cdf).pvalue < 1e-3
    # The tube angle has the constant coefficient 1 / r^2: without drift it becomes uniform.
    assert stats.kstest(sample, stats.uniform(-np.pi, 2.0 * np.pi).cdf).pvalue > 0.01


def test_drift_is_the_trace_of_the_connection():
    metric = LatentSpace(vae_like_decoder(), 2).metric
    z = array([[0.3, -0.4], [1.0, 0.2]])
    gamma, cometric = host(metric.christoffels(z)), host(metric.cometric_matrix(z))
    drift = -0.5 * np.einsum("nkij,nij->nk", gamma, cometric)
    space, step = LatentSpace(vae_like_decoder(), 2), 0.01
    with_drift, without = (
        host(
            BrownianMotion(space, drift=drift, max_change=None, random_state=0).sample_path(
                step, 1, z
            )
        )[:, -1]
        for drift in (True, False)
    )
    np.testing.assert_allclose(with_drift - without, step * drift, rtol=1e-9)


def test_any_metric_of_geomstats_walks_as_the_decoder_of_the_same_surface():
    start = array([[0.5, 0.2], [2.0, -1.0]])
    ours = BrownianMotion(LatentSpace(surfaces.torus, 2), random_state=0)
    theirs = BrownianMotion(distributions.plane_with(distributions.TorusMetric), random_state=0)
    paths = (host(motion.sample_path(0.5, 10, start)) for motion in (ours, theirs))
    np.testing.assert_allclose(*paths, rtol=1e-9, atol=1e-12)


def test_walks_on_euclidean_space_are_sums_of_noise():
    start = array([[0.5, 0.2, 1.0], [2.0, -1.0, 0.0]])
    path = host(BrownianMotion(Euclidean(3), random_state=3).sample_path(2.0, 8, start))
    noise = np.random.RandomState(3).standard_normal((8, 2, 3))
    np.testing.assert_allclose(
        path[:, 1:], host(start)[:, None] + 0.5 * noise.cumsum(0).swapaxes(0, 1), rtol=1e-12
    )


def test_a_scaled_metric_walks_in_scaled_time():
    space, start = LatentSpace(surfaces.torus, 2), array([[0.5, 0.2]])
    plain = BrownianMotion(space, random_state=0).sample_path(0.5, 5, start)
    space.metric = 4.0 * space.metric
    scaled = BrownianMotion(space, random_state=0).sample_path(2.0, 5, start)
    np.testing.assert_allclose(host(scaled), host(plain), rtol=1e-9)


def test_steps_are_shorter_where_the_metric_changes_fast():
    # Near the pole of spherical coordinates the symbols are of the size 1 / colatitude.
    space = LatentSpace(surfaces.spherical, 2)
    motion = BrownianMotion(space, random_state=0)
    walk = motion.sample_walk(0.01, 1, array([[1.5, 0.0], [0.05, 0.0]]))
    n_equator, n_pole = host(walk.n_substeps)
    assert n_equator == 1
    assert 1 < n_pole <= 2 * motion.max_substeps


def test_a_latent_walk_stays_finite_in_a_box():
    space = LatentSpace(vae_like_decoder(), 2, on_failure="raise")
    box = np.array([[-2.0, -2.0], [2.0, 2.0]])
    start = array(np.random.default_rng(0).uniform(-1.0, 1.0, (20, 2)))
    path = host(BrownianMotion(space, domain=box, random_state=0).sample_path(10.0, 100, start))
    assert (np.abs(path) <= 2.0).all()
