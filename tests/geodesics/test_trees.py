"""Trees that are kept tell the same paths as searches for each pair."""

import itertools
import pickle
from dataclasses import replace

import numpy as np
import pytest
from scipy.sparse.csgraph import dijkstra

from geomstats_vae import LatentSpace
from geomstats_vae.datasets import load_digits_vae
from geomstats_vae.geodesics import LatentGraph
from geomstats_vae.geodesics.graph.options import SearchOptions
from geomstats_vae.geodesics.graph.search import GraphSearch
from geomstats_vae.geodesics.graph.trees import Trees
from geomstats_vae.geometry.blocks import Blocks
from geomstats_vae.immersions import AutodiffImmersion
from tests.geodesics.test_dijkstra import (
    BY_LANDMARKS,
    directed,
    draw,
    length_of,
    undirected,
    walled,
)


def steep():
    """Some edges are longer than others by far more than there are buckets."""
    graph = walled()
    graph.data[graph.data > 100.0] *= 1e6
    return graph


def broken():
    graph = undirected()
    graph.data[::7] = np.nan
    return graph


GRAPHS = [undirected, directed, walled, steep]


@pytest.mark.parametrize("build", GRAPHS)
def test_trees_hold_shortest_paths(build):
    graph, roots = build(), np.array([0, 7, 100])
    trees = Trees(graph, roots, 10)
    for root in roots:
        tree, expected = trees.of(root), dijkstra(graph, indices=root)
        np.testing.assert_allclose(tree.lengths(np.arange(len(expected))), expected, rtol=1e-7)
        for node in (root, 3, 50, 399):
            path = tree.path(node)
            assert len(path) == 0 if np.isinf(expected[node]) else path[0] == root
            if len(path) > 1:
                assert length_of(graph, path) == pytest.approx(expected[node], rel=1e-12)


def test_edges_without_a_length_are_none():
    tree = Trees(broken(), np.array([0]), 1).of(0)
    kept = broken()
    kept.data[np.isnan(kept.data)] = 0.0
    kept.eliminate_zeros()
    np.testing.assert_allclose(tree.lengths(np.arange(400)), dijkstra(kept, indices=0), rtol=1e-7)


@pytest.mark.parametrize("build", GRAPHS[:1] + GRAPHS[2:])
def test_nodes_between_two_roots(build):
    graph = build()
    one, other = (Trees(graph, np.array([5, 390]), 2).of(root) for root in (5, 390))
    total = dijkstra(graph, indices=[5, 390]).sum(axis=0)
    for most in (0.9 * total.min(), 1.05 * total.min(), 2.0 * total.min(), np.inf):
        nodes, lengths = one.between(other, most)
        expected = np.flatnonzero(total <= most)
        if np.isfinite(most):
            np.testing.assert_array_equal(nodes, expected)
        np.testing.assert_allclose(lengths, total[nodes], rtol=1e-6)


def test_trees_asked_for_least_recently_are_dropped():
    graph = walled()
    trees = Trees(graph, np.arange(4), 2)
    first, second = trees.of(0), trees.of(1)
    assert trees.of(0) is first
    trees.of(2)
    assert trees.of(0) is first
    again = trees.of(1)
    assert again is not second
    np.testing.assert_array_equal(again.single_distances, second.single_distances)
    assert 3 in trees
    assert 4 not in trees


@pytest.mark.parametrize("options", [BY_LANDMARKS, SearchOptions()], ids=["landmarks", "none"])
def test_paths_by_trees_are_those_without(options):
    """Some ends have a tree, others not."""
    graph = walled()
    source, target = draw(graph, 200)
    source[:80], target[40:120] = source[:80] % 4, target[40:120] % 4
    source[150:] = source[150]
    limit = np.where(np.arange(200) % 3 == 0, 40.0, np.inf)
    plain = GraphSearch(graph, np.arange(0, 1600, 9), options)
    keeping = plain.keeping(np.arange(4))
    for finder in (keeping, pickle.loads(pickle.dumps(keeping))):
        for ends in ((source, target), (target, source)):
            paths, length = finder.paths(*ends, limit)
            others, expected = plain.paths(*ends, limit)
            np.testing.assert_allclose(length, expected, rtol=1e-6)
            for path, other in zip(paths, others, strict=True):
                np.testing.assert_array_equal(path, other)
    assert len(pickle.dumps(keeping)) < len(pickle.dumps(plain)) + 1000


