"""Geodesics between points: global start, shortening, certificate, and an honest answer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.polynomial import legendre

from geomstats_vae.geodesics.certificate import Certificate
from geomstats_vae.geodesics.continuation import Continuation, Solution
from geomstats_vae.geodesics.curves import Curves, straight
from geomstats_vae.geodesics.elements import reference_element
from geomstats_vae.geodesics.krylov import (
    KrylovEvaluator,
    evaluator_for,
    line_elements,
    pair_bytes,
    relaxed_curves,
)
from geomstats_vae.geodesics.path import GeodesicPath, GeodesicStatus
from geomstats_vae.geodesics.relaxation import Relaxation

# Degree of the elements and their number across the landscape, on gentle ways and along walls.
_MILD_MESH, _STEEP_MESH = (5, 8), (4, 85)
_LINE_DEGREE = 8
_DEGREE = 8  # of the paths returned: at least each of these
# Straight lines at most this much longer than the way on the graph are good starts: a grid knows
# lengths to a few percent, a graph of codes does not.
_ON_A_GRID, _ON_A_GRAPH = 1.02, 1.5
_STEEP = 2.0
# A second way along walls is tried if the graph says that it is not much longer, and pursued if a
# few steps bring it near the first.
_OTHER, _TRIAL, _TRIAL_STEPS = 1.15, 1.02, 5
_TURNING_PER_DEGREE = 0.5  # radians that a polynomial of degree one more follows
_MAX_REFINEMENTS = 6


@dataclass(frozen=True)
class GeodesicSolver:
    """Solver of the geodesic boundary value problem.

    Parameters
    ----------
    tol : float
        Stop when the shortening still expected is at most half of this share of the length.
    rtol : float
        Certificate: relative agreement of fine and discrete length, and bound on the residual.
    max_iter : int
        Newton steps of a curve, at each resolution.
    max_elements : int
        Elements of a curve.
    chunk_size : int, optional
        Points the decoder is evaluated on at once; by default as many as fit a processor's cache.
    memory_limit : int
        Bytes that a batch of curves may take; larger batches are worked in blocks.

    Notes
    -----
    A pair whose straight line is about as short as the way on the landscape's graph starts on the
    line, with two elements of degree 8; others start on the way, with elements of degree 5, or, if
    the line crosses high walls, with many of degree 4. There a second way is tried too, one that
    keeps away from the first. Of several curves the shortest is returned. In more than a dozen
    dimensions Newton's equations are solved without matrices, in trust regions.
    """

    tol: float = 1e-6
    rtol: float = 1e-3
    max_iter: int = 60
    max_elements: int = 1000
    chunk_size: int | None = None
    memory_limit: int = 2**30

    def with_tol(self, tol):
        from dataclasses import replace
        return replace(self, tol=max(tol, self.tol))

    def solve(self, immersion, start, end, landscape=None, guess=None):
        """Find geodesics between pairs of points.

        Parameters
        ----------
        immersion : Immersion
            The decoder's F.
        start, end : array, shape=[n_pairs, dim]
            End points, finite.
        landscape : Landscape, optional
            Graph for global starts; without it only the straight line is tried.

        Returns
        -------
        path : GeodesicPath
            Curves with lengths, velocities, certificates and statuses, as float64 arrays.
        """
        return self.solve_near(immersion, start, end, landscape).path

    def solve_near(self, immersion, start, end, landscape=None, near=None):
        """Find geodesics between pairs of points, from those of nearby points if they are known.

        Parameters
        ----------
        immersion : Immersion
            The decoder's F.
        start, end : array, shape=[n_pairs, dim]
            End points, finite.
        landscape : Landscape, optional
            Graph for global starts.
        near : Solution, optional
            Geodesics between as many other points. Curves of which the landscape says that they
            are no longer the shortest are found as if there were none.

        Returns
        -------
        solution : Solution
            Curves, as of `solve`, and what is needed to go on from them.
        """
        start, end = np.asarray(start, dtype=float), np.asarray(end, dtype=float)
        immersion = immersion.condensed()
        block = max(1, self.memory_limit // pair_bytes(start.shape[1], _DEGREE))
        answers = []
        for k in range(0, max(1, len(start)), block):
            rows = slice(k, k + block)
            before = None if near is None else near.take(rows)
            answers.append(self._solve_block(immersion, start[rows], end[rows], landscape, before))
        return Solution(
            start,
            end,
            _join_paths([each.path() for each in answers]),
            [nodes for each in answers for nodes in each.nodes],
            np.concatenate([each.drift for each in answers]),
            np.concatenate([each.way for each in answers]),
        )

    def _solve_block(self, immersion, start, end, landscape, near=None):
        evaluator = {
            degree: evaluator_for(immersion, degree, self.chunk_size)
            for degree in {_LINE_DEGREE, _MILD_MESH[0], _STEEP_MESH[0]}
        }
        answers = _Answers(start, end)
        if near is not None and not isinstance(evaluator[_LINE_DEGREE], KrylovEvaluator):
            self._from_near(evaluator, near, answers, landscape)
        self._from_afar(evaluator, answers, landscape)
        return answers

    def _from_near(self, evaluator, near, answers, landscape):
        """Go on from other curves; pairs that have an answer then are no longer open."""
        metric = evaluator[_LINE_DEGREE].metric
        moved = Continuation(near, answers.start, answers.end, metric, self.rtol)
        grid = landscape is not None and landscape.grid_size is not None
        usable = moved.usable if grid else moved.fresh
        pairs = answers.distinct[usable[answers.distinct]]
        answered = np.zeros(len(near.nodes), dtype=bool)
        for degree, group in moved.groups(pairs) if len(pairs) else ():
            options = self._options(degree)
            relaxed, finer, good = moved.relax(evaluator[degree], group, options, self.rtol)
            doubtful = np.flatnonzero(good & ~moved.fresh[group])
            answers.way[group] = near.way[group]
            if len(doubtful):
                asked = group[doubtful]
                left, way = moved.leave_valleys(asked, relaxed.length[doubtful], landscape)
                good[doubtful], answers.way[asked] = ~left, way
            answers.way[group[~good]] = np.nan
            found = self._finish(evaluator[degree], relaxed, finer)
            answers.offer(group, found, np.flatnonzero(good))
            answered[group[good]] = True
            drift = np.where(moved.fresh[group], near.drift[group] + moved.moved[group], 0.0)
            answers.drift[group[good]] = drift[good]
        answers.distinct = answers.distinct[~answered[answers.distinct]]

    def _from_afar(self, evaluator, answers, landscape):
        """Find the open pairs' geodesics from lines and from ways on the landscape."""
        distinct = answers.distinct
        begin, finish = answers.start[distinct], answers.end[distinct]
        ways, cost, line = None, np.full(len(distinct), np.inf), np.zeros(len(distinct))
        if landscape is not None and len(distinct):
            line = landscape.line_length(begin, finish)
            ways, cost = landscape.ways(begin, finish, 1.05 * line)
        grid = landscape is not None and landscape.grid_size is not None
        direct = ~(line > (_ON_A_GRID if grid else _ON_A_GRAPH) * cost)
        self._from_lines(evaluator[_LINE_DEGREE], begin, finish, answers, direct)
        if ways is not None:
            around = np.isfinite(cost) & (line > cost)
            around &= ~answers.converged[distinct] if grid else True
            steep = around & (line > _STEEP * cost)
            for mesh, chosen in ((_MILD_MESH, around & ~steep), (_STEEP_MESH, steep)):
                self._from_ways(evaluator, mesh, landscape, ways, answers, chosen)
            again = around & ~steep & ~answers.converged[distinct]
            self._from_ways(evaluator, _STEEP_MESH, landscape, ways, answers, again)
            if grid:
                self._from_other_ways(evaluator, landscape, ways, cost, answers, steep)
            lost = ~(answers.length[distinct] <= line * (1.0 + self.rtol))
            self._from_lines(evaluator[_LINE_DEGREE], begin, finish, answers, lost)

    def _options(self, degree):
        turning = _TURNING_PER_DEGREE * degree
        return Relaxation(self.tol, self.max_iter, self.max_elements, turning)

    def _from_lines(self, evaluator, start, end, answers, chosen):
        which = np.flatnonzero(chosen)
        if len(which):
            n_elements = line_elements(evaluator)
            curves = straight(start[which], end[which], n_elements, evaluator.element.degree)
            self._relax(evaluator, curves, answers, which)

    def _from_ways(self, evaluator, mesh, landscape, ways, answers, chosen, *, trial=False):
        which = np.flatnonzero(chosen)
        if len(which):
            degree, per_side = mesh
            element = evaluator[degree].element
            nodes = landscape.elements([ways[k] for k in which], element, per_side)
            curves = Curves(np.concatenate(nodes), np.array([len(piece) for piece in nodes]))
            self._relax(evaluator[degree], curves, answers, which, trial=trial)

    def _from_other_ways(self, evaluator, landscape, ways, cost, answers, chosen):
        """Try a second valley: on walls the graph's error is as large as what tells them apart."""
        which = np.flatnonzero(chosen)
        others, other_cost = landscape.other_ways([ways[k] for k in which])
        promising = np.zeros(len(cost), dtype=bool)
        promising[which] = other_cost < _OTHER * cost[which]
        others = dict(zip(which, others, strict=True))
        self._from_ways(evaluator, _STEEP_MESH, landscape, others, answers, promising, trial=True)

    def _relax(self, evaluator, curves, answers, which, trial=False):
        """Shorten, certify, refine where that would shorten further, and offer the result.

        A trial is given up after a few steps, unless it comes near the best answer so far.
        """
        relaxed = relaxed_curves(evaluator, curves, self._options(evaluator.element.degree))
        open_ = np.arange(len(curves))
        if trial:
            relaxed.run(max_iter=_TRIAL_STEPS)
            best = answers.length[answers.distinct[which]]
            open_ = np.flatnonzero(relaxed.length < _TRIAL * best)
        relaxed.run(open_)
        finer = Certificate(evaluator, relaxed, self.max_elements)
        open_ = open_[relaxed.finite[open_]]
        for refinement in range(_MAX_REFINEMENTS if len(open_) else 0):
            marked = finer.look(open_, self.tol, self.rtol)
            allowed = relaxed.finite & (relaxed.curves.counts < self.max_elements)
            marked &= allowed[relaxed.curves.owner]
            if not marked.any() or refinement == _MAX_REFINEMENTS - 1:
                break
            open_ = np.unique(relaxed.curves.owner[marked])
            relaxed.split(marked, finer.halves(marked))
            finer.leave_saddles()
            relaxed.run(open_)
        found = self._finish(evaluator, relaxed, finer)
        answers.offer(answers.distinct[which], found, np.arange(len(which)))

    def _finish(self, evaluator, relaxed, finer):
        """Give each curve its status, and what a path holds of it."""
        curves, length = relaxed.curves, relaxed.length
        residual, error = finer.residual, finer.length_error
        status = np.full(len(curves), GeodesicStatus.CONVERGED)
        status[~(residual <= self.rtol)] = GeodesicStatus.MAX_ITER
        status[~(residual <= self.rtol) & relaxed.stalled] = GeodesicStatus.STALLED
        status[~(error <= self.rtol)] = GeodesicStatus.UNDER_RESOLVED
        status[~relaxed.finite | ~np.isfinite(finer.chords)] = GeodesicStatus.NON_FINITE
        return {
            "nodes": curves,
            "curves": curves.raise_degree(_DEGREE),
            "arc": _arc_length(evaluator, curves),
            "length": np.where(relaxed.finite, np.maximum(finer.chords, length), np.inf),
            "velocity": finer.velocity,
            "residual": residual,
            "length_error": error,
            "status": status,
            "n_iter": relaxed.n_iter,
        }


