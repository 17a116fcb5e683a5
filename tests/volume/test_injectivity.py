"""How far exponential maps are one to one, and normalisers of normal distributions."""

import numpy as np
import pytest
from geomstats.geometry.hypersphere import Hypersphere

from geomstats_vae.manifolds import LatentSpace
from geomstats_vae.manifolds.geometries import geometry_of
from geomstats_vae.volume.injectivity import cut_distances, directions
from geomstats_vae.volume.isotropic import isotropic_moments, medoid
from tests import surfaces
from tests.manifolds.spaces import (
    array,
    coarse_space,
    draw,
    host,
    on_numpy_alone,
    vae_like_decoder,
)

SIGMA = np.array([0.25, 0.5, 1.0])


def on_sphere(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize("n_directions", [1, 7, 16])
@pytest.mark.parametrize("dim", [1, 2, 3])
def test_radius_of_the_sphere_is_pi(dim, n_directions):
    base, unit = on_sphere(draw(2, dim + 1)), directions(dim, n_directions)
    radius = cut_distances(geometry_of(Hypersphere(dim)), base, unit, np.full(2, 5.0))
    np.testing.assert_allclose(radius, np.pi, rtol=0.02)


@pytest.mark.parametrize("dim", [1, 2, 5])
def test_directions_are_unit_vectors_in_balance(dim):
    unit = directions(dim)
    np.testing.assert_allclose(np.linalg.norm(unit, axis=1), 1.0)
    np.testing.assert_allclose(unit.sum(axis=0), 0.0, atol=1e-12)


@on_numpy_alone
def test_no_cut_point_is_an_infinite_radius():
    metric = coarse_space(surfaces.plane_network(), draw(20, 2)).metric
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
    metric = LatentSpace(surfaces.plane_network(), 2).metric
    with pytest.raises(ValueError, match=f"{option} > 0"):
        metric.injectivity_radius(array(draw(2)), **{option: 0})


def test_normalizer_of_the_plane():
    metric = LatentSpace(surfaces.plane_network(), 2).metric
    factor, gradient = map(host, metric.norm_factor_gradient(array(SIGMA)))
    np.testing.assert_allclose(factor, 2.0 * np.pi * SIGMA**2, rtol=1e-6)
    np.testing.assert_allclose(gradient, 2.0 / SIGMA, rtol=1e-6)


@pytest.fixture(scope="module")
def vae_like():
    return coarse_space(vae_like_decoder(), draw(30, 2)).metric


@on_numpy_alone
@pytest.mark.long
def test_normalizer_is_an_integral_over_the_space(vae_like):
    base, sigma, axis = draw(2, scale=0.2), 0.15, np.linspace(-2.0, 2.0, 25)
    factor = host(vae_like.normalization_factor(array([sigma]), base_point=array(base)))
    grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    # Where even the chord is too long for a millionth of the largest density, it adds nothing.
    chord = vae_like.geometry.bounds.chords(grid, base[None])[:, 0]
    grid = array(grid[chord < 5.3 * sigma])
    density = np.exp(-0.5 * (host(vae_like.dist(array(base), grid)) / sigma) ** 2)
    cell = (axis[1] - axis[0]) ** 2
    expected = (density * host(vae_like.volume_density(grid))).sum() * cell
    np.testing.assert_allclose(factor, expected, rtol=1e-4)


@on_numpy_alone
@pytest.mark.long
def test_gradient_is_that_of_the_logarithm(vae_like):
    step = 1e-4
    sigma = np.array([0.3 - step, 0.3, 0.3 + step])
    factor, gradient = map(host, vae_like.norm_factor_gradient(array(sigma)))
    slope = np.log(factor[2] / factor[0]) / (2.0 * step)
    np.testing.assert_allclose(gradient[1], slope, rtol=1e-4)


@on_numpy_alone
def test_normalizer_scales_with_the_metric():
    # Flat it stays, whatever the factor.
    scaled = 4.0 * LatentSpace(surfaces.plane_network(), 2).metric
    factor = host(scaled.normalization_factor(array(SIGMA[:1])))
    np.testing.assert_allclose(factor, 2.0 * np.pi * SIGMA[:1] ** 2, rtol=1e-6)


def test_normalizer_of_the_sphere():
    geometry, base = geometry_of(Hypersphere(2)), np.array([0.0, 0.6, 0.8])
    normalizer, square, status = isotropic_moments(geometry, base, SIGMA)
    radius, weight = (0.5 * np.pi * part for part in np.polynomial.legendre.leggauss(40))
    radius = radius + 0.5 * np.pi
    density = 2.0 * np.pi * weight * np.sin(radius) * np.exp(-0.5 * (radius / SIGMA[:, None]) ** 2)
    np.testing.assert_allclose(normalizer, density.sum(axis=1), rtol=1e-6)
    np.testing.assert_allclose(square * normalizer, density @ radius**2, rtol=1e-5)
    assert not status.any()


def test_medoid_is_the_middle_of_a_line_of_codes():
    codes = np.linspace(-1.0, 1.0, 9)[:, None] ** 3 * [1.0, 0.5] + 0.3
    point = medoid(coarse_space(surfaces.plane_network(), codes).metric.geometry)
    np.testing.assert_array_equal(point, codes[4])
    np.testing.assert_array_equal(
        medoid(LatentSpace(surfaces.plane_network(), 2).metric.geometry), 0.0
    )


def test_deviations_are_positive():
    metric = LatentSpace(surfaces.plane_network(), 2).metric
    with pytest.raises(ValueError, match="positive and finite variances"):
        metric.normalization_factor(array([0.5, 0.0]))
