"""Normalisers and moments on tangent spaces, against closed forms and quadrature."""

import geomstats.backend as gs
import numpy as np
import pytest
import torch
from geomstats.geometry.euclidean import Euclidean
from geomstats.geometry.hyperboloid import Hyperboloid
from geomstats.geometry.hypersphere import Hypersphere
from geomstats.geometry.poincare_ball import PoincareBall
from scipy import integrate, special

from geomstats_vae.estimators.tangent_normal import fit_precision, forms
from geomstats_vae.manifolds import LatentSpace
from geomstats_vae.manifolds.geometries import geometry_of
from geomstats_vae.volume.frames import along_coordinates, frame_at, lead_by
from geomstats_vae.volume.importance_grid import GridDistribution, ImportanceGrid
from geomstats_vae.volume.importance_quadrature import build_importance_quadrature, uniform_points
from geomstats_vae.volume.ray_quadrature import build_ray_quadrature, sphere_directions
from geomstats_vae.volume.rays import follow_rays
from tests import surfaces
from tests.manifolds import spaces

# Space, a point, the change of a circle's length with its radius, and the radius of injectivity.
CURVED = {
    "sphere": (Hypersphere(2), [0.0, 0.6, 0.8], np.sin, np.pi),
    "sphere of three dimensions": (Hypersphere(3), [0.0, 0.6, 0.0, 0.8], np.sin, np.pi),
    "ball": (PoincareBall(2), [0.1, 0.3], np.sinh, 30.0),
    "hyperboloid": (Hyperboloid(2), [np.sqrt(1.25), 0.5, 0.0], np.sinh, 30.0),
}


def isotropic(radius, reach, dim, std):
    """Normaliser and E|w|^2 by quadrature over the radius of geodesic spheres."""
    area = 2.0 * np.pi ** (dim / 2) / special.gamma(dim / 2)
    zeroth, second = (
        integrate.quad(
            lambda r, k=k: area * r**k * np.exp(-0.5 * (r / std) ** 2) * radius(r) ** (dim - 1),
            0.0,
            min(reach, 15.0 * std),
        )[0]
        for k in (0, 2)
    )
    return zeroth, second / zeroth


def rays(space, base, scale, n_rays=32, seed=0):
    geometry = geometry_of(space)
    frame = frame_at(geometry, np.asarray(base, dtype=float))
    unit = sphere_directions(n_rays, space.dim, np.random.RandomState(seed))
    return build_ray_quadrature(geometry, frame, scale, unit), frame


@pytest.mark.parametrize("std", [0.3, 1.0, 1.5])
@pytest.mark.parametrize("name", CURVED)
def test_isotropic_normalizer_is_that_of_quadrature(name, std):
    space, base, radius, reach = CURVED[name]
    dim = space.dim
    quadrature, _ = rays(space, base, std * np.eye(dim))
    found = quadrature.moments(np.eye(dim) / std**2)
    expected, second = isotropic(radius, reach, dim, std)
    # Isotropic integrands need no average over directions: what is left is the radial rule.
    np.testing.assert_allclose(np.exp(found.log_normalizer), expected, rtol=1e-6)
    assert found.log_normalizer_std < 1e-6
    np.testing.assert_allclose(np.trace(found.second), second, rtol=1e-5)
    np.testing.assert_allclose(found.mean, 0.0, atol=1e-8 * std)


def test_rays_of_a_sphere_end_at_the_antipode():
    quadrature, _ = rays(Hypersphere(2), [0.0, 0.0, 1.0], 0.8 * np.eye(2))
    np.testing.assert_allclose(quadrature.ends * 0.8, np.pi, rtol=1e-5)


def test_flat_integrals_are_exact_for_any_covariance():
    scale = np.array([[1.0, 0.0], [0.5, 0.7]])
    quadrature, _ = rays(Euclidean(2), [0.0, 0.0], scale)
    for covariance in (scale @ scale.T, np.array([[0.6, -0.2], [-0.2, 0.9]])):
        found = quadrature.moments(np.linalg.inv(covariance))
        expected = 0.5 * np.linalg.slogdet(2.0 * np.pi * covariance)[1]
        # J is 1, and so is the control variate; rays end where 1e-9 of the mass is left.
        np.testing.assert_allclose(found.log_normalizer, expected, atol=1e-6)
        np.testing.assert_allclose(found.second, covariance, atol=1e-5)
        np.testing.assert_allclose(found.mean, 0.0, atol=1e-12)


def test_moments_are_derivatives_of_the_normalizer():
    # d log C / dG = -E[w w'] / 2, an identity of the exponential family, and of its estimate.
    quadrature, _ = rays(Hypersphere(2), [0.0, 0.0, 1.0], np.diag([0.9, 0.5]))
    precision = np.linalg.inv(np.array([[0.7, 0.1], [0.1, 0.3]]))
    h = 1e-5
    for step in (np.diag([h, 0.0]), np.diag([0.0, h]), h * np.array([[0.0, 0.5], [0.5, 0.0]])):
        ahead, behind = (
            quadrature.moments(precision + sign * step).log_normalizer for sign in (1, -1)
        )
        slope = -0.5 * (step / h * quadrature.moments(precision).second).sum()
        np.testing.assert_allclose((ahead - behind) / (2.0 * h), slope, rtol=1e-7)