class _Answers:
    """The best curve of each pair so far."""

    def __init__(self, start, end):
        n_pairs, dim = start.shape
        self.start, self.end = start, end
        distinct = self.distinct = np.flatnonzero((start != end).any(axis=1))
        self.nodes = [None] * n_pairs
        self.drift, self.way = np.zeros(n_pairs), np.full(n_pairs, np.nan)
        self.curves = [
            straight(a[None], b[None], 1, _DEGREE).nodes for a, b in zip(start, end, strict=True)
        ]
        self.arcs = [np.linspace(0.0, 1.0, _DEGREE + 1) for _ in range(n_pairs)]
        self.length = np.zeros(n_pairs)
        self.length[distinct] = np.inf
        self.velocity = np.zeros((n_pairs, 2, dim))
        self.residual, self.length_error = np.zeros(n_pairs), np.zeros(n_pairs)
        self.residual[distinct] = self.length_error[distinct] = np.inf
        self.status = np.full(n_pairs, GeodesicStatus.CONVERGED)
        self.status[distinct] = GeodesicStatus.NON_FINITE
        self.n_iter = np.zeros(n_pairs, dtype=int)

    @property
    def converged(self):
        return self.status == GeodesicStatus.CONVERGED

    def offer(self, pairs, found, offered):
        """Take those of the offered curves that are shorter than what is held for their pairs."""
        self.n_iter[pairs] += found["n_iter"]
        # A certified curve gives way only to a curve that is shorter by more than its tolerance.
        margin = np.where(self.converged[pairs], 1.0 - 1e-4, 1.0)
        better = offered[found["length"][offered] < (margin * self.length[pairs])[offered]]
        for name in ("length", "velocity", "residual", "length_error", "status"):
            getattr(self, name)[pairs[better]] = found[name][better]
        nodes = np.split(found["curves"].nodes, found["curves"].offsets[1:-1])
        arcs = np.split(found["arc"], found["curves"].offsets[1:-1])
        native = np.split(found["nodes"].nodes, found["nodes"].offsets[1:-1])
        for k in better:
            self.curves[pairs[k]], self.nodes[pairs[k]] = nodes[k], native[k]
            self.arcs[pairs[k]] = _times(arcs[k])

    def path(self):
        n_points = max((len(piece) for piece in self.curves), default=1) * _DEGREE + 1
        dim = self.velocity.shape[2]
        points = np.zeros((len(self.curves), n_points, dim))
        times = np.ones((len(self.curves), n_points))
        for k, (piece, arc) in enumerate(zip(self.curves, self.arcs, strict=True)):
            chain = np.concatenate((piece[:, :-1].reshape(-1, dim), piece[-1:, -1]))
            points[k], points[k, : len(chain)], times[k, : len(arc)] = chain[-1], chain, arc
        return GeodesicPath(
            points=points,
            times=times,
            length=self.length.copy(),
            energy=0.5 * self.length**2,
            initial_velocity=self.velocity[:, 0],
            final_velocity=self.velocity[:, 1],
            converged=self.converged,
            status=self.status.astype(int),
            residual=self.residual,
            length_error=self.length_error,
            n_iter=self.n_iter,
            degree=_DEGREE,
        )


