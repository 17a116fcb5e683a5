"""Shortening of curves: damped Newton steps on their length, each curve at its own pace.

The length of a path along a wall is nearly an L1 norm of its climbs, and its own Gauss-Newton
matrix is blind to the climbs. The matrix of the energy at the present speeds majorises it, as in
iteratively reweighted least squares, and also keeps the nodes spread along the curve. With the
curvature that Gauss-Newton leaves out it is Newton's matrix; where that is not positive definite
it is shifted. Elements on which a trial step fails are damped by the curvature that it shows to be
missing, so a long curve is not held back by its worst spot. The line search measures the length
twice as finely, and elements on which the two measures differ, or on which the curve turns much,
are bisected on the way: no step can hide in a coarse mesh.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from geomstats_vae.geodesics import banded
from geomstats_vae.geodesics.curves import Curves
from geomstats_vae.geodesics.elements import ElementSystem

_ATTEMPTS = 14  # trial steps; every third failure shortens the step as well
# A full Newton step from a decrement this small, relative to the length, ends nearer than that,
# where decrements fall at least as fast.
_SURE, _FALL = 1e-3, 0.1
_RIDGE = 1e-8  # of the mean diagonal, for singular metrics
_FADING, _FORGET = 0.1, 1e-3  # damping kept for the next step, and the share of the diagonal kept
SHIFTS = 10.0 ** np.arange(-1, 7)  # in units of 1 / length^2


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
    fine : array, shape=[n_elements]
        Lengths of the elements, on the finer quadrature.
    """

    def __init__(self, evaluator, curves, options):
        self.evaluator, self.curves, self.options = evaluator, curves, options
        n_curves = len(curves)
        self.decrement = np.full(n_curves, np.inf)
        self.n_iter = np.zeros(n_curves, dtype=int)
        self.stalled = np.zeros(n_curves, dtype=bool)
        self._scale = np.full(n_curves, options.first_scale)
        self._damping = np.zeros(len(curves.nodes))
        self.system = evaluator.system(curves.nodes)
        self._stale = np.zeros(len(curves.nodes), dtype=bool)  # whose system is of earlier nodes
        self.fine = evaluator.length(curves.nodes)
        self.finite = np.isfinite(curves.total(self.fine)) & self._finite_systems()

    @property
    def length(self):
        """Lengths on the finer quadrature, shape=[n_curves]."""
        return self.curves.total(self.fine)

    def _finite_systems(self):
        finite = np.isfinite(self.system.stiffness).all(axis=(1, 2)) & np.isfinite(
            self.system.curvature
        ).all(axis=(1, 2))
        return self.curves.total(~finite) == 0

    def run(self, which=None, max_iter=None):
        """Shorten until every curve is done, has stalled, or is out of steps.

        Parameters
        ----------
        which : array of int, optional
            Curves to work on; all by default.
        max_iter : int, optional
            Newton steps of a curve; by default that of the options.
        """
        active = np.zeros(len(self.curves), dtype=bool)
        active[slice(None) if which is None else which] = True
        active &= self.finite
        self._evaluate(self._stale & active[self.curves.owner])
        active &= self.finite
        self.stalled[active] = False
        budget = self.n_iter + (max_iter or self.options.max_iter)
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
        mismatch = np.abs(self.fine - self.system.length)
        goal = np.maximum(0.1 * self.decrement, options.tol * length) / curves.counts * 3.0
        allowed = np.minimum(0.02 * self.fine + 1e-4 * share[owner], goal[owner])
        coarse = (mismatch > allowed) | (self.system.turning > options.max_turning)
        # An element shorter than the tolerance can hide nothing that matters.
        coarse &= (self.fine > options.tol * length[owner]) & active[owner]
        self.split(coarse & (curves.counts < options.max_elements)[owner])

    def split(self, marked, halves=None):
        """Bisect elements and evaluate their halves.

        Parameters
        ----------
        marked : array of bool, shape=[n_elements]
            Elements to bisect.
        halves : ElementSystem, optional
            Systems of the halves, two to each marked element, where they are known.
        """
        if not marked.any():
            return
        repeats = np.where(marked, 2, 1)
        self.curves = self.curves.split(marked)
        names = ElementSystem.__dataclass_fields__
        self.system = ElementSystem(
            *(np.repeat(getattr(self.system, name), repeats, axis=0) for name in names)
        )
        self.fine = np.repeat(self.fine, repeats)
        self._damping = np.repeat(self._damping, repeats)
        self._stale = np.repeat(self._stale, repeats)
        new = np.repeat(marked, repeats)
        self.fine[new] = self.evaluator.length(self.curves.nodes[new])
        if halves is None:
            self._evaluate(new)
        else:
            self.system[new], self._stale[new] = halves, False

    def move(self, which, nodes):
        """Put curves elsewhere.

        Parameters
        ----------
        which : array of int, shape=[n_moved]
            Curves.
        nodes : array, shape=[n_elements, degree + 1, dim]
            New nodes of their elements.
        """
        rows = self.curves.rows(which)
        self.curves.nodes[rows] = nodes
        self.fine[rows] = self.evaluator.length(nodes)
        self.decrement[which] = np.inf
        self._evaluate(rows)

    def _evaluate(self, rows):
        nodes = self.curves.nodes[rows]
        if not len(nodes):
            return
        self.system[rows] = self.evaluator.system(nodes)
        self._stale[rows] = False
        self.finite &= self._finite_systems()

    def _step(self, which):
        """One Newton step of some curves; returns which of them are done."""
        rows = self.curves.rows(which)
        batch = Curves(self.curves.nodes[rows], self.curves.counts[which])
        system, length = self.system[rows], batch.total(self.fine[rows])
        damping = self._remembered(system, rows)
        direction, decrement, definite = newton_direction(batch, system, length, damping)
        near = decrement <= self.options.tol * length
        if (near & (batch.total(damping) > 0.0)).any():
            damping[near[batch.owner]] = 0.0
            direction, decrement, definite = newton_direction(batch, system, length, damping)
            near = decrement <= self.options.tol * length
        falling = decrement <= _FALL * self.decrement[which]
        self.decrement[which] = decrement
        # A saddle is stationary too, but a coarse mesh finds directions of descent that are none:
        # whether this is one is asked on a finer mesh.
        done = near.copy()
        search = _LineSearch(self.evaluator, batch, system, self.fine[rows], damping)
        search.run(direction, decrement, np.minimum(1.0, 4.0 * self._scale[which]), once=done)
        moved = search.accepted > 0.0
        self.stalled[which] = ~moved & ~done
        self.n_iter[which] += moved
        self._scale[which] = np.where(moved, search.accepted, 0.25)
        self._damping[rows] = search.damping
        element_moved = moved[batch.owner]
        changed = rows[element_moved]
        self.curves.nodes[changed] = search.nodes[element_moved]
        self.fine[changed] = search.fine[element_moved]
        # Where Newton's method converges quadratically its next decrement needs no asking.
        sure = max(self.options.tol, min(_SURE, 0.1 * self.options.tol**0.5))
        sure = falling & definite & (search.accepted == 1.0) & (decrement <= sure * length)
        done |= sure
        self._stale[changed] = True
        self._evaluate(rows[element_moved & ~done[batch.owner]])
        return done

    def _remembered(self, system, rows):
        """Damping of the last step, fading; none where it is small beside the matrices."""
        damping = _FADING * self._damping[rows]
        usual = np.einsum("eii->e", system.stiffness) / system.stiffness.shape[1]
        return np.where(damping > _FORGET * usual, damping, 0.0)


