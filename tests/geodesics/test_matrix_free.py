"""Geodesics in many dimensions: closed forms, the matrix path, invariances, singular metrics."""

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from geomstats_vae.geodesics import (
    GeodesicSolver,
    GeodesicStatus,
    LatentGraph,
    local_minima,
    polish_velocities,
)
from geomstats_vae.geodesics.assembled import AssembledModel
from geomstats_vae.geodesics.curves.chain import concatenate, straight
from geomstats_vae.geodesics.matrix_free import MatrixFreeModel
from geomstats_vae.geodesics.options import DescentOptions
from geomstats_vae.immersions.composed import ScaledImmersion
from geomstats_vae.immersions.network import compile_immersion
from tests import surfaces

DIM = 16


def draw(n_pairs=3, scale=0.3, dim=DIM, seed=0):
    return scale * np.random.default_rng(seed).standard_normal((2, n_pairs, dim))


def network(*widths, activation=nn.Tanh, seed=0):
    """A chain of linear maps with an activation between."""
    generator = torch.Generator().manual_seed(seed)
    layers = []
    for inputs, outputs in pairwise(widths):
        layer = nn.Linear(inputs, outputs, dtype=torch.float64).requires_grad_(False)
        weight = torch.randn(outputs, inputs, generator=generator).double()
        layer.weight.copy_(1.5 / math.sqrt(inputs) * weight)
        layer.bias.copy_(0.3 * torch.randn(outputs, generator=generator).double())
        layers += [layer, activation()]
    return nn.Sequential(*layers[:-1]).eval()


def compiled(*widths, **options):
    return compile_immersion(network(*widths, **options), widths[0])


def measure(immersion, points):
    """Lengths of polylines by chords, shape=[n_lines, n_vertices, dim]."""
    value = immersion(torch.tensor(points.reshape(-1, points.shape[2]), dtype=immersion.dtype))
    value = value.double().numpy().reshape(*points.shape[:2], -1)
    return np.linalg.norm(np.diff(value, axis=1), axis=2).sum(axis=1)


def line_length(immersion, start, end, n_chords=2000):
    t = np.linspace(0.0, 1.0, n_chords + 1)[:, None]
    return measure(immersion, start[:, None] + t * (end - start)[:, None])


def great_circle(start, end):
    return surfaces.sphere_distance(torch.tensor(start), torch.tensor(end)).numpy()


@pytest.fixture(scope="module")
def sphere():
    return surfaces.immersion_of(surfaces.sphere, DIM)


@pytest.mark.parametrize(("dim", "free"), [(1, False), (5, False), (6, True), (40, True)])
def test_matrices_are_for_few_dimensions(dim, free):
    model = GeodesicSolver().curve_model(surfaces.immersion_of(surfaces.sphere, dim), 4, None)
    assert type(model) is (MatrixFreeModel if free else AssembledModel)


def test_memory_of_a_pair_grows_with_the_square_of_the_dimension():
    def pair_bytes(dim):
        immersion = surfaces.immersion_of(surfaces.sphere, dim)
        return GeodesicSolver().curve_model(immersion, 8, None).pair_bytes

    assert pair_bytes(40) == 4 * pair_bytes(20)
    assert pair_bytes(4) == 4 * pair_bytes(2)


@pytest.mark.parametrize("n_outputs", [DIM, 30])
def test_linear_decoders_have_straight_geodesics(n_outputs):
    immersion, (start, end) = compiled(DIM, n_outputs), draw()
    path = GeodesicSolver(tol=1e-10).solve(immersion, start, end)
    assert path.converged.all()
    value = immersion(torch.tensor(end)) - immersion(torch.tensor(start))
    np.testing.assert_allclose(path.length, value.norm(dim=1), rtol=1e-10)
    t = np.linspace(0.0, 1.0, 9)
    np.testing.assert_allclose(
        path(t), start[:, None] + t[:, None] * (end - start)[:, None], atol=1e-8
    )
    np.testing.assert_allclose(path.initial_velocity, end - start, atol=1e-8)
    np.testing.assert_allclose(path.final_velocity, end - start, atol=1e-8)
    assert local_minima(immersion, path).all()


