"""The exponential map against closed forms, its order, its differential and its failures."""

import math

import numpy as np
import pytest
import torch

from geomstats_vae.geodesics.flow import (
    ExponentialSolver,
    ExponentialStatus,
    JacobiSystem,
    StepControl,
)
from geomstats_vae.geodesics.flow.dense import Samples, cubic_states, quintic_points
from geomstats_vae.geodesics.flow.methods import ORDER_5, ORDER_8
from geomstats_vae.geodesics.flow.systems import GeodesicSystem
from geomstats_vae.immersions import AutodiffImmersion
from geomstats_vae.immersions.network import compile_immersion
from tests import surfaces

EXACT = {
    "plane": lambda z, v: z + v,
    "cylinder": lambda z, v: z + v,
    "sphere": surfaces.sphere_exp,
    "swiss_roll": surfaces.swiss_roll_exp,
}


def draw(n, dim=2, seed=0, scale=0.5, shift=0.0):
    rng = torch.Generator().manual_seed(seed)
    points, vectors = torch.randn(2, n, dim, dtype=torch.float64, generator=rng)
    return scale * points + shift, scale * vectors


def start_on(name, n=4):
    # A swiss roll begins at t = 0; stay well inside it.
    return draw(n, shift=torch.tensor([6.0, 0.0])) if name == "swiss_roll" else draw(n)


@pytest.fixture(scope="module")
def network():
    """A small decoder whose derivatives are compiled, with the same function for autodiff."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        module = torch.nn.Sequential(
            torch.nn.Linear(3, 12), torch.nn.Tanh(), torch.nn.Linear(12, 9), torch.nn.Tanh()
        )
    module = module.double().eval().requires_grad_(False)
    module[0].weight *= 1.5
    return module


@pytest.fixture(params=["compiled", "forward", "reverse"])
def network_immersion(request, network):
    if request.param == "compiled":
        return compile_immersion(network, 3)
    return AutodiffImmersion(network, 3, forward_mode=request.param == "forward")


SPHERE, TORUS = surfaces.closed_sphere(), surfaces.closed_torus()
FLAT = surfaces.ClosedImmersion(
    surfaces.plane, lambda z: (surfaces.PLANE.T.expand(len(z), 2, 3), z.new_zeros(len(z), 2, 2, 3))
)


@pytest.mark.parametrize("closed", [FLAT, SPHERE, TORUS, surfaces.closed_sphere(3)])
def test_closed_derivatives_are_those_of_torch(closed):
    z, v = draw(4, dim=closed.dim)
    jet = closed.jet(z, v)
    automatic = AutodiffImmersion(closed.surface, closed.dim).jet(z, v)
    torch.testing.assert_close(jet.tangents, automatic.tangents)
    torch.testing.assert_close(jet.derivatives, automatic.derivatives)
    covector = torch.linspace(-1.0, 1.0, jet.tangents.shape[2], dtype=z.dtype).expand(4, -1)
    torch.testing.assert_close(jet.hessian(covector), automatic.hessian(covector))


@pytest.mark.parametrize("name", EXACT)
def test_exp_is_exact(name):
    z, v = start_on(name)
    result = ExponentialSolver().solve(surfaces.immersion_of(surfaces.SURFACES[name]), z, v)
    assert (result.status == ExponentialStatus.CONVERGED).all()
    torch.testing.assert_close(result.point, EXACT[name](z, v), rtol=0, atol=1e-8)


def test_exp_follows_great_circles_in_higher_dimension():
    z, v = draw(3, dim=32, scale=0.2)
    result = ExponentialSolver().solve(surfaces.closed_sphere(32), z, v)
    torch.testing.assert_close(result.point, surfaces.sphere_exp(z, v), rtol=0, atol=1e-8)


def test_one_dimension_is_parametrised_by_arc_length():
    z, v = draw(5, dim=1)
    result = ExponentialSolver().solve(surfaces.closed_sphere(1), z, v)
    torch.testing.assert_close(result.point, surfaces.sphere_exp(z, v), rtol=0, atol=1e-8)


def test_a_hundred_and_twenty_eight_dimensions():
    z, v = draw(2, dim=128, scale=0.1)
    immersion = surfaces.immersion_of(surfaces.sphere, 128)
    result = ExponentialSolver(rtol=1e-6).solve(immersion, z, v)
    torch.testing.assert_close(result.point, surfaces.sphere_exp(z, v), rtol=0, atol=1e-6)


@pytest.mark.parametrize("method", [ORDER_5, ORDER_8], ids=["order 5", "order 8"])
def test_convergence_is_of_its_order(method):
    """Steps of equal size on great circles, by the solver's own stages."""
    z, v = torch.tensor([[0.3, -0.2]]).double(), torch.tensor([[0.6, 0.4]]).double()
    system = GeodesicSystem(SPHERE, 64)
    counts, errors, estimates = ((8, 16, 32) if method is ORDER_5 else (2, 4, 8)), [], []
    for count in counts:
        state, size = torch.cat((z, v), dim=1), torch.full_like(z[:, 0], 1.0 / count)
        slope = system.slope(state)
        for k in range(count):
            state, slope, error = method.step(system, state, slope, size)
            if k == 0:
                # What the embedded methods say of the first step.
                estimates.append(method.ratio(error, torch.ones_like(state)).item())
        errors.append((state[:, :2] - surfaces.sphere_exp(z, v)).abs().max().item())

    def order(values):
        return -np.polyfit(np.log(counts), np.log(values), 1)[0]

    assert abs(order(errors) - method.order) < 0.5
    assert method.order - 0.8 < order(estimates) < method.order + 1.5