@spaces.on_numpy_alone
@pytest.mark.long
def test_standard_errors_are_honest():
    # Along an axis of an anisotropic density the sphere has less volume than the control variate.
    scale = np.diag([1.6, 0.4])
    reference = rays(Hypersphere(2), [0.0, 0.0, 1.0], scale, 512)[0]
    precision = np.linalg.inv(scale @ scale.T)
    exact = reference.moments(precision).log_normalizer
    scores = []
    for seed in range(20):
        found = rays(Hypersphere(2), [0.0, 0.0, 1.0], scale, 32, seed)[0].moments(precision)
        assert found.log_normalizer_std > 0.0
        scores.append((found.log_normalizer - exact) / found.log_normalizer_std)
    # Student's t of 7 degrees of freedom: variance 1.4, and beyond 6 in 5e-4 of all cases.
    assert np.mean(np.square(scores)) < 4.0
    assert np.max(np.abs(scores)) < 6.0


def test_directions_come_with_their_opposites():
    for dim in (1, 2, 3, 5):
        unit = sphere_directions(64, dim, np.random.RandomState(0))
        np.testing.assert_allclose(np.linalg.norm(unit, axis=-1), 1.0)
        np.testing.assert_allclose(unit.sum(axis=1), 0.0, atol=1e-12)


@pytest.fixture(scope="module")
def chart():
    """The sphere in a chart, with codes: its geometry, the codes, and a frame."""
    rows = 0.4 * np.random.default_rng(0).standard_normal((60, 2))
    geometry = geometry_of(spaces.coarse_space(surfaces.closed_sphere(), rows))
    return geometry, rows, frame_at(geometry, np.array([0.1, -0.2]))


@pytest.fixture(scope="module")
def bundle():
    """Rays of unit speed from the sphere's equator, which keep away from its poles."""
    geometry = geometry_of(LatentSpace(surfaces.closed_sphere(), 2))
    frame = frame_at(geometry, np.array([1.0, 0.0]))
    angle = np.array([0.1, -0.4, 2.9, 3.3])
    return follow_rays(geometry, frame, np.stack((np.sin(angle), np.cos(angle)), axis=1), 4.0)


@spaces.on_numpy_alone
def test_volume_along_rays_is_that_of_the_sphere(bundle):
    radii = np.tile(np.linspace(0.1, 3.1, 9), (4, 1))
    # np.sinc(x) is sin(pi x) / (pi x).
    expected = np.sinc(radii / np.pi)
    np.testing.assert_allclose(bundle.volumes_at(radii), expected, atol=1e-4)
    velocity = bundle.frame.vectors(radii[0, :, None] * bundle.directions[0])
    points, volume = bundle.geometry.volume_changes(bundle.frame.base, velocity)
    np.testing.assert_allclose(volume, expected[0], atol=1e-5)
    np.testing.assert_allclose(points, bundle.points_at(radii[0], np.zeros(9, int)), atol=1e-4)


@spaces.on_numpy_alone
def test_rays_stop_at_conjugate_points(bundle):
    # Along geodesics of the sphere they are at pi; rays are left within half a unit from there.
    np.testing.assert_allclose(bundle.ends(), np.pi, atol=1e-3)
    assert (bundle.step * (bundle.n_valid - 1) <= np.pi + 0.5).all()
    assert not bundle.failed.any()


@spaces.on_numpy_alone
def test_latent_integrals_agree_with_the_sphere(chart):
    geometry, rows, frame = chart
    std = 0.5
    seen = frame.coordinates(geometry.logs(frame.base, rows).velocity)
    uniform = uniform_points(128, 2, np.random.RandomState(0))
    quadrature = build_importance_quadrature(
        geometry, ImportanceGrid(geometry), frame, rows, seen, std * np.eye(2), uniform
    )
    found = quadrature.moments(np.eye(2) / std**2)
    expected, second = isotropic(np.sin, np.pi, 2, std)
    error = abs(found.log_normalizer - np.log(expected))
    # Student's t of 7 degrees of freedom is beyond 5 in 0.2 % of all cases.
    assert error < 5.0 * found.log_normalizer_std < 0.1
    np.testing.assert_allclose(np.trace(found.second), second, rtol=0.1)


@spaces.on_numpy_alone
def test_points_are_drawn_where_directions_change_at_once(chart):
    # Geodesics to points above a cut come from one side, to those below from the other. In between
    # their directions are no mean of both, by which the density would be exp(-50) of theirs.
    geometry, _, frame = chart
    rows = frame.base + np.array([[0.7, 0.3], [1.3, 0.3], [0.7, -0.3], [1.3, -0.3]])
    seen = np.array([[2.0, 0.3], [2.0, 0.3], [-2.0, 0.3], [-2.0, 0.3]])
    drawn = ImportanceGrid(geometry).distribution(frame, rows, seen, np.diag([0.1, 25.0]))

    def mass(points):
        cells = [np.searchsorted(e, x) - 1 for e, x in zip(drawn.edges, points.T, strict=True)]
        return drawn.mass[tuple(cells)]

    assert mass(frame.base + np.array([[1.0, 0.0]])) > 0.2 * mass(rows).mean()


