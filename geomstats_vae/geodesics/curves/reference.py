"""The reference element: nodes, quadrature, and matrices between values at points of [-1, 1]."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.polynomial import legendre

from geomstats_vae.geodesics.arrays import Floats


@dataclass(frozen=True)
class ReferenceElement:
    """Nodes and quadrature on [-1, 1].

    Parameters
    ----------
    degree : int
        Polynomial degree.
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
    differentiate_nodes : array, shape=[degree + 1, degree + 1]
        Values at the nodes to derivatives at the nodes.
    differentiate_points : array, shape=[n_quadrature, n_quadrature]
        Values at the quadrature points to derivatives there.
    fine_weights, fine_interpolate, fine_differentiate : array
        The same on twice as many quadrature points.
    bisect : array, shape=[2, degree + 1, degree + 1]
        Values at the nodes to values at the nodes of the two halves.
    """

    degree: int
    nodes: Floats
    points: Floats
    weights: Floats
    interpolate: Floats
    differentiate: Floats
    differentiate_nodes: Floats
    differentiate_points: Floats
    fine_weights: Floats
    fine_interpolate: Floats
    fine_differentiate: Floats
    bisect: Floats


@lru_cache(maxsize=32)
def reference_element(degree: int) -> ReferenceElement:
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
    halves = [lagrange_matrix(nodes, 0.5 * (nodes + side)) for side in (-1.0, 1.0)]
    return ReferenceElement(
        degree=degree,
        nodes=nodes,
        points=points,
        weights=weights,
        interpolate=interpolate,
        differentiate=interpolate @ differentiate,
        differentiate_nodes=differentiate,
        differentiate_points=differentiation_matrix(points),
        fine_weights=fine_weights,
        fine_interpolate=fine_interpolate,
        fine_differentiate=fine_interpolate @ differentiate,
        bisect=np.stack(halves),
    )


@lru_cache(maxsize=64)
def change_of_degree(old: int, new: int) -> Floats:
    """Matrix that takes values at the nodes of one degree to those of another."""
    return lagrange_matrix(reference_element(old).nodes, reference_element(new).nodes)


@lru_cache(maxsize=64)
def sampling_matrix(degree: int, n_chords: int) -> Floats:
    """Matrix that takes values at the nodes to values at equally spaced points, ends included."""
    return lagrange_matrix(reference_element(degree).nodes, np.linspace(-1.0, 1.0, n_chords + 1))


@lru_cache(maxsize=64)
def running_integral(degree: int, at_degree: int) -> Floats:
    """Matrix that integrates an element's values at the fine points from its start to some nodes.

    Parameters
    ----------
    degree : int
        Degree of the element, whose fine rule the values are given on.
    at_degree : int
        Degree of the element up to whose nodes is integrated.

    Returns
    -------
    matrix : array, shape=[at_degree + 1, 2 * (degree + 1)]
        Antiderivatives of the Legendre polynomials through the values.
    """
    n_fine = 2 * (degree + 1)
    to_series = np.linalg.inv(legendre.legvander(legendre.leggauss(n_fine)[0], n_fine - 1))
    integral = np.stack([legendre.legint(series, lbnd=-1.0) for series in np.eye(n_fine)], axis=1)
    return legendre.legvander(reference_element(at_degree).nodes, n_fine) @ integral @ to_series


def _barycentric_weights(nodes: Floats) -> Floats:
    gaps = nodes[:, None] - nodes + np.eye(len(nodes))
    return 1.0 / np.prod(gaps, axis=1)


def lagrange_matrix(nodes: Floats, points: Floats) -> Floats:
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


def differentiation_matrix(nodes: Floats) -> Floats:
    """Matrix that takes values at nodes to derivatives of their interpolant at the nodes."""
    weights = _barycentric_weights(nodes)
    gaps = nodes[:, None] - nodes + np.eye(len(nodes))
    matrix = weights[None, :] / weights[:, None] / gaps
    np.fill_diagonal(matrix, 0.0)
    np.fill_diagonal(matrix, -matrix.sum(axis=1))
    return matrix