@pytest.mark.parametrize("order", [5, 8])
def test_error_follows_the_tolerance(order):
    z, v = draw(8)
    exact = surfaces.sphere_exp(z, v)
    errors, steps = [], []
    for rtol in (1e-3, 1e-5, 1e-7, 1e-9, 1e-11):
        result = ExponentialSolver(rtol=rtol, atol=1e-2 * rtol, order=order).solve(SPHERE, z, v)
        errors.append((result.point - exact).abs().max().item() / rtol)
        steps.append(result.n_steps.sum().item())
    assert max(errors) < 20.0
    assert steps == sorted(steps)


@pytest.mark.parametrize("immersion", [SPHERE, TORUS], ids=["sphere", "torus"])
def test_speed_is_constant(immersion):
    z, v = draw(4)
    result = ExponentialSolver().solve(immersion, z, v)
    before = immersion.push(z, v).norm(dim=1)
    after = immersion.push(result.point, result.velocity).norm(dim=1)
    torch.testing.assert_close(after, before, rtol=1e-7, atol=0)


@pytest.mark.parametrize("name", ["spherical", "swiss_roll", "paraboloid"])
def test_speed_is_constant_in_any_coordinates(name):
    z, v = start_on(name)
    if name == "spherical":
        z = z * 0.2 + math.pi / 2
    immersion = surfaces.immersion_of(surfaces.SURFACES[name])
    result = ExponentialSolver(rtol=1e-5, atol=1e-7).solve(immersion, z, v)
    before = immersion.push(z, v).norm(dim=1)
    after = immersion.push(result.point, result.velocity).norm(dim=1)
    torch.testing.assert_close(after, before, rtol=1e-4, atol=0)


def test_speed_is_constant_on_a_decoder(network):
    network_immersion = compile_immersion(network, 3)
    z, v = draw(4, dim=3)
    result = ExponentialSolver().solve(network_immersion, z, v)
    before = network_immersion.push(z, v).norm(dim=1)
    after = network_immersion.push(result.point, result.velocity).norm(dim=1)
    assert (result.status == 0).all()
    torch.testing.assert_close(after, before, rtol=1e-6, atol=0)


