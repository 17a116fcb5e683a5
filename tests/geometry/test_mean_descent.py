"""Means and curves that descend together, against closed forms in six dimensions."""

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans

from geomstats_vae import FrechetMean, GeodesicKMeans, LatentSpace
from geomstats_vae.geodesics.deadline import Deadline
from geomstats_vae.geodesics.descent import SineCurves
from geomstats_vae.geometry import OutOfTimeError, fans
from geomstats_vae.geometry.mean_descent import Fans, Stage, descend_to_means
from geomstats_vae.manifolds.arrays import to_host
from geomstats_vae.manifolds.geometries import geometry_of
from geomstats_vae.volume.cut_points import is_shortest
from tests import surfaces
from tests.manifolds import spaces

pytestmark = spaces.on_numpy_alone

DIM = 6
RNG = np.random.default_rng(3)
PLANE = torch.nn.Linear(DIM, 9).double().eval()
with torch.no_grad():
    PLANE.weight.copy_(torch.as_tensor(RNG.standard_normal((9, DIM)) * np.arange(1.0, 7.0)))
    PLANE.bias.zero_()
CODES = RNG.standard_normal((24, DIM))
LABELS = np.arange(24) % 3
WEIGHTS = RNG.uniform(0.5, 2.0, 24)
STAGES = (*(fans.FIRST_STAGE, fans.ROUGH_STAGE), *fans.LAST_STAGES)


def geometry_on(decoder, codes=None):
    return geometry_of(LatentSpace(decoder, DIM, points=codes))


def sphere(z):
    return surfaces.sphere(0.2 * z)


def averages():
    means = [np.average(CODES[k == LABELS], axis=0, weights=WEIGHTS[k == LABELS]) for k in range(3)]
    return np.stack(means)


def on_sphere(codes):
    return sphere(torch.as_tensor(codes)).numpy()


def mean_on_sphere(codes, weights):
    """By projected iterations in the space around the sphere."""
    x = on_sphere(codes)
    mean = x[0]
    for _ in range(200):
        cosine = x @ mean
        across = x - cosine[:, None] * mean
        size = np.linalg.norm(across, axis=1, keepdims=True)
        logs = across * np.arctan2(size, cosine[:, None]) / np.maximum(size, 1e-300)
        step = np.average(logs, axis=0, weights=weights)
        norm = np.linalg.norm(step)
        mean = np.cos(norm) * mean + np.sin(norm) * step / max(norm, 1e-300)
    return mean


def test_means_in_flat_space_are_averages():
    geometry = geometry_on(PLANE)
    first = fans.fans_of(CODES, LABELS, CODES[:3])
    found = fans.descend_fans(geometry, first, LABELS, WEIGHTS, STAGES)
    np.testing.assert_allclose(found.means, averages(), atol=1e-3)
    expected = np.linalg.norm(
        (CODES - found.means[LABELS]) @ PLANE.weight.detach().numpy().T, axis=1
    )
    np.testing.assert_allclose(found.length, expected, rtol=1e-4)
    np.testing.assert_array_equal(found.curves.start, found.means[LABELS])


def test_means_on_the_sphere():
    geometry = geometry_on(sphere)
    first = fans.fans_of(CODES, LABELS, CODES[:3])
    found = fans.descend_fans(geometry, first, LABELS, WEIGHTS, STAGES)
    for k in range(3):
        some = k == LABELS
        expected = mean_on_sphere(CODES[some], WEIGHTS[some])
        spread = np.sqrt(np.average(found.length[some] ** 2, weights=WEIGHTS[some]))
        off = np.linalg.norm(on_sphere(found.means[k : k + 1])[0] - expected)
        assert off < 5e-3 * spread


def test_groups_do_not_know_of_each_other():
    geometry = geometry_on(sphere)
    stages = (fans.ROUGH_STAGE,)
    both = fans.descend_fans(
        geometry, fans.fans_of(CODES, LABELS, CODES[:3]), LABELS, WEIGHTS, stages
    )
    some = LABELS == 1
    first = fans.fans_of(CODES[some], np.zeros(some.sum(), dtype=int), CODES[1:2])
    alone = fans.descend_fans(
        geometry, first, np.zeros(some.sum(), dtype=int), WEIGHTS[some], stages
    )
    np.testing.assert_allclose(both.means[1], alone.means[0], atol=1e-7)


def test_what_has_no_say_moves_nothing():
    def decoder(z):  # not finite where the first coordinate is large
        return torch.where(z[:, :1] > 50.0, torch.nan, PLANE(z))

    geometry = geometry_on(decoder)
    X, labels = np.concatenate((CODES, CODES[:1] + 100.0)), np.append(LABELS, 0)
    weights = np.append(WEIGHTS, 1.0)
    start = np.concatenate((CODES[:3], np.full((1, DIM), 7.0)))  # the last group is empty
    found = fans.descend_fans(geometry, fans.fans_of(X, labels, start), labels, weights, STAGES)
    np.testing.assert_allclose(found.means[:3], averages(), atol=1e-3)
    np.testing.assert_array_equal(found.means[3], start[3])
    assert np.isnan(found.length[-1])
    assert np.isfinite(found.length[:-1]).all()


