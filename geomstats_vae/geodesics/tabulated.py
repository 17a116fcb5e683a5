"""Geodesics by a tabulated metric: starts in bulk, compiled steps, and one true measure of each.

Curves that the decoder's own measure does not certify are not kept: the search goes on for their
pairs as if there were no table.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from geomstats_vae.geodesics.arrays import Bools, Floats, Ints
from geomstats_vae.geodesics.curves.chain import Curves, concatenate, straight
from geomstats_vae.geodesics.curves.reference import reference_element
from geomstats_vae.geodesics.deadline import NO_LIMIT, Deadline
from geomstats_vae.geodesics.elements import ElementEvaluator
from geomstats_vae.geodesics.graph.latent_graph import LatentGraph
from geomstats_vae.geodesics.minimised import Minimised
from geomstats_vae.geodesics.table.band import shorten_in_bands
from geomstats_vae.geodesics.table.certify import certify
from geomstats_vae.geodesics.table.measure import arc_lengths, even_times
from geomstats_vae.geodesics.table.metric_table import MetricTable
from geomstats_vae.geodesics.table.newton import Ended
from geomstats_vae.geodesics.table.options import TabulatedOptions
from geomstats_vae.geodesics.table.shorten import run, shorten


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
    deadline : Deadline, optional
        When to shorten no more polygons in bands, and to look at no more finer meshes.
    """

    table: MetricTable
    evaluator: ElementEvaluator
    graph: LatentGraph | None
    tol: float
    rtol: float
    options: TabulatedOptions
    deadline: Deadline = NO_LIMIT

    @property
    def degree(self) -> int:
        """Degree of the elements."""
        return self.options.degree

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
        curves = straight(start, end, options.line_elements, options.degree)
        owner, pieces = np.arange(n_pairs), self._pieces(curves)
        line = curves.total(pieces)
        chosen, blind = np.ones(n_pairs, dtype=bool), np.zeros(n_pairs, dtype=bool)
        if self.graph is not None:
            limit = np.where(np.isfinite(line), options.graph_limit * line, np.inf)
            paths, cost, rivals, rival_owner = self._graph_paths(start, end, limit)
            around = np.flatnonzero(np.isfinite(cost))
            if len(around):
                chosen = ~(line > options.line * cost)
                along = self._along([*(paths[k] for k in around), *rivals])
                # Of pairs whose path the table does not know the decoder itself is asked.
                known = self._pieces(along)
                blind[around] = ~np.isfinite(along.total(known)[: len(around)])
                pieces = np.concatenate((pieces[curves.rows(np.flatnonzero(chosen))], known))
                curves = concatenate([curves.take(np.flatnonzero(chosen)), along])
                owner = np.concatenate((np.flatnonzero(chosen), around, rival_owner))
        minimised = self._settle(curves, owner, pieces)
        if self.graph is not None:
            minimised.settled[blind] = False
            # An answer as short as the graph path is hardly improved, however high the walls.
            answered = minimised.settled & (minimised.length <= options.above * cost)
            # Curves that are nearly at rest, past no wall, rest in a few steps of the decoder's.
            near = minimised.settled | (minimised.residual <= max(options.nearly, 2.0 * self.tol))
            answered |= near & (line <= options.steep * cost)
            walled = np.isfinite(cost) & (cost > 0.0) & ~blind & ~answered
            minimised = self._in_bands(minimised, np.flatnonzero(walled), paths, cost)
            # Of lines that the table does not know all of, the decoder tells the lengths.
            unknown = np.flatnonzero(minimised.settled & ~np.isfinite(line))
            line[unknown] = self.graph.line_lengths(start[unknown], end[unknown])
        with np.errstate(invalid="ignore"):
            minimised.settled[minimised.length > line * (1.0 + self.rtol)] = False
        return minimised

    def _graph_paths(
        self, start: Floats, end: Floats, limit: Floats
    ) -> tuple[list[Floats], Floats, list[Floats], Ints]:
        """Shortest paths on the graph, their lengths, and second ones with their pairs."""
        assert self.graph is not None
        if self.graph.on_grid:
            return self.graph.paths_and_rivals(start, end, limit)
        return *self.graph.paths(start, end, limit), [], np.zeros(0, dtype=int)

    def _in_bands(
        self, minimised: Minimised, pairs: Ints, paths: list[Floats], cost: Floats
    ) -> Minimised:
        """Shorten graph paths of some pairs in bands, then the curves along them; the better ones.

        Of two paths of a pair that which is shorter after that is taken; both where their lengths
        are near, for curves become shorter yet.
        """
        assert self.graph is not None
        options, n_pairs = self.options, len(minimised.length)
        patient = replace(
            options,
            max_elements=options.most_band_elements,
            max_iter=options.most_band_steps,
            max_looks=options.most_band_looks,
            most_stays=options.most_band_stays,
            first_lift=options.first_band_lift,
            fine=True,
        )
        parts, place = [minimised], np.arange(n_pairs)
        for k in pairs:
            # One pair after the other: such curves take long, and the time may be over.
            if self.deadline.passed:
                break
            held = minimised.length[k] if minimised.settled[k] else np.inf
            found = None
            for path, length in self._tracks(paths[k], float(cost[k]), held):
                curve = self._fitted(path, length)
                other = replace(self, options=patient).settle(curve)
                found = other if found is None else _better(found, other, self.rtol)
            if found is None:
                continue
            # Of two answers the shorter one is kept, of two that are none, too.
            better = int(found.settled[0]) - int(minimised.settled[k])
            shorter = not minimised.length[k] <= found.length[0] * (1.0 + self.tol)
            if better > 0 or (better == 0 and shorter):
                place[k] = n_pairs + len(parts) - 1
                parts.append(found)
        return _joined(parts, place)

    def _tracks(self, path: Floats, cost: float, held: float) -> list[tuple[Floats, float]]:
        """Shorten a graph path and the next in bands; those that are near the shortest, it first.

        In a wide band a path may leave its valley for a worse one, in a narrow one it may not come
        to a better one. Neither is of use where a curve is held that is shorter.
        """
        assert self.graph is not None
        options = self.options
        limit = np.array([options.alternative * cost])
        others, other_cost = self.graph.alternative_paths([path], limit)
        both = [path, *(others if np.isfinite(other_cost[0]) else ())]
        tracks = shorten_in_bands(self.table, both, options.widths, options.band)
        most = min(tracks[0][1] * (1.0 + options.rival), held * (1.0 + options.fitted))
        return [track for track in tracks if np.isfinite(track[1]) and track[1] <= most]

    def _fitted(self, path: Floats, length: float) -> Curves:
        """Make a curve along a polygon, of elements as short as that takes."""
        options, along = self.options, reference_element(self.options.degree).nodes
        chord = np.diff(path, axis=0)
        where = self.table.speeds(0.5 * (path[1:] + path[:-1]), chord)
        where = np.concatenate(([0.0], np.cumsum(where / length)))
        cuts = np.linspace(0.0, where[-1], options.band_elements + 1)
        while True:
            width = np.diff(cuts)
            share = cuts[:-1, None] + 0.5 * (along + 1.0) * width[:, None]
            nodes = np.stack([np.interp(share, where, column) for column in path.T], axis=-1)
            nodes[0, 0], nodes[-1, -1] = path[0], path[-1]
            excess = self.arc_lengths(nodes, 1)[:, -1] / length - width
            coarse = excess > options.fitted / len(width)
            if len(width) + coarse.sum() > options.most_band_elements // 2 or not coarse.any():
                return Curves(nodes, np.array([len(width)]))
            middle = 0.5 * (cuts[1:] + cuts[:-1])
            cuts = np.sort(np.concatenate((cuts, middle[coarse])))

    def settle(self, curves: Curves) -> Minimised:
        """Shorten curves as they are, and certify them on the decoder."""
        return self._settle(curves, np.arange(len(curves)), self._pieces(curves))

    def _settle(self, curves: Curves, owner: Ints, pieces: Floats) -> Minimised:
        """Shorten curves, the shortest of each pair to the end, and certify these.

        Pieces are the lengths of their elements.
        """
        parts, n_pairs = [], owner.max(initial=-1) + 1
        for k in range(0, n_pairs, self.options.block):
            which = np.flatnonzero((owner >= k) & (owner < k + self.options.block))
            part, of = curves.take(which), owner[which] - k
            some = pieces[curves.rows(which)]
            dt, length = even_times(part, some), part.total(some)
            left, rested = self._promising(part, dt, of, length)
            parts_of = part, dt, of, length, rested
            found = self._shortened(*parts_of, np.flatnonzero(left))
            # A curve that was left out may be an answer where the better one is none.
            others = np.flatnonzero(~left & ~found.settled[of])
            if len(others):
                again = self._shortened(*parts_of, others)
                place, who = np.arange(len(found.settled)), np.unique(of[others])
                with np.errstate(invalid="ignore"):
                    longer = again.length > (1.0 + self.rtol) * found.length[who]
                good = np.flatnonzero(again.settled & ~longer)
                place[who[good]] = len(place) + good
                found = _joined([found, again], place)
            parts.append(found)
        return parts[0] if len(parts) == 1 else _joined(parts)

    def _shortened(
        self,
        curves: Curves,
        dt: Floats,
        owner: Ints,
        length: Floats,
        rested: Bools,
        which: Ints,
    ) -> Minimised:
        """Shorten some curves, and certify the shortest of each pair that has any."""
        tol, known = self.options.within * self.tol, (length[which], rested[which])
        part = curves.take(which)
        rows = curves.rows(which)
        found = shorten(self.table, part, dt[rows], tol, self.options, self.deadline, *known)
        found = found.take(_first_of_each(owner[which], found.length))
        return certify(self.evaluator, self.table, found, self.rtol, self.tol, self.options)

    def _promising(
        self, curves: Curves, dt: Floats, owner: Ints, length: Floats
    ) -> tuple[Bools, Bools]:
        """Let the curves of pairs with several descend, and leave out those that are no use.

        Of a pair the shortest is left, and those in other valleys that are little longer. Also
        returned is which of all curves are at rest on their meshes. The lengths are changed along.
        """
        options, several = self.options, np.bincount(owner)[owner] > 1
        which, rested = np.flatnonzero(several), np.zeros(len(curves), dtype=bool)
        if not len(which):
            return np.ones(len(curves), dtype=bool), rested
        part, rows = curves.take(which), curves.rows(which)
        goal, before = np.full(len(which), options.first_tol), length[which]
        status = run(self.table, part, dt[rows], goal, options)[0]
        after = part.total(self._pieces(part))
        # On a mesh this coarse a curve may pass a wall between two points: it is left as it was.
        passed = after > before
        rested[which] = ~passed & (status == Ended.FOUND)
        kept = ~passed[part.owner]
        curves.nodes[rows[kept]] = part.nodes[kept]
        length[which] = np.where(passed, before, after)
        best = np.zeros(owner.max() + 1, dtype=int)
        best[owner[_first_of_each(owner, length)]] = _first_of_each(owner, length)
        left = ~several
        left[best[owner]] = True
        most = np.where(rested, options.valley, options.unrested)
        rivals = np.flatnonzero(several & ~left & (length <= most * length[best[owner]]))
        left[rivals] = _apart(curves, rivals, best[owner[rivals]], options.apart)
        return left, rested

    def _pieces(self, curves: Curves) -> Floats:
        """Lengths of elements in the table's metric, infinite where it is not known."""
        return self.arc_lengths(curves.nodes, 1)[:, -1]

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
        return arc_lengths(self.table, nodes, degree)

    def _along(self, paths: list[Floats]) -> Curves:
        """Curves along graph paths, in elements of equal length."""
        options, n_paths = self.options, len(paths)
        reference = 0.5 * (reference_element(options.degree).nodes + 1.0)
        share = (np.arange(options.path_elements)[:, None] + reference) / options.path_elements
        sizes = np.array([len(path) for path in paths])
        last = np.cumsum(sizes) - 1
        points = _smoothed(np.concatenate(paths), sizes, options.smoothing)
        step = np.diff(points, axis=0)
        length = self.table.speeds(0.5 * (points[1:] + points[:-1]), step)
        length = np.where(np.isfinite(length), length, np.linalg.norm(step, axis=1))
        # All are one polygon, between whose parts nothing lies.
        length[last[:-1]] = 0.0
        where = np.concatenate(([0.0], np.cumsum(length)))
        begin = where[last - sizes + 1]
        extent = where[last] - begin
        # Where each path goes from 0 to 1, and one begins 1 after the other ended.
        owner = np.repeat(np.arange(n_paths), sizes)
        along = (where - begin[owner]) / np.where(extent > 0.0, extent, 1.0)[owner] + 2.0 * owner
        place = share.ravel() + 2.0 * np.arange(n_paths)[:, None]
        nodes = np.stack([np.interp(place, along, column) for column in points.T], axis=-1)
        nodes = nodes.reshape(n_paths, *share.shape, -1)
        nodes[:, 0, 0], nodes[:, -1, -1] = points[last - sizes + 1], points[last]
        counts = np.full(n_paths, options.path_elements)
        return Curves(nodes.reshape(-1, *nodes.shape[2:]), counts)