def test_clairaut_on_the_torus():
    """The angular momentum around the axis of a surface of revolution is conserved."""
    z, v = draw(5, scale=1.5)
    result = ExponentialSolver().solve(TORUS, z, v)

    def momentum(point, velocity):
        return surfaces.torus_metric(point)[:, 1, 1] * velocity[:, 1]

    torch.testing.assert_close(
        momentum(result.point, result.velocity), momentum(z, v), rtol=1e-7, atol=1e-8
    )


def test_the_geodesic_back_leads_home():
    z, v = draw(5)
    solver = ExponentialSolver()
    there = solver.solve(TORUS, z, v)
    back = solver.solve(TORUS, there.point, -there.velocity)
    torch.testing.assert_close(back.point, z, rtol=0, atol=1e-7)
    torch.testing.assert_close(back.velocity, -v, rtol=0, atol=1e-7)


def test_a_batch_is_a_loop(network_immersion):
    z, v = draw(5, dim=3, scale=0.5)
    # Of very different lengths: finished paths leave early.
    v = v * torch.logspace(-3, 0.0, 5, dtype=v.dtype)[:, None]
    solver = ExponentialSolver(rtol=1e-5, chunk_size=3)
    batch = solver.solve(network_immersion, z, v)
    assert len(set(batch.n_steps.tolist())) > 1
    for k in range(5):
        alone = solver.solve(network_immersion, z[k : k + 1], v[k : k + 1])
        torch.testing.assert_close(alone.point[0], batch.point[k], rtol=1e-9, atol=1e-10)
        torch.testing.assert_close(alone.velocity[0], batch.velocity[k], rtol=1e-9, atol=1e-10)
        assert alone.n_steps[0] == batch.n_steps[k]
        assert alone.status[0] == batch.status[k]


@pytest.mark.parametrize("grad_enabled", [True, False])
def test_activations_of_torch_work_with_and_without_gradients(grad_enabled):
    module = torch.nn.Sequential(torch.nn.Linear(2, 5), torch.nn.SiLU()).double()
    z, v = draw(2)
    solver = ExponentialSolver(rtol=1e-3)
    with torch.set_grad_enabled(grad_enabled):
        result = solver.solve(AutodiffImmersion(module, 2), z, 0.1 * v)
        point, by_vector, _, _ = solver.differential(AutodiffImmersion(module, 2), z, 0.1 * v)
    assert not any(part.requires_grad for part in (result.point, point, by_vector))
    assert (result.status == 0).all()


def test_affine_change_of_coordinates():
    """Exp is the same map in whatever latent coordinates."""
    change = torch.tensor([[2.0, 0.7], [-0.4, 0.5]], dtype=torch.float64)
    z, v = draw(5)

    def derivatives(y):
        tangents, second = surfaces.torus_derivatives((y - 3.0) @ change.T)
        second = torch.einsum("kl,jm,nkja->nlma", change, change, second)
        return torch.einsum("kl,nka->nla", change, tangents), second

    solver = ExponentialSolver(rtol=1e-7)
    plain = solver.solve(TORUS, z, v)
    skewed = surfaces.ClosedImmersion(lambda y: surfaces.torus((y - 3.0) @ change.T), derivatives)
    inverse = torch.linalg.inv(change).T
    moved = solver.solve(skewed, z @ inverse + 3.0, v @ inverse)
    torch.testing.assert_close((moved.point - 3.0) @ change.T, plain.point, rtol=0, atol=1e-7)


def test_zero_velocity_and_empty_batch():
    immersion, solver = SPHERE, ExponentialSolver()
    z, v = draw(3)
    v[1] = 0.0
    result = solver.solve(immersion, z, v)
    assert torch.equal(result.point[1], z[1])
    assert result.status.tolist() == [0, 0, 0]
    point, by_vector, by_point, status = solver.differential(immersion, z, v)
    eye = torch.eye(2, dtype=z.dtype)
    assert torch.equal(point[1], z[1])
    torch.testing.assert_close(by_vector[1], eye)
    torch.testing.assert_close(by_point[1], eye)
    empty = z[:0]
    result = solver.solve(immersion, empty, empty)
    assert result.point.shape == result.velocity.shape == (0, 2)
    assert result.status.shape == result.n_steps.shape == (0,)
    point, by_vector, by_point, status = solver.differential(immersion, empty, empty)
    assert (point.shape, by_vector.shape, by_point.shape) == ((0, 2), (0, 2, 2), (0, 2, 2))
    assert status.shape == (0,)
    points, status = solver.solve_dense(immersion, empty, empty, torch.linspace(0, 1, 4))
    assert points.shape == (0, 4, 2)


