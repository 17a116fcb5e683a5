"""The graph over codes: lazy searches against the graph whose edges are all measured."""

import itertools
import pickle

import numpy as np
import pytest
import torch
from scipy.sparse.csgraph import dijkstra

from geomstats_vae.geodesics import GeodesicSolver, LatentGraph
from geomstats_vae.geodesics.elements import Evaluator
from geomstats_vae.geodesics.graph.measure import ChordMeasure, chords_between
from geomstats_vae.geodesics.graph.options import GraphOptions
from geomstats_vae.geometry import DecoderGeometry, GraphOnDemand
from geomstats_vae.geometry.blocks import Blocks
from geomstats_vae.immersions import AutodiffImmersion, Decoder

DIM = 4
# No number of paths is many: each search is lazy.
LAZY = GraphOptions(lazy_edges=0)


def bent(z):
    """A strongly bent surface: chords of codes far apart are much shorter than curves."""
    x = 3.0 * z[:, :1]
    return torch.cat((torch.cos(x), torch.sin(x), z[:, 1:] * (2.0 + torch.sin(x))), dim=1)


def flat(z):
    """A plane, on which chords are as long as the lines that they measure."""
    return torch.cat((z, 0.0 * z[:, :1]), dim=1)


def torn(z):
    """Not a number on one side."""
    return torch.where(z[:, :1] > 0.6, torch.nan, bent(z))


def lattice():
    """Codes between which many paths are equally long on a plane."""
    axis = np.linspace(0.0, 1.0, 4)
    return np.stack(np.meshgrid(*[axis] * DIM, indexing="ij"), axis=-1).reshape(-1, DIM)


def scattered(n=150):
    return np.random.default_rng(0).uniform(-1.0, 1.0, (n, DIM))


CASES = {"bent": (bent, scattered), "flat": (flat, lattice), "torn": (torn, scattered)}


@pytest.fixture(params=CASES)
def case(request):
    function, codes = CASES[request.param]
    return AutodiffImmersion(function, DIM), codes()


def build(case, options=LAZY, **kwargs):
    return LatentGraph(*case, options=options, **kwargs)


def ends(codes, n_pairs=12, seed=1):
    """Pairs of codes, some with a common end, and of points that are none."""
    generator = np.random.default_rng(seed)
    start, end = codes[generator.integers(len(codes), size=(2, n_pairs))]
    start[:3] = start[0]
    moved = np.arange(n_pairs) % 2 == 1
    return start + 0.02 * moved[:, None], end


def exhaustive(graph, start, end):
    """Lengths between the nodes around points, by the matrix of all edges."""
    first, last = (graph._tree.query(points)[1] for points in (start, end))
    return dijkstra(graph.matrix, indices=first)[np.arange(len(start)), last]


def length_of(graph, path):
    rows = graph._tree.query(path)[1]
    return sum(graph.matrix[a, b] for a, b in itertools.pairwise(rows))


def assert_same(found, expected):
    np.testing.assert_allclose(found[1], expected[1], rtol=1e-12)
    for path, other in zip(found[0], expected[0], strict=True):
        np.testing.assert_array_equal(path, other)


def test_paths_are_the_shortest_of_the_graph_with_all_edges_measured(case):
    graph, (start, end) = build(case), ends(case[1])
    paths, length = graph.paths(start, end)
    measured, total = graph.n_measured
    assert measured < 0.5 * total
    np.testing.assert_allclose(length, exhaustive(build(case), start, end), rtol=1e-12)
    for path, total in zip(paths, length, strict=True):
        if np.isfinite(total):
            assert length_of(graph, path) == pytest.approx(total, rel=1e-12)


def test_bounds_are_bounds_and_the_matrix_holds_lengths_by_chords(case):
    graph = build(case)
    lower = graph._search._edges.weight.copy()
    matrix = graph.matrix
    assert (graph._search._edges.weight >= lower).all()
    assert (matrix != matrix.T).nnz == 0
    a, b = matrix.nonzero()
    expected = graph.chord_lengths(graph.nodes[a], graph.nodes[b], graph.options.edge_chords)
    np.testing.assert_allclose(matrix[a, b].A1, expected, rtol=2e-9)


@pytest.mark.parametrize("share", [0.5, 1.0 - 1e-6, 1.0 + 1e-6, 2.0])
def test_limits(case, share):
    start, end = ends(case[1])
    exact = exhaustive(build(case), start, end)
    limit = share * np.where(np.isfinite(exact), exact, 1.0)
    paths, length = build(case).paths(start, end, limit)
    np.testing.assert_allclose(length, np.where(exact <= limit, exact, np.inf), rtol=1e-12)
    for path, total, a, b in zip(paths, length, start, end, strict=True):
        assert (len(path) == 2) or np.isfinite(total)
        np.testing.assert_array_equal(path[[0, -1]], [a, b])


def test_few_edges_are_measured_for_paths_that_are_too_long(case):
    """Already the chords are longer than the limit."""
    graph, (start, end) = build(case), ends(case[1])
    known = graph.n_measured
    graph.paths(start, end, np.full(len(start), 1e-3))
    assert graph.n_measured == known


