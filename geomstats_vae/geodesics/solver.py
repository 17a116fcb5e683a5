"""Geodesics between points: where to start, what to minimise, and an honest answer."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Protocol, runtime_checkable

import numpy as np
import torch

from geomstats_vae.geodesics.arrays import Bools, Floats, Ints
from geomstats_vae.geodesics.assembled import AssembledModel
from geomstats_vae.geodesics.curves.path import GeodesicPath, SolvedCurves, join_paths
from geomstats_vae.geodesics.deadline import Deadline, check_seconds
from geomstats_vae.geodesics.elements import ElementEvaluator, Evaluator, cache_sized_chunk
from geomstats_vae.geodesics.graph.latent_graph import LatentGraph
from geomstats_vae.geodesics.kinked import KinkedSearch, kink_codes
from geomstats_vae.geodesics.kinked_descent import KinkedDescent
from geomstats_vae.geodesics.matrix_free import MatrixFreeModel
from geomstats_vae.geodesics.model import CurveModel, ModelFactory
from geomstats_vae.geodesics.model_options import AssembledOptions, MatrixFreeOptions
from geomstats_vae.geodesics.options import (
    CertificateOptions,
    DescentOptions,
    GuessOptions,
    KinkOptions,
    Limits,
    MinimiseOptions,
    StartOptions,
    Task,
)
from geomstats_vae.geodesics.search import Search
from geomstats_vae.geodesics.starts import Descent
from geomstats_vae.geodesics.table.metric_table import MetricTable
from geomstats_vae.geodesics.table.options import TabulatedOptions
from geomstats_vae.geodesics.tabulated import TabulatedSearch
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
        guess: GeodesicPath | SolvedCurves | None = None,
    ) -> GeodesicPath:
        """Find geodesics between pairs of points; see `GeodesicSolver.solve`."""


@dataclass(frozen=True)
class GeodesicSolver:
    """Solver of the geodesic boundary value problem.

    Parameters
    ----------
    tol : float
        Stop when one more step would shorten the curve by at most half of this share of its length.
    rtol : float
        Certificate: by which share of the length a finer mesh may change it, and one more step on
        that mesh may shorten it.
    max_iter : int
        Newton steps of a curve, at each resolution.
    max_elements : int
        Elements of a curve.
    chunk_size : int, optional
        Points the decoder is evaluated on at once; by default as many as fit a processor's cache.
    memory_limit : int
        Bytes that a batch of curves may take; larger batches are worked in blocks.
    max_seconds : float, optional
        Seconds after which a call returns the best curves that it has, with a status that says so.
        Pairs that were not begun then have no curve, and an infinite length. The steps that are
        under way are finished, and lengths are still measured, so that it takes a little longer.
        The graph and the table, which are built once, have no limit.
    late_block, device_late_block : int
        Pairs that are worked on at once where there is such a limit; and on an accelerator.
    device_memory : float
        Share of a GPU's free memory that a batch of curves may take; never less than
        ``memory_limit``.
    model : callable, optional
        Makes the `CurveModel` of an immersion, a degree and a chunk size. By default
        `AssembledModel` in up to ``max_assembled_dim`` dimensions, else `MatrixFreeModel`.
    max_assembled_dim : int
        Most dimensions in which matrices are assembled.
    polish_tol : float
        Largest ``tol`` with which logarithms are polished by themselves; see `exact_velocities`.
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
    descent : DescentOptions
        The first descent, in many dimensions.
    kinks : KinkOptions
        Decoders with kinks.
    table : MetricTable, optional
        Table of the decoder's metric, in two or three dimensions: curves are found by it, certified
        on the decoder, and found on the decoder where that refuses them.
    tabulated : TabulatedOptions
        Steps in the table.

    Notes
    -----
    A pair whose straight line is about as short as its graph path starts on the line; others start
    on the graph path, with few elements, or, if the line crosses high walls, with many. There a
    second graph path is tried too, one that keeps away from the first: the curves along both take
    steps in turn, and one that falls behind is given up. Of several curves the shortest is
    returned.

    The kinks of a decoder that is known to have some (``immersion.smooth`` is false) are rounded,
    at first much and then less; see `KinkOptions`. The certificate of such a path is that of the
    smoothed decoder of its ``width``. Its length is measured on the decoder itself. A decoder whose
    second derivatives jump, as those of ELU do, is taken as such in many dimensions: Newton's
    method would refine the mesh around every jump.
    """

    tol: float = 1e-6
    rtol: float = 1e-3
    max_iter: int = 60
    max_elements: int = 1000
    chunk_size: int | None = None
    memory_limit: int = 2**30
    max_seconds: float | None = None
    late_block: int = 32
    device_late_block: int = 1024
    device_memory: float = 0.25
    model: ModelFactory | None = None
    max_assembled_dim: int = 5
    polish_tol: float = 1e-5
    start: StartOptions = field(default_factory=StartOptions, repr=False)
    guess: GuessOptions = field(default_factory=GuessOptions, repr=False)
    minimise: MinimiseOptions = field(default_factory=MinimiseOptions, repr=False)
    certificate: CertificateOptions = field(default_factory=CertificateOptions, repr=False)
    assembled: AssembledOptions = field(default_factory=AssembledOptions, repr=False)
    matrix_free: MatrixFreeOptions = field(default_factory=MatrixFreeOptions, repr=False)
    descent: DescentOptions = field(default_factory=DescentOptions, repr=False)
    kinks: KinkOptions = field(default_factory=KinkOptions, repr=False)
    table: MetricTable | None = field(default=None, repr=False)
    tabulated: TabulatedOptions = field(default_factory=TabulatedOptions, repr=False)

    def __post_init__(self) -> None:
        check_seconds(self.max_seconds)

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

    def curve_model(
        self,
        immersion: Immersion,
        degree: int,
        chunk: int | None,
        single: Immersion | None = None,
    ) -> CurveModel:
        """Make the model of curves of a degree; see the parameter ``model``."""
        if self.model is not None:
            return self.model(immersion, degree, chunk)
        if immersion.dim <= self.max_assembled_dim:
            return AssembledModel(immersion, degree, chunk, options=self.assembled)
        rough = single if self.tol >= self.matrix_free.single else None
        return MatrixFreeModel(immersion, degree, chunk, options=self.matrix_free, single=rough)

    def exact_velocities(self, immersion: Immersion) -> bool:
        """Whether a quick polish makes velocities exact: curves are, and matrices are assembled.

        Parameters
        ----------
        immersion : Immersion
            The decoder's F.

        Returns
        -------
        exact : bool
            False for decoders with kinks, and for loose tolerances.
        """
        few = immersion.dim <= self.max_assembled_dim and immersion.smooth is not False
        return few and self.tol <= self.polish_tol

    def solve(
        self,
        immersion: Immersion,
        start: Floats,
        end: Floats,
        graph: LatentGraph | None = None,
        guess: GeodesicPath | SolvedCurves | None = None,
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
        guess : GeodesicPath or SolvedCurves, optional
            What `solve` returned for as many pairs of nearby points, or its ``curves``. They are
            moved to the new end points. Those that the graph says to be no longer the shortest are
            found as if there were none.

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
        curves, deadline = _curves_of(guess, len(start)), Deadline.after(self.max_seconds)
        immersion = immersion.condensed()
        length, near = self._short_lines(immersion, start, end)
        target, end = end, np.where(near[:, None], start, end)
        smooth = not self._by_kinks(immersion)
        single = _single(immersion, graph) if smooth else None
        models = (
            {0.0: self._models(immersion, single)} if smooth else self._smoothed(immersion, graph)
        )
        need = [model.pair_bytes for group in models.values() for model in group.values()]
        block = self._block(immersion.device, max(need))
        paths = []
        for k in range(0, max(1, len(start)), block):
            rows = slice(k, k + block)
            known = None if curves is None else curves.take(rows)
            ends = start[rows], end[rows]
            if deadline.passed:
                last = self._search(models[min(models)], *ends, graph, deadline)
                paths.append(last.give_up())
            elif smooth:
                paths.append(self._search(models[0.0], *ends, graph, deadline).run(known))
            else:
                kinked = self._kinked(immersion, models, *ends, graph, deadline)
                paths.append(kinked.run(len(ends[0]), known))
        path = paths[0] if len(paths) == 1 else join_paths(paths)
        return _with_lines(path, np.flatnonzero(near), target, length) if near.any() else path

    def _block(self, device: torch.device, need: int) -> int:
        """Pairs to work on at once, each of which needs so many bytes."""
        on_cpu = device.type == "cpu"
        limit, late = self.memory_limit, self.late_block if on_cpu else self.device_late_block
        if device.type == "cuda":
            limit = max(limit, int(self.device_memory * torch.cuda.mem_get_info(device)[0]))
        block = max(1, limit // need)
        return block if self.max_seconds is None else min(block, late)

    def _by_kinks(self, immersion: Immersion) -> bool:
        """Whether Newton's method is not for this decoder: it has kinks, or their like."""
        jumps = immersion.curvature_jumps and immersion.dim >= self.descent.min_dim
        return immersion.smooth is False or jumps

    def _short_lines(
        self, immersion: Immersion, start: Floats, end: Floats
    ) -> tuple[Floats, Bools]:
        """Measure straight lines, and tell which are so short that nothing else can be resolved.

        Where F differs by less than the root of its rounding unit, lengths of parts of a curve are
        rounding. Such a line is the geodesic if its image is straight to the tolerance, for no
        curve is shorter than the straight line between the ends of the image. Whether it is, and
        whether F is finite and does not jump, is seen at as many points as the certificate looks
        at.
        """
        evaluator = Evaluator(immersion, cache_sized_chunk(immersion, 4))
        far, size = evaluator.steps(start, end)
        limit, length = evaluator.eps**0.5 * size, np.zeros(len(start))
        near = (far <= limit) & (start != end).any(axis=1)
        # Of most pairs the ends of the images are far from each other.
        rows = np.flatnonzero(near)
        length[rows], far[rows] = evaluator.line_speeds(start[rows], end[rows])
        near[rows] = np.maximum(length[rows], far[rows]) <= limit[rows]
        rows, n_points = np.flatnonzero(near), self.certificate.chords_per_curve
        length[rows], chord, far = evaluator.straightness(start[rows], end[rows], n_points)
        straight = length[rows] - chord <= max(self.tol, evaluator.eps**0.5) * length[rows]
        near[rows] = straight & (np.maximum(length[rows], far) <= limit[rows])
        return length, near

    def _models(
        self, immersion: Immersion, single: Immersion | None = None
    ) -> dict[int, CurveModel]:
        """Make models of the degrees that searches start with."""
        models: dict[int, CurveModel] = {}
        options = self.start
        for degree in (options.line_degree, options.gentle_degree, options.steep_degree):
            chunk = next((model.chunk_size for model in models.values()), self.chunk_size)
            models[degree] = self.curve_model(immersion, degree, chunk, single)
        return models

    def _search(
        self,
        models: dict[int, CurveModel],
        start: Floats,
        end: Floats,
        graph: LatentGraph | None,
        deadline: Deadline,
    ) -> Search:
        limits = Limits(self.tol, self.rtol, self.max_iter, self.max_elements, deadline)
        task = Task(limits, self.minimise, self.certificate)
        line = models[self.start.line_degree].immersion
        descent = None
        if line.smooth and line.dim >= self.descent.min_dim:
            descent = Descent(_single(line, graph), self.descent.with_tol(self.tol))
        tabulated = None
        if self.table is not None and line.smooth:
            evaluator = ElementEvaluator(line, self.tabulated.degree, self.chunk_size)
            parts = self.table, evaluator, graph, self.tol, self.rtol, self.tabulated, deadline
            tabulated = TabulatedSearch(*parts)
        options = self.start, self.guess, descent, tabulated
        return Search(models, start, end, graph, task, *options)

    def _smoothed(
        self, immersion: Immersion, graph: LatentGraph | None
    ) -> dict[float, dict[int, CurveModel]]:
        """Make models of the smoothed decoders, by the widths of their kinks."""
        codes = kink_codes(immersion, None if graph is None else graph.codes, self.kinks)
        widths = self.kinks.widths
        return {width: self._models(immersion.smoothed(width, codes)) for width in widths}

    def _kinked(
        self,
        immersion: Immersion,
        models: dict[float, dict[int, CurveModel]],
        start: Floats,
        end: Floats,
        graph: LatentGraph | None,
        deadline: Deadline,
    ) -> KinkedSearch:
        options = self.kinks

        def search(width: float, pairs: Ints, loose: bool) -> Search:
            solver = replace(
                self,
                tol=max(self.tol, options.first_tol if loose else options.tol),
                certificate=options.certificate,
            )
            return solver._search(models[width], start[pairs], end[pairs], graph, deadline)

        evaluator = Evaluator(immersion, self.chunk_size or cache_sized_chunk(immersion, 1))
        if immersion.dim < self.descent.min_dim and immersion.has_std:
            # Chords may tunnel through walls of the standard deviation.
            return KinkedSearch(evaluator, search, self.rtol, options, deadline)
        single = _single(immersion, graph)
        codes = kink_codes(single, None if graph is None else graph.codes, options)
        descent = KinkedDescent(
            evaluator=evaluator,
            smoothed=lambda width: single.smoothed(width, codes),
            search=lambda width, pairs: search(width, pairs, False),
            rtol=self.rtol,
            options=options,
            descent=replace(self.descent, rtol=options.rtol),
            graph_limit=self.start.graph_limit,
            deadline=deadline,
        )
        return KinkedSearch(evaluator, search, self.rtol, options, deadline, descent)


