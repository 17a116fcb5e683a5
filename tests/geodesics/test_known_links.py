"""Links of points that are asked for again."""

import numpy as np
import pytest

from geomstats_vae.geodesics.elements import Evaluator
from geomstats_vae.geodesics.graph.distances import KnownLinks
from geomstats_vae.geodesics.graph.measure import ChordMeasure, TabulatedMeasure
from geomstats_vae.geodesics.table import MetricTable
from tests import surfaces


class Links:
    """Links whose lengths tell their points, and which of them were measured."""

    def __init__(self, points):
        self.points, self.measured = points, []

    def __call__(self, rows):
        self.measured.extend(rows.tolist())
        return self.points[rows] @ np.array([[1.0, 2.0, 3.0], [-1.0, 0.5, 7.0]])


def ask(known, points):
    links = Links(points)
    np.testing.assert_array_equal(known(points, links), Links(points)(np.arange(len(points))))
    return links.measured


@pytest.fixture
def points():
    return np.random.default_rng(0).normal(size=(60, 2))


def test_points_are_measured_once_in_whatever_order_they_come(points):
    known = KnownLinks(fewest=4)
    assert ask(known, points[:20]) == list(range(20))
    assert ask(known, points[10:30][::-1]) == list(range(10))
    assert ask(known, points[:30]) == []


def test_few_points_are_not_kept(points):
    known = KnownLinks(fewest=4)
    ask(known, points[:20])
    assert ask(known, points[19:22]) == [1, 2]
    assert ask(known, points[19:22]) == [1, 2]


def test_points_make_room_for_others(points):
    known = KnownLinks(fewest=4, most=30)
    ask(known, points[:20])
    ask(known, points[20:40])
    assert ask(known, points[20:40]) == []
    assert len(ask(known, points[:20])) == 20


def test_links_are_measured_by_a_table_where_it_knows_the_metric():
    """The table knows half of a paraboloid."""
    immersion = surfaces.immersion_of(surfaces.paraboloid)
    chords = ChordMeasure(Evaluator(immersion, 256))
    table = MetricTable(chords.exact.metrics, np.array([0.0, -2.0]), np.array([2.0, 2.0]))
    start = np.random.default_rng(0).uniform(-1.9, 1.9, (200, 2))
    end = start + np.random.default_rng(1).normal(scale=0.03, size=(200, 2))
    known = np.isfinite(table.segment_lengths(start, end))
    assert known.any()
    assert not known.all()
    found = TabulatedMeasure(table, chords).segment_lengths(start, end, 8)
    np.testing.assert_allclose(found, chords.segment_lengths(start, end, 64), rtol=1e-4)
    few = chords.segment_lengths(start[~known], end[~known], 8)
    np.testing.assert_array_equal(found[~known], few)
