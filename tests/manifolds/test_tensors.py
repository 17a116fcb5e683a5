"""Tensors of any kind come in, under both backends: half precision, gradients, inference mode."""

import numpy as np
import pytest
import torch

from geomstats_vae.manifolds import AdaptiveExpSolver, CollocationLogSolver, LatentSpace
from tests.manifolds import spaces
from tests.manifolds.spaces import draw, host

CODES = torch.from_numpy(draw(3, 2, scale=0.4))
HALVES = (torch.float16, torch.bfloat16)


@pytest.fixture(scope="module")
def space():
    return LatentSpace(spaces.network(), 2)


def from_inference_mode(z):
    with torch.inference_mode():
        return z * 1.0


KINDS = {
    "gradient": lambda z: z.clone().requires_grad_(),
    "no leaf": lambda z: 1.0 * z.clone().requires_grad_(),
    "bfloat16": lambda z: z.bfloat16(),
    "float16": lambda z: z.half(),
    "bfloat16 gradient": lambda z: z.bfloat16().requires_grad_(),
    "inference": from_inference_mode,
    "list": lambda z: list(z.clone().requires_grad_()),
    "nested": lambda z: [list(row) for row in z.clone().requires_grad_()],
}
CALLS = {
    "dist": lambda m, z, w: m.dist(z, w),
    "log": lambda m, z, w: m.log(z, w),
    "exp": lambda m, z, w: m.exp(z, w),
    "geodesic": lambda m, z, w: m.geodesic(z, w)(w[0]),
    "velocity": lambda m, z, w: m.geodesic(z, w).velocity(w[0]),
    "geodesic_ivp": lambda m, z, w: m.geodesic(z, initial_tangent_vec=w)(w[0]),
    "velocity_ivp": lambda m, z, w: m.geodesic(z, initial_tangent_vec=w).velocity(w[0]),
    "solve_geodesic": lambda m, z, w: m.solve_geodesic(z, w)(w[0]),
    "solved velocity": lambda m, z, w: m.solve_geodesic(z, w).velocity(w[0]),
    "parallel_transport": lambda m, z, w: m.parallel_transport(z, w, direction=z),
    "dist_pairwise": lambda m, z, w: m.dist_pairwise(z),
    "dist_broadcast": lambda m, z, w: m.dist_broadcast(z, w[:2]),
    "diameter": lambda m, z, w: m.diameter(z),
    "closest_neighbor_index": lambda m, z, w: m.closest_neighbor_index(z, w),
    "inner_product": lambda m, z, w: m.inner_product(z, w, w),
    "norm": lambda m, z, w: m.norm(z, w),
    "normalize": lambda m, z, w: m.normalize(z, w),
    "inner_coproduct": lambda m, z, w: m.inner_coproduct(z, w, w),
    "curvature": lambda m, z, w: m.curvature(z, w, z, w),
    "sectional_curvature": lambda m, z, w: m.sectional_curvature(z, w, w),
    "metric_matrix": lambda m, z, w: m.metric_matrix(z),
    "jacobian_christoffels": lambda m, z, w: m.jacobian_christoffels(z),
    "projection": lambda m, z, w: m._space.projection(z),
    "belongs": lambda m, z, w: m._space.belongs(z),
    "to_tangent": lambda m, z, w: m._space.to_tangent(z, w),
    "is_tangent": lambda m, z, w: m._space.is_tangent(z, w),
    "regularize": lambda m, z, w: m._space.regularize(z),
    "AdaptiveExpSolver": lambda m, z, w: AdaptiveExpSolver(m._space).exp(z, w),
    "CollocationLogSolver": lambda m, z, w: CollocationLogSolver(m._space).log(z, w),
}


@pytest.fixture(scope="module")
def expected(space):
    """Results on plain tensors of which each half-precision type has every digit."""
    z = CODES.bfloat16().half().double()
    return z, {name: call(space.metric, z, z.flip(0) / 2.0) for name, call in CALLS.items()}


@pytest.mark.parametrize("kind", KINDS)
def test_any_tensor_comes_in(space, expected, kind):
    z, results = expected
    for name, call in CALLS.items():
        given = KINDS[kind](z), KINDS[kind](z.flip(0) / 2.0)
        found = call(space.metric, *given)
        numbers = host(results[name])
        if not spaces.ON_TORCH:
            assert isinstance(found, np.ndarray | np.generic), name
            np.testing.assert_allclose(found, numbers, rtol=1e-9, atol=1e-12, err_msg=name)
            continue
        half = isinstance(found, torch.Tensor) and found.dtype in HALVES
        tolerance = {"rtol": 1e-2, "atol": 1e-3} if half else {"rtol": 1e-5, "atol": 1e-6}
        np.testing.assert_allclose(host(found.double()), numbers, **tolerance, err_msg=name)


@pytest.mark.skipif(not spaces.ON_TORCH, reason="results of numpy are float64")
def test_half_precision_goes_out_as_it_came_in(space):
    metric = space.metric
    for dtype in HALVES:
        z = CODES.to(dtype)
        for name in ("dist", "log", "exp", "norm"):
            assert getattr(metric, name)(z, z.flip(0)).dtype == dtype
        assert metric.metric_matrix(z).dtype == metric.geodesic(z, z[0])(0.5).dtype == dtype
        path = metric.solve_geodesic(z, z[0])
        assert path.points.dtype == path(0.5).dtype == torch.float32
    mixed = metric.dist(CODES.half(), CODES.bfloat16())
    assert mixed.dtype == torch.float32


def test_ragged_lists_are_refused(space):
    ragged = [torch.zeros(2), torch.zeros(3)]
    for points in (ragged, [[0.0, 1.0], [0.0]]):
        with pytest.raises(ValueError, match="Expected points as an array or lists of equal"):
            space.metric.metric_matrix(points)


def test_vectors_that_are_nan_have_nan_norms(space):
    vector = np.array([[np.nan, 0.0], [1.0, 0.0]])
    vector = spaces.array(vector)
    for name in ("norm", "squared_norm", "normalize"):
        found = host(getattr(space.metric, name)(vector, spaces.array([0.1, 0.2])))
        assert np.isnan(found[0]).any()
        assert np.isfinite(found[1]).all()


def test_norms_agree_with_the_metric_matrix(space):
    z, v = spaces.array(draw(4, 2)), spaces.array(draw(3, 1, 2, seed=1))
    matrix, vectors = host(space.metric.metric_matrix(z)), np.broadcast_to(host(v), (3, 4, 2))
    squares = np.einsum("...i,...ij,...j", vectors, matrix, vectors)
    np.testing.assert_allclose(host(space.metric.squared_norm(v, z)), squares, rtol=1e-12)
    np.testing.assert_allclose(host(space.metric.norm(v, z)), np.sqrt(squares), rtol=1e-12)
    unit = space.metric.normalize(v, z)
    np.testing.assert_allclose(host(space.metric.norm(unit, z)), 1.0, rtol=1e-12)
    np.testing.assert_array_equal(host(space.metric.normalize(0.0 * v, z)), 0.0)
