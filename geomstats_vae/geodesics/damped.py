"""Newton steps of assembled matrices, damped per element where the model fails."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from geomstats_vae.geodesics.arrays import Bools, Floats, Ints
from geomstats_vae.geodesics.curves.chain import Curves, solve_between_ends
from geomstats_vae.geodesics.elements import CurveMemory, PerElement
from geomstats_vae.geodesics.model import Step
from geomstats_vae.geodesics.model_options import AssembledOptions


@dataclass
class AssembledVariation(PerElement):
    """Length of each element and its variations with respect to the element's nodes.

    Parameters
    ----------
    length : array, shape=[n_elements]
        Lengths.
    gradient : array, shape=[n_elements, (degree + 1) * dim]
        Derivative of the length.
    stiffness : array, shape=[n_elements, (degree + 1) * dim, (degree + 1) * dim]
        Gauss-Newton matrix of the energy at the present speed, int |D u|^2 / |c'|.
    curvature : array, same shape
        What Gauss-Newton leaves out, int <t, (d^2 F(u, u))'>.
    mass : array, same shape
        int |u|^2 |c'|, the squared norm of a displacement.
    turning : array, shape=[n_elements]
        Angle, in radians, by which the curve turns in the decoder's target.
    """

    length: Floats
    gradient: Floats
    stiffness: Floats
    curvature: Floats
    mass: Floats
    turning: Floats

    @property
    def finite(self) -> Bools:
        """Whether all is finite, shape=[n_elements]."""
        return all_finite(self.stiffness) & all_finite(self.curvature)


def all_finite(arrays: Floats) -> Bools:
    """Whether all of each element is finite, shape=[n_elements]."""
    return np.logical_and.reduce(np.isfinite(arrays).reshape(len(arrays), -1), axis=1)


class DampedSteps:
    """Newton steps with damping learnt where the model fails; see `Proposal`.

    Along walls a Newton step fails first on a few elements, on which the length grows faster than
    its second variation says. What a failed trial measures there, the excess over the linear
    prediction per squared displacement, is the curvature that the model lacks. It is added to
    those elements' matrices and the step solved again. Elements that are damped already are damped
    more, by the geometric mean of both: a trial that goes too far shows too much.

    The next step starts with a share of the damping. Where a step gained nearly all that its slope
    promised it was far too short, and the share is small.
    """

    def __init__(
        self,
        curves: Curves,
        variation: AssembledVariation,
        fine: Floats,
        enough: Floats,
        before: Floats,
        memory: CurveMemory,
        options: AssembledOptions,
    ) -> None:
        self._curves, self._variation, self._fine = curves, variation, fine
        self._length, self._enough = curves.total(fine), enough
        self._memory, self._options = memory, options
        self._fading, self._last = memory.per_curve["fading"], memory.per_element["damping"]
        self._damping = self._remembered()
        found = newton_direction(curves, variation, self._length, self._damping, options)
        self._direction, self._expected, self._definite = found
        self.decrement = self._expected.copy()
        near = np.flatnonzero((found[1] <= enough) & (curves.total(self._damping) > 0.0))
        if len(near):
            self._ask_undamped(near)
        self._falling = self.decrement <= options.fall * before
        # A saddle is stationary too, but a coarse mesh finds directions of descent that are none:
        # whether this is one is asked on a finer mesh.
        self.done = self.decrement <= enough
        self.open = np.ones(len(curves), dtype=bool)
        share = np.minimum(1.0, options.growth * memory.per_curve["share"])
        self._share = np.minimum(share, self._reach())
        self._refusals, self._refused = 0, np.zeros(len(curves), dtype=bool)

    def _ask_undamped(self, near: Ints) -> None:
        """Ask curves whose damped steps gain little whether they are done without damping."""
        rows, part = self._curves.rows(near), self._curves.take(near)
        variation, length = self._variation[rows], self._length[near]
        found = newton_direction(part, variation, length, np.zeros(len(rows)), self._options)
        self.decrement[near], self._definite[near] = found[1:]
        done = found[1] <= self._enough[near]
        elements = rows[done[part.owner]]
        self._direction[elements], self._damping[elements] = found[0][done[part.owner]], 0.0
        self._expected[near[done]] = found[1][done]

    def _remembered(self) -> Floats:
        """Damping of the last step, fading; none where it is small beside the matrices."""
        stiffness = self._variation.stiffness
        damping = self._fading[self._curves.owner] * self._last
        usual = np.einsum("eii->e", stiffness) / stiffness.shape[1]
        return np.where(damping > self._options.forget * usual, damping, 0.0)

    def _reach(self) -> Floats:
        """Share of the step past which a node would leave the curve's surroundings."""
        curves, starts = self._curves, self._curves.offsets[:-1]
        extent = np.maximum.reduceat(np.ptp(curves.nodes, axis=1).max(axis=1), starts)
        size = np.maximum.reduceat(np.abs(self._direction).max(axis=(1, 2)), starts)
        size = np.maximum(size, np.finfo(float).eps * extent)
        return self._options.reach * curves.counts * extent / size

    def step(self, which: Ints) -> tuple[Floats, Floats]:
        """Propose steps, solved for again after refusals; see `Proposal.step`."""
        again = which[self._refused[which]]
        if len(again):
            rows = self._curves.rows(again)
            self._direction[rows], self._expected[again], _ = newton_direction(
                self._curves.take(again),
                self._variation[rows],
                self._length[again],
                self._damping[rows],
                self._options,
            )
            self._refused[again] = False
        rows = self._curves.rows(which)
        share = self._share[self._curves.owner[rows], None, None]
        return share * self._direction[rows], self._share[which] * self._expected[which]

    def refuse(self, which: Ints, displacement: Floats, tried: Floats) -> None:
        """Damp elements by the curvature that was missing; see `Proposal.refuse`."""
        rows = self._curves.rows(which)
        gradient = self._variation.gradient[rows].reshape(displacement.shape)
        slope = (gradient * displacement).sum(axis=(1, 2))
        square = np.maximum((displacement**2).sum(axis=(1, 2)), np.finfo(float).tiny)
        with np.errstate(over="ignore", invalid="ignore"):
            excess = np.maximum(tried - self._fine[rows] - slope, 0.0) / square
        excess[~np.isfinite(excess)] = 0.0
        self._damping[rows] = self._between(rows, excess)
        self._refused[which], self._refusals = True, self._refusals + 1
        if self._refusals % 3 == 0:
            self._share[which] *= self._options.shorten

    def _between(self, rows: Ints, excess: Floats) -> Floats:
        """Damping of elements between the one that failed and the excess."""
        damping, options = self._damping[rows], self._options
        more = np.where(damping > 0.0, np.sqrt(damping) * np.sqrt(excess), excess)
        # A trial with far less damping than the last step needed may go wild: up to what was enough
        # damping grows by a factor only.
        known = (damping > 0.0) & (damping < self._last[rows])
        known &= (self._fading <= options.fading)[self._curves.owner[rows]]
        more = np.where(known, np.minimum(more, options.rise * damping), more)
        return np.maximum(damping, more)

    def accept(self, taken: Bools, gained: Floats) -> Bools:
        """Tell where Newton's method converges quadratically; see `Proposal.accept`."""
        options, memory = self._options, self._memory
        memory.per_curve["share"] = np.where(taken, self._share, 1.0 / options.growth)
        memory.per_element["damping"] = self._damping
        promised = self._options.promised * self._share * self._expected
        memory.per_curve["fading"] = np.where(
            gained > promised, self._options.fading, self._options.slow_fading
        )
        # There the next decrement needs no asking.
        tol = self._enough / np.maximum(self._length, np.finfo(float).tiny)
        sure = np.maximum(tol, np.minimum(options.sure, 0.1 * tol**0.5))
        sure = (self._share == 1.0) & (self._expected <= sure * self._length)
        return taken & self._definite & self._falling & sure


