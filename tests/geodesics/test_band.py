"""Geodesics by a table along walls: polygons in bands, lifted Hessians, saddles."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from geomstats_vae.geodesics import GeodesicSolver, LatentGraph
from geomstats_vae.geodesics.curves.chain import straight
from geomstats_vae.geodesics.curves.reference import reference_element
from geomstats_vae.geodesics.deadline import NO_LIMIT, Deadline
from geomstats_vae.geodesics.elements import ElementEvaluator, Evaluator
from geomstats_vae.geodesics.table import MetricTable, TableOptions
from geomstats_vae.geodesics.table.band import BandOptions, shorten_in_bands
from geomstats_vae.geodesics.table.element import Element, make_work
from geomstats_vae.geodesics.table.energy import element_lift, element_variation
from geomstats_vae.geodesics.table.measure import even_times, times_of_elements
from geomstats_vae.geodesics.table.newton import correct
from geomstats_vae.geodesics.table.options import TabulatedOptions
from geomstats_vae.geodesics.tabulated import TabulatedSearch
from geomstats_vae.immersions.decoder import Decoder

FINE = TableOptions(cells=16, blocks={2: 8, 3: 3}, rtol=1e-5, trusted=0.1)
STEEPNESS = 40.0


def valley(z):
    """A steep height above a plane: its level sets are sine waves, and curves keep to them."""
    height = STEEPNESS * (z[:, 1] - 0.4 * torch.sin(3.0 * z[:, 0]))
    return torch.stack((z[:, 0], z[:, 1], height), dim=1)


def table_of(metric, dim, scale=1.2):
    return MetricTable(metric, np.full(dim, -scale), np.full(dim, scale), options=FINE)


def metric_of(function):
    evaluator = Evaluator(Decoder(function, 2).immersion(), 512)

    def metric(points):
        with torch.no_grad():
            return evaluator.metrics(points)

    return metric


def hill(points):
    """M = h^2 I with a hill h at the origin, so that lines over its top are saddles."""
    height = 1.0 + 3.0 * np.exp(-4.0 * (points**2).sum(axis=1))
    return height[:, None, None] ** 2 * np.eye(points.shape[1])


@pytest.mark.parametrize("dim", [2, 3])
def test_polygons_become_straight_in_flat_space(dim):
    metric = np.diag(np.arange(1.0, dim + 1.0))
    table = table_of(lambda z: np.tile(metric, (len(z), 1, 1)), dim)
    t = np.linspace(0.0, 1.0, 40)[:, None]
    bent = -0.8 + 1.6 * t + 0.1 * np.sin(np.pi * t * np.arange(1, dim + 1))
    (path, length), *_ = shorten_in_bands(table, [bent], (0.01,), BandOptions())
    step = bent[-1] - bent[0]
    exact = np.sqrt(step @ metric @ step)
    np.testing.assert_array_equal(path[[0, -1]], bent[[0, -1]])
    steps = np.diff(bent, axis=0)
    before = np.sqrt(np.einsum("ni,ij,nj->n", steps, metric, steps)).sum()
    assert exact <= length * (1.0 + 1e-9)
    assert length - exact < 0.2 * (before - exact)


def test_polygons_find_a_narrow_valley():
    table = table_of(metric_of(valley), 2)
    x = np.linspace(-1.0, 1.0, 60)
    floor = np.stack((x, 0.4 * np.sin(3.0 * x)), axis=1)
    rough = floor + 0.05 * np.random.default_rng(0).normal(size=floor.shape)
    rough[[0, -1]] = floor[[0, -1]]
    (path, length), *_ = shorten_in_bands(table, [rough], (0.01,), BandOptions())
    along = np.linalg.norm(np.diff(floor, axis=0), axis=1).sum()
    before = table.speeds(0.5 * (rough[1:] + rough[:-1]), np.diff(rough, axis=0)).sum()
    assert before > 20.0 * along
    assert length < 1.5 * along
    assert np.abs(path[:, 1] - 0.4 * np.sin(3.0 * path[:, 0])).max() < 0.05


def test_nothing_is_shortened_where_the_table_knows_nothing():
    table = table_of(lambda z: np.full((len(z), 2, 2), np.nan), 2)
    line = np.array([[-1.0, 0.0], [1.0, 0.0]])
    (path, length), *_ = shorten_in_bands(table, [line], (0.01,), BandOptions())
    assert length == np.inf
    np.testing.assert_array_equal(path, line)


def test_polygons_that_meet_are_one_and_the_slower_way_is_left():
    table, t = table_of(hill, 2), np.linspace(0.0, 1.0, 40)
    arc = np.stack((2.0 * t - 1.0, 0.7 * np.sin(np.pi * t)), axis=1)
    above, lower, below = arc, arc * [1.0, 0.8], arc * [1.0, -1.0]
    shortened = shorten_in_bands(table, [above, lower, below], (0.02, 0.005), BandOptions())
    sides = [np.sign(path[len(path) // 2, 1]) for path, _ in shortened]
    assert sorted(sides) == [-1.0, 1.0]  # one around each side of the hill
    lengths = [length for _, length in shortened]
    assert lengths == sorted(lengths)
    assert lengths[1] < 1.01 * lengths[0]


def test_polygons_that_fall_behind_are_left():
    table, x = table_of(metric_of(valley), 2), np.linspace(-1.0, 1.0, 60)
    floor = np.stack((x, 0.4 * np.sin(3.0 * x)), axis=1)
    line = np.linspace(floor[0], floor[-1], 60)
    options = BandOptions(most_rounds=1)
    assert len(shorten_in_bands(table, [line, floor], (0.005,), options)) == 1
    both = shorten_in_bands(table, [line, floor], (0.005,), replace(options, behind=100.0))
    assert len(both) == 2


def matrix_of(parts, size, dim, n_nodes):
    """An element's matrix, from its blocks of coordinates i <= j."""
    matrix = np.zeros((n_nodes, dim, n_nodes, dim))
    for part, i, j in zip(parts, *np.triu_indices(dim), strict=True):
        matrix[:, i, :, j] = part.reshape(n_nodes, n_nodes)
        matrix[:, j, :, i] = part.reshape(n_nodes, n_nodes).T
    return matrix.reshape(size, size)


