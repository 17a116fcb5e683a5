"""Shortest paths against searches of the whole graph, and the assembly of graphs."""

import pickle
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy import sparse
from scipy.sparse.csgraph import connected_components, dijkstra
from scipy.spatial import cKDTree

from geomstats_vae.geodesics import GeodesicSolver, LatentGraph
from geomstats_vae.geodesics.curves.reference import reference_element
from geomstats_vae.geodesics.graph.dijkstra import Dijkstra
from geomstats_vae.geodesics.graph.edges import symmetric_graph
from geomstats_vae.geodesics.graph.options import GraphOptions, SearchOptions
from geomstats_vae.geodesics.graph.search import GraphSearch
from tests import surfaces


def symmetric(n_nodes, a, b, weight):
    graph = sparse.coo_matrix((weight, (a, b)), shape=(n_nodes,) * 2).tocsr()
    return graph.maximum(graph.T).tocsr()


def neighbours(n_nodes, n_neighbours=5, dim=2, seed=0):
    """Random points joined to those nearest, with random lengths."""
    generator = np.random.default_rng(seed)
    points = generator.uniform(size=(n_nodes, dim))
    distance, near = cKDTree(points).query(points, n_neighbours + 1)
    weight = distance * generator.uniform(0.5, 3.0, distance.shape)
    a = np.repeat(np.arange(n_nodes), n_neighbours)
    return symmetric(n_nodes, a, near[:, 1:].ravel(), weight[:, 1:].ravel())


