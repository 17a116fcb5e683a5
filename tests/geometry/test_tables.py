"""Which calls a table serves, and that it changes no answer by more than the tolerance."""

import pickle

import numpy as np
import pytest
import torch

from geomstats_vae import FrechetMean, GeodesicKMeans, LatentSpace
from geomstats_vae.geodesics.table import TableOptions
from geomstats_vae.geometry.hessians import distance_hessians
from geomstats_vae.geometry.tables import TableOnDemand
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
