"""Curves that are shortened in a tabulated metric."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from geomstats_vae.geodesics.arrays import Bools, Floats, Ints
from geomstats_vae.geodesics.curves.chain import Curves
from geomstats_vae.geodesics.curves.reference import reference_element
from geomstats_vae.geodesics.deadline import Deadline
from geomstats_vae.geodesics.table.element import Element, make_work
from geomstats_vae.geodesics.table.measure import even_times
from geomstats_vae.geodesics.table.metric_table import MetricTable
from geomstats_vae.geodesics.table.newton import Ended, descend
from geomstats_vae.geodesics.table.options import TabulatedOptions

_TINY = np.finfo(float).tiny
_COLUMNS = ("found", "known", "undone", "coarse", "fine", "excess", "n_iter", "turn", "spread")


@dataclass
class TabulatedCurves:
    """Curves in a tabulated metric.

    Parameters
    ----------
    curves : Curves
        The curves.
    dt : array, shape=[n_elements]
        Times of their elements; those of a curve add up to 1.

    Attributes
    ----------
    found : array of bool, shape=[n_curves]
        Whether each is a minimum, as exact as it was asked for.
    known : array of bool, shape=[n_curves]
        Whether the table knows the metric along it.
    undone : array of bool, shape=[n_curves]
        Whether steps still helped when there were no more.
    coarse, fine : array, shape=[n_curves]
        Energies on the quadrature points, and on twice as many elements.
    excess : array, shape=[n_curves]
        Twice what the energy would fall by on twice as many elements.
    n_iter : array of int, shape=[n_curves]
        Steps taken.
    turn : array, shape=[n_curves]
        How steps became smaller; see `descend`.
    spread : array, shape=[n_curves]
        Twice the variance of the speed, over its mean square.
    """

    curves: Curves
    dt: Floats
    found: Bools = field(init=False)
    known: Bools = field(init=False)
    undone: Bools = field(init=False)
    coarse: Floats = field(init=False)
    fine: Floats = field(init=False)
    excess: Floats = field(init=False)
    n_iter: Ints = field(init=False)
    turn: Floats = field(init=False)
    spread: Floats = field(init=False)

    def __post_init__(self) -> None:
        n_curves = len(self.curves)
        self.found, self.known = np.zeros(n_curves, dtype=bool), np.ones(n_curves, dtype=bool)
        self.undone = np.zeros(n_curves, dtype=bool)
        shape = 5, n_curves
        self.coarse, self.fine, self.excess, self.turn, self.spread = np.full(shape, np.inf)
        self.n_iter = np.zeros(n_curves, dtype=int)

    @property
    def length(self) -> Floats:
        """Lengths in the tabulated metric, shape=[n_curves]; infinite where it is not known."""
        return np.where(self.known, np.sqrt(2.0 * self.fine), np.inf)

    def take(self, which: Ints) -> TabulatedCurves:
        """Copy some curves, in the order given."""
        part = TabulatedCurves(self.curves.take(which), self.dt[self.curves.rows(which)])
        for name in _COLUMNS:
            setattr(part, name, getattr(self, name)[which])
        return part


def shorten(
    table: MetricTable,
    curves: Curves,
    dt: Floats,
    tol: float,
    options: TabulatedOptions,
    deadline: Deadline,
    length: Floats,
    rested: Bools,
) -> TabulatedCurves:
    """Shorten curves in a tabulated metric, on meshes that are refined where it matters.

    Parameters
    ----------
    table : MetricTable
        The metric.
    curves : Curves
        Where to start.
    dt : array, shape=[n_elements]
        Times of their elements.
    tol : float
        Share of the energy, and so about of the squared length, that curves may be off by.
    options : TabulatedOptions
        Steps.
    deadline : Deadline
        When to look at no more finer meshes.
    length : array, shape=[n_curves]
        Lengths of the curves.
    rested : array of bool, shape=[n_curves]
        Curves that are at rest on their meshes already, to `TabulatedOptions.first_tol`.

    Returns
    -------
    shortened : TabulatedCurves
        The curves.
    """
    blocks, open_ = [], np.arange(len(curves))
    state, goal = TabulatedCurves(curves, dt), np.full(len(curves), max(tol, options.first_tol))
    before = length
    for look in range(options.max_looks):
        begun = state.curves.nodes.copy()
        marked = _step_and_look(table, state, goal, tol, options, rested)
        # On a mesh this coarse a curve may pass a wall between two points: it begins anew, on one
        # that is twice as fine all along.
        passed = state.known & (state.length > before * (1.0 + options.grown))
        passed &= state.curves.total(marked) > 0
        again = passed[state.curves.owner]
        state.curves.nodes[again] = begun[again]
        state.found &= ~passed
        marked |= again & (2 * state.curves.counts <= options.max_elements)[state.curves.owner]
        # Where steps still help they are taken on the mesh as it is.
        staying = state.undone & ~passed & (look < options.most_stays)
        marked &= ~staying[state.curves.owner]
        before = np.where(passed, before, state.length)
        ended = (state.curves.total(marked) == 0) & ~staying
        if look == options.max_looks - 1 or deadline.passed:
            ended[:] = True
        blocks.append((open_[ended], state.take(np.flatnonzero(ended))))
        if ended.all():
            break
        going = np.flatnonzero(~ended)
        rows = state.curves.rows(going)
        state, open_, before = state.take(going), open_[going], before[going]
        rested = np.zeros(len(going), dtype=bool)
        part = marked[rows]
        gained = state.excess / np.maximum(2.0 * state.fine, _TINY)
        closer = np.where((passed | staying)[going], goal[going], 0.01 * gained)
        # Below what is asked for: on the finer mesh a little more shows.
        goal = np.maximum(options.below * tol, np.minimum(goal[going], closer))
        state.dt = np.repeat(np.where(part, 0.5 * state.dt, state.dt), np.where(part, 2, 1))
        state.curves = state.curves.split(part)
    return _joined(blocks)


def _joined(blocks: list[tuple[Ints, TabulatedCurves]]) -> TabulatedCurves:
    order = np.argsort(np.concatenate([rows for rows, _ in blocks]))
    parts = [part for _, part in blocks]
    nodes = np.concatenate([part.curves.nodes for part in parts])
    counts = np.concatenate([part.curves.counts for part in parts])
    joined = TabulatedCurves(Curves(nodes, counts), np.concatenate([part.dt for part in parts]))
    for name in _COLUMNS:
        setattr(joined, name, np.concatenate([getattr(part, name) for part in parts]))
    return joined.take(order)


def _step_and_look(
    table: MetricTable,
    state: TabulatedCurves,
    goal: Floats,
    tol: float,
    options: TabulatedOptions,
    rested: Bools,
) -> Bools:
    """Take steps on the meshes, and look at twice as fine ones; the elements to be bisected.

    A curve at rest runs at an even speed: by the unevenness alone its energy may fall. Where that
    is more than is asked for, there is no need for Newton's step on the finer mesh.
    """
    curves, status, steps = state.curves, *np.zeros((2, len(state.curves)), dtype=int)
    moving = np.flatnonzero(~rested)
    rows, part, turn = curves.rows(moving), curves.take(moving), state.turn[moving]
    ended = run(table, part, state.dt[rows], goal[moving], options, turn)
    curves.nodes[rows], state.turn[moving] = part.nodes, turn
    status[moving], steps[moving] = ended[:2]
    energy, length = np.empty((2, len(state.dt)))
    energy[rows], length[rows] = ended[2:4]
    still = np.flatnonzero(rested)
    rows = curves.rows(still)
    energy[rows], length[rows] = _measured(table, curves.take(still), state.dt[rows], options)
    state.n_iter += steps
    state.known, state.undone = status != Ended.UNKNOWN, status == Ended.UNDONE
    if options.fine:
        # Along a wall nodes would slide for hundreds of steps before the speed is even.
        before = state.dt
        state.dt = even_times(curves, length)
        energy *= before / state.dt
    uneven = _unevenness(curves, state.dt, energy, length)
    state.coarse = curves.total(energy)
    halves, dt = curves.halved(), np.repeat(0.5 * state.dt, 2)
    fine, gain = np.empty(len(dt)), np.repeat(0.5 * uneven, 2)
    spread = curves.total(uneven) / np.maximum(state.coarse, _TINY)
    # Unless bisecting is of no use: where the table jumps from leaf to leaf, speeds do.
    is_uneven = (spread > 2.0 * tol) & ~(spread > 0.5 * state.spread)
    state.spread = spread
    rows, part = halves.rows(np.flatnonzero(is_uneven)), halves.take(np.flatnonzero(is_uneven))
    fine[rows] = _measured(table, part, dt[rows], options)[0]
    even, seen = np.flatnonzero(~is_uneven), np.full(len(curves), int(Ended.UNDONE))
    rows, part, look = halves.rows(even), halves.take(even), replace(options, max_iter=0)
    ended = run(table, part, dt[rows], np.full(len(even), tol), look)
    seen[even], fine[rows], gain[rows] = ended[0], ended[2], ended[4]
    state.known &= seen != Ended.UNKNOWN
    # What neighbours gain from each other cancels in the sum.
    state.excess = halves.total(gain)
    fine, gain = fine.reshape(-1, 2).sum(axis=1), np.abs(gain).reshape(-1, 2).sum(axis=1)
    with np.errstate(invalid="ignore"):
        mismatch = np.abs(energy - fine)
    state.fine = curves.total(fine)
    enough = 2.0 * tol * state.fine
    # Steps may have ended where the splines of two leaves meet: what the halves show counts.
    at_rest = state.known & (state.excess <= enough) & (curves.total(mismatch) <= enough)
    state.found = at_rest & (seen == Ended.FOUND)
    error = np.nan_to_num(gain + mismatch, nan=np.inf)
    largest = np.zeros(len(curves))
    np.maximum.at(largest, curves.owner, error)
    marked = error > np.maximum(options.share * largest, enough / curves.counts)[curves.owner]
    # Where no element stands out the curve is off as a whole.
    marked |= (curves.total(marked) == 0)[curves.owner]
    # A saddle that no step leaves is none the less on a finer mesh.
    ended = state.found | (at_rest & (status == Ended.STALLED) & (steps == 0))
    marked &= (state.known & ~ended)[curves.owner]
    too_many = curves.counts + curves.total(marked) > options.max_elements
    return marked & ~too_many[curves.owner]


def _measured(
    table: MetricTable, curves: Curves, dt: Floats, options: TabulatedOptions
) -> tuple[Floats, Floats]:
    """Energies and lengths of elements, infinite where the table knows no metric."""
    element = Element.of(reference_element(curves.degree), curves.dim, fine=options.fine)
    speed = table.speeds(*(part @ curves.nodes for part in np.split(element.at_nodes, 2)))
    speed[np.isnan(speed)] = np.inf
    return speed**2 @ element.weights / dt, speed @ element.weights


def _unevenness(curves: Curves, dt: Floats, energy: Floats, length: Floats) -> Floats:
    """Give what twice the energies would fall by if the curves ran at an even speed.

    Twice the energy is the squared length and the variance of the speed.
    """
    mean = curves.total(length)[curves.owner]
    with np.errstate(invalid="ignore"):
        uneven = 2.0 * energy - 2.0 * mean * length + mean**2 * dt
    return np.maximum(np.nan_to_num(uneven, nan=0.0, posinf=0.0), 0.0)


def run(
    table: MetricTable,
    curves: Curves,
    dt: Floats,
    tol: Floats,
    options: TabulatedOptions,
    turn: Floats | None = None,
) -> tuple[Ints, Ints, Floats, Floats, Floats]:
    """Take Newton steps, which change the curves; see `descend`.

    Returns
    -------
    status, steps : array of int, shape=[n_curves]
        How each search ended, and the steps taken.
    energy, length, gain : array, shape=[n_elements]
        Energies, lengths, and by how much the energies would fall at first order by another step.
    """
    degree, dim, n_curves = curves.degree, curves.dim, len(curves)
    most = int(curves.counts.max(initial=1))
    element = Element.of(reference_element(degree), dim, fine=options.fine)
    status, steps = np.zeros((2, n_curves), dtype=int)
    energy, length, gain = np.full((3, len(dt)), np.inf)
    turn = np.full(n_curves, np.inf) if turn is None else turn
    descend(
        table.tree,
        element,
        curves.nodes,
        dt,
        curves.offsets,
        tol,
        options.max_iter,
        options.first_lift,
        options.most_left,
        options.slide,
        status,
        steps,
        turn,
        energy,
        length,
        gain,
        np.empty((most, degree + 1, dim)),
        np.empty((most * degree + 1) * dim),
        make_work(most, element),
    )
    return status, steps, energy, length, gain
