"""Newton's method for the energy of one curve in a tabulated metric, compiled.

A curve is a chain of polynomial elements in latent space, over times that need not be equal. Its
energy is 1/2 int <c', c'>. Where its Hessian is not positive definite it is lifted: at each
quadrature point it is a quadratic form of displacement and velocity, whose negative part can be
taken away.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from geomstats_vae.geodesics.arrays import Floats
from geomstats_vae.geodesics.table.element import Element, Work
from geomstats_vae.geodesics.table.splines import (
    CALLED,
    INNER,
    SplineTree,
    find_mesh,
    speed_on_mesh,
    spline_jet,
)


@njit(**INNER)
def _forms(jet: Floats, r: Floats, point: Floats, dim: int) -> None:
    """Quadratic forms of the energy at a point: M, C = 2 dM(.) r, r' d2M r, and r' dM r."""
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
def _lift(point: Floats, dim: int) -> None:
    """Negative part of the energy's quadratic form at a point, once velocities are eliminated.

    With 2M, C and G = r' d2M r the form of a velocity u and a displacement x is 2 u'M u + 2 u'C x
    + x'G x. It is positive if G - C'(2M)^-1 C is: minus the negative part of that is written to the
    fifth matrix. Eigenvectors by Jacobi's rotations.
    """
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
            total = metric[i, j]
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


@njit(**INNER)
def _to_points(element: Element, nodes: Floats, places: Floats) -> None:
    """Points and velocities at the quadrature points, one after the other; [dim, 2 n]."""
    for k in range(len(element.axes)):
        for i in range(len(element.factors) // 2):
            total = 0.0
            for a in range(len(element.nodes)):
                total += element.at_points[a, i] * nodes[a, k]
            places[k, i] = total


@njit(**CALLED)
def element_energy(
    tree: SplineTree, element: Element, nodes: Floats, dt: float, work: Work, e: int
) -> bool:
    """Energy of an element and length, without derivatives; False where the table ends."""
    n_points, places, x, r = len(element.factors) // 4, work.places, work.place[0], work.place[1]
    _to_points(element, nodes, places)
    energy = length = 0.0
    for q in range(n_points):
        for k in range(len(element.axes)):
            x[k], r[k] = places[k, q], places[k, n_points + q]
        mesh = find_mesh(tree, x)
        if mesh < 0:
            return False
        speed = speed_on_mesh(tree, mesh, x, r, work.jets)
        energy += element.weights[q] / dt * speed * speed
        length += element.weights[q] * speed
    work.energy[e], work.length[e] = energy, length
    return True


@njit(**CALLED)
def element_variation(
    tree: SplineTree,
    element: Element,
    nodes: Floats,
    dt: float,
    work: Work,
    e: int,
) -> bool:
    """Energy of an element, length, gradient and Hessian; False where the table ends.

    Sums over nodes and quadrature points are inner loops of loops of known lengths, which are done
    several at a time.
    """
    n_nodes, dim, n_factors = len(element.nodes), len(element.axes), len(element.factors)
    n_points, places, covectors = n_factors // 4, work.places, work.covectors
    forms = work.forms[e]
    _to_points(element, nodes, places)
    energy = length = 0.0
    x, r = work.place[0], work.place[1]
    metric, cross, curved, first = work.point[0], work.point[1], work.point[2], work.point[3]
    for q in range(n_points):
        for k in range(dim):
            x[k], r[k] = places[k, q], places[k, n_points + q]
        if not spline_jet(tree, x, work.jets, work.jet):
            return False
        _forms(work.jet, r, work.point, dim)
        weight, pair, square = element.weights[q] / dt, 0, 0.0
        for k in range(dim):
            covector = 0.0
            for i in range(dim):
                covector += metric[k, i] * r[i]
            square += r[k] * covector
            covectors[k, q] = weight * first[0, k]
            covectors[k, n_points + q] = 2.0 * weight * covector
            for j in range(k, dim):
                forms[pair, q] = 2.0 * weight * metric[k, j]
                forms[pair, n_points + q] = weight * cross[j, k]
                forms[pair, 2 * n_points + q] = weight * cross[k, j]
                forms[pair, 3 * n_points + q] = weight * curved[k, j]
                pair += 1
        energy += weight * square
        length += element.weights[q] * np.sqrt(max(square, 0.0))
    work.energy[e], work.length[e] = energy, length
    for k in range(dim):
        for a in range(n_nodes):
            total = 0.0
            for i in range(n_factors // 2):
                total += element.at_nodes[i, a] * covectors[k, i]
            work.gradient[e, a * dim + k] = total
    for pair in range(dim * (dim + 1) // 2):
        for m in range(n_nodes * n_nodes):
            total = 0.0
            for t in range(n_factors):
                total += forms[pair, t] * element.products[t, m]
            work.matrices[e, pair, m] = total
    return True


@njit(**CALLED)
def element_lift(element: Element, work: Work, e: int) -> None:
    """Write what makes the Hessian positive that `element_variation` wrote last of an element."""
    n_nodes, dim, n_factors = len(element.nodes), len(element.axes), len(element.factors)
    n_points, forms, lifting = n_factors // 4, work.forms[e], work.lifting
    metric, cross, curved, lift = work.point[0], work.point[1], work.point[2], work.point[4]
    for q in range(n_points):
        pair = 0
        for k in range(dim):
            for j in range(k, dim):
                metric[k, j] = metric[j, k] = forms[pair, q]
                cross[j, k], cross[k, j] = forms[pair, n_points + q], forms[pair, 2 * n_points + q]
                curved[k, j] = curved[j, k] = forms[pair, 3 * n_points + q]
                pair += 1
        _lift(work.point, dim)
        pair = 0
        for k in range(dim):
            for j in range(k, dim):
                lifting[pair, q] = lift[k, j]
                pair += 1
    for pair in range(dim * (dim + 1) // 2):
        for m in range(n_nodes * n_nodes):
            total = 0.0
            for q in range(n_points):
                total += lifting[pair, q] * element.products[3 * n_points + q, m]
            work.lifts[e, pair, m] = total