@pytest.mark.parametrize("dim", [13, 16, 40])
@pytest.mark.parametrize("tol", [1e-4, 1e-8, 1e-12])
def test_great_circles_follow_the_tolerance(dim, tol):
    start, end = draw(4, 0.3, dim)
    exact = great_circle(start, end)
    path = GeodesicSolver(tol=tol).solve(surfaces.immersion_of(surfaces.sphere, dim), start, end)
    assert path.converged.all()
    assert (np.abs(path.length - exact) <= tol * exact).all()
    assert (path.residual <= tol).all()


def test_initial_velocities_are_logarithms(sphere):
    start, end = draw()
    path = GeodesicSolver(tol=1e-12).solve(sphere, start, end)
    reached = surfaces.sphere_exp(torch.tensor(start), torch.tensor(path.initial_velocity))
    np.testing.assert_allclose(reached.numpy(), end, atol=1e-5)
    polished = polish_velocities(sphere, path)
    assert (polished.velocity_error <= 1e-9).all()
    for here, there, velocity in (
        (start, end, polished.initial_velocity),
        (end, start, -polished.final_velocity),
    ):
        reached = surfaces.sphere_exp(torch.tensor(here), torch.tensor(velocity))
        np.testing.assert_allclose(reached.numpy(), there, atol=1e-9)
    assert local_minima(sphere, path).all()


def test_paths_have_constant_speed_and_the_right_ends(sphere):
    start, end = draw()
    path = GeodesicSolver(tol=1e-10).solve(sphere, start, end)
    points = path(np.linspace(0.0, 1.0, 21))
    np.testing.assert_allclose(points[:, [0, -1]], np.stack((start, end), axis=1), atol=1e-12)
    value = surfaces.sphere(torch.tensor(points))
    chords = (value[:, 1:] - value[:, :-1]).norm(dim=2)
    assert float((chords.std(dim=1) / chords.mean(dim=1)).max()) < 5e-5


def test_symmetry(sphere):
    start, end = draw()
    there = GeodesicSolver(tol=1e-10).solve(sphere, start, end)
    back = GeodesicSolver(tol=1e-10).solve(sphere, end, start)
    np.testing.assert_allclose(there.length, back.length, rtol=1e-9)
    np.testing.assert_allclose(there.initial_velocity, -back.final_velocity, atol=1e-4)


@pytest.mark.parametrize("reach", [0.9, 1.1])
def test_a_great_circle_is_a_minimum_up_to_its_half(sphere, reach):
    end = np.full((1, DIM), reach / math.sqrt(DIM))
    curves = straight(-end, end, 4, 8)
    model = MatrixFreeModel(sphere, 8)
    assert model.definite(curves)[0] == (reach < 1.0)
    step, decrement, definite = model.newton_step(curves, model.variation(curves.nodes))
    assert definite[0] == (reach < 1.0)
    assert np.isfinite(decrement).all()
    np.testing.assert_allclose(step, 0.0, atol=1e-6)


@pytest.mark.parametrize("dim", [2, 4])
def test_steps_equal_those_by_matrices(dim):
    immersion = compiled(dim, 20, 20, 30)
    curves = concatenate([straight(*draw(2, 0.4, dim), n, 6) for n in (3, 5)])
    expected, found = (
        model.newton_step(curves, model.variation(curves.nodes))
        for model in (AssembledModel(immersion, 6), MatrixFreeModel(immersion, 6, 10**6))
    )
    assert expected[2].all()
    assert found[2].all()
    np.testing.assert_allclose(found[1], expected[1], rtol=1e-2)
    np.testing.assert_allclose(found[0], expected[0], atol=1e-2 * np.abs(expected[0]).max())


