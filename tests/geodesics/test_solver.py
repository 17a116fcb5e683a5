"""The solver against closed forms, invariances, and decoders that are made to trick it."""

import numpy as np
import pytest
import torch

from geomstats_vae.geodesics import GeodesicSolver, GeodesicStatus, LatentGraph
from geomstats_vae.immersions import AutodiffImmersion, compile_immersion
from tests import surfaces


def _pairs(n_pairs, scale=0.6, dim=2, seed=0):
    generator = np.random.default_rng(seed)
    return scale * generator.standard_normal((2, n_pairs, dim))


@pytest.fixture(scope="module")
def sphere():
    return AutodiffImmersion(surfaces.sphere, 2)


def _great_circle(start, end):
    return surfaces.sphere_distance(torch.tensor(start), torch.tensor(end)).numpy()


def test_lengths_on_the_sphere_follow_the_tolerance(sphere):
    start, end = _pairs(12)
    exact = _great_circle(start, end)
    for tol in (1e-4, 1e-8, 1e-12):
        path = GeodesicSolver(tol=tol).solve(sphere, start, end)
        assert path.converged.all()
        assert (np.abs(path.length - exact) <= tol * exact).all()
        assert (path.residual <= tol).all()


def test_initial_velocity_is_the_logarithm(sphere):
    start, end = _pairs(6)
    path = GeodesicSolver(tol=1e-12).solve(sphere, start, end)
    reached = surfaces.sphere_exp(torch.tensor(start), torch.tensor(path.initial_velocity))
    np.testing.assert_allclose(reached.numpy(), end, atol=1e-6)
    metric = surfaces.sphere_metric(torch.tensor(end)).numpy()
    speed = np.sqrt(np.einsum("nij,ni,nj->n", metric, *[path.final_velocity] * 2))
    np.testing.assert_allclose(speed, path.length, rtol=1e-6)


def test_paths_have_constant_speed_and_the_right_ends(sphere):
    start, end = _pairs(5)
    path = GeodesicSolver(tol=1e-10).solve(sphere, start, end)
    points = path(np.linspace(0.0, 1.0, 21))
    np.testing.assert_allclose(points[:, [0, -1]], np.stack((start, end), axis=1), atol=1e-12)
    value = surfaces.sphere(torch.tensor(points.reshape(-1, 2))).reshape(5, 21, 3)
    chords = (value[:, 1:] - value[:, :-1]).norm(dim=2)
    assert float((chords.std(dim=1) / chords.mean(dim=1)).max()) < 5e-5


def test_symmetry(sphere):
    start, end = _pairs(5)
    there = GeodesicSolver(tol=1e-10).solve(sphere, start, end)
    back = GeodesicSolver(tol=1e-10).solve(sphere, end, start)
    np.testing.assert_allclose(there.length, back.length, rtol=1e-9)
    np.testing.assert_allclose(there.initial_velocity, -back.final_velocity, atol=1e-5)


def test_a_batch_is_its_pairs_one_by_one(sphere):
    start, end = _pairs(4, scale=1.5)
    solver = GeodesicSolver()
    batch = solver.solve(sphere, start, end)
    for k in range(4):
        alone = solver.solve(sphere, start[k : k + 1], end[k : k + 1])
        assert alone.length[0] == pytest.approx(batch.length[k], rel=1e-12)
    blocks = GeodesicSolver(memory_limit=1).solve(sphere, start, end)
    np.testing.assert_allclose(blocks.length, batch.length, rtol=1e-12)
    t = np.linspace(0.0, 1.0, 5)
    np.testing.assert_allclose(blocks(t), batch(t), atol=1e-9)


def test_affine_change_of_latent_coordinates(sphere):
    matrix, shift = np.array([[3.0, 1.0], [-0.5, 0.2]]), np.array([0.3, -1.0])
    inverse = torch.tensor(np.linalg.inv(matrix))
    changed = AutodiffImmersion(lambda w: surfaces.sphere((w - torch.tensor(shift)) @ inverse.T), 2)
    start, end = _pairs(5)
    old = GeodesicSolver(tol=1e-9).solve(sphere, start, end)
    new = GeodesicSolver(tol=1e-9).solve(changed, start @ matrix.T + shift, end @ matrix.T + shift)
    np.testing.assert_allclose(new.length, old.length, rtol=1e-8)
    np.testing.assert_allclose(
        new.initial_velocity, old.initial_velocity @ matrix.T, rtol=1e-3, atol=1e-4
    )


