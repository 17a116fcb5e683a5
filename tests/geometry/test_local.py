"""Metric, its inverse, derivatives, connection, curvature and volume, point by point."""

import geomstats.backend as gs
import numpy as np
import pytest
import torch
from geomstats.geometry.base import ImmersedSet
from geomstats.geometry.euclidean import Euclidean
from geomstats.geometry.pullback_metric import PullbackMetric

from geomstats_vae.manifolds import LatentSpace
from tests import surfaces
from tests.manifolds import spaces
from tests.manifolds.spaces import array, draw, host

DECODERS = {
    "vae": spaces.vae_like_decoder,
    "mean only": spaces.network,
    "pair": lambda: lambda z: (surfaces.torus(z), 1.0 + 0.1 * surfaces.paraboloid(z)),
}


@pytest.fixture(params=DECODERS)
def decoder(request):
    return DECODERS[request.param]()


def jacobians(decoder, z):
    def outputs(code):
        out = decoder(code[None])
        return tuple(part[0] for part in (out if isinstance(out, tuple) else (out,)))

    rows = [torch.func.jacrev(outputs)(code) for code in torch.from_numpy(z)]
    return [[host(part) for part in row] for row in rows]


def central_difference(function, z, step=1e-5):
    """Derivative with its index last."""
    columns = []
    for direction in step * np.eye(z.shape[-1]):
        difference = host(function(array(z + direction))) - host(function(array(z - direction)))
        columns.append(difference / (2.0 * step))
    return np.stack(columns, axis=-1)


def test_metric_is_the_sum_of_squared_jacobians(decoder):
    z = draw(7, 2)
    expected = np.stack([sum(J.T @ J for J in parts) for parts in jacobians(decoder, z)])
    metric = host(LatentSpace(decoder, 2).metric.metric_matrix(array(z)))
    np.testing.assert_allclose(metric, expected, rtol=1e-10, atol=1e-10 * np.abs(expected).max())


def test_cometric_is_the_inverse(decoder):
    metric, z = LatentSpace(decoder, 2).metric, array(draw(7, 2))
    product = host(metric.metric_matrix(z)) @ host(metric.cometric_matrix(z))
    np.testing.assert_allclose(product, np.broadcast_to(np.eye(2), (7, 2, 2)), atol=1e-10)


def test_derivative_and_christoffels_are_finite_differences(decoder):
    metric, z = LatentSpace(decoder, 2).metric, draw(7, 2)
    derivative = central_difference(metric.metric_matrix, z)
    ours = host(metric.inner_product_derivative_matrix(array(z)))
    np.testing.assert_allclose(ours, derivative, rtol=1e-6, atol=1e-6)
    # Gamma^k_ij = M^kl (d_i M_jl + d_j M_il - d_l M_ij) / 2
    first = 0.5 * (
        np.einsum("njli->nlij", derivative)
        + np.einsum("nilj->nlij", derivative)
        - np.einsum("nijl->nlij", derivative)
    )
    expected = np.einsum("nkl,nlij->nkij", host(metric.cometric_matrix(array(z))), first)
    christoffels = host(metric.christoffels(array(z)))
    np.testing.assert_allclose(christoffels, expected, rtol=1e-6, atol=1e-6)


def test_curvature_is_that_of_the_christoffels(decoder):
    metric, z = LatentSpace(decoder, 2).metric, draw(5, 2)
    slope = central_difference(metric.christoffels, z)
    gamma = host(metric.christoffels(array(z)))
    # R(e_j, e_k) e_i = (d_j Gamma^l_ki - d_k Gamma^l_ji + Gamma^l_jm Gamma^m_ki - ...) e_l
    half = np.einsum("nlkij->nijkl", slope) + np.einsum("nljm,nmki->nijkl", gamma, gamma)
    expected = half - np.swapaxes(half, 2, 3)
    riemann = host(metric.riemann_tensor(array(z)))
    np.testing.assert_allclose(riemann, expected, rtol=1e-5, atol=1e-5)


def test_derivative_of_the_christoffels_is_a_finite_difference(decoder):
    metric, z = LatentSpace(decoder, 2).metric, draw(5, 2)
    expected = central_difference(metric.christoffels, z)
    found = host(metric.jacobian_christoffels(array(z)))
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(found, np.swapaxes(found, 2, 3), rtol=1e-12, atol=1e-15)


