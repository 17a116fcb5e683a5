"""The estimator of Frechet means: any unit, groups, weights, failures, derivatives."""

import geomstats.backend as gs
import numpy as np
import pytest
import torch
from geomstats.geometry.euclidean import Euclidean
from geomstats.geometry.hypersphere import Hypersphere
from geomstats.geometry.spd_matrices import SPDMatrices

from geomstats_vae import FrechetMean, GeodesicConvergenceWarning, LatentSpace
from geomstats_vae.datasets import load_digits_vae
from geomstats_vae.estimators.mean_gradient import mean_derivatives
from geomstats_vae.geometry import DecoderGeometry
from geomstats_vae.geometry.hessians import distance_hessians
from geomstats_vae.manifolds.arrays import USES_TORCH, to_host
from geomstats_vae.manifolds.geometries import geometry_of
from tests import surfaces
from tests.manifolds import spaces

CHART = LatentSpace(surfaces.sphere, dim=2)
SPHERE = Hypersphere(2)
CODES = spaces.draw(12, 2, shift=np.array([0.4, 0.1]), scale=0.3)
WEIGHTS = np.random.default_rng(5).uniform(0.5, 2.0, 12)


def on_sphere(codes):
    return to_host(surfaces.sphere(torch.as_tensor(np.asarray(codes))))


def array(values):
    return gs.array(np.asarray(values))


def mean_on_sphere(codes, weights=None):
    """By projected iterations in R^3, to rounding."""
    x = on_sphere(codes)
    mean = x[0]
    for _ in range(200):
        cosine = np.clip(x @ mean, -1.0, 1.0)
        across = x - cosine[:, None] * mean
        size = np.linalg.norm(across, axis=1)
        logs = (
            across
            * np.where(size > 0.0, np.arctan2(size, cosine) / np.maximum(size, 1e-300), 0)[:, None]
        )
        step = np.average(logs, axis=0, weights=weights)
        norm = np.linalg.norm(step)
        if norm < 1e-15:
            break
        mean = np.cos(norm) * mean + np.sin(norm) * step / norm
    return mean


def test_mean_is_that_of_the_sphere():
    fitted = FrechetMean(CHART).fit(array(CODES), weights=array(WEIGHTS))
    expected = mean_on_sphere(CODES, WEIGHTS)
    np.testing.assert_allclose(on_sphere(to_host(fitted.estimate_)[None])[0], expected, atol=2e-6)
    assert fitted.converged_ is True
    assert fitted.n_failed_ == 0
    assert fitted.reached_.all()
    squares = np.arccos(on_sphere(CODES) @ expected) ** 2
    np.testing.assert_allclose(
        to_host(fitted.variance_), np.average(squares, weights=WEIGHTS), rtol=1e-5
    )


@pytest.mark.parametrize("unit", [1e-6, 1e6])
def test_unit_does_not_matter(unit):
    def scaled(z):
        return unit * surfaces.sphere(z)

    plain = FrechetMean(CHART).fit(array(CODES))
    other = FrechetMean(LatentSpace(scaled, dim=2)).fit(array(CODES))
    np.testing.assert_allclose(to_host(other.estimate_), to_host(plain.estimate_), atol=2e-6)
    np.testing.assert_allclose(
        to_host(other.variance_), unit**2 * to_host(plain.variance_), rtol=1e-5
    )


def test_small_clouds_have_their_mean():
    codes = 0.3 + 1e-5 * CODES
    fitted = FrechetMean(CHART).fit(array(codes))
    np.testing.assert_allclose(to_host(fitted.estimate_), codes.mean(axis=0), atol=1e-10)


def test_groups_are_fitted_at_once():
    groups = np.stack((CODES[:6], CODES[6:]))
    fitted = FrechetMean(CHART).fit(array(groups))
    assert fitted.estimate_.shape == (2, 2)
    assert fitted.variance_.shape == fitted.converged_.shape == (2,)
    for codes, mean in zip(groups, to_host(fitted.estimate_), strict=True):
        np.testing.assert_allclose(on_sphere(mean[None])[0], mean_on_sphere(codes), atol=2e-6)