@pytest.mark.parametrize("dim", [2, 3])
def test_lifted_hessians_are_positive(dim):
    """Hessian and lift together have no negative eigenvalue; alone the Hessian has."""
    table, degree = table_of(hill, dim), 5
    element, least = Element.of(reference_element(degree), dim), []
    work, rng = make_work(1, element), np.random.default_rng(0)
    for _ in range(20):
        ends = rng.uniform(-1.0, 1.0, (2, dim))
        nodes = straight(ends[:1], ends[1:], 1, degree).nodes[0]
        nodes[1:-1] += 0.1 * rng.normal(size=(degree - 1, dim))
        assert element_variation(table.tree, element, nodes, 1.0, work, 0)
        element_lift(element, work, 0)
        size = (degree + 1) * dim
        hessian, lift = (matrix_of(part[0], size, dim, degree + 1) for part in work[:2])
        largest = np.abs(hessian).max()
        assert np.linalg.eigvalsh(lift)[0] > -1e-10 * largest
        assert np.linalg.eigvalsh(hessian + lift)[0] > -1e-10 * largest
        least.append(np.linalg.eigvalsh(hessian)[0] / largest)
    assert min(least) < -1e-3


def test_curves_leave_the_top_of_a_hill():
    """The straight line over the top is stationary; the geodesic goes round it."""
    table = table_of(hill, 2)
    function = lambda z: z  # noqa: E731  (certificates are not looked at)
    evaluator = ElementEvaluator(Decoder(function, 2).immersion(), 5)
    search = TabulatedSearch(table, evaluator, None, 1e-6, 1e-3, TabulatedOptions())
    start, end = np.array([[-1.0, 0.0]]), np.array([[1.0, 0.0]])
    found = search.settle(straight(start, end, 8, 5))
    off = np.abs(found.curves.nodes[..., 1]).max()
    assert off > 0.3
    speeds = table.speeds(found.curves.sample(20)[:, :-1], np.diff(found.curves.sample(20), axis=1))
    line = table.speeds(np.linspace(start[0], end[0], 401), np.tile(end - start, (401, 1))).mean()
    assert speeds.sum() < 0.8 * line