def newton_direction(
    curves: Curves,
    variation: AssembledVariation,
    length: Floats,
    damping: Floats,
    options: AssembledOptions,
) -> Step:
    """Descent direction of each curve's length.

    Parameters
    ----------
    curves : Curves
        Curves.
    variation : AssembledVariation
        Length and variations of their elements.
    length : array, shape=[n_curves]
        Lengths.
    damping : array, shape=[n_elements]
        Multiples of the identity added to the elements' matrices.
    options : AssembledOptions
        Options.

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
    alone, which is definite wherever the metric is; near it, if that promises more, Newton's matrix
    shifted by a multiple of the mass. Where an element is not resolved the least such multiple is
    so large that the step is all but zero.
    """
    stiffness = variation.stiffness
    if damping.any():
        stiffness = stiffness + damping[:, None, None] * np.eye(stiffness.shape[1])
    newton = stiffness + variation.curvature
    found = solve_between_ends(curves, newton, variation.gradient)
    direction, decrement, definite = found
    failed = np.flatnonzero(~definite)
    if not len(failed):
        return found
    left = _solve_again(curves, failed, stiffness, variation.gradient, found)
    if len(left):
        # Where the metric is singular so is the majoriser; along its null space nothing changes.
        ridge = options.ridge * np.einsum("eii->e", stiffness) / stiffness.shape[1]
        ridged = stiffness + ridge[:, None, None] * np.eye(stiffness.shape[1])
        left = _solve_again(curves, left, ridged, variation.gradient, found)
        decrement[left] = np.inf
    near = failed[decrement[failed] < options.near * length[failed]]
    if len(near):
        _shift(curves, near, newton, variation, length, found, options)
    return direction, decrement, definite


def _shift(
    curves: Curves,
    near: Ints,
    newton: Floats,
    variation: AssembledVariation,
    length: Floats,
    found: Step,
    options: AssembledOptions,
) -> None:
    """Take steps of Newton's matrix plus a multiple of the mass, where they promise more."""
    rows = curves.rows(near)
    part, gradient = curves.take(near), variation.gradient[rows]
    shifted = found[0][rows], found[1][near], found[2][near]

    def solve(which: Ints, shift: Floats) -> Ints:
        weight = (shift / length[near] ** 2)[part.owner][:, None, None]
        matrices = newton[rows] + weight * variation.mass[rows]
        return _solve_again(part, which, matrices, gradient, shifted)

    least, left = np.zeros(len(near)), np.arange(len(near))
    for k in range(options.n_shifts):
        least[left] = options.first_shift * 10.0**k
        left = solve(left, least)
        if not len(left):
            break
    # The least multiple that will do may leave the matrix all but singular.
    solve(np.setdiff1d(np.arange(len(near)), left), options.clear * least)
    better = shifted[1] > found[1][near]
    found[0][rows[better[part.owner]]] = shifted[0][better[part.owner]]
    found[1][near[better]] = shifted[1][better]


def _solve_again(
    curves: Curves, which: Ints, matrices: Floats, gradient: Floats, found: Step
) -> Ints:
    """Solve for some curves with other matrices; returns the curves that are left.

    Solutions are written into what was found before.
    """
    rows = curves.rows(which)
    part = Curves(curves.nodes[rows], curves.counts[which])
    step, decrement, definite = solve_between_ends(part, matrices[rows], gradient[rows])
    good = definite[part.owner]
    found[0][rows[good]] = step[good]
    found[1][which[definite]] = decrement[definite]
    return which[~definite]
