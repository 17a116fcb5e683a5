"""Derivatives of distances under pytorch: numbers, wherever there is a distance."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.manifolds import spaces
from tests.manifolds.spaces import array, host
from tests.properties import codes
from tests.properties.decoders import decoded
from tests.properties.watching import call

pytestmark = pytest.mark.skipif(not spaces.ON_TORCH, reason="pytorch alone has derivatives")
SECONDS = 1.0


def any_derivative(data):
    case = data.draw(decoded(seconds=SECONDS))
    ends = data.draw(codes.rows(case.dim, relations=codes.RELATIONS))
    start, end = (array(part).clone().requires_grad_() for part in ends)
    name = data.draw(st.sampled_from(("dist", "squared_dist")))
    dist = call(getattr(case.metric, name), start, end)
    if dist is None:
        return
    assert call(dist.sum().backward) is None
    reached, equal = np.isfinite(host(dist)), (ends[0] == ends[1]).all(axis=1)
    for part in (start, end):
        assert np.isfinite(host(part.grad)[reached]).all()
        assert (host(part.grad)[equal] == 0.0).all()  # the distance has a kink there


@settings(max_examples=20)
@given(data=st.data())
def test_derivatives(data):
    any_derivative(data)


@pytest.mark.long
@settings(max_examples=150)
@given(data=st.data())
def test_many_derivatives(data):
    any_derivative(data)
