"""Collocation of the geodesic equation against closed forms, its order and its failures."""

import math

import numpy as np
import pytest
import torch

from geomstats_vae.geodesics.collocation import CollocationSolver, central_differences
from geomstats_vae.geodesics.collocation.mesh import curve_matrices, mesh_of
from geomstats_vae.geodesics.status import GeodesicStatus
from tests import surfaces


class Connection:
    """Symbols in closed form, NaN outside their domain."""

    def __init__(self, symbols, inside=lambda z: torch.ones_like(z[:, 0], dtype=torch.bool)):
        self.symbols, self.inside = symbols, inside

    def christoffels(self, z):
        return torch.where(self.inside(z)[:, None, None, None], self.symbols(z), torch.nan)

    def jacobian_christoffels(self, z, reach):
        return central_differences(self.christoffels, z, reach)


def conformal(gradient):
    """Symbols of exp(2 f) times the Euclidean metric, from the gradient of f."""

    def symbols(z):
        eye, slope = torch.eye(z.shape[1], dtype=z.dtype), gradient(z)
        first = torch.einsum("ki,nj->nkij", eye, slope)
        return first + first.transpose(2, 3) - torch.einsum("ij,nk->nkij", eye, slope)

    return symbols


def polar_symbols(z):
    radius, symbols = z[:, 0], z.new_zeros(len(z), 2, 2, 2)
    symbols[:, 0, 1, 1] = -radius
    symbols[:, 1, 0, 1] = symbols[:, 1, 1, 0] = 1.0 / radius
    return symbols


def half_plane_slope(z):
    return torch.stack((torch.zeros_like(z[:, 0]), -1.0 / z[:, 1]), dim=1)


SPHERE = Connection(conformal(lambda z: -2.0 * z / (1.0 + (z * z).sum(1, keepdim=True))))
HALF_PLANE = Connection(conformal(half_plane_slope), lambda z: z[:, 1] > 0.0)
POLAR = Connection(polar_symbols, lambda z: z[:, 0] > 0.0)
FLAT = Connection(lambda z: z.new_zeros(len(z), *(z.shape[1],) * 3))


def sphere_log(start, end):
    """By the great circle's direction in space, pulled back by the conformal differential."""
    x, y = surfaces.sphere(start), surfaces.sphere(end)
    towards = y - (x * y).sum(1, keepdim=True) * x
    unit = towards / towards.norm(dim=1, keepdim=True)
    basis = torch.eye(2, dtype=start.dtype)
    tangents = [surfaces.sphere_push(start, e.expand_as(start)) for e in basis]
    inner = torch.stack([(unit * tangent).sum(1) for tangent in tangents], dim=1)
    scale = tangents[0].square().sum(1, keepdim=True)
    return surfaces.sphere_distance(start, end)[:, None] * inner / scale


def half_plane_log(start, end):
    """Along circles with centre on the boundary; not for points above one another."""
    (x, y), (u, w) = start.unbind(1), end.unbind(1)
    distance = torch.acosh(1.0 + ((u - x) ** 2 + (w - y) ** 2) / (2.0 * y * w))
    centre = (u * u + w * w - x * x - y * y) / (2.0 * (u - x))
    tangent = torch.stack((y, centre - x), dim=1) * torch.sign(u - x)[:, None]
    return (distance * y)[:, None] * tangent / tangent.norm(dim=1, keepdim=True)


def polar_log(start, end):
    """Straight lines of the plane."""
    (r, angle), (s, other) = start.unbind(1), end.unbind(1)
    turn = other - angle
    return torch.stack((s * turn.cos() - r, s * turn.sin() / r), dim=1)


def draw(n, low, high, seed=0):
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.uniform(low, high, (2, n, len(low))))


EXACT = {
    "sphere": (SPHERE, sphere_log, draw(6, (-0.9, -0.9), (0.9, 0.9))),
    "half plane": (HALF_PLANE, half_plane_log, draw(6, (-1.0, 0.2), (1.0, 2.0))),
    "polar": (POLAR, polar_log, draw(6, (0.5, -1.0), (2.0, 1.0))),
}


@pytest.mark.parametrize("name", EXACT)
def test_velocities_are_exact_and_certified(name):
    connection, log, (start, end) = EXACT[name]
    result = CollocationSolver(tol=1e-8).solve(connection, start, end)
    assert result.converged.all()
    torch.testing.assert_close(result.initial_velocity, log(start, end), rtol=0, atol=1e-11)
    torch.testing.assert_close(result.final_velocity, -log(end, start), rtol=0, atol=1e-11)
    assert (result.error <= 1e-8).all()
    assert (result.residual <= 1e-8).all()


