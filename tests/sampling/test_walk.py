import numpy as np
import pytest
import torch
from geomstats.geometry.euclidean import Euclidean
from geomstats.geometry.hypersphere import Hypersphere
from geomstats.information_geometry.beta import BetaDistributions

from geomstats_vae.geodesics.flow.exponential import ExponentialSolver
from geomstats_vae.geometry import local
from geomstats_vae.manifolds import LatentSpace
from geomstats_vae.sampling import (
    BrownianMotion,
    LangevinDynamics,
    RandomWalkError,
    RandomWalkWarning,
    WalkStatus,
)
from geomstats_vae.sampling.walk import Walkers
from tests.geodesics.test_deadline import Steps
from tests.manifolds.spaces import ON_TORCH, array, host, vae_like_decoder

START = [[0.3, -0.4], [1.0, 0.2], [0.0, 0.5]]


def level(z):
    return -0.5 * (z**2).sum(-1)


SAMPLERS = {
    "euler": BrownianMotion,
    "geodesic": lambda space, **options: BrownianMotion(space, method="geodesic", **options),
    "langevin": lambda space, **options: LangevinDynamics(space, level, **options),
}


@pytest.fixture(params=SAMPLERS)
def sampler(request):
    return SAMPLERS[request.param]


@pytest.fixture(scope="module")
def space():
    return LatentSpace(vae_like_decoder(), 2)


@pytest.mark.parametrize("shape", [(2,), (1, 2), (3, 2), (2, 3, 2), (0, 2)])
def test_paths_have_the_shape_of_their_starts(sampler, space, shape):
    start = array(np.resize(START, shape))
    path = sampler(space, random_state=0).sample_path(0.1, 4, start)
    assert host(path).shape == (*shape[:-1], 5, 2)
    np.testing.assert_array_equal(host(path)[..., 0, :], host(start))


def test_shape_does_not_change_the_paths(sampler, space):
    flat = array(np.resize(START, (6, 2)))
    ours, theirs = (
        host(sampler(space, random_state=0).sample_path(0.1, 4, start))
        for start in (flat, flat.reshape(2, 3, 2))
    )
    np.testing.assert_array_equal(ours, theirs.reshape(ours.shape))


def test_same_seed_same_paths(sampler, space):
    start = array(START)
    first, second, other = (
        host(sampler(space, random_state=seed).sample_path(0.1, 4, start)) for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, second)
    assert (first[:, 1:] != other[:, 1:]).any()


def test_a_generator_goes_on(space):
    motion = BrownianMotion(space, random_state=np.random.RandomState(0))
    first, second = (host(motion.sample_path(0.1, 4, array(START))) for _ in range(2))
    assert (first[:, 1:] != second[:, 1:]).all()


def test_global_random_states_are_left_alone(sampler, space):
    before = np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    sampler(space, random_state=0).sample_path(0.1, 4, array(START))
    np.testing.assert_array_equal(np.random.get_state()[1], before[0])  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), before[1])


def test_the_start_is_not_written_into(sampler, space):
    start = array(START)
    path = sampler(space, random_state=0).sample_path(0.1, 4, start)
    np.testing.assert_array_equal(host(start), START)
    path[...] = 0.0
    np.testing.assert_array_equal(host(start), START)


def test_every_kth_point_is_kept(sampler, space):
    whole, thin = (
        sampler(space, random_state=0).sample_walk(0.3, 12, array(START), every=every)
        for every in (1, 4)
    )
    np.testing.assert_array_equal(host(thin.points), host(whole.points)[:, ::4])
    np.testing.assert_allclose(host(thin.times), [0.0, 0.1, 0.2, 0.3])


def test_results_come_in_the_type_of_the_input(space):
    start = array(START)
    if ON_TORCH:
        start = start.float().requires_grad_()
    walk = BrownianMotion(space, random_state=0).sample_walk(0.1, 2, start)
    assert walk.points.dtype == walk.times.dtype == start.dtype
    assert not ON_TORCH or not walk.points.requires_grad


def test_completed_walks_say_so(sampler, space):
    walk = sampler(space, random_state=0).sample_walk(0.1, 4, array(START))
    assert (host(walk.status) == WalkStatus.COMPLETED).all()
    np.testing.assert_allclose(host(walk.stop_time), 0.1)
    assert (host(walk.n_substeps) >= 4).all()


def half_line(z):
    """Constant, and so singular, where the first coordinate is negative."""
    return torch.cat((z[:, :1].clamp_min(0.0) ** 2 + 1.0, z), dim=1) * (z[:, :1] > 0)


def not_finite(z):
    """Not a number where the first coordinate is negative."""
    return torch.cat((z, 0.0 * torch.sqrt(z[:, :1])), dim=1)