def _arc_length(evaluator, curves):
    """Arc length from each element's start to its nodes of the final degree."""
    element = evaluator.element
    n_fine = len(element.fine_weights)
    points = legendre.leggauss(n_fine)[0]
    nodes = reference_element(_DEGREE).nodes
    # Antiderivatives of the Legendre polynomials through the speeds at the finer points.
    to_series = np.linalg.inv(legendre.legvander(points, n_fine - 1))
    integral = np.stack([legendre.legint(series, lbnd=-1.0) for series in np.eye(n_fine)], axis=1)
    rule = legendre.legvander(nodes, n_fine) @ integral @ to_series
    return evaluator.speed(curves.nodes) @ rule.T


def _times(arcs):
    """Give the nodes of one curve times proportional to the arc length."""
    before = np.concatenate(([0.0], np.cumsum(arcs[:-1, -1])))
    arc = np.concatenate(((arcs + before[:, None])[:, :-1].ravel(), [arcs[:, -1].sum()]))
    arc = np.maximum.accumulate(np.where(np.isfinite(arc), arc, 0.0))
    return arc / arc[-1] if arc[-1] > 0.0 else np.linspace(0.0, 1.0, len(arc))


def _join_paths(blocks):
    if len(blocks) == 1:
        return blocks[0]
    n_points = max(block.points.shape[1] for block in blocks)

    def pad(array, fill):
        missing = n_points - array.shape[1]
        tail = array[:, -1:] if fill is None else np.full_like(array[:, -1:], fill)
        return np.concatenate((array, np.repeat(tail, missing, axis=1)), axis=1)

    columns = {}
    for name in GeodesicPath.__dataclass_fields__:
        parts = [getattr(block, name) for block in blocks]
        if name == "points":
            parts = [pad(part, None) for part in parts]
        if name == "times":
            parts = [pad(part, 1.0) for part in parts]
        alike = name == "degree" or parts[0] is None
        columns[name] = parts[0] if alike else np.concatenate(parts)
    return GeodesicPath(**columns)
