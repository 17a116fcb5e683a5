"""What is known of a curve once it is short: its certificate, and where it is too coarse."""

from __future__ import annotations

import numpy as np

from geomstats_vae.geodesics.curves import Curves
from geomstats_vae.geodesics.elements import differentiation_matrix

_FINE_CHORDS, _FEWEST_CHORDS = 20, 512  # of an element, of a curve
_NEAR = 1e-3  # decrement, relative to the length, at which a Newton step can be trusted
_BULK = 0.8  # share of the expected shortening that refined elements bear


class Certificate:
    """What finer measures say of relaxed curves: the certificate, and where to refine.

    Parameters
    ----------
    evaluator : ElementEvaluator
        Evaluates the decoder along elements.
    relaxed : RelaxedCurves
        The curves.

    Attributes
    ----------
    residual : array, shape=[n_curves]
        Newton decrements on meshes of halves, relative to the lengths.
    chords : array, shape=[n_curves]
        Lengths by chords of F.
    length_error : array, shape=[n_curves]
        Their relative differences from the lengths by quadrature.
    velocity : array, shape=[n_curves, 2, dim]
        Velocities at the ends.
    saddles : array of int
        Curves that are found to be on a saddle.
    left : array of bool, shape=[n_curves]
        Curves to leave on their saddles.
    """

    def __init__(self, evaluator, relaxed, max_elements):
        self.evaluator, self.relaxed, self.max_elements = evaluator, relaxed, max_elements
        self._derivative = differentiation_matrix(evaluator.element.nodes)
        n_curves = len(relaxed.curves)
        self.residual = np.full(n_curves, np.inf)
        self.chords, self.length_error = self.residual.copy(), self.residual.copy()
        self.velocity = np.full((n_curves, 2, relaxed.curves.dim), np.nan)
        self.left, self.saddles = np.zeros(n_curves, dtype=bool), np.zeros(0, dtype=int)

    def look(self, which, tol, rtol, *, system=None, errors=None):
        """Measure some curves.

        Parameters
        ----------
        which : array of int, shape=[n_looked]
            Curves whose decoder is finite.
        tol : float
            Largest residual to leave as it is.
        rtol : float
            Largest error of the length to leave as it is.
        system : ElementSystem, optional
            Systems of the halves of these curves' elements, where they are known.
        errors : array, shape=[n_looked], optional
            Errors of the lengths, where they are known: chords are not measured then.

        Returns
        -------
        marked : array of bool, shape=[n_elements]
            Elements whose bisection matters.
        """
        relaxed, tiny = self.relaxed, np.finfo(float).tiny
        self._rows, length = relaxed.curves.rows(which), relaxed.length[which]
        curves = relaxed.curves.take(which)
        halves = curves.split(np.ones(len(curves.nodes), dtype=bool))
        self._system = self.evaluator.system(halves.nodes) if system is None else system
        direction, decrement, definite = relaxed.direction(halves, self._system, which)
        self.velocity[which] = self._velocities(which, halves, direction, decrement)
        self.residual[which] = decrement / np.maximum(length, tiny)
        gain = -(self._system.gradient * direction.reshape(len(direction), -1)).sum(axis=1)
        # What a saddle is must be seen on a mesh that shows it: all of its elements are bisected.
        vanishing = length <= relaxed.vanishing[which]
        saddle = ~definite & ~self.left[which] & ~vanishing
        self.saddles = which[saddle & (relaxed.curves.counts[which] < self.max_elements)]
        if errors is None:
            missed = self._chord_error(which, curves)
        else:
            missed = np.zeros(len(curves.nodes))
            self.chords[which], self.length_error[which] = length, errors
        self.residual[which[vanishing]] = self.length_error[which[vanishing]] = 0.0
        marked = _bulk(np.abs(gain).reshape(-1, 2).sum(axis=1), curves)
        marked &= (self.residual[which] > tol)[curves.owner]
        marked |= _bulk(missed, curves) & (self.length_error[which] > rtol)[curves.owner]
        mismatch = np.abs(relaxed.fine[self._rows] - self._system.length.reshape(-1, 2).sum(axis=1))
        marked |= _bulk(mismatch, curves) & (curves.total(mismatch) > tol * length)[curves.owner]
        marked &= ~vanishing[curves.owner]
        everywhere = np.zeros(len(relaxed.curves.nodes), dtype=bool)
        everywhere[self._rows] = marked | saddle[curves.owner]
        return everywhere

    def _velocities(self, which, halves, direction, decrement):
        """Velocities at the ends of the curves that Newton's next step would lead to."""
        length, metric = self.relaxed.length[which], self.relaxed.end_metrics[which]
        ends = np.stack((halves.offsets[:-1], halves.offsets[1:] - 1), axis=1).ravel()
        # Far from a geodesic the step may lead anywhere.
        ends = ends[(decrement <= _NEAR * length)[halves.owner[ends]]]
        gradient = self._system.gradient.copy()
        if len(ends):
            # The length is stationary, so its error is the square of that of a velocity.
            moved = self.evaluator.system(halves.nodes[ends] + direction[ends])
            gradient[ends[moved.finite]] = moved.gradient[moved.finite]
        return end_velocities(halves, gradient, length, metric)

    def _chord_error(self, which, curves):
        """Compare lengths with those by chords; per element, zero where those are not finite."""
        fine = self.relaxed.fine[self._rows]
        # Long elements get more: what lies between the quadrature points shows in them.
        gaps = np.linalg.norm(np.diff(curves.nodes, axis=1), axis=2).sum(axis=1)
        fastest = np.linalg.norm(self._derivative @ curves.nodes, axis=2).max(axis=1)
        share = 2.0 * fastest / np.maximum(curves.total(gaps), np.finfo(float).tiny)[curves.owner]
        each = 2 ** np.ceil(np.log2(np.clip(_FEWEST_CHORDS * share, 1.0, _FEWEST_CHORDS)))
        each = np.maximum(_FINE_CHORDS, each).astype(int)
        chords = np.zeros(len(each))
        for n_chords in np.unique(each):
            part = Curves(curves.nodes[each == n_chords], np.ones(1, dtype=int))
            chords[each == n_chords] = self.evaluator.chord_length(part.sample(n_chords))
        total = curves.total(np.where(np.isfinite(chords), chords, np.inf))
        self.chords[which] = total
        missed = np.where(np.isfinite(chords), np.abs(chords - fine), 0.0)
        with np.errstate(invalid="ignore"):
            error = np.abs(total - curves.total(fine)) / np.maximum(total, np.finfo(float).tiny)
        self.length_error[which] = np.where(np.isfinite(total), error, np.inf)
        return missed

    def leave_saddles(self):
        """Slide curves off the saddles seen last, and leave alone those that do not get shorter."""
        if len(self.saddles):
            self.left[self.saddles] = ~self.relaxed.leave_saddles(self.saddles)

    def halves(self, marked):
        """Systems of the halves of elements that were looked at last."""
        chosen = np.flatnonzero(marked[self._rows])
        return self._system[(2 * chosen[:, None] + np.arange(2)).ravel()]


