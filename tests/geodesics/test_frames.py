"""Parallel frames against transport along great circles, and their preconditioner."""

import math

import numpy as np
import pytest
import torch

from geomstats_vae.geodesics import banded, frames
from geomstats_vae.geodesics.chains import element_view, fix_ends, gather_nodes, join_nodes
from geomstats_vae.geodesics.curves import straight
from geomstats_vae.geodesics.elements import reference_element
from geomstats_vae.geodesics.frames import FramePreconditioner, Frames, parallel_frames
from tests import surfaces


@pytest.fixture
def bare(monkeypatch):
    """Frames of the metric itself, not of one made a little larger."""
    monkeypatch.setattr(frames, "_RIDGE", 1e-11)


def great_circle(dim, n_points, seed=0):
    generator = torch.Generator().manual_seed(seed)
    start, velocity = 0.4 * torch.randn(2, 1, dim, generator=generator).double()
    velocity = velocity / velocity.norm()
    times = torch.linspace(0.0, 1.0, n_points).double()[:, None]
    return surfaces.sphere_exp(start.expand(n_points, -1), times * velocity)


def sphere_push(points, basis):
    """Frames in the target, shape=[n_points, dim + 1, dim]."""
    jacobian = surfaces.immersion_of(surfaces.sphere, points.shape[1]).jacobian(points)[1]
    return jacobian.transpose(1, 2) @ basis


def moved(x, y, u):
    """Parallel transport on the sphere from x to y along the great circle; u as columns."""
    return u - (x + y)[..., None] * (y[..., None, :] @ u) / (1.0 + (x * y).sum(-1))[..., None, None]


def orthonormality(metric, basis):
    eye = torch.eye(basis.shape[-1], dtype=basis.dtype)
    return float((basis.transpose(-1, -2) @ metric @ basis - eye).abs().max())


@pytest.mark.parametrize("name", ["sphere", "paraboloid", "torus", "spherical", "swiss_roll"])
def test_frames_are_orthonormal(name, bare):
    immersion = surfaces.immersion_of(surfaces.SURFACES[name])
    points = 0.5 + torch.rand(30, 2, generator=torch.Generator().manual_seed(0)).double()
    basis = parallel_frames(immersion, points)
    assert basis.shape == (30, 2, 2)
    assert orthonormality(immersion.metric(points), basis) < 1e-7


def test_frames_are_nearly_orthonormal_where_the_metric_is_made_larger():
    immersion = surfaces.immersion_of(surfaces.sphere, 16)
    points = great_circle(16, 20)
    basis = parallel_frames(immersion, points)
    assert orthonormality(immersion.metric(points), basis) < 2e-2


@pytest.mark.parametrize("dim", [2, 16])
def test_transport_along_a_great_circle_converges(dim, bare):
    immersion, sizes = surfaces.immersion_of(surfaces.sphere, dim), (9, 17, 33, 65)
    errors = []
    for n_points in sizes:
        points = great_circle(dim, n_points)
        pushed = sphere_push(points, parallel_frames(immersion, points))
        value = surfaces.sphere(points)
        expected = moved(value[:1], value, pushed[:1])
        errors.append(float((pushed - expected).abs().max()))
    order = -np.polyfit(np.log(np.array(sizes) - 1.0), np.log(errors), 1)[0]
    assert order > 0.9
    assert errors[-1] < 0.01


def test_holonomy_of_a_circle_of_latitude(bare):
    """Around it a frame turns by the area that it encloses."""
    immersion, radius = surfaces.immersion_of(surfaces.sphere), 0.5
    angles = torch.linspace(0.0, 2.0 * math.pi, 4001).double()
    points = radius * torch.stack((angles.cos(), angles.sin()), dim=1)
    basis = parallel_frames(immersion, points)
    turned = torch.linalg.solve(basis[0], basis[-1])
    area = 4.0 * math.pi * radius**2 / (1.0 + radius**2)
    found = math.atan2(float(turned[1, 0]), float(turned[0, 0]))
    assert math.remainder(found - area, 2.0 * math.pi) == pytest.approx(0.0, abs=5e-3)


def test_frames_of_flat_surfaces_do_not_turn(bare):
    immersion = surfaces.immersion_of(surfaces.plane)
    points = torch.randn(9, 2, generator=torch.Generator().manual_seed(0)).double()
    basis = parallel_frames(immersion, points)
    torch.testing.assert_close(basis, basis[:1].expand_as(basis), rtol=1e-8, atol=1e-9)


