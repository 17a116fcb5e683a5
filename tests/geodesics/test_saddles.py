"""Stationary curves that are not the shortest near them: over hills, and past conjugate points."""

import math

import numpy as np
import pytest
import torch

from geomstats_vae.geodesics import GeodesicSolver, LatentGraph, local_minima
from geomstats_vae.geodesics.assembled import AssembledModel
from geomstats_vae.geodesics.curves.chain import Curves, concatenate, straight
from geomstats_vae.geodesics.options import MinimiseOptions
from geomstats_vae.geodesics.saddles import slide
from tests import surfaces

TOL = 1e-6


def hill(dim, height=2.0):
    """A bump over a plane, the same in all directions from its top."""

    def function(z):
        return torch.cat((z, height * torch.exp(-4.0 * (z * z).sum(-1, keepdim=True))), dim=-1)

    return surfaces.immersion_of(function, dim)


def over_the_top(dim, reach=1.2, shift=0.0):
    start = np.zeros((1, dim))
    start[0, 0], start[0, -1] = -reach, shift
    return start, np.where(np.arange(dim) == 0, -start, start)


def slid(immersion, curves):
    model = AssembledModel(immersion, curves.degree)
    length = curves.total(model.lengths(curves.nodes))
    mode, unit = model.modes(curves, model.variation(curves.nodes), length)
    nodes, moved = slide(model, curves, mode, unit, length, TOL, MinimiseOptions())
    found = Curves(nodes, curves.counts)
    return found, moved, length, found.total(model.lengths(nodes))


@pytest.mark.parametrize("n_elements", [4, 8])
@pytest.mark.parametrize("dim", [2, 3, 5, 8])
def test_a_curve_over_the_top_slides_off(dim, n_elements):
    curves = straight(*over_the_top(dim), n_elements, 8)
    before = curves.nodes.copy()
    found, moved, length, shorter = slid(hill(dim), curves)
    np.testing.assert_array_equal(curves.nodes, before)
    assert moved.all()
    assert (shorter < length * (1.0 - TOL)).all()
    np.testing.assert_array_equal(found.nodes[0, 0], before[0, 0])
    np.testing.assert_array_equal(found.nodes[-1, -1], before[-1, -1])
    np.testing.assert_allclose(found.nodes[1:, 0], found.nodes[:-1, -1], atol=1e-12)
    # Off the plane of symmetry, not along the curve.
    assert np.abs(found.nodes[..., 1:]).max() > 1e-3


@pytest.mark.parametrize("reach", [1.05, 1.5, 3.0])
def test_arcs_of_more_than_half_a_great_circle_slide_off(reach):
    curves = straight(*over_the_top(3, reach), 4, 8)
    _, moved, length, shorter = slid(surfaces.immersion_of(surfaces.sphere, 3), curves)
    assert length[0] == pytest.approx(4.0 * math.atan(reach), rel=1e-6)
    assert moved.all()
    assert (shorter < length).all()


@pytest.mark.parametrize("reach", [0.3, 0.9])
def test_minima_are_left_alone(reach):
    curves = straight(*over_the_top(3, reach), 4, 8)
    found, moved, _, _ = slid(surfaces.immersion_of(surfaces.sphere, 3), curves)
    assert not moved.any()
    np.testing.assert_array_equal(found.nodes, curves.nodes)


def test_a_batch_is_its_curves_one_by_one():
    parts = [straight(*over_the_top(2, reach), n, 8) for reach, n in ((1.2, 4), (0.2, 2), (1.5, 8))]
    found, moved, _, shorter = slid(hill(2), concatenate(parts))
    for k, part in enumerate(parts):
        alone, moved_alone, _, shorter_alone = slid(hill(2), part)
        assert moved[k] == moved_alone[0]
        assert shorter[k] == pytest.approx(shorter_alone[0], rel=1e-9)
        np.testing.assert_allclose(found.take([k]).nodes, alone.nodes, atol=1e-9)


@pytest.fixture(scope="module")
def around():
    """Length of the curve around the hill, from a graph path."""
    start, end = over_the_top(2)
    codes = np.random.default_rng(0).uniform(-1.5, 1.5, size=(200, 2))
    graph = LatentGraph(hill(2), np.concatenate((codes, start, end)), grid_size=48)
    path = GeodesicSolver(tol=1e-10).solve(hill(2), start, end, graph)
    assert path.converged[0]
    return path.length[0]


@pytest.mark.parametrize("dim", [2, 3, 4, 6, 8, 12, 13, 16])
def test_the_solver_leaves_saddles(dim, around):
    path = GeodesicSolver().solve(hill(dim), *over_the_top(dim))
    assert path.converged[0]
    assert path.length[0] == pytest.approx(around, rel=1e-5)
    if dim == 2:  # in others the ways around turn into each other, and their ends are conjugate
        assert local_minima(hill(dim), path)[0]


@pytest.mark.parametrize("dim", [3, 16])
def test_nearly_symmetric_saddles(dim, around):
    path = GeodesicSolver().solve(hill(dim), *over_the_top(dim, shift=1e-3))
    assert path.converged[0]
    assert path.length[0] == pytest.approx(around, rel=1e-3)


@pytest.mark.parametrize(
    "dim", [3, *(pytest.param(dim, marks=pytest.mark.long) for dim in (12, 13))]
)
def test_a_curve_past_a_conjugate_point_is_left_or_told(dim):
    start, end = over_the_top(dim, 1.3)
    immersion = surfaces.immersion_of(surfaces.sphere, dim)
    # The shorter arc leads through the chart's infinity.
    path = GeodesicSolver(max_iter=10, max_elements=32).solve(immersion, start, end)
    short = surfaces.sphere_distance(torch.tensor(start), torch.tensor(end)).numpy()
    shortest = abs(path.length[0] / short[0] - 1.0) < 1e-4
    assert shortest or not local_minima(immersion, path)[0]
