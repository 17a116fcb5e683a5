"""Evaluation of paths between their nodes."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from geomstats_vae.geodesics import GeodesicPath, GeodesicStatus
from geomstats_vae.geodesics.curves.path import SolvedCurves, join_paths
from geomstats_vae.geodesics.curves.reference import reference_element
from geomstats_vae.geodesics.flow.exponential import ExponentialStatus
from geomstats_vae.sampling import WalkStatus


def _path(points, times, degree):
    one = np.ones(1)
    return GeodesicPath(
        points=points[None],
        times=times[None],
        length=one,
        energy=0.5 * one,
        initial_velocity=np.zeros((1, points.shape[1])),
        final_velocity=np.zeros((1, points.shape[1])),
        converged=one.astype(bool),
        status=np.array([int(GeodesicStatus.CONVERGED)]),
        residual=0.0 * one,
        length_error=0.0 * one,
        n_iter=one.astype(int),
        width=0.0 * one,
        degree=degree,
    )


def _nodes(degree=8):
    return 0.5 * (reference_element(degree).nodes + 1.0)


def _smooth_path(bend=1.0):
    where = _nodes()
    points = np.stack((where, bend * where**2), axis=1)
    return _path(points, 0.3 * where + 0.7 * where**3, 8)


def _hard_path():
    where = _nodes()
    points = np.stack((where, 2.0 * where), axis=1)
    return _path(points, where**9 / (where**9 + (1.0 - where) ** 9), 8)


def _batch():
    """Two curves, of which one is filled up by nodes at its end."""
    long = np.concatenate((0.5 * _nodes(), 0.5 + 0.5 * _nodes()[1:]))
    halves = _path(np.stack((long, np.sin(long)), axis=1), long, 8)
    paths = [replace(path, curves=_curves(path)) for path in (_smooth_path(), halves)]
    return replace(join_paths(paths), curves=None)


def _curves(path):
    zero = np.zeros(1)
    return SolvedCurves(
        path.points[:, 0], path.points[:, -1], [None], path.length, zero, zero, zero, zero, zero
    )


def _tensors(path):
    return path.map(torch.as_tensor)


def test_points_stay_in_order_where_the_times_of_an_element_are_hard_to_interpolate():
    degree = 8
    where = 0.5 * (reference_element(degree).nodes + 1.0)
    times = where**9 / (where**9 + (1.0 - where) ** 9)  # nearly a step: the interpolant overshoots
    points = np.stack((where, 2.0 * where), axis=1)
    found = _path(points, times, degree)(np.linspace(0.0, 1.0, 2001))[0]
    assert (np.diff(found[:, 0]) >= 0.0).all()
    np.testing.assert_allclose(found[:, 1], 2.0 * found[:, 0], atol=1e-12)
    np.testing.assert_allclose(found[[0, -1], 0], [0.0, 1.0], atol=1e-12)


def test_times_that_a_polynomial_follows_are_inverted_to_rounding():
    degree = 8
    where = 0.5 * (reference_element(degree).nodes + 1.0)
    points = np.stack((where, where**2), axis=1)
    t = np.linspace(0.0, 1.0, 101)
    found = _path(points, 0.3 * where + 0.7 * where**3, degree)(t)[0, :, 0]
    np.testing.assert_allclose(0.3 * found + 0.7 * found**3, t, atol=1e-13)


def test_curves_have_times_of_their_own():
    path = _batch()
    t = np.array([[0.0, 0.3, 1.0], [0.1, 0.7, 0.2]])
    for function in (path, path.velocity):
        found = function(t)
        assert found.shape == (2, 3, 2)
        for k in range(2):
            np.testing.assert_array_equal(found[k], function(t[k])[k])
        np.testing.assert_array_equal(function(t[:1])[1], function(t[0])[1])
        assert function(0.5).shape == (2, 1, 2)


def test_times_that_do_not_suit_are_refused():
    path = _batch()
    for t in (np.zeros((3, 4)), np.zeros((1, 2, 4))):
        with pytest.raises(ValueError, match=r"\[n_times\] or \[2, n_times\], got \["):
            path(t)
    with pytest.raises(ValueError, match="finite times"):
        path.velocity([0.0, np.nan])


@pytest.mark.parametrize("make", [_smooth_path, _batch])
def test_velocities_are_derivatives_of_points(make):
    path, h = make(), 1e-6
    t = np.linspace(0.013, 0.987, 57)  # between the nodes, where times may be linear
    difference = (path(t + h) - path(t - h)) / (2.0 * h)
    speed = np.abs(difference).max()
    np.testing.assert_allclose(path.velocity(t), difference, atol=1e-7 * speed)
    for end, step in ((0.0, 1e-9), (1.0, -1e-9)):
        difference = (path(end + step) - path(end)) / step
        np.testing.assert_allclose(path.velocity(end), difference, atol=1e-6 * speed)


def test_velocities_where_times_are_linear():
    path, h = _hard_path(), 1e-7
    t = np.linspace(0.013, 0.987, 57)
    difference = (path(t + h) - path(t - h)) / (2.0 * h)
    np.testing.assert_allclose(path.velocity(t), difference, rtol=1e-6, atol=1e-6)


def test_curves_rest_before_and_after():
    path = _batch()
    np.testing.assert_array_equal(path([-0.5, 1.5]), path([0.0, 1.0]))
    np.testing.assert_array_equal(path.velocity([-0.5, 1.5]), 0.0)
    after = path.velocity(1.0 + 1e-12)  # a sum of steps misses the end by rounding
    np.testing.assert_allclose(after, path.velocity(1.0), rtol=1e-9)


def test_a_curve_of_one_point_has_no_velocity():
    path = _path(np.ones((9, 2)), _nodes(), 8)
    np.testing.assert_allclose(path.velocity([0.0, 0.4, 1.0]), 0.0, atol=1e-12)


def test_tensors_are_differentiable_in_the_times():
    path = _tensors(_batch())
    t = torch.tensor([[0.1, 0.8], [0.3, 0.7]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(path, [t])
    assert torch.autograd.gradcheck(path.velocity, [t])
    assert torch.autograd.gradgradcheck(path, [t])
    points = path(t)
    for k in range(2):
        (slope,) = torch.autograd.grad(points[..., k].sum(), t, retain_graph=True)
        torch.testing.assert_close(slope, path.velocity(t)[..., k].detach())
    same = t[0].detach().requires_grad_()
    (slope,) = torch.autograd.grad(path(same).sum(), same)
    torch.testing.assert_close(slope, path.velocity(same).detach().sum(dim=(0, 2)))
    with torch.no_grad():
        assert not path(t).requires_grad
    assert not path(t.detach()).requires_grad


def test_more_than_two_derivatives_are_refused():
    path = _tensors(_smooth_path())
    t = torch.tensor([0.4], dtype=torch.float64, requires_grad=True)
    (second,) = torch.autograd.grad(path.velocity(t).sum(), t, create_graph=True)
    with pytest.raises(RuntimeError, match="at most 2 derivatives"):
        torch.autograd.grad(second, t)


def test_times_in_any_type():
    path = _tensors(_smooth_path())
    expected = path(torch.tensor([0.5, 0.25]))
    for dtype in (torch.float16, torch.bfloat16, torch.float32):
        t = torch.tensor([0.5, 0.25], dtype=dtype, requires_grad=True)
        assert torch.equal(path(t).detach(), expected)
        (slope,) = torch.autograd.grad(path(t).sum(), t)
        assert slope.dtype == dtype
    with torch.inference_mode():
        t = torch.tensor([0.5, 0.25])
        assert torch.equal(path(t), expected)
    assert torch.equal(path(t), expected)


@pytest.mark.parametrize("convert", [lambda path: path, _tensors])
def test_pairs_of_a_path(convert):
    path = convert(_batch())
    assert len(path) == 2
    for k, single in enumerate(path):
        assert single.length.shape == ()
        np.testing.assert_array_equal(single([0.2, 0.9]), path([0.2, 0.9])[k])
    chosen = path[path.points[:, -1, 1] < 1.0]  # the second alone
    np.testing.assert_array_equal(chosen.points, path.points[1:])
    assert path[:0].points.shape == (0, 17, 2)
    assert path.reshape((2, 1))[:, 0].points.shape == path.points.shape
    with pytest.raises(IndexError):
        path[2]
    with pytest.raises(IndexError):
        path[0, 0]  # nodes are no pairs
    with pytest.raises(TypeError, match="a single one"):
        len(path[0])


def test_taken_pairs_keep_their_guess():
    path = _smooth_path()
    path = replace(path, curves=_curves(path))
    assert len(path[:1].curves) == len(path[0].curves) == 1
    assert len(path[[]].curves) == 0


def test_statuses_print_their_names():
    for kind in (GeodesicStatus, ExponentialStatus, WalkStatus):
        for status in kind:
            assert str(status) == f"{status}" == status.name
            assert f"{status:>30}" == status.name.rjust(30)
            assert int(status) == status == status.value
            assert kind(int(status)) is status