def islands(n_nodes, n_islands=3, seed=0):
    """Graphs without edges between them."""
    parts = [neighbours(n_nodes // n_islands, seed=seed + k) for k in range(n_islands)]
    order = np.random.default_rng(seed).permutation(n_nodes // n_islands * n_islands)
    return sparse.block_diag(parts).tocsr()[order][:, order].tocsr()


def strip(length, width=2, seed=0):
    """A long ladder: its nodes are far from most landmarks, and near their neighbours."""
    generator = np.random.default_rng(seed)
    nodes = np.arange(length * width).reshape(length, width)
    a = np.concatenate((nodes[1:].ravel(), nodes[:, 1:].ravel()))
    b = np.concatenate((nodes[:-1].ravel(), nodes[:, :-1].ravel()))
    return symmetric(length * width, a, b, generator.uniform(0.5, 2.0, len(a)))


GRAPHS = {
    "small": lambda: neighbours(300),
    "large": lambda: neighbours(6000),
    "large, of many neighbours": lambda: neighbours(5500, 12, 3),
    "small islands": lambda: islands(300),
    "large islands": lambda: islands(6000),
    "long": lambda: strip(3000),
}


@pytest.fixture(scope="module", params=GRAPHS)
def graph(request):
    return GRAPHS[request.param]()


def draw(graph, n_pairs=40, seed=1):
    return np.random.default_rng(seed).integers(graph.shape[0], size=(2, n_pairs))


def search(graph, source, target, n_ends=None):
    ends = np.unique(np.concatenate((source, target)))
    return GraphSearch(graph, ends if n_ends is None else ends[:n_ends], SearchOptions())


def length_of(graph, path):
    return sum(graph[a, b] for a, b in pairwise(path))


def assert_shortest(graph, found, source, target, limit):
    paths, cost = found
    exact = dijkstra(graph, indices=source)[np.arange(len(source)), target]
    exact[exact > limit] = np.inf
    np.testing.assert_allclose(cost, exact, rtol=1e-12)
    for path, total, a, b in zip(paths, cost, source, target, strict=True):
        if np.isinf(total):
            assert len(path) == 0
            continue
        assert (path[0], path[-1]) == (a, b)
        assert length_of(graph, path) == pytest.approx(total, rel=1e-12)
        assert len(np.unique(path)) == len(path)


@pytest.mark.parametrize("n_ends", [None, 1, 3], ids=["all ends", "one end", "three ends"])
def test_paths_are_the_shortest(graph, n_ends):
    source, target = draw(graph)
    limit = np.full(len(source), np.inf)
    found = search(graph, source, target, n_ends).paths(source, target, limit)
    assert_shortest(graph, found, source, target, limit)


def test_near_nodes(graph):
    """Ways much shorter than the distances to landmarks, which bound them."""
    source, _ = draw(graph)
    target = np.array([graph.indices[graph.indptr[k]] for k in source])
    limit = np.full(len(source), np.inf)
    found = search(graph, source, target).paths(source, target, limit)
    assert_shortest(graph, found, source, target, limit)


@pytest.mark.parametrize(
    "share",
    [
        pytest.param(0.5, marks=pytest.mark.long),
        0.999,
        1.001,
        pytest.param(2.0, marks=pytest.mark.long),
    ],
)
def test_limits(graph, share):
    source, target = draw(graph)
    exact = dijkstra(graph, indices=source)[np.arange(len(source)), target]
    # Of some pairs more than others, so that a batch's limits differ.
    limit = share * np.where(np.isfinite(exact), exact, 1.0)
    limit[::3] *= np.linspace(0.2, 3.0, len(limit[::3]))
    found = search(graph, source, target).paths(source, target, limit)
    assert_shortest(graph, found, source, target, limit)


def test_tight_limits_of_near_nodes(graph):
    source, _ = draw(graph)
    target = np.array([graph.indices[graph.indptr[k]] for k in source])
    exact = dijkstra(graph, indices=source)[np.arange(len(source)), target]
    limit = exact * (1.0 + 1e-9)
    found = search(graph, source, target).paths(source, target, limit)
    assert_shortest(graph, found, source, target, limit)


def test_equal_ends(graph):
    source, target = draw(graph, 12)
    target[::2] = source[::2]
    for limit in (np.inf, 0.0):
        limits = np.full(len(source), limit)
        paths, cost = search(graph, source, target).paths(source, target, limits)
        assert_shortest(graph, (paths, cost), source, target, limits)
        assert (cost[::2] == 0.0).all()
        for path, node in zip(paths[::2], source[::2], strict=True):
            np.testing.assert_array_equal(path, [node])


def test_swapped_roles(graph):
    source, target = draw(graph)
    limit = np.full(len(source), np.inf)
    there = search(graph, source, target).paths(source, target, limit)
    back = search(graph, source, target).paths(target, source, limit)
    np.testing.assert_allclose(there[1], back[1], rtol=1e-12)
    for a, b in zip(there[0], back[0], strict=True):
        np.testing.assert_array_equal(a, b[::-1])


@pytest.mark.parametrize("shared", ["source", "target", "none"])
def test_a_batch_is_its_pairs_one_by_one(graph, shared):
    source, target = draw(graph, 20)
    # A node that many pairs share is searched from once for all of them.
    if shared == "source":
        source[:12] = source[0]
    elif shared == "target":
        target[:12] = target[0]
    finder, limit = search(graph, source, target), np.full(20, np.inf)
    paths, cost = finder.paths(source, target, limit)
    assert_shortest(graph, (paths, cost), source, target, limit)
    for k in range(20):
        row = slice(k, k + 1)
        (path,), alone = finder.paths(source[row], target[row], limit[row])
        np.testing.assert_allclose(alone[0], cost[k], rtol=1e-12)
        np.testing.assert_array_equal(path, paths[k])


def test_limits_of_shared_nodes_are_each_pair_s_own(graph):
    source, target = draw(graph, 12)
    source[:] = source[0]
    limit = np.linspace(0.0, 1.0, 12) * 2.0
    found = search(graph, source, target).paths(source, target, limit)
    assert_shortest(graph, found, source, target, limit)


def test_no_pairs(graph):
    none = np.zeros(0, dtype=int)
    paths, cost = GraphSearch(graph, np.arange(3), SearchOptions()).paths(none, none, np.zeros(0))
    assert paths == []
    assert cost.shape == (0,)


def test_islands_are_islands():
    graph = islands(6000)
    label = connected_components(graph)[1]
    source, target = draw(graph, 60)
    limit = np.full(60, np.inf)
    _, cost = search(graph, source, target).paths(source, target, limit)
    np.testing.assert_array_equal(np.isfinite(cost), label[source] == label[target])


def test_a_part_of_the_graph_is_searched(monkeypatch):
    """Of a large graph the search for one pair reaches little."""
    reached, search_once = [], Dijkstra.search

    def spy(self, *args, **kwargs):
        search_once(self, *args, **kwargs)
        reached.append(self.n_reached)

    graph = neighbours(8000)
    source, target = draw(graph, 30)
    finder = search(graph, source, target)
    assert finder._to_landmarks.shape == (8000, finder.options.n_landmarks)
    monkeypatch.setattr(Dijkstra, "search", spy)
    finder.paths(source, target, np.full(30, np.inf))
    assert len(reached) == 30
    assert np.median(reached) < 0.1 * graph.shape[0]


def test_assembly_of_a_grid():
    nodes = np.arange(30).reshape(5, 6)
    groups = [
        (nodes[:-1].ravel(), nodes[1:].ravel()),
        (nodes[:, :-1].ravel(), nodes[:, 1:].ravel()),
    ]
    values = np.random.default_rng(0).uniform(size=30)
    calls = []

    def length(a, b):
        calls.append((a, b))
        return values[a] + values[b]

    graph = symmetric_graph(30, lambda: iter(groups), length)
    a, b = (np.concatenate(ends) for ends in zip(*groups, strict=True))
    expected = symmetric(30, a, b, values[a] + values[b])
    assert (graph != expected).nnz == 0
    assert (graph != graph.T).nnz == 0
    assert graph.nnz == 2 * len(a)
    assert graph.has_sorted_indices
    assert graph.indices.dtype == graph.indptr.dtype == np.int32
    assert len(calls) == len(groups)


def test_edges_of_no_length_stay_edges():
    ends = np.array([0, 1]), np.array([1, 2])
    graph = symmetric_graph(4, lambda: iter([ends]), lambda a, b: np.zeros(len(a)))
    assert graph.nnz == 4
    assert dijkstra(graph, indices=0)[2] < 1e-300
    assert np.isinf(dijkstra(graph, indices=0)[3])


def test_graphs_of_few_codes():
    codes = np.array([[-1.2, 0.0], [1.2, 0.1]])
    graph = LatentGraph(surfaces.immersion_of(surfaces.paraboloid), codes, grid_size=96)
    (path,), cost = graph.paths(codes[:1], codes[1:])
    assert np.isfinite(cost[0])
    np.testing.assert_array_equal(path[[0, -1]], codes)


def wall(z):
    """A plane whose standard deviation has a ridge."""
    x, y = z.unbind(-1)
    return torch.stack((x, y, 0.1 + 3.0 * torch.exp(-20.0 * (x - 0.3 * y) ** 2)), dim=-1)


@pytest.fixture(scope="module", params=[None, 48], ids=["codes", "grid"])
def latent_graph(request):
    immersion = surfaces.immersion_of(wall, 2)
    immersion.n_mean = 2
    codes = np.random.default_rng(0).uniform(-1.0, 1.0, (200, 2))
    options = GraphOptions() if request.param else GraphOptions(grid_sizes={})
    return LatentGraph(immersion, codes, grid_size=request.param, options=options)


def ends(n_pairs=6):
    return np.random.default_rng(1).uniform(-0.9, 0.9, (2, n_pairs, 2))


def test_scaled_graphs_have_scaled_lengths_and_the_same_paths(latent_graph):
    start, end = ends()
    twice = latent_graph.scaled(0.5).scaled(4.0)
    assert twice.nodes is latent_graph.nodes
    limit = 1.5 * latent_graph.line_lengths(start, end)
    paths, length = latent_graph.paths(start, end, limit)
    scaled_paths, scaled_length = twice.paths(start, end, 2.0 * limit)
    np.testing.assert_allclose(scaled_length, 2.0 * length)
    for path, other in zip(paths, scaled_paths, strict=True):
        np.testing.assert_array_equal(path, other)
    for name in ("distances", "line_lengths"):
        expected = 2.0 * getattr(latent_graph, name)(start, end)
        np.testing.assert_allclose(getattr(twice, name)(start, end), expected)
    np.testing.assert_allclose(
        twice.alternative_paths(paths)[1], 2.0 * latent_graph.alternative_paths(paths)[1]
    )
    np.testing.assert_allclose(twice.matrix.data, 2.0 * latent_graph.matrix.data)
    element = reference_element(4)
    for nodes, other in zip(
        *(g.place(paths, element, 20, 1000) for g in (latent_graph, twice)), strict=True
    ):
        np.testing.assert_allclose(nodes, other, atol=1e-12)


def test_solving_on_a_scaled_graph_gives_scaled_lengths(latent_graph):
    start, end = ends(3)
    immersion = surfaces.immersion_of(lambda z: 3.0 * wall(z), 2)
    expected = 3.0 * GeodesicSolver().solve(latent_graph.immersion, start, end, latent_graph).length
    path = GeodesicSolver().solve(immersion, start, end, latent_graph.scaled(3.0))
    np.testing.assert_allclose(path.length, expected, rtol=1e-6)


def test_pickled_graphs_are_smaller_and_find_the_same(latent_graph):
    start, end = ends()
    expected = latent_graph.paths(start, end)
    state = pickle.dumps(latent_graph)
    matrix = latent_graph.matrix
    table = getattr(getattr(latent_graph, "_links", None), "table", None)
    known = 1e5 if table is None else 1e5 + table.nbytes
    assert len(state) < 0.8 * (matrix.data.nbytes + matrix.indices.nbytes) + known
    found = pickle.loads(state).paths(start, end)
    np.testing.assert_array_equal(found[1], expected[1])
    for path, other in zip(found[0], expected[0], strict=True):
        np.testing.assert_array_equal(path, other)


@pytest.mark.parametrize("grid_size", [None, 16])
def test_progress_is_shown_if_asked_for(grid_size, capsys):
    immersion, codes = surfaces.immersion_of(wall, 2), ends(20)[0]
    options = GraphOptions(grid_sizes={})
    for verbose in (False, True):
        LatentGraph(immersion, codes, grid_size=grid_size, verbose=verbose, options=options)
        assert ("Graph: 100%" in capsys.readouterr().err) == verbose


def test_edges_of_a_smooth_grid_are_as_long_as_their_curves():
    """A rough table knows the metric between the nodes."""
    immersion = surfaces.immersion_of(surfaces.paraboloid)
    codes = np.random.default_rng(0).uniform(-2.0, 2.0, (100, 2))
    edges, rough = (
        LatentGraph(immersion, codes, grid_size=64, options=options)
        for options in (GraphOptions(), GraphOptions(tables={}))
    )
    half = sparse.triu(edges.matrix).tocoo()
    rows = np.random.default_rng(1).choice(half.nnz, 2000, replace=False)
    a, b = half.row[rows], half.col[rows]
    true = edges.chord_lengths(edges.nodes[a], edges.nodes[b], 64)
    np.testing.assert_allclose(half.data[rows], true, rtol=1e-4)
    assert np.abs(np.asarray(rough.matrix[a, b])[0] / true - 1.0).max() > 1e-3
    assert (edges.matrix != edges.matrix.T).nnz == 0


def test_edges_where_a_table_knows_nothing_are_measured_at_their_ends():
    immersion = surfaces.immersion_of(wall)
    codes = np.random.default_rng(0).uniform(-1.0, 1.0, (100, 2))
    blind = replace(GraphOptions().tables[2], trusted=0.0)
    options = GraphOptions(tables={}), GraphOptions(tables={2: blind})
    one, other = (LatentGraph(immersion, codes, grid_size=32, options=o) for o in options)
    np.testing.assert_array_equal(one.nodes, other.nodes)
    np.testing.assert_allclose(one.matrix.data, other.matrix.data, rtol=1e-12)
