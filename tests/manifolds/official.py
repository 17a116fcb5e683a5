"""Test data for geomstats' official test cases, which its wheel ships without their data.

geomstats' repository has a class of data for every case, with a method ``X_test_data`` for every
test ``test_X``. Here the data follow from the names of a test's arguments: ``n_reps``,
``n_points`` and ``n_times`` say how many repetitions, points and times the test draws for itself.
A test that asks for an ``expected`` result becomes the test ``X_vec`` that geomstats derives from
it: of repeated arguments, the repeated result.
"""

import inspect
import itertools

from geomstats.test.data import TestData
from geomstats.test.parametrizers import DataBasedParametrizer

# What geomstats cannot derive: it does not know how to draw states, sets of points, bases or
# times, nor that an end point excludes a direction.
UNDERIVABLE = {
    "geodesic_vec",
    "hamiltonian_vec",
    "diameter_vec",
    "normal_basis_vec",
    "parallel_transport_vec",
}
# Always the same, unlike geomstats' own, which are drawn when it is imported.
SIZES = {"n_reps": (2,), "n_points": (1, 3), "n_times": (1, 3)}


def official_data(case, **expected):
    """Data of all tests of a case that draw theirs, by name, and results that need no data."""
    data = {}
    for name in filter(lambda name: name.startswith("test_"), dir(case)):
        arguments = inspect.getfullargspec(getattr(case, name)).args[1:]
        name = name.removeprefix("test_")
        drawn = [argument for argument in arguments if argument in SIZES]
        if name in expected:
            data[name] = [{"expected": expected[name]}]
        elif "expected" in arguments:
            data[f"{name}_vec"] = [{"n_reps": n_reps} for n_reps in SIZES["n_reps"]]
        elif drawn:
            sizes = itertools.product(*(SIZES[argument] for argument in drawn))
            data[name] = [dict(zip(drawn, values, strict=True)) for values in sizes]
    return {name: rows for name, rows in data.items() if name not in UNDERIVABLE}


class OfficialData(TestData):
    """Data in the form that geomstats' metaclasses take.

    Parameters
    ----------
    data : dict of list of dict
        Arguments of each test, by its name without ``test_``.
    """

    trials = 1  # geomstats lets random tests fail twice
    fail_for_autodiff_exceptions = True
    fail_for_not_implemented_errors = True

    def __init__(self, data):
        for name, rows in data.items():
            tests = self.generate_tests([dict(row) for row in rows])
            setattr(self, f"{name}_test_data", lambda tests=tests: tests)


class OfficialTests(DataBasedParametrizer):
    """Metaclass of test classes; tests without data stay, for others to call, but do not run.

    geomstats deselects them by a hook of its own.
    """

    def __new__(cls, name, bases, attrs):
        made = super().__new__(cls, name, bases, attrs)
        for attribute in vars(made).values():
            if "ignore" in _marks(attribute):
                attribute.__test__ = False
        return made


def count_tests(test_class):
    """Number of tests of a class that have to pass."""
    marks = [_marks(attribute) for attribute in vars(test_class).values()]
    strict = [each for each in marks if not {"skip", "skipif", "xfail"} & each.keys()]
    return sum(len(each["parametrize"].args[1]) for each in strict if "parametrize" in each)


def _marks(function):
    return {mark.name: mark for mark in getattr(function, "pytestmark", ())}
