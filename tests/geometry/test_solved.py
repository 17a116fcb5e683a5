"""Curves that logarithms keep: they save work, change no result, and take bounded memory."""

import pickle

import numpy as np
import pytest

from geomstats_vae import GeodesicKMeans, LatentSpace
from geomstats_vae.geometry import solved
from geomstats_vae.manifolds.geometries import geometry_of
from tests import surfaces
from tests.manifolds import spaces

GEOMETRY = geometry_of(LatentSpace(surfaces.sphere, dim=2))
START, END = spaces.draw(6, 2, scale=0.3), spaces.draw(6, 2, seed=1, scale=0.3)


def test_guesses_change_no_logarithm():
    kept = GEOMETRY.logs(START, END).curves
    assert all(curve is not None for curve in kept)
    moved = START + 1e-3
    fresh, warm = GEOMETRY.logs(moved, END), GEOMETRY.logs(moved, END, guess=kept)
    np.testing.assert_allclose(warm.length, fresh.length, rtol=1e-6)
    np.testing.assert_allclose(warm.velocity, fresh.velocity, atol=1e-4)


def test_guesses_save_steps():
    path = GEOMETRY.paths(START, END)
    kept = solved.unpack_curves(GEOMETRY.logs(START, END).curves)
    again = GEOMETRY.paths(START + 1e-5, END, guess=kept)
    assert again.n_iter.sum() < path.n_iter.sum()


def test_rows_without_a_curve_start_afresh():
    kept = GEOMETRY.logs(START, END).curves
    kept[::2] = None
    warm = GEOMETRY.logs(START, END, guess=kept)
    np.testing.assert_allclose(warm.length, GEOMETRY.logs(START, END).length, rtol=1e-6)
    assert solved.unpack_curves(np.full(3, None, dtype=object)) is None


def test_single_curves_are_those_of_their_rows():
    curves = GEOMETRY.paths(START, END).curves
    for k, single in zip((1, 4), curves.single(np.array([1, 4])), strict=True):
        expected = vars(curves.take(np.array([k])))
        for name, column in vars(single).items():
            np.testing.assert_array_equal(column, expected[name])


@pytest.mark.parametrize("working", [{"verbose": True, "first_size": 2}, {"n_jobs": 2}])
def test_blocks_carry_curves_along(working):
    geometry = GEOMETRY.working(options={"backend": "threading"} if "n_jobs" in working else {})
    geometry = geometry.working(**working)
    logs = geometry.logs(START, END)
    starts = np.stack([curve.start[0] for curve in logs.curves])
    np.testing.assert_array_equal(starts, START)
    again = geometry.logs(START + 1e-4, END, guess=logs.curves)
    expected = GEOMETRY.logs(START + 1e-4, END)
    np.testing.assert_allclose(again.length, expected.length, rtol=1e-6)


def test_memory_is_bounded(monkeypatch):
    size = max(curve.nodes[0].nbytes for curve in GEOMETRY.logs(START, END).curves)
    monkeypatch.setattr("geomstats_vae.geometry.decoder.CURVES_BYTES", 6 * size)
    assert all(curve is not None for curve in GEOMETRY.logs(START, END).curves)
    twice = GEOMETRY.logs(np.tile(START, (2, 1)), np.tile(END, (2, 1))).curves
    assert sum(curve.nodes[0].nbytes for curve in twice if curve is not None) <= 6 * size


def test_curves_are_not_pickled_with_an_estimator():
    space = LatentSpace(surfaces.sphere, dim=2)
    fitted = GeodesicKMeans(space, n_clusters=2, random_state=0).fit(np.concatenate((START, END)))
    assert b"SolvedCurves" not in pickle.dumps(
        {k: v for k, v in vars(fitted).items() if "space" not in k}
    )
