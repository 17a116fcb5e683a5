"""Newton's equations for curves with fixed ends, by banded matrices."""

from __future__ import annotations

import numpy as np

from geomstats_vae.geodesics import banded
from geomstats_vae.geodesics.curves import Curves

_RIDGE = 1e-8  # of the mean diagonal, for singular metrics
SHIFTS = 10.0 ** np.arange(-1, 7)  # in units of 1 / length^2


def newton_direction(curves, system, length, damping):
    """Descent direction of each curve's length.

    Parameters
    ----------
    curves : Curves
        Curves.
    system : ElementSystem
        Length and variations of their elements.
    length : array, shape=[n_curves]
        Lengths.
    damping : array, shape=[n_elements]
        Multiples of the identity added to the elements' matrices.

    Returns
    -------
    direction : array, shape=[n_elements, degree + 1, dim]
        Displacement of the nodes; zero at the end points.
    decrement : array, shape=[n_curves]
        Newton decrement, -gradient . direction.
    definite : array of bool, shape=[n_curves]
        Whether Newton's matrix is positive definite.

    Notes
    -----
    Newton's matrix where it is positive definite. Else, far from the solution, the majoriser
    alone, which is definite wherever the metric is; near it Newton's matrix shifted by the least
    tried multiple of the mass.
    """
    stiffness = system.stiffness
    if damping.any():
        stiffness = stiffness + damping[:, None, None] * np.eye(stiffness.shape[1])
    newton = stiffness + system.curvature
    direction, decrement, definite = solve_between_ends(curves, newton, system.gradient)
    failed = np.flatnonzero(~definite)
    left = _Attempt(curves, system, failed).take(direction, decrement, stiffness)
    if len(left):
        # Where the metric is singular so is the majoriser; along its null space nothing changes.
        ridge = _RIDGE * np.einsum("eii->e", stiffness) / stiffness.shape[1]
        ridged = stiffness + ridge[:, None, None] * np.eye(stiffness.shape[1])
        left = _Attempt(curves, system, left).take(direction, decrement, ridged)
        decrement[left] = np.inf
    near = failed[decrement[failed] < 1e-2 * length[failed]]
    for shift in SHIFTS:
        if not len(near):
            break
        weight = (shift / length**2)[curves.owner][:, None, None]
        shifted = newton + weight * system.mass
        near = _Attempt(curves, system, near).take(direction, decrement, shifted)
    return direction, decrement, definite


class _Attempt:
    """A solve for some of the curves, with other matrices."""

    def __init__(self, curves, system, which):
        self.which, self.rows = which, curves.rows(which)
        self.part = Curves(curves.nodes[self.rows], curves.counts[which])
        self.gradient = system.gradient[self.rows]

    def take(self, direction, decrement, matrices):
        """Write the solutions where the matrices are definite; returns the curves left."""
        if not len(self.which):
            return self.which
        found, expected, definite = solve_between_ends(
            self.part, matrices[self.rows], self.gradient
        )
        taken = definite[self.part.owner]
        direction[self.rows[taken]] = found[taken]
        decrement[self.which[definite]] = expected[definite]
        return self.which[~definite]


def solve_between_ends(curves, matrices, gradient):
    """Solve for the displacement of the nodes, end points fixed.

    Parameters
    ----------
    curves : Curves
        Curves.
    matrices : array, shape=[n_elements, (degree + 1) * dim, (degree + 1) * dim]
        Symmetric element matrices.
    gradient : array, shape=[n_elements, (degree + 1) * dim]
        Element gradients.

    Returns
    -------
    displacement : array, shape=[n_elements, degree + 1, dim]
        Displacement; zero at the ends, and where a curve's matrix is not definite.
    decrement : array, shape=[n_curves]
        -gradient . displacement.
    definite : array of bool, shape=[n_curves]
        Whether the matrix is positive definite.
    """
    degree, dim, counts = curves.degree, curves.dim, curves.counts
    matrices, gradient = matrices.copy(), gradient.copy()
    first, last = curves.offsets[:-1], curves.offsets[1:] - 1
    head, tail = slice(0, dim), slice(degree * dim, None)
    for element, ends in ((first, head), (last, tail)):
        matrices[element, ends, :] = 0.0
        matrices[element, :, ends] = 0.0
        matrices[element, ends, ends] = np.eye(dim)
        gradient[element, ends] = 0.0
    right = -banded.assemble_vector(gradient, counts, degree, dim)
    starts = np.concatenate(([0], np.cumsum((counts * degree + 1) * dim)))
    solution, definite = banded.solve(banded.assemble(matrices, counts, degree, dim), right, starts)
    unknowns = np.repeat(np.arange(len(counts)), np.diff(starts))
    decrement = np.bincount(unknowns, weights=right * solution, minlength=len(counts))
    return banded.scatter(solution, counts, degree, dim), decrement, definite
