"""Curves that are shortened in a tabulated metric, and certified on the decoder itself."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import torch

from geomstats_vae.geodesics.arrays import Bools, Floats, Ints
from geomstats_vae.geodesics.curves.chain import Curves
from geomstats_vae.geodesics.curves.path import GeodesicStatus
from geomstats_vae.geodesics.curves.reference import lagrange_matrix, reference_element
from geomstats_vae.geodesics.elements import ElementEvaluator, curve_points, to_numpy
from geomstats_vae.geodesics.minimise import Minimised
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
    first_shift, largest_shift : float
        Least and largest multiples of the mass that are added to Hessians; see `descend`.
    max_looks : int
        Looks at a curve on a mesh twice as fine.
    first_tol : float
        Tolerance on the first mesh.
    share : float
        Elements are bisected that bear at least this share of the largest error of one.
    smoothing : int
        Times that a graph path is averaged with its neighbours.
    line : float
        The straight line is tried, too, if it is longer than the graph path by at most this factor.
    graph_limit : float
        Graph paths are searched up to this multiple of the line's length.
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
    measured : bool
        Whether each curve is measured on the decoder. If not, the error that was seen on the
        table's leaves stands for it where that is small enough, as between the steps of an
        iteration.
    probes : int
        Points of an element at which the decoder is measured. What is measured is by what share its
        speed differs from the table's.
    block : int
        Pairs at once.
    """

    degree: int = 5
    line_elements: int = 8
    path_elements: int = 16
    max_elements: int = 128
    max_iter: int = 40
    first_shift: float = 3.0
    largest_shift: float = 1e8
    max_looks: int = 10
    first_tol: float = 1e-3
    share: float = 0.1
    smoothing: int = 3
    line: float = 1.1
    graph_limit: float = 1.05
    valley: float = 1.03
    apart: float = 0.02
    grown: float = 1e-3
    quick: float = 0.1
    exact: float = 1e-5
    lengths_only: bool = False
    measured: bool = True
    probes: int = 3
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
    begun, before = curves.nodes.copy(), curves.total(arc_lengths(table, curves.nodes, 1)[:, -1])
    for look in range(options.max_looks):
        marked = _step_and_look(table, state, goal, tol, options)
        if look == 0:
            # On a mesh this coarse a curve may pass a wall between two points: it begins anew.
            again = (state.known & (state.length > before * (1.0 + options.grown)))[curves.owner]
            state.curves.nodes[again], marked[again] = begun[again], True
        ended = state.curves.total(marked) == 0
        if look == options.max_looks - 1:
            ended[:] = True
        blocks.append((open_[ended], state.take(np.flatnonzero(ended))))
        if ended.all():
            break
        going = np.flatnonzero(~ended)
        rows = state.curves.rows(going)
        state, open_ = state.take(going), open_[going]
        part = marked[rows]
        gained = state.excess / np.maximum(2.0 * state.fine, _TINY)
        goal = np.maximum(tol, np.minimum(goal[going], 0.01 * gained))
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
    state.found = state.known & (seen == Ended.FOUND)
    state.found &= (state.excess <= enough) & (curves.total(mismatch) <= enough)
    error = np.nan_to_num(gain + mismatch, nan=np.inf)
    largest = np.zeros(len(curves))
    np.maximum.at(largest, curves.owner, error)
    marked = error > np.maximum(options.share * largest, enough / curves.counts)[curves.owner]
    # Where no element stands out the curve is off as a whole.
    marked |= (curves.total(marked) == 0)[curves.owner]
    marked &= (state.known & ~state.found)[curves.owner]
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
        Element.of(reference_element(degree)),
        curves.nodes,
        dt,
        curves.offsets,
        tol,
        options.max_iter,
        options.first_shift,
        options.largest_shift,
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
    speed = table.speeds(element.interpolate @ curves.nodes, element.differentiate @ curves.nodes)
    ratio, off = _deviations(evaluator, table, curves, options)
    with np.errstate(invalid="ignore", divide="ignore"):
        table_length = curves.total(speed @ element.weights)
        finer = np.sqrt(found.fine / found.coarse)
        at_rest = found.excess / (2.0 * found.fine)
    quick = off <= (min(options.quick * tol**0.5, 0.5 * rtol) if options.measured else 0.5 * rtol)
    if tol <= options.exact and not options.lengths_only and options.measured:
        quick[:] = False
    length, asked = ratio * table_length, np.flatnonzero(found.known & ~quick)
    gradient = np.full((len(curves.nodes), (curves.degree + 1) * dim), np.nan)
    rows = curves.rows(asked)
    gradient[rows], speed = _gradients(evaluator, curves.nodes[rows], found.dt[rows])
    length[asked] = curves.take(asked).total(speed @ element.weights)
    excess, ends = np.zeros(n_curves), np.zeros((n_curves, 2, dim))
    work = make_work(int(curves.counts.max(initial=1)), curves.degree, dim)
    chains = curves.nodes, found.dt, curves.offsets
    correct(table.tree, Element.of(element), *chains, gradient, excess, ends, work)
    residual = at_rest + off
    with np.errstate(invalid="ignore", divide="ignore"):
        error = np.abs(finer - 1.0) + np.abs(length / table_length - 1.0)
        residual[asked] = np.maximum(at_rest, excess / (2.0 * found.fine))[asked]
    length = length * finer
    finite = np.isfinite(length) & found.known
    residual, error = (np.where(finite, part, np.inf) for part in (residual, error))
    status = np.full(n_curves, int(GeodesicStatus.CONVERGED))
    status[~(residual <= rtol) | ~found.found] = GeodesicStatus.MAX_ITER
    status[~(error <= rtol)] = GeodesicStatus.UNDER_RESOLVED
    status[~finite] = GeodesicStatus.NON_FINITE
    metrics = evaluator.metrics if options.measured else table.metrics
    metric = metrics(curves.ends.reshape(-1, dim))
    ends[:, 0] *= -1.0
    velocity = _velocities(metric.reshape(-1, 2, dim, dim), ends, length)
    settled = (status == GeodesicStatus.CONVERGED) & np.isfinite(velocity).all(axis=(1, 2))
    settled &= np.where(quick, at_rest, residual) <= tol
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


