"""Links of points that are asked for again."""

import numpy as np
import pytest

from geomstats_vae.geodesics.graph.distances import KnownLinks


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