def test_gaussian_curvature_is_the_sectional_one(decoder):
    metric, z = LatentSpace(decoder, 2).metric, array(draw(5, 2))
    found = host(metric.gaussian_curvature(z))
    u, v = array([1.0, 0.3]), array([-0.2, 1.0])
    np.testing.assert_allclose(found, host(metric.sectional_curvature(u, v, z)), rtol=1e-9)
    np.testing.assert_allclose(found, 0.5 * host(metric.scalar_curvature(z)), rtol=1e-9)


@pytest.mark.parametrize("name", ["sphere", "cylinder", "torus", "paraboloid", "hyperbolic"])
def test_gaussian_curvature_in_closed_form(name):
    surface = {**surfaces.SURFACES, "hyperbolic": spaces.pseudosphere}[name]
    curvature = {
        "sphere": lambda z: np.ones(len(z)),
        "cylinder": lambda z: np.zeros(len(z)),
        "torus": lambda z: surfaces.torus_curvature(torch.from_numpy(z)).numpy(),
        "paraboloid": lambda z: surfaces.paraboloid_curvature(torch.from_numpy(z)).numpy(),
        "hyperbolic": lambda z: -np.ones(len(z)),
    }[name]
    z = draw(6, 2, scale=0.3, shift=np.array([0.0, 3.0]))
    metric = LatentSpace(surface, 2).metric
    np.testing.assert_allclose(
        host(metric.gaussian_curvature(array(z))), curvature(z), rtol=1e-9, atol=1e-12
    )


@pytest.mark.long
def test_derivative_of_the_curvature_follows_parallel_frames(decoder):
    metric, z = LatentSpace(decoder, 2).metric, draw(2, scale=0.5)
    vectors = [array(draw(2, seed=seed)) for seed in range(1, 5)]
    step, sides = 1e-3, []
    for sign in (1.0, -1.0):
        velocity = sign * step * vectors[0]
        point = metric.exp(velocity, array(z))
        moved = [metric.parallel_transport(v, array(z), velocity) for v in vectors[1:]]
        curved = metric.curvature(*moved, point)
        back = -metric.parallel_transport(velocity, array(z), velocity)
        sides.append(host(metric.parallel_transport(curved, point, back)))
    expected = (sides[0] - sides[1]) / (2.0 * step)
    found = host(metric.curvature_derivative(*vectors, array(z)))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


def test_curvature_of_a_symmetric_space_is_parallel():
    metric = LatentSpace(surfaces.sphere, 2).metric
    vectors = [array(draw(4, 2, seed=seed)) for seed in range(1, 5)]
    found = host(metric.curvature_derivative(*vectors, array(draw(4, 2))))
    np.testing.assert_allclose(found, 0.0, atol=1e-10)


def test_gauss_bonnet_on_the_torus():
    metric = LatentSpace(surfaces.torus, 2).metric
    angle = 2.0 * np.pi * np.arange(32) / 32
    z = array(np.stack(np.meshgrid(angle, angle), axis=-1).reshape(-1, 2))
    curvature, area = host(metric.gaussian_curvature(z)), host(metric.volume_density(z))
    cell = (2.0 * np.pi / 32) ** 2
    assert abs((curvature * area).sum() * cell) < 1e-9
    # Neither sum is empty: the outer half of the torus has as much curvature as a sphere.
    outer = curvature > 0.0
    np.testing.assert_allclose((curvature * area)[outer].sum() * cell, 4.0 * np.pi, rtol=2e-2)


def test_gaussian_curvature_is_for_surfaces():
    metric = LatentSpace(spaces.vae_like_decoder(3), 3).metric
    with pytest.raises(ValueError, match="dimension 2"):
        metric.gaussian_curvature(array(draw(3)))


