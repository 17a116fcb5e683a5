"""The script that measures the source counts what it says."""

import importlib.util
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "structure.py"

SOLVER = '''"""Solve."""

import numpy as np

_TOL, _MAX_ITER = 1e-6, 20
_SHIFTS = 10.0 ** np.arange(-1, 7)
SECOND_ESTIMATE = (71 / 57600, 0.0)
LIMIT: float = 0.5
_NAME, _VERBOSE = "solver", True
table = {2: 3}


def solve(x: float, *, tol: float = 1e-3) -> float:
    """Solve.

    In two lines more.
    """
    # A comment counts.
    y = x

    return y


class Solver:
    """Solver."""

    limit = 3

    def run(self, x: float, *rest) -> float:
        return x

    def _step(self) -> None:
        """Step."""


class _Hidden:
    def run(self) -> None:
        def inner(x):
            return x
'''


@pytest.fixture(scope="module")
def structure():
    spec = importlib.util.spec_from_file_location("structure", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    # Its dataclasses look their module up.
    sys.modules["structure"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["structure"]


@pytest.fixture
def sample(structure, tmp_path):
    (tmp_path / "geodesics").mkdir()
    (tmp_path / "geodesics" / "solver.py").write_text(SOLVER, encoding="utf-8")
    (tmp_path / "other.py").write_text("_WIDTH = 3\n", encoding="utf-8")
    return structure.measure(tmp_path)


def test_lines_of_files_and_functions(sample):
    assert sample.files == {"geodesics/solver.py": len(SOLVER.splitlines()), "other.py": 1}
    lengths = {f.name: (f.lines, f.lines_with_docstring) for f in sample.functions}
    assert lengths == {
        "solve": (4, 8),
        "Solver.run": (1, 1),
        "Solver._step": (0, 1),
        "_Hidden.run": (2, 2),
        "_Hidden.run.inner": (1, 1),
    }


def test_public_and_annotated_functions(sample):
    assert {f.name for f in sample.functions if f.is_public} == {"solve", "Solver.run"}
    annotated = {f.name for f in sample.functions if f.is_annotated}
    assert annotated == {"solve", "Solver._step", "_Hidden.run"}


def test_numeric_constants_of_geodesics(sample):
    names = [constant.split(": ")[1] for constant in sample.constants]
    assert names == ["_TOL", "_MAX_ITER", "_SHIFTS", "LIMIT"]
    assert sample.coefficients == ["geodesics/solver.py: SECOND_ESTIMATE"]


def test_report_names_its_figures(structure, sample):
    text = structure.report(sample)
    assert "files: 2, " in text
    assert "public functions annotated: 1 of 2; all: 3 of 5" in text
    assert "numeric constants of geodesics: 4, and 1 coefficients of formulas" in text


@pytest.fixture(scope="module")
def package(structure):
    return structure.measure()


def test_no_file_is_longer_than_a_reader_can_hold(structure, package):
    too_long = {file: n for file, n in package.files.items() if n > structure.MAX_FILE_LINES}
    assert not too_long, "split by concept: one idea a file"


def test_few_numbers_steer_the_solver_from_module_level(structure, package):
    """What a user may want to change is a documented field of an options class."""
    assert len(package.constants) <= structure.MAX_CONSTANTS, package.constants


def test_coefficients_that_are_excepted_exist(structure, package):
    names = {coefficient.split(": ")[1] for coefficient in package.coefficients}
    assert names == set(structure.COEFFICIENTS)
