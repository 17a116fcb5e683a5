"""Exponentials, points and rays of a geometry that uses its table, against those of the decoder."""

from dataclasses import replace

import numpy as np
import pytest

from geomstats_vae.geodesics.flow.exponential import ExponentialSolver
from geomstats_vae.geodesics.table import TableOptions
from geomstats_vae.geometry import tabulated_flows
from geomstats_vae.geometry.rays import DecoderRays
from geomstats_vae.geometry.tables import TableOnDemand
from geomstats_vae.geometry.tabulated_flows import RAY_RTOL, TabulatedRays
from geomstats_vae.manifolds import LatentSpace
from tests import surfaces

LOW, HIGH = np.array([-2.0, -2.0]), np.array([2.0, 2.0])


@pytest.fixture(scope="module")
def exact():
    space = LatentSpace(surfaces.torus, 2, points=np.stack((LOW, HIGH)))
    space.metric.geometry.table.options = TableOptions(cells=8, most_halvings=1)
    return space.metric.geometry


@pytest.fixture(scope="module")
def tabulated(exact):
    assert isinstance(exact.table, TableOnDemand)
    assert exact.metric_table is None
    return exact.for_many()


def rays(n, length, seed=0):
    rng = np.random.default_rng(seed)
    x, angle = rng.uniform(0.9 * LOW, 0.9 * HIGH, (n, 2)), rng.uniform(0.0, 2.0 * np.pi, n)
    # The torus' coordinates are orthogonal.
    return x, length * np.stack((np.cos(angle), np.sin(angle) / 3.0), axis=1)


@pytest.fixture
def asked(monkeypatch, exact):
    """Count paths that are followed on the decoder."""
    counts = []
    follow = type(exact).follow

    def counted(self, base, velocity):
        counts.append(len(base))
        return follow(self, base, velocity)

    monkeypatch.setattr(type(exact), "follow", counted)
    return counts


def test_exponentials_hold_their_tolerance_on_the_table_and_off_it(tabulated, exact, asked):
    x, v = rays(80, 1.5)
    rtol = 1e-4
    reference = exact.exps(x, v)
    asked.clear()
    found = tabulated.exps(x, v, rtol=rtol)
    # Those that leave the table are not lost.
    assert 0 < sum(asked) < 60
    assert (np.abs(reference).max(axis=1) > 2.4).any()
    off, metric = found - reference, exact.metrics(reference)
    length = np.sqrt(exact.inner_products(v, v, x))
    assert (np.sqrt(np.einsum("ni,nij,nj->n", off, metric, off)) <= rtol * length).all()


def test_exact_exponentials_do_not_ask_the_table(tabulated, exact):
    x, v = rays(5, 0.5)
    np.testing.assert_array_equal(tabulated.exps(x, v), exact.exps(x, v))
    np.testing.assert_array_equal(tabulated.exps(x, v, rtol=1e-8), exact.exps(x, v, rtol=1e-8))
    assert not np.array_equal(tabulated.exps(x, v, rtol=1e-4), exact.exps(x, v, rtol=1e-4))


def test_a_scaled_metric_has_the_same_geodesics(tabulated):
    x, v = rays(20, 1.0)
    scaled = tabulated.scaled(7.0)
    np.testing.assert_allclose(
        scaled.exps(x, v, rtol=1e-4), tabulated.exps(x, v, rtol=1e-4), rtol=1e-9, atol=1e-9
    )


def test_points_along_geodesics_come_in_the_order_of_their_times(tabulated, exact):
    x, v = rays(30, 1.0)
    times = np.array([1.5, 0.25, 1.0])
    found, expected = (g.points_along(x, v, times) for g in (tabulated, exact))
    np.testing.assert_allclose(found, expected, atol=5 * RAY_RTOL)
    assert not np.array_equal(found, expected)
    behind = np.array([-0.5, 0.5])
    np.testing.assert_array_equal(
        tabulated.points_along(x, v, behind), exact.points_along(x, v, behind)
    )


def test_rays_and_volumes_are_those_of_the_decoder_also_where_they_leave_the_table(
    tabulated, exact
):
    x, v = rays(60, 0.5)
    mine, theirs = tabulated.rays(x, v), exact.rays(x, v)
    assert isinstance(mine, TabulatedRays)
    assert isinstance(theirs, DecoderRays)
    on_table = []
    for stretch in range(5):
        found, expected = mine.advance(4), theirs.advance(4)
        for a, b in zip(found[:2], expected[:2], strict=True):
            np.testing.assert_allclose(a, b, atol=3 * (stretch + 1) * RAY_RTOL)
        np.testing.assert_array_equal(found[2], expected[2])
        on_table.append(mine._on_table.mean())
        going = np.arange(len(found[0])) % 7 != stretch
        mine.keep(going)
        theirs.keep(going)
    # Some went on on the decoder, at another stretch each, in between those of the table.
    assert 0.0 < on_table[-1] < on_table[0] <= 1.0


def test_rays_that_should_be_more_exact_are_followed_on_the_decoder(tabulated):
    x, v = rays(3, 0.5)
    geometry = replace(tabulated, ray_exponential=ExponentialSolver(rtol=1e-9))
    assert isinstance(geometry.rays(x, v), DecoderRays)


def test_paths_are_followed_in_blocks(tabulated, monkeypatch):
    x, v = rays(10, 0.5)
    whole = tabulated.exps(x, v, rtol=1e-4)
    monkeypatch.setattr(tabulated_flows, "_PATHS", 3)
    np.testing.assert_array_equal(tabulated.exps(x, v, rtol=1e-4), whole)