def _apart(curves: Curves, some: Ints, others: Ints, share: float) -> Bools:
    """Which curves lie apart from others, by a share of their extent, however fast they run."""
    apart, counts = np.zeros(len(some), dtype=bool), curves.counts
    for pair in np.unique(np.stack((counts[some], counts[others]), axis=1), axis=0):
        group = np.flatnonzero((counts[some] == pair[0]) & (counts[others] == pair[1]))
        points = curves.take(some[group]).sample(2)[:, 1].reshape(len(group), -1, 1, curves.dim)
        line = curves.take(others[group]).sample(2)[:, :-1].reshape(len(group), 1, -1, curves.dim)
        last = curves.ends[others[group], 1][:, None, None]
        chord = np.diff(line, axis=2, append=last)
        square = np.maximum((chord**2).sum(axis=3), np.finfo(float).tiny)
        along = np.clip(((points - line) * chord).sum(axis=3) / square, 0.0, 1.0)
        off = points - line - along[..., None] * chord
        far = np.sqrt((off**2).sum(axis=3).min(axis=2).max(axis=1))
        apart[group] = far > share * np.ptp(line[:, 0], axis=1).max(axis=1)
    return apart


def _first_of_each(owner: Ints, value: Floats) -> Ints:
    """Of each owner, in their order, the entry of the least value."""
    order = np.lexsort((value, owner))
    return order[np.unique(owner[order], return_index=True)[1]]


def _better(one: Minimised, other: Minimised, rtol: float) -> Minimised:
    """Of two single curves that which is shorter; of nearly equal ones, that which is an answer."""
    share = 1.0 - rtol if one.settled[0] else 1.0 + rtol if other.settled[0] else 1.0
    return other if other.length[0] < share * one.length[0] else one


def _joined(parts: list[Minimised], rows: Ints | None = None) -> Minimised:
    """Put curves together, or of all those some rows."""
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
    joined = Minimised(concatenate([part.curves for part in parts]), **columns)
    return joined if rows is None else joined.take(rows)


def _smoothed(points: Floats, sizes: Ints, n_times: int) -> Floats:
    """Average the inner vertices of polygons, one after the other, with their neighbours."""
    last = np.cumsum(sizes) - 1
    moved = np.repeat(sizes >= 5, sizes)
    moved[last], moved[last - sizes + 1] = False, False
    inner = np.flatnonzero(moved)
    for _ in range(n_times):
        points[inner] = 0.25 * (points[inner - 1] + 2.0 * points[inner] + points[inner + 1])
    return points
