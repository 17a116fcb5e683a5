"""Compiled searches against scipy's, on random graphs and on grids with walls."""

import pickle
from dataclasses import replace

import joblib
import numpy as np
import pytest
from scipy import sparse
from scipy.sparse.csgraph import dijkstra

from geomstats_vae.geodesics.graph import dijkstra as module
from geomstats_vae.geodesics.graph.dijkstra import Dijkstra
from geomstats_vae.geodesics.graph.options import SearchOptions
from geomstats_vae.geodesics.graph.search import GraphSearch

# Searches by A* from the first node on, with one search for many paths from eight on.
BY_LANDMARKS = SearchOptions(small_graph=0, shared=8, unaimed=0, n_landmarks=6)
UNAIMED = replace(BY_LANDMARKS, unaimed=10**6)
NOWHERE = np.zeros(0, dtype=int)


def directed(n_nodes=400, n_edges=1600, seed=0):
    generator = np.random.default_rng(seed)
    a, b = generator.integers(n_nodes, size=(2, n_edges))
    graph = sparse.coo_matrix((generator.uniform(0.1, 3.0, n_edges), (a, b)), (n_nodes,) * 2)
    return graph.tocsr()


def undirected(n_nodes=400, n_edges=700, seed=0):
    """Some nodes are out of reach of others."""
    graph = directed(n_nodes, n_edges, seed)
    return graph.maximum(graph.T).tocsr()


