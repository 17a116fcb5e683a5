from functools import partial

import numpy as np
import pytest
from geomstats.geometry.euclidean import Euclidean
from scipy import stats

from geomstats_vae.sampling import BrownianMotion, WalkStatus, domains
from tests import surfaces
from tests.manifolds.spaces import array, host
from tests.sampling import distributions

BOX = np.array([[0.2, 0.0], [1.7, 1.2]])
N_GRID = 300


def uniform_in_box(n, seed=0):
    return np.random.default_rng(seed).uniform(*BOX, (n, 2))


@pytest.fixture(scope="module")
def paraboloid():
    return distributions.plane_with(distributions.ParaboloidMetric)


def p_values(sample):
    """Of Kolmogorov and Smirnov's tests for area on the paraboloid, along two directions."""
    shares = (np.arange(N_GRID) + 0.5) / N_GRID
    cells = np.stack(np.meshgrid(shares, shares), axis=-1).reshape(-1, 2)
    cells = BOX[0] + cells * (BOX[1] - BOX[0])
    area = np.sqrt(1.0 + (cells**2).sum(1))
    found = []
    for direction in ([1.0, 1.0], [1.0, -1.0]):
        along = cells @ direction
        order = np.argsort(along)
        shares_below = np.cumsum(area[order]) / area.sum()
        cdf = partial(np.interp, xp=along[order], fp=shares_below)
        found.append(stats.kstest(sample @ direction, cdf).pvalue)
    return found


def in_the_long_run(space, n_steps=100, **options):
    motion = BrownianMotion(space, domain=BOX, random_state=0, **options)
    start = array(uniform_in_box(3000))
    return host(motion.sample_walk(3.0, n_steps, start, every=n_steps).points)[:, -1]


def test_reflected_walkers_are_spread_by_volume(paraboloid):
    assert min(p_values(in_the_long_run(paraboloid))) > 0.01


def test_a_fold_of_coordinates_is_no_reflection(paraboloid, monkeypatch):
    monkeypatch.setattr(domains, "local_normals", lambda metric, face: np.eye(2)[face])
    assert min(p_values(in_the_long_run(paraboloid))) < 1e-3


def test_without_drift_the_distribution_in_a_box_is_another(paraboloid):
    assert min(p_values(in_the_long_run(paraboloid, drift=False))) < 1e-3


def test_reflection_keeps_the_part_of_a_step_along_the_face():
    # In the skew plane reflection is Euclid's in its own flat coordinates.
    plane = surfaces.PLANE.numpy()
    metric = plane.T @ plane
    box = domains.Box(np.array([-np.inf, -np.inf]), np.array([1.0, np.inf]))
    start, end = np.array([[0.9, 0.3]]), np.array([[1.3, 0.1]])
    reflected = box.reflect(start, end, lambda z: np.tile(metric, (len(z), 1, 1)))[0]
    along = plane @ np.array([0.0, 1.0])  # the face's direction, in space
    moved = plane @ (reflected - end[0])
    assert reflected[0] == pytest.approx(0.7)
    assert moved @ along == pytest.approx(0.0, abs=1e-12)


def test_a_step_far_longer_than_the_box_ends_inside():
    motion = BrownianMotion(Euclidean(2), domain=BOX, max_change=None, random_state=0)
    path = host(motion.sample_path(1e6, 20, array(uniform_in_box(50))))
    assert (path >= BOX[0]).all()
    assert (path <= BOX[1]).all()


def test_absorbed_walkers_stay_at_the_edge_and_do_not_warn():
    motion = BrownianMotion(Euclidean(2), domain=BOX, boundary="absorb", random_state=0)
    walk = motion.sample_walk(0.5, 100, array(uniform_in_box(200)))
    absorbed = host(walk.status) == WalkStatus.ABSORBED
    assert 0 < absorbed.sum() < 200
    end = host(walk.points)[:, -1]
    to_edge = np.minimum(end - BOX[0], BOX[1] - end).min(axis=1)
    np.testing.assert_allclose(to_edge[absorbed], 0.0, atol=1e-14)
    assert (to_edge[~absorbed] > 0.0).all()
    first = np.rint(host(walk.stop_time)[absorbed] / 0.005).astype(int) + 1
    stays = [
        (row[k:] == row[k]).all() for row, k in zip(host(walk.points)[absorbed], first, strict=True)
    ]
    assert all(stays)
    assert (host(walk.stop_time)[~absorbed] == 0.5).all()


def test_absorption_in_an_interval_takes_the_time_it_takes():
    # The mean exit time of (0, 1) from x is x (1 - x); a discrete walk is late, as if the interval
    # were wider by 0.5826 sqrt(step) at each end (Chernoff; Siegmund 1985, section X.2).
    step = 4e-3
    motion = BrownianMotion(Euclidean(1), domain=[[0.0], [1.0]], boundary="absorb", random_state=0)
    walk = motion.sample_walk(2.0, 500, array(np.full((2000, 1), 0.3)), every=500)
    times = host(walk.stop_time) + 0.5 * step
    margin = 0.5826 * np.sqrt(step)
    expected = (0.3 + margin) * (0.7 + margin)
    assert abs(times.mean() - expected) < 3.0 * times.std() / np.sqrt(2000)


def test_a_region_given_by_a_function_absorbs():
    disc = lambda z: (z**2).sum(-1) < 1.0  # noqa: E731
    motion = BrownianMotion(Euclidean(2), domain=disc, boundary="absorb", random_state=0)
    walk = motion.sample_walk(10.0, 500, array(np.zeros((50, 2))), every=500)
    assert (host(walk.status) == WalkStatus.ABSORBED).all()
    radius = np.linalg.norm(host(walk.points)[:, -1], axis=1)
    np.testing.assert_allclose(radius, 1.0, rtol=1e-12)


@pytest.mark.parametrize(
    "domain", [[[0.0, 0.0], [1.0, -1.0]], [[0.0, 1.0]], [[0.0], [1.0]], [[0, 0], [np.nan, 1]]]
)
def test_corners_that_are_none_are_refused(domain):
    with pytest.raises(ValueError, match="lower and the upper corner of a box"):
        BrownianMotion(Euclidean(2), domain=domain)


def test_a_function_cannot_reflect():
    with pytest.raises(ValueError, match="has no normals"):
        BrownianMotion(Euclidean(2), domain=lambda z: z[:, 0] > 0)


def test_a_function_must_answer_for_every_row():
    motion = BrownianMotion(Euclidean(2), domain=lambda z: True, boundary="absorb")
    with pytest.raises(ValueError, match="Expected domain to return booleans of shape"):
        motion.sample_path(1.0, 1, array([[0.0, 0.0], [1.0, 1.0]]))


def test_walkers_start_in_the_domain():
    motion = BrownianMotion(Euclidean(2), domain=BOX)
    with pytest.raises(ValueError, match="1 of 2 outside"):
        motion.sample_path(1.0, 1, array([[0.5, 0.5], [3.0, 0.5]]))