@spaces.on_numpy_alone
def test_importance_sampling_needs_codes_and_few_dimensions(chart):
    assert ImportanceGrid.serves(chart[0])
    without = LatentSpace(surfaces.plane_network(), 2)
    for geometry in (geometry_of(Hypersphere(2)), geometry_of(without)):
        assert not ImportanceGrid.serves(geometry)
        with pytest.raises(ValueError, match="at most 3 dimensions with a graph"):
            ImportanceGrid(geometry)


def test_draws_from_a_grid_follow_its_distribution():
    edges = np.array([[0.0, 1.0, 2.0], [0.0, 3.0, 6.0]])
    mass = np.array([[0.1, 0.2], [0.4, 0.3]])
    points, log_density = GridDistribution(edges, mass).draw(
        uniform_points(4096, 2, np.random.RandomState(0))
    )
    counts, *_ = np.histogram2d(*points.T, bins=edges)
    # Stratified: each of the 8 nets of 512 points is off by a few points at most.
    np.testing.assert_allclose(counts / len(points), mass, atol=0.01)
    cell = (points // [1.0, 3.0]).astype(int)
    np.testing.assert_allclose(np.exp(log_density), mass[cell[:, 0], cell[:, 1]] / 3.0)


@pytest.mark.parametrize("covariance_type", ["full", "diag", "spherical"])
def test_fitted_precision_matches_second_moments(covariance_type):
    quadrature, frame = rays(PoincareBall(2), [0.1, 0.3], np.diag([0.8, 0.6]))
    second = np.array([[0.5, 0.1], [0.1, 0.4]])
    basis = forms(covariance_type, frame)
    start = np.tensordot(np.full(len(basis), 1.0), basis, 1)
    start = np.eye(2) if covariance_type != "diag" else start / np.diag(start).mean()
    fit = fit_precision(quadrature, second, basis, 2.0 * start)
    # The equations of maximum likelihood, E[w' T_a w] = tr(T_a S).
    np.testing.assert_allclose(
        np.einsum("aij,ij->a", basis, fit.moments.second),
        np.einsum("aij,ij->a", basis, second),
        rtol=1e-5,
    )
    # Negative curvature has more volume far away: the same spread takes a narrower density.
    assert np.trace(np.linalg.inv(fit.precision)) < np.trace(second)


@pytest.mark.parametrize("name", CURVED)
def test_frames_are_orthonormal(name):
    space, base, _, _ = CURVED[name]
    frame = frame_at(geometry_of(space), np.asarray(base))
    product = gs.to_numpy(
        space.metric.inner_product(
            gs.from_numpy(frame.basis.T.copy()),
            gs.from_numpy(frame.basis.T[::-1].copy()),
            gs.from_numpy(np.tile(base, (frame.dim, 1))),
        )
    )
    np.testing.assert_allclose(product, np.eye(frame.dim)[::-1].diagonal(), atol=1e-12)
    weights = np.arange(1.0, frame.dim + 1.0)
    np.testing.assert_allclose(frame.coordinates(frame.vectors(weights)), weights, atol=1e-12)


def test_frames_follow_a_change_of_coordinates():
    change = np.array([[2.0, 0.3], [-0.5, 0.7]])
    inverse = torch.from_numpy(np.linalg.inv(change))
    decoders = surfaces.paraboloid, lambda z: surfaces.paraboloid(z @ inverse.T)
    rows = np.random.default_rng(0).standard_normal((10, 2))
    base, moved = np.array([0.2, 0.5]), np.array([0.4, 0.3])
    frames = []
    for decoder, matrix in zip(decoders, (np.eye(2), change), strict=True):
        geometry = geometry_of(LatentSpace(decoder, 2))
        frame = frame_at(geometry, matrix @ base)
        frame = lead_by(frame, frame.coordinates(rows @ matrix.T))
        frames.append(frame_at(geometry, matrix @ moved, frame))
    np.testing.assert_allclose(frames[1].basis, change @ frames[0].basis, atol=1e-10)


@pytest.mark.parametrize("name", CURVED)
def test_frames_along_coordinates_are_triangular(name):
    space, base, _, _ = CURVED[name]
    frame = frame_at(geometry_of(space), np.asarray(base))
    turned = along_coordinates(frame)
    triangle = turned.basis[-frame.dim :]
    np.testing.assert_allclose(np.tril(triangle, -1), 0.0, atol=1e-12)
    assert (np.diagonal(triangle) >= 0.0).all()
    np.testing.assert_allclose(turned.dual @ turned.basis, np.eye(frame.dim), atol=1e-12)