@pytest.mark.parametrize("dim", [1, 3, 6])
def test_other_dimensions(dim):
    start, end = _pairs(4, scale=0.3, dim=dim)
    path = GeodesicSolver(tol=1e-9).solve(AutodiffImmersion(surfaces.sphere, dim), start, end)
    assert path.converged.all()
    np.testing.assert_allclose(path.length, _great_circle(start, end), rtol=1e-8)


def test_coincident_ends_and_empty_batches(sphere):
    point = np.array([[0.3, 0.2]])
    path = GeodesicSolver().solve(sphere, point, point)
    assert path.length[0] == 0.0
    assert path.converged[0]
    np.testing.assert_array_equal(path.initial_velocity, 0.0)
    np.testing.assert_allclose(path([0.0, 0.5])[0], [point[0], point[0]], rtol=1e-15)
    empty = GeodesicSolver().solve(sphere, np.zeros((0, 2)), np.zeros((0, 2)))
    assert empty.length.shape == (0,)
    assert empty(np.array([0.5])).shape == (0, 1, 2)


def test_a_decoder_that_is_not_finite_says_so():
    immersion = AutodiffImmersion(lambda z: torch.sqrt(z), 2)
    path = GeodesicSolver().solve(immersion, np.array([[-1.0, 1.0]]), np.array([[2.0, 1.0]]))
    assert path.status[0] == GeodesicStatus.NON_FINITE
    assert not path.converged[0]
    assert path.length[0] == np.inf


def test_a_single_step_is_not_called_converged(sphere):
    start, end = np.array([[-1.5, 1.0]]), np.array([[1.2, 1.4]])
    path = GeodesicSolver(max_iter=1, max_elements=2).solve(sphere, start, end)
    assert path.status[0] == GeodesicStatus.MAX_ITER
    assert path.summary() == {GeodesicStatus.MAX_ITER: 1}
    assert "max_iter" in GeodesicStatus.MAX_ITER.message


def _gap_in_a_wall(z):
    """A thin high wall along x = 0 with one gap at y = 1: std rises from 0.1 to 30."""
    x, y = z.unbind(-1)
    wall = torch.exp(-((x / 0.05) ** 2)) * (1.0 - torch.exp(-(((y - 1.0) / 0.2) ** 2)))
    return torch.stack((x, y, 0.1 + 30.0 * wall), dim=-1)


@pytest.fixture(scope="module")
def gap():
    immersion = compile_immersion(_gap_in_a_wall, 2)
    immersion.n_mean = 2
    return immersion


def test_a_wall_with_a_gap_is_passed_through_the_gap(gap):
    start, end = np.array([[-0.8, 0.0]]), np.array([[0.8, 0.1]])
    codes = np.random.default_rng(0).uniform([-1, -0.5], [1, 1.5], size=(300, 2))
    graph = LatentGraph(gap, np.concatenate((codes, start, end)), grid_size=96)
    path = GeodesicSolver().solve(gap, start, end, graph)
    points = path(np.linspace(0.0, 1.0, 400))[0]
    crossing = points[np.abs(points[:, 0]).argmin()]
    assert crossing[1] == pytest.approx(1.0, abs=0.15)
    assert path.converged[0]
    # Around by the gap costs little more than the two straight legs.
    legs = np.hypot(0.8, 1.0) + np.hypot(0.8, 0.9)
    assert 0.9 * legs < path.length[0] < 1.15 * legs


def test_lengths_are_honest_on_walls(gap):
    """Measured independently, no curve is longer than it says, and none longer than the line."""
    generator = np.random.default_rng(1)
    start = generator.uniform([-1, -0.5], [0, 1.5], size=(8, 2))
    end = generator.uniform([0, -0.5], [1, 1.5], size=(8, 2))
    graph = LatentGraph(gap, np.concatenate((start, end)), grid_size=64)
    path = GeodesicSolver().solve(gap, start, end, graph)
    t = np.linspace(0.0, 1.0, 20001)
    fine = path(t)
    lines = start[:, None] + t[:, None] * (end - start)[:, None]

    def measure(points):
        value = gap(torch.tensor(points.reshape(-1, 2))).reshape(8, len(t), -1)
        return (value[:, 1:] - value[:, :-1]).norm(dim=2).sum(1).numpy()

    length = measure(fine)
    np.testing.assert_allclose(length[path.converged], path.length[path.converged], rtol=5e-3)
    assert (length <= measure(lines) * 1.001).all()


