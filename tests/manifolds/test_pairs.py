"""Many pairs at once: order and batches do not matter, and distances from the graph alone."""

import copy

import numpy as np
import pytest
import torch

from geomstats_vae.geodesics import GeodesicConvergenceWarning
from geomstats_vae.geometry.blocks import Blocks
from geomstats_vae.manifolds import LatentSpace
from tests import surfaces
from tests.manifolds import spaces
from tests.manifolds.spaces import array, draw, host


@pytest.fixture(scope="module")
def codes():
    return draw(150, 2)


@pytest.fixture(scope="module")
def metric(codes):
    return LatentSpace(spaces.vae_like_decoder(), 2, points=array(codes), on_failure="raise").metric


@pytest.fixture(scope="module")
def sphere():
    codes = draw(200, 2, scale=0.7)
    return LatentSpace(surfaces.sphere, 2, points=array(codes), on_failure="raise").metric


def in_small_blocks(metric):
    small = copy.copy(metric)
    small.geometry = metric.geometry.working(size=4)
    return small


METHODS = pytest.mark.parametrize("method", ["exact", "graph"])


@METHODS
@pytest.mark.long
def test_order_of_the_points_does_not_matter(metric, codes, method):
    points = codes[:12]
    matrix = host(metric.dist_pairwise(array(points), method=method))
    order = np.random.default_rng(0).permutation(12)
    permuted = host(metric.dist_pairwise(array(points[order]), method=method))
    np.testing.assert_array_equal(matrix, matrix.T)
    np.testing.assert_array_equal(np.diag(matrix), 0.0)
    np.testing.assert_allclose(permuted, matrix[np.ix_(order, order)], rtol=1e-12)


@METHODS
def test_a_batch_is_its_pairs_one_by_one(metric, codes, method):
    points = codes[:12]
    matrix = host(metric.dist_pairwise(array(points), method=method))
    for i, j in ((0, 1), (3, 9), (10, 2), (11, 7)):
        alone = host(metric.dist_broadcast(array(points[i]), array(points[j]), method=method))
        np.testing.assert_allclose(alone, matrix[i, j], rtol=1e-12)


@METHODS
def test_blocks_and_jobs_do_not_matter(metric, codes, method):
    points = array(codes[:7])
    matrix = host(metric.dist_pairwise(points, method=method))
    small = in_small_blocks(metric)
    blocks = host(small.dist_pairwise(points, method=method))
    np.testing.assert_allclose(blocks, matrix, rtol=1e-12)
    threads = host(small.dist_pairwise(points, 2, method=method, prefer="threads"))
    np.testing.assert_allclose(threads, matrix, rtol=1e-12)


def test_pairs_of_a_block_share_their_ends():
    """Each block needs few searches of the graph, whichever end is common."""
    sources, targets = draw(40, 2), draw(3, 2, seed=1)
    start, end = np.tile(sources, (3, 1)), np.repeat(targets, 40, axis=0)
    shuffled = np.random.default_rng(0).permutation(120)
    for first, second in ((start, end), (end, start)):
        seen = []

        def count(a, b, seen=seen):
            seen.append(min(len(np.unique(a, axis=0)), len(np.unique(b, axis=0))))
            return (np.linalg.norm(b - a, axis=1),)

        a, b = first[shuffled], second[shuffled]
        (found,) = Blocks(size=40).run(count, a, b)
        assert seen == [1, 1, 1]
        np.testing.assert_array_equal(found, np.linalg.norm(b - a, axis=1))


def test_progress_is_shown_in_pairs_when_asked_for(metric, codes, capsys):
    metric, points = in_small_blocks(metric), array(codes[:4])
    silent = host(metric.dist_pairwise(points))
    assert capsys.readouterr().err == ""
    shown = host(metric.dist_pairwise(points, verbose=True))
    assert "6/6" in capsys.readouterr().err
    jobs = host(metric.dist_pairwise(points, 2, verbose=True, prefer="threads"))
    assert "6/6" in capsys.readouterr().err
    np.testing.assert_allclose(shown, silent, rtol=1e-12)
    np.testing.assert_allclose(jobs, silent, rtol=1e-12)


def test_graph_distances_are_near_the_exact_ones(metric, codes):
    points = array(codes[:15])
    exact = host(metric.dist_pairwise(points))
    graph = host(metric.dist_pairwise(points, method="graph"))
    rows = np.triu_indices(15, 1)
    np.testing.assert_allclose(graph[rows], exact[rows], rtol=0.1)
    assert np.median(np.abs(graph[rows] / exact[rows] - 1.0)) < 0.03


@pytest.mark.long
def test_graph_distances_on_the_sphere(sphere):
    start, end = draw(2, 30, 2, scale=0.5)
    exact = surfaces.sphere_distance(torch.tensor(start), torch.tensor(end)).numpy()
    graph = host(sphere.dist_broadcast(array(start), array(end), method="graph"))
    # Of a grid with steps in 32 directions: too long by less than 1.4 %, and by what ends cost.
    assert (graph >= exact * (1.0 - 2e-3)).all()
    np.testing.assert_allclose(graph, exact, rtol=0.02)


def test_graph_distances_of_neighbours_are_straight_lines(sphere):
    start = draw(20, 2, scale=0.5)
    end = start + draw(20, 2, scale=1e-4, seed=1)
    end[3] = start[3]
    exact = surfaces.sphere_distance(torch.tensor(start), torch.tensor(end)).numpy()
    graph = host(sphere.dist_broadcast(array(start), array(end), method="graph"))
    np.testing.assert_allclose(graph, exact, rtol=1e-6)
    assert graph[3] == 0.0


