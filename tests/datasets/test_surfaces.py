"""Surfaces in closed form: points lie on them, and distances are those along them."""

import numpy as np
import pytest
import sklearn.datasets
from scipy.stats import kstest

from geomstats_vae.datasets import (
    make_bell,
    make_hyperboloid,
    make_moons,
    make_s_curve,
    make_sphere,
    make_swiss_roll,
    make_two_gaussians,
)

CLOSED_FORMS = {
    "sphere": make_sphere,
    "s_curve": make_s_curve,
    "swiss_roll": make_swiss_roll,
}
SURFACES = CLOSED_FORMS | {"hyperboloid": make_hyperboloid, "bell": make_bell}
ALL = SURFACES | {"moons": make_moons, "two_gaussians": make_two_gaussians}


# Zero on the surface; r is the distance from the axis.
EQUATIONS = {
    "sphere": lambda x, y, z, r: r**2 + z**2 - 1.0,
    "s_curve": lambda x, y, z, r: x**2 + (np.abs(z) - 1.0) ** 2 - 1.0,
    # The radius of a spiral of Archimedes is its angle.
    "swiss_roll": lambda x, y, z, r: np.sin(np.hypot(x, z) - np.arctan2(z, x)),
    "hyperboloid": lambda x, y, z, r: z**2 - r**2 - 1.0,
    "bell": lambda x, y, z, r: np.log(z / 1.5) + r**2 / 0.72,
}


@pytest.mark.parametrize("name", SURFACES)
def test_points_lie_on_the_surface(name):
    surface = SURFACES[name](300, random_state=0)
    assert surface.data.shape == (300, 3)
    assert surface.coordinates.shape == (300, 2)
    x, y, z = surface.data.T
    assert np.allclose(EQUATIONS[name](x, y, z, np.hypot(x, y)), 0.0, atol=1e-10)
    assert np.allclose(surface.embedding(surface.coordinates), surface.data, atol=1e-12)


@pytest.mark.parametrize("name", ALL)
def test_the_noise_is_normal_and_as_large_as_asked(name):
    noisy = ALL[name](2000, noise=0.1, random_state=0)
    noise = noisy.data - noisy.embedding(noisy.coordinates)
    # One test for each of seven sets.
    assert kstest(noise.ravel() / 0.1, "norm").pvalue > 0.01 / len(ALL)


@pytest.mark.parametrize("name", ALL)
def test_the_seed_decides_the_points_and_nothing_else_changes(name):
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    first, again, other = (ALL[name](50, noise=0.1, random_state=seed) for seed in (0, 0, 1))
    assert np.array_equal(first.data, again.data)
    assert np.array_equal(first.coordinates, again.coordinates)
    assert not np.array_equal(first.data, other.data)
    assert np.array_equal(np.random.get_state()[1], state)  # noqa: NPY002


@pytest.mark.parametrize("name", ALL)
def test_a_generator_goes_on_where_it_was(name):
    generator = np.random.RandomState(0)
    first, second = (ALL[name](50, noise=0.1, random_state=generator) for _ in range(2))
    assert not np.array_equal(first.data, second.data)


@pytest.mark.parametrize("name", ["s_curve", "swiss_roll", "moons"])
def test_data_are_those_of_scikit_learn(name):
    ours = ALL[name](60, noise=0.2, random_state=3)
    data, target = getattr(sklearn.datasets, f"make_{name}")(60, noise=0.2, random_state=3)
    assert np.array_equal(ours.data, data)
    assert np.array_equal(ours.target, target)


def test_points_on_the_sphere_are_uniform_by_area():
    # Caps up to the colatitude t have the area 2 pi (1 - cos t).
    sphere = make_sphere(5000, random_state=0, max_colatitude=2.0)
    colatitude, longitude = sphere.coordinates.T
    share = (1.0 - np.cos(colatitude)) / (1.0 - np.cos(2.0))
    assert kstest(share, "uniform").pvalue > 0.01
    assert kstest((longitude / np.pi + 1.0) / 2.0, "uniform").pvalue > 0.01


