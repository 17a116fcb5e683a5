"""Geodesics between points: where to start, what to minimise, and an honest answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol, runtime_checkable

import numpy as np

from geomstats_vae.geodesics.arrays import Bools, Floats, Ints
from geomstats_vae.geodesics.assembled import AssembledModel
from geomstats_vae.geodesics.curves.chain import Curves, chain_together, straight
from geomstats_vae.geodesics.curves.path import (
    GeodesicPath,
    GeodesicStatus,
    SolvedCurves,
    join_paths,
)
from geomstats_vae.geodesics.graph.latent_graph import LatentGraph
from geomstats_vae.geodesics.matrix_free import MatrixFreeModel
from geomstats_vae.geodesics.minimise import Minimised, minimise
from geomstats_vae.geodesics.model import CurveModel, ModelFactory
from geomstats_vae.geodesics.options import (
    AssembledOptions,
    CertificateOptions,
    GuessOptions,
    Limits,
    MatrixFreeOptions,
    MinimiseOptions,
    StartOptions,
    Task,
)
from geomstats_vae.geodesics.starts import Guess
from geomstats_vae.immersions.immersion import Immersion


@runtime_checkable
class Solver(Protocol):
    """What finds geodesics between pairs of points; `GeodesicSolver`, or your own."""

    @property
    def rtol(self) -> float:
        """Relative error that lengths may have."""

    def with_tol(self, tol: float) -> Solver:
        """Take a tolerance for lengths, relative to them; never one that is more exact."""

    def solve(
        self,
        immersion: Immersion,
        start: Floats,
        end: Floats,
        graph: LatentGraph | None = None,
        guess: GeodesicPath | None = None,
    ) -> GeodesicPath:
        """Find geodesics between pairs of points; see `GeodesicSolver.solve`."""


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
    model : callable, optional
        Makes the `CurveModel` of an immersion, a degree and a chunk size. By default
        `AssembledModel` in up to ``max_assembled_dim`` dimensions, else `MatrixFreeModel`.
    max_assembled_dim : int
        Most dimensions in which matrices are assembled.
    start : StartOptions
        Where the search starts.
    guess : GuessOptions
        How an initial guess is used.
    minimise : MinimiseOptions
        The loop that steps and refines.
    certificate : CertificateOptions
        The look at a finer mesh.
    assembled : AssembledOptions
        Steps in few dimensions.
    matrix_free : MatrixFreeOptions
        Steps in many dimensions.

    Notes
    -----
    A pair whose straight line is about as short as its graph path starts on the line; others start
    on the graph path, with few elements, or, if the line crosses high walls, with many. There a
    second graph path is tried too, one that keeps away from the first. Of several curves the
    shortest is returned.
    """

    tol: float = 1e-6
    rtol: float = 1e-3
    max_iter: int = 60
    max_elements: int = 1000
    chunk_size: int | None = None
    memory_limit: int = 2**30
    model: ModelFactory | None = None
    max_assembled_dim: int = 12
    start: StartOptions = field(default_factory=StartOptions, repr=False)
    guess: GuessOptions = field(default_factory=GuessOptions, repr=False)
    minimise: MinimiseOptions = field(default_factory=MinimiseOptions, repr=False)
    certificate: CertificateOptions = field(default_factory=CertificateOptions, repr=False)
    assembled: AssembledOptions = field(default_factory=AssembledOptions, repr=False)
    matrix_free: MatrixFreeOptions = field(default_factory=MatrixFreeOptions, repr=False)

    def with_tol(self, tol: float) -> GeodesicSolver:
        """Take another tolerance.

        Parameters
        ----------
        tol : float
            As of the class. Never more exact than that of this solver.

        Returns
        -------
        solver : GeodesicSolver
            A solver that differs in its tolerance only.
        """
        return replace(self, tol=max(self.tol, tol))

    def curve_model(self, immersion: Immersion, degree: int, chunk: int | None) -> CurveModel:
        """Make the model of curves of a degree; see the parameter ``model``."""
        if self.model is not None:
            return self.model(immersion, degree, chunk)
        if immersion.dim <= self.max_assembled_dim:
            return AssembledModel(immersion, degree, chunk, options=self.assembled)
        return MatrixFreeModel(immersion, degree, chunk, options=self.matrix_free)

    def solve(
        self,
        immersion: Immersion,
        start: Floats,
        end: Floats,
        graph: LatentGraph | None = None,
        guess: GeodesicPath | None = None,
    ) -> GeodesicPath:
        """Find geodesics between pairs of points.

        Parameters
        ----------
        immersion : Immersion
            The decoder's F.
        start, end : array, shape=[n_pairs, dim]
            End points, finite.
        graph : LatentGraph, optional
            Graph for global starts; without it only the straight line is tried.
        guess : GeodesicPath, optional
            What `solve` returned for as many pairs of nearby points. Its curves are moved to the
            new end points. Those that the graph says to be no longer the shortest are found as if
            there were none.

        Returns
        -------
        path : GeodesicPath
            Curves with lengths, velocities, certificates and statuses, as float64 arrays. Its
            ``curves`` hold what a later solve needs to go on from them.

        Raises
        ------
        ValueError
            If the guess is of another number of pairs.
        """
        start, end = np.asarray(start, dtype=float), np.asarray(end, dtype=float)
        curves = _curves_of(guess, len(start))
        immersion = immersion.condensed()
        models: dict[int, CurveModel] = {}
        options = self.start
        for degree in (options.line_degree, options.gentle_degree, options.steep_degree):
            chunk = next((model.chunk_size for model in models.values()), self.chunk_size)
            models[degree] = self.curve_model(immersion, degree, chunk)
        block = max(1, self.memory_limit // max(model.pair_bytes for model in models.values()))
        paths = []
        for k in range(0, max(1, len(start)), block):
            rows = slice(k, k + block)
            search = _Search(self, models, start[rows], end[rows], graph)
            paths.append(search.run(None if curves is None else curves.take(rows)))
        return paths[0] if len(paths) == 1 else join_paths(paths)


def _curves_of(guess: GeodesicPath | None, n_pairs: int) -> SolvedCurves | None:
    if guess is None or guess.curves is None:
        return None
    if len(guess.curves) != n_pairs:
        raise ValueError(
            f"Expected a guess of {n_pairs} pairs, got one of {len(guess.curves)}; pass the path "
            "that was returned for the same pairs before they moved."
        )
    return guess.curves


@dataclass(frozen=True)
class _Start:
    """Curves to be minimised, and the pairs that they join."""

    pairs: Ints
    model: CurveModel
    curves: Curves
    task: Task


class _Search:
    """The search for the geodesics of a block of pairs, with the best curve of each so far."""

    def __init__(
        self,
        solver: GeodesicSolver,
        models: dict[int, CurveModel],
        start: Floats,
        end: Floats,
        graph: LatentGraph | None,
    ) -> None:
        self.solver, self.models, self.graph = solver, models, graph
        self.start, self.end = start, end
        self.on_grid = graph is not None and graph.on_grid
        limits = Limits(solver.tol, solver.rtol, solver.max_iter, solver.max_elements)
        self.task = Task(limits, solver.minimise, solver.certificate)
        n_pairs, dim = start.shape
        # Pairs that are still to be solved; the ends of the others are the same point.
        self.open = np.flatnonzero((start != end).any(axis=1))
        self.nodes: list[Floats | None] = [None] * n_pairs
        self.drift, self.graph_length = np.zeros(n_pairs), np.full(n_pairs, np.nan)
        self.length, self.velocity = np.zeros(n_pairs), np.zeros((n_pairs, 2, dim))
        self.residual, self.length_error = np.zeros((2, n_pairs))
        self.status = np.full(n_pairs, int(GeodesicStatus.CONVERGED))
        self.n_iter = np.zeros(n_pairs, dtype=int)
        for column in (self.length, self.residual, self.length_error):
            column[self.open] = np.inf
        self.status[self.open] = GeodesicStatus.NON_FINITE

    @property
    def converged(self) -> Bools:
        """Pairs with a converged curve, shape=[n_pairs]."""
        return self.status == GeodesicStatus.CONVERGED

    def run(self, guess: SolvedCurves | None) -> GeodesicPath:
        """Search from the guess, and from afar for the pairs that are open then."""
        if guess is not None:
            self._search_from(guess)
        for start in self._starts():
            self._keep_if_better(start.pairs, minimise(start.model, start.curves, start.task))
        return self._path()

    def _search_from(self, curves: SolvedCurves) -> None:
        """Go on from other curves; pairs that have an answer then are no longer open."""
        solver, options = self.solver, self.solver.guess
        metrics = self.models[solver.start.line_degree].metrics
        guess = Guess(curves, self.start, self.end, metrics, solver.rtol, options)
        usable = guess.usable if self.on_grid else guess.fresh
        answered = np.zeros(len(curves), dtype=bool)
        for group in guess.groups(self.open[usable[self.open]]):
            if group.degree not in self.models:
                continue  # of a solver with other options
            pairs = group.pairs
            task = replace(
                self.task,
                look_first=group.steady,
                length_error=guess.length_error[pairs] if group.fresh else None,
                hopeless=options.hopeless,
                max_looks=options.max_looks,
            )
            found = minimise(self.models[group.degree], guess.curves(pairs), task)
            good, graph_length = found.settled, guess.graph_length(pairs)
            doubtful = np.flatnonzero(good)
            if len(doubtful) and not group.fresh and self.graph is not None:
                left, graph_length[doubtful] = guess.left_valleys(
                    pairs[doubtful], found.length[doubtful], self.graph
                )
                good[doubtful] = ~left
            self.graph_length[pairs[good]] = graph_length[good]
            self.drift[pairs[good]] = guess.drift[pairs[good]]
            self._keep_if_better(pairs, found, good)
            answered[pairs[good]] = True
        self.open = self.open[~answered[self.open]]

    def _starts(self) -> Iterator[_Start]:
        """Straight lines, graph paths and other graph paths, as the answers so far ask for."""
        options, pairs, graph = self.solver.start, self.open, self.graph
        if not len(pairs):
            return
        if graph is None:
            yield from self._lines(np.ones(len(pairs), dtype=bool))
            return
        start, end = self.start[pairs], self.end[pairs]
        line = graph.line_lengths(start, end)
        found, cost = graph.paths(start, end, options.graph_limit * line)
        paths = dict(enumerate(found))
        factor = options.line_on_grid if self.on_grid else options.line_on_codes
        yield from self._lines(~(line > factor * cost))
        around = np.isfinite(cost) & (line > cost)
        if self.on_grid:
            around &= ~self.converged[pairs]
        steep = around & (line > options.steep * cost)
        gentle_mesh = options.gentle_degree, options.gentle_elements
        steep_mesh = options.steep_degree, options.steep_elements
        yield from self._along(paths, around & ~steep, gentle_mesh)
        yield from self._along(paths, steep, steep_mesh)
        yield from self._along(paths, around & ~steep & ~self.converged[pairs], steep_mesh)
        if self.on_grid and steep.any():
            which = np.flatnonzero(steep)
            others, other_cost = graph.alternative_paths([paths[k] for k in which])
            promising = np.zeros(len(pairs), dtype=bool)
            promising[which] = other_cost < options.alternative * cost[which]
            paths = dict(zip(which, others, strict=True))
            trial = options.trial * self.length[pairs]
            yield from self._along(paths, promising, steep_mesh, trial)
        yield from self._lines(~(self.length[pairs] <= line * (1.0 + self.solver.rtol)))

    def _lines(self, chosen: Bools) -> Iterator[_Start]:
        """Straight lines of some of the open pairs."""
        pairs, model = self.open[chosen], self.models[self.solver.start.line_degree]
        if len(pairs):
            ends = self.start[pairs], self.end[pairs]
            curves = straight(*ends, model.line_elements, model.element.degree)
            yield _Start(pairs, model, curves, self.task)

    def _along(
        self,
        paths: Mapping[int, Floats],
        chosen: Bools,
        mesh: tuple[int, int],
        trial_length: Floats | None = None,
    ) -> Iterator[_Start]:
        """Curves along the graph paths of some of the open pairs."""
        which = np.flatnonzero(chosen)
        if not len(which) or self.graph is None:
            return
        model, task = self.models[mesh[0]], self.task
        nodes = self.graph.place([paths[k] for k in which], model.element, mesh[1])
        if trial_length is not None:
            steps = self.solver.start.trial_steps
            task = replace(task, trial_steps=steps, trial_length=trial_length[which])
        yield _Start(self.open[which], model, chain_together(nodes), task)

    def _keep_if_better(self, pairs: Ints, found: Minimised, among: Bools | None = None) -> None:
        """Take those of the curves that are shorter than what is held for their pairs."""
        self.n_iter[pairs] += found.n_iter
        # A converged curve gives way only to one that is shorter by more than its tolerance.
        share = np.where(self.converged[pairs], 1.0 - self.solver.start.margin, 1.0)
        better = found.length < share * self.length[pairs]
        if among is not None:
            better &= among
        for name in ("length", "velocity", "residual", "length_error", "status"):
            getattr(self, name)[pairs[better]] = getattr(found, name)[better]
        offsets = found.curves.offsets
        for k in np.flatnonzero(better):
            self.nodes[pairs[k]] = found.curves.nodes[offsets[k] : offsets[k + 1]]

    def _path(self) -> GeodesicPath:
        points, times = self._points_and_times()
        converged = self.converged
        curves = SolvedCurves(
            start=self.start,
            end=self.end,
            nodes=self.nodes,
            length=self.length.copy(),
            length_error=self.length_error.copy(),
            converged=converged.copy(),
            drift=self.drift,
            graph_length=self.graph_length,
        )
        return GeodesicPath(
            points=points,
            times=times,
            length=self.length,
            energy=0.5 * self.length**2,
            initial_velocity=self.velocity[:, 0],
            final_velocity=self.velocity[:, 1],
            converged=converged,
            status=self.status,
            residual=self.residual,
            length_error=self.length_error,
            n_iter=self.n_iter,
            degree=self.solver.start.path_degree,
            curves=curves,
        )

    def _points_and_times(self) -> tuple[Floats, Floats]:
        """Nodes of all curves at one degree, and times in proportion to the arc length."""
        degree = self.solver.start.path_degree
        degrees = np.array([0 if nodes is None else nodes.shape[1] - 1 for nodes in self.nodes])
        chains: list[Floats] = [np.zeros(0)] * len(degrees)
        arcs = [np.linspace(0.0, 1.0, degree + 1)[None]] * len(degrees)
        for old in np.unique(degrees):
            pairs = np.flatnonzero(degrees == old)
            if old:
                curves = chain_together([self.nodes[k] for k in pairs])
                arc = self.models[int(old)].arc_lengths(curves.nodes, degree)
            else:
                curves = straight(self.start[pairs], self.end[pairs], 1, degree)
                arc = np.concatenate([arcs[k] for k in pairs])
            raised, offsets = curves.raise_degree(degree).nodes, curves.offsets
            for n, k in enumerate(pairs):
                chains[k] = raised[offsets[n] : offsets[n + 1]]
                arcs[k] = arc[offsets[n] : offsets[n + 1]]
        n_points = max(map(len, chains), default=1) * degree + 1
        points = np.zeros((len(chains), n_points, self.start.shape[1]))
        times = np.ones(points.shape[:2])
        for k, (chain, arc) in enumerate(zip(chains, arcs, strict=True)):
            inner, n = chain[:, :-1].reshape(-1, points.shape[2]), len(chain) * degree
            points[k], points[k, :n], times[k, : n + 1] = chain[-1, -1], inner, _times(arc)
        return points, times


def _times(arcs: Floats) -> Floats:
    """Give the nodes of one curve times proportional to the arc length."""
    before = np.concatenate(([0.0], np.cumsum(arcs[:-1, -1])))
    arc = np.concatenate(((arcs + before[:, None])[:, :-1].ravel(), [arcs[:, -1].sum()]))
    arc = np.maximum.accumulate(np.where(np.isfinite(arc), arc, 0.0))
    return arc / arc[-1] if arc[-1] > 0.0 else np.linspace(0.0, 1.0, len(arc))