def test_variance_is_that_of_fresh_geodesics():
    # On the way to this mean shortest curves change their valleys.
    vae = load_digits_vae()
    space = LatentSpace(vae.decoder_, points=vae.codes_, table=False)
    rows = np.random.default_rng(1).choice(len(vae.codes_), 20, replace=False)
    mean = FrechetMean(space).fit(vae.codes_[rows])
    assert mean.converged_
    length = to_host(space.metric.dist(mean.estimate_, vae.codes_[rows]))
    np.testing.assert_allclose(mean.variance_, np.mean(length**2), rtol=1e-5)


def test_closed_forms():
    fitted = FrechetMean(SPHERE).fit(array(on_sphere(CODES)), weights=array(WEIGHTS))
    np.testing.assert_allclose(to_host(fitted.estimate_), mean_on_sphere(CODES, WEIGHTS), atol=2e-6)
    flat = FrechetMean(Euclidean(2)).fit(array(CODES), weights=array(WEIGHTS))
    expected = np.average(CODES, axis=0, weights=WEIGHTS)
    np.testing.assert_allclose(to_host(flat.estimate_), expected, atol=1e-12)


def test_one_point_is_its_mean():
    for space, points in ((CHART, CODES[:1]), (SPHERE, on_sphere(CODES[:1]).repeat(3, axis=0))):
        fitted = FrechetMean(space).fit(array(points))
        np.testing.assert_allclose(to_host(fitted.estimate_), points[0], atol=1e-12)
        assert fitted.converged_
        assert to_host(fitted.variance_) == 0.0


def test_limits_are_told_of():
    with pytest.warns(GeodesicConvergenceWarning, match="max_iter=0") as told:
        fitted = FrechetMean(CHART, max_iter=0, init_point=CODES[0]).fit(array(CODES))
    assert len(told) == 1
    assert fitted.converged_ is False
    np.testing.assert_array_equal(to_host(fitted.estimate_), CODES[0])
    with pytest.warns(GeodesicConvergenceWarning, match="max_seconds"):
        fitted = FrechetMean(CHART, init_point=CODES[0]).set(max_seconds=1e-9).fit(array(CODES))
    assert fitted.n_iter_ == 0


def test_interrupted_descent_keeps_the_best(monkeypatch):
    logs, calls = DecoderGeometry.logs, []

    def interrupted(self, start, end, **options):
        calls.append(len(start))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return logs(self, start, end, **options)

    monkeypatch.setattr(DecoderGeometry, "logs", interrupted)
    with pytest.warns(GeodesicConvergenceWarning, match="interruption"):
        fitted = FrechetMean(CHART, init_point=CODES[0]).fit(array(CODES))
    assert fitted.n_iter_ == 1
    assert 0.0 < to_host(fitted.residual_) < 1.0


def broken(z):
    """A plane that is not finite to the right of 2."""
    return torch.where(z[:, :1] > 2.0, torch.nan, surfaces.plane(z))


def test_points_out_of_reach_have_no_part():
    codes = np.concatenate((CODES, [[3.0, 0.0]]))
    with pytest.warns(GeodesicConvergenceWarning, match="1 points out of reach"):
        fitted = FrechetMean(LatentSpace(broken, dim=2)).fit(array(codes))
    np.testing.assert_allclose(to_host(fitted.estimate_), CODES.mean(axis=0), atol=1e-5)
    assert fitted.reached_.tolist() == [True] * 12 + [False]
    assert fitted.n_failed_ == 1
    assert not fitted.converged_


def test_errors_name_the_remedy():
    with pytest.raises(ValueError, match="tol=1e-6"):
        FrechetMean(CHART).set(epsilon=1e-8)
    with pytest.raises(ValueError, match="Invalid parameter"):
        FrechetMean(CHART).set(step=1.0)
    with pytest.raises(ValueError, match="points are vectors"):
        FrechetMean(SPDMatrices(2)).fit(np.eye(2)[None])
    with pytest.raises(ValueError, match="nonnegative"):
        FrechetMean(CHART).fit(array(CODES), weights=-WEIGHTS)
    with pytest.raises(ValueError, match="shape"):
        FrechetMean(CHART).fit(array(CODES), weights=WEIGHTS[:3])
    with pytest.raises(ValueError, match="off it"):
        FrechetMean(SPHERE).fit(array(2.0 * on_sphere(CODES)))
    with pytest.raises(ValueError, match="defined at some point"):
        FrechetMean(LatentSpace(broken, dim=2)).fit(array([[3.0, 0.0]]))


