"""How far exponential maps are one to one, and normalisers of normal laws, in closed forms."""

import numpy as np
import pytest
import torch

from geomstats_vae.geometry.cut_locus import cut_distances, directions
from geomstats_vae.manifolds import LatentSpace
from tests import surfaces
from tests.manifolds import spaces
from tests.manifolds.spaces import array, draw, host

SIGMA = np.array([0.25, 0.5, 1.0])


@pytest.mark.parametrize("n_directions", [1, 7, 16])
def test_radius_of_the_sphere_is_pi(n_directions):
    base = torch.tensor([[0.3, 0.1], [-1.0, 2.0]], dtype=torch.float64)

    def follow(start, velocity, times):
        return torch.stack([surfaces.sphere_exp(start, t * velocity) for t in times], dim=1)

    unit = directions(2, n_directions)
    largest = torch.full((2,), 5.0, dtype=torch.float64)
    metric = surfaces.sphere_metric(base)
    radius = cut_distances(follow, surfaces.sphere_distance, metric, base, unit, largest)
    np.testing.assert_allclose(radius, np.pi, rtol=0.02)


@pytest.mark.parametrize("dim", [1, 2, 5])
def test_directions_are_unit_vectors_in_balance(dim):
    unit = directions(dim)
    np.testing.assert_allclose(np.linalg.norm(unit, axis=1), 1.0)
    np.testing.assert_allclose(unit.sum(axis=0), 0.0, atol=1e-12)


@spaces.on_numpy_alone
def test_no_cut_point_is_an_infinite_radius():
    metric = LatentSpace(surfaces.plane, 2, points=array(draw(20, 2))).metric
    radius = host(metric.injectivity_radius(array(draw(3, 2)), n_directions=6))
    np.testing.assert_array_equal(radius, np.inf)
    scaled = host((4.0 * metric).injectivity_radius(array(draw(2)), n_directions=2))
    np.testing.assert_array_equal(scaled, np.inf)
    assert host(metric.injectivity_radius(array(draw(0, 2)))).shape == (0,)


def test_radius_of_a_singular_metric_is_no_number():
    metric = LatentSpace(lambda z: z.sum(-1, keepdim=True), 2).metric
    assert np.isnan(host(metric.injectivity_radius(array(draw(2)))))


@pytest.mark.parametrize("option", ["n_directions", "max_radius"])
def test_options_are_positive(option):
    metric = LatentSpace(surfaces.plane, 2).metric
    with pytest.raises(ValueError, match=f"{option} > 0"):
        metric.injectivity_radius(array(draw(2)), **{option: 0})


def test_normalizer_of_the_plane():
    metric = LatentSpace(surfaces.plane, 2).metric
    factor, gradient = map(host, metric.norm_factor_gradient(array(SIGMA)))
    np.testing.assert_allclose(factor, 2.0 * np.pi * SIGMA**2, rtol=1e-6)
    np.testing.assert_allclose(gradient, 2.0 / SIGMA, rtol=1e-6)


@spaces.on_numpy_alone
def test_normalizer_is_an_integral_over_the_space():
    metric = LatentSpace(spaces.vae_like_decoder(), 2, points=array(draw(30, 2))).metric
    base, sigma, axis = draw(2, scale=0.2), 0.15, np.linspace(-2.0, 2.0, 25)
    factor = host(metric.normalization_factor(array([sigma]), base_point=array(base)))
    grid = array(np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2))
    law = np.exp(-0.5 * (host(metric.dist(array(base), grid)) / sigma) ** 2)
    expected = (law * host(metric.volume_density(grid))).sum() * (axis[1] - axis[0]) ** 2
    np.testing.assert_allclose(factor, expected, rtol=1e-4)


def test_gradient_is_that_of_the_logarithm():
    metric = LatentSpace(spaces.vae_like_decoder(), 2, points=array(draw(30, 2))).metric
    step = 1e-4
    sigma = np.array([0.3 - step, 0.3, 0.3 + step])
    factor, gradient = map(host, metric.norm_factor_gradient(array(sigma)))
    slope = np.log(factor[2] / factor[0]) / (2.0 * step)
    np.testing.assert_allclose(gradient[1], slope, rtol=1e-4)


@spaces.on_numpy_alone
def test_normalizer_scales_with_the_metric():
    metric = LatentSpace(surfaces.plane, 2).metric
    scaled = 4.0 * metric
    expected = 4.0 * host(metric.normalization_factor(array(SIGMA[:1] / 2.0)))
    np.testing.assert_allclose(host(scaled.normalization_factor(array(SIGMA[:1]))), expected)


def test_deviations_are_positive():
    metric = LatentSpace(surfaces.plane, 2).metric
    with pytest.raises(ValueError, match="positive and finite variances"):
        metric.normalization_factor(array([0.5, 0.0]))
