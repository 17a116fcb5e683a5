"""Newton's equations by banded matrices against dense algebra."""

import numpy as np
import pytest
import torch

from geomstats_vae.geodesics.assembled import AssembledModel
from geomstats_vae.geodesics.curves.chain import (
    Curves,
    concatenate,
    solve_between_ends,
    straight,
)
from geomstats_vae.geodesics.damped import DampedSteps, newton_direction
from geomstats_vae.geodesics.elements import CurveMemory
from geomstats_vae.geodesics.model_options import AssembledOptions
from tests import surfaces

DEGREE, DIM = 3, 2
SIZE = (DEGREE + 1) * DIM
OPTIONS = AssembledOptions()


def chains(counts, seed=0):
    generator = np.random.default_rng(seed)
    ends = generator.standard_normal((2, len(counts), DIM))
    return concatenate(
        [straight(a[None], b[None], n, DEGREE) for a, b, n in zip(*ends, counts, strict=True)]
    )


def matrices(n_elements, seed=0):
    generator = np.random.default_rng(seed)
    factor = generator.standard_normal((n_elements, SIZE, SIZE))
    return factor @ factor.transpose(0, 2, 1) + np.eye(SIZE), generator.standard_normal(
        (n_elements, SIZE)
    )


def dense_solution(part, gradient):
    """Of one chain, its ends fixed; the displacement at its elements' nodes, and the decrement."""
    n_nodes = len(part) * DEGREE + 1
    matrix, right = np.zeros((n_nodes * DIM,) * 2), np.zeros(n_nodes * DIM)
    places = [slice(k * DEGREE * DIM, k * DEGREE * DIM + SIZE) for k in range(len(part))]
    for place, block, slope in zip(places, part, gradient, strict=True):
        matrix[place, place] += block
        right[place] -= slope
    solution, inner = np.zeros_like(right), slice(DIM, -DIM)
    solution[inner] = np.linalg.solve(matrix[inner, inner], right[inner])
    decrement = solution[inner] @ right[inner]
    return np.stack([solution[place].reshape(-1, DIM) for place in places]), decrement


@pytest.mark.parametrize("counts", [[1], [4], [2, 1, 3]])
def test_solutions_between_the_ends(counts):
    curves = chains(counts)
    blocks, gradient = matrices(sum(counts))
    given = blocks.copy(), gradient.copy()
    found, decrement, definite = solve_between_ends(curves, blocks, gradient)
    assert definite.all()
    for k in range(len(counts)):
        rows = curves.rows([k])
        expected, gain = dense_solution(blocks[rows], gradient[rows])
        np.testing.assert_allclose(found[rows], expected, rtol=1e-8, atol=1e-10)
        assert decrement[k] == pytest.approx(gain, rel=1e-9)
        assert (found[rows][0, 0] == 0.0).all()
        assert (found[rows][-1, -1] == 0.0).all()
    np.testing.assert_array_equal(blocks, given[0])
    np.testing.assert_array_equal(gradient, given[1])


def test_the_chains_that_fail_are_named_and_left():
    curves = chains([2, 1, 3])
    blocks, gradient = matrices(6)
    blocks[2] -= 100.0 * np.eye(SIZE)
    found, decrement, definite = solve_between_ends(curves, blocks, gradient)
    np.testing.assert_array_equal(definite, [True, False, True])
    assert (found[2] == 0.0).all()
    assert decrement[1] == 0.0
    rows = curves.rows([2])
    expected, _ = dense_solution(blocks[rows], gradient[rows])
    np.testing.assert_allclose(found[rows], expected, rtol=1e-8, atol=1e-10)


def bent(reach, size=0.02, n_elements=3, degree=6):
    """A curve near a great circle, of more or less than half of it."""
    end = np.array([[reach, 0.2 * reach]])
    curves = straight(-end, end, n_elements, degree)
    s = curves.nodes[..., :1] / reach
    bump = size * (1.0 - s**2) * np.array([0.3, 1.0])
    return Curves(curves.nodes + bump, curves.counts)


