"""Elements of curves for compiled functions: the reference element, scratch, and linear systems."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from geomstats_vae.geodesics.arrays import Floats
from geomstats_vae.geodesics.curves.reference import ReferenceElement
from geomstats_vae.geodesics.table.splines import CALLED, INNER, JetScratch, jet_scratch


class Element(NamedTuple):
    """The reference element, for compiled functions.

    They know the lengths of tuples when they are compiled, and so those of their loops.

    Parameters
    ----------
    axes : tuple of int
        The coordinates.
    nodes : tuple of float
        The nodes.
    factors : tuple of int
        Places of the factors of `products`, four for each quadrature point.
    columns : tuple of int
        Places in a row of a front: unknowns of an element, the right-hand side, and zeros.
    at_points : array, shape=[degree + 1, 2 * n_quadrature]
        From values at the nodes to values, and derivatives, at the quadrature points.
    at_nodes : array, shape=[2 * n_quadrature, degree + 1]
        The transpose.
    products : array, shape=[4 * n_quadrature, (degree + 1)**2]
        Products of these for node a and node b: of both derivatives, value and derivative,
        derivative and value, and both values, each at all quadrature points.
    weights : array, shape=[n_quadrature]
        Quadrature weights.
    """

    axes: tuple[int, ...]
    nodes: tuple[float, ...]
    factors: tuple[int, ...]
    columns: tuple[int, ...]
    at_points: Floats
    at_nodes: Floats
    products: Floats
    weights: Floats

    @classmethod
    def of(cls, element: ReferenceElement, dim: int, *, fine: bool = False) -> Element:
        """Take what is needed of an element; fine: with twice as many quadrature points."""
        b, d, weights = element.interpolate, element.differentiate, element.weights
        if fine:
            b, d, weights = (
                element.fine_interpolate,
                element.fine_differentiate,
                element.fine_weights,
            )
        pairs = ((d, d), (b, d), (d, b), (b, b))
        products = np.concatenate([np.einsum("qa,qo->qao", one, two) for one, two in pairs])
        products = products.reshape(len(products), -1)
        # Rows are as long as a few vectors of the processor.
        n_columns = 4 * -(-(len(element.nodes) * dim + 1) // 4)
        at_nodes = np.concatenate((b, d))
        return cls(
            axes=tuple(range(dim)),
            nodes=tuple(map(float, element.nodes)),
            factors=tuple(range(len(products))),
            columns=tuple(range(n_columns)),
            at_points=np.ascontiguousarray(at_nodes.T),
            at_nodes=at_nodes,
            products=products,
            weights=weights,
        )


class Work(NamedTuple):
    """Scratch of one thread, for curves of at most so many elements.

    Parameters
    ----------
    matrices, lifts : array, shape=[n_elements, n_pairs, (degree + 1)**2]
        Element matrices: Hessians, and what makes them positive where it was asked for. Pairs are
        those of coordinates i <= j; an entry is of coordinate i of node a and coordinate j of
        node b, see `entry`.
    gradient : array, shape=[n_elements, size]
        Element gradients, nodes first.
    energy, length : array, shape=[n_elements]
        Energies and lengths.
    fronts : array, shape=[n_elements, size, n_columns]
        Rows of elements' triangular factors, up to those of the last node, with the right-hand
        sides; and what is left for the last node.
    right : array, shape=[n_unknowns]
        The solution.
    jets : JetScratch
        For jets.
    jet : array, shape=[n_jet, n_pairs]
        A jet.
    point : array, shape=[7, dim, dim]
        Matrices at a point.
    place : array, shape=[2, dim]
        A point and a velocity.
    places, covectors : array, shape=[dim, 2 * n_quadrature]
        Points and velocities; derivatives of the energy by them.
    forms : array, shape=[n_elements, n_pairs, 4 * n_quadrature]
        Factors of the elements' products.
    lifting : array, shape=[n_pairs, n_quadrature]
        Those of the lift.
    """

    matrices: Floats
    lifts: Floats
    gradient: Floats
    energy: Floats
    length: Floats
    fronts: Floats
    right: Floats
    jets: JetScratch
    jet: Floats
    point: Floats
    place: Floats
    places: Floats
    covectors: Floats
    forms: Floats
    lifting: Floats


def make_work(most: int, element: Element) -> Work:
    """Make the scratch for curves of at most so many elements."""
    n_nodes, dim, n_points = len(element.nodes), len(element.axes), len(element.weights)
    size, n_pairs = n_nodes * dim, dim * (dim + 1) // 2
    return Work(
        matrices=np.zeros((most, n_pairs, n_nodes**2)),
        lifts=np.zeros((most, n_pairs, n_nodes**2)),
        gradient=np.zeros((most, size)),
        energy=np.zeros(most),
        length=np.zeros(most),
        fronts=np.zeros((most, size, len(element.columns))),
        right=np.zeros(most * (size - dim) + dim),
        jets=jet_scratch(dim),
        jet=np.zeros((1 + dim + n_pairs, n_pairs)),
        point=np.zeros((7, dim, dim)),
        place=np.zeros((2, dim)),
        places=np.zeros((dim, 2 * n_points)),
        covectors=np.zeros((dim, 2 * n_points)),
        forms=np.zeros((most, n_pairs, 4 * n_points)),
        lifting=np.zeros((n_pairs, n_points)),
    )


@njit(**INNER)
def entry(matrix: Floats, element: Element, i: int, j: int, a: int, b: int) -> float:
    """Entry of an element's matrix: of coordinate i of node a and coordinate j of node b."""
    dim, n_nodes = len(element.axes), len(element.nodes)
    if i > j:
        return matrix[j * dim - j * (j - 1) // 2 + i - j, b * n_nodes + a]
    return matrix[i * dim - i * (i - 1) // 2 + j - i, a * n_nodes + b]


@njit(**CALLED)
def solve(element: Element, n_elements: int, lift: float, work: Work) -> bool:
    """Solve for Newton's step from element matrices and gradients, the end points fixed.

    To the Hessians so much of the lifts is added. One element after the other is eliminated up to
    its last node, whose matrix is handed to the next ("multifrontal"). The step is left in
    `right`, at the places of all nodes, and is zero at the ends.

    Returns
    -------
    definite : bool
        Whether the matrix is positive definite; else there is no step.
    """
    dim, n_nodes, n_columns = len(element.axes), len(element.nodes), len(element.columns)
    inner = (n_nodes - 1) * dim
    size = inner + dim
    for e in range(n_elements):
        front, matrix, lifts = work.fronts[e], work.matrices[e], work.lifts[e]
        pair = 0
        for i in range(dim):
            for j in range(i, dim):
                # Nothing but entries above the diagonal counts.
                for a in range(n_nodes):
                    for b in range(n_nodes):
                        value = matrix[pair, a * n_nodes + b]
                        if lift > 0.0:
                            value += lift * lifts[pair, a * n_nodes + b]
                        row, column = a * dim + i, b * dim + j
                        front[min(row, column), max(row, column)] = value
                pair += 1
        for r in range(size):
            front[r, size] = -work.gradient[e, r]
        if e == 0:
            _fix(front, 0, dim, size)
        else:
            before = work.fronts[e - 1]
            for i in range(dim):
                for j in range(dim):
                    front[i, j] += before[inner + i, inner + j]
                front[i, size] += before[inner + i, size]
        if e == n_elements - 1:
            _fix(front, inner, dim, size)
        for p in range(inner):
            pivot = front[p, p]
            if not pivot > 0.0:
                return False
            inverse = 1.0 / pivot
            for r in range(p + 1, size):
                # The matrix is symmetric: this is the entry of column p.
                factor = front[p, r] * inverse
                for c in range(n_columns):
                    front[r, c] -= factor * front[p, c]
            for c in range(p):
                front[p, c] = 0.0
            front[p, p] = 0.0
            for c in range(n_columns):
                front[p, c] *= inverse
    right, last = work.right, (n_elements - 1) * inner
    for k in range(dim):
        right[last + inner + k] = 0.0
    for e in range(n_elements - 1, -1, -1):
        front, begin = work.fronts[e], e * inner
        for p in range(inner - 1, -1, -1):
            total = front[p, size]
            for c in range(p + 1, size):
                total -= front[p, c] * right[begin + c]
            right[begin + p] = total
    return True


@njit(**INNER)
def _fix(front: Floats, first: int, dim: int, size: int) -> None:
    """Leave the unknowns of a node where they are."""
    for i in range(first, first + dim):
        for c in range(size + 1):
            front[i, c] = 0.0
        for r in range(size):
            front[r, i] = 0.0
        front[i, i] = 1.0
