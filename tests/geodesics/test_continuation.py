"""Geodesics found from those of nearby end points are the same geodesics."""

import numpy as np
import pytest
import torch

from geomstats_vae.geodesics.landscape import Landscape
from geomstats_vae.geodesics.solver import GeodesicSolver
from geomstats_vae.immersions.decoder import Decoder
from tests import surfaces
from tests.manifolds import spaces

SOLVER = GeodesicSolver()
CODES = spaces.draw(60, 2, scale=0.8)


@pytest.fixture(scope="module")
def immersion():
    return Decoder(spaces.vae_like_decoder(), 2).immersion()


@pytest.fixture(scope="module")
def landscape(immersion):
    return Landscape(immersion, CODES)


def solve(immersion, start, end, landscape=None, near=None, solver=SOLVER):
    with torch.no_grad():
        return solver.solve_near(immersion, start, end, landscape, near)


@pytest.fixture(scope="module")
def solution(immersion, landscape):
    start = np.tile(CODES[0], (12, 1))
    return solve(immersion, start, CODES[1:13], landscape)


@pytest.mark.parametrize("size", [0.0, 1e-6, 1e-4, 1e-2, 0.5])
def test_lengths_and_velocities_are_those_of_a_solve_from_afar(
    immersion, landscape, solution, size
):
    start = solution.start + size * np.array([0.6, -0.8])
    near = solve(immersion, start, solution.end, landscape, solution).path
    afar = solve(immersion, start, solution.end, landscape).path
    assert near.converged.all()
    np.testing.assert_allclose(near.length, afar.length, rtol=SOLVER.tol)
    np.testing.assert_allclose(
        near.initial_velocity, afar.initial_velocity, atol=1e-6 * np.abs(afar.length).max()
    )


def test_small_moves_need_no_newton_steps(immersion, landscape, solution):
    start = solution.start + 1e-7
    near = solve(immersion, start, solution.end, landscape, solution)
    afar = solve(immersion, start, solution.end, landscape)
    assert near.path.n_iter.max() == 0 < afar.path.n_iter.max()
    assert (near.drift > 0.0).all()


def test_many_small_moves_are_one_large_move(immersion, landscape, solution):
    moved = solution
    for _ in range(20):
        moved = solve(immersion, moved.start + 2e-3, moved.end, landscape, moved)
    afar = solve(immersion, moved.start, moved.end, landscape).path
    np.testing.assert_allclose(moved.path.length, afar.length, rtol=SOLVER.tol)
    # What is only known by the triangle inequality stays within the certificate's tolerance.
    assert (moved.drift <= SOLVER.rtol * moved.path.length).all()
    assert (moved.path.length_error <= SOLVER.rtol).all()


def bump(z):
    """A hill between two codes: the shorter way around it changes sides as the ends move."""
    height = 3.0 * torch.exp(-8.0 * (z * z).sum(-1, keepdim=True))
    return torch.cat((z, height), dim=-1)


def test_a_curve_in_a_valley_that_is_no_longer_the_shortest_is_left():
    immersion = surfaces.immersion_of(bump)
    axis = np.linspace(-1.0, 1.0, 9)
    landscape = Landscape(immersion, np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2))
    end = np.array([[1.0, 0.0]])
    solution = solve(immersion, np.array([[-1.0, 0.3]]), end, landscape)
    assert solution.path.points[0, :, 1].max() > 0.3
    for height in np.arange(0.3, -0.31, -0.03):
        solution = solve(immersion, np.array([[-1.0, height]]), end, landscape, solution)
    afar = solve(immersion, np.array([[-1.0, height]]), end, landscape).path
    assert solution.path.points[0, :, 1].min() < -0.3
    np.testing.assert_allclose(solution.path.length, afar.length, rtol=SOLVER.tol)


def test_pairs_are_independent_of_the_batch(immersion, landscape, solution):
    start = solution.start + 1e-3 * np.arange(12)[:, None]
    together = solve(immersion, start, solution.end, landscape, solution).path
    for k in (0, 5, 11):
        row = slice(k, k + 1)
        alone = solve(immersion, start[row], solution.end[row], landscape, solution.take(row)).path
        np.testing.assert_allclose(alone.length, together.length[row], rtol=1e-12)


def test_coincident_and_new_pairs_are_solved(immersion):
    start, end = CODES[:4].copy(), CODES[4:8].copy()
    end[0] = start[0]
    solution = solve(immersion, start, end)
    start[0], end[1] = start[0] + 1e-4, start[1]
    moved = solve(immersion, start, end, None, solution).path
    afar = solve(immersion, start, end).path
    assert moved.length[1] == 0.0
    np.testing.assert_allclose(moved.length, afar.length, rtol=SOLVER.tol)


def test_many_dimensions_start_afresh():
    immersion = Decoder(spaces.vae_like_decoder(16, 20), 16).immersion()
    start, end = spaces.draw(2, 3, 16, scale=0.2)
    solution = solve(immersion, start, end)
    moved = solve(immersion, start + 1e-6, end, None, solution).path
    afar = solve(immersion, start + 1e-6, end).path
    np.testing.assert_array_equal(moved.length, afar.length)