@pytest.mark.parametrize("n_nodes", [2, 3])
@pytest.mark.parametrize("name", EXACT)
def test_velocities_are_of_twice_the_order_of_the_nodes(name, n_nodes):
    connection, log, (start, end) = EXACT[name]
    sizes, errors = (8, 16, 32), []
    for n_elements in sizes:
        solver = CollocationSolver(tol=1e-13, n_nodes=n_nodes, max_elements=n_elements)
        result = solver.solve(connection, start, end)
        assert (result.n_elements == n_elements).all()
        errors.append((result.initial_velocity - log(start, end)).norm(dim=1).median())
    order = -np.polyfit(np.log(sizes), np.log(errors), 1)[0]
    assert 2 * n_nodes - 0.3 < order < 2 * n_nodes + 0.5


def test_more_nodes_converge_faster_than_any_order():
    connection, log, (start, end) = EXACT["sphere"]
    errors = []
    for n_nodes in (2, 4, 6):
        solver = CollocationSolver(tol=1e-13, n_nodes=n_nodes, max_elements=2)
        velocity = solver.solve(connection, start, end).initial_velocity
        errors.append((velocity - log(start, end)).norm(dim=1).max())
    assert errors[1] < errors[0] / 10
    assert errors[2] / errors[1] < errors[1] / errors[0]


def test_damped_steps_do_not_wander():
    start, end = draw(60, (-2.0, 0.2), (2.0, 2.0))
    result = CollocationSolver().solve(HALF_PLANE, start, end)
    assert result.converged.all()
    # Without the test of monotonicity some pairs take more than 40.
    assert result.n_iter.max() <= 25


def test_errors_are_at_most_their_estimates():
    connection, log, (start, end) = EXACT["half plane"]
    result = CollocationSolver(n_nodes=3, tol=1e-4).solve(connection, start, end)
    exact = log(start, end)
    error = (result.initial_velocity - exact).abs().amax(1) / exact.abs().amax(1)
    assert (error > 1e-12).any()
    assert (error <= result.error).all()


def test_paths_are_the_geodesics():
    start, end = EXACT["polar"][2]
    times = torch.linspace(0.0, 1.0, 11, dtype=torch.float64)
    points = CollocationSolver(tol=1e-9).solve(POLAR, start, end).path(times)
    plane = points[..., :1] * torch.stack((points[..., 1].cos(), points[..., 1].sin()), dim=-1)
    line = torch.lerp(plane[:, :1], plane[:, -1:], times[:, None])
    torch.testing.assert_close(plane, line, rtol=0, atol=1e-9)
    torch.testing.assert_close(points[:, 0], start, rtol=0, atol=0)
    torch.testing.assert_close(points[:, -1], end, rtol=0, atol=1e-15)
    with pytest.raises(ValueError, match=r"times in \[0, 1\]"):
        CollocationSolver().solve(POLAR, start, end).path(2.0 * times)


def test_pairs_do_not_depend_on_their_batch():
    start, end = (torch.cat(parts) for parts in zip(EXACT["polar"][2], UNREACHABLE, strict=True))
    solver = CollocationSolver(max_iter=30)
    together = solver.solve(POLAR, start, end)
    for k in (0, 5, 6):
        alone = solver.solve(POLAR, start[[k]], end[[k]])
        assert together.status[k] == alone.status[0]
        torch.testing.assert_close(
            together.initial_velocity[[k]],
            alone.initial_velocity,
            rtol=1e-12,
            atol=0,
            equal_nan=True,
        )


def test_nothing_and_coincident_points():
    start = draw(3, (0.5, 0.5), (1.0, 1.0))[0]
    result = CollocationSolver().solve(POLAR, start, start)
    assert result.converged.all()
    assert (result.initial_velocity == 0.0).all()
    none = CollocationSolver().solve(POLAR, start[:0], start[:0])
    assert none.initial_velocity.shape == (0, 2)
    assert none.path(torch.ones(3, dtype=torch.float64)).shape == (0, 3, 2)


def test_flat_symbols_give_straight_lines_without_a_step():
    start, end = draw(3, (0.0,) * 4, (1.0,) * 4)
    result = CollocationSolver().solve(FLAT, start, end)
    assert result.converged.all()
    assert (result.n_iter == 0).all()
    torch.testing.assert_close(result.initial_velocity, end - start, rtol=0, atol=0)


# -- ends that are hard to reach ----------------------------------------------------------------

# A plane cut open at an angle: no straight line turns by more than half of a circle.
UNREACHABLE = torch.tensor([[[1.0, 0.0]], [[1.0, 4.0]]], dtype=torch.float64)
FAR = torch.tensor([[[-10.0, 1.0]], [[10.0, 1.0]]], dtype=torch.float64)


