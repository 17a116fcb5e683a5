"""Geodesics found from those of nearby end points are the same geodesics."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from geomstats_vae.geodesics import GeodesicSolver, LatentGraph
from geomstats_vae.geodesics.options import StartOptions
from geomstats_vae.immersions.decoder import Decoder
from tests import surfaces
from tests.manifolds import spaces

SOLVER = GeodesicSolver()
CODES = spaces.draw(60, 2, scale=0.8)


@pytest.fixture(scope="module")
def immersion():
    return Decoder(spaces.vae_like_decoder(), 2).immersion()


@pytest.fixture(scope="module")
def graph(immersion):
    return LatentGraph(immersion, CODES, grid_size=96)


def solve(immersion, start, end, graph=None, guess=None, solver=SOLVER):
    with torch.no_grad():
        return solver.solve(immersion, start, end, graph, guess)


@pytest.fixture(scope="module")
def solution(immersion, graph):
    start = np.tile(CODES[0], (12, 1))
    return solve(immersion, start, CODES[1:13], graph)


@pytest.mark.parametrize("size", [0.0, 1e-6, 1e-4, 1e-2, 0.5])
def test_lengths_and_velocities_are_those_of_a_solve_from_afar(immersion, graph, solution, size):
    start = solution.curves.start + size * np.array([0.6, -0.8])
    near = solve(immersion, start, solution.curves.end, graph, solution)
    afar = solve(immersion, start, solution.curves.end, graph)
    assert near.converged.all()
    np.testing.assert_allclose(near.length, afar.length, rtol=SOLVER.tol)
    np.testing.assert_allclose(
        near.initial_velocity, afar.initial_velocity, atol=1e-6 * np.abs(afar.length).max()
    )


def test_small_moves_need_no_newton_steps(immersion, graph, solution):
    start = solution.curves.start + 1e-7
    near = solve(immersion, start, solution.curves.end, graph, solution)
    afar = solve(immersion, start, solution.curves.end, graph)
    assert near.n_iter.max() == 0 < afar.n_iter.max()
    assert (near.curves.drift > 0.0).all()


def test_many_small_moves_are_one_large_move(immersion, graph, solution):
    moved = solution
    for _ in range(20):
        moved = solve(immersion, moved.curves.start + 2e-3, moved.curves.end, graph, moved)
    afar = solve(immersion, moved.curves.start, moved.curves.end, graph)
    np.testing.assert_allclose(moved.length, afar.length, rtol=SOLVER.tol)
    # What is only known by the triangle inequality stays within the certificate's tolerance.
    assert (moved.curves.drift <= SOLVER.rtol * moved.length).all()
    assert (moved.length_error <= SOLVER.rtol).all()


def bump(z):
    """A hill between two codes: the shorter way around it changes sides as the ends move."""
    height = 3.0 * torch.exp(-8.0 * (z * z).sum(-1, keepdim=True))
    return torch.cat((z, height), dim=-1)


def test_a_curve_in_a_valley_that_is_no_longer_the_shortest_is_left():
    immersion = surfaces.immersion_of(bump)
    axis = np.linspace(-1.0, 1.0, 9)
    codes = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)
    graph = LatentGraph(immersion, codes, grid_size=64)
    end = np.array([[1.0, 0.0]])
    solution = solve(immersion, np.array([[-1.0, 0.3]]), end, graph)
    assert solution.points[0, :, 1].max() > 0.3
    for height in np.arange(0.3, -0.31, -0.03):
        solution = solve(immersion, np.array([[-1.0, height]]), end, graph, solution)
    afar = solve(immersion, np.array([[-1.0, height]]), end, graph)
    assert solution.points[0, :, 1].min() < -0.3
    np.testing.assert_allclose(solution.length, afar.length, rtol=SOLVER.tol)


def test_pairs_are_independent_of_the_batch(immersion, graph, solution):
    start = solution.curves.start + 1e-3 * np.arange(12)[:, None]
    together = solve(immersion, start, solution.curves.end, graph, solution)
    for k in (0, 5, 11):
        row = slice(k, k + 1)
        guess = replace(solution, curves=solution.curves.take(row))
        alone = solve(immersion, start[row], solution.curves.end[row], graph, guess)
        np.testing.assert_allclose(alone.length, together.length[row], rtol=1e-12)


def test_coincident_and_new_pairs_are_solved(immersion):
    start, end = CODES[:4].copy(), CODES[4:8].copy()
    end[0] = start[0]
    solution = solve(immersion, start, end)
    start[0], end[1] = start[0] + 1e-4, start[1]
    moved = solve(immersion, start, end, None, solution)
    afar = solve(immersion, start, end)
    assert moved.length[1] == 0.0
    np.testing.assert_allclose(moved.length, afar.length, rtol=SOLVER.tol)


@pytest.mark.parametrize("dim", [3, pytest.param(16, marks=pytest.mark.long)])
def test_steps_are_saved_in_every_dimension(dim):
    immersion = Decoder(spaces.vae_like_decoder(dim, 20), dim).immersion()
    start, end = spaces.draw(2, 3, dim, scale=0.2)
    solution = solve(immersion, start, end)
    direction = np.random.default_rng(0).standard_normal(start.shape)
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    start = start + 1e-4 * np.linalg.norm(end - start, axis=1, keepdims=True) * direction
    near, afar = solve(immersion, start, end, None, solution), solve(immersion, start, end)
    assert near.converged.all()
    np.testing.assert_allclose(near.length, afar.length, rtol=SOLVER.tol)
    assert near.n_iter.mean() <= 0.5 * afar.n_iter.mean()


def test_a_guess_is_of_as_many_pairs(immersion, solution):
    with pytest.raises(ValueError, match="guess of 2 pairs, got one of 12"):
        solve(immersion, CODES[:2], CODES[2:4], None, solution)


def test_paths_pass_their_curves_on_as_long_as_they_fit(solution):
    assert solution.map(lambda array: array.copy()).curves is solution.curves
    assert solution.reshape((3, 4)).curves is solution.curves
    assert solution.map(lambda array: array[:2]).curves is None
    assert "curves" not in repr(solution)


def test_a_guess_without_curves_is_none(immersion, solution):
    bare = replace(solution, curves=None)
    start, end = solution.curves.start[:2], solution.curves.end[:2]
    expected = solve(immersion, start, end)
    np.testing.assert_array_equal(solve(immersion, start, end, None, bare).length, expected.length)


def test_blocks_of_the_memory_change_nothing(immersion, graph, solution):
    start = solution.curves.start + 1e-3
    solver = GeodesicSolver(memory_limit=1)
    blocks = solve(immersion, start, solution.curves.end, graph, solution, solver)
    whole = solve(immersion, start, solution.curves.end, graph, solution)
    np.testing.assert_allclose(blocks.length, whole.length, rtol=1e-12)
    assert len(blocks.curves) == 12
    again = solve(immersion, start, solution.curves.end, graph, blocks)
    assert again.n_iter.max() == 0


def test_guesses_of_a_solver_with_other_elements_are_not_used(immersion, solution):
    solver = GeodesicSolver(start=StartOptions(line_degree=6, gentle_degree=6, steep_degree=6))
    ends = solution.curves.start, solution.curves.end
    path = solve(immersion, *ends, None, solution, solver)
    assert path.converged.all()
    np.testing.assert_array_equal(path.n_iter, solve(immersion, *ends, solver=solver).n_iter)
