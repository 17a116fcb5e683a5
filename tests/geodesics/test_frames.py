"""Parallel frames against transport along great circles, and their preconditioner."""

import math

import numpy as np
import pytest
import torch

from geomstats_vae.geodesics import frames
from geomstats_vae.geodesics.chains import Chains
from geomstats_vae.geodesics.curves.chain import assemble, first_unknown, straight
from geomstats_vae.geodesics.curves.reference import lagrange_matrix, reference_element
from geomstats_vae.geodesics.frames import FramePreconditioner, Frames, parallel_frames
from geomstats_vae.geodesics.model_options import FrameOptions
from geomstats_vae.immersions import AutodiffImmersion
from tests import surfaces

# Frames of the metric itself, not of one made a little larger.
BARE = FrameOptions(ridge=1e-11)


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
def test_frames_are_orthonormal(name):
    immersion = surfaces.immersion_of(surfaces.SURFACES[name])
    points = 0.5 + torch.rand(30, 2, generator=torch.Generator().manual_seed(0)).double()
    basis = parallel_frames(immersion, points, options=BARE)
    assert basis.shape == (30, 2, 2)
    assert orthonormality(immersion.metric(points), basis) < 1e-7


def test_frames_are_nearly_orthonormal_where_the_metric_is_made_larger():
    immersion = surfaces.immersion_of(surfaces.sphere, 16)
    points = great_circle(16, 20)
    basis = parallel_frames(immersion, points)
    assert orthonormality(immersion.metric(points), basis) < 2e-2


@pytest.mark.parametrize("dim", [2, 16])
def test_transport_along_a_great_circle_converges(dim):
    immersion, sizes = surfaces.immersion_of(surfaces.sphere, dim), (9, 17, 33, 65)
    errors = []
    for n_points in sizes:
        points = great_circle(dim, n_points)
        pushed = sphere_push(points, parallel_frames(immersion, points, options=BARE))
        value = surfaces.sphere(points)
        expected = moved(value[:1], value, pushed[:1])
        errors.append(float((pushed - expected).abs().max()))
    order = -np.polyfit(np.log(np.array(sizes) - 1.0), np.log(errors), 1)[0]
    assert order > 0.9
    assert errors[-1] < 0.01


def test_holonomy_of_a_circle_of_latitude():
    """Around it a frame turns by the area that it encloses."""
    immersion, radius = surfaces.immersion_of(surfaces.sphere), 0.5
    angles = torch.linspace(0.0, 2.0 * math.pi, 4001).double()
    points = radius * torch.stack((angles.cos(), angles.sin()), dim=1)
    basis = parallel_frames(immersion, points, options=BARE)
    turned = torch.linalg.solve(basis[0], basis[-1])
    area = 4.0 * math.pi * radius**2 / (1.0 + radius**2)
    found = math.atan2(float(turned[1, 0]), float(turned[0, 0]))
    assert math.remainder(found - area, 2.0 * math.pi) == pytest.approx(0.0, abs=5e-3)


def test_frames_of_flat_surfaces_do_not_turn():
    immersion = surfaces.immersion_of(surfaces.plane)
    points = torch.randn(9, 2, generator=torch.Generator().manual_seed(0)).double()
    basis = parallel_frames(immersion, points, options=BARE)
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
def test_frames_along_a_curve_and_its_halves(degree):
    immersion = surfaces.immersion_of(surfaces.sphere, 16)
    ends = great_circle(16, 2).numpy()
    curves = straight(ends[:1], ends[1:], 4, degree)
    basis = Frames.along(immersion, torch.tensor(curves.nodes), options=BARE)
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
    return torch.tensor(lagrange_matrix(reference_element(degree).nodes, points))


def preconditioner(immersion, start, end, n_elements=3, degree=4, options=None):
    curves = straight(start, end, n_elements, degree)
    nodes, element = torch.tensor(curves.nodes), reference_element(degree)
    weights = torch.tensor(element.weights).expand(len(nodes), -1)
    chains = Chains(curves.counts, degree, nodes.device)
    along = Frames.along(immersion, nodes, curves.counts, options)
    return FramePreconditioner(along, chains, element, weights)


def matrix_of(function, n_nodes, dim):
    columns = torch.eye(n_nodes * dim, dtype=torch.float64).view(-1, n_nodes, dim)
    return torch.stack([function(column).flatten() for column in columns], dim=1).numpy()


def test_preconditioner_is_symmetric_and_definite_between_the_ends():
    ends = great_circle(3, 2).numpy()
    inverse = preconditioner(surfaces.immersion_of(surfaces.sphere, 3), ends[:1], ends[1:])
    assert inverse.sound.all()
    matrix = matrix_of(inverse, 13, 3)
    np.testing.assert_allclose(matrix, matrix.T, atol=1e-12)
    assert (matrix[:3] == 0.0).all()
    assert (matrix[-3:] == 0.0).all()
    assert np.linalg.eigvalsh(matrix[3:-3, 3:-3]).min() > 0.0


