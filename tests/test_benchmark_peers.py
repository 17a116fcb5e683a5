import importlib
import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from geomstats_vae.immersions import AutodiffImmersion
from tests.surfaces import sphere, sphere_chart, sphere_distance

BENCHMARKS = str(Path(__file__).parents[1] / "benchmarks")


@pytest.fixture(scope="module")
def load():
    """Import a benchmark as it imports its neighbours: from its own folder."""
    sys.path.insert(0, BENCHMARKS)
    yield importlib.import_module
    sys.path.remove(BENCHMARKS)


@pytest.fixture(scope="module")
def peers(load):
    return load("peers")


@pytest.fixture(scope="module")
def immersion():
    return AutodiffImmersion(sphere, 2)


START = np.array([[0.2, -0.3], [0.5, 0.5], [-0.4, 0.1]])
END = np.array([[0.9, 0.4], [-0.8, 0.3], [0.3, 0.9]])


def _great_circles():
    return sphere_distance(torch.as_tensor(START), torch.as_tensor(END)).numpy()


def _fine_lengths(peers, immersion, curves):
    ends = zip(curves, START, END, strict=True)
    return np.array([peers.fine_length(immersion, curve, a, b) for curve, a, b in ends])


class TestGeorce:
    def test_finds_great_circles_with_second_order(self, load, peers, immersion):
        georce = load("georce")
        errors = []
        for n_steps in (25, 50, 100):
            nodes = georce.Georce(n_steps, tol=1e-6).solve(immersion, START, END)
            lengths = _fine_lengths(peers, immersion, georce.piecewise_linear(nodes))
            errors.append(lengths / _great_circles() - 1.0)
        assert np.all(errors[-1] < 1e-4)
        order = np.log2(np.array(errors[:-1]) / np.array(errors[1:]))
        np.testing.assert_allclose(order, 2.0, atol=0.2)

    def test_keeps_the_ends(self, load, immersion):
        nodes = load("georce").Georce(10).solve(immersion, START, END)
        np.testing.assert_array_equal(nodes[:, 0], START)
        np.testing.assert_array_equal(nodes[:, -1], END)

    def test_curves_of_a_batch_are_those_found_alone(self, load, immersion):
        solver = load("georce").Georce(20)
        together = solver.solve(immersion, START, END)
        for k in range(len(START)):
            alone = solver.solve(immersion, START[k : k + 1], END[k : k + 1])
            np.testing.assert_allclose(together[k], alone[0], atol=1e-10)


class TestFineLength:
    def test_of_a_great_circle(self, peers, immersion):
        a, b = (sphere(torch.as_tensor(z[0])).numpy() for z in (START, END))
        angle = _great_circles()[0]

        def circle(t):
            points = np.sin((1.0 - t) * angle)[:, None] * a + np.sin(t * angle)[:, None] * b
            return sphere_chart(torch.as_tensor(points / math.sin(angle))).numpy()

        length = peers.fine_length(immersion, circle, START[0], END[0])
        assert length == pytest.approx(angle, rel=1e-6)

    def test_counts_the_way_to_an_end_that_was_missed(self, peers, immersion):
        def line(t):
            return START[0] + t[:, None] * (END[0] - START[0])

        whole = peers.fine_length(immersion, line, START[0], END[0])
        half = peers.fine_length(immersion, lambda t: line(0.5 * t), START[0], END[0])
        assert half == pytest.approx(whole, rel=1e-5)

    def test_is_infinite_where_the_curve_is_not_finite(self, peers, immersion):
        length = peers.fine_length(immersion, lambda t: np.full((len(t), 2), np.nan), *START[:2])
        assert length == np.inf


def _forever(*_):
    while True:
        pass


class TestTimes:
    def _result(self, peers, label, error, seconds):
        setting = peers.Setting("solver", label, None)
        return peers.Result(setting, 2.0 * (1.0 + np.array(error)), np.array(seconds))

    def test_fastest_setting_that_reaches_the_error(self, peers):
        results = [
            self._result(peers, "coarse", [5e-3] * 10, [0.1] * 10),
            self._result(peers, "fine", [5e-5] * 9 + [np.inf], [1.0] * 10),
            self._result(peers, "finer", [5e-6] * 10, [3.0] * 10),
        ]
        best = peers.best_times(results, np.full(10, 2.0))
        assert best["solver", 1e-2] == (pytest.approx(0.1), 1.0, "coarse")
        assert best["solver", 1e-4] == (pytest.approx(1.0), 0.9, "fine")

    def test_largest_share_where_none_reaches_it(self, peers):
        results = [
            self._result(peers, "coarse", [1e-3] * 10, [0.1] * 10),
            self._result(peers, "fine", [1e-5] * 8 + [1e-3] * 2, [1.0] * 10),
        ]
        best = peers.best_times(results, np.full(10, 2.0))
        assert best["solver", 1e-4] == (None, 0.8, "fine")

    def test_a_solver_is_stopped_at_the_limit(self, peers):
        value, seconds, late = peers.timed(_forever, 0.05)
        assert value is None
        assert late
        assert seconds < 0.5

    def test_a_setting_is_given_up_when_too_many_pairs_are_late(self, peers, immersion):
        start, end = np.tile(START[:1], (20, 1)), np.tile(END[:1], (20, 1))
        problem = peers.Problem(sphere, immersion, start, end)
        setting = peers.Setting("solver", "slow", lambda start, end: _forever())
        result = peers.run(problem, setting, 0.02)
        np.testing.assert_array_equal(result.length, [np.inf] * 3)

    def test_an_error_of_a_solver_is_a_failure_of_that_pair(self, peers, immersion):
        def refuse(start, end):
            raise ValueError

        problem = peers.Problem(sphere, immersion, START, END)
        result = peers.run(problem, peers.Setting("solver", "broken", refuse), 1.0)
        np.testing.assert_array_equal(result.length, [np.inf] * 3)

    def test_reference_is_the_shortest_of_all(self, peers):
        result = self._result(peers, "stopped early", [-0.1, 0.1], [0.1] * 2)
        np.testing.assert_allclose(peers.shortest(np.full(3, 2.0), [result]), [1.8, 2.0, 2.0])
