"""Geodesics as functions of time: velocities, times of their own, pickles."""

import pickle

import joblib
import numpy as np
import pytest
import torch

from geomstats_vae.geodesics import LatentGraph
from geomstats_vae.geometry.graphs import GraphOnDemand
from geomstats_vae.geometry.pairs import for_workers
from geomstats_vae.manifolds import AdaptiveExpSolver, CollocationLogSolver, LatentSpace
from tests.manifolds import spaces
from tests.manifolds.spaces import array, draw, host

START, END = draw(2, 3, 2, scale=0.5)
TIMES = np.array([[0.0, 0.4, 1.0], [0.2, 0.3, 0.9], [1.0, 0.0, 0.5]])


@pytest.fixture(scope="module")
def space():
    decoder = spaces.vae_like_decoder()
    return LatentSpace(decoder, 2, on_failure="raise", **spaces.TIGHT)


@pytest.fixture(scope="module", params=["between", "from"])
def geodesic(request, space):
    start, end = array(START), array(END)
    if request.param == "between":
        return space.metric.geodesic(start, end)
    return space.metric.geodesic(start, initial_tangent_vec=end)


def test_velocities_are_derivatives(geodesic):
    t, h = np.linspace(0.1, 0.9, 7), 1e-4
    difference = (host(geodesic(array(t + h))) - host(geodesic(array(t - h)))) / (2.0 * h)
    np.testing.assert_allclose(host(geodesic.velocity(array(t))), difference, atol=1e-5)


def test_speed_is_the_length(space):
    path = space.metric.solve_geodesic(array(START), array(END))
    t = array(np.linspace(0.0, 1.0, 9))
    speed = host(space.metric.norm(path.velocity(t), path(t)))
    np.testing.assert_allclose(speed, np.repeat(host(path.length)[:, None], 9, axis=1), rtol=1e-4)
    ends = host(path.velocity(array([0.0, 1.0])))
    given = np.stack((host(path.initial_velocity), host(path.final_velocity)), axis=1)
    np.testing.assert_allclose(ends, given, atol=2e-4)
    function = space.metric.geodesic(array(START), array(END))
    np.testing.assert_allclose(host(function.velocity(t)), host(path.velocity(t)), atol=1e-12)


def test_speed_from_a_velocity_stays(space):
    function = space.metric.geodesic(array(START), initial_tangent_vec=array(END))
    t = array([-0.5, 0.0, 0.7, 1.5])
    speed = host(space.metric.norm(function.velocity(t), function(t)))
    initial = host(space.metric.norm(array(END), array(START)))
    np.testing.assert_allclose(speed, np.repeat(initial[:, None], 4, axis=1), rtol=1e-7)
    np.testing.assert_allclose(host(function.velocity(0.0))[:, 0], END, rtol=1e-12)


def test_each_geodesic_has_times_of_its_own(geodesic):
    for function in (geodesic, geodesic.velocity):
        found = host(function(array(TIMES)))
        assert found.shape == (3, 3, 2)
        for k, t in enumerate(TIMES):
            np.testing.assert_allclose(found[k], host(function(array(t)))[k], atol=1e-8)
        with pytest.raises(ValueError, match=r"\[3, n_times\], got \[2, 3\]"):
            function(array(TIMES[:2]))
        with pytest.raises(ValueError, match="finite times"):
            function(array([np.nan]))


def test_batches_of_any_shape(space):
    start, end = array(draw(2, 1, 2, scale=0.3)), array(draw(2, 2, scale=0.3, seed=1))
    for function in (
        space.metric.geodesic(start, end),
        space.metric.geodesic(start, initial_tangent_vec=end),
        space.metric.solve_geodesic(start, end),
    ):
        for t in (array([0.1, 0.2, 0.3]), array(np.full((2, 2, 3), 0.2))):
            assert function(t).shape == function.velocity(t).shape == (2, 2, 3, 2)
    single = space.metric.geodesic(start[0, 0], end[0])
    assert single([0.0, 1.0]).shape == single.velocity([0.0, 1.0]).shape == (2, 2)


