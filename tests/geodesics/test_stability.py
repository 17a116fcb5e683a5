"""The second-order check against known conjugate points."""

import math

import numpy as np
import pytest
import torch

from geomstats_vae.geodesics import GeodesicPath, GeodesicSolver, GeodesicStatus
from geomstats_vae.geodesics.curves.chain import straight
from geomstats_vae.geodesics.stability import local_minima
from tests import surfaces

# Along the equators of the torus, where the curvature is constant: r (R + r) = 1 / K outside.
OUTER_CONJUGATE = math.pi * math.sqrt(surfaces.TORUS_RADII[1] * sum(surfaces.TORUS_RADII))


def straight_paths(surface, start, end, n_elements=4, degree=8):
    """Coordinate lines as paths that a solver might return; fill the batch up as it does."""
    start, end = np.array(start, dtype=float), np.array(end, dtype=float)
    nodes = straight(start, end, n_elements, degree).nodes
    nodes = nodes.reshape(len(start), n_elements, degree + 1, -1)
    inner = nodes[:, :, :-1].reshape(len(start), -1, nodes.shape[-1])
    filling = np.repeat(end[:, None], 2 * degree + 1, axis=1)
    points = np.concatenate((inner, filling), axis=1)
    n, flat = len(start), torch.tensor(points.reshape(-1, points.shape[2]))
    value = surface(flat).reshape(*points.shape[:2], -1)
    length = (value[:, 1:] - value[:, :-1]).norm(dim=2).sum(1).numpy()
    where = np.minimum(np.arange(points.shape[1]) / inner.shape[1], 1.0)
    return GeodesicPath(
        points=points,
        times=np.repeat(where[None], n, axis=0),
        length=length,
        energy=0.5 * length**2,
        initial_velocity=end - start,
        final_velocity=end - start,
        converged=np.ones(n, dtype=bool),
        status=np.full(n, GeodesicStatus.CONVERGED),
        residual=np.zeros(n),
        length_error=np.zeros(n),
        n_iter=np.zeros(n, dtype=int),
        width=np.zeros(n),
        degree=degree,
    )


def check(name, start, end, **options):
    path = straight_paths(surfaces.SURFACES[name], start, end, **options)
    return local_minima(surfaces.immersion_of(surfaces.SURFACES[name]), path)


def test_great_circles_are_minima_up_to_half_the_circle():
    arcs = np.array([0.5, 0.9, 0.999, 1.001, 1.1, 1.9]) * math.pi
    equator = np.full_like(arcs, 0.5 * math.pi)
    start = np.stack((equator, 0.0 * arcs), axis=1)
    minimum = check("spherical", start, np.stack((equator, arcs), axis=1))
    np.testing.assert_array_equal(minimum, arcs < math.pi)


def test_great_circles_in_three_dimensions():
    def sphere(z):
        polar, tilt, azimuth = z.unbind(-1)
        ring = polar.sin() * tilt.sin()
        return torch.stack(
            (ring * azimuth.cos(), ring * azimuth.sin(), polar.sin() * tilt.cos(), polar.cos()), -1
        )

    half = 0.5 * math.pi
    path = straight_paths(sphere, [[half, half, 0.0]] * 2, [[half, half, 3.0], [half, half, 3.3]])
    minimum = local_minima(surfaces.immersion_of(sphere, 3), path)
    np.testing.assert_array_equal(minimum, [True, False])


@pytest.mark.parametrize("name", ["plane", "cylinder"])
def test_geodesics_of_flat_surfaces_are_minima(name):
    start = np.zeros((3, 2))
    end = np.array([[1.0, 0.5], [9.0, 1.0], [20.0, 3.0]])
    assert check(name, start, end).all()


def test_equators_of_the_torus():
    ring = sum(surfaces.TORUS_RADII)
    angles = np.array([0.5, 0.99, 1.01, 1.5]) * OUTER_CONJUGATE / ring
    start, end = np.zeros((4, 2)), np.stack((0.0 * angles, angles), axis=1)
    np.testing.assert_array_equal(check("torus", start, end), [True, True, False, False])
    # Inside the curvature is negative: nothing is conjugate, once around and more.
    inside = np.array([math.pi, 0.0])
    assert check("torus", start + inside, 5.0 * end + inside).all()


def test_batches_elements_and_degrees_do_not_matter():
    start, end = [[0.5 * math.pi, 0.0]] * 2, [[0.5 * math.pi, 3.1], [0.5 * math.pi, 3.2]]
    for n_elements, degree in ((1, 8), (2, 6), (12, 4), (40, 2)):
        minimum = check("spherical", start, end, n_elements=n_elements, degree=degree)
        np.testing.assert_array_equal(minimum, [True, False])


def test_what_the_solver_returns():
    immersion = surfaces.immersion_of(surfaces.sphere)
    start, end = 0.6 * np.random.default_rng(0).standard_normal((2, 5, 2))
    end[3] = start[3]
    path = GeodesicSolver().solve(immersion, start, end)
    np.testing.assert_array_equal(local_minima(immersion, path), True)
    # From the wrong side of the sphere the line is a saddle, and the way by a pole is shorter.
    immersion = surfaces.immersion_of(surfaces.spherical)
    ends = np.array([[[0.5 * math.pi, 0.0]], [[0.5 * math.pi, 1.2 * math.pi]]])
    path = GeodesicSolver().solve(immersion, *ends)
    assert path.length[0] == pytest.approx(math.pi, rel=1e-4)


def test_curves_that_did_not_converge_are_no_minima():
    immersion = surfaces.immersion_of(surfaces.sphere)
    start, end = np.array([[-1.5, 1.0]]), np.array([[1.2, 1.4]])
    path = GeodesicSolver(max_iter=1, max_elements=2).solve(immersion, start, end)
    assert not local_minima(immersion, path)[0]
    broken = surfaces.immersion_of(torch.sqrt)
    path = GeodesicSolver().solve(broken, np.array([[-1.0, 1.0]]), np.array([[2.0, 1.0]]))
    assert not local_minima(broken, path)[0]


def test_empty_batches():
    immersion = surfaces.immersion_of(surfaces.sphere)
    path = GeodesicSolver().solve(immersion, np.zeros((0, 2)), np.zeros((0, 2)))
    assert local_minima(immersion, path).shape == (0,)
