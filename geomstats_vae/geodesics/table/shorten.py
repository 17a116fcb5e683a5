"""Curves that are shortened in a tabulated metric, and certified on the decoder itself."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import torch

from geomstats_vae.geodesics.arrays import Bools, Floats, Ints
from geomstats_vae.geodesics.curves.chain import Curves
from geomstats_vae.geodesics.curves.path import GeodesicStatus
from geomstats_vae.geodesics.curves.reference import reference_element
from geomstats_vae.geodesics.elements import ElementEvaluator, curve_points, to_numpy
from geomstats_vae.geodesics.minimise import Minimised
from geomstats_vae.geodesics.table.band import BandOptions
from geomstats_vae.geodesics.table.energy import Element, make_work
from geomstats_vae.geodesics.table.measure import arc_lengths
from geomstats_vae.geodesics.table.metric_table import MetricTable
from geomstats_vae.geodesics.table.newton import Ended, correct, descend

_TINY = np.finfo(float).tiny


@dataclass(frozen=True)
class TabulatedOptions:
    """Steps in a tabulated metric.

    Parameters
    ----------
    degree : int
        Degree of the elements.
    line_elements, path_elements : int
        Elements that straight lines and graph paths start with. Curves of fewer may leave the
        valley that the path shows.
    max_elements : int
        Elements of a curve. Past it the decoder itself is asked.
    max_iter : int
        Newton steps of a curve on each mesh.
    first_lift : float
        Least share of what makes Hessians positive that is added to them; see `descend`.
    max_looks : int
        Looks at a curve on a mesh twice as fine.
    first_tol : float
        Tolerance on the first mesh.
    below : float
        Share of the tolerance up to which steps are taken after the first look.
    share : float
        Elements are bisected that bear at least this share of the largest error of one.
    smoothing : int
        Times that a graph path is averaged with its neighbours.
    line : float
        The straight line is tried, too, if it is longer than the graph path by at most this factor.
    graph_limit : float
        Graph paths are searched up to this multiple of the line's length.
    steep : float
        A line that is longer than the graph path by this factor passes a wall: then the path is
        shortened in bands, too, see `shorten_in_band`; so are those of pairs without an answer.
    alternative : float
        Then the next graph path is tried, too, if it is longer by at most this factor.
    band_elements : int
        Elements that a curve starts with after that; those are bisected on which it is longer than
        the polygon by more than their share of `fitted`.
    fitted : float
        Share of the polygon's length by which the curve may be longer.
    fine : bool
        Whether energies are taken on twice the quadrature points. Those of such curves are.
    most_band_elements, most_band_steps, most_band_looks : int
        As `max_elements`, `max_iter` and `max_looks`, of such curves.
    band : BandOptions
        How polygons are shortened.
    valley, apart : float
        Of two curves of a pair the longer is pursued, too, after the first descent, if it is longer
        by at most this factor, and lies apart by this share of its extent.
    grown : float
        A curve that became longer by this share, as seen on twice as many elements, goes back to
        where it was, and begins anew on these.
    quick : float
        Where the table is off by less than this share of the root of the tolerance, as much as its
        square is far below the tolerance: then the decoder's gradient is not asked for, unless the
        velocities are to be exact.
    exact : float
        Tolerance up to which they are.
    lengths_only : bool
        Whether velocities need not be exact, whatever the tolerance.
    block : int
        Pairs at once.
    """

    degree: int = 5
    line_elements: int = 8
    path_elements: int = 16
    max_elements: int = 128
    max_iter: int = 40
    first_lift: float = 1e-5
    max_looks: int = 10
    first_tol: float = 1e-3
    below: float = 0.25
    share: float = 0.1
    smoothing: int = 3
    line: float = 1.1
    graph_limit: float = 1.05
    steep: float = 2.0
    alternative: float = 1.15
    band_elements: int = 32
    fitted: float = 0.01
    fine: bool = False
    most_band_elements: int = 1024
    most_band_steps: int = 200
    most_band_looks: int = 20
    band: BandOptions = field(default_factory=BandOptions)
    valley: float = 1.03
    apart: float = 0.02
    grown: float = 1e-3
    quick: float = 0.1
    exact: float = 1e-5
    lengths_only: bool = False
    block: int = 1024


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
    coarse, fine : array, shape=[n_curves]
        Energies on the quadrature points, and on twice as many elements.
    excess : array, shape=[n_curves]
        Twice what the energy would fall by on twice as many elements.
    n_iter : array of int, shape=[n_curves]
        Steps taken.
    """

    curves: Curves
    dt: Floats
    found: Bools = field(init=False)
    known: Bools = field(init=False)
    coarse: Floats = field(init=False)
    fine: Floats = field(init=False)
    excess: Floats = field(init=False)
    n_iter: Ints = field(init=False)

    def __post_init__(self) -> None:
        n_curves = len(self.curves)
        self.found, self.known = np.zeros(n_curves, dtype=bool), np.ones(n_curves, dtype=bool)
        self.coarse, self.fine, self.excess = np.full((3, n_curves), np.inf)
        self.n_iter = np.zeros(n_curves, dtype=int)

    @property
    def length(self) -> Floats:
        """Lengths in the tabulated metric, shape=[n_curves]; infinite where it is not known."""
        return np.where(self.known, np.sqrt(2.0 * self.fine), np.inf)

    def take(self, which: Ints) -> TabulatedCurves:
        """Copy some curves, in the order given."""
        part = TabulatedCurves(self.curves.take(which), self.dt[self.curves.rows(which)])
        for name in ("found", "known", "coarse", "fine", "excess", "n_iter"):
            setattr(part, name, getattr(self, name)[which])
        return part