# -- derivatives -----------------------------------------------------------------------------------


def test_hessians_of_squared_distances_are_those_of_the_sphere():
    geometry = geometry_of(CHART)
    start, end = CODES[:4], CODES[4:8]
    logs = geometry.logs(start, end)
    by_start, _ = distance_hessians(geometry, logs.curves, n_halvings=1)
    metrics = geometry.metrics(start)
    for hessian, metric, length in zip(by_start, metrics, logs.length, strict=True):
        values = np.sort(np.linalg.eigvals(np.linalg.solve(metric, hessian)).real)
        np.testing.assert_allclose(values, [length / np.tan(length), 1.0], rtol=1e-6)


@pytest.mark.parametrize("name", ["chart", "sphere"])
def test_derivatives_of_the_mean_are_its_differences(name):
    space, points = (CHART, CODES) if name == "chart" else (SPHERE, on_sphere(CODES))
    geometry = geometry_of(space)
    mean = sphere_mean(space, points, WEIGHTS)
    logs = geometry.logs(mean, points)
    by_point, by_weight = mean_derivatives(geometry, mean, points, WEIGHTS, logs)
    h, rng = 1e-4, np.random.default_rng(0)
    change = geometry.to_tangent(rng.normal(size=points.shape), points)
    moved = [
        sphere_mean(space, geometry.exps(points, s * h * change), WEIGHTS) for s in (1.0, -1.0)
    ]
    expected = (moved[0] - moved[1]) / (2.0 * h)
    np.testing.assert_allclose(np.einsum("ijk,ik->j", by_point, change), expected, atol=1e-6)
    turn = rng.normal(size=12)
    moved = [sphere_mean(space, points, WEIGHTS + s * h * turn) for s in (1.0, -1.0)]
    expected = (moved[0] - moved[1]) / (2.0 * h)
    np.testing.assert_allclose(turn @ by_weight, expected, atol=1e-6)


def sphere_mean(space, points, weights):
    """Mean to rounding, in the coordinates of a space that is a sphere."""
    if space is SPHERE:
        codes = to_host(surfaces.sphere_chart(torch.as_tensor(points)))
        return mean_on_sphere(codes, weights)
    mean = torch.as_tensor(mean_on_sphere(points, weights))
    return to_host(surfaces.sphere_chart(mean[None]))[0]


@pytest.mark.skipif(not USES_TORCH, reason="arrays of numpy have no gradients")
@pytest.mark.parametrize("name", ["chart", "sphere"])
def test_estimate_is_differentiable(name):
    space, points = (CHART, CODES) if name == "chart" else (SPHERE, on_sphere(CODES))
    x, w = torch.tensor(points, requires_grad=True), torch.tensor(WEIGHTS, requires_grad=True)
    mean = FrechetMean(space).fit(torch.stack((x, x)), weights=w).estimate_
    (mean[0] * torch.arange(1.0, mean.shape[1] + 1.0)).sum().backward()
    exact = sphere_mean(space, points, WEIGHTS)
    geometry = geometry_of(space)
    logs = geometry.logs(exact, points)
    by_point, by_weight = mean_derivatives(geometry, exact, points, WEIGHTS, logs)
    weights = np.arange(1.0, mean.shape[1] + 1.0)
    np.testing.assert_allclose(x.grad, np.einsum("j,ijk->ik", weights, by_point), atol=1e-5)
    np.testing.assert_allclose(w.grad, by_weight @ weights, atol=1e-5)


@pytest.mark.skipif(not USES_TORCH, reason="arrays of numpy have no types")
def test_type_of_the_points_is_kept():
    mean = FrechetMean(CHART).fit(torch.tensor(CODES, dtype=torch.float32)).estimate_
    assert mean.dtype == torch.float32
    assert not mean.requires_grad
