"""Decoders with kinks: found on smoothed ones, measured as they are."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from torch import nn

from geomstats_vae.geodesics import GeodesicSolver, GeodesicStatus, LatentGraph
from geomstats_vae.geodesics.kinked import kink_codes
from geomstats_vae.geodesics.options import DescentOptions, KinkOptions
from geomstats_vae.geometry.decoder import DecoderGeometry
from geomstats_vae.immersions import Decoder

CODES = np.random.default_rng(0).normal(size=(60, 5))


def network(dim, activation, seed=0):
    generator = torch.Generator().manual_seed(seed)
    layers = nn.Sequential(
        nn.Linear(dim, 24), activation, nn.Linear(24, 24), activation, nn.Linear(24, 12)
    )
    with torch.no_grad():
        for part in layers.parameters():
            scale = 0.5 if part.ndim == 1 else 1.2 / part.shape[1] ** 0.5
            part.copy_(scale * torch.randn(part.shape, generator=generator))
    return layers.double().eval()


def bent_plane(z):
    """A flat plane whose first axis is three times as long on one side."""
    return torch.cat((z[:, :1] + 2.0 * torch.relu(z[:, :1]), z[:, 1:]), dim=1)


def chord_length(immersion, path, n_chords=4000):
    points = torch.tensor(path(np.linspace(0.0, 1.0, n_chords + 1)))
    value = immersion(points.flatten(0, 1)).unflatten(0, points.shape[:2])
    return value.diff(dim=1).norm(dim=2).sum(dim=1).detach().numpy()


def solve(decoder, dim, n_pairs=6, **options):
    immersion, codes = Decoder(decoder, dim).immersion(), CODES[:, :dim]
    graph = LatentGraph(immersion, codes, grid_size=24 if dim in (2, 3) else None)
    start, end = codes[:n_pairs], codes[n_pairs : 2 * n_pairs]
    return immersion, GeodesicSolver(**options).solve(immersion, start, end, graph)


@pytest.mark.parametrize(
    ("dim", "activation"),
    [
        (2, nn.ReLU()),
        (2, nn.Hardtanh()),
        (3, nn.ReLU()),
        (3, nn.LeakyReLU(0.2)),
        (5, nn.ReLU()),
        (5, nn.ELU(0.3)),
    ],
)
def test_geodesics_are_certified_and_measured_on_the_decoder(dim, activation):
    immersion, path = solve(network(dim, activation), dim)
    assert path.converged.all()
    assert (path.width > 0.0).all()
    np.testing.assert_allclose(path.length, chord_length(immersion, path), rtol=1e-3)
    np.testing.assert_allclose(path.energy, 0.5 * path.length**2)
    graph = LatentGraph(immersion, CODES[:, :dim], grid_size=8 if dim < 4 else None)
    line = graph.line_lengths(path.points[:, 0], path.points[:, -1])
    assert (path.length <= line * 1.001).all()


@pytest.mark.parametrize("activation", [nn.ELU(), nn.CELU(0.5)])
@pytest.mark.parametrize("plain", [False, True])
def test_jumps_of_the_curvature_need_no_fine_mesh(activation, plain):
    """Newton's method would bisect the mesh around each: the curves are those of chords."""
    module = network(5, activation)
    immersion, path = solve((lambda z: module(z)) if plain else module, 5, n_pairs=3)
    assert immersion.curvature_jumps
    assert path.converged.all()
    assert max(len(nodes) for nodes in path.curves.nodes) <= 16
    np.testing.assert_allclose(path.length, chord_length(immersion, path), rtol=1e-4)
    newton = solve(module, 5, 3, descent=DescentOptions(min_dim=100))[1]
    np.testing.assert_allclose(path.length, newton.length, rtol=1e-4)


@pytest.mark.parametrize("dim", [2, 5])
@pytest.mark.long
def test_no_minimiser_of_chords_finds_a_shorter_curve(dim):
    immersion, path = solve(network(dim, nn.ReLU()), dim, n_pairs=3)
    for k in range(3):
        ends = torch.tensor(path.points[k, [0, -1]])
        first = np.linspace(*ends.numpy(), 65)[1:-1]

        def energy(x, ends=ends):
            inner = torch.tensor(x).view(-1, dim).requires_grad_()
            value = immersion(torch.cat((ends[:1], inner, ends[1:])))
            total = 32.0 * value.diff(dim=0).square().sum()
            total.backward()
            return total.item(), inner.grad.numpy().ravel()

        found = minimize(energy, first.ravel(), jac=True, method="L-BFGS-B")
        assert path.length[k] <= 1.003 * np.sqrt(2.0 * found.fun)


@pytest.mark.parametrize("dim", [2, 5])
def test_flat_planes_with_a_kink_have_their_exact_distances(dim):
    immersion, path = solve(bent_plane, dim)
    ends = immersion(torch.tensor(path.points[:, [0, -1]]).flatten(0, 1)).unflatten(0, (-1, 2))
    exact = ends.diff(dim=1).norm(dim=2)[:, 0].numpy()
    np.testing.assert_allclose(path.length, exact, rtol=1e-3)
    assert path.converged.all()


