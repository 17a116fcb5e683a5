"""Parallel frames along curves, which turn a second variation into nearly the identity.

In a frame E(t) that is orthonormal for the metric and parallel along the curve, a variation
u = E w has the covariant derivative Du = E w', so that the energy's second variation
int |Du|^2 - <R(c', u) c', u> is int |w'|^2 up to the curvature, a compact part. Hence
E (K^-1 x 1) E', with the stiffness K of scalar functions on the curve's elements, is its inverse
up to a few eigenvalues, whatever the metric, its condition and the latent coordinates.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.linalg import lapack

from geomstats_vae.geodesics import banded
from geomstats_vae.geodesics.chains import element_view, join_nodes
from geomstats_vae.geodesics.elements import lagrange_matrix, reference_element

# Of the mean square that each latent coordinate adds to the metric; that which singular metrics
# leave to a coordinate, relative to the others.
_RIDGE, _NULL = 1e-3, 1e-6
_JACOBIAN_BYTES = 2**25  # of the Jacobians held at once
# Degree of the frames on each element, which vary slowly; less where a curve has many elements.
_DEGREES = ((16, 4), (64, 2), (2**62, 1))


class Frames:
    """Parallel orthonormal frames along one curve, as polynomials on its elements.

    Parameters
    ----------
    values : torch.Tensor, shape=[n_elements, degree + 1, dim, dim]
        Frames at the Gauss-Lobatto points of the elements; columns are the basis.
    """

    def __init__(self, values):
        self.values = values
        self._knots = reference_element(values.shape[1] - 1).nodes

    @classmethod
    def along(cls, immersion, nodes):
        """Build the frames of a curve.

        Parameters
        ----------
        immersion : Immersion
            The decoder's F.
        nodes : torch.Tensor, shape=[n_elements, degree + 1, dim]
            Nodes of the curve's elements.

        Returns
        -------
        frames : Frames
            The frames, of the same degree or less.
        """
        degree = next(degree for most, degree in _DEGREES if len(nodes) <= most)
        degree = min(degree, nodes.shape[1] - 1)
        old, new = (reference_element(n).nodes for n in (nodes.shape[1] - 1, degree))
        points = join_nodes(_like(nodes, lagrange_matrix(old, new)) @ nodes)
        return cls(element_view(parallel_frames(immersion, points), degree))

    def spread(self, points):
        """Matrix that takes values at the frames' points to values at others of an element."""
        return _like(self.values, lagrange_matrix(self._knots, points))

    def at(self, points):
        """Frames at points of the elements, shape=[n_elements, n_points, dim, dim]."""
        return torch.einsum("qk,ekij->eqij", self.spread(points), self.values)

    def split(self, marked):
        """Frames of the halves of marked elements, and of the others as they are.

        Parameters
        ----------
        marked : array of bool, shape=[n_elements]
            Elements that are bisected.

        Returns
        -------
        frames : Frames
            The same frames.
        """
        repeats = np.where(marked, 2, 1)
        values = self.values.repeat_interleave(torch.as_tensor(repeats), dim=0)
        first = (np.cumsum(repeats) - repeats)[marked]
        for side in (0, 1):
            half = self.spread(0.5 * (self._knots + 2.0 * side - 1.0))
            halves = torch.einsum("qk,ekij->eqij", half, self.values[marked])
            values[first + side] = halves
        return Frames(values)


