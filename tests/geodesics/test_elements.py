"""Elements: quadrature, variations against finite differences, assembly against dense algebra."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from geomstats_vae.geodesics.assembled import AssembledModel
from geomstats_vae.geodesics.curves.chain import (
    Curves,
    assemble,
    chain_starts,
    concatenate,
    first_unknown,
    solve_chains,
    straight,
)
from geomstats_vae.geodesics.curves.reference import (
    differentiation_matrix,
    lagrange_matrix,
    reference_element,
)
from geomstats_vae.geodesics.elements import cache_sized_chunk
from geomstats_vae.immersions.autodiff import AutodiffImmersion
from tests import surfaces


@pytest.mark.parametrize("degree", [1, 2, 4, 8])
def test_reference_element_is_exact_on_polynomials(degree):
    element = reference_element(degree)
    for power in range(degree + 1):
        values = element.nodes**power
        slope = power * element.points ** max(power - 1, 0)
        np.testing.assert_allclose(element.interpolate @ values, element.points**power, atol=1e-12)
        np.testing.assert_allclose(element.differentiate @ values, slope, atol=1e-10)
    # Gauss-Legendre with degree + 1 points integrates degree 2 degree + 1.
    exact = 2.0 / (2 * degree + 1)
    assert element.weights @ element.points ** (2 * degree) == pytest.approx(exact, rel=1e-12)


def test_lagrange_matrix_reproduces_the_nodes():
    nodes = reference_element(5).nodes
    np.testing.assert_array_equal(lagrange_matrix(nodes, nodes), np.eye(6))
    np.testing.assert_allclose(differentiation_matrix(nodes).sum(axis=1), 0.0, atol=1e-12)


def _bent(degree, n_elements=3):
    generator = np.random.default_rng(3)
    curves = straight(np.array([[-0.6, 0.1]]), np.array([[0.5, 0.7]]), n_elements, degree)
    bump = 0.05 * generator.standard_normal((n_elements * degree + 1, 2))
    places = degree * np.arange(n_elements)[:, None] + np.arange(degree + 1)
    return Curves(curves.nodes + bump[places], curves.counts)


def test_length_converges_spectrally_to_the_arc_of_a_circle():
    # A meridian of the sphere, in coordinates where it is a straight line run at uneven speed.
    immersion = surfaces.AutodiffImmersion(surfaces.sphere, 2)
    exact = 2.0 * np.arctan(0.8)
    errors = [
        abs(
            AssembledModel(immersion, degree)
            .lengths(straight(np.zeros((1, 2)), np.array([[0.8, 0.0]]), 1, degree).nodes)
            .sum()
            - exact
        )
        for degree in (1, 2, 3, 4)
    ]
    assert all(b < 0.05 * a for a, b in pairwise(errors))


def test_gradient_is_the_derivative_of_the_length():
    immersion = surfaces.AutodiffImmersion(surfaces.sphere, 2)
    evaluator = AssembledModel(immersion, 4)
    curves = _bent(4)
    system = evaluator.variation(curves.nodes)
    direction = np.random.default_rng(0).standard_normal(curves.nodes.shape)
    step = 1e-5

    def length(sign):
        return evaluator.variation(curves.nodes + sign * step * direction).length

    difference = (length(1.0) - length(-1.0)) / (2.0 * step)
    slope = (system.gradient * direction.reshape(len(direction), -1)).sum(axis=1)
    np.testing.assert_allclose(slope, difference, rtol=1e-7)


def test_second_variation_of_a_geodesic_is_the_derivative_of_the_gradient():
    # On a geodesic the Riemannian Hessian is the Hessian: no Christoffel symbols remain.
    immersion = surfaces.AutodiffImmersion(surfaces.sphere, 2)
    evaluator = AssembledModel(immersion, 6)
    curves = straight(np.array([[-0.3, 0.0]]), np.array([[0.7, 0.0]]), 2, 6)
    system = evaluator.variation(curves.nodes)
    hessian = system.stiffness + system.curvature
    s = (curves.nodes[..., :1] + 0.3) * (0.7 - curves.nodes[..., :1])
    bump = np.concatenate((0.0 * s, s * (1.0 + curves.nodes[..., :1])), axis=-1)
    step = 1e-5
    difference = (
        evaluator.variation(curves.nodes + step * bump).gradient
        - evaluator.variation(curves.nodes - step * bump).gradient
    ) / (2.0 * step)
    flat = bump.reshape(len(bump), -1)
    expected = (flat * difference).sum()
    assert np.einsum("ei,eij,ej->", flat, hessian, flat) == pytest.approx(expected, rel=1e-3)


def test_assembly_and_solve_agree_with_dense_algebra():
    generator = np.random.default_rng(1)
    degree, dim, counts = 3, 2, np.array([2, 1, 3])
    size = (degree + 1) * dim
    factor = generator.standard_normal((counts.sum(), size, size))
    matrices = factor @ factor.transpose(0, 2, 1) + np.eye(size)
    total = int(((counts * degree + 1) * dim).sum())
    dense = np.zeros((total, total))
    first = first_unknown(counts, degree, dim)
    for base, matrix in zip(first, matrices, strict=True):
        dense[base : base + size, base : base + size] += matrix
    band = assemble(matrices, first, total, degree * dim)
    for k in range(size):
        np.testing.assert_allclose(band[k, : total - k], np.diagonal(dense, -k), atol=1e-12)
    right = generator.standard_normal(total)
    starts = chain_starts(counts, degree, dim)
    solution, definite = solve_chains(band, right, starts)
    assert definite.all()
    np.testing.assert_allclose(solution, np.linalg.solve(dense, right), rtol=1e-8)


@pytest.mark.parametrize("bad", [[0], [1], [2], [0, 2], [0, 1, 2]])
def test_solve_names_the_chains_that_are_not_positive_definite(bad):
    degree, dim, counts = 2, 1, np.array([2, 2, 2])
    matrices = np.repeat(np.eye(3)[None], 6, axis=0)
    for chain in bad:
        matrices[2 * chain + 1, 1, 1] = -1.0
    starts = chain_starts(counts, degree, dim)
    band = assemble(matrices, first_unknown(counts, degree, dim), int(starts[-1]), degree * dim)
    right = np.ones(starts[-1])
    solution, definite = solve_chains(band, right, starts)
    assert sorted(np.flatnonzero(~definite)) == bad
    for chain in range(3):
        part = solution[starts[chain] : starts[chain + 1]]
        assert (part == 0.0).all() if chain in bad else (part > 0.0).all()


def test_splitting_and_raising_the_degree_leave_the_curve_as_it_is():
    curves = concatenate([_bent(3), _bent(3, 2)])
    marked = np.array([True, False, True, False, True])
    halves = curves.split(marked)
    assert halves.counts.tolist() == [5, 3]
    evaluator = {
        d: AssembledModel(surfaces.AutodiffImmersion(surfaces.plane, 2), d) for d in (3, 6)
    }
    # A plane's speed is not polynomial, so lengths agree only as far as quadrature goes.
    whole = curves.total(evaluator[3].lengths(curves.nodes))
    np.testing.assert_allclose(halves.total(evaluator[3].lengths(halves.nodes)), whole, rtol=1e-3)
    raised = curves.raise_degree(6)
    np.testing.assert_allclose(raised.sample(7), curves.sample(7), atol=1e-13)
    np.testing.assert_array_equal(curves.take([1]).nodes, curves.nodes[3:])


def test_evaluation_in_chunks_changes_nothing():
    immersion = surfaces.AutodiffImmersion(surfaces.sphere, 2)
    curves = _bent(4, 7)
    small, large = (AssembledModel(immersion, 4, size) for size in (5, 1000))
    for name in ("length", "gradient", "stiffness", "curvature"):
        np.testing.assert_allclose(
            getattr(small.variation(curves.nodes), name),
            getattr(large.variation(curves.nodes), name),
            rtol=1e-12,
            atol=1e-12,
        )
    assert small.lengths(np.zeros((0, 5, 2))).shape == (0,)


def test_evaluator_computes_in_the_immersion_s_type():
    immersion = surfaces.AutodiffImmersion(surfaces.sphere, 2)
    immersion.dtype = torch.float32
    assert AssembledModel(immersion, 2).eps == np.finfo(np.float32).eps


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_chunks_shrink_with_the_outputs_on_every_device(device):
    sizes = {}
    for n_outputs in (5, 1_000, 100_000):
        immersion = AutodiffImmersion(
            lambda z, n=n_outputs: z[:, :1].expand(-1, n), 2, dtype=torch.float64, device=device
        )
        sizes[n_outputs] = cache_sized_chunk(immersion, 8)
    # 8 rows of 100,000 numbers of 8 bytes are 6.4 MB for a point: 83 points take 512 MB.
    most, least = (4096, 16) if device == "cpu" else (65536, 2**29 // 6_400_000)
    assert sizes[5] == most
    assert most > sizes[1_000] > sizes[100_000] == least
