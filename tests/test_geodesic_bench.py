import importlib
import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from geomstats_vae import GeodesicSolver
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
def measure(load):
    return load("geodesic_bench.measure")


@pytest.fixture(scope="module")
def tables(load):
    return load("geodesic_bench.tables")


@pytest.fixture(scope="module")
def problem(load):
    return load("geodesic_bench.problem")


@pytest.fixture(scope="module")
def immersion():
    return AutodiffImmersion(sphere, 2)


START = np.array([[0.2, -0.3], [0.5, 0.5], [-0.4, 0.1]])
END = np.array([[0.9, 0.4], [-0.8, 0.3], [0.3, 0.9]])


def _great_circles():
    return sphere_distance(torch.as_tensor(START), torch.as_tensor(END)).numpy()


def _fine_lengths(measure, immersion, curves):
    ends = zip(curves, START, END, strict=True)
    return np.array([measure.fine_length(immersion, curve, a, b) for curve, a, b in ends])


class TestGeorce:
    def test_finds_great_circles_with_second_order(self, load, measure, immersion):
        georce = load("georce")
        errors = []
        for n_steps in (25, 50, 100):
            nodes = georce.Georce(n_steps, tol=1e-6).solve(immersion, START, END)
            lengths = _fine_lengths(measure, immersion, georce.piecewise_linear(nodes))
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
    def test_of_a_great_circle(self, measure, immersion):
        a, b = (sphere(torch.as_tensor(z[0])).numpy() for z in (START, END))
        angle = _great_circles()[0]

        def circle(t):
            points = np.sin((1.0 - t) * angle)[:, None] * a + np.sin(t * angle)[:, None] * b
            return sphere_chart(torch.as_tensor(points / math.sin(angle))).numpy()

        length = measure.fine_length(immersion, circle, START[0], END[0])
        assert length == pytest.approx(angle, rel=1e-6)

    def test_counts_the_way_to_an_end_that_was_missed(self, measure, immersion):
        def line(t):
            return START[0] + t[:, None] * (END[0] - START[0])

        whole = measure.fine_length(immersion, line, START[0], END[0])
        half = measure.fine_length(immersion, lambda t: line(0.5 * t), START[0], END[0])
        assert half == pytest.approx(whole, rel=1e-5)

    def test_is_infinite_where_the_curve_is_not_finite(self, measure, immersion):
        length = measure.fine_length(immersion, lambda t: np.full((len(t), 2), np.nan), *START[:2])
        assert length == np.inf


def _forever(*_):
    while True:
        pass


class TestTimes:
    def _result(self, problem, label, error, seconds, succeeded=np.nan):
        setting = problem.Setting("solver", label, None)
        flags = np.full(len(error), succeeded)
        return problem.Result(setting, 2.0 * (1.0 + np.array(error)), np.array(seconds), flags)

    def test_fastest_setting_that_reaches_the_error(self, problem, tables):
        results = [
            self._result(problem, "coarse", [5e-3] * 10, [0.1] * 10),
            self._result(problem, "fine", [5e-5] * 9 + [np.inf], [1.0] * 10),
            self._result(problem, "finer", [5e-6] * 10, [3.0] * 10),
        ]
        best = tables.best_times(results, np.full(10, 2.0))
        assert best["solver", 1e-2] == (pytest.approx(0.1), 1.0, "coarse")
        assert best["solver", 1e-4] == (pytest.approx(1.0), 0.9, "fine")

    def test_largest_share_where_none_reaches_it(self, problem, tables):
        results = [
            self._result(problem, "coarse", [1e-3] * 10, [0.1] * 10),
            self._result(problem, "fine", [1e-5] * 8 + [1e-3] * 2, [1.0] * 10),
        ]
        best = tables.best_times(results, np.full(10, 2.0))
        assert best["solver", 1e-4] == (None, 0.8, "fine")

    def test_what_a_solver_says_of_its_answers(self, problem, tables):
        reference, error = np.full(4, 2.0), [0.0, 0.0, 0.0, 0.1]
        silent = self._result(problem, "silent", error, [1.0] * 4)
        sure = self._result(problem, "sure", error, [1.0] * 4, 1.0)
        doubting = self._result(problem, "doubting", error, [1.0] * 4, 0.0)
        assert tables.told(silent, reference) == "says nothing"
        assert tables.told(sure, reference) == "100%, of which 25% off"
        assert tables.told(doubting, reference) == "0 %"

    def test_a_solver_is_stopped_at_the_limit(self, measure):
        value, seconds, late = measure.timed(_forever, 0.05)
        assert value is None
        assert late
        assert seconds < 0.5

    def test_a_setting_is_given_up_when_too_many_pairs_are_late(self, problem, measure, immersion):
        start, end = np.tile(START[:1], (20, 1)), np.tile(END[:1], (20, 1))
        pairs = problem.Problem("sphere", sphere, immersion, start, start, end)
        setting = problem.Setting("solver", "slow", lambda start, end: _forever())
        result = measure.run(pairs, setting, 0.02)
        np.testing.assert_array_equal(result.length, [np.inf] * 3)

    def test_an_error_of_a_solver_is_a_failure_of_that_pair(self, problem, measure, immersion):
        def refuse(start, end):
            raise ValueError

        pairs = problem.Problem("sphere", sphere, immersion, START, START, END)
        result = measure.run(pairs, problem.Setting("solver", "broken", refuse), 1.0)
        np.testing.assert_array_equal(result.length, [np.inf] * 3)
        np.testing.assert_array_equal(result.succeeded, 0.0)


