"""Spaces on which distributions are known in closed form, for walks to be compared with."""

import geomstats.backend as gs
import numpy as np
import torch
from geomstats.geometry.euclidean import Euclidean
from geomstats.geometry.riemannian_metric import RiemannianMetric
from scipy import special

from tests.surfaces import TORUS_RADII


def lambert(z):
    """The unit sphere by Lambert's azimuthal equal-area chart, |z| < 2.

    It is not conformal: in two dimensions Brownian motion has no drift in conformal coordinates.
    """
    square = (z * z).sum(-1, keepdim=True)
    return torch.cat((z * torch.sqrt(1.0 - 0.25 * square), 1.0 - 0.5 * square), dim=-1)


def sphere_angle(z, start):
    """Distance on the sphere, of points off the chart the largest one, shape=[n_points]."""
    chord = (lambert(torch.as_tensor(z)) - lambert(torch.as_tensor(start))).norm(dim=-1)
    return np.nan_to_num(2.0 * np.arcsin(np.clip(0.5 * chord.numpy(), 0.0, 1.0)), nan=np.pi)


def heat_kernel_cdf(angle, time):
    """Distribution of a Brownian walker's distance from its start on the unit sphere.

    The density is sum_l (2 l + 1) / 2 exp(-l (l + 1) t / 2) P_l(cos a) sin a, and
    (2 l + 1) P_l is the derivative of P_(l+1) - P_(l-1).
    """
    x, degree = np.cos(angle), np.arange(1, 60)[:, None]
    decay = np.exp(-0.5 * degree * (degree + 1) * time)
    primitive = special.eval_legendre(degree - 1, x) - special.eval_legendre(degree + 1, x)
    return 0.5 * (1.0 - x) + 0.5 * (decay * primitive).sum(axis=0)


class TorusMetric(RiemannianMetric):
    """The torus by the angle around the tube and the angle around the axis, in closed form."""

    def metric_matrix(self, base_point=None):
        outer, inner = TORUS_RADII
        ring = outer + inner * gs.cos(base_point[..., 0])
        zero = 0.0 * ring
        rows = gs.stack([zero + inner**2, zero, zero, ring**2], axis=-1)
        return gs.reshape(rows, (*base_point.shape, 2))

    def christoffels(self, base_point=None):
        outer, inner = TORUS_RADII
        ring = outer + inner * gs.cos(base_point[..., 0])
        sine, zero = inner * gs.sin(base_point[..., 0]), 0.0 * ring
        bend = -sine / ring
        rows = gs.stack([zero, zero, zero, ring * sine / inner**2, zero, bend, bend, zero], axis=-1)
        return gs.reshape(rows, (*base_point.shape, 2, 2))


class ParaboloidMetric(RiemannianMetric):
    """The graph of |z|^2 / 2 over the plane, in closed form: M = 1 + z z'."""

    def metric_matrix(self, base_point=None):
        return gs.eye(2) + base_point[..., :, None] * base_point[..., None, :]

    def christoffels(self, base_point=None):
        square = gs.sum(base_point**2, axis=-1)
        return (base_point / (1.0 + square)[..., None])[..., :, None, None] * gs.eye(2)


def plane_with(metric):
    space = Euclidean(2, equip=False)
    space.equip_with_metric(metric)
    return space


def tube_cdf(angle, log_density=None):
    """Distribution of the angle around the tube, (-pi, pi], by a density of it for the area."""
    outer, inner = TORUS_RADII
    grid = np.linspace(-np.pi, np.pi, 4001)
    weights = outer + inner * np.cos(grid)
    if log_density is not None:
        weights = weights * np.exp(log_density(grid))
    total = np.concatenate([[0.0], np.cumsum(0.5 * (weights[1:] + weights[:-1]))])
    return np.interp(angle, grid, total / total[-1])


def wrap(angle):
    return np.mod(angle + np.pi, 2.0 * np.pi) - np.pi


class QuadratureState(np.random.RandomState):
    """Draws the nodes of a Gauss-Hermite rule instead of noise: expectations without variance."""

    def __new__(cls, n_nodes):
        return super().__new__(cls, 0)

    def __init__(self, n_nodes):
        super().__init__(0)
        nodes, weights = special.roots_hermitenorm(n_nodes)
        self.nodes = np.stack(np.meshgrid(nodes, nodes), axis=-1).reshape(-1, 2)
        self.weights = np.outer(weights, weights).ravel() / weights.sum() ** 2

    def standard_normal(self, size=None):
        assert size == self.nodes.shape
        return self.nodes
