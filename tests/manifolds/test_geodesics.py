"""Distances, logarithms, exponentials and paths against closed forms and identities."""

import copy

import numpy as np
import pytest
import torch

from geomstats_vae.geodesics.flow.exponential import ExponentialSolver
from geomstats_vae.geodesics.solver import GeodesicSolver
from geomstats_vae.geodesics.status import (
    GeodesicConvergenceError,
    GeodesicConvergenceWarning,
    GeodesicStatus,
)
from geomstats_vae.manifolds import LatentSpace
from tests import surfaces
from tests.manifolds import spaces
from tests.manifolds.spaces import array, draw, host


@pytest.fixture(scope="module")
def vae_space():
    return LatentSpace(spaces.vae_like_decoder(), 2, on_failure="raise", **spaces.TIGHT)


@pytest.mark.parametrize("name", spaces.EXACT)
def test_distances_of_closed_forms(name):
    space, start, end, expected = spaces.exact_space(name)
    np.testing.assert_allclose(host(space.metric.dist(start, end)), expected, rtol=1e-6)
    np.testing.assert_allclose(host(space.metric.squared_dist(start, end)), expected**2, rtol=1e-6)


@pytest.mark.parametrize("name", spaces.EXACT)
def test_exp_inverts_log(name):
    space, start, end, expected = spaces.exact_space(name)
    log = space.metric.log(end, start)
    np.testing.assert_allclose(host(space.metric.exp(log, start)), host(end), atol=1e-6)
    np.testing.assert_allclose(host(space.metric.norm(log, start)), expected, rtol=1e-6)


@pytest.mark.parametrize("name", ["swiss_roll", "sphere", "hyperbolic"])
def test_paths_have_constant_speed(name):
    space, start, end, expected = spaces.exact_space(name)
    path = space.metric.geodesic(start, end_point=end)
    points = torch.from_numpy(host(path(np.linspace(0.0, 1.0, 201))))
    images = spaces.EXACT[name][0](points.reshape(-1, 2)).reshape(len(points), 201, -1)
    speed = 200 * torch.diff(images, dim=1).norm(dim=-1).numpy()
    np.testing.assert_allclose(speed, np.repeat(expected[:, None], 200, axis=1), rtol=1e-4)


def test_identities_on_a_vae_like_space(vae_space):
    metric = vae_space.metric
    start, end = array(draw(3, 2, scale=0.7)), array(draw(3, 2, scale=0.7, seed=1))
    dist = host(metric.dist(start, end))
    np.testing.assert_allclose(host(metric.dist(end, start)), dist, rtol=1e-6)
    log = metric.log(end, start)
    np.testing.assert_allclose(host(metric.norm(log, start)), dist, rtol=1e-6)
    np.testing.assert_allclose(host(metric.exp(log, start)), host(end), atol=1e-6)
    forward = host(metric.geodesic(start, end)(array([0.25])))
    backward = host(metric.geodesic(end, start)(array([0.75])))
    np.testing.assert_allclose(forward, backward, atol=1e-5)
    shot = host(metric.geodesic(start, initial_tangent_vec=log)(array([0.25])))
    np.testing.assert_allclose(forward, shot, atol=1e-5)


def test_affine_change_of_latent_coordinates(vae_space):
    matrix = torch.tensor([[1.2, 0.4], [-0.3, 0.8]], dtype=torch.float64)
    shift = torch.tensor([0.3, -0.2], dtype=torch.float64)
    decoder = spaces.vae_like_decoder()
    changed = LatentSpace(lambda w: decoder(w @ matrix.T + shift), 2, **spaces.TIGHT).metric
    start, end = draw(2, 2, 2, scale=0.5)

    def old(w):
        return array(w @ matrix.numpy().T + shift.numpy())

    dist = vae_space.metric.dist(old(start), old(end))
    np.testing.assert_allclose(host(changed.dist(array(start), array(end))), host(dist), rtol=1e-6)
    log = host(changed.log(array(end), array(start)))
    expected = host(vae_space.metric.log(old(end), old(start)))
    np.testing.assert_allclose(log @ matrix.numpy().T, expected, atol=1e-5)
    density = host(changed.volume_density(array(start)))
    expected = np.linalg.det(matrix.numpy()) * host(vae_space.metric.volume_density(old(start)))
    np.testing.assert_allclose(density, expected, rtol=1e-10)


def test_pairwise_is_every_distance(vae_space):
    points = array(draw(4, 2, scale=0.6))
    matrix = host(vae_space.metric.dist_pairwise(points))
    singles = host(vae_space.metric.dist(points[:, None], points))
    np.testing.assert_array_equal(matrix, matrix.T)
    np.testing.assert_array_equal(np.diag(matrix), 0.0)
    np.testing.assert_allclose(matrix, singles, rtol=1e-6)
    threads = vae_space.metric.dist_pairwise(points, n_jobs=2, prefer="threads")
    np.testing.assert_allclose(host(threads), matrix, rtol=1e-12)


