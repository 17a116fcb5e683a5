"""Tables of metrics, and geodesics by them: exact where they can be, refused where they cannot."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch

from geomstats_vae.geodesics import GeodesicSolver, LatentGraph
from geomstats_vae.geodesics.deadline import Deadline
from geomstats_vae.geodesics.elements import Evaluator
from geomstats_vae.geodesics.table import MetricTable, TableOptions
from geomstats_vae.geodesics.table.leaf import relative_errors
from geomstats_vae.geodesics.table.options import TabulatedOptions
from geomstats_vae.immersions.decoder import Decoder
from tests import surfaces
from tests.manifolds import spaces

LOOSE = TableOptions(cells=8, blocks={2: 4, 3: 2}, rtol=1e-5)
SOLVER = GeodesicSolver()


def draw(n, dim, scale=1.0, seed=0):
    return np.random.default_rng(seed).uniform(-scale, scale, (n, dim))


def metric_of(immersion):
    def metric(points):
        with torch.no_grad():
            return Evaluator(immersion, 512).metrics(points)

    return metric


def table_of(immersion, dim, scale=1.5, options=LOOSE, **others):
    box = np.full(dim, -scale), np.full(dim, scale)
    return MetricTable(metric_of(immersion), *box, options=options, **others)


def sphere_of(dim):
    return surfaces.immersion_of(surfaces.sphere, dim)


def ridge(points):
    """A metric with a narrow ridge, M = (1 + 4 exp(-(x / 0.05)^2)) I."""
    height = 1.0 + 4.0 * np.exp(-((points[:, 0] / 0.05) ** 2))
    return height[:, None, None] * np.eye(points.shape[1])


@pytest.mark.parametrize("dim", [2, 3])
def test_jets_are_those_of_the_metric(dim):
    # M = g(z) I with g = 4 / (1 + |z|^2)^2 and its derivatives.
    table = table_of(sphere_of(dim), dim)
    z = draw(50, dim)
    metric, first, second = table.jets(z)
    one, eye = 1.0 + (z**2).sum(axis=1), np.eye(dim)
    g, slope = 4.0 / one**2, -16.0 * z / one[:, None] ** 3
    bend = -16.0 / one[:, None, None] ** 3 * eye
    bend = bend + 96.0 * z[:, :, None] * z[:, None, :] / one[:, None, None] ** 4
    np.testing.assert_allclose(metric, g[:, None, None] * eye, atol=1e-5)
    np.testing.assert_allclose(first, slope[:, None, None, :] * eye[:, :, None], atol=1e-3)
    np.testing.assert_allclose(second, bend[:, None, None] * eye[:, :, None, None], atol=3e-2)


def test_splines_are_of_the_sixth_order():
    immersion, z = sphere_of(2), draw(200, 2)
    exact = metric_of(immersion)(z)
    options = replace(LOOSE, rtol=np.inf, trusted=np.inf)
    error = [
        np.abs(table_of(immersion, 2, options=replace(options, cells=n)).metrics(z) - exact).max()
        for n in (8, 16)
    ]
    assert 40.0 < error[0] / error[1] < 120.0


def test_leaves_are_halved_where_the_metric_asks_for_it():
    table = MetricTable(ridge, [-1.0, -1.0], [1.0, 1.0], options=LOOSE)
    z = draw(500, 2)
    exact = ridge(z)[:, 0, 0]
    off = np.abs(table.metrics(z)[:, 0, 0] / exact - 1.0)
    assert off.max() < 10.0 * LOOSE.rtol
    fine = table.tree.per_cell[:, 0] == table.tree.per_cell.max()
    assert np.abs(table.tree.origin[fine, 0]).max() < 0.5
    assert table.tree.per_cell.min() <= 0.25 * table.tree.per_cell.max()
    speed, error = table.speeds_and_errors(z, np.ones_like(z))
    np.testing.assert_allclose(speed, np.sqrt(2.0 * exact), rtol=1e-4)
    assert (np.abs(speed / np.sqrt(2.0 * exact) - 1.0) <= np.maximum(error, 1e-9) * 3.0).all()


@pytest.mark.parametrize("dim", [2, 3])
def test_a_finer_table_takes_over_what_a_rough_one_knows(dim):
    """On the same box, where its points are among those of the finer one."""
    asked = []

    def metric(points):
        asked.append(points)
        return ridge(points)

    box, rough = (np.full(dim, -1.0), np.full(dim, 1.0)), replace(LOOSE, cells=4, rtol=0.1)
    samples = MetricTable(metric, *box, options=rough, keep=True).samples
    alone = MetricTable(ridge, *box, options=LOOSE)
    asked.clear()
    table = MetricTable(metric, *box, options=LOOSE, known=samples)
    n_asked = sum(map(len, asked))
    assert alone.n_points - len(samples) <= n_asked < alone.n_points - 0.5 * len(samples)
    assert table.n_points == alone.n_points
    np.testing.assert_array_equal(table.error, alone.error)
    np.testing.assert_allclose(table.tree.coefficients, alone.tree.coefficients, rtol=1e-13)
    assert table.samples is None
    for low, options in ((-1.1, LOOSE), (-1.0, replace(LOOSE, cells=6))):
        asked.clear()
        other = MetricTable(metric, np.full(dim, low), box[1], options=options, known=samples)
        assert sum(map(len, asked)) == other.n_points


def test_values_of_the_metric_are_not_pickled():
    table = table_of(sphere_of(2), 2, keep=True)
    assert table.samples is not None
    for other in (pickle.loads(pickle.dumps(table)), table.scaled(2.0)):
        assert other.samples is None


def test_what_the_table_does_not_know():
    def torn(points):
        return np.where((points[:, 0] > 0.5)[:, None, None], np.nan, 1.0) * np.eye(2)

    table = MetricTable(torn, [-1.0, -1.0], [1.0, 1.0], options=LOOSE)
    points = np.array([[0.0, 0.0], [0.9, 0.0], [-1.5, 0.0], [np.nan, 0.0]])
    assert table.knows(points).tolist() == [True, False, False, False]
    assert np.isnan(table.metrics(points[1:])).all()
    singular = MetricTable(lambda z: np.zeros((len(z), 2, 2)), [0.0, 0.0], [1.0, 1.0])
    assert not singular.knows(np.full((1, 2), 0.5)).any()


def test_errors_are_relative_to_the_metric():
    """In units of the metric, whatever those of the coordinates; infinite where it is none."""
    metric = np.array([[2.0, 1.0], [1.0, 3.0]])
    exact = np.stack((metric, metric, np.zeros((2, 2)), np.diag([1e-310, 1.0]), np.diag([1, -1])))
    found = exact.copy()
    found[0] *= 1.0 + 1e-3
    found[2:4, 0, 0] = 1.0
    np.testing.assert_allclose(
        relative_errors(exact, found), [1e-3 * 2.0**0.5, 0.0, np.inf, np.inf, np.inf], rtol=1e-9
    )
    units = np.diag([1e-100, 1e100])
    np.testing.assert_allclose(
        relative_errors(units @ exact[:2] @ units, units @ found[:2] @ units),
        relative_errors(exact[:2], found[:2]),
        rtol=1e-9,
    )


def test_tables_are_bounded():
    few = replace(LOOSE, rtol=1e-12, most_points=6000)
    assert table_of(sphere_of(2), 2, options=few).n_points <= 6000
    fine = replace(LOOSE, rtol=1e-12, most_halvings=1)
    first, whole, wanted, late = (
        table_of(sphere_of(2), 2, **options).n_points
        for options in (
            {"options": replace(fine, most_halvings=0)},
            {"options": fine},
            {"options": replace(fine, most_points=0), "wanted": lambda: np.full((1, 2), 0.1)},
            {"options": fine, "deadline": Deadline(0.0)},
        )
    )
    assert first == late < wanted < whole


def test_smooth_metrics_are_not_asked_where_they_are_wanted():
    def never():
        raise AssertionError("asked")

    fine = replace(LOOSE, rtol=1e-12, most_halvings=1)
    whole, few = table_of(sphere_of(2), 2, options=fine), replace(fine, few_points=6000)
    assert table_of(sphere_of(2), 2, options=fine, wanted=never).n_points == whole.n_points
    with pytest.raises(AssertionError, match="asked"):
        table_of(sphere_of(2), 2, options=few, wanted=never)


def test_scaled_tables():
    table, z = table_of(sphere_of(2), 2), draw(20, 2)
    np.testing.assert_allclose(table.scaled(9.0).metrics(z), 9.0 * table.metrics(z), rtol=1e-12)


# -- geodesics ------------------------------------------------------------------------------------


def solve(immersion, start, end, **options):
    solver = GeodesicSolver(**{key: options.pop(key) for key in ("tol", "table") if key in options})
    with torch.no_grad():
        return solver.solve(immersion, start, end, **options)


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("tol", [1e-4, 1e-6])
def test_geodesics_of_the_sphere(dim, tol):
    immersion, (start, end) = sphere_of(dim), draw(40, dim).reshape(2, 20, dim)
    path = solve(immersion, start, end, tol=tol, table=table_of(immersion, dim))
    exact = surfaces.sphere_distance(torch.as_tensor(start), torch.as_tensor(end)).numpy()
    assert path.converged.all()
    np.testing.assert_allclose(path.length, exact, rtol=tol)
    z, v = torch.as_tensor(start), torch.as_tensor(path.initial_velocity)
    np.testing.assert_allclose(surfaces.sphere_push(z, v).norm(dim=1), exact, rtol=1e-3)
    atol = 5e-3 if tol > 1e-5 else 1e-5
    np.testing.assert_allclose(surfaces.sphere_exp(z, v).numpy(), end, atol=atol)
    # Times go with the length.
    middle = torch.as_tensor(path(np.array([0.5]))[:, 0])
    for code in (start, end):
        half = surfaces.sphere_distance(torch.as_tensor(code), middle)
        np.testing.assert_allclose(half, 0.5 * exact, atol=1e-3)


@pytest.fixture(scope="module")
def digits_like():

    codes = spaces.draw(80, 2, scale=0.8)
    immersion = Decoder(spaces.vae_like_decoder(), 2).immersion()
    graph = LatentGraph(immersion, codes, grid_size=96)
    box = codes.min(axis=0) - 0.3, codes.max(axis=0) + 0.3
    return immersion, codes, graph, MetricTable(metric_of(immersion), *box, options=LOOSE)


def test_decoders_have_the_same_geodesics(digits_like):
    immersion, codes, graph, table = digits_like
    ends = codes[:40], codes[40:80]
    exact = solve(immersion, *ends, graph=graph)
    for tol in (1e-4, 1e-6):
        path = solve(immersion, *ends, graph=graph, tol=tol, table=table)
        assert path.converged.all()
        assert (path.length <= exact.length * (1.0 + tol)).all()
        np.testing.assert_allclose(path.length, exact.length, rtol=1e-3)
    off = np.linalg.norm(path.initial_velocity - exact.initial_velocity, axis=1)
    assert np.median(off / np.linalg.norm(exact.initial_velocity, axis=1)) < 1e-5


def test_curves_go_on_from_a_guess(digits_like):
    immersion, codes, graph, table = digits_like
    ends = codes[:20], codes[20:40]
    before = solve(immersion, *ends, graph=graph, table=table)
    moved = ends[0] + 1e-3
    near = solve(immersion, moved, ends[1], graph=graph, guess=before, table=table)
    afar = solve(immersion, moved, ends[1], graph=graph, table=table)
    assert near.converged.all()
    np.testing.assert_allclose(near.length, afar.length, rtol=1e-5)
    # The exact engine goes on from the table's curves, too.
    exact = solve(immersion, moved, ends[1], graph=graph, guess=before)
    np.testing.assert_allclose(near.length, exact.length, rtol=1e-5)


def test_wrong_tables_are_refused(digits_like):
    """A table of another metric proposes curves; the decoder does not certify them."""
    immersion, codes, graph, _ = digits_like
    box = codes.min(axis=0) - 0.3, codes.max(axis=0) + 0.3
    flat = MetricTable(lambda z: np.tile(np.eye(2), (len(z), 1, 1)), *box, options=LOOSE)

    def waves(z):
        return (1.0 + 0.2 * np.sin(9.0 * z[:, :1, None])) * metric_of(immersion)(z)

    bent = MetricTable(waves, *box, options=LOOSE)
    ends = codes[:20], codes[20:40]
    exact = solve(immersion, *ends, graph=graph)
    for wrong in (flat, bent):
        path = solve(immersion, *ends, graph=graph, table=wrong)
        assert path.converged.all()
        np.testing.assert_allclose(path.length, exact.length, rtol=1e-5)


def test_pairs_beyond_the_table_are_found_without_it():
    immersion = sphere_of(2)
    small = table_of(immersion, 2, scale=0.5)
    start, end = draw(10, 2, scale=1.2, seed=1), draw(10, 2, scale=1.2, seed=2)
    start[0], end[0] = [0.1, 0.0], [0.1, 0.0]
    path = solve(immersion, start, end, table=small)
    exact = surfaces.sphere_distance(torch.as_tensor(start), torch.as_tensor(end)).numpy()
    assert path.converged.all()
    assert path.length[0] == 0.0
    np.testing.assert_allclose(path.length, exact, atol=1e-6)


def test_a_pair_alone_is_the_pair_in_a_batch(digits_like):
    immersion, codes, graph, table = digits_like
    ends = codes[:12], codes[12:24]
    batch = solve(immersion, *ends, graph=graph, table=table)
    for k in (0, 5):
        alone = solve(immersion, ends[0][k : k + 1], ends[1][k : k + 1], graph=graph, table=table)
        np.testing.assert_allclose(alone.length[0], batch.length[k], rtol=1e-12)


def test_velocities_need_not_be_exact_for_lengths(digits_like):
    immersion, codes, graph, table = digits_like
    ends = codes[:20], codes[20:40]
    solver = GeodesicSolver(table=table, tabulated=TabulatedOptions(lengths_only=True))
    with torch.no_grad():
        path = solver.solve(immersion, *ends, graph)
    assert path.converged.all()
    np.testing.assert_allclose(path.length, solve(immersion, *ends, graph=graph).length, rtol=2e-6)
    assert (path.residual <= solver.rtol).all()