DECODERS = ("digits", "walls", "rotation", "mlp_relu_d16", "mlp_silu_d16", "counts_d10", "conv_d32")
# Decoders with kinks: curves are solved on rounded ones. 64 chords see the rest a little longer.
KINKED = ("mlp_relu_d16", "counts_d10")


class TestDecoders:
    @pytest.mark.parametrize("name", DECODERS)
    def test_a_file_holds_pairs_of_codes_that_are_decoded(self, load, name):
        decoders = load("geodesic_bench.decoders")
        pairs = decoders.load(name, 4)
        assert list(decoders.ENTRIES) == list(DECODERS)
        assert pairs.start.shape == pairs.end.shape == (4, decoders.ENTRIES[name].dim)
        value = pairs.immersion(torch.as_tensor(np.stack((pairs.start, pairs.end), axis=1)[0]))
        assert value.dtype == torch.float64
        assert float((value[1] - value[0]).detach().norm()) <= pairs.reference[0]

    @pytest.mark.long
    @pytest.mark.parametrize("name", DECODERS)
    def test_references_are_reached(self, load, name):
        decoders = load("geodesic_bench.decoders")
        pairs, _ = decoders.with_graph(decoders.load(name, 3))
        path = GeodesicSolver(tol=1e-5).solve(pairs.immersion, pairs.start, pairs.end, pairs.graph)
        rtol = 2e-2 if name in KINKED else 1e-4
        np.testing.assert_allclose(path.length, pairs.reference, rtol=rtol)

    def test_another_name(self, load):
        with pytest.raises(KeyError, match="Expected one of digits"):
            load("geodesic_bench.decoders").load("mnist")


class TestSolvers:
    def test_every_file_is_a_solver(self, load):
        names = load("geodesic_bench.solvers").names()
        assert names[0] == "ours"
        assert {"algorithm_georce", "chords_lbfgs", "stochman_curves"} <= set(names)

    def test_the_quick_set_takes_the_first_settings(self, load):
        decoders, solvers = load("geodesic_bench.decoders"), load("geodesic_bench.solvers")
        pairs = decoders.load("digits", 2)
        every, few = (solvers.settings(pairs, "algorithm_georce", quick=q) for q in (False, True))
        assert [setting.label for setting in few[:2]] == [s.label for s in every[:2]]
        assert len(few) < len(every)

    @pytest.mark.long
    @pytest.mark.parametrize("name", ["ours", "algorithm_georce", "chords_lbfgs"])
    def test_solvers_join_the_ends(self, load, name):
        decoders, solvers = load("geodesic_bench.decoders"), load("geodesic_bench.solvers")
        pairs, _ = decoders.with_graph(decoders.load("digits", 2))
        setting = solvers.settings(pairs, name, quick=True)[0]
        result = load("geodesic_bench.measure").run(pairs, setting, 60.0)
        assert np.all(result.error(pairs.reference) > -1e-4)
        assert np.all(result.error(pairs.reference) < 0.2)


def test_the_quick_set_prints_its_tables(load, capsys):
    bench = load("geodesic_bench.__main__")
    bench.main(bench.parse(["--only", "digits", "--solvers", "ours", "--pairs", "2"]))
    printed = capsys.readouterr().out
    assert "| ours | tol=0.0001 |" in printed
    assert "100%, of which 0% off" in printed


def test_the_loosest_tolerance_holds_in_sixteen_dimensions(load):
    """Curves that crawl along a flat valley go on: no length is off by more than tol."""
    decoders = load("geodesic_bench.decoders")
    problem, _ = decoders.with_graph(decoders.load("mlp_silu_d16", 100))
    crawling = [0, 1, 28, 83]
    start, end = problem.start[crawling], problem.end[crawling]
    path = GeodesicSolver(tol=1e-3).solve(problem.immersion, start, end, problem.graph)
    assert path.converged.all()
    np.testing.assert_array_less(path.length, problem.reference[crawling] * (1.0 + 1e-3))