def test_nearest_neighbors_and_broadcast(vae_space):
    metric, points, others = vae_space.metric, array(draw(4, 2)), array(draw(3, 2, seed=1))
    table = host(metric.dist_broadcast(points, others))
    assert table.shape == (4, 3)
    np.testing.assert_allclose(table[2], host(metric.dist(points[2], others)), rtol=1e-12)
    assert metric.dist_broadcast(points, points).shape == (4,)
    assert metric.dist_broadcast(points, others[:1]).shape == (4,)
    closest = host(metric.closest_neighbor_index(points, others))
    np.testing.assert_array_equal(closest, table.argmin(axis=1))
    assert host(metric.closest_neighbor_index(points[1], others)) == closest[1]
    assert metric.closest_neighbor_index(points[:1], others).shape == (1,)


def test_solve_geodesic_keeps_the_batch_and_the_backend(vae_space):
    start, end = array(draw(2, 1, 2, scale=0.5)), array(draw(3, 2, scale=0.5, seed=1))
    path = vae_space.metric.solve_geodesic(start, end)
    assert isinstance(path.points, type(start))
    assert path.length.shape == path.status.shape == path.converged.shape == (2, 3)
    assert path.points.shape[:2] == (2, 3)
    assert path.initial_velocity.shape == (2, 3, 2)
    assert host(path.converged).dtype == bool
    assert host(path.converged).all()
    middle = path(array([0.0, 1.0]))
    assert isinstance(middle, type(start))
    ends = np.broadcast_arrays(host(start), host(end))
    np.testing.assert_allclose(host(middle), np.stack(ends, axis=-2), atol=1e-12)
    single = vae_space.metric.solve_geodesic(start[0, 0], end[1])
    np.testing.assert_allclose(host(single.length), host(path.length)[0, 1], rtol=1e-6)


def test_coincident_points(vae_space):
    z = array(draw(3, 2))
    np.testing.assert_array_equal(host(vae_space.metric.dist(z, z)), 0.0)
    np.testing.assert_array_equal(host(vae_space.metric.log(z, z)), 0.0)
    np.testing.assert_array_equal(host(vae_space.metric.exp(0.0 * z, z)), host(z))


def test_scaled_metric_scales_lengths_and_volumes():
    space, start, end, expected = spaces.exact_space("sphere", 2)
    base, scaled = space.metric, 4.0 * space.metric
    np.testing.assert_allclose(host(scaled.dist(start, end)), 2 * expected, rtol=1e-6)
    np.testing.assert_allclose(host(scaled.squared_dist(start, end)), 4 * expected**2, rtol=1e-6)
    path = scaled.solve_geodesic(start, end)
    np.testing.assert_allclose(host(path.length), 2 * expected, rtol=1e-6)
    np.testing.assert_allclose(host(path.energy), 2 * expected**2, rtol=1e-6)
    log = base.log(end, start)
    np.testing.assert_allclose(host(scaled.log(end, start)), host(log))
    np.testing.assert_allclose(host(scaled.norm(log, start)), 2 * expected, rtol=1e-6)
    density = host(scaled.volume_density(start)) / host(base.volume_density(start))
    np.testing.assert_allclose(density, 4.0)
    space.equip_with_metric(scaled)
    again = 4.0 * space.metric
    np.testing.assert_allclose(
        host(again.volume_density(start)), 16 * host(base.volume_density(start))
    )
    # The space of a metric may be equipped with another by now.
    np.testing.assert_allclose(host((4.0 * base).dist(start, end)), 2 * expected, rtol=1e-6)
    with pytest.raises(ValueError, match="positive and finite factor"):
        _ = -1.0 * base


def unsatisfiable(on_failure):
    """A metric whose certificate asks for more than float64 can give."""
    options = {"solver": GeodesicSolver(rtol=1e-16), "on_failure": on_failure}
    return LatentSpace(spaces.vae_like_decoder(), 2, **options).metric


@pytest.mark.parametrize(
    "call",
    [
        lambda metric, a, b: metric.dist(a, b),
        lambda metric, a, b: metric.squared_dist(a, b),
        lambda metric, a, b: metric.log(a, b),
        lambda metric, a, b: metric.geodesic(a, b),
        lambda metric, a, b: metric.dist_pairwise(a),
        lambda metric, a, b: metric.dist_broadcast(a, b),
    ],
)
def test_failures_warn_once_raise_or_are_silent(call):
    a, b = array(2.0 * draw(4, 2)), array(-2.0 * draw(4, 2))
    with pytest.warns(
        GeodesicConvergenceWarning, match=r"\d of \d+ geodesics did not converge \(at index \d"
    ) as record:
        call(unsatisfiable("warn"), a, b)
    assert len(record) == 1
    assert record[0].filename == __file__
    with pytest.raises(GeodesicConvergenceError, match="did not converge"):
        call(unsatisfiable("raise"), a, b)
    call(unsatisfiable("ignore"), a, b)


def test_solve_geodesic_reports_by_status_only():
    path = unsatisfiable("raise").solve_geodesic(array([2.0, 1.0]), array([-2.0, 1.0]))
    assert not path.converged
    assert path.status != GeodesicStatus.CONVERGED