def test_two_equal_valleys_give_one_of_them():
    hill = AutodiffImmersion(
        lambda z: torch.cat((z, 2.0 * torch.exp(-4.0 * (z * z).sum(-1, keepdim=True))), -1), 2
    )
    start, end = np.array([[-1.2, 0.0]]), np.array([[1.2, 0.0]])
    codes = np.random.default_rng(0).uniform(-1.5, 1.5, size=(200, 2))
    line = torch.tensor(np.linspace(start[0], end[0], 1000))
    over = (hill(line[1:]) - hill(line[:-1])).norm(dim=1).sum()
    around = GeodesicSolver().solve(hill, start, end, LatentGraph(hill, codes, grid_size=64))
    assert around.converged[0]
    assert around.length[0] < 0.9 * over
    # The line over the top is stationary, a saddle, and is left even without a graph.
    alone = GeodesicSolver().solve(hill, start, end)
    assert alone.converged[0]
    np.testing.assert_allclose(alone.length, around.length, rtol=1e-5)


def test_graph_joins_codes_in_separate_clusters():
    generator = np.random.default_rng(0)
    clusters = [generator.normal(center, 0.05, size=(30, 4)) for center in (-1.0, 0.0, 1.5)]
    immersion = AutodiffImmersion(lambda z: z @ torch.eye(4, 6, dtype=z.dtype), 4)
    graph = LatentGraph(immersion, np.concatenate(clusters))
    ways, cost = graph.paths(clusters[0][:2], clusters[2][:2])
    straight = np.linalg.norm(clusters[2][:2] - clusters[0][:2], axis=1)
    assert np.isfinite(cost).all()
    assert (cost < 1.5 * straight).all()
    for way, a, b in zip(ways, clusters[0], clusters[2], strict=False):
        np.testing.assert_array_equal(way[[0, -1]], [a, b])


def _relu_network(z):
    generator = torch.Generator().manual_seed(0)
    weights = [torch.randn(shape, generator=generator).double() for shape in ((8, 2), (8,), (5, 8))]
    return torch.cat((torch.relu(z @ weights[0].T + weights[1]) @ weights[2].T, z), -1)


@pytest.mark.parametrize("immersion_of", [AutodiffImmersion, compile_immersion])
def test_relu_decoders_are_solved_rounded_and_measured_as_they_are(immersion_of):
    immersion, (start, end) = immersion_of(_relu_network, 2), _pairs(4, scale=1.0)
    path = GeodesicSolver().solve(immersion, start, end)
    assert path.converged.all()
    assert (path.width > 0.0).all()
    assert path.status.tolist() == [GeodesicStatus.CONVERGED] * 4

    def measured(points):
        value = _relu_network(torch.tensor(points.reshape(-1, 2))).reshape(4, 2001, -1)
        return (value[:, 1:] - value[:, :-1]).norm(dim=2).sum(1).numpy()

    t = np.linspace(0, 1, 2001)
    np.testing.assert_allclose(path.length, measured(path(t)), rtol=1e-3)
    np.testing.assert_allclose(path.energy, 0.5 * path.length**2)
    lines = start[:, None] + t[:, None] * (end - start)[:, None]
    assert (path.length < measured(lines)).all()
    # Velocities have the norm of the decoder's own metric.
    for base, velocity in ((start, path.initial_velocity), (end, path.final_velocity)):
        pushed = immersion.push(torch.tensor(base), torch.tensor(velocity))
        np.testing.assert_allclose(pushed.norm(dim=1), path.length, rtol=1e-9)


def test_smooth_decoders_have_no_width(sphere):
    path = GeodesicSolver().solve(sphere, *_pairs(2))
    assert (path.width == 0.0).all()


def test_nothing_global_changes(sphere):
    state, threads, dtype = (
        torch.get_rng_state(),
        torch.get_num_threads(),
        torch.get_default_dtype(),
    )
    numpy_state = np.random.get_state()[1].copy()  # noqa: NPY002
    GeodesicSolver().solve(sphere, *_pairs(2))
    assert torch.equal(torch.get_rng_state(), state)
    assert (torch.get_num_threads(), torch.get_default_dtype()) == (threads, dtype)
    np.testing.assert_array_equal(np.random.get_state()[1], numpy_state)  # noqa: NPY002