NETWORKS = {
    "tanh": lambda: compiled(4, 20, 20, 30),
    "silu": lambda: compiled(4, 20, 30, activation=nn.SiLU),
    "thin": lambda: compiled(4, 2, 20, 30),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_both_models_find_the_same(name):
    immersion, (start, end) = NETWORKS[name](), draw(5, 0.6, 4)
    solver = GeodesicSolver(tol=1e-9)
    by_matrices = solver.solve(immersion, start, end)
    free = replace(solver, model=MatrixFreeModel).solve(immersion, start, end)
    assert by_matrices.converged.all()
    assert free.converged.all()
    np.testing.assert_allclose(free.length, by_matrices.length, rtol=1e-7)
    if name != "thin":  # there velocities are not unique
        size = np.abs(by_matrices.initial_velocity).max()
        for which in ("initial_velocity", "final_velocity"):
            np.testing.assert_allclose(
                getattr(free, which), getattr(by_matrices, which), atol=1e-3 * size
            )
        assert local_minima(immersion, free, model=MatrixFreeModel).all()


@pytest.mark.parametrize("name", surfaces.SURFACES)
def test_surfaces_without_matrices(name):
    start, end = (1.0 + part for part in draw(4, 0.4, 2))
    immersion = surfaces.immersion_of(surfaces.SURFACES[name])
    solver = GeodesicSolver(tol=1e-9, model=MatrixFreeModel)
    path = solver.solve(immersion, start, end)
    assert path.converged.all()
    exact = getattr(surfaces, f"{name}_distance", None)
    if exact is not None:
        exact = exact(torch.tensor(start), torch.tensor(end)).numpy()
        np.testing.assert_allclose(path.length, exact, rtol=1e-8)


def test_a_wall_is_passed_through_its_gap_without_matrices():
    def gap_in_a_wall(z):
        x, y = z.unbind(-1)
        wall = torch.exp(-((x / 0.05) ** 2)) * (1.0 - torch.exp(-(((y - 1.0) / 0.2) ** 2)))
        return torch.stack((x, y, 0.1 + 30.0 * wall), dim=-1)

    immersion = surfaces.immersion_of(gap_in_a_wall)
    immersion.n_mean = 2
    start, end = np.array([[-0.8, 0.0]]), np.array([[0.8, 0.1]])
    codes = np.random.default_rng(0).uniform([-1, -0.5], [1, 1.5], size=(300, 2))
    graph = LatentGraph(immersion, np.concatenate((codes, start, end)), grid_size=64)
    path = GeodesicSolver(max_assembled_dim=0).solve(immersion, start, end, graph)
    assert path.converged[0]
    points = path(np.linspace(0.0, 1.0, 400))[0]
    assert points[np.abs(points[:, 0]).argmin(), 1] == pytest.approx(1.0, abs=0.15)
    legs = np.hypot(0.8, 1.0) + np.hypot(0.8, 0.9)
    assert 0.9 * legs < path.length[0] < 1.15 * legs


def test_a_graph_of_codes_leads_around_a_hill():
    """As far as in two dimensions: the curve around stays in a plane."""

    def hill(z):
        return torch.cat((z, 2.0 * torch.exp(-4.0 * (z * z).sum(-1, keepdim=True))), dim=-1)

    angles = np.linspace(0.0, math.pi, 25)
    codes = 1.2 * np.stack((np.cos(angles), 0.8 * np.sin(angles)), axis=1)
    lengths = []
    for dim in (2, DIM):
        immersion = surfaces.immersion_of(hill, dim)
        points = np.pad(codes, ((0, 0), (0, dim - 2)))
        options = {"grid_size": 96} if dim == 2 else {}
        graph = LatentGraph(immersion, np.concatenate((points, -points)), **options)
        path = GeodesicSolver(tol=1e-8).solve(immersion, points[:1], points[-1:], graph)
        assert path.converged[0]
        lengths.append(path.length[0])
    assert lengths[1] == pytest.approx(lengths[0], rel=1e-6)


def test_a_batch_is_its_pairs_one_by_one():
    immersion, (start, end) = compiled(DIM, 30, 40), draw(4, 0.5)
    solver = GeodesicSolver()
    batch = solver.solve(immersion, start, end)
    for k in range(4):
        alone = solver.solve(immersion, start[k : k + 1], end[k : k + 1])
        assert alone.length[0] == pytest.approx(batch.length[k], rel=1e-12)
        np.testing.assert_allclose(alone.initial_velocity[0], batch.initial_velocity[k], rtol=1e-9)
    blocks = GeodesicSolver(memory_limit=1).solve(immersion, start, end)
    np.testing.assert_allclose(blocks.length, batch.length, rtol=1e-12)
    t = np.linspace(0.0, 1.0, 5)
    np.testing.assert_allclose(blocks(t), batch(t), atol=1e-9)


@pytest.mark.parametrize("chunk_size", [1, 50, 10**6])
def test_chunks_of_points_change_nothing(chunk_size):
    immersion, (start, end) = compiled(DIM, 30, 40), draw(2, 0.5)
    path = GeodesicSolver(chunk_size=chunk_size).solve(immersion, start, end)
    expected = GeodesicSolver().solve(immersion, start, end)
    np.testing.assert_allclose(path.length, expected.length, rtol=1e-9)
    np.testing.assert_array_equal(path.status, expected.status)


def test_orthogonal_and_affine_changes_of_latent_coordinates(sphere):
    generator = np.random.default_rng(1)
    start, end = draw()
    turn = np.linalg.qr(generator.standard_normal((DIM, DIM)))[0]
    bent = turn @ (np.eye(DIM) + 0.3 * generator.standard_normal((DIM, DIM)) / DIM**0.5)
    solver = GeodesicSolver(tol=1e-9)
    old = solver.solve(sphere, start, end)
    for matrix in (turn, 10.0 * turn, bent):
        inverse = torch.tensor(np.linalg.inv(matrix))
        changed = surfaces.immersion_of(lambda w, m=inverse: surfaces.sphere((w - 0.5) @ m.T), DIM)
        new = solver.solve(changed, start @ matrix.T + 0.5, end @ matrix.T + 0.5)
        assert new.converged.all()
        np.testing.assert_allclose(new.length, old.length, rtol=1e-8)
        np.testing.assert_allclose(
            new.initial_velocity @ inverse.numpy().T, old.initial_velocity, atol=2e-3
        )


def test_coincident_ends_and_empty_batches(sphere):
    point = np.full((1, DIM), 0.1)
    path = GeodesicSolver().solve(sphere, point, point)
    assert path.length[0] == 0.0
    assert path.converged[0]
    empty = GeodesicSolver().solve(sphere, np.zeros((0, DIM)), np.zeros((0, DIM)))
    assert empty.length.shape == (0,)


def test_near_ends(sphere):
    start, end = draw()
    end = start + 1e-6 * end
    path = GeodesicSolver().solve(sphere, start, end)
    assert path.converged.all()
    np.testing.assert_allclose(path.length, great_circle(start, end), rtol=1e-6)


def test_float32():
    start, end = draw(2, 0.5)
    exact = GeodesicSolver().solve(compiled(DIM, 30, 40), start, end)
    immersion = compile_immersion(network(DIM, 30, 40).float(), DIM)
    immersion.dtype = torch.float32
    path = GeodesicSolver(tol=1e-5).solve(immersion, start, end)
    assert path.converged.all()
    np.testing.assert_allclose(path.length, exact.length, rtol=1e-5)


def test_a_decoder_that_is_not_finite_says_so():
    immersion = surfaces.immersion_of(torch.sqrt, DIM)
    path = GeodesicSolver().solve(immersion, np.full((1, DIM), -1.0), np.ones((1, DIM)))
    assert path.status[0] == GeodesicStatus.NON_FINITE
    assert path.length[0] == np.inf


def test_a_single_step_is_not_called_converged():
    immersion, (start, end) = compiled(DIM, 40, 40, 60), draw(2, 1.0)
    none = DescentOptions(max_iter=0)
    solver = GeodesicSolver(max_iter=1, max_elements=4, descent=none)
    path = solver.solve(immersion, start, end)
    assert (path.status == GeodesicStatus.MAX_ITER).all()


def assert_honest(immersion, path, start, end, rtol=1e-3):
    """Curves are as long as they say, and none is longer than the line."""
    assert np.isfinite(path.length).all()
    points = path(np.linspace(0.0, 1.0, 2001))
    np.testing.assert_allclose(points[:, [0, -1]], np.stack((start, end), axis=1), atol=1e-12)
    good = path.converged
    np.testing.assert_allclose(measure(immersion, points)[good], path.length[good], rtol=rtol)
    assert (path.length <= line_length(immersion, start, end) * (1.0 + rtol)).all()


@pytest.mark.parametrize("activation", [nn.Tanh, nn.SiLU])
@pytest.mark.parametrize("dim", [13, pytest.param(24, marks=pytest.mark.long)])
def test_random_networks(dim, activation):
    immersion = compiled(dim, 40, 40, 60, activation=activation)
    start, end = draw(3, 0.6, dim, seed=dim)
    path = GeodesicSolver().solve(immersion, start, end)
    assert path.converged.all()
    assert_honest(immersion, path, start, end)
    back = GeodesicSolver().solve(immersion, end, start)
    np.testing.assert_allclose(back.length, path.length, rtol=2e-2)


def test_kinks_are_rounded():
    immersion, (start, end) = compiled(DIM, 12, 20, activation=nn.ReLU), draw(1, 0.7)
    path = GeodesicSolver().solve(immersion, start, end)
    assert path.converged.all()
    assert (path.width > 0.0).all()
    assert_honest(immersion, path, start, end)


SINGULAR = {
    "thin": lambda: compiled(DIM, 8, 60),
    "thin and deep": lambda: compiled(DIM, 8, 40, 60),
    "few outputs": lambda: compiled(DIM, 40, 8),
    "rank one": lambda: compiled(DIM, 1, 60),
    "dead coordinates": lambda: surfaces.immersion_of(lambda z: surfaces.sphere(z[:, 4:]), DIM),
}


@pytest.mark.parametrize("name", SINGULAR)
def test_singular_metrics(name):
    immersion, (start, end) = SINGULAR[name](), draw(3, 0.4)
    newton = GeodesicSolver(descent=DescentOptions(max_iter=0))
    assert (newton.solve(immersion, start, end).n_iter <= 40).all()
    path = GeodesicSolver().solve(immersion, start, end)
    assert path.converged.all()
    assert_honest(immersion, path, start, end)
    if name == "dead coordinates":
        np.testing.assert_allclose(path.length, great_circle(start[:, 4:], end[:, 4:]), rtol=1e-5)
    if name == "rank one":
        np.testing.assert_allclose(path.length, line_length(immersion, start, end), rtol=1e-5)


def test_thin_networks_are_those_of_their_first_layer():
    """What the first layer forgets cannot matter: as in as many dimensions as it keeps."""
    wide, (start, end) = network(DIM, 3, 40), draw(3, 0.5)
    first = wide[0]
    inner = compile_immersion(nn.Sequential(*wide[1:]), 3)
    expected = GeodesicSolver(tol=1e-9).solve(
        inner, *(first(torch.tensor(part)).numpy() for part in (start, end))
    )
    path = GeodesicSolver(tol=1e-9).solve(compile_immersion(wide, DIM), start, end)
    assert path.converged.all()
    np.testing.assert_allclose(path.length, expected.length, rtol=1e-7)


@pytest.mark.parametrize("dim", [2, DIM])
def test_a_constant_decoder_has_no_lengths(dim):
    immersion = surfaces.immersion_of(lambda z: 0.0 * z, dim)
    path = GeodesicSolver(max_elements=32).solve(immersion, *draw(2, dim=dim))
    np.testing.assert_array_equal(path.length, 0.0)
    assert np.isfinite(path.points).all()


def test_ends_that_a_singular_metric_does_not_tell_apart():
    immersion, (start, _) = surfaces.immersion_of(lambda z: z[:, :5], DIM), draw(1)
    end = start + (np.arange(DIM) > 6)
    path = GeodesicSolver(max_elements=100).solve(immersion, start, end)
    assert path.length[0] < 1e-12
    # Nothing but rounding is left to resolve.
    assert path.points.shape[1] < 8 * 100


def single_graph(immersion, module, codes):
    """A graph of codes that measures in single precision."""
    single = compile_immersion(module.float(), immersion.dim, dtype=torch.float32)
    graph = LatentGraph(immersion, codes, single=single)
    assert graph.single is not None
    return graph


def test_single_precision_of_products_does_not_reach_the_lengths():
    immersion, (start, end) = compiled(DIM, 40, 40, 60, activation=nn.SiLU), draw(3, 1.0)
    codes = np.concatenate((start, end, *draw(20, 1.0, seed=1)))
    graph = single_graph(immersion, network(DIM, 40, 40, 60, activation=nn.SiLU), codes)
    model = GeodesicSolver().curve_model(immersion, 8, None, graph.single)
    curves = straight(start, end, 4, 8)
    variation, length = model.variation(curves.nodes), curves.total(model.lengths(curves.nodes))
    halves = curves.halved()
    both = [
        each.direction(halves, each.variation(halves.nodes), length, each.memory(curves, length))
        for each in (model, MatrixFreeModel(immersion, 8))
    ]
    np.testing.assert_allclose(both[0][1], both[1][1], rtol=1e-3)
    assert variation.gradient.dtype == float
    path = GeodesicSolver().solve(immersion, start, end, graph)
    exact = GeodesicSolver(tol=1e-9).solve(immersion, start, end, graph)
    assert path.converged.all()
    np.testing.assert_allclose(path.length, exact.length, rtol=2e-6)
    # Scaled metrics share the graph.
    scaled = GeodesicSolver().solve(ScaledImmersion(immersion, 3.0), start, end, graph.scaled(3.0))
    assert scaled.converged.all()
    np.testing.assert_allclose(scaled.length, 3.0 * path.length, rtol=2e-6)


@pytest.mark.parametrize("dim", [5, 16])
@pytest.mark.long
def test_loose_tolerances_are_kept_without_newtons_method(dim):
    immersion = compiled(dim, 40, 40, 60, activation=nn.SiLU)
    start, end = draw(4, 1.0, dim)
    loose = GeodesicSolver(tol=1e-3).solve(immersion, start, end)
    exact = GeodesicSolver(tol=1e-8).solve(immersion, start, end)
    assert loose.converged.all()
    assert (loose.residual <= 1e-3).all()
    assert_honest(immersion, loose, start, end)
    assert (loose.length <= exact.length * (1.0 + 1e-3)).all()
    never = GeodesicSolver(tol=1e-3, descent=DescentOptions(alone=math.inf))
    newton = never.solve(immersion, start, end)
    np.testing.assert_allclose(newton.length, loose.length, rtol=1e-3)


@pytest.mark.parametrize("tol", [1e-3, 1e-6])
def test_curves_whose_ends_moved_far_are_where_the_search_starts(tol):
    immersion, (start, end) = compiled(DIM, 40, 40, 60, activation=nn.SiLU), draw(3, 1.0)
    solver = GeodesicSolver(tol=tol)
    old = solver.solve(immersion, start, end)
    moved = start + 0.2 * (end - start) @ np.diag(np.where(np.arange(DIM) % 2, 1.0, 0.5))
    afresh = solver.solve(immersion, moved, end)
    guessed = solver.solve(immersion, moved, end, guess=old)
    assert guessed.converged.all()
    np.testing.assert_allclose(guessed.length, afresh.length, rtol=2.0 * tol)
    np.testing.assert_allclose(guessed.points[:, 0], moved, atol=1e-12)
    assert guessed.n_iter.sum() < afresh.n_iter.sum()


def test_lines_into_what_is_not_finite_have_no_length():
    def cut_off(z):
        return torch.where(z[:, :1] > 3.0, torch.nan, 1.0) * torch.cat((z, z**2), dim=1)

    for start in (0.0, 2.0):
        ends = np.array([[start, 0.0]]), np.array([[5.0, 0.0]])
        path = GeodesicSolver().solve(surfaces.immersion_of(cut_off, 2), *ends)
        assert path.status[0] == GeodesicStatus.NON_FINITE
        assert path.length[0] == np.inf


@pytest.mark.parametrize("dim", [2, 5])
def test_a_jump_is_not_taken_for_a_pair_of_equal_points(dim):
    def steps(z):
        """Its derivatives are zero everywhere."""
        return torch.cat((torch.sign(z), torch.ones_like(z)), dim=1)

    ends = np.full((1, dim), -1.0), np.full((1, dim), 1.0)
    path = GeodesicSolver(max_iter=5).solve(surfaces.immersion_of(steps, dim), *ends)
    assert not (path.converged[0] and path.length[0] == 0.0)


def test_no_guess_leads_to_more_than_the_straight_line():
    """Around a hill, and then between ends that the line joins beside it."""
    immersion = surfaces.immersion_of(
        lambda z: torch.cat((z, 2.0 * torch.exp(-4.0 * (z * z).sum(1, keepdim=True))), dim=1), 6
    )
    start = np.array([[-1.2, 0.3, 0.0, 0.0, 0.0, 0.0]])
    end = start * [-1.0, 1.0, 1.0, 1.0, 1.0, 1.0]
    solver = GeodesicSolver(tol=1e-3)
    old = solver.solve(immersion, start, end)
    beside = np.array([[0.0, -1.2, 0.0, 0.0, 0.0, 0.0]])
    for moved in (start + 0.4 * beside, start + beside):
        to = moved * [-1.0, 1.0, 1.0, 1.0, 1.0, 1.0]
        path = solver.solve(immersion, moved, to, guess=old)
        assert (path.length <= line_length(immersion, moved, to) * (1.0 + 2e-3)).all()