@pytest.mark.parametrize(
    ("decoder", "expected"),
    [(half_line, WalkStatus.SINGULAR), (not_finite, WalkStatus.NON_FINITE)],
    ids=["singular", "not finite"],
)
def test_walkers_stop_where_there_is_no_metric(decoder, expected):
    space = LatentSpace(decoder, 2)
    start = array([[0.5, 0.0], [-0.5, 0.0], [0.5, 1.0]])
    motion = BrownianMotion(space, max_change=None, random_state=0)
    with pytest.warns(RandomWalkWarning, match=f"walkers stopped.*{expected.name}") as caught:
        walk = motion.sample_walk(1e-4, 3, start)
    (warning,) = (entry for entry in caught if entry.category is RandomWalkWarning)
    assert warning.filename == __file__
    assert host(walk.status).tolist() == [0, expected, 0]
    np.testing.assert_array_equal(host(walk.points)[1], [[-0.5, 0.0]] * 4)
    np.testing.assert_allclose(host(walk.stop_time), [1e-4, 0.0, 1e-4])
    np.testing.assert_array_equal(host(walk.n_substeps), [3, 0, 3])


def test_failures_follow_the_policy_of_the_metric():
    start = array([[-0.5, 0.0]])
    quiet = LatentSpace(half_line, 2, on_failure="ignore")
    BrownianMotion(quiet, random_state=0).sample_path(0.1, 2, start)
    strict = LatentSpace(half_line, 2, on_failure="raise")
    with pytest.raises(RandomWalkError, match="SINGULAR"):
        BrownianMotion(strict, random_state=0).sample_path(0.1, 2, start)


def test_a_geodesic_that_cannot_be_followed_stops_its_walker():
    space = LatentSpace(not_finite, 2, exponential=ExponentialSolver(max_steps=15))
    motion = BrownianMotion(space, method="geodesic", random_state=1)
    start = array([[0.02, 0.0]] * 8 + [[9.0, 0.0]])
    with pytest.warns(RandomWalkWarning, match="LOST"):
        walk = motion.sample_walk(0.1, 2, start)
    points = host(walk.points)
    assert np.isfinite(points).all()
    assert WalkStatus.LOST in host(walk.status)[:8]
    assert host(walk.status)[8] == WalkStatus.COMPLETED


def test_many_walkers_step_as_few_do(monkeypatch):
    """More than are evaluated at once; the walks of each are independent of the others."""
    monkeypatch.setattr(local, "_CHUNK_ENTRIES", 1)
    assert local.CHUNK_SIZE < 1500
    space, n = LatentSpace(vae_like_decoder(), 2), 1500
    start = array(np.random.default_rng(0).uniform(-1.0, 1.0, (n, 2)))
    noise = np.random.RandomState(0).standard_normal((n, 2))
    many, few = (
        host(
            BrownianMotion(space, random_state=Drawn(noise[rows])).sample_path(0.1, 1, start[rows])
        )
        for rows in (slice(None), slice(700, 710))
    )
    np.testing.assert_allclose(many[700:710], few, rtol=1e-12)


class Drawn(np.random.RandomState):
    """A source of noise that was drawn before."""

    def __new__(cls, noise):
        return super().__new__(cls, 0)

    def __init__(self, noise):
        super().__init__(0)
        self.noise = noise

    def standard_normal(self, size=None):
        assert size == self.noise.shape
        return self.noise


def test_a_step_out_of_the_space_stops_its_walker():
    motion = BrownianMotion(BetaDistributions(), drift=False, random_state=0, max_change=None)
    with pytest.warns(RandomWalkWarning, match="OUTSIDE"):
        walk = motion.sample_walk(5.0, 2, array([[1.0, 1.0]] * 20))
    assert (host(walk.points) >= 0.0).all()
    assert WalkStatus.OUTSIDE in host(walk.status)


def test_short_steps_stay_in_the_space():
    path = BrownianMotion(BetaDistributions(), random_state=0).sample_path(
        0.5, 50, array([[1.0, 2.0]] * 20)
    )
    assert (host(path) > 0.0).all()


@pytest.mark.parametrize("end_time", [0.0, -1.0, np.inf, np.nan])
def test_end_time_must_be_positive(sampler, space, end_time):
    with pytest.raises(ValueError, match="positive and finite end_time"):
        sampler(space).sample_path(end_time, 2, array(START))


@pytest.mark.parametrize("n_steps", [0, -1, 1.5])
def test_n_steps_must_be_a_positive_integer(sampler, space, n_steps):
    with pytest.raises(ValueError, match="positive integer as n_steps"):
        sampler(space).sample_path(1.0, n_steps, array(START))


def test_every_must_divide_the_steps(space):
    with pytest.raises(ValueError, match="Expected every to divide n_steps=10, got 3"):
        BrownianMotion(space).sample_walk(1.0, 10, array(START), every=3)