@pytest.fixture(scope="module")
def digits():
    vae = load_digits_vae()
    return LatentSpace(vae.decoder_, points=vae.codes_), np.asarray(vae.codes_)


def all_pairs(points):
    rows, columns = np.triu_indices(len(points), 1)
    return points[rows], points[columns]


def test_second_paths_by_trees_are_those_without(digits):
    space, codes = digits
    start, end = all_pairs(codes[300:340])
    graph = space.metric.build_graph()
    keeping, tile = graph.for_pairs(start, end, 1)
    assert tile is None
    assert keeping is not graph
    limit = np.full(len(start), np.inf)
    one, other = (
        keeping.paths_and_rivals(start, end, limit),
        graph.paths_and_rivals(start, end, limit),
    )
    np.testing.assert_allclose(one[1], other[1], rtol=1e-6)
    assert len(one[2]) > 0.3 * len(start)

    def as_set(found):
        return {(int(k), path.tobytes()) for path, k in zip(found[2], found[3], strict=True)}

    # Where two plateaus cost the same up to rounding, either is taken.
    assert len(as_set(one) ^ as_set(other)) <= 0.01 * len(start)


def test_trees_are_kept_where_many_points_are_paired_with_each_other(digits):
    space, codes = digits
    graph = space.metric.build_graph()
    pairs = all_pairs(codes[:60])
    assert graph.for_pairs(*pairs, 1)[0] is not graph
    # Each of many processes would have to find all trees.
    assert graph.for_pairs(*pairs, 4) == (graph, None)
    # Few points, and many points with a few.
    assert graph.for_pairs(*all_pairs(codes[:20]), 1) == (graph, None)
    to_few = np.repeat(codes[:500], 4, axis=0), np.tile(codes[500:504], (500, 1))
    assert graph.for_pairs(*to_few, 1) == (graph, None)
    assert graph.for_pairs(codes[:800], codes[800:1600], 1) == (graph, None)
    assert graph.for_pairs(codes[:0], codes[:0], 1) == (graph, None)


def test_more_trees_than_memory_come_in_tiles(digits):
    space, codes = digits
    graph = space.metric.build_graph()
    search = graph._search
    small = graph.scaled(1.0)
    small._search = GraphSearch(
        search.matrix, search.ends, replace(search.options, trees_bytes=80 * 8 * 256**2)
    )
    assert small.for_pairs(*all_pairs(codes[:79]), 1)[1] is None
    assert small.for_pairs(*all_pairs(codes[:100]), 1)[1] == 40
    small._search.options = replace(search.options, trees_bytes=60 * 8 * 256**2)
    assert small.for_pairs(*all_pairs(codes[:100]), 1) == (small, None)


def test_a_graph_over_codes_keeps_no_trees():
    codes = np.random.default_rng(0).normal(size=(80, 4))
    graph = LatentGraph(AutodiffImmersion(lambda z: z, 4), codes)
    assert graph.for_pairs(*all_pairs(codes), 1) == (graph, None)


def test_pairs_are_worked_on_in_tiles():
    """Those of one tile come one after the other."""
    points, seen = np.arange(30.0)[:, None], []

    def work(start, end):
        seen.extend(zip(start[:, 0] // 10, (end[:, 0] - 1.0) // 10, strict=True))
        return (start[:, 0] * 100.0 + end[:, 0],)

    start, end = all_pairs(points)
    for tile in (10, None):
        seen.clear()
        (found,) = Blocks(size=100).run(work, start, end, tile=tile)
        np.testing.assert_array_equal(found, start[:, 0] * 100.0 + end[:, 0])
        assert len(seen) == len(start)
        runs = sum(one != other for one, other in itertools.pairwise(seen)) + 1
        assert (runs == 6) == (tile is not None)  # as many as there are tiles


def test_distances_by_trees_are_those_without(digits, monkeypatch):
    space, codes = digits
    some = codes[900:940]
    found = space.metric.dist_pairwise(some)
    monkeypatch.setattr(LatentGraph, "for_pairs", lambda graph, *_: (graph, None))
    np.testing.assert_allclose(found, space.metric.dist_pairwise(some), rtol=1e-5)
