"""Of several valleys the solver takes the deepest that a line or two graph paths lead into."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from geomstats_vae import GeodesicSolver
from geomstats_vae.datasets import load_digits_vae
from geomstats_vae.geodesics import LatentGraph
from geomstats_vae.geodesics.elements import Evaluator
from geomstats_vae.geodesics.graph.options import GraphOptions, RivalOptions, SearchOptions
from geomstats_vae.geodesics.table import MetricTable
from tests import surfaces

# Pairs of codes of the packaged digits, and upper bounds of their distances by `dist_bounds`.
PAIRS = np.array([[1108, 583], [1018, 1666]])
UPPER = np.array([15.2047, 14.5055])


@pytest.fixture(scope="module")
def digits():
    vae = load_digits_vae()
    codes = np.asarray(vae.codes_)
    immersion = vae.latent_space_.metric.decoder.immersion()
    return immersion, codes, LatentGraph(immersion, codes)


def solved(digits, **options):
    immersion, codes, graph = digits
    solver = GeodesicSolver(tol=1e-4)
    solver = replace(solver, start=replace(solver.start, **options))
    return solver.solve(immersion, *codes[PAIRS.T], graph)


def test_a_second_path_leads_to_shorter_curves(digits):
    first, both = solved(digits, gentle_alternative=0.0), solved(digits)
    assert both.converged.all()
    assert (both.length < first.length * (1.0 - 5e-3)).all()
    np.testing.assert_array_less(both.length, UPPER * (1.0 + 1e-4))


def test_of_equal_curves_the_first_is_kept(digits):
    immersion, codes, graph = digits
    path = GeodesicSolver(tol=1e-4).solve(immersion, codes[:6], codes[20:26], graph)
    plain = replace(GeodesicSolver().start, gentle_alternative=0.0)
    first = GeodesicSolver(tol=1e-4, start=plain).solve(immersion, codes[:6], codes[20:26], graph)
    np.testing.assert_allclose(path.length, first.length, rtol=1e-4)
    assert (path.length <= first.length * (1.0 + 1e-12)).all()


def hill(z):
    return torch.cat((z, 3.0 * torch.exp(-2.0 * (z * z).sum(dim=-1, keepdim=True))), dim=-1)


@pytest.fixture(scope="module")
def behind_a_hill():
    """A point on one side of a hill, and many on the other side."""
    immersion = surfaces.immersion_of(hill)
    end = np.stack((np.full(101, 2.0), np.linspace(-1.5, 1.52, 101)), axis=1)
    start = np.tile([-2.0, 0.0], (len(end), 1))
    codes = np.array([[-2.2, -2.1], [2.3, 2.2]])
    return LatentGraph(immersion, np.concatenate((codes, end))), start, end


def side(path):
    return np.sign(path[np.abs(path[:, 0]).argmin(), 1])


def rivals_of(graph, start, end):
    return graph.paths_and_rivals(start, end, np.full(len(start), np.inf))


def test_second_paths_lead_around_the_other_side(behind_a_hill):
    graph, start, end = behind_a_hill
    paths, cost, rivals, owner = rivals_of(graph, start, end)
    middle = set(np.flatnonzero(np.abs(end[:, 1]) < 0.02))
    assert middle
    assert middle <= set(owner)
    assert len(owner) < 0.5 * len(end)
    for path, k in zip(rivals, owner, strict=True):
        assert k not in middle or side(path) == -side(paths[k])
        np.testing.assert_array_equal(path[[0, -1]], np.stack((start[k], end[k])))
        assert np.linalg.norm(np.diff(path, axis=0), axis=1).sum() < 1.2 * cost[k]
    np.testing.assert_array_equal(paths[7], graph.paths(start, end)[0][7])


def test_second_paths_are_found_from_the_other_end(behind_a_hill):
    graph, start, end = behind_a_hill
    _, _, rivals, owner = rivals_of(graph, start, end)
    _, _, back, others = rivals_of(graph, end, start)
    np.testing.assert_array_equal(others, owner)
    for path, other in zip(rivals, back, strict=True):
        np.testing.assert_array_equal(path, other[::-1])


def test_second_paths_of_single_pairs(behind_a_hill):
    """A* ends before it has seen the other side, unless it goes on a little."""
    graph, start, end = behind_a_hill
    search = SearchOptions(unaimed=0)
    middle = np.flatnonzero(np.abs(end[:, 1]) < 0.02)
    _, _, rivals, owner = rivals_of(graph, start, end)
    together = dict(zip(owner, rivals, strict=True))
    for options in (search, replace(search, unaimed=10**6)):
        alone = LatentGraph(graph.immersion, graph.codes, options=GraphOptions(search=options))
        for k in middle:
            row = slice(k, k + 1)
            (path,), cost, (rival,), _ = rivals_of(alone, start[row], end[row])
            assert side(rival) == -side(path)
            np.testing.assert_array_equal(rival, together[k])
            np.testing.assert_allclose(cost, graph.paths(start[row], end[row])[1], rtol=1e-12)
        assert rivals_of(alone, start[:1], end[:1])[2] == []


def test_by_a_table_second_paths_lead_to_shorter_curves(digits):
    immersion, codes, graph = digits
    low, high = codes.min(axis=0), codes.max(axis=0)

    def metric(points):
        with torch.no_grad():
            return Evaluator(immersion, 256).metrics(points)

    table = MetricTable(metric, low - 0.4, high + 0.4)
    rows = np.concatenate(([41, 840, 678, 297, 756], np.arange(95)))
    start = np.tile([-0.75378824, 0.07605138], (len(rows), 1))

    def lengths(**options):
        changed = LatentGraph.scaled(graph, 1.0)
        changed.options = replace(graph.options, rivals=RivalOptions(**options))
        solver = GeodesicSolver(tol=1e-4, table=table)
        return solver.solve(immersion, start, codes[rows], changed).length

    both, first = lengths(), lengths(longer=-1.0)
    assert (both <= first * (1.0 + 1e-4)).all()
    assert (both[:5] < first[:5] * (1.0 - 5e-3)).all()