def end_velocities(curves, gradient, length, metric):
    """Velocities at both ends for times in [0, 1].

    The gradient of the length with respect to an end point is the unit velocity there, lowered by
    the metric: it is as accurate as the length itself, which differencing the nodes is not.

    Parameters
    ----------
    curves : Curves
        Curves.
    gradient : array, shape=[n_elements, (degree + 1) * dim]
        First variation of their elements.
    length : array, shape=[n_curves]
        Lengths.
    metric : array, shape=[n_curves, 2, dim, dim]
        Metric matrices at the ends.

    Returns
    -------
    velocity : array, shape=[n_curves, 2, dim]
        Velocities, the shortest where the metric is singular; NaN where it is not finite.
    """
    first, last = curves.offsets[:-1], curves.offsets[1:] - 1
    dim = curves.dim
    covector = np.stack((-gradient[first, :dim], gradient[last, -dim:]), axis=1)
    velocity = np.full_like(covector, np.nan)
    good = np.isfinite(metric).all(axis=(2, 3)) & np.isfinite(covector).all(axis=2)
    inverse = np.linalg.pinv(metric[good], rcond=np.finfo(float).eps, hermitian=True)
    velocity[good] = (inverse @ covector[good][..., None])[..., 0]
    # A geodesic's unit speed is known: what quadrature adds along the curve goes.
    speed = np.sqrt(np.maximum((velocity * covector).sum(axis=2), np.finfo(float).tiny))
    return velocity * (length[:, None] / speed)[..., None]


def _bulk(indicator, curves):
    """Mark the fewest elements that bear most of their curve's total (Doerfler's marking)."""
    order = np.lexsort((-indicator, curves.owner))
    running = np.cumsum(indicator[order])
    total = curves.total(indicator)
    before = np.concatenate(([0.0], np.cumsum(total)[:-1]))
    marked = np.zeros(len(indicator), dtype=bool)
    owner = curves.owner[order]
    marked[order] = running - indicator[order] - before[owner] < _BULK * total[owner]
    return marked