def within(solver: Solver, seconds: float | None) -> Solver:
    """Give a solver less time, if it has a limit.

    Parameters
    ----------
    solver : Solver
        The solver.
    seconds : float or None
        Seconds that are left; None is no limit.

    Returns
    -------
    solver : Solver
        The same, or one that differs in its limit only.
    """
    if seconds is None or not isinstance(solver, GeodesicSolver):
        return solver
    return replace(solver, max_seconds=seconds)


def _with_lines(path: GeodesicPath, rows: Ints, end: Floats, length: Floats) -> GeodesicPath:
    """Replace curves of no length, at the starts, by straight lines; end shape=[n_pairs, dim]."""
    chord = end - path.points[:, 0]
    new = {name: getattr(path, name).copy() for name in ("points", "length", "energy")}
    times = path.times[rows][..., None]
    line = path.points[rows] + times * chord[rows, None]
    new["points"][rows] = np.where(times == 1.0, end[rows, None], line)
    new["length"][rows], new["energy"][rows] = length[rows], 0.5 * length[rows] ** 2
    for name in ("initial_velocity", "final_velocity"):
        new[name] = getattr(path, name).copy()
        new[name][rows] = chord[rows]
    return replace(path, **new)


def _single(immersion: Immersion, graph: LatentGraph | None) -> Immersion:
    """F in single precision, if the graph found that to be exact enough."""
    single = None if graph is None else graph.single
    return immersion if single is None else single.condensed()


def _curves_of(guess: GeodesicPath | SolvedCurves | None, n_pairs: int) -> SolvedCurves | None:
    curves = guess.curves if isinstance(guess, GeodesicPath) else guess
    if curves is not None and len(curves) != n_pairs:
        raise ValueError(
            f"Expected a guess of {n_pairs} pairs, got one of {len(curves)}; pass the path "
            "that was returned for the same pairs before they moved."
        )
    return curves