@pytest.mark.skipif(not spaces.ON_TORCH, reason="numpy arrays have no derivatives")
def test_points_are_differentiable_in_the_times(geodesic):
    t = torch.from_numpy(TIMES).requires_grad_()
    slope = [torch.autograd.grad(geodesic(t)[..., k].sum(), t)[0] for k in range(2)]
    torch.testing.assert_close(torch.stack(slope, dim=-1), geodesic.velocity(t).detach())
    same = torch.tensor([0.2, 0.7], dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(geodesic(same).sum(), same)
    torch.testing.assert_close(slope, geodesic.velocity(same).detach().sum(dim=(0, 2)))
    assert not geodesic(t.detach()).requires_grad


def test_geodesics_can_be_pickled(geodesic):
    t = array([0.0, 0.3, 1.0])
    again = pickle.loads(pickle.dumps(geodesic))
    np.testing.assert_array_equal(host(again(t)), host(geodesic(t)))
    np.testing.assert_array_equal(host(again.velocity(t)), host(geodesic.velocity(t)))


def test_geodesics_of_any_metric_can_be_pickled(space):
    t, start, end = array([0.0, 0.3, 1.0]), array(START), array(END)
    for function in (
        AdaptiveExpSolver(space).geodesic_ivp(end, start),
        CollocationLogSolver(space).geodesic_bvp(end, start),
        CollocationLogSolver(space).solve_geodesic(start, end).path,
    ):
        again = pickle.loads(pickle.dumps(function))
        np.testing.assert_array_equal(host(again(t)), host(function(t)))


@pytest.fixture(scope="module")
def known():
    """A space with codes, and so with a graph."""
    return LatentSpace(spaces.network(), 2, points=array(draw(30, 2)))


@pytest.mark.long
def test_spaces_are_pickled_without_their_graph(known):
    fresh = LatentSpace(spaces.network(), 2, points=array(draw(30, 2)))
    before = len(pickle.dumps(fresh))
    lengths = host(known.metric.dist(array(START), array(END)))
    graph = known.metric.build_graph()
    for part in (known, known.metric, 2.0 * known.metric):
        pickled = pickle.dumps(part)
        assert len(pickled) < 1.1 * before
        assert len(pickled) < 0.1 * len(pickle.dumps(graph))
    again = pickle.loads(pickle.dumps(known))
    assert not again.metric.geometry.graph.built
    np.testing.assert_array_equal(host(again.metric.dist(array(START), array(END))), lengths)
    function = known.metric.geodesic(array(START), array(END))
    assert len(pickle.dumps(function)) < before


def test_a_graph_that_was_given_is_pickled_along(known):
    graph = known.metric.build_graph()
    space = LatentSpace(spaces.network(), 2, points=array(draw(30, 2)), graph=graph)
    again = pickle.loads(pickle.dumps(space)).metric.build_graph()
    np.testing.assert_array_equal(again.codes, graph.codes)


def test_workers_get_the_graph(known):
    here, there = (
        pickle.loads(pickle.dumps(for_workers(known.metric.geometry.working(n_jobs=n), 10)))
        for n in (1, 2)
    )
    assert isinstance(here.graph, GraphOnDemand)
    assert isinstance(there.graph, LatentGraph)


@pytest.mark.long
def test_digits_are_pickled_without_their_graph(packaged_vae):
    space, z = packaged_vae.latent_space_, packaged_vae.codes_
    space.metric.dist(array(z[:2]), array(z[2:4]))
    assert space.metric.geometry.graph.built
    assert len(pickle.dumps(space)) < 1e6


@pytest.mark.long
def test_geodesics_go_to_other_processes(geodesic):
    t = array([0.0, 0.3, 1.0])
    calls = [joblib.delayed(geodesic)(t), joblib.delayed(geodesic.velocity)(t)]
    points, velocities = joblib.Parallel(n_jobs=2, backend="loky")(calls)
    np.testing.assert_allclose(host(points), host(geodesic(t)), atol=1e-12)
    np.testing.assert_allclose(host(velocities), host(geodesic.velocity(t)), atol=1e-12)
