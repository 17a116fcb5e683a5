"""Mixtures on spaces of one dimension, of equal rows, and of weighted rows."""

import numpy as np
import pytest
import torch
from geomstats.geometry.hypersphere import Hypersphere
from scipy import stats
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

from geomstats_vae import LAND, LatentSpace
from geomstats_vae.geometry.decoder import DecoderGeometry
from geomstats_vae.manifolds.geometries import geometry_of
from geomstats_vae.volume.flat_quadrature import FlatQuadrature, is_flat
from geomstats_vae.volume.frames import frame_at
from tests import surfaces
from tests.manifolds import spaces

CODES = spaces.draw(60, 2)


# -- one dimension ---------------------------------------------------------------------------------


def catenary(z):
    """A curve whose arc length from 0 is sinh(z)."""
    return torch.cat((z, torch.cosh(z)), dim=-1)


LENGTHS = np.random.default_rng(0).normal(0.3, 0.8, 40)
ON_CURVE = np.arcsinh(LENGTHS)[:, None]


@pytest.fixture(scope="module", params=["codes", "no codes"])
def curve(request):
    points = spaces.array(ON_CURVE) if request.param == "codes" else None
    space = LatentSpace(catenary, 1, points=points, on_failure="raise")
    return LAND(space, n_normalizer_samples=64, random_state=0).fit(ON_CURVE)


def test_a_curve_is_a_line_of_its_arc_length(curve):
    # EM ends where a step promises a rise of less than tol, half of the square of its length.
    std, close = LENGTHS.std(), np.sqrt(2e-3) * LENGTHS.std()
    np.testing.assert_allclose(np.sinh(curve.means_[0, 0]), LENGTHS.mean(), atol=close)
    speed = np.cosh(curve.means_[0, 0])
    np.testing.assert_allclose(curve.covariances_[0, 0, 0] * speed**2, std**2, rtol=0.05)
    flat = stats.norm(np.sinh(curve.means_[0, 0]), np.sqrt(curve.covariances_[0, 0, 0]) * speed)
    s = np.linspace(-2.0, 2.0, 9)
    grid = np.arcsinh(s)[:, None]
    error = 4.0 * curve.log_normalizer_std_[0] + 2e-3
    np.testing.assert_allclose(curve.score_samples(grid), flat.logpdf(s), atol=error)
    lebesgue = flat.logpdf(s) + 0.5 * np.log1p(s**2)
    np.testing.assert_allclose(curve.score_samples(grid, "lebesgue"), lebesgue, atol=error)
    np.testing.assert_allclose(curve.score(ON_CURVE), flat.logpdf(LENGTHS).mean(), atol=error)


def test_samples_of_a_curve_are_normal(curve):
    drawn, _ = curve.sample(60)
    flat = stats.norm(LENGTHS.mean(), LENGTHS.std())
    # The seed is fixed.
    assert stats.kstest(np.sinh(drawn[:, 0]), flat.cdf).pvalue > 0.01


# -- equal rows ------------------------------------------------------------------------------------


def one_point(noise):
    rows = np.tile([0.3, 0.4], (10, 1))
    return rows * (1.0 + noise * np.random.default_rng(0).integers(-2, 3, rows.shape))


@pytest.mark.parametrize("noise", [0.0, 2e-16])
def test_equal_rows_are_a_point_of_the_regularisation(noise):
    rows = one_point(noise)
    space = spaces.coarse_space(spaces.network(), CODES, on_failure="raise")
    land = LAND(space, random_state=0).fit(rows)
    theirs = GaussianMixture().fit(rows)
    assert land.converged_
    np.testing.assert_allclose(land.means_, theirs.means_, atol=1e-12)
    # In an orthonormal frame the covariance is that of GaussianMixture, 1e-6, and so is the bound.
    metric = geometry_of(space).metrics(land.means_)[0]
    np.testing.assert_allclose(land.covariances_[0] @ metric, 1e-6 * np.eye(2), atol=1e-12)
    np.testing.assert_allclose(land.lower_bound_, theirs.lower_bound_, rtol=1e-9)
    np.testing.assert_allclose(land.score(rows), land.lower_bound_, rtol=1e-9)
    drawn = land.sample(2000)[0]
    # Standard errors of the sample covariance are 3 % of the variances.
    np.testing.assert_allclose(np.cov(drawn.T), land.covariances_[0], atol=3e-7)


def test_equal_rows_take_few_geodesics(monkeypatch):
    calls, logs = [], DecoderGeometry.logs

    def counted(self, start, end, **options):
        calls.append(len(end))
        return logs(self, start, end, **options)

    monkeypatch.setattr(DecoderGeometry, "logs", counted)
    LAND(spaces.coarse_space(spaces.network(), CODES), random_state=0).fit(one_point(0.0))
    assert 0 < sum(calls) <= 10


