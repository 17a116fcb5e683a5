"""Whatever finite codes come, in whatever form: an answer of the right kind, or a named error."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from geomstats_vae import LatentSpace
from geomstats_vae.manifolds.arrays import LARGEST
from tests.properties import codes
from tests.properties.decoders import KINDS, decoded
from tests.properties.watching import call

TIMES = np.linspace(0.0, 1.0, 4)
SECONDS = 2.0  # of the solvers; what they do after that is bounded, too


def host(value):
    return value.detach().double().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)


def lengths(metric, name, a, b):
    found = call(getattr(metric, name), a, b)
    if found is not None:
        assert (host(found) >= 0.0).all()
    return found, ()


def local(metric, name, a, b):
    return call(getattr(metric, name), a), (metric._space.dim,) * (
        3 if name == "christoffels" else 2
    )


def products(metric, name, a, b):
    vectors = (b, b) if name == "inner_product" else (b,)
    return call(getattr(metric, name), *vectors, a), ()


def maps(metric, name, a, b):
    return call(getattr(metric, name), b, a), (metric._space.dim,)


def paths(metric, name, a, b):
    path = call(metric.solve_geodesic, a, b, polish=name == "polish")
    if path is None:
        return None, ()
    assert np.isfinite(host(path.points)).all()
    assert np.isfinite(host(path.times)).all()
    assert not np.isnan(host(path.length)).any()
    np.testing.assert_array_equal(host(path.converged), host(path.status) == 0)
    for method in (path, path.velocity):
        assert call(method, TIMES).shape == (*path.length.shape, len(TIMES), metric._space.dim)
    return path.length, ()


def transports(metric, name, a, b):
    along = {name: b}
    return call(metric.parallel_transport, b, a, **along), (metric._space.dim,)


def curves(metric, name, a, b):
    along = {name: b}
    curve = call(metric.geodesic, a, **along)
    if curve is None:
        return None, ()
    found = call(curve, TIMES)
    # geomstats has no batch where there is one geodesic.
    return host(found).reshape(-1, len(TIMES), metric._space.dim)[:, 0, 0], None


METHODS = {
    "dist": lengths,
    "squared_dist": lengths,
    "metric_matrix": local,
    "cometric_matrix": local,
    "christoffels": local,
    "norm": products,
    "squared_norm": products,
    "inner_product": products,
    "log": maps,
    "exp": maps,
    "solve_geodesic": paths,
    "polish": paths,
    "direction": transports,
    "end_point": transports,
    "initial_tangent_vec": curves,
}


def any_call(data, max_side=2, seconds=SECONDS):
    """One call of a method, with codes that may not be used for anything after it."""
    case = data.draw(decoded(seconds=seconds))
    name = data.draw(st.sampled_from(sorted(METHODS)))
    a, b = data.draw(codes.pairs(case.dim, max_side=max_side, relations=codes.REMOTE))
    found, shape = METHODS[name](case.metric, name, a, b)
    used = [a] if METHODS[name] is local else [a, b]
    values = [codes.to_values(array) for array in used]
    if any(np.abs(array).max(initial=0.0) > LARGEST for array in values):
        # Codes are refused. Products of vectors overflow, but those by a metric that is zero.
        assert found is None or (~np.isfinite(host(found)) | (host(found) == 0.0)).all()
    elif shape is not None:
        batch = np.broadcast_shapes(*(array.shape[:-1] for array in values))
        assert tuple(found.shape) == (*batch, *shape)


@settings(max_examples=40)
@given(data=st.data())
def test_calls(data):
    any_call(data, max_side=1, seconds=0.2)


@pytest.mark.long
@settings(max_examples=800)
@given(data=st.data())
def test_many_calls(data):
    any_call(data)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dim", [1, 4])
def test_spaces(kind, dim):
    decoder = KINDS[kind](dim, 0)
    space = call(LatentSpace, decoder, dim)
    assert call(space.metric.dist, np.zeros(dim), np.zeros(dim)) == 0.0
