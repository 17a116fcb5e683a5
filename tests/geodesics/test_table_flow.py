"""Geodesics and Jacobi fields on tables, against closed forms and the decoder's own."""

import numpy as np
import pytest
import torch

from geomstats_vae.geodesics.flow.exponential import ExponentialSolver
from geomstats_vae.geodesics.table import MetricTable, TableOptions
from geomstats_vae.geodesics.table.exponential import PathState, TabulatedExponential
from geomstats_vae.geodesics.table.flow import FlowStatus, follow_paths
from geomstats_vae.geodesics.table.frames import frames_at
from tests import surfaces


def conformal(curvature):
    """Metric of constant curvature, 4 / (1 + K |z|^2)^2, in stereographic coordinates."""

    def metric(z):
        root = 1.0 + curvature * (z**2).sum(axis=1)
        factor = 4.0 / np.where(root == 0.0, np.nan, root) ** 2
        return factor[:, None, None] * np.eye(z.shape[1])

    return metric


def table_of(metric, dim, reach, **options):
    coarse = {"cells": {2: 24, 3: 18}[dim], "most_halvings": 0, "trusted": 1.0, **options}
    return MetricTable(
        metric, -reach * np.ones(dim), reach * np.ones(dim), options=TableOptions(**coarse)
    )


@pytest.fixture(scope="module", params=[(2, 1.0), (3, 1.0), (2, -1.0)], ids=str)
def model(request):
    dim, curvature = request.param
    reach = 1.4 if curvature > 0.0 else 0.8
    return dim, curvature, table_of(conformal(curvature), dim, reach)


def unit_rays(dim, curvature, n=30, spread=0.2):
    rng = np.random.default_rng(0)
    x, v = rng.uniform(-spread, spread, (n, dim)), rng.normal(size=(n, dim))
    metric = conformal(curvature)(x)
    return x, v / np.sqrt(np.einsum("ni,nij,nj->n", v, metric, v))[:, None]


def run(table, x, v, times, rtol=1e-9, max_steps=2000, fields=True):
    state = PathState.start(x, v)
    width = state.q.shape[1] if fields else table.dim
    q, p = (np.ascontiguousarray(part[:, :width]) for part in state)
    dense = np.full((2, len(x), len(times), width), np.nan)
    defect, (status, n_steps) = np.empty(len(x)), np.empty((2, len(x)), dtype=int)
    limits = rtol, rtol, 1e-14, max_steps
    follow_paths(table.tree, q, p, np.asarray(times), *limits, dense, defect, status, n_steps)
    return q, p, dense, status, n_steps


def distance(a, b, curvature):
    """Distances in stereographic coordinates; times 1 or i of those on the sphere."""
    square = ((a - b) ** 2).sum(axis=-1)
    scale = (1.0 + curvature * (a**2).sum(axis=-1)) * (1.0 + curvature * (b**2).sum(axis=-1))
    chord = np.sqrt(square / scale)
    return 2.0 * (np.arcsin(chord) if curvature > 0.0 else np.arcsinh(chord))


def test_rays_keep_their_speed_and_run_away_at_it(model):
    dim, curvature, table = model
    x, v = unit_rays(dim, curvature)
    times = np.array([0.3, 0.55, 1.0])
    q, p, dense, status, _ = run(table, x, v, times)
    assert (status == FlowStatus.DONE).all()
    np.testing.assert_array_equal(dense[:, :, -1], [q, p])
    for k, time in enumerate(times):
        point, velocity = dense[0, :, k, :dim], dense[1, :, k, :dim]
        np.testing.assert_allclose(distance(point, x, curvature), time, rtol=1e-5)
        square = np.einsum("ni,nij,nj->n", velocity, conformal(curvature)(point), velocity)
        np.testing.assert_allclose(square, 1.0, rtol=1e-5)


def test_volumes_along_rays_are_those_of_constant_curvature(model):
    dim, curvature, table = model
    x, v = unit_rays(dim, curvature)
    times = np.array([0.4, 0.7, 1.0])
    dense = run(table, x, v, times)[2]
    points = dense[0, :, :, :dim]
    jacobian = dense[0, :, :, dim : dim + dim * dim].reshape(len(x), 3, dim, dim)
    change = np.linalg.det(jacobian / times[:, None, None])
    before = np.linalg.det(conformal(curvature)(x))[:, None]
    after = np.linalg.det(conformal(curvature)(points.reshape(-1, dim))).reshape(len(x), 3)
    ratio = np.sin(times) / times if curvature > 0.0 else np.sinh(times) / times
    expected = np.broadcast_to(ratio ** (dim - 1), (len(x), 3))
    np.testing.assert_allclose(change * np.sqrt(after / before), expected, rtol=2e-4)


def test_fields_are_derivatives_of_ends(model):
    dim, curvature, table = model
    x, v = unit_rays(dim, curvature, n=5)
    q, p, *_ = run(table, x, v, [1.0])
    eps, basis = 1e-5, np.eye(dim)
    for k in range(dim):
        for block, (dx, dv) in enumerate(((0.0, eps), (eps, 0.0))):
            ahead = run(table, x + dx * basis[k], v + dv * basis[k], [1.0], fields=False)
            behind = run(table, x - dx * basis[k], v - dv * basis[k], [1.0], fields=False)
            begin = dim + block * dim * dim + k * dim
            for mine, one, other in ((q, ahead[0], behind[0]), (p, ahead[1], behind[1])):
                slope = (one - other) / (2.0 * eps)
                np.testing.assert_allclose(
                    mine[:, begin : begin + dim], slope, rtol=1e-3, atol=1e-3
                )


