"""Newton's method for the energy of one curve in a tabulated metric, compiled.

A curve is a chain of polynomial elements in latent space, over times that need not be equal. Its
energy is 1/2 int <c', c'>. Where its Hessian is not positive definite it is lifted: at each
quadrature point it is a quadratic form of displacement and velocity, whose negative part can be
taken away.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from geomstats_vae.geodesics.arrays import Floats
from geomstats_vae.geodesics.curves.reference import ReferenceElement
from geomstats_vae.geodesics.table.splines import INNER, SplineTree, spline_jet


class Element(NamedTuple):
    """The reference element, for compiled functions.

    Parameters
    ----------
    interpolate, differentiate : array, shape=[n_quadrature, degree + 1]
        Values at the nodes to values and derivatives at the quadrature points.
    weights : array, shape=[n_quadrature]
        Quadrature weights.
    """

    interpolate: Floats
    differentiate: Floats
    weights: Floats

    @classmethod
    def of(cls, element: ReferenceElement, *, fine: bool = False) -> Element:
        """Take what is needed of an element; fine: with twice as many quadrature points."""
        parts = element.interpolate, element.differentiate, element.weights
        if fine:
            parts = element.fine_interpolate, element.fine_differentiate, element.fine_weights
        return cls(*(np.ascontiguousarray(part) for part in parts))


class Work(NamedTuple):
    """Scratch of one thread, for curves of at most so many elements.

    Parameters
    ----------
    matrices, lifts : array, shape=[n_elements, dim, dim, degree + 1, degree + 1]
        Element matrices: Hessians, and what makes them positive where it was asked for. Entry
        [i, j, a, b] is of coordinate i of node a and coordinate j of node b; the lower halves are
        written.
    gradient : array, shape=[n_elements, size]
        Element gradients.
    energy : array, shape=[n_elements]
        Energies.
    factor : array, shape=[n_unknowns, size]
        Rows of the Cholesky factor, up to the diagonal, which stands last.
    right : array, shape=[n_unknowns]
        Right-hand side, then the solution.
    weights : array, shape=[3, 3, 6]
        Weights of splines.
    jet : array, shape=[n_jet, n_functions]
        A jet.
    point : array, shape=[7, dim, dim]
        Matrices at a point.
    place : array, shape=[2, dim]
        A point and a velocity.
    """

    matrices: Floats
    lifts: Floats
    gradient: Floats
    energy: Floats
    factor: Floats
    right: Floats
    weights: Floats
    jet: Floats
    point: Floats
    place: Floats


def make_work(most: int, degree: int, dim: int) -> Work:
    """Make the scratch for curves of at most so many elements."""
    size, n_unknowns = (degree + 1) * dim, (most * degree + 1) * dim
    return Work(
        np.zeros((most, dim, dim, degree + 1, degree + 1)),
        np.zeros((most, dim, dim, degree + 1, degree + 1)),
        np.zeros((most, size)),
        np.zeros(most),
        np.zeros((n_unknowns, size)),
        np.zeros(n_unknowns),
        np.zeros((3, 3, 6)),
        np.zeros((1 + dim + dim * (dim + 1) // 2, dim * (dim + 1) // 2)),
        np.zeros((7, dim, dim)),
        np.zeros((2, dim)),
    )


@njit(**INNER)
def _forms(jet: Floats, r: Floats, point: Floats) -> None:
    """Quadratic forms of the energy at a point: M, C = 2 dM(.) r, r' d2M r, and r' dM r."""
    dim = len(r)
    metric, cross, curved, first = point[0], point[1], point[2], point[3]
    for i in range(dim):
        first[0, i] = 0.0
        for j in range(dim):
            curved[i, j] = cross[i, j] = 0.0
    n = 0
    for i in range(dim):
        for j in range(i, dim):
            metric[i, j] = metric[j, i] = jet[0, n]
            weight = r[i] * r[j] if i == j else 2.0 * r[i] * r[j]
            for k in range(dim):
                slope = jet[1 + k, n]
                first[0, k] += weight * slope
                cross[i, k] += 2.0 * slope * r[j]
                if i != j:
                    cross[j, k] += 2.0 * slope * r[i]
            m = 0
            for k in range(dim):
                for o in range(k, dim):
                    curved[k, o] += weight * jet[1 + dim + m, n]
                    m += 1
            n += 1
    for k in range(dim):
        for o in range(k):
            curved[k, o] = curved[o, k]


@njit(**INNER)
def _lift(point: Floats) -> None:
    """Negative part of the energy's quadratic form at a point, once velocities are eliminated.

    With M, C and G = r' d2M r the form of a velocity u and a displacement x is 2 u'M u + 2 u'C x
    + x'G x. It is positive if G - C'(2M)^-1 C is: minus the negative part of that is written to the
    fifth matrix. Eigenvectors by Jacobi's rotations.
    """
    dim = point.shape[1]
    metric, cross, curved, lift, factor, turned = (
        point[0],
        point[1],
        point[2],
        point[4],
        point[5],
        point[6],
    )
    # The Cholesky factor of 2M, and C divided by it.
    for i in range(dim):
        for j in range(i + 1):
            total = 2.0 * metric[i, j]
            for k in range(j):
                total -= factor[i, k] * factor[j, k]
            factor[i, j] = np.sqrt(max(total, 1e-300)) if i == j else total / factor[j, j]
        for k in range(dim):
            total = cross[i, k]
            for j in range(i):
                total -= factor[i, j] * turned[j, k]
            turned[i, k] = total / factor[i, i]
    for i in range(dim):
        for j in range(dim):
            total = curved[i, j]
            for k in range(dim):
                total -= turned[k, i] * turned[k, j]
            lift[i, j] = total
    for i in range(dim):
        for j in range(dim):
            turned[i, j] = 1.0 if i == j else 0.0
    for _ in range(1 if dim == 2 else 6):
        for p in range(dim - 1):
            for q in range(p + 1, dim):
                if lift[p, q] == 0.0:
                    continue
                slope = 0.5 * (lift[q, q] - lift[p, p]) / lift[p, q]
                t = 1.0 / (abs(slope) + np.sqrt(1.0 + slope * slope))
                t = t if slope >= 0.0 else -t
                c = 1.0 / np.sqrt(1.0 + t * t)
                for k in range(dim):
                    one, two = lift[k, p], lift[k, q]
                    lift[k, p], lift[k, q] = c * (one - t * two), c * (t * one + two)
                for k in range(dim):
                    one, two = lift[p, k], lift[q, k]
                    lift[p, k], lift[q, k] = c * (one - t * two), c * (t * one + two)
                for k in range(dim):
                    one, two = turned[k, p], turned[k, q]
                    turned[k, p], turned[k, q] = c * (one - t * two), c * (t * one + two)
    for k in range(dim):
        factor[0, k] = max(-lift[k, k], 0.0)
    for i in range(dim):
        for j in range(dim):
            lift[i, j] = 0.0
            for k in range(dim):
                lift[i, j] += factor[0, k] * turned[i, k] * turned[j, k]


@njit(cache=True, nogil=True, fastmath={"reassoc", "contract", "nsz"})
def element_variation(
    tree: SplineTree,
    element: Element,
    nodes: Floats,
    dt: float,
    lifted: bool,
    work: Work,
    e: int,
) -> bool:
    """Energy of an element, its gradient and Hessian; False where the table ends.

    If lifted, what makes the Hessian positive is written, too.
    """
    n_points, n_nodes = element.interpolate.shape
    dim = nodes.shape[1]
    matrix, lifts, gradient = work.matrices[e], work.lifts[e], work.gradient[e]
    for k in range(n_nodes * dim):
        gradient[k] = 0.0
    for i in range(dim):
        for j in range(dim):
            for a in range(n_nodes):
                for o in range(n_nodes):
                    matrix[i, j, a, o] = 0.0
                    if lifted:
                        lifts[i, j, a, o] = 0.0
    energy = 0.0
    x, r = work.place[0], work.place[1]
    metric, cross, curved, first = work.point[0], work.point[1], work.point[2], work.point[3]
    for q in range(n_points):
        for k in range(dim):
            x[k] = r[k] = 0.0
            for a in range(n_nodes):
                x[k] += element.interpolate[q, a] * nodes[a, k]
                r[k] += element.differentiate[q, a] * nodes[a, k]
        if not spline_jet(tree, x, work.weights, work.jet):
            return False
        _forms(work.jet, r, work.point)
        if lifted:
            _lift(work.point)
        weight = element.weights[q] / dt
        for k in range(dim):
            covector = 0.0
            for i in range(dim):
                covector += metric[k, i] * r[i]
            energy += weight * r[k] * covector
            slope, push = weight * first[0, k], 2.0 * weight * covector
            for a in range(n_nodes):
                gradient[a * dim + k] += (
                    element.differentiate[q, a] * push + element.interpolate[q, a] * slope
                )
        for i in range(dim):
            for j in range(dim):
                m, c, ct, g = metric[i, j], cross[i, j], cross[j, i], curved[i, j]
                for a in range(n_nodes):
                    d, b = element.differentiate[q, a], element.interpolate[q, a]
                    by_d = weight * (2.0 * d * m + b * ct)
                    by_b = weight * (d * c + b * g)
                    row = matrix[i, j, a]
                    for o in range(n_nodes):
                        row[o] += (
                            by_d * element.differentiate[q, o] + by_b * element.interpolate[q, o]
                        )
                    if lifted:
                        share = weight * b * work.point[4, i, j]
                        row = lifts[i, j, a]
                        for o in range(n_nodes):
                            row[o] += share * element.interpolate[q, o]
    work.energy[e] = energy
    return True


@njit(cache=True, nogil=True, fastmath={"reassoc", "contract", "nsz"})
def solve(n_elements: int, degree: int, dim: int, lift: float, work: Work) -> bool:
    """Solve for Newton's step from element matrices and gradients, the end points fixed.

    To the Hessians so much of the lifts is added. Rows of the factor
    begin at the first unknown of their element. The step is left in `right`, at the places of all
    nodes, and is zero at the ends.

    Returns
    -------
    definite : bool
        Whether the matrix is positive definite; else there is no step.
    """
    inner = degree * dim
    size = inner + dim
    n_unknowns = n_elements * inner + dim
    factor, right = work.factor, work.right
    for i in range(n_unknowns):
        right[i] = 0.0
    for e in range(n_elements):
        for k in range(size):
            right[e * inner + k] -= work.gradient[e, k]
    for k in range(dim):
        right[k] = right[n_unknowns - 1 - k] = 0.0
    # Unknowns without the nodes at the ends.
    for i in range(dim, n_unknowns - dim):
        # The element that the row belongs to; where two meet, to the first.
        e = (i - dim) // inner
        first = max(e * inner, dim)
        row = factor[i]
        local = i - e * inner
        for j in range(first, i + 1):
            column = j - e * inner
            a, o = local // dim, column // dim
            p, q = local - a * dim, column - o * dim
            total = work.matrices[e, p, q, a, o]
            if lift > 0.0:
                total += lift * work.lifts[e, p, q, a, o]
            if column >= inner and e + 1 < n_elements:
                total += work.matrices[e + 1, p, q, 0, 0]
                if lift > 0.0:
                    total += lift * work.lifts[e + 1, p, q, 0, 0]
            other = (j - dim) // inner
            start = max(max(other * inner, dim), first)
            shift_j = max(other * inner, dim)
            for k in range(start, j):
                total -= row[k - first] * factor[j, k - shift_j]
            if j < i:
                row[j - first] = total / factor[j, j - max(other * inner, dim)]
            else:
                if not total > 0.0:
                    return False
                row[j - first] = np.sqrt(total)
        total = right[i]
        for k in range(first, i):
            total -= row[k - first] * right[k]
        right[i] = total / row[i - first]
    for i in range(n_unknowns - dim - 1, dim - 1, -1):
        first = max((i - dim) // inner * inner, dim)
        row = factor[i]
        right[i] /= row[i - first]
        for j in range(first, i):
            right[j] -= row[j - first] * right[i]
    return True
