"""Profiles of hypothesis: few and always the same examples, or many in `make test-long`."""

import warnings

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from tests.properties.decoders import Decoded

# Time is watched call by call, by `watching.budget`.
COMMON = {"deadline": None, "database": None, "suppress_health_check": list(HealthCheck)}
settings.register_profile("steady", derandomize=True, **COMMON)
settings.load_profile("steady")


@pytest.fixture(scope="session", autouse=True)
def loaded():
    """What torch and numpy load when they are first asked is no change made by a call."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for dim in (2, 4):
            case = Decoded("function", dim, 0, graph=True, loose=True)
            case.metric.solve_geodesic(np.zeros(dim), np.ones(dim), polish=True)
            case.metric.parallel_transport(np.ones(dim), np.zeros(dim), direction=np.ones(dim))