def test_tiny_and_huge_velocities():
    immersion, solver = SPHERE, ExponentialSolver()
    z, v = draw(1)
    tiny = solver.solve(immersion, z, 1e-200 * v)
    assert torch.equal(tiny.point, z)
    assert tiny.status.item() == ExponentialStatus.CONVERGED
    # Around the sphere once, on the equator.
    z, v = torch.tensor([[1.0, 0.0]]).double(), torch.tensor([[0.0, 2.0 * math.pi]]).double()
    around = ExponentialSolver(rtol=1e-6).solve(immersion, z, v)
    torch.testing.assert_close(around.point, z, rtol=0, atol=1e-4)


def test_inputs_and_settings_are_left_alone():
    z, v = draw(3)
    copies = z.clone(), v.clone()
    z.requires_grad_()
    immersion, solver = SPHERE, ExponentialSolver(rtol=1e-4)
    assert not solver.solve(immersion, z, v).point.requires_grad
    solver.differential(immersion, z, v)
    solver.solve_dense(immersion, z, v, torch.linspace(0.0, 1.0, 3))
    assert torch.equal(z.detach(), copies[0])
    assert torch.equal(v, copies[1])
    assert torch.is_grad_enabled()


def test_float32():
    z, v = draw(5)
    immersion, solver = SPHERE, ExponentialSolver()
    result = solver.solve(immersion, z.float(), v.float())
    assert result.point.dtype == result.velocity.dtype == torch.float32
    assert (result.status == 0).all()
    torch.testing.assert_close(result.point.double(), surfaces.sphere_exp(z, v), rtol=0, atol=1e-4)
    _, by_vector, by_point, status = solver.differential(immersion, z.float(), v.float())
    assert by_vector.dtype == by_point.dtype == torch.float32
    assert (status == 0).all()
    exact = solver.differential(immersion, z, v)
    torch.testing.assert_close(by_vector.double(), exact[1], rtol=0, atol=1e-3)


def test_dense_output_on_the_sphere():
    z, v = draw(4)
    times = torch.tensor([-1.5, -0.3, 0.0, 0.01, 0.5, 0.9, 1.0, 2.0], dtype=torch.float64)
    immersion, solver = SPHERE, ExponentialSolver()
    points, status = solver.solve_dense(immersion, z, v, times)
    exact = torch.stack([surfaces.sphere_exp(z, t * v) for t in times], dim=1)
    assert (status == 0).all()
    assert torch.equal(points[:, 2], z)
    torch.testing.assert_close(points, exact, rtol=0, atol=1e-7)


def test_dense_output_takes_any_order_of_times_and_none():
    z, v = draw(2)
    immersion, solver = TORUS, ExponentialSolver(rtol=1e-5)
    sorted_points, _ = solver.solve_dense(immersion, z, v, [-1.0, 0.0, 0.25, 0.25, 1.0])
    points, _ = solver.solve_dense(immersion, z, v, [0.25, 1.0, -1.0, 0.25, 0.0])
    torch.testing.assert_close(points, sorted_points[:, [2, 4, 0, 3, 1]], rtol=0, atol=0)
    torch.testing.assert_close(points[:, 1], solver.solve(immersion, z, v).point)
    assert solver.solve_dense(immersion, z, v, [])[0].shape == (2, 0, 2)


