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

from geomstats_vae.geodesics import saddles
from geomstats_vae.geodesics.curves import Curves
from geomstats_vae.geodesics.newton import newton_direction

_ATTEMPTS = 14  # trial steps; every third failure shortens the step as well
# A full Newton step from a decrement this small, relative to the length, ends nearer than that,
# where decrements fall at least as fast.
_SURE, _FALL = 1e-3, 0.1
_VANISHING = 1e-11  # share of a length that its rounding may be
_FADING, _FORGET = 0.1, 1e-3  # damping kept for the next step, and the share of the diagonal kept


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
    halves : ElementSystem, optional
        Systems of the halves of all elements, where they are known: those of the elements are then
        evaluated only when a step needs them.

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
    end_metrics : array, shape=[n_curves, 2, dim, dim]
        Metric matrices at the end points.
    vanishing : array, shape=[n_curves]
        Lengths that are rounding of those of other curves: there is nothing to shorten.
    """

    def __init__(self, evaluator, curves, options, halves=None):
        self.evaluator, self.curves, self.options = evaluator, curves, options
        n_curves = len(curves)
        self.decrement = np.full(n_curves, np.inf)
        self.n_iter = np.zeros(n_curves, dtype=int)
        self.stalled = np.zeros(n_curves, dtype=bool)
        self._scale = np.full(n_curves, options.first_scale)
        self._damping = np.zeros(len(curves.nodes))
        self.system = evaluator.system(curves.nodes) if halves is None else halves[::2]
        # Elements whose system is that of earlier nodes, or of a half.
        self._stale = np.full(len(curves.nodes), halves is not None)
        self.fine = evaluator.length(curves.nodes)
        self.end_metrics = end_metrics(evaluator, curves)
        self.vanishing = _VANISHING * _largest_length(curves, self.end_metrics)
        self.finite = np.isfinite(curves.total(self.fine)) & self._finite_systems()
        if halves is not None:
            self.finite &= curves.total(~halves.finite.reshape(-1, 2).all(axis=1)) == 0

    @property
    def length(self):
        """Lengths on the finer quadrature, shape=[n_curves]."""
        return self.curves.total(self.fine)

    def _finite_systems(self):
        return self.curves.total(~self.system.finite) == 0

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
        coarse &= self.fine > np.maximum(options.tol * length, self.vanishing)[owner]
        coarse &= active[owner]
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
        self.system = self.system.repeat(repeats)
        self.fine = np.repeat(self.fine, repeats)
        self._damping = np.repeat(self._damping, repeats)
        self._stale = np.repeat(self._stale, repeats)
        new = np.repeat(marked, repeats)
        self.fine[new] = self.evaluator.length(self.curves.nodes[new])
        if halves is None:
            self._evaluate(new)
        else:
            self.system[new], self._stale[new] = halves, False

    def direction(self, halves, system, which):
        """Newton's directions of some curves on meshes of halves.

        Parameters
        ----------
        halves : Curves
            The curves, each element bisected.
        system : ElementSystem
            Their elements' variations.
        which : array of int, shape=[n_taken]
            Which of the curves these are.

        Returns
        -------
        direction, decrement, definite : array
            See `newton_direction`.
        """
        return newton_direction(halves, system, self.length[which], np.zeros(len(halves.nodes)))

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

    def leave_saddles(self, which):
        """Slide curves off saddles, where that makes them shorter.

        Parameters
        ----------
        which : array of int, shape=[n_saddles]
            Curves whose elements were just evaluated.

        Returns
        -------
        moved : array of bool, shape=[n_saddles]
            Which of them are shorter now.
        """
        curves, system = self.curves.take(which), self.system[self.curves.rows(which)]
        tol, length = self.options.tol, self.length[which]
        curves, moved = saddles.leave_saddles(self.evaluator, curves, system, length, tol)
        self.move(which[moved], curves.nodes[moved[curves.owner]])
        return moved

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
        enough = np.maximum(self.options.tol * length, self.vanishing[which])
        near = decrement <= enough
        if (near & (batch.total(damping) > 0.0)).any():
            damping[near[batch.owner]] = 0.0
            direction, decrement, definite = newton_direction(batch, system, length, damping)
            near = decrement <= enough
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


def end_metrics(evaluator, curves):
    """Metric matrices at both ends of each curve, shape=[n_curves, 2, dim, dim]."""
    metric = evaluator.metric(_ends(curves).reshape(-1, curves.dim))
    return metric.reshape(-1, 2, *metric.shape[1:])


def _ends(curves):
    """End points of each curve, shape=[n_curves, 2, dim]."""
    first, last = curves.offsets[:-1], curves.offsets[1:] - 1
    return np.stack((curves.nodes[first, 0], curves.nodes[last, -1]), axis=1)


def _largest_length(curves, metric):
    """About the largest length that a displacement as from end to end may have."""
    size = np.linalg.norm(np.diff(_ends(curves), axis=1)[:, 0], axis=1)
    squares = np.trace(metric, axis1=2, axis2=3).min(axis=1)
    return size * np.sqrt(np.maximum(np.nan_to_num(squares, posinf=0.0), 0.0))


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
