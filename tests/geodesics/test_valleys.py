"""Of several valleys the solver takes the deepest that a line or two graph paths lead into."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from geomstats_vae import GeodesicSolver
from geomstats_vae.datasets import load_digits_vae
from geomstats_vae.geodesics import GeodesicStatus, LatentGraph
from geomstats_vae.geodesics.curves.chain import Curves, straight
from geomstats_vae.geodesics.deadline import NO_LIMIT
from geomstats_vae.geodesics.elements import Evaluator
from geomstats_vae.geodesics.graph.options import GraphOptions, RivalOptions, SearchOptions
from geomstats_vae.geodesics.minimised import Minimised
from geomstats_vae.geodesics.table import MetricTable
from geomstats_vae.geodesics.table.options import TabulatedOptions
from tests import surfaces

# Pairs of codes of the packaged digits, and upper bounds of their distances by `dist_bounds`.
PAIRS = np.array([[1108, 583], [1018, 1666]])
UPPER = np.array([15.2047, 14.5055])
# Pairs whose graph paths lead into longer valleys.
SECOND = np.array([[1552, 260], [703, 357], [1609, 1326], [840, 1592], [1049, 1699]])
NONE = RivalOptions(longer=-1.0)


@pytest.fixture(scope="module")
def digits():
    vae = load_digits_vae()
    codes = np.asarray(vae.codes_)
    immersion = vae.latent_space_.metric.decoder.immersion()
    return immersion, codes, LatentGraph(immersion, codes)


def with_rivals(graph, rivals):
    """The same graph with other second paths."""
    changed = graph.scaled(1.0)
    changed.options = replace(graph.options, rivals=rivals)
    return changed


def lengths(digits, pairs, rivals=None, **options):
    immersion, codes, graph = digits
    graph = with_rivals(graph, RivalOptions() if rivals is None else rivals)
    return GeodesicSolver(tol=1e-4, **options).solve(immersion, *codes[pairs.T], graph)


def test_the_shortest_of_known_pairs_are_found(digits):
    path = lengths(digits, PAIRS)
    assert path.converged.all()
    np.testing.assert_array_less(path.length, UPPER * (1.0 + 1e-4))


def test_a_second_path_leads_to_shorter_curves(digits):
    first, both = lengths(digits, SECOND, NONE), lengths(digits, SECOND)
    assert both.converged.all()
    assert (both.length < first.length * (1.0 - 4e-3)).all()


def test_of_equal_curves_the_first_is_kept(digits):
    pairs = np.stack((np.arange(6), np.arange(20, 26)), axis=1)
    path, first = lengths(digits, pairs), lengths(digits, pairs, NONE)
    np.testing.assert_allclose(path.length, first.length, rtol=1e-4)
    assert (path.length <= first.length * (1.0 + 1e-12)).all()


def test_a_path_that_leaves_the_line_is_tried_too(digits):
    """Of these the straight line leads to a geodesic, but to a longer one than the path."""
    pairs = np.array([[1506, 1356], [1740, 570], [691, 466], [1638, 1684]])
    start = replace(GeodesicSolver().start, aside=0.0)
    line, both = lengths(digits, pairs, NONE, start=start), lengths(digits, pairs, NONE)
    assert line.converged.all()
    assert both.converged.all()
    assert (both.length < line.length * (1.0 - 1e-3)).all()


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
    # In the flat, far from the hill, other paths of the grid are as short.
    around = {k for path, k in zip(rivals, owner, strict=True) if side(path) == -side(paths[k])}
    assert middle <= around
    assert len(around) < 0.1 * len(end)
    for path, k in zip(rivals, owner, strict=True):
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
        (path,), _, others, _ = rivals_of(alone, start[:1], end[:1])
        assert {side(other) for other in others} <= {side(path)}


def hill_before_a_trough(z):
    x, y = z[..., :1], z[..., 1:]
    return torch.cat((hill(z), 2.0 * torch.sigmoid(6.0 * (x - 1.2)) * y**2), dim=-1)


def test_second_paths_that_join_the_first_one_before_the_end():
    """Both ways lead through a trough: no node near the end is reached around the other side."""
    immersion = surfaces.immersion_of(hill_before_a_trough)
    start = np.stack((np.full(3, -3.0), np.linspace(0.02, 0.04, 3)), axis=1)
    end = np.tile([5.0, 0.0], (3, 1))
    graph = LatentGraph(immersion, np.concatenate((end, start, [[-3.0, -2.0], [5.0, 2.0]])))
    paths, _, rivals, owner = rivals_of(graph, start, end)
    for path, others in zip(paths, by_pair(rivals, owner, 3), strict=True):
        assert side(path) == 1.0
        assert any(side(other) == -1.0 for other in others)
    # So it does not matter to which side the graph leans.
    found = GeodesicSolver(tol=1e-8).solve(immersion, start, end, graph)
    mirrored = GeodesicSolver(tol=1e-8).solve(immersion, start * [1.0, -1.0], end, graph)
    np.testing.assert_allclose(found.length, mirrored.length, rtol=1e-7)


def by_pair(rivals, owner, n):
    return [[path for path, k in zip(rivals, owner, strict=True) if k == pair] for pair in range(n)]


def test_few_second_paths_of_a_pair(behind_a_hill):
    graph, start, end = behind_a_hill
    one = with_rivals(graph, RivalOptions(most=1))
    _, _, rivals, owner = rivals_of(graph, start, end)
    _, _, firsts, first_owner = rivals_of(one, start, end)
    assert len(np.unique(first_owner)) == len(first_owner)
    assert set(first_owner) == set(owner)
    assert np.bincount(owner).max() <= graph.options.rivals.most
    for path, k in zip(firsts, first_owner, strict=True):
        assert any(np.array_equal(path, other) for other in by_pair(rivals, owner, len(end))[k])


def test_by_a_table_second_paths_lead_to_shorter_curves(digits):
    immersion, codes, _ = digits
    low, high = codes.min(axis=0), codes.max(axis=0)

    def metric(points):
        with torch.no_grad():
            return Evaluator(immersion, 256).metrics(points)

    table = MetricTable(metric, low - 0.4, high + 0.4)
    pairs = np.concatenate((SECOND, np.stack((np.arange(95), np.arange(95) + 100), axis=1)))
    both, first = (lengths(digits, pairs, rivals, table=table) for rivals in (None, NONE))
    assert (both.length <= first.length * (1.0 + 1e-4)).all()
    assert (both.length[:5] < first.length[:5] * (1.0 - 4e-3)).all()


class Lost:
    """A search by a table that ends on the far side of the hill, and cannot tell a step there."""

    degree, options = 5, TabulatedOptions()

    def from_afar(self, start, end):
        corner = np.array([[0.0, -1.5]])
        nodes = np.concatenate(
            [straight(*ends, 8, self.degree).nodes for ends in ((start, corner), (corner, end))]
        )
        return Minimised(
            curves=Curves(nodes, np.array([16])),
            length=np.array([6.0]),
            velocity=np.full((1, 2, 2), np.nan),
            residual=np.array([np.inf]),
            length_error=np.array([0.0]),
            status=np.array([int(GeodesicStatus.MAX_ITER)]),
            n_iter=np.zeros(1, dtype=int),
            settled=np.zeros(1, dtype=bool),
        )

    def arc_lengths(self, nodes, degree):
        assert not len(nodes)  # no curve is the table's
        return np.zeros((0, degree + 1))


def test_curves_of_a_table_without_a_step_are_searched_anew(behind_a_hill):
    graph, _, _ = behind_a_hill
    start, end = np.array([[-2.0, 0.0]]), np.array([[2.0, 0.9]])
    solver = GeodesicSolver(tol=1e-6)
    search = solver._search(solver._models(graph.immersion), start, end, graph, NO_LIMIT)
    search._tabulated = Lost()
    with torch.no_grad():
        path, expected = search.run(None), solver.solve(graph.immersion, start, end, graph)
    assert path.converged.all()
    np.testing.assert_allclose(path.length, expected.length, rtol=1e-6)