def test_energy_does_not_rise_and_time_ends():
    immersion = geometry_on(sphere).immersion()
    first = SineCurves(CODES[:3][LABELS], CODES, RNG.normal(0.0, 0.3, (24, 4, DIM)))
    data = immersion, first, LABELS, WEIGHTS, CODES[:3], Stage(8, 4, 1e-4)
    none = descend_to_means(*data, deadline=Deadline.after(0.0))
    np.testing.assert_allclose(none.means, CODES[:3])
    done = descend_to_means(*data)
    assert WEIGHTS @ done.length**2 < 0.7 * (WEIGHTS @ none.length**2)
    late = geometry_on(sphere).working(deadline=Deadline.after(0.0))
    with pytest.raises(OutOfTimeError):
        fans.descend_fans(late, fans.fans_of(CODES, LABELS, CODES[:3]), LABELS, WEIGHTS, STAGES)


def test_graph_paths_take_the_place_of_worse_curves():
    geometry = geometry_on(PLANE, CODES)
    start, end = CODES[:10], CODES[10:20]
    wild = SineCurves(start, end, RNG.normal(0.0, 5.0, (10, 12, DIM)))
    chords = geometry.bounds.chords(end, start).diagonal()
    given = Fans(start, wild, np.full(10, 1e3))
    found = fans.look_around(geometry, given, fans.ROUGH_STAGE)
    np.testing.assert_allclose(found.length, chords, rtol=1e-2)
    kept = fans.look_around(geometry, found._replace(length=chords.copy()), fans.ROUGH_STAGE)
    np.testing.assert_array_equal(kept.length, chords)
    _, rough = fans.rough_curves(geometry, start, end, fans.ROUGH_STAGE)
    np.testing.assert_allclose(rough, chords, rtol=1e-2)


def test_curves_are_a_guess_of_geodesics():
    X, labels = CODES[:6], np.zeros(6, dtype=int)
    geometry = geometry_on(sphere, CODES).with_tol(1e-3)
    found = fans.fans_of(X, labels, 0.1 * CODES[:1])
    found = fans.descend_fans(geometry, found, labels, np.ones(6), STAGES)
    guess = fans.keep_fans(geometry, found)
    assert all(curve is not None for curve in guess)
    led = geometry.logs(found.means[labels], X, guess=guess)
    assert led.converged.all()
    exact = surfaces.sphere_distance(*(0.2 * torch.as_tensor(a) for a in (found.curves.start, X)))
    np.testing.assert_allclose(led.length, exact, rtol=1e-3)
    again = fans.fans_of(X, labels, found.means, led.curves)
    t = np.linspace(0.1, 0.9, 5)
    np.testing.assert_allclose(again.curves(t), found.curves(t), atol=2e-2)


def test_frechet_mean_is_certified_in_few_geodesics(monkeypatch):
    space = LatentSpace(sphere, DIM, points=CODES, on_failure="raise")
    asked = []
    solve = type(geometry_of(space).solver).solve

    def counted(self, immersion, start, *others, **options):
        asked.append(len(start))
        return solve(self, immersion, start, *others, **options)

    monkeypatch.setattr(type(geometry_of(space).solver), "solve", counted)
    mean = FrechetMean(space).fit(CODES)
    assert mean.converged_
    assert mean.residual_ <= 1e-2
    assert sum(asked) <= 2 * len(CODES)
    expected = mean_on_sphere(CODES, np.ones(len(CODES)))
    off = np.linalg.norm(on_sphere(to_host(mean.estimate_)[None])[0] - expected)
    assert off < 1.5e-2 * np.sqrt(mean.variance_)


def test_kmeans_in_flat_space_is_that_of_scikit_learn():
    X = np.concatenate((CODES, CODES + 3.0, CODES * [1, 1, 1, 1, 1, -1] - 3.0))
    space = LatentSpace(PLANE, DIM, points=X, on_failure="raise")
    images = PLANE(torch.as_tensor(X)).detach().numpy()
    init = X[[0, 24, 48]]
    ours = GeodesicKMeans(space, 3, init=init).fit(X)
    theirs = KMeans(3, init=images[[0, 24, 48]], n_init=1).fit(images)
    np.testing.assert_array_equal(ours.labels_, theirs.labels_)
    assert ours.inertia_ == pytest.approx(theirs.inertia_, rel=2e-3)
    assert ours.n_failed_ == 0


def test_rough_curves_leave_the_answer_to_geodesics():
    geometry = geometry_on(sphere).with_tol(1e-3)
    base, far = np.zeros(DIM), CODES[:8]
    distance = geometry.lengths(base, far).length
    shortest, n_failed = is_shortest(geometry, base, far, distance)
    assert shortest.all()
    longer, _ = is_shortest(geometry, base, far, distance * np.repeat([1.005, 1.1], 4))
    assert not longer.any()
    assert n_failed == 0
