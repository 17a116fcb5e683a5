"""The one loop of the solver: step, refine, certify.

Each curve takes steps at its own pace. A step is measured on twice the quadrature points before it
is taken, and elements on which the two measures differ, or on which the curve turns much, are
bisected on the way: no step can hide in a coarse mesh. A curve that takes no more steps is looked
at on a mesh twice as fine. There its Newton decrement is the residual of its certificate, and
shows where to refine. Its length is measured once more by many chords.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from geomstats_vae.geodesics.arrays import Bools, Floats, Ints
from geomstats_vae.geodesics.curves.chain import Curves
from geomstats_vae.geodesics.ends import end_metrics, end_norms, largest_length, velocities
from geomstats_vae.geodesics.minimised import Minimised
from geomstats_vae.geodesics.model import CurveModel
from geomstats_vae.geodesics.options import Task
from geomstats_vae.geodesics.saddles import slide
from geomstats_vae.geodesics.status import GeodesicStatus

_TINY = np.finfo(float).tiny


def minimise(model: CurveModel, curves: Curves, task: Task) -> Minimised:
    """Shorten curves, certify them, and refine them where that would shorten them further.

    Parameters
    ----------
    model : CurveModel
        Proposes the steps.
    curves : Curves
        Where to start; end points stay fixed.
    task : Task
        What to do.

    Returns
    -------
    minimised : Minimised
        The curves. None is longer than it was.
    """
    state = Minimisation(model, curves, task)
    open_ = np.flatnonzero(state.finite)
    if task.trial_length is not None:
        state.run(open_, task.trial_steps)
        open_ = np.flatnonzero(state.finite & (state.length < task.trial_length))
    settle(state, open_)
    state.measure_chords(np.flatnonzero(state.finite & ~state.measured))
    return state.result()


def settle(state: Minimisation, open_: Ints) -> None:
    """Shorten some curves and refine them, until they are as they should be.

    Parameters
    ----------
    state : Minimisation
        Curves being shortened.
    open_ : array of int, shape=[n_open]
        Those to work on.
    """
    task = state.task
    if not task.look_first:
        state.run(open_)
    max_looks = task.max_looks or task.options.max_looks
    for look in range(max_looks):
        open_ = open_[state.finite[open_]]
        if not len(open_) or state.too_late(open_):
            break
        marked = state.look(open_)
        allowed = state.finite & (state.curves.counts < task.limits.max_elements)
        marked &= (allowed & (state.residual <= task.hopeless))[state.curves.owner]
        if not marked.any() or look == max_looks - 1:
            break
        open_ = np.unique(state.curves.owner[marked])
        if look or not task.look_first:
            # At first a curve may be off because its ends moved, later because its mesh is coarse.
            state.split_looked_at(marked)
            state.leave_saddles()
        state.run(open_)


class Minimisation:
    """Curves being shortened, with all that is known of them.

    Parameters
    ----------
    model : CurveModel
        Proposes the steps.
    curves : Curves
        Where to start.
    task : Task
        What to do.

    Attributes
    ----------
    curves : Curves
        The curves as they are now.
    fine : array, shape=[n_elements]
        Lengths of the elements, on the finer rule.
    variation : Variation
        That of the elements, where not stale.
    decrement : array, shape=[n_curves]
        Newton decrements of the last proposals.
    goal : array, shape=[n_curves]
        Decrements, over the lengths, at which curves take no more steps.
    n_iter : array of int, shape=[n_curves]
        Newton steps taken.
    stalled, finite : array of bool, shape=[n_curves]
        No step shortened the curve; the decoder is finite along it.
    end_metrics : array, shape=[n_curves, 2, dim, dim]
        Metric matrices at the end points.
    vanishing : array, shape=[n_curves]
        Lengths that are rounding of those of other curves: there is nothing to shorten.
    residual, velocity : array
        What the last look at each curve found.
    chords, length_error : array, shape=[n_curves]
        Lengths by chords, and how far they are from the others.
    measured : array of bool, shape=[n_curves]
        Whether they are those of now.
    """

    def __init__(self, model: CurveModel, curves: Curves, task: Task) -> None:
        self.model, self.curves, self.task = model, curves, task
        n_curves = len(curves)
        self.decrement, self.n_iter = np.full(n_curves, np.inf), np.zeros(n_curves, dtype=int)
        self.stalled = np.zeros(n_curves, dtype=bool)
        self.fine = model.lengths(curves.nodes)
        self.end_metrics = end_metrics(model, curves)
        self.vanishing = task.options.vanishing * largest_length(curves, self.end_metrics)
        self.finite = np.isfinite(self.length)
        # Variations of the halves of the elements of the last look; before the first, of all.
        self._halves: Any = None
        self._looked_at = np.zeros(0, dtype=int)
        self._to_be_looked_at = task.look_first
        if task.look_first:
            self._halves = model.variation(curves.halved().nodes)
            self.variation = self._halves[::2]
            finite = self._halves.finite.reshape(-1, 2).all(axis=1)
        else:
            self.variation = model.variation(curves.nodes)
            finite = self.variation.finite
        self.finite &= curves.total(~finite) == 0
        # Elements whose variation is that of earlier nodes, or of a half.
        self._stale = np.full(len(curves.nodes), task.look_first)
        self._memory = model.memory(curves, self.length)
        self.residual, self.goal = np.full(n_curves, np.inf), np.full(n_curves, task.limits.tol)
        self.chords, self.length_error = self.residual.copy(), self.residual.copy()
        self.measured = np.zeros(n_curves, dtype=bool)
        self.velocity = np.full((n_curves, 2, curves.dim), np.nan)
        # On a saddle, on one that could not be left, on none as far as was asked, late.
        self._saddle, self._left, self._minimal, self._late = np.zeros((4, n_curves), dtype=bool)

    @property
    def length(self) -> Floats:
        """Lengths on the finer rule, shape=[n_curves]."""
        return self.curves.total(self.fine)

    # -- steps ------------------------------------------------------------------------------------

    def run(self, which: Ints, max_iter: int | None = None) -> None:
        """Shorten until every curve is done, has stalled, or is out of steps.

        Parameters
        ----------
        which : array of int, shape=[n_active]
            Curves to work on.
        max_iter : int, optional
            Newton steps of a curve; by default that of the limits.
        """
        active = np.zeros(len(self.curves), dtype=bool)
        active[which] = self.finite[which]
        self._evaluate(active)
        self.stalled[active] = self.measured[active] = False
        budget = self.n_iter + (max_iter or self.task.limits.max_iter)
        while active.any() and not self.too_late(np.flatnonzero(active)):
            self._refine(active)
            self._evaluate(active)
            which = np.flatnonzero(active)
            if len(which):
                active[which[self._step(which)]] = False
            self._evaluate(active)
            active &= ~self.stalled & (self.n_iter < budget)

    def too_late(self, which: Ints) -> bool:
        """Whether the time is over; then some curves, that are not done, are known to be late."""
        passed = self.task.limits.deadline.passed
        self._late[which] |= passed
        return passed

    def _step(self, which: Ints) -> Bools:
        """One Newton step of some curves; returns which of them are done."""
        options, rows = self.task.options, self.curves.rows(which)
        batch, memory = self.curves.take(which), self._memory.take(which, rows)
        old = self.fine[rows]
        length = batch.total(old)
        enough = np.maximum(self.goal[which] * length, self.vanishing[which])
        proposal = self.model.propose(
            batch, self.variation[rows], old, enough, self.decrement[which], memory
        )
        self.decrement[which] = proposal.decrement
        done, noise = proposal.done.copy(), 1.0 + options.rounding * self.model.eps
        nodes, fine = batch.nodes.copy(), old.copy()
        taken, searching = np.zeros(len(which), dtype=bool), np.flatnonzero(proposal.open)
        for _ in range(options.attempts):
            if not len(searching):
                break
            step, expected = proposal.step(searching)
            part, tried = batch.rows(searching), np.repeat(searching, batch.counts[searching])
            trial = batch.nodes[part] + step
            measured = self.model.lengths(trial)
            total = np.bincount(tried, weights=measured, minlength=len(which))[searching]
            good = total <= length[searching] * noise - options.accept * expected
            taken[searching[good]] = True
            kept = taken[tried]
            nodes[part[kept]], fine[part[kept]] = trial[kept], measured[kept]
            if not good.all():
                proposal.refuse(searching[~good], step[~kept], measured[~kept])
            searching = searching[~good & ~done[searching]]
        self.stalled[which] = ~taken & ~done
        self.n_iter[which] += taken
        self.curves.nodes[rows], self.fine[rows] = nodes, fine
        done |= proposal.accept(taken, length - batch.total(fine))
        self._memory.put(which, rows, memory)
        self._stale[rows[taken[batch.owner]]] = True
        return done

    def _evaluate(self, active: Bools) -> None:
        """Evaluate the stale elements of active curves; those not finite are no longer active."""
        rows = np.flatnonzero(self._stale & active[self.curves.owner])
        if len(rows):
            self.variation[rows] = self.model.variation(self.curves.nodes[rows])
            self._stale[rows] = False
            self.finite &= self.curves.total(~self.variation.finite) == 0
        active &= self.finite

    # -- refinement -------------------------------------------------------------------------------

    def _refine(self, active: Bools) -> None:
        """Bisect the elements of active curves that are not resolved."""
        curves, options, limits = self.curves, self.task.options, self.task.limits
        owner, length = curves.owner, self.length
        mismatch = np.abs(self.fine - self.variation.length)
        goal = np.maximum(options.mismatch_of_decrement * self.decrement, limits.tol * length)
        goal *= options.mismatch_spread / curves.counts
        loose = options.mismatch * self.fine
        loose += (options.mismatch_of_mean * length / curves.counts)[owner]
        coarse = mismatch > np.minimum(loose, goal[owner])
        coarse |= self.variation.turning > options.turning_per_degree * curves.degree
        # An element shorter than the tolerance can hide nothing that matters.
        coarse &= self.fine > np.maximum(limits.tol * length, self.vanishing)[owner]
        coarse &= (active & (curves.counts < limits.max_elements))[owner]
        if coarse.any():
            self._split(coarse)

    def _split(self, marked: Bools) -> Bools:
        """Bisect elements; returns which of the elements are new."""
        repeats = np.where(marked, 2, 1)
        self._memory.split(self.curves, marked)
        self.curves = self.curves.split(marked)
        self.variation = self.variation.repeat(repeats)
        self.fine, self._stale = np.repeat(self.fine, repeats), np.repeat(self._stale, repeats)
        new = np.repeat(marked, repeats)
        self.fine[new] = self.model.lengths(self.curves.nodes[new])
        self._stale[new] = True
        return new

    def split_looked_at(self, marked: Bools) -> None:
        """Bisect elements whose halves were evaluated by the last look."""
        if not marked.any():
            return
        halves = self._halves[_halves_of(np.flatnonzero(marked[self._looked_at]))]
        new = self._split(marked)
        self.variation[new], self._stale[new] = halves, False

    # -- saddles ----------------------------------------------------------------------------------

    def leave_saddles(self) -> None:
        """Slide curves off the saddles seen by the last look, where that makes them shorter."""
        which = np.flatnonzero(self._saddle)
        if not len(which):
            return
        rows, length, curves = self.curves.rows(which), self.length[which], self.curves.take(which)
        mode, unit = self.model.modes(curves, self.variation[rows], length)
        nodes, moved = slide(
            self.model, curves, mode, unit, length, self.task.limits.tol, self.task.options
        )
        # Those that do not get shorter are left alone from now on.
        self._left[which] = ~moved
        rows = rows[moved[curves.owner]]
        self.curves.nodes[rows] = nodes[moved[curves.owner]]
        self.fine[rows] = self.model.lengths(self.curves.nodes[rows])
        self.decrement[which[moved]], self._minimal[which[moved]] = np.inf, False
        self._memory.moved(which[moved])
        self._stale[rows] = True

    # -- certificate ------------------------------------------------------------------------------

    def look(self, which: Ints) -> Bools:
        """Measure some curves on meshes twice as fine.

        Parameters
        ----------
        which : array of int, shape=[n_looked]
            Curves whose decoder is finite.

        Returns
        -------
        marked : array of bool, shape=[n_elements]
            Elements whose bisection matters.
        """
        limits, bulk = self.task.limits, self.task.certificate.bulk
        rows, length = self.curves.rows(which), self.length[which]
        curves, no_length = self.curves.take(which), length <= self.vanishing[which]
        halves, first = curves.halved(), self._to_be_looked_at
        variation: Any = self._halves
        variation = variation[_halves_of(rows)] if first else self.model.variation(halves.nodes)
        self._halves, self._looked_at, self._to_be_looked_at = variation, rows, False
        direction, decrement, definite = self.model.direction(
            halves, variation, length, self._memory.take(which, rows)
        )
        # Far from a geodesic the step may lead anywhere.
        near = decrement <= self.task.certificate.trusted * length
        step, ends = np.where(near[halves.owner, None, None], direction, 0.0), self.end_metrics
        self.velocity[which] = velocities(
            self.model, halves, step, length, ends[which], variation.gradient
        )
        self.residual[which] = decrement / np.maximum(length, _TINY)
        # Of a near miss the mesh is fine enough, but more steps are needed on it.
        over = self.residual[which] / limits.tol
        near_miss = (over > 1.0) & (over <= self.task.options.near_miss)
        self.goal[which[near_miss]] *= self.task.options.closer
        gain = np.abs((variation.gradient * direction.reshape(len(direction), -1)).sum(axis=1))
        mismatch = np.abs(self.fine[rows] - variation.length.reshape(-1, 2).sum(axis=1))
        off = curves.total(mismatch) > limits.tol * length
        marked = curves.bulk(gain.reshape(-1, 2).sum(axis=1), bulk)
        marked &= (self.residual[which] > limits.tol)[curves.owner]
        marked |= curves.bulk(mismatch, bulk) & off[curves.owner]
        if first and self.task.length_error is not None:
            self.chords[which], self.length_error[which] = length, self.task.length_error[which]
            self.measured[which] = True
        else:
            # Chords are dear, so curves that go on anyway are measured when they have come to rest.
            resting = np.flatnonzero(curves.total(marked & ~no_length[curves.owner]) == 0)
            missed = self.measure_chords(which[resting])
            part, elements = curves.take(resting), curves.rows(resting)
            long_off = (self.length_error[which[resting]] > limits.rtol)[part.owner]
            marked[elements] |= part.bulk(missed, bulk) & long_off
        # What no quadrature point sees, such as a step of a saturated decoder, chords may see.
        vanishing = no_length.copy()
        vanishing[no_length] = self._chords_vanish(which[no_length])
        self.residual[which[vanishing]] = self.length_error[which[vanishing]] = 0.0
        # A nearly stationary curve's gradient shows no saddle: it is asked for once.
        near &= ~vanishing
        if self.model.misses_saddles:
            asked = np.flatnonzero(definite & near & ~self._minimal[which])
            definite[asked] = self.model.definite(curves.take(asked), rough=True)
            self._minimal[which[asked]] = definite[asked]
        saddle = ~definite & ~self._left[which] & ~no_length
        self._saddle[:] = False
        self._saddle[which] = saddle & (self.curves.counts[which] < limits.max_elements)
        # What a saddle is must be seen on a mesh that shows it: all of its elements are bisected.
        marked = (marked & ~vanishing[curves.owner]) | saddle[curves.owner]
        everywhere = np.zeros(len(self.curves.nodes), dtype=bool)
        everywhere[rows] = marked
        return everywhere

    def measure_chords(self, which: Ints) -> Floats:
        """Compare lengths of some curves with those by chords.

        Parameters
        ----------
        which : array of int, shape=[n_measured]
            Curves.

        Returns
        -------
        missed : array, shape=[n_elements]
            Differences on their elements; zero where the decoder is not finite.
        """
        if not len(which):
            return np.zeros(0)
        options, rows = self.task.certificate, self.curves.rows(which)
        curves, fine = self.curves.take(which), self.fine[rows]
        # Long elements get more: what lies between the quadrature points shows in them.
        gaps = np.linalg.norm(np.diff(curves.nodes, axis=1), axis=2).sum(axis=1)
        derivative = self.model.element.differentiate_nodes @ curves.nodes
        fastest = np.linalg.norm(derivative, axis=2).max(axis=1)
        share = 2.0 * fastest / np.maximum(curves.total(gaps), _TINY)[curves.owner]
        fewest = options.chords_per_curve
        each = 2 ** np.ceil(np.log2(np.clip(fewest * share, 1.0, fewest)))
        each = np.maximum(options.chords_per_element, each).astype(int)
        chords = np.zeros(len(each))
        for n_chords in np.unique(each):
            chosen = each == n_chords
            part = Curves(curves.nodes[chosen], np.ones(1, dtype=int))
            chords[chosen] = self.model.chord_lengths(part.sample(n_chords))
        total = curves.total(np.where(np.isfinite(chords), chords, np.inf))
        self.chords[which], self.measured[which] = total, True
        with np.errstate(invalid="ignore"):
            error = np.abs(total - curves.total(fine)) / np.maximum(total, _TINY)
        self.length_error[which] = np.where(np.isfinite(total), error, np.inf)
        return np.where(np.isfinite(chords), np.abs(chords - fine), 0.0)

    def _chords_vanish(self, which: Ints) -> Bools:
        """Whether the chords of curves without length are no more than rounding, either."""
        curves = self.curves.take(which)
        norm = end_norms(self.model, curves)
        n_chords = self.task.certificate.chords_per_element * curves.counts
        n_chords = n_chords + self.task.certificate.chords_per_curve
        rounding = self.task.options.rounding * self.model.eps * n_chords * norm
        return self.chords[which] <= self.vanishing[which] + rounding

    def result(self) -> Minimised:
        """Give each curve its status."""
        limits, residual, error = self.task.limits, self.residual, self.length_error
        status = np.full(len(self.curves), int(GeodesicStatus.CONVERGED))
        status[~(residual <= limits.rtol)] = GeodesicStatus.MAX_ITER
        status[~(residual <= limits.rtol) & self.stalled] = GeodesicStatus.STALLED
        status[~(error <= limits.rtol)] = GeodesicStatus.UNDER_RESOLVED
        status[self._late & (status != GeodesicStatus.CONVERGED)] = GeodesicStatus.OUT_OF_TIME
        status[~self.finite | ~np.isfinite(self.chords)] = GeodesicStatus.NON_FINITE
        length = np.where(self.finite, np.maximum(self.chords, self.length), np.inf)
        late = np.flatnonzero(np.isfinite(length) & np.isnan(self.velocity).any(axis=(1, 2)))
        curves, ends = self.curves.take(late), self.end_metrics[late]
        self.velocity[late] = velocities(self.model, curves, 0.0, length[late], ends)
        settled = (residual <= limits.tol) & (error <= limits.rtol) & ~self._saddle
        return Minimised(
            self.curves, length, self.velocity, residual, error, status, self.n_iter, settled
        )


def _halves_of(elements: Ints) -> Ints:
    """Places of the halves of elements among those of all."""
    return (2 * elements[:, None] + np.arange(2)).ravel()
