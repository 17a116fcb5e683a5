"""Logarithms and exponentials at the defaults invert each other, in coordinates of any scale."""

import numpy as np
import pytest
import torch

from geomstats_vae import LatentSpace
from geomstats_vae.datasets import load_digits_vae
from tests import surfaces

# Surfaces, and the middle and half widths of the coordinates.
SURFACES = {
    "sphere": (surfaces.spherical, [1.5, 0.0], [1.0, 1.2]),
    "swiss_roll": (surfaces.swiss_roll, [8.0, 8.0], [2.0, 2.0]),
    "torus": (surfaces.torus, [0.0, 0.0], [2.0, 2.0]),
    "paraboloid": (surfaces.paraboloid, [0.0, 0.0], [2.0, 2.0]),
}


def pairs(name, n_pairs):
    surface, middle, half = SURFACES[name]
    start, end = np.random.default_rng(0).uniform(-1.0, 1.0, (2, n_pairs, 2)) * half
    return surface, start + middle, end + middle


def log_and_back(metric, start, end):
    """The logarithms and their exponentials as arrays, whatever geomstats' backend."""
    log = metric.log(end, start)
    return np.asarray(log), np.asarray(metric.exp(log, start))


@pytest.mark.parametrize("name", SURFACES)
def test_surfaces(name):
    surface, start, end = pairs(name, 20)
    _, back = log_and_back(LatentSpace(surface, dim=2).metric, start, end)
    np.testing.assert_allclose(back, end, rtol=0.0, atol=1e-8)


@pytest.mark.long
def test_digits():
    vae = load_digits_vae()
    first, second = np.random.default_rng(3).choice(len(vae.codes_), (2, 6))
    start, end = vae.codes_[first], vae.codes_[second]
    _, back = log_and_back(vae.latent_space_.metric, start, end)
    missed = np.linalg.norm(back - end, axis=1)
    assert np.median(missed) < 1e-6
    assert missed.max() < 1e-4


@pytest.mark.parametrize("exponent", [3, 8])
def test_coordinates_of_different_scales(exponent):
    """The metric's condition number is 1e6 and 1e16."""
    _, start, end = pairs("sphere", 10)
    scale = np.array([1.0, 10.0**exponent])
    plain = LatentSpace(surfaces.spherical, dim=2).metric
    stretched = LatentSpace(lambda z: surfaces.spherical(z / torch.tensor(scale)), dim=2).metric
    log, back = log_and_back(stretched, scale * start, scale * end)
    np.testing.assert_allclose(log / scale, np.asarray(plain.log(end, start)), rtol=0.0, atol=1e-8)
    np.testing.assert_allclose(back / scale, end, rtol=0.0, atol=1e-8)


@pytest.mark.long
@pytest.mark.parametrize("exponent", [10, 11, 12])
def test_lengths_beyond_are_right_or_not_certified(exponent):
    _, start, end = pairs("sphere", 5)
    scale = np.array([1.0, 10.0**exponent])
    metric = LatentSpace(lambda z: surfaces.spherical(z / torch.tensor(scale)), dim=2).metric
    path = metric.solve_geodesic(scale * start, scale * end)
    expected = surfaces.spherical_distance(torch.tensor(start), torch.tensor(end)).numpy()
    good = np.abs(np.asarray(path.length) / expected - 1.0) < 1e-3
    assert (good | ~np.asarray(path.converged)).all()