def test_states_of_any_system_between_steps():
    """Of Jacobi fields: the field that starts with rate 1 is t D_v Exp(t v) at time t."""
    z, v = draw(4)
    system, solver = JacobiSystem(TORUS, 64), ExponentialSolver(rtol=1e-6, atol=1e-9)
    times, start = torch.tensor([0.2, 0.55, 1.0], dtype=z.dtype), system.start(z, v)
    states = start.new_full((4, 3, system.width), torch.nan)
    record = Samples(states, torch.arange(3), times, cubic_states)
    end, status, _ = solver.integrate(system, start, record)
    assert (status == 0).all()
    torch.testing.assert_close(states[:, 2], end, rtol=1e-12, atol=1e-12)
    for k, t in enumerate(times):
        point, by_vector, by_point, _ = ExponentialSolver().differential(TORUS, z, t * v)
        fields = system.fields(states[:, k])
        torch.testing.assert_close(states[:, k, :2], point, rtol=0, atol=1e-5)
        torch.testing.assert_close(fields[:, :, :2], t * by_vector, rtol=0, atol=1e-4)
        torch.testing.assert_close(fields[:, :, 2:], by_point, rtol=0, atol=1e-4)


def test_quintics_between_steps_are_more_exact_than_cubics():
    z, v = draw(4)
    times, state = torch.linspace(0.02, 0.98, 25, dtype=z.dtype), torch.cat((z, v), dim=1)
    exact = torch.stack([surfaces.sphere_exp(z, t * v) for t in times], dim=1)
    errors = []
    for interpolate, width in ((quintic_points, 2), (cubic_states, 4)):
        values = state.new_full((4, 25, width), torch.nan)
        record = Samples(values, torch.arange(25), times, interpolate)
        ExponentialSolver(rtol=1e-7).integrate(GeodesicSystem(SPHERE, 64), state, record)
        errors.append((values[:, :, :2] - exact).abs().max().item())
    assert errors[0] < 1e-7 < errors[1] < 1e-4


def test_step_sizes_obey_their_control():
    steps = []
    control = StepControl(longest_first_step=0.01, grow=2.0)
    z, v = draw(1)
    solver = ExponentialSolver(control=control)
    # Straight lines: no error ever keeps a step from growing.
    solver.integrate(GeodesicSystem(FLAT, 64), torch.cat((z, v), dim=1), steps.append)
    sizes = torch.cat([step.size for step in steps])
    torch.testing.assert_close(sizes[:4], 0.01 * 2.0 ** torch.arange(4, dtype=z.dtype))
    torch.testing.assert_close(sizes.sum(), torch.ones_like(sizes[0]))


def test_differential_against_finite_differences(network):
    immersion = compile_immersion(network, 3)
    z, v = draw(2, dim=3, scale=0.5)
    solver, h = ExponentialSolver(rtol=1e-11, atol=1e-13), 2e-4
    point, by_vector, by_point, status = solver.differential(immersion, z, v)
    assert (status == 0).all()
    torch.testing.assert_close(point, solver.solve(immersion, z, v).point, rtol=0, atol=1e-9)
    for k, e in enumerate(torch.eye(3, dtype=z.dtype)):
        for dz, dv, jacobian in ((0 * e, e, by_vector), (e, 0 * e, by_point)):
            # Central differences, extrapolated to order 4, all in one batch.
            steps = h * torch.tensor([1.0, -1.0, 2.0, -2.0], dtype=z.dtype)[:, None, None]
            starts = (z + steps * dz).view(-1, 3), (v + steps * dv).view(-1, 3)
            ends = solver.solve(immersion, *starts).point.view(4, -1, 3)
            numeric = (8 * (ends[0] - ends[1]) - (ends[2] - ends[3])) / (12 * h)
            torch.testing.assert_close(jacobian[:, :, k], numeric, rtol=1e-6, atol=1e-6)


def test_differential_is_accurate_to_the_tolerance(network):
    immersion = compile_immersion(network, 3)
    z, v = draw(3, dim=3, scale=0.5)
    usual = ExponentialSolver().differential(immersion, z, v)
    sharp = ExponentialSolver(rtol=1e-12, atol=1e-14).differential(immersion, z, v)
    for part, exact in zip(usual[:3], sharp[:3], strict=True):
        torch.testing.assert_close(part, exact, rtol=1e-7, atol=1e-7)


