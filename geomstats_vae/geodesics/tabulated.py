"""Geodesics by a tabulated metric: starts in bulk, compiled steps, and one true measure of each.

Curves that the decoder's own measure does not certify are not kept: the search goes on for their
pairs as if there were no table.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from geomstats_vae.geodesics.arrays import Floats, Ints
from geomstats_vae.geodesics.curves.chain import Curves, concatenate, straight
from geomstats_vae.geodesics.curves.reference import reference_element, running_integral
from geomstats_vae.geodesics.elements import ElementEvaluator
from geomstats_vae.geodesics.graph.latent_graph import LatentGraph
from geomstats_vae.geodesics.minimise import Minimised
from geomstats_vae.geodesics.table.metric_table import MetricTable
from geomstats_vae.geodesics.table.shorten import TabulatedOptions, certify, run, shorten


@dataclass(frozen=True)
class TabulatedSearch:
    """Finds geodesics by a table.

    Parameters
    ----------
    table : MetricTable
        The metric.
    evaluator : ElementEvaluator
        Evaluates the decoder on elements of the options' degree.
    graph : LatentGraph, optional
        For global starts.
    tol, rtol : float
        As of `GeodesicSolver`.
    options : TabulatedOptions
        Steps.
    """

    table: MetricTable
    evaluator: ElementEvaluator
    graph: LatentGraph | None
    tol: float
    rtol: float
    options: TabulatedOptions

    def from_afar(self, start: Floats, end: Floats) -> Minimised:
        """Search from straight lines and graph paths.

        Parameters
        ----------
        start, end : array, shape=[n_pairs, dim]
            End points.

        Returns
        -------
        minimised : Minimised
            Curves; those that are not settled are no answers.
        """
        options, n_pairs = self.options, len(start)
        curves = straight(start, end, options.n_elements, options.degree)
        owner, line = np.arange(n_pairs), self._lengths(curves)
        chosen = np.ones(n_pairs, dtype=bool)
        if self.graph is not None:
            limit = np.where(np.isfinite(line), options.graph_limit * line, np.inf)
            paths, cost = self.graph.paths(start, end, limit)
            around = np.flatnonzero(np.isfinite(cost))
            if len(around):
                chosen = ~(line > options.line * cost)
                along = self._along([paths[k] for k in around])
                curves = concatenate([curves.take(np.flatnonzero(chosen)), along])
                owner = np.concatenate((np.flatnonzero(chosen), around))
        minimised = self.settle(self._shortest(curves, owner, n_pairs))
        if self.graph is not None:
            # Of lines that the table does not know all of, the decoder tells the lengths.
            unknown = np.flatnonzero(minimised.settled & ~np.isfinite(line))
            line[unknown] = self.graph.line_lengths(start[unknown], end[unknown])
        with np.errstate(invalid="ignore"):
            minimised.settled[minimised.length > line * (1.0 + self.rtol)] = False
        return minimised

    def settle(self, curves: Curves) -> Minimised:
        """Shorten curves as they are, and certify them on the decoder."""
        parts = []
        times = self._times(curves)
        for k in range(0, len(curves), self.options.block):
            which = np.arange(k, min(k + self.options.block, len(curves)))
            part, rows = curves.take(which), curves.rows(which)
            found = shorten(self.table, part, times[rows], self.tol, self.options)
            parts.append(certify(self.evaluator, self.table, found, self.rtol, self.tol))
        return parts[0] if len(parts) == 1 else _joined(parts)

    def _lengths(self, curves: Curves) -> Floats:
        """Lengths in the table's metric, infinite where it is not known."""
        return curves.total(self.arc_lengths(curves.nodes, 1)[:, -1])

    def arc_lengths(self, nodes: Floats, degree: int) -> Floats:
        """Lengths from each element's start to its nodes of a degree, [n_elements, degree + 1].

        Parameters
        ----------
        nodes : array, shape=[n_elements, n_nodes, dim]
            Nodes of elements.
        degree : int
            Degree of the element up to whose nodes is measured.

        Returns
        -------
        length : array, shape=[n_elements, degree + 1]
            Lengths in the table's metric; infinite where it is not known.
        """
        old = nodes.shape[1] - 1
        element = reference_element(old)
        speed = self.table.speeds(
            element.fine_interpolate @ nodes, element.fine_differentiate @ nodes
        )
        length = speed @ running_integral(old, degree).T
        return np.where(np.isfinite(length), length, np.inf)

    def _times(self, curves: Curves) -> Floats:
        """Times of elements in proportion to their lengths."""
        length = self.arc_lengths(curves.nodes, 1)[:, -1]
        total = curves.total(length)[curves.owner]
        even = 1.0 / curves.counts[curves.owner]
        good = np.isfinite(total) & (total > 0.0)
        share = np.where(good, length / np.where(good, total, 1.0), even)
        # No element may stand still.
        share = np.maximum(share, 0.01 * even)
        return share / curves.total(share)[curves.owner]

    def _along(self, paths: list[Floats]) -> Curves:
        """Curves along graph paths, in elements of equal length."""
        options = self.options
        reference = 0.5 * (reference_element(options.degree).nodes + 1.0)
        share = (np.arange(options.n_elements)[:, None] + reference) / options.n_elements
        paths = [_smoothed(path, options.smoothing) for path in paths]
        cuts = np.cumsum([len(path) - 1 for path in paths])[:-1]
        step = np.concatenate([np.diff(path, axis=0) for path in paths])
        middle = np.concatenate([0.5 * (path[1:] + path[:-1]) for path in paths])
        length = self.table.speeds(middle, step)
        length = np.where(np.isfinite(length), length, np.linalg.norm(step, axis=1))
        nodes = np.empty((len(paths), *share.shape, self.table.dim))
        for k, (path, part) in enumerate(zip(paths, np.split(length, cuts), strict=True)):
            where = np.concatenate(([0.0], np.cumsum(part)))
            for axis in range(self.table.dim):
                nodes[k, ..., axis] = np.interp(share * where[-1], where, path[:, axis])
            nodes[k, -1, -1] = path[-1]
        counts = np.full(len(paths), options.n_elements)
        return Curves(nodes.reshape(-1, *nodes.shape[2:]), counts)

    def _shortest(self, curves: Curves, owner: Ints, n_pairs: int) -> Curves:
        """Take a first descent of all curves, and keep the shortest of each pair."""
        options, goal = self.options, np.full(len(curves), self.options.first_tol)
        energy = np.full(len(curves), np.inf)
        several = np.bincount(owner, minlength=n_pairs)[owner] > 1
        which = np.flatnonzero(several)
        if len(which):
            part, rows = curves.take(which), curves.rows(which)
            dt = self._times(part)
            energies = run(self.table, part, dt, goal[which], options.max_iter)[2]
            curves.nodes[rows], energy[which] = part.nodes, part.total(energies)
        order = np.lexsort((energy, owner))
        return curves.take(order[np.unique(owner[order], return_index=True)[1]])


def _joined(parts: list[Minimised]) -> Minimised:
    columns = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in (
            "length",
            "velocity",
            "residual",
            "length_error",
            "status",
            "n_iter",
            "settled",
        )
    }
    return Minimised(curves=concatenate([part.curves for part in parts]), **columns)


def _smoothed(path: Floats, n_times: int) -> Floats:
    """Average the inner vertices of a polygon with their neighbours."""
    if len(path) < 5:
        return path
    path = path.copy()
    for _ in range(n_times):
        path[1:-1] = 0.25 * (path[:-2] + 2.0 * path[1:-1] + path[2:])
    return path
