"""Shortening of curves: damped Newton steps on their length, each curve at its own pace.

The length of a path along a wall is nearly an L1 norm of its climbs, and its own Gauss-Newton
matrix is blind to the climbs. The matrix of the energy at the present speeds majorises it, as in
iteratively reweighted least squares, and also keeps the nodes spread along the curve. With the
curvature that Gauss-Newton leaves out it is Newton's matrix; where that is not positive definite
it is shifted. The line search measures the length twice as finely, and elements on which the two
measures differ, or on which the curve turns much, are bisected on the way: no step can hide in a
coarse mesh.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from geomstats_vae.geodesics import banded
from geomstats_vae.geodesics.curves import Curves
from geomstats_vae.geodesics.elements import ElementSystem

_SHIFTS = 10.0 ** np.arange(-1, 7)  # in units of 1 / length^2


@dataclass(frozen=True)
class Relaxation:
    """Options of the shortening.

    Parameters
    ----------
    tol : float
        A curve is done when its Newton decrement, twice the shortening still expected, is at most
        this share of its length.
    max_iter : int
        Newton steps of a curve.
    max_elements : int
        Elements of a curve; past it no element is bisected.
    max_turning : float
        Angle in radians by which the curve may turn, in the decoder's target, on one element.
    first_scale : float
        A quarter of the share of the first step that is tried first.
    """

    tol: float = 1e-6
    max_iter: int = 60
    max_elements: int = 1000
    max_turning: float = 1.5
    first_scale: float = 0.25


class RelaxedCurves:
    """Curves being shortened, with all that is known of them.

    Parameters
    ----------
    evaluator : ElementEvaluator
        Evaluates the decoder along elements.
    curves : Curves
        Where to start; end points stay fixed.
    options : Relaxation
        Options.

    Attributes
    ----------
    curves : Curves
        The curves as they are now.
    length : array, shape=[n_curves]
        Their lengths, on the finer quadrature.
    decrement : array, shape=[n_curves]
        Newton decrements.
    n_iter : array of int, shape=[n_curves]
        Newton steps taken.
    stalled : array of bool, shape=[n_curves]
        No step along the last direction shortened the curve.
    finite : array of bool, shape=[n_curves]
        Whether the decoder is finite along the curve.
    """

    def __init__(self, evaluator, curves, options):
        self.evaluator, self.curves, self.options = evaluator, curves, options
        n_curves = len(curves)
        self.decrement = np.full(n_curves, np.inf)
        self.n_iter = np.zeros(n_curves, dtype=int)
        self.stalled = np.zeros(n_curves, dtype=bool)
        self._scale = np.full(n_curves, options.first_scale)
        self.system = evaluator.system(curves.nodes)
        self._fine = evaluator.length(curves.nodes)
        self.finite = np.isfinite(curves.total(self._fine)) & self._finite_systems()

    @property
    def length(self):
        """Lengths on the finer quadrature, shape=[n_curves]."""
        return self.curves.total(self._fine)

    def _finite_systems(self):
        finite = np.isfinite(self.system.stiffness).all(axis=(1, 2)) & np.isfinite(
            self.system.curvature
        ).all(axis=(1, 2))
        return self.curves.total(~finite) == 0

    def run(self, which=None):
        """Shorten until every curve is done, has stalled, or is out of steps.

        Parameters
        ----------
        which : array of int, optional
            Curves to work on; all by default.
        """
        active = np.zeros(len(self.curves), dtype=bool)
        active[slice(None) if which is None else which] = True
        active &= self.finite
        self.stalled[active] = False
        budget = self.n_iter + self.options.max_iter
        while active.any():
            self._refine(active)
            which = np.flatnonzero(active)
            done = self._step(which)
            out = done | self.stalled[which] | (self.n_iter[which] >= budget[which])
            active[which[out]] = False
            active &= self.finite

    def _refine(self, active):
        """Bisect the elements of active curves that are not resolved."""
        curves, options = self.curves, self.options
        owner = curves.owner
        length = self.length
        share = length / curves.counts
        mismatch = np.abs(self._fine - self.system.length)
        goal = np.maximum(0.1 * self.decrement, options.tol * length) / curves.counts * 3.0
        allowed = np.minimum(0.02 * self._fine + 1e-4 * share[owner], goal[owner])
        coarse = (mismatch > allowed) | (self.system.turning > options.max_turning)
        # An element shorter than the tolerance can hide nothing that matters.
        coarse &= (self._fine > options.tol * length[owner]) & active[owner]
        self.split(coarse & (curves.counts < options.max_elements)[owner])

    def split(self, marked):
        """Bisect elements and evaluate their halves.

        Parameters
        ----------
        marked : array of bool, shape=[n_elements]
            Elements to bisect.
        """
        if not marked.any():
            return
        repeats = np.where(marked, 2, 1)
        self.curves = self.curves.split(marked)
        names = ElementSystem.__dataclass_fields__
        self.system = ElementSystem(
            *(np.repeat(getattr(self.system, name), repeats, axis=0) for name in names)
        )
        self._fine = np.repeat(self._fine, repeats)
        self._evaluate(np.repeat(marked, repeats))

    def _evaluate(self, rows, fine=None):
        nodes = self.curves.nodes[rows]
        if not len(nodes):
            return
        self.system[rows] = self.evaluator.system(nodes)
        self._fine[rows] = self.evaluator.length(nodes) if fine is None else fine
        self.finite &= self._finite_systems()

    def _step(self, which):
        """One Newton step of some curves; returns which of them are done."""
        rows = self.curves.rows(which)
        batch = Curves(self.curves.nodes[rows], self.curves.counts[which])
        length = batch.total(self._fine[rows])
        direction, decrement = newton_direction(batch, self.system[rows], length)
        self.decrement[which] = decrement
        done = decrement <= self.options.tol * length
        scale, trial, fine = self._line_search(which, batch, direction, decrement, rows)
        moved = scale > 0.0
        self.stalled[which] = ~moved & ~done
        self.n_iter[which] += moved
        self._scale[which] = np.where(moved, scale, 0.25)
        element_moved = moved[batch.owner]
        changed = rows[element_moved]
        self.curves.nodes[changed] = trial[element_moved]
        self._evaluate(changed, fine[element_moved])
        return done

    def _line_search(self, which, batch, direction, decrement, rows):
        """Largest tried share of the step that shortens each curve; 0 where none does."""
        old = batch.total(self._fine[rows])
        extent = np.maximum.reduceat(np.ptp(batch.nodes, axis=1).max(axis=1), batch.offsets[:-1])
        size = np.maximum.reduceat(np.abs(direction).max(axis=(1, 2)), batch.offsets[:-1])
        reach = 4.0 * batch.counts * extent / np.maximum(size, np.finfo(float).eps * extent)
        scale = np.minimum(np.minimum(1.0, 4.0 * self._scale[which]), reach)
        accepted = np.zeros(len(which))
        nodes, fine = batch.nodes.copy(), self._fine[rows].copy()
        noise = 16.0 * np.finfo(self.evaluator.numpy_dtype).eps
        searching = np.ones(len(which), dtype=bool)
        for _ in range(10):
            element = searching[batch.owner]
            trial = (
                batch.nodes[element] + scale[batch.owner][element, None, None] * direction[element]
            )
            trial_fine = np.full(len(rows), 0.0)
            trial_fine[element] = self.evaluator.length(trial)
            new = batch.total(trial_fine)
            good = searching & (new <= old * (1.0 + noise) - 0.1 * scale * decrement)
            good_element = good[batch.owner]
            nodes[good_element] = trial[good[batch.owner[element]]]
            fine[good_element] = trial_fine[good_element]
            accepted[good] = scale[good]
            searching &= ~good
            if not searching.any():
                break
            scale = np.where(searching, 0.4 * scale, scale)
        return accepted, nodes, fine


def newton_direction(curves, system, length):
    """Descent direction of each curve's length.

    Parameters
    ----------
    curves : Curves
        Curves.
    system : ElementSystem
        Length and variations of their elements.
    length : array, shape=[n_curves]
        Lengths.

    Returns
    -------
    direction : array, shape=[n_elements, degree + 1, dim]
        Displacement of the nodes; zero at the end points.
    decrement : array, shape=[n_curves]
        Newton decrement, -gradient . direction.

    Notes
    -----
    Newton's matrix where it is positive definite. Else, far from the solution, the majoriser
    alone, which always is; near it Newton's matrix shifted by the least tried multiple of the mass.
    """
    newton = system.stiffness + system.curvature
    direction, decrement, definite = _solve(curves, newton, system.gradient)
    failed = np.flatnonzero(~definite)
    _Attempt(curves, system, failed).take(direction, decrement, system.stiffness)
    near = failed[decrement[failed] < 1e-2 * length[failed]]
    for shift in _SHIFTS:
        if not len(near):
            break
        weight = (shift / length**2)[curves.owner][:, None, None]
        shifted = newton + weight * system.mass
        near = _Attempt(curves, system, near).take(direction, decrement, shifted)
    return direction, decrement


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
        found, expected, definite = _solve(self.part, matrices[self.rows], self.gradient)
        taken = definite[self.part.owner]
        direction[self.rows[taken]] = found[taken]
        decrement[self.which[definite]] = expected[definite]
        return self.which[~definite]


def _solve(curves, matrices, gradient):
    """Solve for the displacement, end points fixed; zero where a matrix is not definite."""
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