def test_points_on_the_s_curve_are_uniform_by_area():
    t, width = make_s_curve(5000, random_state=0).coordinates.T
    assert kstest(t / (3.0 * np.pi) + 0.5, "uniform").pvalue > 0.01
    assert kstest(width / 2.0, "uniform").pvalue > 0.01


@pytest.mark.parametrize("name", CLOSED_FORMS)
def test_distances_are_limits_of_path_lengths(name):
    """Chords of a curve that runs as the geodesic must, however its coordinates are."""
    surface = SURFACES[name](40, random_state=0)
    a, b = surface.coordinates[:20, None], surface.coordinates[20:, None]
    t = np.linspace(0.0, 1.0, 4001)[:, None]
    if name == "sphere":
        # The segment between two points of a sphere, seen from its centre, is a great circle.
        curve = (1.0 - t) * surface.embedding(a) + t * surface.embedding(b)
        curve /= np.linalg.norm(curve, axis=-1, keepdims=True)
    elif name == "s_curve":
        curve = surface.embedding((1.0 - t) * a + t * b)
    else:
        # Straight after unrolling: the height grows with the arc length, here by quadrature.
        angles = np.linspace(a[:, 0, 0], b[:, 0, 0], 4001, axis=1)
        steps = np.diff(angles, axis=1) * np.hypot(1.0, (angles[:, 1:] + angles[:, :-1]) / 2.0)
        share = np.cumsum(np.pad(steps, ((0, 0), (1, 0))), axis=1) / steps.sum(1, keepdims=True)
        heights = a[..., 1] + share * (b[..., 1] - a[..., 1])
        curve = surface.embedding(np.stack([angles, heights], axis=-1))
    chords = np.linalg.norm(np.diff(curve, axis=1), axis=-1).sum(axis=1)
    # Chords are too short, by a share of (turning per chord)^2 / 24: below 1e-6 in all three.
    assert np.allclose(surface.distances(a, b)[:, 0], chords, rtol=1e-6)


@pytest.mark.parametrize("name", CLOSED_FORMS)
def test_distances_broadcast_and_are_never_below_the_chord(name):
    surface = SURFACES[name](30, random_state=0)
    z = surface.coordinates
    distances = surface.distances(z[:, None], z[None])
    chords = np.linalg.norm(surface.data[:, None] - surface.data[None], axis=-1)
    assert np.allclose(distances, distances.T)
    assert np.array_equal(np.diag(distances), np.zeros(30))
    assert (distances >= chords - 1e-12).all()


def test_antipodes_are_half_a_circle_apart():
    sphere = make_sphere(1)
    north = np.array([0.3, 0.2])
    south = np.array([np.pi - 0.3, 0.2 + np.pi])
    assert sphere.distances(north, south) == pytest.approx(np.pi, abs=1e-14)


@pytest.mark.parametrize("name", ["sphere", "hyperboloid", "bell", "two_gaussians"])
def test_arguments_out_of_range(name):
    with pytest.raises(ValueError, match="Expected n_samples >= 1, got 0"):
        ALL[name](0)
    with pytest.raises(ValueError, match="Expected 0 <= noise < inf, got -1"):
        ALL[name](10, noise=-1.0)


def test_a_cap_larger_than_the_sphere():
    with pytest.raises(ValueError, match="max_colatitude <= pi"):
        make_sphere(10, max_colatitude=4.0)


@pytest.mark.parametrize("name", ["moons", "two_gaussians"])
def test_groups_in_the_plane_are_no_surface(name):
    groups = ALL[name](200, random_state=0)
    assert groups.distances is None
    assert groups.data.shape == (200, 2)
    assert np.array_equal(np.bincount(groups.target), [100, 100])


def test_two_gaussians_are_normal():
    gaussians = make_two_gaussians(4001, random_state=0)
    for k, center in enumerate(([-2.0, 0.0], [2.0, 0.0])):
        standard = (gaussians.data[gaussians.target == k] - center) / 0.6
        assert kstest(standard.ravel(), "norm").pvalue > 0.01
