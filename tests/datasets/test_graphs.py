"""Hyperboloid and bell: distances against the geodesic equation, and their symmetries."""

import pickle

import numpy as np
import pytest
from scipy.integrate import quad, solve_ivp
from scipy.stats import kstest

from geomstats_vae.datasets import make_bell, make_hyperboloid

GRAPHS = {"hyperboloid": make_hyperboloid, "bell": make_bell}


def slope(name, r):
    return {
        "hyperboloid": r / np.sqrt(1.0 + r**2),
        "bell": -1.5 * r / 0.36 * np.exp(-(r**2) / 0.72),
    }[name]


def second_slope(name, r):
    return {
        "hyperboloid": (1.0 + r**2) ** -1.5,
        "bell": 1.5 / 0.36 * (r**2 / 0.36 - 1.0) * np.exp(-(r**2) / 0.72),
    }[name]


def geodesic_equation(name):
    """Return the change of (x, y, x', y') on the graph of f(r): z'' = -grad f H(z', z') / det M."""

    def change(_, state):
        z, v = state[:2], state[2:]
        r = np.hypot(*z)
        first, second = slope(name, r), second_slope(name, r)
        out = z / r
        hessian = second * np.outer(out, out) + first / r * (np.eye(2) - np.outer(out, out))
        return np.concatenate([v, -first * out * (v @ hessian @ v) / (1.0 + first**2)])

    return change


def turn(z, angle):
    cosine, sine = np.cos(angle), np.sin(angle)
    return z @ np.array([[cosine, sine], [-sine, cosine]])


@pytest.mark.long
@pytest.mark.parametrize("name", GRAPHS)
def test_distances_agree_with_the_geodesic_equation(name):
    """Geodesics too short to have a conjugate point, and away from the top of the bell."""
    start = np.array([[1.0, 0.2], [0.7, -0.9], [-0.2, 1.1]])
    direction = np.array([[-0.4, 0.9], [0.2, 0.5], [-0.5, -0.1]])
    ends, lengths = [], []
    for z, v in zip(start, direction, strict=True):
        path = solve_ivp(
            geodesic_equation(name), (0, 1), [*z, *v], "DOP853", rtol=1e-11, atol=1e-11
        )
        ends.append(path.y[:2, -1])
        lengths.append(
            np.hypot(np.linalg.norm(v), slope(name, np.hypot(*z)) * (z @ v) / np.hypot(*z))
        )
    distances = GRAPHS[name](1).distances(start, np.array(ends))
    assert np.allclose(distances, lengths, rtol=1e-6)


@pytest.mark.parametrize("name", GRAPHS)
def test_meridians_are_geodesics(name):
    arc, _ = quad(lambda r: np.hypot(1.0, slope(name, r)), 0.0, 1.7)
    assert GRAPHS[name](1).distances([0.0, 0.0], [1.02, -1.36]) == pytest.approx(arc, rel=1e-6)


@pytest.mark.parametrize("name", GRAPHS)
def test_distances_do_not_change_by_turns_and_reflections(name):
    """A solver that took the long way around the bell would break this."""
    surface = GRAPHS[name](12, random_state=0)
    a, b = surface.coordinates[:6], surface.coordinates[6:]
    distances = surface.distances(a, b)
    assert np.allclose(surface.distances(b, a), distances, rtol=1e-6)
    assert np.allclose(surface.distances(turn(a, 1.0), turn(b, 1.0)), distances, rtol=1e-6)
    assert np.allclose(surface.distances(a * [1, -1], b * [1, -1]), distances, rtol=1e-6)


def test_ways_past_the_bell_bend_around_it():
    over, _ = quad(lambda r: 2.0 * np.hypot(1.0, slope("bell", r)), 0.0, 1.5)
    around = make_bell(1).distances([-1.5, 0.0], [1.5, 0.0])
    assert 3.0 < around < 0.95 * over


@pytest.mark.parametrize("name", GRAPHS)
def test_points_are_uniform_by_area(name):
    radius = np.linalg.norm(GRAPHS[name](2000, random_state=0).coordinates, axis=1)

    def area(r):
        return quad(lambda s: s * np.hypot(1.0, slope(name, s)), 0.0, r)[0]

    share = np.array([area(r) for r in radius]) / area(2.0)
    assert kstest(share, "uniform").pvalue > 0.01


@pytest.mark.parametrize("name", GRAPHS)
def test_surfaces_can_be_pickled(name):
    surface = GRAPHS[name](5, random_state=0)
    copy = pickle.loads(pickle.dumps(surface))
    assert np.array_equal(copy.embedding(copy.coordinates), surface.data)
