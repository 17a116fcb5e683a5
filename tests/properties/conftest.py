"""Profiles of hypothesis: few and always the same examples, or many in `make test-long`."""

import warnings

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from tests.properties.decoders import Decoded

# Time is watched call by call, by `watching.budget`.
settings.register_profile(
    "steady",
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
settings.load_profile("steady")


@pytest.fixture(scope="session", autouse=True)
def loaded():
    """What torch and numpy load when they are first asked is no change made by a call."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        metric = Decoded("function", 2).metric
        metric.solve_geodesic(np.zeros(2), np.ones(2), polish=True)
        metric.parallel_transport(np.ones(2), np.zeros(2), direction=np.ones(2))