def shorten(
    table: MetricTable,
    curves: Curves,
    dt: Floats,
    tol: float,
    options: TabulatedOptions,
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

    Returns
    -------
    shortened : TabulatedCurves
        The curves.
    """
    blocks, open_ = [], np.arange(len(curves))
    state, goal = TabulatedCurves(curves, dt), np.full(len(curves), max(tol, options.first_tol))
    before = curves.total(arc_lengths(table, curves.nodes, 1)[:, -1])
    for look in range(options.max_looks):
        begun = state.curves.nodes.copy()
        marked = _step_and_look(table, state, goal, tol, options)
        # On a mesh this coarse a curve may pass a wall between two points: it begins anew.
        passed = state.known & (state.length > before * (1.0 + options.grown))
        passed &= state.curves.total(marked) > 0
        again = passed[state.curves.owner]
        state.curves.nodes[again] = begun[again]
        state.found &= ~passed
        before = np.where(passed, before, state.length)
        ended = state.curves.total(marked) == 0
        if look == options.max_looks - 1:
            ended[:] = True
        blocks.append((open_[ended], state.take(np.flatnonzero(ended))))
        if ended.all():
            break
        going = np.flatnonzero(~ended)
        rows = state.curves.rows(going)
        state, open_, before = state.take(going), open_[going], before[going]
        part = marked[rows]
        gained = state.excess / np.maximum(2.0 * state.fine, _TINY)
        closer = np.where(passed[going], goal[going], 0.01 * gained)
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
    for name in ("found", "known", "coarse", "fine", "excess", "n_iter"):
        setattr(joined, name, np.concatenate([getattr(part, name) for part in parts]))
    return joined.take(order)


def _step_and_look(
    table: MetricTable, state: TabulatedCurves, goal: Floats, tol: float, options: TabulatedOptions
) -> Bools:
    """Take steps on the meshes, and look at twice as fine ones; the elements to be bisected."""
    curves = state.curves
    status, steps, energy, _ = run(table, curves, state.dt, goal, options)
    state.n_iter += steps
    state.known = status != Ended.UNKNOWN
    halves, dt = curves.halved(), np.repeat(0.5 * state.dt, 2)
    look = replace(options, max_iter=0)
    seen, _, fine, gain = run(table, halves, dt, np.full(len(curves), tol), look)
    state.known &= seen != Ended.UNKNOWN
    # What neighbours gain from each other cancels in the sum.
    state.excess = halves.total(gain)
    fine, gain = fine.reshape(-1, 2).sum(axis=1), np.abs(gain).reshape(-1, 2).sum(axis=1)
    with np.errstate(invalid="ignore"):
        mismatch = np.abs(energy - fine)
    state.coarse, state.fine = curves.total(energy), curves.total(fine)
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


def run(
    table: MetricTable, curves: Curves, dt: Floats, tol: Floats, options: TabulatedOptions
) -> tuple[Ints, Ints, Floats, Floats]:
    """Take Newton steps, which change the curves; see `descend`.

    Returns
    -------
    status, steps : array of int, shape=[n_curves]
        How each search ended, and the steps taken.
    energy, gain : array, shape=[n_elements]
        Energies, and by how much they would fall at first order by another step.
    """
    degree, dim, n_curves = curves.degree, curves.dim, len(curves)
    most = int(curves.counts.max(initial=1))
    status, steps = np.zeros((2, n_curves), dtype=int)
    energy, gain = np.full(len(dt), np.inf), np.full(len(dt), np.inf)
    descend(
        table.tree,
        Element.of(reference_element(degree), fine=options.fine),
        curves.nodes,
        dt,
        curves.offsets,
        tol,
        options.max_iter,
        options.first_lift,
        status,
        steps,
        energy,
        gain,
        np.empty((most, degree + 1, dim)),
        np.empty((most * degree + 1) * dim),
        make_work(most, degree, dim),
    )
    return status, steps, energy, gain


def certify(
    evaluator: ElementEvaluator,
    table: MetricTable,
    found: TabulatedCurves,
    rtol: float,
    tol: float,
    options: TabulatedOptions,
) -> Minimised:
    """Measure curves on the decoder itself, and give each its status.

    Where the table's metric is off by no more than a share e, a shortest curve of it is longer than
    that of the decoder by no more than about e, and in the mean by about e^2. The bound is the
    residual, if e is small enough. Of other curves, and of those whose velocities are to be exact,
    it is the Newton decrement of the decoder's own gradient, in the table's Hessian.
    The error of the length is what the decoder's measure differs from the table's at the same
    points, and the table's from that on twice as many elements.

    Parameters
    ----------
    evaluator : ElementEvaluator
        Evaluates the decoder, on elements of the curves' degree.
    table : MetricTable
        The metric that they were shortened in.
    found : TabulatedCurves
        The curves.
    rtol : float
        Bound on the residual, and on the error of the length.
    tol : float
        Residual up to which there is nothing to improve.
    options : TabulatedOptions
        When the decoder's gradient is asked for.

    Returns
    -------
    minimised : Minimised
        The curves. Those that are settled are as exact as `tol` asks for.
    """
    curves, n_curves = found.curves, len(found.curves)
    element, dim = evaluator.element, curves.dim
    points = element.interpolate @ curves.nodes, element.differentiate @ curves.nodes
    speed, off = table.speeds_and_errors(*points)
    true_speed = _speeds(evaluator, curves.nodes)
    with np.errstate(invalid="ignore", divide="ignore"):
        off = np.maximum(off, np.abs(true_speed / speed - 1.0))
        length = curves.total(true_speed @ element.weights)
        table_length = curves.total(speed @ element.weights)
        # Weighted by length: twice the error of the speed is about that of the metric.
        off = 2.0 * curves.total((off * speed) @ element.weights) / table_length
        finer = np.sqrt(found.fine / found.coarse)
        error = np.abs(finer - 1.0) + np.abs(length / table_length - 1.0)
        left = found.excess / (2.0 * found.fine)
    gradient = np.full((len(curves.nodes), (curves.degree + 1) * dim), np.nan)
    quick = off <= min(options.quick * tol**0.5, 0.5 * rtol)
    if tol <= options.exact and not options.lengths_only:
        quick[:] = False
    quick &= found.found
    asked = np.flatnonzero(found.known & ~quick)
    rows = curves.rows(asked)
    gradient[rows] = _gradients(evaluator, curves.nodes[rows], found.dt[rows])
    excess, ends = np.zeros(n_curves), np.zeros((n_curves, 2, dim))
    work = make_work(int(curves.counts.max(initial=1)), curves.degree, dim)
    chains = curves.nodes, found.dt, curves.offsets
    correct(table.tree, Element.of(element), *chains, gradient, excess, ends, work)
    residual = left + off
    with np.errstate(invalid="ignore"):
        residual[asked] = np.maximum(left, excess / (2.0 * found.fine))[asked]
    length = length * finer
    finite = np.isfinite(length) & found.known
    residual, error = (np.where(finite, part, np.inf) for part in (residual, error))
    status = np.full(n_curves, int(GeodesicStatus.CONVERGED))
    # The decoder's own gradient may show that a curve is at rest where the table does not.
    at_rest = found.found | (~quick & (residual <= tol))
    status[~(residual <= rtol) | ~at_rest] = GeodesicStatus.MAX_ITER
    status[~(error <= rtol)] = GeodesicStatus.UNDER_RESOLVED
    status[~finite] = GeodesicStatus.NON_FINITE
    metric = evaluator.metrics(curves.ends.reshape(-1, dim))
    ends[:, 0] *= -1.0
    velocity = _velocities(metric.reshape(-1, 2, dim, dim), ends, length)
    settled = (status == GeodesicStatus.CONVERGED) & np.isfinite(velocity).all(axis=(1, 2))
    settled &= np.where(quick, left, residual) <= tol
    return Minimised(
        curves,
        np.where(finite, length, np.inf),
        velocity,
        residual,
        error,
        status,
        found.n_iter,
        settled,
    )


def _speeds(evaluator: ElementEvaluator, nodes: Floats) -> Floats:
    """Speeds of elements on the decoder, shape=[n_elements, n_quadrature]."""
    b, d = evaluator.rule("interpolate"), evaluator.rule("differentiate")
    speeds = [np.zeros((0, len(b)))]
    with torch.no_grad():
        for part in evaluator.chunks(nodes, len(b)):
            pushed = evaluator.immersion.push(*curve_points(part, b, d))
            speeds.append(to_numpy(pushed.norm(dim=1).view(len(part), -1)))
    return np.concatenate(speeds)


def _gradients(evaluator: ElementEvaluator, nodes: Floats, dt: Floats) -> Floats:
    """Differentiate energies of elements on the decoder, shape=[n_elements, n_nodes * dim]."""
    b, d, w = (evaluator.rule(name) for name in ("interpolate", "differentiate", "weights"))
    gradient, begin = np.zeros((len(nodes), nodes.shape[1] * nodes.shape[2])), 0
    with torch.no_grad():
        for part in evaluator.chunks(nodes, len(w)):
            rows = slice(begin, begin + len(part))
            moving = evaluator.immersion.linearize(*curve_points(part, b, d))
            weight = (2.0 * w / evaluator.tensor(dt[rows])[:, None]).flatten()
            dz, dv = moving.pull(weight[:, None] * moving.pushed)
            shape = (len(part), len(w), -1)
            slope = torch.einsum("qa,eqk->eak", b, dz.view(shape))
            slope += torch.einsum("qa,eqk->eak", d, dv.view(shape))
            gradient[rows] = to_numpy(slope.flatten(1))
            begin += len(part)
    return gradient


def _velocities(metric: Floats, covector: Floats, length: Floats) -> Floats:
    """Velocities at the ends of curves from their covectors, of speeds that are the lengths."""
    velocity = np.full_like(covector, np.nan)
    good = np.isfinite(metric).all(axis=(2, 3)) & np.isfinite(covector).all(axis=2)
    velocity[good] = np.linalg.solve(metric[good], covector[good][..., None])[..., 0]
    speed = np.sqrt(np.maximum((velocity * covector).sum(axis=2), _TINY))
    return velocity * (length[:, None] / speed)[..., None]
