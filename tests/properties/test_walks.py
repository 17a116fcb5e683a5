"""Random walks on degenerate decoders: each has an end, and a status that says which."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geomstats_vae import BrownianMotion, LangevinDynamics
from geomstats_vae.sampling import WalkStatus
from tests.manifolds.spaces import array, host
from tests.properties import codes
from tests.properties.decoders import decoded
from tests.properties.watching import call

SECONDS = 0.3
N_STEPS = 3
DIMS = (1, 2, 3, 5, 9)


def brownian(space, method, **options):
    return BrownianMotion(space, method=method, random_state=0, **options)


def normal(z):
    with np.errstate(over="ignore"):  # walkers may be thrown far out
        return -0.5 * (z * z).sum(-1)


def langevin(space, adjust):
    return LangevinDynamics(space, normal, adjust=adjust, random_state=0)


WALKS = {
    "euler": lambda space: brownian(space, "euler"),
    "without drift": lambda space: brownian(space, "euler", drift=False),
    "geodesic": lambda space: brownian(space, "geodesic"),
    "absorbed": lambda space: brownian(
        space, "euler", domain=([-1.0] * space.dim, [1.0] * space.dim), boundary="absorb"
    ),
    "adjusted": lambda space: langevin(space, True),
    "not adjusted": lambda space: langevin(space, False),
}


def any_walk(data):
    case = data.draw(decoded(dims=DIMS, graph=False, seconds=SECONDS))
    start, time = data.draw(codes.data(case.dim, 3)), data.draw(st.sampled_from((1e-6, 0.1, 1e6)))
    walks = WALKS[data.draw(st.sampled_from(sorted(WALKS)))](case.space)
    walk = call(walks.sample_walk, time, N_STEPS, array(start))
    if walk is None:
        return
    points, status, stop = map(host, (walk.points, walk.status, walk.stop_time))
    assert points.shape == (len(start), N_STEPS + 1, case.dim)
    assert np.isfinite(points).all()
    np.testing.assert_array_equal(points[:, 0], start)
    assert set(status) <= set(map(int, WalkStatus))
    np.testing.assert_allclose(stop[status == 0], time)
    assert (stop <= time * (1.0 + 1e-12)).all()


@settings(max_examples=30)
@given(data=st.data())
def test_walks(data):
    any_walk(data)


@pytest.mark.long
@settings(max_examples=250)
@given(data=st.data())
def test_many_walks(data):
    any_walk(data)