@pytest.mark.parametrize(
    ("start", "message"),
    [
        ([[0.0, 1.0, 2.0]], r"Expected initial_points of shape \[..., 2\]"),
        ([[0.0, np.nan]], "Expected finite initial_points"),
    ],
)
def test_initial_points_must_be_codes(sampler, space, start, message):
    with pytest.raises(ValueError, match=message):
        sampler(space).sample_path(1.0, 2, array(start))


def test_initial_points_must_be_in_the_space():
    with pytest.raises(ValueError, match="1 of 2 outside of BetaDistributions"):
        BrownianMotion(BetaDistributions()).sample_path(1.0, 2, array([[1.0, 1.0], [1.0, -1.0]]))


def test_a_metric_of_embedded_points_is_refused():
    # geomstats' metric of the sphere takes spherical coordinates for three embedded ones.
    motion = BrownianMotion(Hypersphere(2, intrinsic=True))
    with pytest.raises(ValueError, match="metric_matrix in intrinsic coordinates"):
        motion.sample_path(1.0, 2, array([[1.0, 1.0]]))


def test_spaces_must_be_intrinsic_and_have_a_metric(sampler):
    with pytest.raises(ValueError, match="intrinsic coordinates"):
        sampler(Hypersphere(2))
    with pytest.raises(ValueError, match="space with a metric"):
        sampler(Euclidean(2, equip=False))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "heun"}, "Expected method to be one of"),
        ({"boundary": "wrap"}, "Expected boundary to be one of"),
        ({"method": "geodesic", "drift": False}, "Expected drift=True for method='geodesic'"),
        ({"max_change": 0.0}, "Expected max_change > 0"),
        ({"max_substeps": 0}, "Expected max_substeps >= 1"),
        ({"rtol": 0.0}, "Expected rtol between 0 and 1"),
    ],
)
def test_options_are_checked(space, options, message):
    with pytest.raises(ValueError, match=message):
        BrownianMotion(space, **options)


# -- limits of time, interrupts --------------------------------------------------------------------


def stopped(sampler, space, match, **options):
    made = sampler(space, random_state=0, **options)
    with pytest.warns(RandomWalkWarning, match=match):
        return made.sample_walk(0.1, 6, array(START), every=2)


def check_prefix(walk, whole, n_kept, status):
    """The paths are those of a whole walk up to some point, and stay there."""
    points = host(walk.points)
    np.testing.assert_array_equal(host(walk.status), np.full(3, status))
    np.testing.assert_array_equal(points[:, :n_kept], host(whole.points)[:, :n_kept])
    np.testing.assert_array_equal(points[:, n_kept:], points[:, -1:].repeat(4 - n_kept, axis=1))
    assert (host(walk.stop_time) < 0.1).all()


def test_walkers_that_are_out_of_time_stop_where_they_are(sampler, space, monkeypatch):
    whole = sampler(space, random_state=0).sample_walk(0.1, 6, array(START), every=2)
    clock = Steps(10**9)
    monkeypatch.setattr("geomstats_vae.geodesics.deadline.time", clock)
    sampler(space, random_state=0, max_seconds=1.0).sample_walk(0.1, 6, array(START), every=2)
    n_looks = 10**9 - clock.n_looks
    for share, n_kept in ((0.0, 1), (0.7, 2)):
        monkeypatch.setattr(
            "geomstats_vae.geodesics.deadline.time", Steps(max(2, int(share * n_looks)))
        )
        walk = stopped(sampler, space, "raise max_seconds", max_seconds=1.0)
        check_prefix(walk, whole, n_kept, WalkStatus.OUT_OF_TIME)
        assert (host(walk.n_substeps) > 0).any() == (share > 0.0)


@pytest.mark.parametrize("policy", ["warn", "ignore"])
def test_interrupted_walks_are_not_lost(sampler, monkeypatch, policy):
    space = LatentSpace(vae_like_decoder(), 2)
    whole = sampler(space, random_state=0).sample_walk(0.1, 6, array(START), every=2)
    space.metric.on_failure = policy
    noise, calls = Walkers.noise, []

    def interrupted(self, n):
        calls.append(n)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return noise(self, n)

    monkeypatch.setattr(Walkers, "noise", interrupted)
    walk = stopped(sampler, space, "interrupted before the end")
    check_prefix(walk, whole, 2, WalkStatus.INTERRUPTED)


def test_progress_counts_steps(sampler, space, capsys):
    made = sampler(space, random_state=0, verbose=True)
    made.sample_walk(0.1, 6, array(START))
    assert "18/18" in capsys.readouterr().err


def test_negative_limits_are_refused(sampler, space):
    with pytest.raises(ValueError, match="max_seconds"):
        sampler(space, max_seconds=-1.0)
