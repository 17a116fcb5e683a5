"""Which calls a table serves, and that it changes no answer by more than the tolerance."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch

from geomstats_vae import LAND, FrechetMean, GeodesicKMeans, LatentSpace
from geomstats_vae.datasets import load_digits_vae
from geomstats_vae.geodesics.elements import Evaluator
from geomstats_vae.geodesics.table import TableOptions
from geomstats_vae.geodesics.tabulated import TabulatedSearch
from geomstats_vae.geometry.hessians import distance_hessians
from geomstats_vae.geometry.tables import TableOnDemand
from geomstats_vae.volume.frames import frame_at
from geomstats_vae.volume.importance_grid import ImportanceGrid
from geomstats_vae.volume.importance_quadrature import build_importance_quadrature, uniform_points
from tests.manifolds import spaces

CODES = spaces.draw(60, 2, scale=0.8)


def space_with(table="auto", pairs=None, decoder=None):
    decoder = spaces.vae_like_decoder() if decoder is None else decoder
    space = spaces.coarse_space(decoder, CODES, table=table)
    if pairs is not None:
        space.metric.geometry.table.options = TableOptions(pairs=pairs, cells=8)
    return space


def dist(space, n):
    return spaces.host(space.metric.dist(spaces.array(CODES[:n]), spaces.array(CODES[n : 2 * n])))


def test_few_pairs_build_no_table():
    space = space_with(pairs=20)
    few = dist(space, 10)
    assert not space.metric.geometry.table.built
    many = dist(space, 25)
    assert space.metric.geometry.table.built
    # What was built changes no later answer.
    np.testing.assert_array_equal(dist(space, 10), few)
    np.testing.assert_allclose(many, dist(space_with(False), 25), rtol=1e-5)


def test_always_or_never():
    always = space_with(True)
    assert always.metric.geometry.table.always
    dist(always, 1)
    assert always.metric.geometry.table.built
    assert space_with(False).metric.geometry.table is None
    with pytest.raises(ValueError, match="Expected table to be 'auto', True or False, got 'yes'"):
        space_with("yes")


def test_decoders_that_cannot_be_tabulated():
    with torch.random.fork_rng():
        torch.manual_seed(1)
        kinked = torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
    space = space_with(True, decoder=kinked.double().eval())
    assert np.isfinite(dist(space, 2)).all()
    assert not space.metric.geometry.table.built
    codes = spaces.draw(20, 5)
    wide = LatentSpace(spaces.network(5), 5, points=codes, table=True)
    assert wide.metric.dist(spaces.array(codes[0]), spaces.array(codes[1])) > 0.0
    assert not wide.metric.geometry.table.built


def test_scaled_metrics():
    space = space_with(pairs=5)
    scaled = 4.0 * space.metric
    ends = spaces.array(CODES[:10]), spaces.array(CODES[10:20])
    np.testing.assert_allclose(
        spaces.host(scaled.dist(*ends)), 2.0 * spaces.host(space.metric.dist(*ends)), rtol=1e-5
    )


def test_pickles_carry_no_table():
    space = space_with(pairs=5)
    dist(space, 10)
    again = pickle.loads(pickle.dumps(space.metric.geometry))
    assert not again.table.built
    assert len(pickle.dumps(space.metric.geometry.table)) < 5000


@pytest.mark.parametrize("n_jobs", [1, pytest.param(2, marks=pytest.mark.long)])
def test_workers_get_the_table(n_jobs):
    space = space_with(pairs=50)
    points = spaces.array(CODES[:24])
    found = spaces.host(space.metric.dist_pairwise(points, n_jobs=n_jobs))
    exact = spaces.host(space_with(False).metric.dist_pairwise(points))
    np.testing.assert_allclose(found, exact, rtol=1e-5, atol=1e-9)


def test_estimators():
    with_table, without = space_with(pairs=20), space_with(False)
    points = spaces.array(CODES)
    found, exact = (FrechetMean(space).fit(points) for space in (with_table, without))
    assert with_table.metric.geometry.table.built
    spread = float(exact.variance_) ** 0.5
    off = spaces.host(found.estimate_) - spaces.host(exact.estimate_)
    assert found.converged_
    assert np.linalg.norm(off) < 1e-4 * spread
    found, exact = (
        GeodesicKMeans(space, n_clusters=2, random_state=0).fit(CODES)
        for space in (with_table, without)
    )
    np.testing.assert_array_equal(found.labels_, exact.labels_)
    np.testing.assert_allclose(found.inertia_, exact.inertia_, rtol=1e-4)


def test_a_table_takes_over_what_the_graph_knows(monkeypatch):
    asked, metrics = [0], Evaluator.metrics

    def counted(evaluator, points):
        asked[0] += len(points)
        return metrics(evaluator, points)

    monkeypatch.setattr(Evaluator, "metrics", counted)
    vae = load_digits_vae()
    tables, numbers = [], []
    for build_graph in (True, False):
        space = LatentSpace(vae.decoder_, points=vae.codes_, table=True)
        if build_graph:
            space.metric.build_graph()
        asked[0] = 0
        tables.append(space.metric.geometry.for_many().metric_table)
        numbers.append(asked[0])
    assert numbers[0] < 0.85 * numbers[1]
    coefficients = [table.tree.coefficients for table in tables]
    scale = np.abs(coefficients[1]).max()
    np.testing.assert_allclose(*coefficients, rtol=1e-9, atol=1e-12 * scale)


def test_land():
    found, exact = (
        LAND(space, n_normalizer_samples=64, random_state=0).fit(CODES)
        for space in (space_with(pairs=20), space_with(False))
    )
    assert found.n_failed_ == 0
    np.testing.assert_allclose(found.lower_bound_, exact.lower_bound_, atol=1e-3)
    np.testing.assert_allclose(found.means_, exact.means_, atol=1e-2)


def test_a_wider_table_knows_what_is_around_the_codes():
    space = space_with(pairs=20)
    geometry = space.metric.geometry.for_many()
    wide = geometry.reaching(1.0)
    low, high = CODES.min(axis=0), CODES.max(axis=0)
    outside = high + 0.8 * (high - low)
    assert wide.metric_table.knows(outside[None]).all()
    assert not geometry.metric_table.knows(outside[None]).any()
    assert geometry.reaching(1.0).metric_table is wide.metric_table
    assert geometry.reaching(0.0).metric_table is geometry.metric_table
    ends = np.tile(outside, (20, 1))
    exact = space_with(False).metric.geometry.logs(CODES[:20], ends).length
    np.testing.assert_allclose(wide.logs(CODES[:20], ends).length, exact, rtol=1e-5)
    untabulated = space_with(False).metric.geometry
    assert untabulated.reaching(1.0).metric_table is None


def test_land_asks_for_a_wider_table_in_two_dimensions():
    space = space_with(pairs=20)
    LAND(space, n_normalizer_samples=64, random_state=0).fit(CODES)
    assert not space.metric.geometry.table.built
    assert space.metric.geometry.table.wider(2.0).built


def test_land_scores_points_beyond_the_codes_by_the_wider_table(monkeypatch):
    space, sums = space_with(pairs=20), []
    land = LAND(space, n_normalizer_samples=64, random_state=0).fit(CODES)
    low, high = CODES.min(axis=0), CODES.max(axis=0)
    X = low + (high - low) * np.random.default_rng(0).uniform(-0.5, 1.5, (30, 2))
    search = TabulatedSearch.from_afar

    def seen(self, start, end):
        sums.append(self.table.knows(end).sum())
        return search(self, start, end)

    monkeypatch.setattr(TabulatedSearch, "from_afar", seen)
    found = land.score_samples(X)
    assert sum(sums) == len(X)
    land.space_ = space_with(False)
    np.testing.assert_allclose(found, land.score_samples(X), atol=1e-3)


def test_steps_take_the_word_of_the_table():
    geometry = space_with(pairs=20).metric.geometry.for_many()
    start, end = CODES[:20], CODES[20:40]
    exact, by_table = (g.logs(start, end) for g in (geometry, geometry.for_steps()))
    assert by_table.converged.all()
    np.testing.assert_allclose(by_table.length, exact.length, rtol=1e-5)
    np.testing.assert_allclose(by_table.velocity, exact.velocity, atol=1e-3)
    # A table that is off by a hundredth, and does not know: only the decoder can tell.
    wrong = replace(geometry, table=geometry.metric_table.scaled(1.01))
    np.testing.assert_allclose(wrong.logs(start, end).length, exact.length, rtol=1e-4)
    off = wrong.for_steps().logs(start, end).length
    np.testing.assert_allclose(off, 1.01**0.5 * exact.length, rtol=1e-4)
    untabulated = space_with(False).metric.geometry
    assert untabulated.for_steps() is untabulated


def test_curves_of_moved_points_on_a_table():
    geometry = space_with(pairs=20).metric.geometry.for_many().for_steps()
    start, end = CODES[:20], CODES[20:40]
    guess = geometry.logs(start, end).curves
    moved = start + 0.05
    found, anew = geometry.logs(moved, end, guess=guess), geometry.logs(moved, end)
    assert found.converged.all()
    np.testing.assert_allclose(found.length, anew.length, rtol=1e-5)


def test_points_of_a_quadrature_seen_from_another_mean():
    geometry = space_with(pairs=20).metric.geometry.for_many()
    grid, uniform = ImportanceGrid(geometry), uniform_points(64, 2, np.random.RandomState(0))
    frames = [frame_at(geometry, base) for base in (CODES.mean(axis=0), CODES.mean(axis=0) + 0.05)]
    logs = geometry.logs(frames[0].base, CODES)
    coordinates = frames[0].coordinates(logs.velocity)
    second = coordinates.T @ coordinates / len(CODES)
    precision, scale = np.linalg.inv(second), np.linalg.cholesky(second)
    drawn = build_importance_quadrature(
        geometry, grid, frames[0], CODES, coordinates, scale, uniform
    )
    seen = drawn.seen_from(geometry, frames[1])
    np.testing.assert_array_equal(seen.points, drawn.points)
    velocity = geometry.logs(frames[1].base, drawn.points).velocity
    # Normal coordinates of some points change from one side of a cut to the other.
    off = np.linalg.norm(seen.coordinates - frames[1].coordinates(velocity), axis=1)
    assert np.quantile(off, 0.9) < 1e-3 * np.sqrt(second.trace())
    assert 0.0 < seen.efficiency(precision) < drawn.efficiency(precision) * 1.2 <= 1.2
    errors = [q.moments(precision).log_normalizer_std for q in (drawn, seen)]
    change = np.diff([q.moments(precision).log_normalizer for q in (drawn, seen)])[0]
    anew = build_importance_quadrature(
        geometry,
        grid,
        frames[1],
        CODES,
        coordinates,
        scale,
        uniform_points(512, 2, np.random.RandomState(1)),
    )
    exact = anew.moments(precision).log_normalizer
    assert abs(drawn.moments(precision).log_normalizer + change - exact) < 5.0 * max(errors)


def test_boxes_without_extent():
    table = TableOnDemand(np.zeros((3, 2)), options=TableOptions(cells=8))
    geometry = space_with().metric.geometry
    assert table.get(geometry.decoder).knows(np.zeros((1, 2))).all()


def test_hessians_of_distances():
    geometry = space_with(pairs=20).metric.geometry.for_many()
    logs = geometry.logs(CODES[:20], CODES[20:40])
    found = distance_hessians(geometry, logs.curves)
    # Without a table, on the same curves and twice as many elements.
    exact = distance_hessians(geometry, logs.curves, n_halvings=1)
    scale = np.abs(exact.by_start).max(axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(found.by_start / scale, exact.by_start / scale, atol=1e-3)
    np.testing.assert_allclose(found.mixed / scale, exact.mixed / scale, atol=1e-3)