def test_curvature_of_torus_sphere_and_hyperbolic_plane():
    cases = {
        surfaces.torus: lambda z: surfaces.torus_curvature(torch.from_numpy(z)).numpy(),
        surfaces.sphere: lambda z: np.ones(len(z)),
        spaces.pseudosphere: lambda z: -np.ones(len(z)),
    }
    u, v = array([1.0, 0.3]), array([-0.2, 1.0])
    for surface, curvature in cases.items():
        z = draw(6, 2, scale=0.3, shift=np.array([0.0, 3.0]))
        metric = LatentSpace(surface, 2).metric
        found = host(metric.sectional_curvature(u, v, array(z)))
        np.testing.assert_allclose(found, curvature(z), rtol=1e-9)
        np.testing.assert_allclose(
            host(metric.scalar_curvature(array(z))), 2 * curvature(z), rtol=1e-9
        )


def test_volume_density():
    z = draw(5, 2, scale=0.3, shift=np.array([0.0, 3.0]))
    density = host(LatentSpace(spaces.pseudosphere, 2).metric.volume_density(array(z)))
    np.testing.assert_allclose(density, z[:, 1] ** -2, rtol=1e-12)


def test_volume_density_keeps_the_digits_of_thin_volumes():
    tiny = 1e-9  # its square is lost beside 1 in a determinant of M
    space = LatentSpace(lambda z: torch.stack((z.sum(-1), tiny * z[:, 0]), dim=-1), 2)
    np.testing.assert_allclose(
        host(space.metric.volume_density(array([0.3, 0.2]))), tiny, rtol=1e-6
    )


def test_singular_metric_spoils_its_point_only():
    space = LatentSpace(lambda z: torch.stack((z[:, 0], z[:, 1] ** 2), dim=-1), 2)
    z = array([[0.5, 1.0], [0.5, 0.0]])
    for name in ("cometric_matrix", "christoffels", "riemann_tensor"):
        values = host(getattr(space.metric, name)(z))
        assert np.isfinite(values[0]).all()
        assert np.isnan(values[1]).any()
    np.testing.assert_allclose(host(space.metric.volume_density(z)), [2.0, 0.0])


def test_fewer_outputs_than_dimensions_have_no_volume():
    space = LatentSpace(lambda z: z.sum(-1, keepdim=True), 2)
    np.testing.assert_array_equal(host(space.metric.volume_density(array(draw(3, 2)))), 0.0)


def test_many_points_are_the_same_as_few():
    metric, z = LatentSpace(spaces.vae_like_decoder(), 2).metric, draw(1500, 2)
    many = host(metric.metric_matrix(array(z)))
    np.testing.assert_allclose(many[-3:], host(metric.metric_matrix(array(z[-3:]))), rtol=1e-12)


def test_three_dimensions_and_inner_products():
    metric = LatentSpace(spaces.vae_like_decoder(3), 3).metric
    z, u, v = array(draw(4, 3)), array(draw(4, 3, seed=1)), array(draw(4, 3, seed=2))
    expected = np.einsum("ni,nij,nj->n", host(u), host(metric.metric_matrix(z)), host(v))
    np.testing.assert_allclose(host(metric.inner_product(u, v, z)), expected, rtol=1e-12)
    assert metric.christoffels(z).shape == (4, 3, 3, 3)


@pytest.mark.skipif(not spaces.ON_TORCH, reason="geomstats' own metric differentiates by torch")
def test_deterministic_decoder_agrees_with_geomstats():
    decoder = spaces.network()

    class Image(ImmersedSet):
        def __init__(self):
            super().__init__(dim=2, equip=False)

        def _define_embedding_space(self):
            return Euclidean(5)

        def immersion(self, point):
            return decoder(point)

    theirs = Image().equip_with_metric(PullbackMetric).metric
    ours = LatentSpace(decoder, 2).metric
    for code in array(draw(3, 2)):
        for name in ("metric_matrix", "christoffels", "inner_product_derivative_matrix"):
            expected = host(getattr(theirs, name)(code))
            np.testing.assert_allclose(
                host(getattr(ours, name)(code)), expected, rtol=1e-8, atol=1e-8
            )


def test_results_are_fresh_and_writable():
    metric, z = LatentSpace(surfaces.plane, 2).metric, gs.copy(array(draw(3, 2)))
    first = metric.metric_matrix(z)
    first[:] = 0.0
    assert host(metric.metric_matrix(z)).any()