class FramePreconditioner:
    """Approximate inverse of the second variation of one curve, its ends fixed.

    Parameters
    ----------
    frames : Frames
        Frames along the curve.
    element : ReferenceElement
        The curve's elements.
    weights : torch.Tensor, shape=[n_elements, n_quadrature]
        Quadrature weights over speeds.
    """

    def __init__(self, frames, element, weights):
        self.degree, self._frames = element.degree, frames
        self._spread = frames.spread(element.nodes)
        rule = element.differentiate
        weights = weights.double().cpu().numpy()
        stiffness = np.einsum("eq,qa,qb->eab", weights, rule, rule)
        assembled = banded.assemble(stiffness, np.array([len(weights)]), self.degree, 1)
        # The stiffness of scalar functions that vanish at both ends.
        self._factor, info = lapack.dpbtrf(assembled[:, 1:-1], lower=1)
        self.sound = info == 0 and bool(torch.isfinite(frames.values).all())

    def __call__(self, covector):
        """Apply; shape=[n_nodes, dim] of covectors to shape=[n_nodes, dim] of displacements."""
        # Each frame acts on all nodes of its element at once; then the products are blended.
        values = self._frames.values
        local = element_view(covector, self.degree)[:, None] @ values
        local = join_nodes(torch.einsum("pk,ekpj->epj", self._spread, local))
        right = local[1:-1].double().cpu().numpy()
        inner, _ = lapack.dpbtrs(self._factor, right, lower=1)
        solved = torch.zeros_like(local)
        solved[1:-1] = _like(local, inner)
        back = element_view(solved, self.degree)[:, None] @ values.transpose(2, 3)
        return join_nodes(torch.einsum("pk,ekpi->epi", self._spread, back))


def parallel_frames(immersion, points):
    """Orthonormal frames along a polygon, each the last one moved in parallel.

    Parameters
    ----------
    immersion : Immersion
        The decoder's F.
    points : torch.Tensor, shape=[n_points, dim]
        Vertices of the polygon.

    Returns
    -------
    frames : torch.Tensor, shape=[n_points, dim, dim]
        Matrices E, of basis vectors as columns, with E'ME = 1.
    """
    metric, mixed = _inner_products(immersion, points)
    # As if the latent coordinates, scaled down, were outputs too: so steps keep to where the
    # Jacobian is of use, and null directions of a singular metric stay null from frame to frame.
    square = metric.diagonal(dim1=1, dim2=2).mean(dim=0)
    ridge = _RIDGE * torch.maximum(square, _NULL * square.mean())
    ridge = torch.diag(torch.where(ridge > 0.0, ridge, 1.0))  # without a metric any frame will do
    lower, _ = torch.linalg.cholesky_ex(metric + ridge)
    mixed = mixed + ridge
    # Parallel transport in the target: project onto the next tangent space, orthonormalise.
    mixed = torch.linalg.solve_triangular(lower[1:], mixed, upper=False)
    mixed = torch.linalg.solve_triangular(lower[:-1], mixed.transpose(1, 2), upper=False)
    rotation, upper = torch.linalg.qr(mixed.transpose(1, 2))
    sign = torch.where(upper.diagonal(dim1=1, dim2=2) < 0.0, -1.0, 1.0).to(points.dtype)
    turned = [torch.eye(points.shape[1], dtype=points.dtype, device=points.device)]
    for step in rotation * sign[:, None, :]:
        turned.append(step @ turned[-1])
    return torch.linalg.solve_triangular(lower.transpose(1, 2), torch.stack(turned), upper=True)


def _inner_products(immersion, points):
    """Metrics J J' at points, and the products of each Jacobian with the one before."""
    metrics, mixed, last, begin, chunk = [], [], None, 0, 2
    while begin < len(points):
        tangents = immersion.jacobian(points[begin : begin + chunk])[1]
        metrics.append(tangents @ tangents.transpose(1, 2))
        before = tangents[:-1] if last is None else torch.cat((last, tangents[:-1]))
        mixed.append(tangents[-len(before) :] @ before.transpose(1, 2))
        begin, last = begin + chunk, tangents[-1:].clone()
        chunk = max(1, _JACOBIAN_BYTES // (tangents[0].numel() * tangents.element_size()))
    return torch.cat(metrics), torch.cat(mixed)


def _like(tensor, array):
    return torch.as_tensor(array, dtype=tensor.dtype, device=tensor.device)
