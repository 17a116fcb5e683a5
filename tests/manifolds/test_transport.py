"""Parallel transport: isometries, holonomy, and what it does to velocities of geodesics."""

import numpy as np
import pytest
import torch

from geomstats_vae.geodesics.flow.exponential import ExponentialSolver
from geomstats_vae.geodesics.status import GeodesicConvergenceError, GeodesicConvergenceWarning
from geomstats_vae.manifolds import LatentSpace
from tests import surfaces
from tests.manifolds import spaces
from tests.manifolds.spaces import array, draw, host


@pytest.fixture(scope="module")
def metric():
    return LatentSpace(spaces.vae_like_decoder(3), 3, on_failure="raise").metric


@pytest.fixture(scope="module")
def sphere():
    return LatentSpace(surfaces.sphere, 2, on_failure="raise").metric


def angle_and_area(corners):
    """Signed area of a spherical triangle (van Oosterom and Strackee, 1983, equation 8)."""
    a, b, c = surfaces.sphere(torch.tensor(corners)).numpy()
    return 2.0 * np.arctan2(np.linalg.det([a, b, c]), 1.0 + a @ b + b @ c + c @ a)


def test_holonomy_of_a_spherical_triangle_is_its_area(sphere):
    corners = np.array([[0.1, 0.2], [1.0, 0.1], [0.2, 0.9]])
    vector = carried = np.array([1.0, 0.3])
    for start, end in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        carried = host(sphere.parallel_transport(array(carried), array(start), None, array(end)))
    # The chart is conformal: angles are those of the plane, up to its orientation.
    turn = np.angle(complex(*carried) / complex(*vector))
    np.testing.assert_allclose(abs(turn), abs(angle_and_area(corners)), atol=1e-8)


@pytest.mark.parametrize("by", ["direction", "end_point"])
def test_inner_products_are_kept(metric, by):
    base, other, u, v = (array(draw(6, 3, scale=0.5, seed=seed)) for seed in range(4))
    end = metric.exp(other, base) if by == "direction" else other
    moved = [metric.parallel_transport(w, base, **{by: other}) for w in (u, v)]
    before = host(metric.inner_product(u, v, base))
    rtol = 1e-6 if by == "direction" else 1e-12  # `exp` ends elsewhere by its own tolerance
    np.testing.assert_allclose(host(metric.inner_product(*moved, end)), before, rtol=rtol)
    norms = [host(metric.norm(w, point)) for w, point in ((u, base), (moved[0], end))]
    np.testing.assert_allclose(norms[1], norms[0], rtol=1e-8)


def test_velocities_stay_velocities(metric):
    base, end = array(draw(5, 3, scale=0.6)), array(draw(5, 3, scale=0.6, seed=1))
    path = metric.solve_geodesic(base, end, polish=True)
    moved = metric.parallel_transport(path.initial_velocity, base, end_point=end)
    np.testing.assert_allclose(host(moved), host(path.final_velocity), rtol=1e-6, atol=1e-6)


def test_there_and_back_is_the_identity(metric):
    base, end, vector = (array(draw(4, 3, scale=0.5, seed=seed)) for seed in range(3))
    there = metric.parallel_transport(vector, base, end_point=end)
    back = metric.parallel_transport(there, end, end_point=base)
    np.testing.assert_allclose(host(back), host(vector), atol=1e-7)


def test_flat_transport_is_that_of_the_plane():
    metric = LatentSpace(surfaces.swiss_roll, 2).metric
    base, end = np.array([6.0, 0.2]), np.array([7.5, -0.4])
    moved = host(metric.parallel_transport(array([1.0, 0.5]), array(base), end_point=array(end)))
    # Arc length s unrolls the surface: ds = sqrt(1 + t^2) dt is constant, and so is dh.
    stretch = np.sqrt((1.0 + base[0] ** 2) / (1.0 + end[0] ** 2))
    np.testing.assert_allclose(moved, [stretch, 0.5], rtol=1e-8)


def test_shapes_broadcast(metric):
    base, vectors, end = array(draw(3)), array(draw(4, 3)), array(draw(3, seed=1, scale=0.5))
    each = [host(metric.parallel_transport(v, base, end_point=end)) for v in vectors]
    together = host(metric.parallel_transport(vectors, base, end_point=end))
    np.testing.assert_allclose(together, each, atol=1e-9)
    assert metric.parallel_transport(vectors[:0], base, end_point=end).shape == (0, 3)
    still = metric.parallel_transport(vectors, base, direction=0.0 * base)
    np.testing.assert_allclose(host(still), host(vectors), rtol=1e-12)


def test_scaling_the_metric_does_not_change_it():
    space = LatentSpace(surfaces.sphere, 2)
    base, end, vector = (array(draw(4, 2, scale=0.5, seed=seed)) for seed in range(3))
    expected = space.metric.parallel_transport(vector, base, end_point=end)
    moved = (4.0 * space.metric).parallel_transport(vector, base, end_point=end)
    np.testing.assert_allclose(host(moved), host(expected), atol=1e-12)


@pytest.mark.parametrize("ends", [{}, {"direction": 1, "end_point": 1}])
def test_a_direction_or_an_end_is_needed(metric, ends):
    point = array(draw(3))
    with pytest.raises(ValueError, match="either direction or end_point"):
        metric.parallel_transport(point, point, **dict.fromkeys(ends, point))


def test_failure_is_reported():
    space = LatentSpace(surfaces.sphere, 2, exponential=ExponentialSolver(max_steps=2))
    base, end = array(draw(2)), array(draw(2, seed=1))
    with pytest.warns(GeodesicConvergenceWarning, match="exponentials did not converge"):
        space.metric.parallel_transport(base, base, direction=end)
    space.metric.on_failure = "raise"
    with pytest.raises(GeodesicConvergenceError, match="MAX_STEPS"):
        space.metric.parallel_transport(base, base, end_point=end)