def _deviations(
    evaluator: ElementEvaluator, table: MetricTable, curves: Curves, options: TabulatedOptions
) -> tuple[Floats, Floats]:
    """Probe the decoder along curves: its lengths over the table's, and how far the metric is off.

    The latter, the mean relative error along each curve, is at least what the table knows of.
    """
    points, weights = np.polynomial.legendre.leggauss(options.probes)
    nodes = evaluator.element.nodes
    b = lagrange_matrix(nodes, points)
    d = b @ evaluator.element.differentiate_nodes
    speed, off = table.speeds_and_errors(b @ curves.nodes, d @ curves.nodes)
    ratio = np.ones(len(curves))
    with np.errstate(invalid="ignore", divide="ignore"):
        length = curves.total(speed @ weights)
        if options.measured:
            true_speed = _speeds(evaluator, curves.nodes, b, d)
            ratio = curves.total(true_speed @ weights) / length
            off = np.maximum(off, np.abs(true_speed / speed - 1.0))
        # Weighted by length: twice the error of the speed is about that of the metric.
        return ratio, 2.0 * curves.total((off * speed) @ weights) / length


def _speeds(
    evaluator: ElementEvaluator, nodes: Floats, interpolate: Floats, differentiate: Floats
) -> Floats:
    """Speeds of elements on the decoder at some points, shape=[n_elements, n_points]."""
    b, d = evaluator.tensor(interpolate), evaluator.tensor(differentiate)
    speeds = [np.zeros((0, len(b)))]
    with torch.no_grad():
        for part in evaluator.chunks(nodes, len(b)):
            pushed = evaluator.immersion.push(*curve_points(part, b, d))
            speeds.append(to_numpy(pushed.norm(dim=1).view(len(part), -1)))
    return np.concatenate(speeds)


def _gradients(evaluator: ElementEvaluator, nodes: Floats, dt: Floats) -> tuple[Floats, Floats]:
    """Differentiate energies of elements on the decoder, shape=[n_elements, n_nodes * dim].

    Also the speeds, shape=[n_elements, n_quadrature].
    """
    b, d, w = (evaluator.rule(name) for name in ("interpolate", "differentiate", "weights"))
    gradient, begin = np.zeros((len(nodes), nodes.shape[1] * nodes.shape[2])), 0
    speeds = np.zeros((len(nodes), len(w)))
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
            speeds[rows] = to_numpy(moving.pushed.norm(dim=1).view(len(part), -1))
            begin += len(part)
    return gradient, speeds


def _velocities(metric: Floats, covector: Floats, length: Floats) -> Floats:
    """Velocities at the ends of curves from their covectors, of speeds that are the lengths."""
    velocity = np.full_like(covector, np.nan)
    good = np.isfinite(metric).all(axis=(2, 3)) & np.isfinite(covector).all(axis=2)
    velocity[good] = np.linalg.solve(metric[good], covector[good][..., None])[..., 0]
    speed = np.sqrt(np.maximum((velocity * covector).sum(axis=2), _TINY))
    return velocity * (length[:, None] / speed)[..., None]