def test_errors_fall_with_the_tolerance_and_steps_grow_as_for_order_five():
    table = table_of(conformal(1.0), 2, 1.4)
    x, v = unit_rays(2, 1.0)
    exact = run(table, x, v, [1.0], rtol=1e-12, fields=False)[0]
    errors, steps = [], []
    for rtol in (1e-4, 1e-6, 1e-8):
        q, _, _, _, n_steps = run(table, x, v, [1.0], rtol=rtol, fields=False)
        errors.append(np.abs(q - exact).max())
        steps.append(n_steps.mean())
    assert errors[1] < 0.05 * errors[0]
    assert errors[2] < 0.05 * errors[1]
    assert errors[2] < 1e-7
    assert steps[2] < 10 ** (4 / 5) * 1.5 * steps[0]


def test_statuses():
    table = table_of(conformal(1.0), 2, 1.0)
    x = np.array([[0.0, 0.0], [0.0, 0.0], [2.0, 0.0], [0.0, 0.0], [0.1, 0.1]])
    v = np.array([[0.2, 0.1], [3.0, 0.0], [0.1, 0.0], [np.nan, 0.0], [0.0, 0.0]])
    q, _, _, status, _ = run(table, x, v, [1.0], fields=False)
    expected = ["DONE", "UNKNOWN", "UNKNOWN", "NOT_FINITE", "DONE"]
    assert [FlowStatus(code).name for code in status] == expected
    np.testing.assert_array_equal(q[4], x[4])
    assert run(table, x[:1], v[:1], [1.0], max_steps=2)[3] == FlowStatus.OUT_OF_STEPS
    alone = run(table, x[:1], v[:1], [1.0], fields=False)[0]
    np.testing.assert_array_equal(alone, q[:1])


@pytest.fixture(scope="module")
def torus():
    immersion = surfaces.immersion_of(surfaces.torus)

    def metric(z):
        with torch.no_grad():
            return immersion.metric(torch.from_numpy(z)).numpy()

    # So coarse that paths by it are off in the fourth digit.
    return immersion, table_of(metric, 2, 3.5, cells=4, blocks={2: 2})


def test_certified_paths_are_as_exact_as_asked_for(torus):
    immersion, table = torus
    rng = np.random.default_rng(0)
    x, v = rng.uniform(-2.0, 2.0, (300, 2)), rng.normal(size=(300, 2))
    exact = ExponentialSolver(rtol=1e-11).solve(immersion, *map(torch.from_numpy, (x, v)))
    point, velocity = exact.point.numpy(), exact.velocity.numpy()
    metric = immersion.metric(exact.point).numpy()
    length = np.sqrt(np.einsum("ni,nij,nj->n", velocity, metric, velocity))
    shares = []
    for rtol in (1e-2, 1e-3, 1e-4):
        flow = TabulatedExponential(table, immersion, rtol)
        stretch = flow.advance(PathState.start(x, v), np.ones(1))
        off = stretch.q[:, 0, :2] - point
        error = np.sqrt(np.einsum("ni,nij,nj->n", off, metric, off)) / length
        good = stretch.good
        assert (error[good] <= rtol).all()
        shares.append(good.mean())
    # The table is not good enough for all of them, and not bad enough for none.
    assert shares[0] > 0.5
    assert shares[2] < shares[1] < shares[0]


def test_paths_out_of_the_table_are_not_certified(torus):
    immersion, table = torus
    x, v = (
        np.array([[3.0, 0.0], [9.0, 0.0], [0.0, 0.0]]),
        np.array([[2.0, 0.0], [0.1, 0.0], [0.0, 0.0]]),
    )
    stretch = TabulatedExponential(table, immersion, 1e-2).advance(
        PathState.start(x, v), np.ones(1)
    )
    assert stretch.good.tolist() == [False, False, True]
    np.testing.assert_array_equal(stretch.q[2, 0, :2], x[2])


def test_frames_are_orthonormal_and_drift_is_that_of_brownian_motion(model):
    dim, curvature, table = model
    z = np.concatenate((unit_rays(dim, curvature)[0], 9.0 * np.ones((1, dim))))
    n = len(z)
    factor, root, drift = np.empty((n, dim, dim)), np.empty((n, dim, dim)), np.empty((n, dim))
    roughness, known = np.empty(n), np.empty(n, dtype=bool)
    frames_at(table.tree, z, factor, root, drift, roughness, known)
    assert known.tolist() == [True] * (n - 1) + [False]
    z, factor, root = z[:-1], factor[:-1], root[:-1]
    metric = conformal(curvature)(z)
    np.testing.assert_allclose(factor @ factor.swapaxes(1, 2), metric, rtol=1e-5, atol=1e-5)
    eye = np.broadcast_to(np.eye(dim), metric.shape)
    np.testing.assert_allclose(root.swapaxes(1, 2) @ metric @ root, eye, atol=1e-5)
    # For M = f^2 the Laplacian is f^-2 (sum_i d_i^2 + (dim - 2) d_i log f d_i).
    square = metric[:, 0, 0]
    slope = -2.0 * curvature * z / (1.0 + curvature * (z**2).sum(axis=1))[:, None]
    np.testing.assert_allclose(
        drift[:-1], 0.5 * (dim - 2) * slope / square[:, None], rtol=1e-3, atol=1e-4
    )
    # In the frame Gamma^c_ab is (d_a log f) / f where c = b, and so on: in all 3 dim - 2 squares.
    expected = (3 * dim - 2) * (slope**2).sum(axis=1) / square
    np.testing.assert_allclose(roughness[:-1], expected, rtol=1e-3, atol=1e-6)