def test_distances_do_not_depend_on_how_many_are_asked_for(case):
    start, end = ends(case[1])
    expected = build(case, GraphOptions(lazy_edges=10**6)).distances(start, end)
    found = build(case).distances(start, end)
    np.testing.assert_allclose(found, expected, rtol=1e-8)
    for k in range(len(start)):
        row = slice(k, k + 1)
        np.testing.assert_allclose(build(case).distances(start[row], end[row]), found[row])
    np.testing.assert_allclose(build(case).distances(end, start), found, rtol=1e-8)


def test_answers_do_not_depend_on_what_was_asked_before(case):
    start, end = ends(case[1])
    fresh = build(case).paths(start, end)
    asked = build(case)
    asked.distances(*ends(case[1], seed=2))
    asked.paths(*ends(case[1], seed=3))
    assert_same(asked.paths(start, end), fresh)
    asked.measure_edges()
    assert_same(asked.paths(start, end), fresh)
    for k in range(len(start)):
        row = slice(k, k + 1)
        alone = build(case).paths(start[row], end[row])
        assert_same(alone, (fresh[0][row], fresh[1][row]))


def test_all_edges_are_measured_at_once_for_many_paths(case):
    graph = build(case, GraphOptions(lazy_edges=10**6))
    start, end = ends(case[1])
    assert_same(graph.paths(start, end), build(case).paths(start, end))
    measured, total = graph.n_measured
    assert measured == total


def test_scaled_graphs_share_what_is_measured(case):
    graph, (start, end) = build(case), ends(case[1])
    paths, length = graph.scaled(2.0).paths(start, end, np.full(len(start), 3.0))
    measured = graph.n_measured
    assert_same((paths, 0.5 * length), graph.paths(start, end, np.full(len(start), 1.5)))
    assert graph.n_measured == measured


def test_pickled_graphs_keep_what_is_measured():
    graph = LatentGraph(Decoder(network(), DIM).immersion(), scattered(), options=LAZY)
    start, end = ends(scattered())
    expected = graph.paths(start, end)
    other = pickle.loads(pickle.dumps(graph))
    assert other.n_measured == graph.n_measured
    assert graph.n_measured[0] > 0
    assert_same(other.paths(start, end), expected)
    np.testing.assert_allclose(other.distances(start, end), graph.distances(start, end))


def test_points_behind_a_tear_are_unreachable():
    graph = build((AutodiffImmersion(torn, DIM), scattered()))
    inside = scattered()[:, 0] < 0.6
    some, other = np.flatnonzero(inside)[:3], np.flatnonzero(~inside)[:3]
    points = scattered()
    assert np.isinf(graph.paths(points[some], points[other])[1]).all()
    assert np.isinf(graph.distances(points[some], points[other])).all()
    assert np.isfinite(graph.paths(points[some[:1]], points[some[1:2]])[1]).all()


@pytest.mark.parametrize("n_codes", [1, 2])
def test_few_codes(n_codes):
    codes = scattered()[:n_codes]
    graph = build((AutodiffImmersion(bent, DIM), codes), GraphOptions())
    paths, length = graph.paths(codes[:1], codes[-1:])
    assert np.isfinite(length).all()
    np.testing.assert_array_equal(paths[0][[0, -1]], codes[[0, -1]])
    assert np.isfinite(graph.distances(codes[:1], codes[-1:])).all()


@pytest.mark.parametrize("memory_limit", [1, 2000, 10**9])
def test_blocks_of_any_memory_measure_the_same_chords(memory_limit):
    immersion, points = AutodiffImmersion(bent, DIM), scattered()
    a, b = np.random.default_rng(2).integers(len(points), size=(2, 300))
    value = immersion(torch.as_tensor(points)).numpy()
    found = chords_between(Evaluator(immersion, 16), points, a, b, memory_limit)
    np.testing.assert_allclose(found, np.linalg.norm(value[a] - value[b], axis=1), atol=1e-12)


def test_half_of_the_chords_come_with_all():
    """In one piece and in many, with segments on which the decoder is not finite."""
    start, end = scattered()[:20], scattered()[20:40]
    immersion = AutodiffImmersion(torn, DIM)
    for chunk in (1, 5, 8, 1000):
        measure = ChordMeasure(Evaluator(immersion, chunk))
        coarse, fine = measure.nested_lengths(start, end, 12)
        assert 0 < np.isinf(fine).sum() < len(fine)
        for length, n_chords in ((coarse, 6), (fine, 12)):
            expected = measure.segment_lengths(start, end, n_chords)
            both = np.isfinite(length)
            np.testing.assert_allclose(length[both], expected[both], rtol=1e-12)


def test_lines_are_measured_by_as_many_chords_as_they_need():
    """Straight lines of codes with waves that sixteen chords do not see."""

    def waves(z):
        return torch.cat((z, 0.05 * torch.sin(60.0 * z[:, :1])), dim=1)

    codes = scattered()
    graph = LatentGraph(AutodiffImmersion(waves, DIM), codes)
    start, end = codes[:20], codes[20:40]
    exact = graph.chord_lengths(start, end, 4096)
    np.testing.assert_allclose(graph.line_lengths(start, end), exact, rtol=3e-3)


