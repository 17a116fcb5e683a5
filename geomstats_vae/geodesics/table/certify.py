"""Certificates of curves that were shortened in a tabulated metric, by the decoder itself."""

from __future__ import annotations

import numpy as np
import torch

from geomstats_vae.geodesics.arrays import Floats, Ints
from geomstats_vae.geodesics.curves.chain import Curves
from geomstats_vae.geodesics.curves.reference import lagrange_matrix, reference_element
from geomstats_vae.geodesics.elements import ElementEvaluator, curve_points, to_numpy
from geomstats_vae.geodesics.minimised import Minimised
from geomstats_vae.geodesics.status import GeodesicStatus
from geomstats_vae.geodesics.table.element import Element, make_work
from geomstats_vae.geodesics.table.metric_table import MetricTable
from geomstats_vae.geodesics.table.newton import correct
from geomstats_vae.geodesics.table.options import TabulatedOptions
from geomstats_vae.geodesics.table.shorten import TabulatedCurves

_TINY = np.finfo(float).tiny


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
    Along walls that may be indefinite; then it is lifted, which makes the decrement smaller.
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
    speed, known = table.speeds_and_errors(
        element.interpolate @ curves.nodes, element.differentiate @ curves.nodes
    )
    worst = np.full(n_curves, -np.inf)
    np.maximum.at(worst, curves.owner, np.nan_to_num(known.max(axis=1), nan=np.inf))
    sure = worst <= min(table.options.rtol, options.sure * tol**0.5)
    ratio, off = _deviations(
        evaluator, table, curves, np.where(sure, options.few, options.many), options
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        table_length = curves.total(speed @ element.weights)
        finer = np.sqrt(found.fine / found.coarse)
        left = found.excess / (2.0 * found.fine)
    quick = off <= (min(options.quick * tol**0.5, 0.5 * rtol) if options.measured else 0.5 * rtol)
    if tol <= options.exact and not options.lengths_only and options.measured:
        quick[:] = False
    quick &= found.found
    length, asked = ratio * table_length, np.flatnonzero(found.known & ~quick)
    gradient = np.full((len(curves.nodes), (curves.degree + 1) * dim), np.nan)
    rows = curves.rows(asked)
    gradient[rows], speed = _gradients(evaluator, curves.nodes[rows], found.dt[rows])
    length[asked] = curves.take(asked).total(speed @ element.weights)
    # Without velocities nothing is to be corrected but the curves that are asked about.
    part = asked if options.lengths_only else np.arange(n_curves)
    excess, ends = np.zeros(n_curves), np.full((n_curves, 2, dim), np.nan)
    excess[part], ends[part] = _corrections(
        table, curves.take(part), found.dt[curves.rows(part)], gradient[curves.rows(part)], options
    )
    residual = left + off
    with np.errstate(invalid="ignore", divide="ignore"):
        error = np.abs(finer - 1.0) + np.abs(length / table_length - 1.0)
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
    settled = (status == GeodesicStatus.CONVERGED) & (np.where(quick, left, residual) <= tol)
    velocity = np.full((n_curves, 2, dim), np.nan)
    if not options.lengths_only:
        metrics = evaluator.metrics if options.measured else table.metrics
        points, place = np.unique(curves.ends.reshape(-1, dim), axis=0, return_inverse=True)
        metric = metrics(points)[place.ravel()].reshape(-1, 2, dim, dim)
        velocity = _velocities(metric, ends * np.array([[-1.0], [1.0]]), length)
        settled &= np.isfinite(velocity).all(axis=(1, 2))
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


def _corrections(
    table: MetricTable,
    curves: Curves,
    dt: Floats,
    gradient: Floats,
    options: TabulatedOptions,
) -> tuple[Floats, Floats]:
    """Take a Newton step of each curve for a gradient, in the table's Hessian; see `correct`.

    What it is expected to gain, twice, and the energies' derivatives by the end points after it.
    """
    compiled = Element.of(reference_element(curves.degree), curves.dim)
    work = make_work(int(curves.counts.max(initial=1)), compiled)
    excess, ends = np.zeros(len(curves)), np.zeros((len(curves), 2, curves.dim))
    chains = curves.nodes, dt, curves.offsets
    # Along walls a Hessian may be indefinite for no more than a jump from leaf to leaf.
    lift = options.first_lift if options.fine else 0.0
    correct(table.tree, compiled, *chains, gradient, lift, excess, ends, work)
    return excess, ends


def _deviations(
    evaluator: ElementEvaluator,
    table: MetricTable,
    curves: Curves,
    many: Ints,
    options: TabulatedOptions,
) -> tuple[Floats, Floats]:
    """Probe the decoder along curves: its lengths over the table's, and how far the metric is off.

    The latter, the mean relative error along each curve, is at least what the table knows of. So
    many points of each curve are enough.
    """
    length, true_length, far = np.zeros((3, len(curves)))
    # Of a curve of many elements every second or third is probed, and each of these once.
    every = np.maximum(curves.counts // many, 1)[curves.owner]
    place = np.arange(len(curves.nodes)) - curves.offsets[curves.owner]
    n_each = np.clip(-(-many // curves.counts), 1, options.probes)[curves.owner]
    chosen = (n_each > 1) | (place % every == every // 2)
    for n_probes in np.unique(n_each):
        rows = chosen & (n_each == n_probes)
        nodes, owner = curves.nodes[rows], curves.owner[rows]
        points, weights = np.polynomial.legendre.leggauss(n_probes)
        b = lagrange_matrix(evaluator.element.nodes, points)
        d = b @ evaluator.element.differentiate_nodes
        speed, off = table.speeds_and_errors(b @ nodes, d @ nodes)
        true_speed = _speeds(evaluator, nodes, b, d) if options.measured else speed
        with np.errstate(invalid="ignore", divide="ignore"):
            off = np.maximum(off, np.abs(true_speed / speed - 1.0))
            # Weighted by length: twice the error of the speed is about that of the metric.
            shares = speed @ weights, true_speed @ weights, 2.0 * (off * speed) @ weights
        for total, share in zip((length, true_length, far), shares, strict=True):
            total += np.bincount(owner, share, len(curves))
    with np.errstate(invalid="ignore", divide="ignore"):
        return true_length / length, far / length


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