class _LineSearch:
    """Steps that shorten each curve, with damping learnt where the model fails.

    Along walls a Newton step fails first on a few elements, on which the length grows faster than
    its second variation says. What a failed trial measures there, the excess over the linear
    prediction per squared displacement, is the curvature that the model lacks; it is added to
    those elements' matrices and the step solved again. So the rest of a long curve is not held
    back by its worst spot.
    """

    def __init__(self, evaluator, curves, system, fine, damping):
        self.evaluator, self.curves, self.system = evaluator, curves, system
        self.fine, self.damping = fine.copy(), damping
        self.nodes = curves.nodes.copy()
        self.accepted = np.zeros(len(curves))
        self._old, self._length = fine, curves.total(fine)

    def run(self, direction, decrement, scale, once):
        """Search; results are in `nodes`, `fine`, `accepted` and `damping`.

        Curves in `once` are good as they are, and try a single step.
        """
        owner = self.curves.owner
        scale = np.minimum(scale, self._reach(direction))
        noise = 1.0 + 16.0 * np.finfo(self.evaluator.numpy_dtype).eps
        searching = np.arange(len(self.curves))
        for attempt in range(_ATTEMPTS):
            rows = self.curves.rows(searching)
            step = scale[owner[rows], None, None] * direction[rows]
            trial = self.curves.nodes[rows] + step
            fine = self.evaluator.length(trial)
            part = Curves(trial, self.curves.counts[searching])
            goal = self._length * noise - 0.1 * scale * decrement
            good = part.total(fine) <= goal[searching]
            element = good[part.owner]
            self.nodes[rows[element]], self.fine[rows[element]] = trial[element], fine[element]
            self.accepted[searching[good]] = scale[searching[good]]
            self._learn(rows[~element], step[~element], fine[~element])
            searching = searching[~good & ~once[searching]]
            if not len(searching):
                break
            rows = self.curves.rows(searching)
            direction[rows], decrement[searching], _ = newton_direction(
                self.curves.take(searching),
                self.system[rows],
                self._length[searching],
                self.damping[rows],
            )
            if attempt % 3 == 2:
                scale[searching] *= 0.4

    def _reach(self, direction):
        """Share of the step past which a node would leave the curve's surroundings."""
        curves, starts = self.curves, self.curves.offsets[:-1]
        extent = np.maximum.reduceat(np.ptp(curves.nodes, axis=1).max(axis=1), starts)
        size = np.maximum.reduceat(np.abs(direction).max(axis=(1, 2)), starts)
        return 4.0 * curves.counts * extent / np.maximum(size, np.finfo(float).eps * extent)

    def _learn(self, rows, step, fine):
        """Damp elements by the curvature that a failed trial has shown to be missing."""
        slope = (self.system.gradient[rows].reshape(step.shape) * step).sum(axis=(1, 2))
        square = np.maximum((step**2).sum(axis=(1, 2)), np.finfo(float).tiny)
        excess = np.maximum(fine - self._old[rows] - slope, 0.0) / square
        excess[~np.isfinite(excess)] = 0.0
        self.damping[rows] = np.maximum(self.damping[rows], excess)


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