def test_units_of_the_coordinates_do_not_matter():
    units = torch.tensor([0.1, 1.0, 5.0]).double()
    points = great_circle(3, 12)
    old = parallel_frames(surfaces.immersion_of(surfaces.sphere, 3), points)
    changed = surfaces.immersion_of(lambda w: surfaces.sphere(w / units), 3)
    new = parallel_frames(changed, points * units)
    torch.testing.assert_close(new / units[:, None], old, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("size", [1, 4096, 2**40])
def test_pieces_of_the_memory_change_nothing(size, monkeypatch):
    immersion, points = surfaces.immersion_of(surfaces.sphere, 16), great_circle(16, 23)
    whole = parallel_frames(immersion, points)
    monkeypatch.setattr(frames, "_JACOBIAN_BYTES", size)
    torch.testing.assert_close(parallel_frames(immersion, points), whole, rtol=1e-12, atol=1e-12)


SINGULAR = {
    "no metric": lambda z: torch.zeros(len(z), 3, dtype=z.dtype),
    "rank one": lambda z: torch.sin(z[:, :1]),
    "a dead coordinate": lambda z: torch.cat((surfaces.sphere(z[:, :3]), 0.0 * z), dim=1),
}


@pytest.mark.parametrize("name", SINGULAR)
def test_singular_metrics_have_frames(name):
    points = great_circle(4, 9)
    basis = parallel_frames(surfaces.immersion_of(SINGULAR[name], 4), points)
    assert torch.isfinite(basis).all()
    assert (torch.linalg.matrix_rank(basis) == 4).all()


@pytest.mark.parametrize("degree", [4, 8])
def test_frames_along_a_curve_and_its_halves(degree, bare):
    immersion = surfaces.immersion_of(surfaces.sphere, 16)
    ends = great_circle(16, 2).numpy()
    curves = straight(ends[:1], ends[1:], 4, degree)
    basis = Frames.along(immersion, torch.tensor(curves.nodes))
    points = np.linspace(-1.0, 1.0, 7)
    where = torch.einsum("qa,ead->eqd", basis_of(degree, points), torch.tensor(curves.nodes))
    metric = immersion.metric(where.flatten(0, 1))
    assert orthonormality(metric, basis.at(points).flatten(0, 1)) < 1e-3
    torch.testing.assert_close(basis.at(points)[1:, 0], basis.at(points)[:-1, -1])
    marked = np.array([True, False, False, True])
    halves = basis.split(marked)
    assert len(halves.values) == 6
    old, new = basis.at(points), halves.at(points)
    torch.testing.assert_close(new[[2, 3]], old[[1, 2]])
    for first, whole in ((0, 0), (4, 3)):
        torch.testing.assert_close(new[first], basis.at(0.5 * (points - 1.0))[whole])
        torch.testing.assert_close(new[first + 1], basis.at(0.5 * (points + 1.0))[whole])


def basis_of(degree, points):
    return torch.tensor(frames.lagrange_matrix(reference_element(degree).nodes, points))


def preconditioner(immersion, start, end, n_elements=3, degree=4):
    curves = straight(start, end, n_elements, degree)
    nodes, element = torch.tensor(curves.nodes), reference_element(degree)
    weights = torch.tensor(element.weights).expand(n_elements, -1)
    return FramePreconditioner(Frames.along(immersion, nodes), element, weights)


def matrix_of(function, n_nodes, dim):
    columns = torch.eye(n_nodes * dim, dtype=torch.float64).view(-1, n_nodes, dim)
    return torch.stack([function(column).flatten() for column in columns], dim=1).numpy()


def test_preconditioner_is_symmetric_and_definite_between_the_ends():
    ends = great_circle(3, 2).numpy()
    inverse = preconditioner(surfaces.immersion_of(surfaces.sphere, 3), ends[:1], ends[1:])
    assert inverse.sound
    matrix = matrix_of(inverse, 13, 3)
    np.testing.assert_allclose(matrix, matrix.T, atol=1e-12)
    assert (matrix[:3] == 0.0).all()
    assert (matrix[-3:] == 0.0).all()
    assert np.linalg.eigvalsh(matrix[3:-3, 3:-3]).min() > 0.0


def test_preconditioner_inverts_the_second_variation_of_straight_lines(bare):
    """With a constant metric it is the stiffness of scalar functions times that metric."""
    start, end = np.zeros((1, 2)), np.array([[1.0, -2.0]])
    immersion, element = surfaces.immersion_of(surfaces.plane), reference_element(4)
    inverse = preconditioner(immersion, start, end)
    rule = element.differentiate
    stiffness = np.repeat([rule.T @ (element.weights[:, None] * rule)], 3, axis=0)
    metric = immersion.metric(torch.zeros(1, 2).double())[0].numpy()
    local = np.einsum("eab,ij->eaibj", stiffness, metric).reshape(3, 10, 10)
    lower = banded.assemble(local, np.array([3]), 4, 2)
    dense = sum(np.diag(row[: 26 - k], -k) for k, row in enumerate(lower))
    dense = dense + np.tril(dense, -1).T
    product = matrix_of(inverse, 13, 2)[2:-2, 2:-2] @ dense[2:-2, 2:-2]
    np.testing.assert_allclose(product, np.eye(22), atol=1e-7)


def test_preconditioner_says_that_it_is_not_sound():
    def broken(z):
        return torch.sqrt(z - 0.5)

    start, end = np.zeros((1, 2)), np.ones((1, 2))
    assert not preconditioner(surfaces.immersion_of(broken), start, end).sound


def test_float32_frames():
    immersion = surfaces.immersion_of(surfaces.sphere, 16)
    points = great_circle(16, 9)
    exact = parallel_frames(immersion, points)
    found = parallel_frames(immersion, points.float())
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), exact, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("n_elements", "degree"), [(1, 1), (1, 4), (3, 1), (3, 4)])
def test_chains(n_elements, degree):
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(n_elements * degree + 1, 2, generator=generator)
    local = element_view(values, degree)
    assert local.shape == (n_elements, degree + 1, 2)
    torch.testing.assert_close(local[1:, 0], local[:-1, -1])
    torch.testing.assert_close(join_nodes(local), values)
    # Summing is the transpose of viewing.
    other = torch.randn(local.shape, generator=generator)
    before = other.clone()
    gathered = gather_nodes(other)
    torch.testing.assert_close((gathered * values).sum(), (other * local).sum())
    assert torch.equal(other, before)
    ends = fix_ends(values.clone())
    assert (ends[[0, -1]] == 0.0).all()
    assert torch.equal(ends[1:-1], values[1:-1])
    strided = torch.stack((values, values), dim=0).transpose(0, 1)
    torch.testing.assert_close(element_view(strided, degree)[:, :, 0], local)
