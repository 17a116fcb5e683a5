"""What the tests of mixtures share."""

import numpy as np

from geomstats_vae.manifolds.geometries import geometry_of


def component_and_logs(land, X):
    """First component, and logarithms of rows in its normal coordinates."""
    component = land._mixture.components[0]
    velocity = geometry_of(land.space_).logs(land.means_[0], X).velocity
    return component, component.frame.coordinates(velocity)


def sphere_quadrature(n=40):
    """Points of the sphere and weights that integrate over its area: Gauss by equal angles."""
    height, weight = np.polynomial.legendre.leggauss(n)
    angle = 2.0 * np.pi * np.arange(2 * n) / (2 * n)
    height, angle = (a.ravel() for a in np.meshgrid(height, angle, indexing="ij"))
    ring = np.sqrt(1.0 - height**2)
    points = np.stack((ring * np.cos(angle), ring * np.sin(angle), height), axis=1)
    return points, np.repeat(weight, 2 * n) * np.pi / n