# -- single precision -----------------------------------------------------------------------------


def network(width=30):
    torch.manual_seed(0)
    layers = torch.nn.Linear(DIM, 40), torch.nn.Tanh(), torch.nn.Linear(40, width)
    return torch.nn.Sequential(*layers).eval()


class Shifted(torch.nn.Module):
    """Outputs so large that single precision does not tell neighbours apart."""

    def __init__(self):
        super().__init__()
        self.inner = network()

    def forward(self, z):
        return self.inner(z) + 1e6


class InDouble(torch.nn.Module):
    """Casts inside, and fails or returns doubles for codes in single precision."""

    def __init__(self, fails):
        super().__init__()
        self.fails = fails
        self.register_buffer("weight", torch.ones(DIM, 6))

    def forward(self, z):
        weight = self.weight.double()
        return (z if self.fails else z.double()) @ weight


def test_single_precision_finds_the_same():
    decoder = Decoder(network(), DIM)
    codes, (start, end) = scattered(), ends(scattered())
    exact = LatentGraph(decoder.immersion(), codes, options=LAZY)
    single = decoder.in_single_precision()
    fast = LatentGraph(decoder.immersion(), codes, options=LAZY, single=single)
    assert fast._measure.evaluator.dtype == torch.float32
    for name in ("distances", "line_lengths"):
        expected = getattr(exact, name)(start, end)
        np.testing.assert_allclose(getattr(fast, name)(start, end), expected, rtol=1e-4)
    np.testing.assert_allclose(fast.matrix.data, exact.matrix.data, rtol=1e-4)
    np.testing.assert_allclose(fast.paths(start, end)[1], exact.paths(start, end)[1], rtol=1e-4)


def test_double_precision_where_rounding_drowns_the_differences():
    decoder, codes = Decoder(Shifted().eval(), DIM), scattered()
    single = decoder.in_single_precision()
    assert single is not None
    graph = LatentGraph(decoder.immersion(), codes, single=single)
    assert graph._measure.single is None
    plain = LatentGraph(Decoder(network(), DIM).immersion(), codes)
    np.testing.assert_allclose(graph.matrix.data, plain.matrix.data, rtol=1e-6)


@pytest.mark.parametrize("fails", [False, True])
def test_double_precision_where_decoders_cast_inside(fails):
    decoder, codes = Decoder(InDouble(fails).eval(), DIM), scattered()
    assert decoder.in_single_precision() is None
    graph = GraphOnDemand(codes).get(decoder)
    assert np.isfinite(graph.paths(*ends(codes))[1]).all()


def test_immersions_stay_in_their_precision():
    immersion = AutodiffImmersion(bent, DIM)
    assert Decoder(immersion, DIM).in_single_precision() is None


def test_segments_that_single_precision_overflows_on_are_measured_in_double():
    def steep(z):
        return torch.cat((bent(z), torch.exp(90.0 * z[:, :1])), dim=1)

    exact = Evaluator(AutodiffImmersion(steep, DIM), 16)
    single = Evaluator(AutodiffImmersion(steep, DIM, dtype=torch.float32), 16)
    start, end = scattered()[:30], scattered()[30:60]
    assert not np.isfinite(single.segment_lengths(start, end, 8)).all()
    length = ChordMeasure(exact, single).segment_lengths(start, end, 8)
    np.testing.assert_allclose(length, exact.segment_lengths(start, end, 8), rtol=1e-4)


def test_geodesics_do_not_depend_on_the_precision_of_the_graph():
    decoder, codes = Decoder(network(), DIM), scattered()
    start, end = codes[:4], codes[4:8]
    plain = LatentGraph(decoder.immersion(), codes)
    expected = GeodesicSolver().solve(decoder.immersion(), start, end, plain)
    path = DecoderGeometry(decoder, GraphOnDemand(codes)).paths(start, end)
    assert path.converged.all()
    np.testing.assert_allclose(path.length, expected.length, rtol=1e-9)


# -- progress -------------------------------------------------------------------------------------


def test_bars_reach_their_totals(capsys):
    graph = build((AutodiffImmersion(bent, DIM), scattered()), chunk_size=8, verbose=True)
    assert "Graph: 100%" in (shown := capsys.readouterr().err)
    assert "150/150" in shown
    graph.measure_edges(verbose=True)
    n_edges = graph.matrix.nnz // 2
    assert f"{n_edges}/{n_edges}" in capsys.readouterr().err
    graph.measure_edges()
    assert capsys.readouterr().err == ""


def test_graphs_built_on_demand_show_a_bar_in_verbose_calls(capsys):
    decoder, codes = Decoder(network(), DIM), scattered(40)
    for verbose in (False, True):
        geometry = DecoderGeometry(decoder, GraphOnDemand(codes), blocks=Blocks(verbose=verbose))
        geometry.lengths(codes[:2], codes[2:4])
        assert ("Graph: 100%" in capsys.readouterr().err) == verbose
        geometry.working(verbose=False).build_graph(verbose=verbose)
        assert "Graph" not in capsys.readouterr().err