def test_preconditioner_inverts_the_second_variation_of_straight_lines():
    """With a constant metric it is the stiffness of scalar functions times that metric."""
    start, end = np.zeros((1, 2)), np.array([[1.0, -2.0]])
    immersion, element = surfaces.immersion_of(surfaces.plane), reference_element(4)
    inverse = preconditioner(immersion, start, end, options=BARE)
    rule = element.differentiate
    stiffness = np.repeat([rule.T @ (element.weights[:, None] * rule)], 3, axis=0)
    metric = immersion.metric(torch.zeros(1, 2).double())[0].numpy()
    local = np.einsum("eab,ij->eaibj", stiffness, metric).reshape(3, 10, 10)
    lower = assemble(local, first_unknown(np.array([3]), 4, 2), 26, 8)
    dense = sum(np.diag(row[: 26 - k], -k) for k, row in enumerate(lower))
    dense = dense + np.tril(dense, -1).T
    product = matrix_of(inverse, 13, 2)[2:-2, 2:-2] @ dense[2:-2, 2:-2]
    np.testing.assert_allclose(product, np.eye(22), atol=1e-7)


def test_preconditioner_says_that_it_is_not_sound():
    def broken(z):
        return torch.sqrt(z - 0.5)

    start, end = np.zeros((1, 2)), np.ones((1, 2))
    assert not preconditioner(surfaces.immersion_of(broken), start, end).sound.any()


def test_float32_frames():
    immersion = AutodiffImmersion(surfaces.sphere, 16)
    points = great_circle(16, 9)
    exact = parallel_frames(immersion, points)
    found = parallel_frames(immersion, points.float())
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), exact, rtol=1e-4, atol=1e-4)


def test_unsound_curves_leave_the_others_alone():
    """A decoder that is not finite on the second of three curves."""

    def broken(z):
        return torch.cat((surfaces.sphere(z), torch.sqrt(z[:, :1] + 1.0)), dim=1)

    immersion = surfaces.immersion_of(broken)
    start, end = np.zeros((3, 2)), np.array([[0.5, 0.2], [-1.5, 0.0], [0.1, 0.7]])
    together = preconditioner(immersion, start, end)
    np.testing.assert_array_equal(together.sound, [True, False, True])
    right = torch.randn(39, 2, generator=torch.Generator().manual_seed(0)).double()
    right[20] = math.nan
    found = together(right)
    for k, nodes in ((0, slice(0, 13)), (2, slice(26, 39))):
        alone = preconditioner(immersion, start[[k]], end[[k]])
        torch.testing.assert_close(found[nodes], alone(right[nodes]), rtol=1e-12, atol=1e-12)


def test_polygons_of_a_batch_have_the_frames_that_each_has_alone():
    immersion = surfaces.immersion_of(surfaces.sphere, 5)
    counts = np.array([7, 2, 12])
    polygons = [great_circle(5, n, seed=k) for k, n in enumerate(counts)]
    found = parallel_frames(immersion, torch.cat(polygons), counts)
    for part, points in zip(found.split(list(counts)), polygons, strict=True):
        torch.testing.assert_close(part, parallel_frames(immersion, points), rtol=0.0, atol=1e-12)


@pytest.mark.parametrize("counts", [[1], [3], [2, 1, 4]])
@pytest.mark.parametrize("degree", [1, 4])
def test_chains(counts, degree):
    generator, counts = torch.Generator().manual_seed(0), np.array(counts)
    chains = Chains(counts, degree, torch.device("cpu"))
    assert chains.n_nodes == counts.sum() * degree + len(counts)
    values = torch.randn(chains.n_nodes, 2, generator=generator)
    local = chains.at_elements(values)
    assert local.shape == (counts.sum(), degree + 1, 2)
    torch.testing.assert_close(chains.join(local), values)
    # Summing is the transpose of viewing.
    other = torch.randn(local.shape, generator=generator)
    before = other.clone()
    gathered = chains.gather(other)
    torch.testing.assert_close((gathered * values).sum(), (other * local).sum())
    assert torch.equal(other, before)
    np.testing.assert_allclose(
        chains.dots(gathered, values).sum(), float((gathered * values).sum()), rtol=1e-5
    )
    ends = chains.fix_ends(values.clone())
    fixed = np.concatenate((chains.starts[:-1], chains.starts[1:] - 1))
    assert (ends[fixed] == 0.0).all()
    inner = np.setdiff1d(np.arange(chains.n_nodes), fixed)
    assert torch.equal(ends[inner], values[inner])
    number = chains.spread(np.arange(len(counts)) + 1.0, values) * torch.ones_like(values)
    np.testing.assert_array_equal(number[fixed, 0], np.tile(np.arange(len(counts)) + 1, 2))
    last = chains.take(np.array([len(counts) - 1]))
    assert int(chains.chosen([len(counts) - 1]).sum()) == last.n_nodes
    only = chains.only(np.array([len(counts) - 1]), values)
    assert torch.equal(only[-last.n_nodes :], values[-last.n_nodes :])
    assert (only[: -last.n_nodes] == 0.0).all()