def test_fewer_distinct_rows_than_components():
    with pytest.warns(ConvergenceWarning, match=r"distinct rows \(1\) found smaller than"):
        land = LAND(n_components=2, random_state=0).fit(one_point(0.0))
    np.testing.assert_allclose(land.means_, [[0.3, 0.4], [0.3, 0.4]])
    with (
        pytest.warns(ConvergenceWarning, match="singular covariance"),
        pytest.raises(ValueError, match="larger reg_covar"),
    ):
        LAND(reg_covar=0.0, random_state=0).fit(one_point(0.0))


def test_flat_integrals_are_those_of_a_normal_distribution():
    precision = np.array([[2.0, 0.3], [0.3, 1.0]])
    covariance = np.linalg.inv(precision)
    quadrature = FlatQuadrature(np.linalg.cholesky(covariance))
    moments = quadrature.moments(precision)
    np.testing.assert_allclose(
        moments.log_normalizer, -stats.multivariate_normal(cov=covariance).logpdf([0.0, 0.0])
    )
    np.testing.assert_allclose(moments.second, covariance)
    # log C is a cumulant generating function: its second derivatives are these covariances.
    forms, h = np.array([[[1.0, 0.5], [0.5, 0.0]], [[0.0, 0.0], [0.0, 1.0]]]), 1e-4

    def log_normalizer(a, b):
        return quadrature.moments(precision + a * forms[0] + b * forms[1]).log_normalizer

    mixed = log_normalizer(h, h) - log_normalizer(h, -h) - log_normalizer(-h, h)
    mixed = (mixed + log_normalizer(-h, -h)) / (4.0 * h**2)
    found = quadrature.covariance_of_squares(precision, forms)
    np.testing.assert_allclose(found[0, 1] / 4.0, mixed, rtol=1e-5)


def test_flat_is_told_from_curved():
    sphere = geometry_of(spaces.coarse_space(surfaces.closed_sphere(), CODES))
    frame = frame_at(sphere, np.array([0.2, 0.1]))
    assert is_flat(sphere, frame, 1e-3 * np.eye(2))
    assert not is_flat(sphere, frame, 0.1 * np.eye(2))
    without = geometry_of(Hypersphere(2))
    assert not is_flat(without, frame_at(without, np.array([0.0, 0.0, 1.0])), 1e-3 * np.eye(2))


# -- weights ---------------------------------------------------------------------------------------

SPHERE = Hypersphere(2)


def on_sphere(n):
    rows = np.random.default_rng(0).standard_normal((n, 3)) * 0.3 + np.eye(3)[np.arange(n) % 2]
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@spaces.on_numpy_alone
@pytest.mark.parametrize(
    "init_params",
    [
        pytest.param("kmeans", marks=pytest.mark.long),
        pytest.param("k-means++", marks=pytest.mark.long),
        "random",
        "random_from_data",
    ],
)
def test_weights_are_repetitions(init_params):
    rows, counts = on_sphere(40), np.random.default_rng(1).integers(0, 4, 40)
    options = {"init_params": init_params, "max_iter": 3, "tol": 1e-2, "random_state": 0}
    weighted, repeated, scaled = (
        LAND(SPHERE, 2, n_normalizer_samples=64, **options) for _ in range(3)
    )
    labels = weighted.fit_predict(rows, sample_weight=counts)
    repeats = np.repeat(rows, counts, axis=0)
    np.testing.assert_array_equal(np.repeat(labels, counts), repeated.fit_predict(repeats))
    scaled.fit(rows, sample_weight=2.5 * counts)
    for name in ("weights_", "means_", "covariances_", "lower_bound_"):
        ours = getattr(weighted, name)
        np.testing.assert_allclose(ours, getattr(repeated, name), rtol=1e-9, err_msg=name)
        np.testing.assert_allclose(getattr(scaled, name), ours, rtol=1e-6, err_msg=name)
    score = weighted.score(rows, sample_weight=counts)
    np.testing.assert_allclose(score, repeated.score(repeats), rtol=1e-9)
    np.testing.assert_allclose(score, weighted.lower_bound_, rtol=1e-9)
    # Rows without weight have labels, too.
    np.testing.assert_array_equal(labels, weighted.predict(rows))


def test_weighted_moments_in_euclidean_space():
    rows, weights = CODES, np.random.default_rng(0).uniform(0.0, 2.0, len(CODES))
    land = LAND(tol=1e-8, reg_covar=0.0, random_state=0).fit(rows, sample_weight=weights)
    np.testing.assert_allclose(land.means_[0], np.average(rows, axis=0, weights=weights), atol=1e-3)
    covariance = np.cov(rows.T, aweights=weights, bias=True)
    np.testing.assert_allclose(land.covariances_[0], covariance, atol=1e-3)


@pytest.mark.parametrize(
    ("weights", "message"),
    [(np.zeros(60), "zero"), (-np.ones(60), "negative"), (np.ones(59), "shape")],
)
def test_bad_weights_are_refused(weights, message):
    with pytest.raises(ValueError, match=message):
        LAND().fit(CODES, sample_weight=weights)
    with pytest.raises(ValueError, match=message):
        LAND(random_state=0).fit(CODES).score(CODES, sample_weight=weights)