def evaluated(surface, curves):
    evaluator = AssembledModel(surfaces.immersion_of(surface), curves.degree)
    return (
        evaluator,
        evaluator.variation(curves.nodes),
        curves.total(evaluator.lengths(curves.nodes)),
    )


def test_full_steps_converge_quadratically_to_the_great_circle():
    curves = bent(0.5, 0.2)
    start, end = (torch.tensor(curves.nodes[k, k])[None] for k in (0, -1))
    exact = surfaces.sphere_distance(start, end).item()
    decrements = []
    for _ in range(5):
        _, system, length = evaluated(surfaces.sphere, curves)
        step, decrement, definite = newton_direction(curves, system, length, np.zeros(3), OPTIONS)
        assert definite.all()
        decrements.append(decrement[0] / length[0])
        curves = Curves(curves.nodes + step, curves.counts)
    assert evaluated(surfaces.sphere, curves)[2][0] == pytest.approx(exact, rel=1e-9)
    assert decrements[-1] < 1e-12
    assert decrements[2] < 0.01 * decrements[1] < 1e-3 * decrements[0]


@pytest.mark.parametrize("size", [1e-3, 0.5], ids=["near", "far"])
def test_directions_descend_where_the_matrix_is_not_definite(size):
    curves = bent(2.0, size)
    evaluator, system, length = evaluated(surfaces.sphere, curves)
    direction, decrement, definite = newton_direction(curves, system, length, np.zeros(3), OPTIONS)
    assert not definite[0]
    slope = (system.gradient * direction.reshape(3, -1)).sum()
    assert decrement[0] > 0.0
    assert decrement[0] == pytest.approx(-slope, rel=1e-9)
    step = 1e-2 * direction * min(1.0, 0.1 / np.abs(direction).max())
    assert evaluator.lengths(curves.nodes + step).sum() < length[0]


def test_damping_shortens_steps():
    curves = bent(0.5, 0.2)
    _, system, length = evaluated(surfaces.sphere, curves)
    sizes = [
        np.abs(newton_direction(curves, system, length, np.full(3, damping), OPTIONS)[0]).max()
        for damping in (0.0, 1.0, 100.0)
    ]
    assert sizes[0] > 2.0 * sizes[1] > 4.0 * sizes[2]


def test_singular_metrics_have_directions():
    """Of the height of a ramp only: sideways nothing changes."""
    curves = bent(0.5, 0.2)
    evaluator, system, length = evaluated(lambda z: torch.sin(z[:, :1]), curves)
    direction, decrement, _ = newton_direction(curves, system, length, np.zeros(3), OPTIONS)
    assert np.isfinite(direction).all()
    assert not np.isnan(decrement).any()
    after = evaluator.lengths(curves.nodes + direction).sum()
    assert after <= length[0] * (1.0 + 1e-6)