def test_differential_is_the_same_through_every_immersion(network, network_immersion):
    z, v = draw(2, dim=3, scale=0.4)
    solver = ExponentialSolver(rtol=1e-5)
    expected = solver.differential(compile_immersion(network, 3), z, v)
    got = solver.differential(network_immersion, z, v)
    for part, other in zip(got, expected, strict=True):
        torch.testing.assert_close(part, other, rtol=1e-9, atol=1e-9)


def test_differential_on_the_sphere_shrinks_by_sin_r_over_r():
    z, v = draw(6, scale=0.5)
    _, by_vector, _, _ = ExponentialSolver().differential(SPHERE, z, v)
    end = surfaces.sphere_exp(z, v)
    root = torch.linalg.det(surfaces.sphere_metric(torch.stack((z, end)))).sqrt()
    determinant = torch.linalg.det(by_vector) * root[1] / root[0]
    r = surfaces.sphere_push(z, v).norm(dim=1)
    torch.testing.assert_close(determinant, torch.sin(r) / r, rtol=1e-7, atol=0)


def test_differential_on_the_sphere_in_five_dimensions():
    """Along v lengths stay; the four normal directions shrink by sin r / r."""
    z, v = draw(4, dim=5, scale=0.3)
    immersion = surfaces.closed_sphere(5)
    end, by_vector, _, _ = ExponentialSolver().differential(immersion, z, v)
    scale = 2.0 / (1.0 + torch.stack((z, end)).square().sum(-1))
    stretched = torch.linalg.svdvals(by_vector) * (scale[1] / scale[0])[:, None]
    r = surfaces.sphere_push(z, v).norm(dim=1)
    expected = torch.cat((torch.ones(4, 1), (r.sin() / r)[:, None].expand(4, 4)), dim=1)
    torch.testing.assert_close(stretched, expected.double(), rtol=1e-7, atol=0)


def test_differential_on_flat_surfaces():
    z, v = draw(3, shift=6.0)
    immersion = surfaces.immersion_of(surfaces.swiss_roll)
    end, by_vector, _, _ = ExponentialSolver().differential(immersion, z, v)
    stretch = torch.sqrt((1.0 + z[:, 0] ** 2) / (1.0 + end[:, 0] ** 2))
    expected = torch.diag_embed(torch.stack((stretch, torch.ones_like(stretch)), dim=1))
    torch.testing.assert_close(by_vector, expected, rtol=0, atol=1e-7)


def test_short_geodesics_see_the_gaussian_curvature():
    """Across v, |D_v Exp w| / |w| = 1 - K r^2 / 6 + O(r^3)."""
    z, v = draw(6)
    immersion, curvature = TORUS, surfaces.torus_curvature(z)
    # The odd term drops out between v and -v.
    v = 1e-2 * v / immersion.push(z, v).norm(dim=1)[:, None]
    solver = ExponentialSolver(rtol=1e-12, atol=1e-14)
    shrink = 0.0
    for sign in (1.0, -1.0):
        end, by_vector, _, _ = solver.differential(immersion, z, sign * v)
        root = torch.linalg.det(immersion.metric(torch.cat((z, end)))).sqrt().view(2, -1)
        shrink = shrink + 0.5 * torch.linalg.det(by_vector) * root[1] / root[0]
    torch.testing.assert_close(6.0 * (1.0 - shrink) / 1e-4, curvature, rtol=0, atol=1e-3)


def bounded(z):
    """A surface that ends at z_1 = 1, at a finite distance; NaN beyond."""
    x, y = z.unbind(-1)
    return torch.stack((x, y, (1.0 - x) ** 2.5), dim=-1)


