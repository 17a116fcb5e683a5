"""Frechet means: closed forms, and the equation that defines them."""

import numpy as np
import pytest
import torch
from geomstats.geometry.euclidean import Euclidean
from geomstats.geometry.hypersphere import Hypersphere
from geomstats.geometry.poincare_ball import PoincareBall

from geomstats_vae import LatentSpace
from geomstats_vae.estimators.frechet import frechet_means, newton_ahead
from geomstats_vae.manifolds.geometries import geometry_of
from tests import surfaces
from tests.estimators.counter import Counter
from tests.manifolds import spaces

LABELS = np.arange(30) % 3

# geomstats' exponential of the Poincare ball loses the digits of vectors below about 1e-8.
TOL = 1e-6


def on_sphere(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


# The hyperbolic points reach out to distance 4, where the curvature of the variance, r coth r, is
# far from the 1 of flat space that the first step is made for.
SPACES = {
    "euclidean": (Euclidean(3), spaces.draw(30, 3)),
    "sphere": (Hypersphere(2), on_sphere(spaces.draw(30, 3, shift=np.array([1.5, 0.0, 0.0])))),
    "hyperbolic": (
        PoincareBall(2),
        0.96 * on_sphere(spaces.draw(30, 2)) * np.sqrt(0.5 + LABELS[:, None] / 4),
    ),
}


@pytest.fixture(params=SPACES)
def case(request):
    space, X = SPACES[request.param]
    return geometry_of(space), X


@pytest.fixture(scope="module")
def weights():
    return np.random.default_rng(1).uniform(0.5, 2.0, 30)


def test_mean_logarithm_vanishes(case, weights):
    geometry, X = case
    means = frechet_means(geometry, X, LABELS, weights, X[:3], tol=TOL)
    assert means.converged.all()
    logs = geometry.logs(means.points[LABELS], X).velocity
    for group in range(3):
        rows = group == LABELS
        mean_log = np.average(logs[rows], axis=0, weights=weights[rows])
        square = geometry.inner_products(mean_log, mean_log, means.points[group])
        np.testing.assert_allclose(np.sqrt(square), 0.0, atol=2.0 * TOL)


def test_geodesics_and_variance_are_those_of_the_means(case, weights):
    geometry, X = case
    means = frechet_means(geometry, X, LABELS, weights, X[:3], tol=TOL)
    length, _ = geometry.lengths(means.points[LABELS], X)
    np.testing.assert_allclose(means.geodesics.length, length, atol=1e-7)
    for group in range(3):
        rows = group == LABELS
        expected = np.average(length[rows] ** 2, weights=weights[rows])
        np.testing.assert_allclose(means.variance[group], expected, rtol=1e-7)


def test_groups_are_independent(case, weights):
    geometry, X = case
    together = frechet_means(geometry, X, LABELS, weights, X[:3], tol=TOL)
    for group in range(3):
        rows = group == LABELS
        zeros = np.zeros(rows.sum(), dtype=int)
        start = X[group : group + 1]
        alone = frechet_means(geometry, X[rows], zeros, weights[rows], start, tol=TOL)
        np.testing.assert_allclose(alone.points[0], together.points[group], atol=1e-12)


def test_euclidean_mean_is_the_average_after_one_step(weights):
    space, X = SPACES["euclidean"]
    means = frechet_means(geometry_of(space), X, LABELS, weights, X[:3], tol=1e-12)
    expected = [
        np.average(X[group == LABELS], axis=0, weights=weights[group == LABELS])
        for group in range(3)
    ]
    np.testing.assert_allclose(means.points, expected, atol=1e-14)
    assert means.n_iter == 1


def test_pole_is_the_mean_of_a_circle_of_latitude():
    angle = 2.0 * np.pi * np.arange(7) / 7
    X = np.stack((0.6 * np.cos(angle), 0.6 * np.sin(angle), np.full(7, 0.8)), axis=1)
    zeros = np.zeros(7, dtype=int)
    geometry = geometry_of(Hypersphere(2))
    means = frechet_means(geometry, X, zeros, np.ones(7), X[:1], tol=1e-10)
    np.testing.assert_allclose(means.points[0], [0.0, 0.0, 1.0], atol=1e-9)
    # All at the colatitude whose sine is 0.6.
    np.testing.assert_allclose(means.variance[0], np.arcsin(0.6) ** 2, rtol=1e-9)


def test_steps_never_raise_the_variance_without_nearing_the_mean(case, weights):
    geometry, X = case
    before = None
    for max_iter in range(6):
        means = frechet_means(geometry, X, LABELS, weights, X[:3], max_iter=max_iter)
        if before is not None:
            better = (means.variance <= before.variance) | (means.residual <= before.residual)
            assert better.all()
        before = means


def test_steps_taken_one_by_one_are_the_same_descent(case, weights):
    geometry, X = case
    means = frechet_means(geometry, X, LABELS, weights, X[:3], max_iter=0)
    for _ in range(4):
        means = frechet_means(
            geometry,
            X,
            LABELS,
            weights,
            means.points,
            geodesics=means.geodesics,
            move=means.move,
            one_step=True,
        )
    residual = frechet_means(geometry, X, LABELS, weights, X[:3], max_iter=0).residual
    assert (means.residual < 0.05 * residual).all()


def test_known_geodesics_are_not_found_again(weights):
    space, X = SPACES["sphere"]
    means = frechet_means(geometry_of(space), X, LABELS, weights, X[:3], tol=TOL)
    counter = Counter()
    again = frechet_means(
        geometry_of(space, progress=counter),
        X,
        LABELS,
        weights,
        means.points,
        geodesics=means.geodesics,
        tol=2.0 * TOL,
    )
    assert again.n_iter == counter.n == 0
    np.testing.assert_array_equal(again.points, means.points)


def test_group_without_weight_stays(weights):
    space, X = SPACES["sphere"]
    start = np.concatenate((X[:3], X[7:8]))
    means = frechet_means(geometry_of(space), X, LABELS, weights, start, tol=TOL)
    np.testing.assert_array_equal(means.points[3], X[7])
    assert means.converged.all()


@spaces.on_numpy_alone
def test_decoder_of_the_sphere_agrees_with_the_sphere(weights):
    """Stereographic codes of the sphere have the sphere's means."""
    codes, labels, weights = spaces.draw(9, 2, scale=0.4), LABELS[:9], weights[:9]
    geometry = geometry_of(LatentSpace(surfaces.closed_sphere(), 2, on_failure="raise"))
    ours = frechet_means(geometry, codes, labels, weights, codes[:3], tol=1e-6)
    X = surfaces.sphere(torch.tensor(codes)).numpy()
    sphere = geometry_of(Hypersphere(2))
    theirs = frechet_means(sphere, X, labels, weights, X[:3], tol=1e-9)
    embedded = surfaces.sphere(torch.tensor(ours.points)).numpy()
    np.testing.assert_allclose(embedded, theirs.points, atol=1e-5)
    np.testing.assert_allclose(ours.variance, theirs.variance, rtol=1e-5)
    assert ours.converged.all()


@spaces.on_numpy_alone
def test_newton_step_ahead_squares_the_residual(weights):
    """Of means that are converged; others stay, as they do without weight."""
    codes, labels = spaces.draw(30, 2, scale=0.4), LABELS
    geometry = geometry_of(LatentSpace(surfaces.closed_sphere(), 2, on_failure="raise"))
    weights = np.where(labels == 2, 0.0, weights)
    near = frechet_means(geometry, codes, labels, weights, codes[:3], rtol=0.05, newton=True)
    assert near.converged.all()
    ahead = newton_ahead(geometry, labels, weights, near)
    after = frechet_means(geometry, codes, labels, weights, ahead, max_iter=0)
    # In units of the spread.
    spread = np.sqrt(near.variance[:2])
    before, after = near.residual[:2] / spread, after.residual[:2] / spread
    assert (before > 1e-4).all()
    assert (after < np.maximum(2.0 * before**2, 1e-6)).all()
    np.testing.assert_array_equal(ahead[2], codes[2])
    late = near._replace(converged=np.array([False, True, True]))
    np.testing.assert_array_equal(
        newton_ahead(geometry, labels, weights, late), np.where([[0], [1], [1]], ahead, near.points)
    )
