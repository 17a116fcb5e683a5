"""Lower bounds of distances in two dimensions: functions that no curve can climb faster.

If |grad u| <= 1 in the inverse metric, the distance between two points is at least the difference
of u. The largest such difference is the distance. Here u is quadratic on each of many triangles,
found as the optimum of a cone programme; the triangles are refined where it falls short.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from geomstats_vae.geodesics.arrays import Bools, Floats, Ints
from geomstats_vae.geodesics.bounds.cones import ConeProgram
from geomstats_vae.geodesics.bounds.domain import Domain, find_domain
from geomstats_vae.geodesics.bounds.lattice import Lattice
from geomstats_vae.geodesics.bounds.mesh import Mesh
from geomstats_vae.geodesics.bounds.options import StretchOptions
from geomstats_vae.geodesics.bounds.repair import (
    bound_by_levels,
    largest_slopes,
    squared_slopes,
)
from geomstats_vae.geodesics.bounds.result import BoundStatus
from geomstats_vae.geodesics.bounds.ways import short_way
from geomstats_vae.geodesics.deadline import NO_LIMIT, Deadline
from geomstats_vae.geodesics.table.samples import Metric

_LATTICE, _TINY = Lattice(), float(np.finfo(float).tiny)


class StretchBound:
    """A lower bound of one distance, made better from mesh to mesh.

    Parameters
    ----------
    metric : callable
        Takes points, shape=[n_points, 2]; returns matrices, shape=[n_points, 2, 2]. Where they are
        not finite the metric is taken to be zero.
    curve : array, shape=[n_points, 2]
        Points of a short curve, from end to end. The bound does not depend on them but in how
        fast it is found.
    length : float
        Length of the curve, positive and finite.
    kinked : bool
        Whether the metric jumps.
    options : StretchOptions, optional
        How functions are found.
    deadline : Deadline
        When to stop.
    shorten : callable, optional
        Takes a way along edges of a mesh, shape=[n_points, 2], and about its length, and returns
        the length of a short curve near to it. If that is shorter than the curve, it counts.

    Attributes
    ----------
    lower : float
        The best bound that was found until now.
    length : float
        Length of the shortest curve.
    n_triangles : int
        Triangles of the finest mesh.

    Notes
    -----
    The bound holds if the metric between the places at which it was looked at, 15 and 4 of each
    triangle, bends no more than it does at these. That is an estimate, and no interval arithmetic.
    Everything else is exact up to rounding: the cone programme and its tolerances only decide how
    large the bound is. Where the metric is singular or not finite, it is raised by
    ``options.lift``, and the bound lowered by what that costs a curve of ``options.turns``.
    """

    def __init__(
        self,
        metric: Metric,
        curve: Floats,
        length: float,
        *,
        kinked: bool = False,
        options: StretchOptions | None = None,
        deadline: Deadline = NO_LIMIT,
        shorten: Callable[[Floats, float], float] | None = None,
    ) -> None:
        self.options = StretchOptions() if options is None else options
        self._given, self._curve, self._unit = metric, np.asarray(curve, dtype=float), length
        self._kinked, self._deadline, self._shorten = kinked, deadline, shorten
        self.length, self._tries = length, 0
        self.lower, self.n_triangles = 0.0, 0

    def run(
        self, rtol: float, show: Callable[[float, int], object] = lambda gap, n: None
    ) -> BoundStatus:
        """Improve the bound until it is tight.

        Parameters
        ----------
        rtol : float
            Largest relative difference from the curve's length.
        show : callable
            Takes the relative gap and the number of triangles after each mesh.

        Returns
        -------
        status : BoundStatus
            Why the search ended.
        """
        try:
            return self._run(rtol, show)
        except _OutOfTimeError:
            return BoundStatus.OUT_OF_TIME

    def _run(self, rtol: float, show: Callable[[float, int], object]) -> BoundStatus:
        options = self.options
        domain = find_domain(self._metric, self._curve, self._unit, options.domain)
        cells = _Cells.around(self._metric, domain, self._curve[[0, -1]], self._unit, options)
        if cells is None:
            return BoundStatus.CHORD
        for _ in range(options.most_rounds):
            self.n_triangles = len(cells.mesh)
            tol = min(options.coarsest, options.finest * max(self.gap, rtol))
            values, mass = cells.climb(tol, lambda: self._deadline.passed)
            measured = cells.measure(values, self._kinked)
            self.lower = max(self.lower, (measured.bound - cells.lifted) * self._unit)
            # Where no short curve runs.
            light = mass < options.light * mass.mean()
            if self.gap > rtol and measured.rise < (1.0 - rtol) * self.length / self._unit:
                self._try_shorter(cells, light)
            show(self.gap, self.n_triangles)
            if self.gap <= rtol:
                return BoundStatus.TIGHT
            # What is lacking is the way over the outside.
            if domain.way < 1.0 and self.lower >= (options.enough * domain.way - rtol) * self._unit:
                break
            if self._deadline.passed:
                return BoundStatus.OUT_OF_TIME
            if self.n_triangles >= options.most_triangles:
                break
            cells = self._refined(cells, mass, light, measured)
        return BoundStatus.OUTSIDE if domain.way < 1.0 else BoundStatus.TOO_FINE

    @property
    def gap(self) -> float:
        """Relative gap between the bound and the shortest curve."""
        return 1.0 - self.lower / self.length

    def _try_shorter(self, cells: _Cells, light: Bools) -> None:
        """Look for a shorter curve where the function cannot rise as the known one is long."""
        options = self.options
        if self._shorten is None or self.gap > options.near or self._tries >= options.most_tries:
            return
        if self._deadline.passed:
            return
        self._tries += 1
        way, length = cells.way(light)
        found = self._shorten(way, length * self._unit)
        self.length = min(self.length, found)
        # That would show that the metric bends more between places than was estimated.
        self.lower = min(self.lower, self.length)

    def _refined(self, cells: _Cells, mass: Floats, light: Bools, measured: _Measured) -> _Cells:
        """Refine triangles that the function lacks, or that the bound does.

        The function rises less than the distance where a mesh is too coarse for it; the bound is
        less than the rise where slopes between places are too steep.
        """
        options, square = self.options, measured.square
        steep = measured.slope**2 / np.maximum(square[:, _LATTICE.coarse].max(axis=1), _TINY)
        # Where no short curve runs, to keep slopes lower costs nothing.
        steep = 1.0 + np.where(light, options.spare, 1.0) * (steep - 1.0)
        marked = np.zeros(len(mass), dtype=bool)
        gap, best = self.gap, self.length / self._unit
        if best - measured.rise > options.loss * gap:
            marked |= _largest(mass * (np.ptp(square, axis=1) + steep - 1.0), options.share)
        if measured.rise - measured.bound > options.loss * gap:
            marked |= _largest(measured.loss, options.share)
        return cells.refined(marked, steep)

    def _metric(self, points: Floats) -> Floats:
        """Evaluate the metric, zero where it is not finite, while there is time."""
        metrics, piece = np.empty((len(points), 2, 2)), self.options.piece
        for begin in range(0, len(points), piece):
            if self._deadline.passed:
                raise _OutOfTimeError
            rows = slice(begin, begin + piece)
            part = self._given(points[rows])
            metrics[rows] = np.where(np.isfinite(part).all(axis=(1, 2), keepdims=True), part, 0.0)
        return metrics


class _OutOfTimeError(Exception):
    """The time was over while the metric was evaluated."""


@dataclass(frozen=True)
class _Measured:
    """What a function proves.

    Parameters
    ----------
    rise : float
        Its difference between the ends.
    bound : float
        Lower bound of the distance.
    loss : array, shape=[n_triangles]
        What each triangle costs; see `bound_by_levels`.
    square : array, shape=[n_triangles, n_places]
        Squared slopes.
    slope : array, shape=[n_triangles]
        Largest slopes.
    """

    rise: float
    bound: float
    loss: Floats
    square: Floats
    slope: Floats


class _Cells:
    """A mesh on the unit square, and the inverse metric at places of its triangles.

    Lengths are in units of the curve's.
    """

    def __init__(
        self,
        metric: Callable[[Floats], Floats],
        mesh: Mesh,
        ends: Ints,
        options: StretchOptions,
        floor: float | None = None,
    ) -> None:
        self._metric, self.mesh, self._ends, self._options = metric, mesh, ends, options
        self.lifted, self._margin = 0.0, np.ones(len(mesh))
        self._floor = floor
        self._a, self._box = np.zeros((0, len(_LATTICE.places), 3)), (np.zeros(2), np.ones(2))
        self.unit = 1.0

    @classmethod
    def around(
        cls,
        metric: Metric,
        domain: Domain,
        ends: Floats,
        length: float,
        options: StretchOptions,
    ) -> _Cells | None:
        """Begin with a coarse mesh; None if it would not tell the ends apart."""
        n_cells, size = options.cells, domain.high - domain.low
        while True:
            start, end = (ends - domain.low) / size * n_cells
            # The first end is made a vertex by moving the rectangle, the second by moving a vertex.
            moved = start - np.round(start)
            offset = end - moved - np.round(end - moved)
            places = np.round(np.stack([start, end - moved])).astype(int)
            if (places[0] != places[1]).any():
                break
            n_cells *= 2
            if n_cells > options.most_cells:
                return None
        low = domain.low + moved * size / n_cells

        def scaled(points: Floats) -> Floats:
            found = metric(low + size * points)
            return np.asarray(found * (size[:, None] * size / length**2))

        vertices = places @ np.array([n_cells + 1, 1])
        mesh = Mesh.square(n_cells, falling=bool(offset[0] * offset[1] < 0.0))
        mesh = mesh.moved(int(vertices[1]), (ends[1] - low) / size)
        cells = cls(scaled, mesh, vertices, options)
        cells._box, cells.unit = (low, size), length
        cells._a = cells._inverses(np.arange(len(mesh)))
        return cells

    def _inverses(self, which: Ints) -> Floats:
        """Evaluate inverse metrics of triangles, in barycentric coordinates."""
        corners = self.mesh.corners[which]
        points = corners[:, :1] + _LATTICE.places @ (corners[:, 1:] - corners[:, :1])
        m = self._metric(points.reshape(-1, 2)).reshape(*points.shape[:2], 2, 2)
        x, y, z = m[..., 0, 0], m[..., 0, 1], m[..., 1, 1]
        if self._floor is None:
            self._floor = self._options.lift * float(np.median(x + z)) or self._options.lift
        smallest = 0.5 * (x + z) - np.hypot(0.5 * (x - z), y)
        raised = np.maximum(self._floor - smallest, 0.0)
        if raised.any():
            self.lifted = self._options.turns * math.sqrt(self._floor)
            x, z = x + raised, z + raised
        det = x * z - y * y
        (p, q), (r, s) = np.moveaxis(self.mesh.inverses[which][:, None], (2, 3), (0, 1))
        first = p * p * z - 2.0 * p * q * y + q * q * x
        both = p * r * z - (p * s + q * r) * y + q * s * x
        second = r * r * z - 2.0 * r * s * y + s * s * x
        return np.stack([first, both, second], axis=-1) / det[..., None]

    def _bounding(self) -> Floats:
        """Matrices for the cone programme, at corners and middles of edges."""
        trace = self._a[..., 0] + self._a[..., 2]
        jumps = np.flatnonzero(trace.max(axis=1) > self._options.jump * trace.min(axis=1))
        a = self._a[:, _LATTICE.coarse] * self._margin[:, None, None]
        # The metric nearly ends there: its largest inverse counts at all of the triangle's places.
        a[jumps] += self._a[jumps, trace[jumps].argmax(axis=1)][:, None]
        return a

    def climb(self, rtol: float, stop: Callable[[], bool]) -> tuple[Floats, Floats]:
        """Find a function with slopes of at most one that rises far from one end to the other.

        Parameters
        ----------
        rtol : float
            By which share it may fall short.
        stop : callable
            Says whether to stop at once.

        Returns
        -------
        values : array, shape=[n_nodes]
            The function; zero on the boundary.
        mass : array, shape=[n_triangles]
            How much of its rise each triangle is in the way of.
        """
        inner = ~self.mesh.on_boundary
        number = np.where(inner, np.cumsum(inner) - 1, -1)
        objective = np.zeros(inner.sum())
        objective[number[self._ends]] = -1.0, 1.0
        a = self._bounding()
        root = np.empty_like(a)
        root[..., 0] = np.sqrt(a[..., 0])
        root[..., 1] = a[..., 1] / root[..., 0]
        root[..., 2] = np.sqrt(np.maximum(a[..., 2] - root[..., 1] ** 2, _TINY))
        gradients = _LATTICE.gradients[_LATTICE.coarse]
        program = ConeProgram(
            number[self.mesh.nodes], gradients, root, objective, self._options.cone
        )
        u, mass = program.solve(rtol, stop)
        values = np.zeros(len(inner))
        values[inner] = u
        return values, mass

    def measure(self, values: Floats, kinked: bool) -> _Measured:
        """Find what a function proves that is zero on the boundary."""
        options, local = self._options, values[self.mesh.nodes]
        square = squared_slopes(self._a, local, _LATTICE)
        remainder = options.kinked_remainder if kinked else options.remainder
        slope = largest_slopes(square, _LATTICE, remainder)
        begin, end = (float(value) for value in values[self._ends])
        bound, loss = bound_by_levels(local, slope, begin, end, options.levels)
        return _Measured(end - begin, bound, loss, square, slope)

    def way(self, light: Bools) -> tuple[Floats, float]:
        """Find a short way along edges, in latent coordinates; see `short_way`."""
        a = self._a[:, _LATTICE.coarse].mean(axis=1)
        points, length = short_way(self.mesh, a, self._ends, light, self._options.detour)
        low, size = self._box
        return low + size * points, length

    def refined(self, marked: Bools, steep: Floats) -> _Cells:
        """Refine marked triangles, and allow for slopes between places.

        Parameters
        ----------
        marked : array of bool, shape=[n_triangles]
            The triangles.
        steep : array, shape=[n_triangles]
            Largest squared slope over the largest at the places of the cone programme.

        Returns
        -------
        cells : _Cells
            The finer mesh.
        """
        mesh, parent = self.mesh.refined(marked)
        cells = _Cells(self._metric, mesh, self._ends, self._options, self._floor)
        cells.lifted = self.lifted
        cells._box, cells.unit = self._box, self.unit
        whole = np.bincount(parent, minlength=len(self.mesh))[parent] == 1
        cells._a = np.empty((len(mesh), *self._a.shape[1:]))
        cells._a[whole] = self._a[parent[whole]]
        cells._a[~whole] = cells._inverses(np.flatnonzero(~whole))
        excess = np.clip(steep - 1.0, 0.0, self._options.most_margin)
        cells._margin = 1.0 + np.where(whole, 1.0, self._options.kept) * excess[parent]
        return cells


def _largest(shares: Floats, total: float) -> Bools:
    """Mark the fewest entries that add up to a share of all."""
    shares = np.maximum(shares, 0.0)
    order = np.argsort(-shares, kind="stable")
    running = np.cumsum(shares[order])
    marked = np.zeros(len(shares), dtype=bool)
    marked[order[: np.searchsorted(running, total * running[-1]) + 1]] = True
    return marked
