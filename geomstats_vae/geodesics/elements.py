"""Curves made of polynomial elements, their length, and its first and second variation.

A curve is a chain of elements; each is a polynomial through `degree + 1` Gauss-Lobatto-Legendre
nodes in latent space. Its length is the integral of |dF(c')| by Gauss quadrature on the curve
itself, so a wall between two nodes is felt: chords of F between nodes would tunnel through it.
All that a Newton step needs of the decoder is reduced here, element by element, to matrices of
the latent dimension.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.polynomial import legendre

_CACHE_BYTES = 2**21
_SPEED_FLOOR = 1e-9  # of |J| |c'|


@dataclass(frozen=True)
class ReferenceElement:
    """Nodes and quadrature on [-1, 1].

    Parameters
    ----------
    nodes : array, shape=[degree + 1]
        Gauss-Lobatto-Legendre points.
    points : array, shape=[n_quadrature]
        Gauss-Legendre points.
    weights : array, shape=[n_quadrature]
        Gauss-Legendre weights.
    interpolate : array, shape=[n_quadrature, degree + 1]
        Values at the nodes to values at the quadrature points.
    differentiate : array, shape=[n_quadrature, degree + 1]
        Values at the nodes to derivatives at the quadrature points.
    differentiate_points : array, shape=[n_quadrature, n_quadrature]
        Values at the quadrature points to derivatives there.
    fine_weights, fine_interpolate, fine_differentiate : array
        The same on twice as many quadrature points.
    """

    nodes: np.ndarray
    points: np.ndarray
    weights: np.ndarray
    interpolate: np.ndarray
    differentiate: np.ndarray
    differentiate_points: np.ndarray
    fine_weights: np.ndarray
    fine_interpolate: np.ndarray
    fine_differentiate: np.ndarray

    @property
    def degree(self):
        """Polynomial degree."""
        return len(self.nodes) - 1


@lru_cache(maxsize=32)
def reference_element(degree):
    """Build the reference element of a degree, with degree + 1 quadrature points.

    Parameters
    ----------
    degree : int
        Polynomial degree, at least 1.

    Returns
    -------
    element : ReferenceElement
        Nodes, quadrature and matrices.
    """
    inner = legendre.legroots(legendre.legder(np.eye(degree + 1)[degree]))
    nodes = np.concatenate(([-1.0], np.sort(inner.real), [1.0]))
    points, weights = legendre.leggauss(degree + 1)
    fine_points, fine_weights = legendre.leggauss(2 * (degree + 1))
    interpolate = lagrange_matrix(nodes, points)
    fine_interpolate = lagrange_matrix(nodes, fine_points)
    differentiate = differentiation_matrix(nodes)
    return ReferenceElement(
        nodes,
        points,
        weights,
        interpolate,
        interpolate @ differentiate,
        differentiation_matrix(points),
        fine_weights,
        fine_interpolate,
        fine_interpolate @ differentiate,
    )


def _barycentric_weights(nodes):
    gaps = nodes[:, None] - nodes + np.eye(len(nodes))
    return 1.0 / np.prod(gaps, axis=1)


def lagrange_matrix(nodes, points):
    """Matrix that takes values at nodes to values of their interpolant at points.

    Parameters
    ----------
    nodes : array, shape=[n_nodes]
        Interpolation nodes.
    points : array, shape=[n_points]
        Where to evaluate.

    Returns
    -------
    matrix : array, shape=[n_points, n_nodes]
        Lagrange basis at the points, in barycentric form.
    """
    gaps = np.asarray(points)[:, None] - nodes
    hit = gaps == 0.0
    terms = _barycentric_weights(nodes) / np.where(hit, 1.0, gaps)
    matrix = terms / terms.sum(axis=1, keepdims=True)
    rows = hit.any(axis=1)
    matrix[rows] = hit[rows]
    return matrix


def differentiation_matrix(nodes):
    """Matrix that takes values at nodes to derivatives of their interpolant at the nodes."""
    weights = _barycentric_weights(nodes)
    gaps = nodes[:, None] - nodes + np.eye(len(nodes))
    matrix = weights[None, :] / weights[:, None] / gaps
    np.fill_diagonal(matrix, 0.0)
    np.fill_diagonal(matrix, -matrix.sum(axis=1))
    return matrix


@dataclass
class PerElement:
    """Arrays with one entry per element, taken, written and repeated together."""

    def __getitem__(self, rows):
        return type(self)(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))

    def __setitem__(self, rows, other):
        for name in self.__dataclass_fields__:
            getattr(self, name)[rows] = getattr(other, name)

    def repeat(self, repeats):
        """Repeat entries; repeats shape=[n_elements]."""
        columns = [getattr(self, name) for name in self.__dataclass_fields__]
        return type(self)(*(np.repeat(column, repeats, axis=0) for column in columns))


@dataclass
class ElementSystem(PerElement):
    """Length of each element and its variations with respect to the element's nodes.

    Parameters
    ----------
    length : array, shape=[n_elements]
        Lengths.
    gradient : array, shape=[n_elements, (degree + 1) * dim]
        Derivative of the length.
    stiffness : array, shape=[n_elements, (degree + 1) * dim, (degree + 1) * dim]
        Gauss-Newton matrix of the energy at the present speed, int |D u|^2 / |c'|.
    curvature : array, same shape
        What Gauss-Newton leaves out, int <t, (d^2 F(u, u))'>.
    mass : array, same shape
        int |u|^2 |c'|, the squared norm of a displacement.
    turning : array, shape=[n_elements]
        Angle, in radians, by which the curve turns in the decoder's target.
    """

    length: np.ndarray
    gradient: np.ndarray
    stiffness: np.ndarray
    curvature: np.ndarray
    mass: np.ndarray
    turning: np.ndarray

    @property
    def finite(self):
        """Whether all is finite, shape=[n_elements]."""
        parts = (self.stiffness, self.curvature)
        return np.logical_and(*(np.isfinite(part).all(axis=(1, 2)) for part in parts))


def cache_sized_chunk(immersion, rows=None):
    """Choose how many points to evaluate at once: as many as fit a processor's cache, 2 MB.

    Parameters
    ----------
    immersion : Immersion
        Evaluated at one point, the origin, to learn its number of outputs.
    rows : int, optional
        Rows of that many outputs held per point; by default those of all first and second
        derivatives along one direction.

    Returns
    -------
    chunk_size : int
        Between 16 and 1024; on other devices than the host there is no such limit, and 65536.
    """
    if immersion.device.type != "cpu":
        return 65536
    origin = torch.zeros(1, immersion.dim, dtype=immersion.dtype, device=immersion.device)
    size = immersion(origin).shape[1] * (rows or 2 * immersion.dim + 1) * 8
    return int(np.clip(_CACHE_BYTES // size, 16, 1024))


class ElementEvaluator:
    """Evaluates elements of one degree on one immersion, in chunks of bounded memory.

    Parameters
    ----------
    immersion : Immersion
        The decoder's F.
    degree : int
        Polynomial degree of the elements.
    chunk_size : int
        Number of points evaluated at once.
    """

    def __init__(self, immersion, degree, chunk_size=64):
        self.immersion = immersion
        self.element = reference_element(degree)
        self.dtype, self.device = immersion.dtype, immersion.device
        self.chunk_size = chunk_size
        self._b, self._d = self.rule("interpolate"), self.rule("differentiate")
        self._w, self._dq = self.rule("weights"), self.rule("differentiate_points")
        # What takes weighted inner products at the points to those of nodal displacements.
        basis = torch.stack((self._b, self._d), dim=1)
        self._lift = (self._w[:, None, None] * basis).flatten(0, 1)
        self._products = torch.einsum("qsa,qtb->qstab", basis, basis).flatten(0, 2).flatten(1)
        self._squares = torch.einsum("qa,qb->qab", self._b, self._b).flatten(1)
        self._fine = tuple(
            self.rule(f"fine_{name}") for name in ("interpolate", "differentiate", "weights")
        )

    @property
    def numpy_dtype(self):
        """Numpy's name of the floating-point type."""
        return str(self.dtype).removeprefix("torch.")

    def rule(self, name):
        """Part of the reference element, as a tensor."""
        return self.tensor(getattr(self.element, name))

    def tensor(self, array):
        """Array as a tensor of the immersion's type, on its device."""
        return torch.as_tensor(array, dtype=self.dtype, device=self.device)

    def _chunks(self, nodes, points_each):
        nodes = self.tensor(nodes)
        return nodes.split(max(1, self.chunk_size // points_each)) if len(nodes) else ()

    def speed(self, nodes):
        """Speed |dF(c')| of each element on the finer rule.

        Parameters
        ----------
        nodes : array, shape=[n_elements, degree + 1, dim]
            Nodes of the elements.

        Returns
        -------
        speed : array, shape=[n_elements, 2 * (degree + 1)]
            Speeds; not finite where the decoder is not.
        """
        interpolate, differentiate, weights = self._fine
        speeds = [np.zeros((0, len(weights)))]
        for part in self._chunks(nodes, len(weights)):
            pushed = self.immersion.push(*curve_points(part, interpolate, differentiate))
            speeds.append(to_numpy(pushed.norm(dim=1).view(len(part), -1)))
        return np.concatenate(speeds)

    def length(self, nodes):
        """Length of each element, on twice the quadrature points that `system` takes.

        Parameters
        ----------
        nodes : array, shape=[n_elements, degree + 1, dim]
            Nodes of the elements.

        Returns
        -------
        length : array, shape=[n_elements]
            Lengths; not finite where the decoder is not.
        """
        return self.speed(nodes) @ self.element.fine_weights

    def chord_length(self, points):
        """Length of polylines, by chords of F.

        Parameters
        ----------
        points : array, shape=[n_lines, n_vertices, dim]
            Vertices.

        Returns
        -------
        length : array, shape=[n_lines]
            Sums of the chords.
        """
        lengths = [np.zeros(0)]
        for part in self._chunks(points, points.shape[1]):
            lengths.append(to_numpy(chord_lengths(self.immersion, part, self.chunk_size)))
        return np.concatenate(lengths)

    def metric(self, points):
        """Metric matrices at latent codes, shape=[n_points, dim, dim]."""
        parts = [to_numpy(self.immersion.metric(part)) for part in self._chunks(points, 1)]
        return np.concatenate([np.zeros((0, *(points.shape[1:] * 2))), *parts])

    def system(self, nodes):
        """Length of each element with its first and second variation.

        Parameters
        ----------
        nodes : array, shape=[n_elements, degree + 1, dim]
            Nodes of the elements.

        Returns
        -------
        system : ElementSystem
            All reduced to matrices of the latent dimension.
        """
        parts = [self._system(part) for part in self._chunks(nodes, len(self._w))]
        return ElementSystem(*(to_numpy(torch.cat(column)) for column in zip(*parts, strict=True)))

    def _system(self, nodes):
        n_elements, n_nodes, dim = nodes.shape
        n_points, size = len(self._w), n_nodes * dim
        position, velocity = curve_points(nodes, self._b, self._d)
        jet = self.immersion.jet(position, velocity)
        speed_vector = (velocity[:, None, :] @ jet.tangents)[:, 0]
        speed = speed_vector.norm(dim=1)
        tangent = speed_vector / speed.clamp_min(torch.finfo(speed.dtype).tiny)[:, None]
        rows = torch.cat((jet.derivatives.transpose(0, 1), jet.tangents.transpose(0, 1)))
        rows = rows.transpose(0, 1)
        inner = rows @ rows.transpose(1, 2)
        metric = inner[:, dim:, dim:]
        along = (rows @ tangent[:, :, None]).view(n_elements, 2 * n_points, dim)
        # Where the velocity lies in the metric's null space its speed says nothing: a floor.
        scale = metric.diagonal(dim1=1, dim2=2).sum(1).clamp_min(0.0).sqrt()
        per_speed = inverse_speed(speed, scale * velocity.norm(dim=1))
        tangent = tangent.view(n_elements, n_points, -1)
        turn = self._dq @ tangent
        # int t . (d^2F(u, u))' by parts, the ends left out: d^2F(u, u) is no polynomial of the
        # element's degree, so its interpolant must not be differentiated.
        covector = -(self._w[:, None] * turn).flatten(0, 1)
        hessian = jet.hessian(_normal_part(covector, jet.tangents, metric))

        # A variation u of the nodes changes the velocity in the target by J u' + d^2F(c', u).
        weight = (self._w * per_speed.view(n_elements, -1)).view(-1, 1, 1)
        inner_by_speed = (inner * weight).view(n_elements, n_points, 2, dim, 2, dim)
        inner_by_speed = inner_by_speed.permute(0, 3, 5, 1, 2, 4).flatten(3)
        speed = speed.view(n_elements, n_points)
        masses = metric.view(n_elements, n_points, dim, dim) * (self._w * speed)[:, :, None, None]
        return (
            speed @ self._w,
            (self._lift.T @ along).flatten(1),
            _by_nodes(inner_by_speed @ self._products, size),
            _by_nodes(_points_last(hessian, n_points) @ self._squares, size),
            _by_nodes(_points_last(masses.flatten(0, 1), n_points) @ self._squares, size),
            turn.norm(dim=-1) @ self._w,
        )


def chord_lengths(immersion, points, chunk_size):
    """Lengths of polylines, by chords of F.

    Parameters
    ----------
    immersion : Immersion
        The decoder's F.
    points : torch.Tensor, shape=[n_lines, n_vertices, dim]
        Vertices.
    chunk_size : int
        Longer lines are evaluated in pieces of so many vertices, at least 2.

    Returns
    -------
    length : torch.Tensor, shape=[n_lines]
        Sums of the chords.
    """
    length, chunk_size = points.new_zeros(len(points)), max(2, chunk_size)
    for first in range(0, points.shape[1] - 1, chunk_size - 1):
        piece = points[:, first : first + chunk_size]
        value = immersion(piece.flatten(0, 1)).unflatten(0, piece.shape[:2])
        length = length + value.diff(dim=1).norm(dim=2).sum(1)
    return length


def inverse_speed(speed, most):
    """One over the speed, bounded in terms of the most that the speed could have been."""
    floor = _SPEED_FLOOR * most
    return torch.where(floor > 0.0, torch.maximum(speed, floor), 1.0).reciprocal()


def _points_last(matrices, n_points):
    """Matrices at points as shape=[n_elements, dim, dim, n_points]."""
    return matrices.unflatten(0, (-1, n_points)).permute(0, 2, 3, 1)


def _by_nodes(products, size):
    """Element matrices from shape=[n_elements, dim, dim, n_nodes^2]."""
    n_elements, dim = products.shape[:2]
    n_nodes = size // dim
    products = products.view(n_elements, dim, dim, n_nodes, n_nodes)
    return products.permute(0, 3, 1, 4, 2).reshape(n_elements, size, size)


def _normal_part(covector, tangents, metric):
    """Part of a covector normal to the image: its Hessian is the curvature alone."""
    factor, info = torch.linalg.cholesky_ex(metric)
    coefficients = torch.cholesky_solve(tangents @ covector[:, :, None], factor)
    # A singular metric has no normal space to project to: keep the plain Hessian there.
    coefficients = torch.where((info == 0)[:, None, None], coefficients, 0.0)
    return covector - (coefficients.transpose(1, 2) @ tangents)[:, 0]


def curve_points(nodes, interpolate, differentiate):
    """Positions and velocities at the quadrature points, shape=[n_points, dim]."""
    dim = nodes.shape[-1]
    position = torch.einsum("qa,ead->eqd", interpolate, nodes)
    velocity = torch.einsum("qa,ead->eqd", differentiate, nodes)
    return position.reshape(-1, dim), velocity.reshape(-1, dim)


def to_numpy(tensor):
    """Copy a tensor to a float64 array on the host."""
    return tensor.detach().double().cpu().numpy()