def test_a_curve_across_a_kink_is_refracted():
    immersion = Decoder(bent_plane, 2).immersion()
    start, end = np.array([[-1.0, 0.0]]), np.array([[1.0, 1.0]])
    path = GeodesicSolver().solve(immersion, start, end)
    # In the plane the curve is straight from (-1, 0) to (3, 1): it crosses the kink at 1/4.
    crossing = path(np.array([0.25]))[0, 0]
    np.testing.assert_allclose(crossing, [0.0, 0.25], atol=0.05)
    np.testing.assert_allclose(path.length, 17.0**0.5, rtol=1e-3)


def test_smooth_decoders_have_no_width():
    assert (solve(network(2, nn.Tanh()), 2)[1].width == 0.0).all()


def test_narrower_kinks_give_curves_that_are_no_longer():
    decoder = network(5, nn.ReLU())
    wide = solve(decoder, 5, kinks=KinkOptions(widths=(0.3,)))[1]
    narrow = solve(decoder, 5)[1]
    assert (wide.width == 0.3).all()
    assert (narrow.length <= 1.001 * wide.length).all()
    assert (narrow.length < 0.999 * wide.length).any()


@pytest.mark.parametrize("dim", [2, 5])
def test_a_guess_saves_steps_and_changes_no_answer(dim):
    immersion, path = solve(network(dim, nn.ReLU()), dim)
    start, end = path.points[:, 0], path.points[:, -1]
    again = GeodesicSolver().solve(immersion, start, end, guess=path)
    np.testing.assert_allclose(again.length, path.length, rtol=2e-3)
    np.testing.assert_array_equal(again.width, path.width)
    moved = GeodesicSolver().solve(immersion, start, end + 1e-3, guess=path)
    assert moved.converged.all()


def test_equal_points_are_at_distance_zero():
    immersion = Decoder(network(5, nn.ReLU()), 5).immersion()
    path = GeodesicSolver().solve(immersion, CODES[:2], CODES[[0, 3]])
    assert path.length[0] == 0.0
    assert path.converged.all()


@pytest.mark.parametrize("activation", [nn.ReLU(), nn.Tanh()])
@pytest.mark.parametrize("share", [1e-14, 1e-12, 1e-9])
def test_points_equal_up_to_rounding_are_joined_by_lines(activation, share):
    immersion = Decoder(network(5, activation), 5).immersion()
    start, end = CODES[:3], CODES[:3] * (1.0 + share)
    path = GeodesicSolver().solve(immersion, start, end)
    metric = immersion.metric(torch.tensor(start)).detach().numpy()
    exact = np.einsum("ni,nij,nj->n", end - start, metric, end - start) ** 0.5
    assert path.converged.all()
    np.testing.assert_allclose(path.length, exact, rtol=1e-6)
    np.testing.assert_array_equal(path.initial_velocity, end - start)
    np.testing.assert_allclose(path(np.array([0.0, 1.0])), np.stack((start, end), axis=1))


def test_codes_of_kinks_are_the_same_at_every_call():
    immersion, options = Decoder(bent_plane, 2).immersion(), KinkOptions(n_codes=16)
    for codes in (None, CODES[:, :2]):
        first, second = (kink_codes(immersion, codes, options) for _ in range(2))
        assert torch.equal(first, second)
        assert len(first) == 16


class TestGeometry:
    """What a geometry does where derivatives jump."""

    geometry = DecoderGeometry(Decoder(network(5, nn.ReLU()), 5))
    smooth = DecoderGeometry(Decoder(network(5, nn.Tanh()), 5))

    def test_metrics_are_those_of_the_decoder(self):
        jacobian = self.geometry.immersion().jacobian(torch.tensor(CODES))[1]
        exact = (jacobian @ jacobian.transpose(1, 2)).detach().numpy()
        np.testing.assert_allclose(self.geometry.metrics(CODES), exact, rtol=1e-12)

    def test_connections_see_the_curvature_of_kinks(self):
        assert np.abs(self.geometry.connections(CODES)[1]).max() > 0.01
        assert self.geometry.smooth_immersion().smooth
        assert self.smooth.smooth_immersion() is self.smooth.immersion()

    def test_logarithms_are_as_long_as_the_distance(self):
        logs = self.geometry.logs(CODES[:5], CODES[5:10])
        norm = self.geometry.inner_products(logs.velocity, logs.velocity, CODES[:5]) ** 0.5
        np.testing.assert_allclose(norm, logs.length, rtol=1e-9)

    def test_short_exponentials_come_back(self):
        near = CODES[:5] + 0.05 * CODES[5:10]
        end = self.geometry.exps(CODES[:5], self.geometry.logs(CODES[:5], near).velocity)
        miss = np.linalg.norm(end - near, axis=1) / np.linalg.norm(near - CODES[:5], axis=1)
        assert np.median(miss) < 0.1

    def test_velocities_can_be_polished(self):
        path = self.geometry.paths(CODES[:4], CODES[4:8], polish=True, check_minimum=True)
        assert path.local_minimum.shape == (4,)
        plain = self.geometry.paths(CODES[:4], CODES[4:8])
        np.testing.assert_allclose(path.length, plain.length)
        assert (path.status == GeodesicStatus.CONVERGED).all()