def test_graph_distances_in_four_dimensions():
    codes = draw(400, 4, scale=0.4)
    metric = LatentSpace(surfaces.sphere, 4, points=array(codes)).metric
    start, end = codes[:30], codes[30:60]
    exact = surfaces.sphere_distance(torch.tensor(start), torch.tensor(end)).numpy()
    graph = host(metric.dist_broadcast(array(start), array(end), method="graph"))
    assert (graph >= exact * (1.0 - 2e-3)).all()
    np.testing.assert_allclose(graph, exact, rtol=0.3)
    assert metric.dist_broadcast(array(start), array(end[:2]), method="graph").shape == (30, 2)


def test_graph_distances_go_around_walls():
    def bump(z):
        return torch.cat((z, 20.0 * torch.exp(-8.0 * (z * z).sum(-1, keepdim=True))), dim=-1)

    metric = LatentSpace(bump, 2, points=array(draw(200, 2))).metric
    ends = array([-1.0, 0.01]), array([1.0, 0.01])
    assert 2.0 < host(metric.dist_broadcast(*ends, method="graph")) < 3.0


def test_graph_distances_of_a_decoder_that_is_not_finite():
    def half(z):
        return torch.cat((z, torch.sqrt(z[:, :1])), dim=1)

    codes = draw(100, 2) ** 2
    metric = LatentSpace(half, 2, points=array(codes)).metric
    outside = array([-1.0, 0.0])
    with pytest.warns(GeodesicConvergenceWarning, match="1 NON_FINITE"):
        assert host(metric.dist_broadcast(outside, array(codes[0]), method="graph")) == np.inf


def test_bad_input_is_refused(metric, codes):
    with pytest.raises(ValueError, match="'exact', 'graph', got 'dijkstra'"):
        metric.dist_pairwise(array(codes[:3]), method="dijkstra")
    with pytest.raises(ValueError, match="'exact', 'graph'"):
        metric.dist_broadcast(array(codes[:3]), array(codes[:3]), method=None)
    without = LatentSpace(spaces.vae_like_decoder(), 2).metric
    with pytest.raises(ValueError, match=r"without points; pass the codes of the data"):
        without.dist_pairwise(array(codes[:3]), method="graph")


@METHODS
@pytest.mark.parametrize("n_points", [0, 1])
def test_no_pairs(metric, codes, method, n_points):
    matrix = host(metric.dist_pairwise(array(codes[:n_points]), method=method))
    np.testing.assert_array_equal(matrix, np.zeros((n_points, n_points)))


def test_scaled_graph_distances(metric, codes):
    points = array(codes[:4])
    base = host(metric.dist_pairwise(points, method="graph"))
    scaled = 4.0 * metric
    np.testing.assert_allclose(host(scaled.dist_pairwise(points, method="graph")), 2.0 * base)


# -- polish and second-order check through the metric -------------------------------------------


def test_polished_logarithms(sphere):
    start, end = draw(2, 2, 3, 2, scale=0.5)
    log = sphere.log(array(end), array(start), polish=True)
    reached = surfaces.sphere_exp(torch.tensor(start), torch.tensor(host(log))).numpy()
    np.testing.assert_allclose(reached, end, atol=1e-10)
    path = sphere.solve_geodesic(array(start), array(end), polish=True)
    assert path.velocity_error.shape == (2, 3)
    np.testing.assert_array_equal(host(path.initial_velocity), host(log))
    plain = sphere.solve_geodesic(array(start), array(end))
    assert plain.velocity_error is plain.local_minimum is None
    np.testing.assert_allclose(host(path([0.3])), host(plain([0.3])), atol=1e-12)


def test_unpolished_logarithms_are_reported():
    metric = LatentSpace(surfaces.spherical, 2).metric
    start, end = np.array([0.5 * np.pi, 0.0]), np.array([0.5 * np.pi, 1.2 * np.pi])
    with pytest.warns(GeodesicConvergenceWarning, match="1 of 1 polished logarithms") as record:
        log = metric.log(array(end), array(start), polish=True)
    assert record[0].filename == __file__
    # The shortest way in these coordinates leads through a pole, where they end.
    np.testing.assert_allclose(np.abs(host(log)[0]), np.pi, rtol=1e-4)


def test_second_order_check():
    metric = LatentSpace(surfaces.spherical, 2).metric
    start = array([0.5 * np.pi, 0.0])
    ends = array([[0.5 * np.pi, 0.8 * np.pi], [0.3 * np.pi, 0.5 * np.pi]])
    path = metric.solve_geodesic(start, ends, check_minimum=True)
    assert host(path.local_minimum).dtype == bool
    np.testing.assert_array_equal(host(path.local_minimum), True)
    scaled = (4.0 * metric).solve_geodesic(start, ends, check_minimum=True, polish=True)
    np.testing.assert_array_equal(host(scaled.local_minimum), True)
    exact = np.pi * np.array([0.8, 0.5])  # at a quarter turn of longitude, of any latitude
    np.testing.assert_allclose(host(scaled.length), 2.0 * exact, rtol=1e-6)


def test_diameter_is_the_largest_distance(metric, codes):
    points = array(codes[:6])
    expected = host(metric.dist_pairwise(points)).max()
    np.testing.assert_allclose(host(metric.diameter(points)), expected, rtol=1e-12)
    assert host(metric.diameter(points[:1])) == 0.0
    assert np.shape(host(metric.diameter(points))) == ()
