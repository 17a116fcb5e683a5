"""Evaluation of paths between their nodes."""

import numpy as np

from geomstats_vae.geodesics import GeodesicPath, GeodesicStatus
from geomstats_vae.geodesics.curves.reference import reference_element


def _path(points, times, degree):
    one = np.ones(1)
    return GeodesicPath(
        points=points[None],
        times=times[None],
        length=one,
        energy=0.5 * one,
        initial_velocity=np.zeros((1, points.shape[1])),
        final_velocity=np.zeros((1, points.shape[1])),
        converged=one.astype(bool),
        status=np.array([int(GeodesicStatus.CONVERGED)]),
        residual=0.0 * one,
        length_error=0.0 * one,
        n_iter=one.astype(int),
        width=0.0 * one,
        degree=degree,
    )


def test_points_stay_in_order_where_the_times_of_an_element_are_hard_to_interpolate():
    degree = 8
    where = 0.5 * (reference_element(degree).nodes + 1.0)
    times = where**9 / (where**9 + (1.0 - where) ** 9)  # nearly a step: the interpolant overshoots
    points = np.stack((where, 2.0 * where), axis=1)
    found = _path(points, times, degree)(np.linspace(0.0, 1.0, 2001))[0]
    assert (np.diff(found[:, 0]) >= 0.0).all()
    np.testing.assert_allclose(found[:, 1], 2.0 * found[:, 0], atol=1e-12)
    np.testing.assert_allclose(found[[0, -1], 0], [0.0, 1.0], atol=1e-12)


def test_times_that_a_polynomial_follows_are_inverted_to_rounding():
    degree = 8
    where = 0.5 * (reference_element(degree).nodes + 1.0)
    points = np.stack((where, where**2), axis=1)
    t = np.linspace(0.0, 1.0, 101)
    found = _path(points, 0.3 * where + 0.7 * where**3, degree)(t)[0, :, 0]
    np.testing.assert_allclose(0.3 * found + 0.7 * found**3, t, atol=1e-13)