def test_no_band_is_begun_when_the_time_is_over(monkeypatch):
    immersion, x = Decoder(valley, 2).immersion(), np.linspace(-1.0, 1.0, 40)
    codes = np.stack((x, 0.4 * np.sin(3.0 * x)), axis=1)
    graph, table = LatentGraph(immersion, codes, grid_size=64), table_of(metric_of(valley), 2)
    begun = []

    def shorten(table, paths, widths, options):
        begun.append(paths)
        return [(paths[0], np.inf)]

    monkeypatch.setattr("geomstats_vae.geodesics.tabulated.shorten_in_bands", shorten)
    options = TabulatedOptions(above=0.0)  # whatever was found
    for deadline in (Deadline(0.0), NO_LIMIT):
        parts = ElementEvaluator(immersion, 5), graph, 1e-5, 1e-3, options, deadline
        TabulatedSearch(table, *parts).from_afar(codes[:3], codes[-3:])
        assert bool(begun) == (deadline is NO_LIMIT)


def test_answers_as_short_as_the_path_are_kept(monkeypatch):
    immersion, x = Decoder(valley, 2).immersion(), np.linspace(-1.0, 1.0, 40)
    codes = np.stack((x, 0.4 * np.sin(3.0 * x)), axis=1)
    graph, table = LatentGraph(immersion, codes, grid_size=64), table_of(metric_of(valley), 2)

    def shorten(table, paths, widths, options):
        raise AssertionError("no band is needed")

    monkeypatch.setattr("geomstats_vae.geodesics.tabulated.shorten_in_bands", shorten)
    parts = ElementEvaluator(immersion, 5), graph, 1e-5, 1e-3, TabulatedOptions()
    ends = np.concatenate((codes[:3], codes[:1])), np.concatenate((codes[-3:], codes[:1]))
    found = TabulatedSearch(table, *parts).from_afar(*ends)
    assert found.settled[:3].all()


def test_walled_pairs_are_those_of_the_decoder():
    immersion = Decoder(valley, 2).immersion()
    rng = np.random.default_rng(4)
    x = rng.uniform(-1.0, 1.0, 60)
    codes = np.stack((x, 0.4 * np.sin(3.0 * x) + 0.02 * rng.normal(size=60)), axis=1)
    graph, table = LatentGraph(immersion, codes, grid_size=96), table_of(metric_of(valley), 2)
    ends = codes[:5], codes[12:17]
    exact = GeodesicSolver(tol=1e-5).solve(immersion, *ends, graph)
    found = GeodesicSolver(tol=1e-5, table=table).solve(immersion, *ends, graph)
    assert found.converged.all()
    assert (graph.line_lengths(*ends) > 2.0 * found.length).any()
    assert (found.length <= exact.length * (1.0 + 1e-4)).all()


def test_times_follow_lengths():
    curves = straight(np.zeros((2, 2)), np.ones((2, 2)), 4, 5)
    length = np.array([1.0, 2.0, 3.0, 4.0, 1.0, 0.0, 1.0, np.inf])
    dt = even_times(curves, length)
    np.testing.assert_allclose(curves.total(dt), 1.0)
    np.testing.assert_allclose(dt[:4], length[:4] / 10.0)
    np.testing.assert_allclose(dt[4:], 0.25)  # of a curve whose length is not known
    still = even_times(curves, np.array([0.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]))
    assert 0.0 < still[0] < 0.01


def test_indefinite_hessians_are_lifted_for_a_certificate():
    """The line over a hill is no minimum; lifted, its Hessian tells how far from rest it is."""
    table, element = table_of(hill, 2), Element.of(reference_element(5), 2)
    curves = straight(
        np.array([[-1.0, 0.0], [-1.0, 0.3]]), np.array([[1.0, 0.0], [1.0, 0.3]]), 32, 5
    )
    dt, work = times_of_elements(table, curves), make_work(32, element)
    found = {}
    for lift in (0.0, 1e-5):
        excess, ends = np.zeros(2), np.zeros((2, 2, 2))
        gradient = np.full((len(dt), 12), np.nan)  # the table's own
        chains = curves.nodes, dt, curves.offsets
        correct(table.tree, element, *chains, gradient, lift, excess, ends, work)
        found[lift] = excess
    assert np.isinf(found[0.0]).tolist() == [True, False]
    assert found[1e-5][1] == found[0.0][1]  # where it is definite nothing is changed
    # By symmetry the line over the top leaves nothing across it, only an uneven speed.
    assert 0.0 <= found[1e-5][0] < found[1e-5][1]