def test_a_batch_is_its_curves_one_by_one():
    parts = [bent(0.5, 0.2), bent(2.0, 0.5, 4), bent(2.0, 1e-3, 2)]
    curves = concatenate(parts)
    _, system, length = evaluated(surfaces.sphere, curves)
    found = newton_direction(curves, system, length, np.zeros(9), OPTIONS)
    for k, part in enumerate(parts):
        _, system, length = evaluated(surfaces.sphere, part)
        alone = newton_direction(part, system, length, np.zeros(len(part.nodes)), OPTIONS)
        np.testing.assert_allclose(found[0][curves.rows([k])], alone[0], rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(found[1][k], alone[1][0], rtol=1e-9)
        assert found[2][k] == alone[2][0]


def proposal(curves, system, length, damping, fading):
    """Damped steps that go on from damping of a step before."""
    n = len(curves.nodes)
    memory = CurveMemory({"share": np.ones(1), "fading": np.array([fading])}, {"damping": damping})
    fine, enough = np.full(n, length[0] / n), np.zeros(1)
    return DampedSteps(curves, system, fine, enough, np.full(1, np.inf), memory, OPTIONS), memory


def damping_taken(steps, memory, gained):
    steps.accept(np.array([True]), gained)
    return memory.per_element["damping"]


@pytest.mark.parametrize(("share", "fades"), [(0.95, 0.1), (0.5, 0.3), (0.0, 0.3)])
def test_damping_fades_faster_where_a_step_gained_all_that_its_slope_promised(share, fades):
    curves = bent(0.5, 0.2)
    _, system, length = evaluated(surfaces.sphere, curves)
    last = np.array([2.0, 0.0, 5.0])
    steps, memory = proposal(curves, system, length, last, 0.3)
    _, expected = steps.step(np.zeros(1, dtype=int))
    np.testing.assert_allclose(damping_taken(steps, memory, share * expected), 0.3 * last)
    assert memory.per_curve["fading"][0] == fades
    again = DampedSteps(
        curves, system, np.full(3, length[0] / 3), np.zeros(1), np.full(1, np.inf), memory, OPTIONS
    )
    np.testing.assert_allclose(damping_taken(again, memory, expected), fades * 0.3 * last)


@pytest.mark.parametrize("fading", [0.1, 0.3])
def test_refused_steps_are_damped_between_what_failed_and_what_was_missing(fading):
    """What is missing is the excess of an element's length over its slope, per square."""
    curves = bent(0.5, 0.2)
    _, system, length = evaluated(surfaces.sphere, curves)
    last = np.array([0.0, 2.0, 2.0])
    steps, memory = proposal(curves, system, length, last, fading)
    one = np.zeros(1, dtype=int)
    step, _ = steps.step(one)
    slope = (system.gradient * step.reshape(3, -1)).sum(axis=1)
    excess = np.array([7.0, 1e6, 0.0])
    steps.refuse(one, step, length[0] / 3 + slope + excess * (step**2).sum(axis=(1, 2)))
    # One that was not damped takes all of it, one that lacks nothing stays as it is.
    rise = OPTIONS.rise * 0.1 * 2.0 if fading == 0.1 else np.sqrt(0.3 * 2.0 * 1e6)
    smaller, _ = steps.step(one)
    found = damping_taken(steps, memory, np.zeros(1))
    np.testing.assert_allclose(found, [7.0, rise, fading * 2.0], rtol=1e-6)
    assert np.abs(smaller).max() < np.abs(step).max()


def test_curves_are_done_by_their_steps_without_damping():
    """Much damping makes the gain of any step small: that is no reason to stop."""
    curves = bent(0.5, 0.2)
    _, system, length = evaluated(surfaces.sphere, curves)
    undamped = newton_direction(curves, system, length, np.zeros(3), OPTIONS)[1]
    memory = CurveMemory(
        {"share": np.ones(1), "fading": np.array([0.3])}, {"damping": np.full(3, 1e6)}
    )
    fine, before = np.full(3, length[0] / 3), np.full(1, np.inf)
    steps = DampedSteps(curves, system, fine, 0.5 * undamped, before, memory, OPTIONS)
    assert not steps.done[0]
    assert steps.decrement[0] == pytest.approx(undamped[0])
    assert steps.step(np.zeros(1, dtype=int))[1][0] < 1e-3 * undamped[0]
    steps = DampedSteps(curves, system, fine, 2.0 * undamped, before, memory, OPTIONS)
    assert steps.done[0]
    assert steps.step(np.zeros(1, dtype=int))[1][0] == pytest.approx(undamped[0])


def test_an_element_that_is_not_resolved_does_not_end_the_descent():
    """There curvature is so negative that a matrix with enough of the mass promises nothing."""
    curves = bent(0.5, 0.02)
    _, system, length = evaluated(surfaces.sphere, curves)
    majoriser = solve_between_ends(curves, system.stiffness, system.gradient)[1]
    assert majoriser[0] < OPTIONS.near * length[0]
    system.curvature[1] -= 100.0 * np.eye(system.curvature.shape[1])
    direction, decrement, definite = newton_direction(curves, system, length, np.zeros(3), OPTIONS)
    assert not definite[0]
    assert decrement[0] >= majoriser[0]
    slope = (system.gradient * direction.reshape(3, -1)).sum()
    assert decrement[0] == pytest.approx(-slope, rel=1e-9)