def bounded_derivatives(z):
    tangents = torch.eye(2, 3, dtype=z.dtype).repeat(len(z), 1, 1)
    second = z.new_zeros(len(z), 2, 2, 3)
    tangents[:, 0, 2] = -2.5 * (1.0 - z[:, 0]) ** 1.5
    second[:, 0, 0, 2] = 3.75 * (1.0 - z[:, 0]) ** 0.5
    return tangents, second


def test_failures_have_statuses_and_spare_the_rest():
    z = torch.zeros(5, 2, dtype=torch.float64)
    v = torch.tensor([[0.1, 0.2]] * 5, dtype=torch.float64)
    z[1, 0], v[2, 0], v[3] = math.nan, math.inf, torch.tensor([5.0, 0.0])
    immersion = surfaces.ClosedImmersion(bounded, bounded_derivatives)
    solver = ExponentialSolver(rtol=1e-4)
    result = solver.solve(immersion, z, v)
    good = solver.solve(immersion, z[:1], v[:1])
    assert result.status.tolist() == [0, 2, 2, 2, 0]
    torch.testing.assert_close(result.point[[0, 4]], good.point.expand(2, 2))
    # The last valid point: just inside the edge.
    assert 0.999 < result.point[3, 0] <= 1.0
    assert torch.isnan(result.point[1, 0])
    assert torch.equal(result.point[2], z[2])
    assert solver.differential(immersion, z, v)[3].tolist() == result.status.tolist()
    points, status = solver.solve_dense(immersion, z, v, [0.0, 0.05, 0.5, 1.0])
    assert status.tolist() == result.status.tolist()
    assert torch.isfinite(points[3]).all()
    assert torch.equal(points[3, 2], points[3, 3])


def test_running_out_of_steps():
    z, v = draw(3)
    result = ExponentialSolver(max_steps=3).solve(SPHERE, z, 20.0 * v)
    assert (result.status == ExponentialStatus.MAX_STEPS).all()
    assert (result.n_steps == 3).all()
    assert torch.isfinite(result.point).all()


def test_a_singular_metric_is_reported():
    immersion = surfaces.immersion_of(lambda z: (z[:, :1] ** 2).expand(-1, 3))
    z, v = draw(2)
    result = ExponentialSolver().solve(immersion, z, v)
    assert (result.status == ExponentialStatus.NON_FINITE).all()
    assert torch.equal(result.point, z)


def test_a_jump_of_the_acceleration_underflows_or_is_passed():
    """A decoder that is not smooth may cost steps, but neither hangs nor raises."""

    def kinked(z):
        return torch.cat((z, (z[:, :1] - 0.1).abs() ** 1.5), dim=1)

    z, v = torch.zeros(1, 2).double(), torch.tensor([[1.0, 0.3]]).double()
    result = ExponentialSolver(rtol=1e-6, max_steps=200).solve(surfaces.immersion_of(kinked), z, v)
    assert result.status.item() in list(ExponentialStatus)
    assert torch.isfinite(result.point).all()


def test_every_status_has_a_message():
    assert [status.value for status in ExponentialStatus] == [0, 1, 2, 3, 4, 5]
    assert all(status.message.endswith(".") for status in ExponentialStatus)


@pytest.mark.parametrize(
    ("points", "vectors"), [((3, 2), (2, 2)), ((3, 3), (3, 3)), ((2,), (2,)), ((1, 2), (3, 2))]
)
def test_mismatched_shapes_are_refused(points, vectors):
    immersion = SPHERE
    with pytest.raises(ValueError, match=r"Expected base points .* of shape \[n, 2\]"):
        ExponentialSolver().solve(immersion, torch.zeros(points), torch.zeros(vectors))


def test_mismatched_types_are_refused():
    immersion = SPHERE
    with pytest.raises(ValueError, match="one floating-point type"):
        ExponentialSolver().solve(immersion, torch.zeros(1, 2), torch.zeros(1, 2).double())
    z = torch.zeros(1, 2)
    with pytest.raises(ValueError, match="finite times"):
        ExponentialSolver().solve_dense(immersion, z, z, [0.0, math.nan])