def test_exp_that_meets_a_singular_metric_is_reported():
    def cusp(z):
        return torch.stack((z[:, 0] ** 2, z[:, 1]), dim=-1)

    metric = LatentSpace(cusp, 2, exponential=ExponentialSolver(max_steps=60)).metric
    with pytest.warns(GeodesicConvergenceWarning, match="1 of 2 exponentials"):
        metric.exp(array([[-1.5, 0.0], [1.0, 0.0]]), array([1.0, 0.0]))


def test_code_far_outside_the_data_is_answered_honestly():
    space = LatentSpace(spaces.vae_like_decoder(), 2, on_failure="ignore")
    path = space.metric.solve_geodesic(array([0.0, 0.0]), array([1e3, 1e3]))
    assert np.isfinite(host(path.length)) or path.status == GeodesicStatus.NON_FINITE


@pytest.mark.long
def test_global_start_takes_the_way_around_a_wall():
    """A bump of 20 in the way: the straight line climbs it, the graph's way goes around."""

    def bump(z):
        return torch.cat((z, 20.0 * torch.exp(-8.0 * (z * z).sum(-1, keepdim=True))), dim=-1)

    a, b = array([-1.0, 0.01]), array([1.0, 0.01])
    codes = array(draw(200, 2))
    straight = LatentSpace(bump, 2, on_failure="ignore").metric.dist(a, b)
    around = LatentSpace(bump, 2, points=codes, on_failure="ignore").metric.dist(a, b)
    # Both sides of the bump are nearly as long; either may be found.
    assert 2.0 < host(around) < 3.0
    assert host(around) < 1.05 * host(straight)


def test_flat_surface_in_three_dimensions():
    def fold(z):
        return torch.cat((surfaces.cylinder(z[:, :2]), z[:, 2:].expand(-1, 3)), dim=1)

    start, end = draw(2, 3, 3, scale=0.5)
    metric = LatentSpace(fold, 3, on_failure="raise").metric
    expected = np.sqrt(((end - start) ** 2 * [1.0, 1.0, 3.0]).sum(-1))
    np.testing.assert_allclose(host(metric.dist(array(start), array(end))), expected, rtol=1e-4)


def test_logarithms_do_not_depend_on_those_before():
    points = draw(30, 2, scale=0.6)
    space = LatentSpace(spaces.vae_like_decoder(), 2, points=array(points), on_failure="raise")
    fresh = LatentSpace(spaces.vae_like_decoder(), 2, points=array(points), on_failure="raise")
    ends, base = array(points[:4]), points[9]
    for step in (0.0, 0.3, 1e-2, 1e-5):
        log = host(space.metric.log(ends, array(base + step)))
        alone = host(fresh.metric.log(ends, array(base + step)))
        fresh.metric.log(array(points[:2]), array(base))
        np.testing.assert_array_equal(log, alone)


def test_logarithms_start_from_the_last_ones_where_that_is_asked_for():
    points = draw(30, 2, scale=0.6)
    space = LatentSpace(spaces.vae_like_decoder(), 2, points=array(points), on_failure="raise")
    ends, base, own = array(points[:8]), points[9], space.metric.log_solver
    with space.metric.warm_start():
        for step in (0.0, 0.3, 1e-2, 1e-5):
            log = host(space.metric.log(ends, array(base + step)))
            alone = host(own.log(ends, array(base + step)))
            np.testing.assert_allclose(log, alone, atol=1e-6)
        guess = space.metric.log_solver.guess
        np.testing.assert_array_equal(host(space.metric.log(ends, array(base + step))), log)
        assert space.metric.log_solver.guess is guess  # the same question again
    assert space.metric.log_solver is own
    assert own.guess is None


def test_other_solvers_take_over_when_they_are_assigned():
    space, start, end, _ = spaces.exact_space("sphere")
    expected = host(space.metric.log(end, start))
    log_solver, exp_solver = space.metric.log_solver, space.metric.exp_solver
    assert log_solver.solves_bvp
    assert exp_solver.solves_ivp
    np.testing.assert_allclose(host(log_solver.log(end, start)), expected)

    class Halving:
        solves_bvp = False

        def log(self, point, base_point):
            return 0.5 * log_solver.log(point, base_point)

    space.metric.log_solver = Halving()
    halves = space.metric.log(end, start)
    np.testing.assert_allclose(host(halves), 0.5 * expected)
    middle = host(exp_solver.exp(halves, start))
    times = array([1.0])
    path = space.metric.geodesic(start, end_point=end)
    np.testing.assert_allclose(host(path(times))[:, 0], middle, atol=1e-8)


def test_copies_of_a_metric_use_their_own_solvers():
    metric = LatentSpace(spaces.vae_like_decoder(), 2, **spaces.TIGHT).metric
    start, end = array(draw(4, 2)), array(draw(4, 2, seed=1))
    rough = copy.copy(metric)
    rough.solver = GeodesicSolver(tol=0.1)
    difference = host(rough.log(end, start)) - host(metric.log(end, start))
    assert 1e-10 < np.abs(difference).max() < 1e-1
