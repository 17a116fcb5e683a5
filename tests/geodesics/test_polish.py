"""Polished velocities against closed forms and tightly integrated geodesics."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from geomstats_vae.geodesics import GeodesicSolver, GeodesicStatus, LatentGraph
from geomstats_vae.geodesics.flow.exponential import ExponentialSolver
from geomstats_vae.geodesics.polish import PolishStatus, polish_velocities
from geomstats_vae.immersions import Decoder, GaussianDecoder, RBFPrecision
from tests import surfaces

TIGHT = ExponentialSolver(rtol=2e-12, atol=1e-14, max_steps=10000)


def integrated(surface):
    immersion = surfaces.immersion_of(surface)
    return lambda z, v: TIGHT.solve(immersion, z, v).point


# Exponential map, and where points lie: shift and scale of normal noise.
EXPONENTIALS = {
    "sphere": (surfaces.sphere_exp, (0.0, 0.0), 0.6),
    "swiss_roll": (surfaces.swiss_roll_exp, (6.0, 0.0), 0.8),
    "torus": (integrated(surfaces.torus), (0.0, 0.0), 0.6),
    "paraboloid": (integrated(surfaces.paraboloid), (0.0, 0.0), 0.6),
}


def draw(n_pairs, scale=0.6, shift=0.0, dim=2, seed=0):
    return shift + scale * np.random.default_rng(seed).standard_normal((2, n_pairs, dim))


# Integrating the geodesics of the last ones takes most of the time.
SLOW = ("paraboloid", "torus")
BY_SURFACE = pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[pytest.mark.long] if n in SLOW else []) for n in EXPONENTIALS],
)


def missed(exp, start, velocity, end):
    reached = exp(torch.tensor(start), torch.tensor(velocity)).numpy()
    return np.linalg.norm(reached - end, axis=1)


@BY_SURFACE
def test_exp_inverts_the_log_to_seven_digits(name):
    exp, shift, scale = EXPONENTIALS[name]
    start, end = draw(10, scale, np.array(shift), seed=1)
    path = GeodesicSolver().solve(surfaces.immersion_of(surfaces.SURFACES[name]), start, end)
    # tol = 1e-6 bounds the squared error of the curve that the velocities are taken from, and the
    # Newton step after it squares the error once more.
    assert missed(exp, start, path.initial_velocity, end).max() < 1e-7
    assert path.points.shape[1] <= 33


@pytest.mark.parametrize("dim", [3, 16])
def test_exp_inverts_the_log_of_smooth_networks(dim):
    torch.manual_seed(dim)
    network = nn.Sequential(nn.Linear(dim, 32), nn.Tanh(), nn.Linear(32, 50)).double().eval()
    immersion = Decoder(network, dim).immersion()
    start, end = draw(6, dim=dim)
    path = GeodesicSolver().solve(immersion, start, end)
    error = missed(
        lambda z, v: TIGHT.solve(immersion, z, v).point, start, path.initial_velocity, end
    )
    assert np.median(error) < 1e-6


@BY_SURFACE
def test_exp_inverts_the_polished_log_to_ten_digits(name):
    exp, shift, scale = EXPONENTIALS[name]
    start, end = draw(4, scale, np.array(shift))
    immersion = surfaces.immersion_of(surfaces.SURFACES[name])
    path = GeodesicSolver().solve(immersion, start, end)
    polished = polish_velocities(immersion, path)
    assert (polished.velocity_error <= 1e-9).all()
    assert missed(exp, start, polished.initial_velocity, end).max() < 1e-10
    if name in ("sphere", "swiss_roll"):
        assert missed(exp, end, -polished.final_velocity, start).max() < 1e-10
    np.testing.assert_array_equal(polished.points, path.points)


def test_lengths_energies_and_speeds_are_exact():
    start, end = draw(6)
    immersion = surfaces.immersion_of(surfaces.sphere)
    polished = polish_velocities(immersion, GeodesicSolver().solve(immersion, start, end))
    exact = surfaces.sphere_distance(torch.tensor(start), torch.tensor(end)).numpy()
    np.testing.assert_allclose(polished.length, exact, rtol=1e-12)
    np.testing.assert_allclose(polished.energy, 0.5 * exact**2, rtol=1e-12)
    for point, velocity in ((start, polished.initial_velocity), (end, polished.final_velocity)):
        metric = surfaces.sphere_metric(torch.tensor(point)).numpy()
        speed = np.sqrt(np.einsum("nij,ni,nj->n", metric, velocity, velocity))
        np.testing.assert_allclose(speed, exact, rtol=1e-12)


@pytest.mark.parametrize("dim", [1, 3, 6])
def test_other_dimensions(dim):
    start, end = draw(3, 0.3, dim=dim)
    immersion = surfaces.immersion_of(surfaces.sphere, dim)
    polished = polish_velocities(immersion, GeodesicSolver().solve(immersion, start, end))
    assert missed(surfaces.sphere_exp, start, polished.initial_velocity, end).max() < 1e-10


def test_a_batch_is_its_pairs_one_by_one():
    start, end = draw(5, 1.5)
    immersion = surfaces.immersion_of(surfaces.sphere)
    path = GeodesicSolver().solve(immersion, start, end)
    batch = polish_velocities(immersion, path)
    for k in range(5):
        alone = polish_velocities(immersion, path.map(lambda array, k=k: array[k : k + 1]))
        np.testing.assert_allclose(
            alone.initial_velocity[0], batch.initial_velocity[k], rtol=1e-11, atol=1e-11
        )


@pytest.fixture(scope="module")
def study_like():
    """A smooth network to 784 pixels with a precision of kernels around some codes."""
    generator = np.random.default_rng(0)
    widths, layers = (2, 64, 64, 784), []
    for inputs, outputs in pairwise(widths):
        layer = nn.Linear(inputs, outputs, dtype=torch.float64)
        weight = generator.standard_normal((outputs, inputs)) * 1.5 / math.sqrt(inputs)
        bias = 0.5 * generator.standard_normal(outputs)
        layer.load_state_dict({"weight": torch.tensor(weight), "bias": torch.tensor(bias)})
        layers += [layer, nn.Tanh()]
    codes = generator.standard_normal((200, 2))
    weights = generator.uniform(0.5, 5.0, (784, 24))
    std = RBFPrecision(
        torch.tensor(codes[:24]),
        torch.full((24,), 1.5, dtype=torch.float64),
        torch.tensor(weights),
        0.05,
    )
    mean = nn.Sequential(*layers[:-1], nn.Sigmoid())
    return Decoder(GaussianDecoder(mean, std).eval(), 2).immersion(), codes


@pytest.mark.long
def test_study_like_decoder(study_like):
    immersion, codes = study_like
    start, end = codes[:3], codes[3:6]
    path = GeodesicSolver().solve(
        immersion, start, end, LatentGraph(immersion, codes, grid_size=64)
    )
    polished = polish_velocities(immersion, path)
    assert path.converged.all()
    assert (polished.velocity_error <= 1e-9).all()

    def exp(z, v):
        return ExponentialSolver(rtol=1e-10, atol=1e-12).solve(immersion, z, v).point

    assert missed(exp, start, polished.initial_velocity, end).max() < 1e-8
    np.testing.assert_allclose(polished.length, path.length, rtol=1e-5)


def test_only_what_converged_is_polished():
    immersion = surfaces.immersion_of(surfaces.sphere)
    start, end = draw(3, 1.2)
    end[1] = start[1]
    path = GeodesicSolver().solve(immersion, start, end)
    path.status[0] = GeodesicStatus.MAX_ITER
    polished = polish_velocities(immersion, path)
    assert np.isnan(polished.velocity_error[0])
    assert polished.velocity_error[1] == 0.0
    np.testing.assert_array_equal(polished.initial_velocity[0], path.initial_velocity[0])
    np.testing.assert_array_equal(polished.initial_velocity[1], 0.0)
    assert polished.length[0] == path.length[0]


def test_another_geodesic_is_not_taken():
    immersion = surfaces.immersion_of(surfaces.sphere)
    path = GeodesicSolver().solve(immersion, *draw(2))
    shorter = path.map(lambda array: array.copy())
    shorter.length[0] *= 0.9
    polished = polish_velocities(immersion, shorter)
    assert np.isnan(polished.velocity_error[0])
    np.testing.assert_array_equal(polished.initial_velocity[0], path.initial_velocity[0])
    assert polished.velocity_error[1] < 1e-9


def test_past_a_conjugate_point_nothing_is_polished():
    immersion = surfaces.immersion_of(surfaces.spherical)
    ends = np.array([[[0.5 * math.pi, 0.0]], [[0.5 * math.pi, 1.2 * math.pi]]])
    path = GeodesicSolver().solve(immersion, *ends)
    polished = polish_velocities(immersion, path)
    assert np.isnan(polished.velocity_error[0])
    np.testing.assert_array_equal(polished.initial_velocity, path.initial_velocity)


def test_kinks_are_not_called_polished():
    def bend(z):
        """Two planes that meet at 90 degrees along an oblique line, and a geodesic across."""
        side = torch.relu(z[:, :1] - 0.3 * z[:, 1:])
        return torch.cat((z, 1.5 * side, torch.sin(2.0 * z)), dim=1)

    immersion = surfaces.immersion_of(bend)
    solver = GeodesicSolver(max_iter=20, max_elements=16)
    path = solver.solve(immersion, np.array([[-1.0, 0.0]]), np.array([[1.0, 0.7]]))
    path.status[0] = GeodesicStatus.CONVERGED
    polished = polish_velocities(immersion, path)
    assert not polished.velocity_error[0] <= 1e-9
    assert "not smooth" in PolishStatus.UNPOLISHED.message


def test_empty_batches():
    immersion = surfaces.immersion_of(surfaces.sphere)
    path = GeodesicSolver().solve(immersion, np.zeros((0, 2)), np.zeros((0, 2)))
    assert polish_velocities(immersion, path).velocity_error.shape == (0,)