def walled(size=40, gap=5):
    """A grid with walls: two that are dear, and one that has a gap."""
    generator = np.random.default_rng(0)
    nodes = np.arange(size * size).reshape(size, size)
    pairs = [
        (nodes[:-1], nodes[1:]),
        (nodes[:, :-1], nodes[:, 1:]),
        (nodes[:-1, 1:], nodes[1:, :-1]),
    ]
    a, b = (np.concatenate([pair[k].ravel() for pair in pairs]) for k in (0, 1))
    weight = generator.uniform(1.0, 1.2, len(a))
    row = {side: ends // size for side, ends in (("a", a), ("b", b))}
    for wall in (size // 4, size // 2):
        weight[(row["a"] < wall) & (row["b"] >= wall)] *= 300.0
    closed = (row["a"] < 3 * size // 4) & (row["b"] >= 3 * size // 4) & (b % size >= gap)
    half = sparse.coo_matrix((weight[~closed], (a[~closed], b[~closed])), (size * size,) * 2)
    return (half + half.T).tocsr()


GRAPHS = {"undirected": undirected, "walled": walled}


@pytest.fixture(scope="module", params=GRAPHS)
def graph(request):
    return GRAPHS[request.param]()


def draw(graph, n_pairs=60, seed=1):
    return np.random.default_rng(seed).integers(graph.shape[0], size=(2, n_pairs))


def exact(graph, source, target):
    return dijkstra(graph, indices=source)[np.arange(len(source)), target]


def length_of(graph, path):
    return graph[path[:-1], path[1:]].sum()


@pytest.mark.parametrize("build", [directed, undirected, walled])
def test_distances_to_all_nodes(build):
    graph = build()
    finder, every = Dijkstra(graph), np.arange(graph.shape[0])
    for root in (0, 7, 7, 100):
        finder.search(np.array([root]), NOWHERE)
        expected = dijkstra(graph, indices=root)
        np.testing.assert_allclose(finder.lengths(every), expected, rtol=1e-12)
        assert finder.n_reached == np.isfinite(expected).sum()


def test_a_search_stops_at_its_last_leaf():
    graph = walled()
    finder, leaves = Dijkstra(graph), np.array([1, 2, 41, 41])
    finder.search(np.array([0]), leaves)
    np.testing.assert_allclose(finder.lengths(leaves), dijkstra(graph, indices=0)[leaves])
    assert finder.n_reached < 0.05 * graph.shape[0]
    finder.search(np.array([0]), np.array([0]), 0.0)
    np.testing.assert_array_equal(finder.path(0), [0])


def test_limits_are_inclusive(graph):
    expected, every = dijkstra(graph, indices=3), np.arange(graph.shape[0])
    finder = Dijkstra(graph)
    for limit in np.sort(expected[np.isfinite(expected)])[[0, 1, 20, -1]]:
        finder.search(np.array([3]), NOWHERE, limit)
        inside = np.where(expected <= limit, expected, np.inf)
        np.testing.assert_array_equal(finder.lengths(every), inside)
    finder.search(np.array([3]), NOWHERE, -1.0)
    assert np.isinf(finder.lengths(every)).all()
    assert len(finder.path(3)) == 0


def test_a_search_back_finds_all_nodes_of_paths_that_are_hardly_longer(graph):
    """What is left is known from a search that came the other way."""
    there, back = Dijkstra(graph), Dijkstra(graph)
    root, far = 5, dijkstra(graph, indices=[5])[0]
    leaf = int(np.argmax(np.where(np.isfinite(far), far, -1.0)))
    left = dijkstra(graph, indices=[leaf])[0]
    there.search(np.array([root]), np.array([leaf]), beyond=0.1)
    most = 1.1 * far[leaf]
    ends, known = (np.array([leaf]), np.array([root])), there.single_distances
    back.search(*ends, most, left=known, beyond=0.1)
    near = np.flatnonzero(far + left <= most * (1.0 - 1e-6))
    assert len(back.path(root)) < len(near) <= back.n_reached
    np.testing.assert_allclose(back.distance[near], left[near], rtol=1e-12)
    np.testing.assert_allclose(back.lengths(np.array([root])), far[leaf], rtol=1e-12)
    assert not set(back.reached) - set(np.flatnonzero(np.isfinite(left)))
    there.search(np.array([leaf]), NOWHERE)
    np.testing.assert_allclose(there.single_distances, left.astype(np.float32), rtol=1e-6)


def test_several_roots_at_offsets():
    """As from another node that is joined to them."""
    graph, roots, offsets = undirected(), np.array([5, 80, 5, 200]), np.array([0.3, 0.1, 0.2, 4.0])
    leaving = sparse.coo_matrix(([0.2, 0.1, 4.0], ([0, 0, 0], [5, 80, 200])), (1, graph.shape[0]))
    joined = sparse.vstack((graph, leaving)).tocsr()
    joined.resize((joined.shape[0],) * 2)
    finder = Dijkstra(graph)
    finder.search(roots, NOWHERE, offsets=offsets)
    expected = dijkstra(joined, indices=graph.shape[0])[:-1]
    np.testing.assert_allclose(finder.lengths(np.arange(graph.shape[0])), expected, rtol=1e-12)


@pytest.mark.parametrize("node", [-1, 400])
def test_numbers_that_are_no_nodes_are_refused(node):
    finder = Dijkstra(undirected())
    for ends in (([node], [0]), ([0], [1, node])):
        with pytest.raises(IndexError, match="nodes of the graph"):
            finder.search(*map(np.array, ends))
    finder.search(np.array([0]), NOWHERE)
    expected = dijkstra(undirected(), indices=0)
    np.testing.assert_allclose(finder.lengths(np.arange(400)), expected, rtol=1e-12)


def test_edges_without_a_length_are_none():
    graph = undirected()
    broken = graph.copy()
    broken.data[::7] = np.nan
    broken.data[3::7] = np.inf
    kept = graph.copy()
    kept.data[~np.isfinite(broken.data)] = 0.0
    kept.eliminate_zeros()
    finder = Dijkstra(broken)
    finder.search(np.array([0]), NOWHERE)
    expected = dijkstra(kept, indices=0)
    np.testing.assert_allclose(finder.lengths(np.arange(graph.shape[0])), expected, rtol=1e-12)


@pytest.mark.parametrize("options", [BY_LANDMARKS, UNAIMED], ids=["landmarks", "unaimed"])
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("share", [0.9, 1.0 + 1e-9, np.inf])
def test_paths_are_shortest(graph, options, shared, share):
    source, target = draw(graph)
    if shared:
        source[:20], target[30:50] = source[0], target[30]
    expected = exact(graph, source, target)
    limit = share * np.where(np.isfinite(expected), expected, 1.0)
    expected[expected > limit] = np.inf
    finder = GraphSearch(graph, np.arange(0, graph.shape[0], 9), options)
    for ends in ((source, target), (target, source)):
        paths, length = finder.paths(*ends, limit)
        np.testing.assert_allclose(length, expected, rtol=1e-12)
        for path, total, a, b in zip(paths, length, *ends, strict=True):
            assert (len(path) > 0) == np.isfinite(total)
            if len(path):
                assert (path[0], path[-1]) == (a, b)
                assert length_of(graph, path) == pytest.approx(total, rel=1e-12)


@pytest.mark.parametrize(
    "options", [BY_LANDMARKS, UNAIMED, SearchOptions()], ids=["landmarks", "unaimed", "none"]
)
def test_paths_around_nodes_are_the_shortest_with_dearer_edges(graph, options):
    source, target = draw(graph, 20)
    generator, factor = np.random.default_rng(2), 1.7
    near = [generator.integers(graph.shape[0], size=graph.shape[0] // 4) for _ in source]
    finder = GraphSearch(graph, np.arange(0, graph.shape[0], 9), options)
    no_limit = np.full(20, np.inf)
    paths, length = finder.paths_around(source, target, no_limit, iter(near), factor)
    for k, path in enumerate(paths):
        toll = np.ones(graph.shape[0])
        toll[near[k]] = np.sqrt(factor)
        dear = (sparse.diags(toll) @ graph @ sparse.diags(toll)).tocsr()
        expected = dijkstra(dear, indices=source[k])[target[k]]
        limit = np.array([expected * (1.0 - 1e-9)]) if np.isfinite(expected) else no_limit[:1]
        one = source[k : k + 1], target[k : k + 1], limit, near[k : k + 1], factor
        assert len(finder.paths_around(*one)[0][0]) == 0 or source[k] == target[k]
        if np.isinf(expected):
            assert len(path) == 0
            assert np.isinf(length[k])
            continue
        assert (path[0], path[-1]) == (source[k], target[k])
        assert length_of(dear, path) == pytest.approx(expected, rel=1e-12)
        assert length_of(graph, path) == pytest.approx(length[k], rel=1e-12)


def test_paths_around_a_path_avoid_it():
    """Across a plane the second path shares few nodes with the first one."""
    graph = walled(40)
    finder = GraphSearch(graph, np.arange(0, 1600, 9), BY_LANDMARKS)
    source, target, limit = np.array([0]), np.array([9 * 40 + 39]), np.array([np.inf])
    (path,), (length,) = finder.paths(source, target, limit)
    (other,), (longer,) = finder.paths_around(source, target, limit, [path], 1.5)
    assert length <= longer <= 1.5 * length
    assert len(np.intersect1d(path, other)) < 0.5 * len(path)


def test_a_search_does_not_depend_on_those_before_it(graph):
    source, target = draw(graph)
    finder = GraphSearch(graph, np.arange(0, graph.shape[0], 9), BY_LANDMARKS)
    paths, _ = finder.paths(source, target, np.full(len(source), np.inf))
    for k in range(len(source)):
        row = slice(k, k + 1)
        (path,), _ = finder.paths(source[row], target[row], np.full(1, np.inf))
        np.testing.assert_array_equal(path, paths[k])


def test_few_searches_need_no_landmarks(graph):
    options = replace(BY_LANDMARKS, unaimed=2)
    finder = GraphSearch(graph, np.arange(0, graph.shape[0], 9), options)
    pair, no_limit = (np.array([0, 0]), np.array([1, 2])), np.full(2, np.inf)
    for _ in range(2):
        finder.paths(*pair, no_limit)  # one search for both
        assert "_to_landmarks" not in vars(finder)
    finder.paths(*pair, no_limit)
    assert "_to_landmarks" in vars(finder)


def test_threads_share_a_graph(graph):
    finder = GraphSearch(graph, np.arange(0, graph.shape[0], 9), BY_LANDMARKS)
    batches = [draw(graph, 200, seed) for seed in range(4)]
    limit = np.full(200, np.inf)
    alone = [finder.paths(*ends, limit) for ends in batches]
    calls = (joblib.delayed(finder.paths)(*ends, limit) for ends in batches * 2)
    together = joblib.Parallel(n_jobs=4, backend="threading")(calls)
    for found, expected in zip(together, alone * 2, strict=True):
        np.testing.assert_array_equal(found[1], expected[1])
        for path, other in zip(found[0], expected[0], strict=True):
            np.testing.assert_array_equal(path, other)


def test_pickles_hold_edges_and_ends_only():
    graph = walled()
    finder, (source, target) = GraphSearch(graph, np.arange(20), BY_LANDMARKS), draw(graph)
    before = pickle.dumps(finder)
    expected = finder.paths(source, target, np.full(len(source), np.inf))[1]
    assert pickle.dumps(finder) == before
    found = pickle.loads(before).paths(source, target, np.full(len(source), np.inf))[1]
    np.testing.assert_array_equal(found, expected)


def test_kernels_are_compiled_once():
    """Indices and rows in any layout are searched by the same code."""
    graph, far = walled(), np.zeros((1600, 2), dtype=np.float32)
    wide = graph.copy()
    wide.indices, wide.indptr = graph.indices.astype(np.int64), graph.indptr.astype(np.int64)
    leaves, offsets = np.arange(10)[::2], np.zeros((2, 2))[:, 0]
    for finder in (Dijkstra(graph), Dijkstra(wide), Dijkstra(graph, far, np.float32(0.1))):
        finder.search(leaves[:2], leaves, 50, offsets=offsets)
        finder.search(np.array([3], dtype=np.int32), leaves, factor=np.ones(1600))
        finder.path(np.int32(4))
    finder.search(leaves[:1], leaves[1:2], np.float32(30.0), aim=2)
    finder.search(leaves[:1], leaves[1:2], left=far[:, 0].copy(), beyond=0.1)
    for kernel in (module._search, module.trace):
        assert len(kernel.signatures) == 1


def test_kernels_are_compiled_where_no_folder_can_be_written(monkeypatch):
    compiler = module.njit

    def njit(**options):
        if options.get("cache"):
            raise RuntimeError("cannot cache function: no locator available")
        return compiler(**options)

    monkeypatch.setattr(module, "njit", njit)
    before, path = np.array([-1, 0, 1], dtype=np.int32), np.zeros(3, dtype=np.int32)
    assert module.kept_on_disk(module.trace.py_func)(before, 2, path) == 3
    np.testing.assert_array_equal(path, [2, 1, 0])
