import geomstats.backend as gs
import numpy as np
import pytest
from geomstats.geometry.euclidean import Euclidean
from scipy import stats

from geomstats_vae.estimators import LAND
from geomstats_vae.manifolds import LatentSpace
from geomstats_vae.sampling import LangevinDynamics, WalkStatus
from tests.manifolds.spaces import array, host, vae_like_decoder
from tests.sampling import distributions

CONCENTRATION = 2.0


@pytest.fixture(scope="module")
def torus():
    return distributions.plane_with(distributions.TorusMetric)


def log_density(z):
    return CONCENTRATION * gs.cos(z[..., 0])


def gradient(z):
    slope = -CONCENTRATION * gs.sin(z[..., 0])
    return gs.stack([slope, 0.0 * slope], axis=-1)


def in_the_long_run(space, end_time=12.0, n_steps=60, **options):
    dynamics = LangevinDynamics(space, log_density, random_state=0, **options)
    start = array(np.random.default_rng(1).uniform(-np.pi, np.pi, (3000, 2)))
    walk = dynamics.sample_walk(end_time, n_steps, start, every=n_steps)
    tube = distributions.wrap(host(walk.points)[:, -1, 0])
    cdf = lambda angle: distributions.tube_cdf(angle, lambda a: CONCENTRATION * np.cos(a))  # noqa: E731
    return walk, stats.kstest(tube, cdf).pvalue


@pytest.mark.parametrize("options", [{}, {"gradient": gradient}], ids=["differences", "gradient"])
def test_adjusted_walkers_have_the_distribution_of_the_density_for_volume(torus, options):
    walk, p_value = in_the_long_run(torus, **options)
    acceptance = host(walk.acceptance)
    assert 0.5 < acceptance.mean() < 1.0
    assert p_value > 0.01


def test_adjustment_makes_up_for_any_gradient(torus):
    walk, p_value = in_the_long_run(torus, gradient=lambda z: 0.0 * z)
    assert host(walk.acceptance).mean() < 0.95
    assert p_value > 0.01


def test_unadjusted_walkers_are_off_by_the_length_of_the_step(torus):
    long, short = (in_the_long_run(torus, end_time=9.0, n_steps=n, adjust=False) for n in (12, 180))
    assert long[1] < 1e-3
    assert short[1] > 0.01
    assert long[0].acceptance is None


def test_differences_find_the_gradient(torus):
    start = array([[0.5, 0.2], [-1.0, 1.0]])
    ours, theirs = (
        host(
            LangevinDynamics(
                torus, log_density, adjust=False, random_state=0, **options
            ).sample_path(1e-4, 1, start)
        )[:, -1]
        - host(start)
        for options in ({}, {"gradient": gradient})
    )
    # Differences by 0.1 sqrt(step): the error is that of a second-order formula.
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)


def test_walkers_take_the_distribution_of_land():
    codes = np.random.default_rng(0).multivariate_normal([1.0, -1.0], [[1.0, 0.6], [0.6, 0.8]], 100)
    land = LAND(Euclidean(2), random_state=0).fit(codes)
    dynamics = LangevinDynamics(land.space, land.score_samples, random_state=0)
    walk = dynamics.sample_walk(20.0, 40, array(np.tile(codes[:20], (50, 1))), every=40)
    end = host(walk.points)[:, -1]
    # Of 1,000 walkers, which have forgotten where they started.
    np.testing.assert_allclose(end.mean(axis=0), land.means_[0], atol=0.15)
    np.testing.assert_allclose(np.cov(end.T), np.cov(codes.T), atol=0.2)


def test_walkers_do_not_go_where_there_is_no_density():
    space = LatentSpace(vae_like_decoder(), 2)
    log_density = lambda z: gs.where(gs.sum(z**2, axis=-1) < 1.0, 0.0, -np.inf)  # noqa: E731
    start = array(np.zeros((10, 2)))
    walk = LangevinDynamics(space, log_density, random_state=0).sample_walk(4.0, 40, start)
    assert (np.linalg.norm(host(walk.points), axis=-1) < 1.0).all()
    assert 0.0 < host(walk.acceptance).min() < 1.0
    assert (host(walk.status) == WalkStatus.COMPLETED).all()


def test_a_start_without_density_is_refused(torus):
    dynamics = LangevinDynamics(torus, lambda z: gs.where(z[..., 0] > 0.0, 0.0, -np.inf))
    with pytest.raises(ValueError, match="others at 1 of 2"):
        dynamics.sample_path(1.0, 2, array([[1.0, 0.0], [-1.0, 0.0]]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"log_density": lambda z: z}, r"Expected log_density to return shape \[5\]"),
        (
            {"log_density": log_density, "gradient": lambda z: z[:, 0]},
            r"Expected gradient to return shape \[1, 2\]",
        ),
    ],
)
def test_shapes_of_functions_are_checked(torus, options, message):
    with pytest.raises(ValueError, match=message):
        LangevinDynamics(torus, **options).sample_path(1.0, 2, array([[1.0, 0.0]]))


def test_the_step_of_differences_must_be_positive(torus):
    with pytest.raises(ValueError, match="Expected difference_step > 0, got 0"):
        LangevinDynamics(torus, log_density, difference_step=0.0)


def test_functions_must_be_callable(torus):
    with pytest.raises(ValueError, match="Expected a callable as log_density, got int"):
        LangevinDynamics(torus, 3)
    with pytest.raises(ValueError, match="Expected a callable as gradient, got float"):
        LangevinDynamics(torus, log_density, gradient=1.0)