def test_continuation_reaches_what_the_line_does_not():
    result = CollocationSolver().solve(HALF_PLANE, *FAR)
    assert result.converged.all()
    torch.testing.assert_close(result.initial_velocity, half_plane_log(*FAR), rtol=1e-9, atol=0)
    without = CollocationSolver(shortest_stride=1.0)
    assert not without.solve(HALF_PLANE, *FAR).converged.any()


def test_no_geodesic_is_no_line():
    result = CollocationSolver(max_iter=100).solve(POLAR, *UNREACHABLE)
    assert result.status[0] in (GeodesicStatus.STALLED, GeodesicStatus.MAX_ITER)
    assert result.initial_velocity.isnan().all()
    assert result.path(torch.ones(2, dtype=torch.float64)).isnan().all()


def test_conjugate_ends_are_told():
    """Antipodes on the equator, in spherical coordinates: many geodesics, all as short."""

    def symbols(z):
        angle, gamma = z[:, 0], z.new_zeros(len(z), 2, 2, 2)
        gamma[:, 0, 1, 1] = -angle.sin() * angle.cos()
        gamma[:, 1, 0, 1] = gamma[:, 1, 1, 0] = 1.0 / angle.tan()
        return gamma

    start, end = torch.tensor(
        [[[math.pi / 2, 0.0]] * 2, [[math.pi / 2, math.pi], [1.0, 1.0]]]
    ).double()
    solver = CollocationSolver(max_iter=60)
    result = solver.solve(Connection(symbols), start.double(), end.double())
    assert result.converged.tolist() == [False, True]
    assert result.initial_velocity[0].isnan().all()


def test_steps_that_run_out_are_told():
    result = CollocationSolver(max_iter=2).solve(HALF_PLANE, *FAR)
    assert result.status.tolist() == [GeodesicStatus.MAX_ITER]
    assert result.n_iter.tolist() == [2]
    assert result.initial_velocity.isnan().all()


def test_meshes_that_are_too_coarse_are_told():
    start, end = EXACT["half plane"][2]
    result = CollocationSolver(max_elements=2, n_nodes=2, tol=1e-10).solve(HALF_PLANE, start, end)
    assert (result.status == GeodesicStatus.UNDER_RESOLVED).all()
    assert (result.error > 1e-10).all()
    assert result.initial_velocity.isfinite().all()


def test_a_hole_on_the_line_is_told():
    """No point of the line's middle has symbols, however near the end is moved."""
    hole = Connection(FLAT.symbols, lambda z: (z[:, 0] - 0.01).abs() > 0.005)
    ends = torch.tensor([[[0.0, 0.0]], [[1.0, 0.0]]], dtype=torch.float64)
    result = CollocationSolver(max_elements=32).solve(hole, *ends)
    assert result.status.tolist() == [GeodesicStatus.NON_FINITE]
    assert result.initial_velocity.isnan().all()


# -- pieces -------------------------------------------------------------------------------------


def test_polynomial_accelerations_are_integrated_exactly():
    mesh, times = mesh_of(4, 3), np.linspace(0.0, 1.0, 7)
    bend, slope, value = curve_matrices(4, 3, times)
    for power in range(4):
        nodes, p = mesh.nodes**power, power + 1
        np.testing.assert_allclose(value @ nodes, times**power, atol=1e-13)
        np.testing.assert_allclose(slope @ nodes, times**p / p - 1 / (p * (p + 1)), atol=1e-14)
        np.testing.assert_allclose(
            bend @ nodes, (times ** (p + 1) - times) / (p * (p + 1)), atol=1e-14
        )


def test_differences_are_exact_to_the_roots_of_rounding_and_stay_inside():
    def function(z):
        return torch.where(z > 0.0, torch.stack((z**3, z.log()), dim=2)[..., 0, :], torch.nan)

    z = torch.tensor([[0.5, 2.0], [1e-6, 1.0], [3.0, 3.0]], dtype=torch.float64)
    slope = central_differences(lambda w: (w[:, :1] * w) @ w.new_ones(2, 1), z, torch.ones(3))
    expected = torch.stack((2.0 * z[:, 0] + z[:, 1], z[:, 0]), dim=1)[:, None]
    torch.testing.assert_close(slope, expected, rtol=1e-8, atol=1e-8)
    slope = central_differences(function, z, torch.ones(3).double())
    assert slope.isfinite().all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_nodes": 1}, "n_nodes"),
        ({"n_nodes": 4.0}, "n_nodes"),
        ({"max_iter": 0}, "max_iter"),
        ({"max_elements": 1}, "max_elements"),
        ({"tol": 0.0}, "tol"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(ValueError, match=f"Expected {message}"):
        CollocationSolver(**options)
