"""The geometry that a decoder induces: lengths, geodesics, transports, volumes, on arrays."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields, replace
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike

from geomstats_vae.geodesics import GeodesicPath, GeodesicSolver, LatentGraph, Solver
from geomstats_vae.geodesics.curves.path import SolvedCurves
from geomstats_vae.geodesics.flow.exponential import ExponentialSolver
from geomstats_vae.geodesics.polish import PolishOptions
from geomstats_vae.geodesics.table import MetricTable
from geomstats_vae.geometry import local, pairs
from geomstats_vae.geometry.blocks import Blocks
from geomstats_vae.geometry.bounds import PAIRS_PER_SEARCH, DecoderBounds, graph_lengths
from geomstats_vae.geometry.exponentials import follow, follow_dense
from geomstats_vae.geometry.graphs import GraphOnDemand
from geomstats_vae.geometry.metric_immersions import MetricImmersions
from geomstats_vae.geometry.precomputed import Precomputed
from geomstats_vae.geometry.protocol import Floats, Ints, KeptCurves, Lengths, Logs, Rays
from geomstats_vae.geometry.rays import RAY_EXPONENTIAL, ray_solver, volume_changes
from geomstats_vae.geometry.refined_paths import refine_paths
from geomstats_vae.geometry.rows import Box, Ends, host, rows
from geomstats_vae.geometry.solved import CURVES_BYTES, solve_ends, solve_logs
from geomstats_vae.geometry.tables import TableOnDemand, with_table
from geomstats_vae.geometry.tabulated_flows import exps_of, points_of, rays_of
from geomstats_vae.geometry.transport import transports, transports_between
from geomstats_vae.immersions import Immersion
from geomstats_vae.immersions.decoder import Decoder


@dataclass(frozen=True)
class DecoderGeometry:
    """Geometry of the latent space of a decoder, without geomstats.

    All points are latent codes, float64 arrays of numpy with one row each; rows are independent.
    Failures are data: statuses, infinite lengths, NaN.

    Parameters
    ----------
    decoder : Decoder
        The decoder, with its immersion F.
    graph : LatentGraph or GraphOnDemand, optional
        Graph for global starts: one that is there, or one that is built over some codes when it is
        first needed. Without it every geodesic starts from the straight line.
    solver : Solver
        Solves for geodesics between points.
    exponential : ExponentialSolver
        Follows geodesics from a point along a velocity.
    ray_exponential : ExponentialSolver
        Follows geodesics together with their change of volume, for quadratures.
    scale : float
        Factor of the metric tensor: the metric is the pullback by sqrt(scale) F.
    blocks : Blocks
        How many pairs are worked on.
    rtol : float
        Relative error that lengths may have, with room to spare: two curves whose lengths differ
        by less are not told apart.
    kink_width : float
        Width at which kinks of the decoder, such as those of ReLUs, are rounded where second
        derivatives are needed: by exponentials, transports and curvatures; see `KinkOptions`.
    """

    decoder: Decoder
    graph: LatentGraph | GraphOnDemand | None = None
    table: MetricTable | TableOnDemand | None = None
    tabulated: bool = False
    solver: Solver = field(default_factory=GeodesicSolver)
    exponential: ExponentialSolver = field(default_factory=ExponentialSolver)
    ray_exponential: ExponentialSolver = RAY_EXPONENTIAL
    scale: float = 1.0
    blocks: Blocks = field(default_factory=Blocks)
    rtol: float = 3e-4
    kink_width: float = 0.05

    # -- other geometries --------------------------------------------------------------------------

    def with_tol(self, tol: float) -> DecoderGeometry:
        """Give the solver a tolerance, and share decoder and graph; see `Geometry.with_tol`."""
        return replace(self, solver=self.solver.with_tol(tol))

    def scaled(self, factor: float) -> DecoderGeometry:
        """Multiply the metric tensor, and share decoder and graph; see `Geometry.scaled`."""
        if 0.0 < factor < math.inf:
            return replace(self, scale=self.scale * factor)
        raise ValueError(f"Expected a positive and finite factor, got {factor}.")

    def working(self, **options: Any) -> DecoderGeometry:
        """Work on pairs otherwise: options are fields of `Blocks`, such as n_jobs and verbose."""
        return replace(self, blocks=replace(self.blocks, **options))

    def for_many(self, n_pairs: int | None = None) -> DecoderGeometry:
        """Use the table from now on, if there is one and it pays.

        Parameters
        ----------
        n_pairs : int, optional
            Number of geodesics that are asked for; by default so many that a table pays.

        Returns
        -------
        geometry : DecoderGeometry
            It shares everything.
        """
        if self.tabulated or not isinstance(self.table, TableOnDemand):
            return self
        pays = n_pairs is None or n_pairs >= self.table.options.pairs or self.table.always
        return replace(self, tabulated=True) if pays else self

    def reaching(self, margin: float) -> DecoderGeometry:
        """Let the table reach farther beyond the codes; see `TableOnDemand.wider`."""
        table = self.table.wider(margin) if isinstance(self.table, TableOnDemand) else self.table
        return replace(self, table=table)

    def for_lengths(self, n_pairs: int) -> DecoderGeometry:
        """Ask a table for lengths alone, if one serves: velocities are as exact as it is."""
        return self._by_table(lengths_only=True) if self.for_many(n_pairs).tabulated else self

    def for_steps(self) -> DecoderGeometry:
        """Find geodesics between steps by the table in use alone; ask anew for the last ones."""
        return self._by_table(measured=False) if self.tabulated else self

    def _by_table(self, **options: Any) -> DecoderGeometry:
        if isinstance(self.solver, GeodesicSolver):
            tabulated = replace(self.solver.tabulated, **options)
            return replace(self, solver=replace(self.solver, tabulated=tabulated))
        return self

    # -- what it is made of ------------------------------------------------------------------------

    @property
    def dim(self) -> int:
        """Dimension of the latent space."""
        return self.decoder.dim

    @property
    def n_features(self) -> int:
        """Coordinates of a point."""
        return self.decoder.dim

    @property
    def codes(self) -> Floats | None:
        """Latent codes that the graph covers, shape=[n_codes, dim]; None without a graph."""
        return None if self.graph is None else self.graph.codes

    @cached_property
    def surroundings(self) -> Box:
        """The codes and what is near them; everything without codes."""
        return Box.around(self.codes, self.dim)

    @property
    def bounds(self) -> DecoderBounds:
        """What is known of distances without a geodesic."""
        # In this process and in silence: a bar counts geodesics.
        return DecoderBounds(self.immersion(), partial(self.graph_lengths, blocks=Blocks()))

    def immersion(self, device: torch.device | None = None) -> Immersion:
        """Return sqrt(scale) F, computed in float64.

        Parameters
        ----------
        device : torch.device, optional
            Device to compute on; the decoder's own by default.

        Returns
        -------
        immersion : Immersion
            The immersion whose pullback is the metric.
        """
        return self._immersions.exact(device)

    def smooth_immersion(self, device: torch.device | None = None) -> Immersion:
        """Return the immersion, its kinks rounded at ``kink_width``; see `immersion`."""
        return self._immersions.smooth(device)

    @cached_property
    def _immersions(self) -> MetricImmersions:
        return MetricImmersions(self.decoder, self.scale, self.kink_width, self.codes)

    @cached_property
    def _immersion(self) -> Immersion:
        return self._immersions.exact()

    def immersion_for(
        self, function: local.LocalFunction, device: torch.device | None = None
    ) -> Immersion:
        """Return the immersion itself for a function of first derivatives, else the smooth one."""
        exact = function in local.OF_FIRST_DERIVATIVES
        return self.immersion(device) if exact else self.smooth_immersion(device)

    def __getstate__(self) -> dict[str, Any]:
        return {part.name: getattr(self, part.name) for part in fields(self)}

    def build_graph(self, *, verbose: bool = False) -> LatentGraph | None:
        """Return the graph of the scaled metric, built now if it was not.

        Parameters
        ----------
        verbose : bool
            Show a progress bar; ``blocks`` that are verbose show one, too.

        Returns
        -------
        graph : LatentGraph or None
            None without codes.
        """
        if isinstance(self.graph, GraphOnDemand):
            self.graph.get(self.decoder, verbose=verbose or self.blocks.verbose)
        return self.precomputed.graph

    @property
    def metric_table(self) -> MetricTable | None:
        """The table of the scaled metric, where it is in use; see `for_many`."""
        return self.precomputed.table if self.tabulated else None

    @cached_property
    def precomputed(self) -> Precomputed:
        """The graph and the table, each built when it is first asked for."""
        parts = self.decoder, self.graph, self.table, self.scale
        return Precomputed(*parts, getattr(self.solver, "max_seconds", None), self.blocks)

    def solver_for(self, n_pairs: int) -> Solver:
        """Return the solver, with the table if that pays for so many pairs."""
        many = self.for_many(n_pairs).tabulated
        return with_table(self.solver, self.precomputed.table) if many else self.solver

    # -- geodesics between points ------------------------------------------------------------------

    def paths(
        self,
        start: ArrayLike,
        end: ArrayLike,
        *,
        guess: GeodesicPath | SolvedCurves | None = None,
        polish: bool | PolishOptions = False,
        check_minimum: bool = False,
    ) -> GeodesicPath:
        """Solve for geodesics.

        Parameters
        ----------
        start, end : array-like, shape=[n_pairs, dim]
            End points.
        guess : GeodesicPath or SolvedCurves, optional
            Geodesics between as many other points, from an earlier call, or their ``curves``: those
            of pairs that moved a little are found from there in fewer steps.
        polish : bool or PolishOptions
            Make velocities and lengths exact to about 1e-9, or as the options say.
        check_minimum : bool
            Fill ``path.local_minimum``.

        Returns
        -------
        path : GeodesicPath
            Curves and statuses, as float64 arrays.
        """
        start, end = rows(start, end)
        with torch.no_grad():
            if self.blocks.watched:
                path = pairs.solve(self, start, end, guess)
            else:
                ends = start, end, self.precomputed.graph
                path = self.solver_for(len(start)).solve(self._immersion, *ends, guess)
            if polish or check_minimum:
                refined = partial(refine_paths, polish=polish, check_minimum=check_minimum)
                path = refined(self._immersion, path, self.codes, rtol=self.solver.rtol)
        return path

    def ends(self, start: Floats, end: Floats) -> Ends:
        """Solve for geodesics in blocks, a single one at once; what distances need, no curves."""
        if len(start) == 1 and self._in_one:
            parts = self._immersion, start, end, self.precomputed.graph
            with torch.no_grad():
                return Ends.of(self.solver_for(1).solve(*parts))
        return Ends(*self._in_blocks(solve_ends, start, end))

    @cached_property
    def _in_one(self) -> bool:
        return self.blocks.in_one

    def _in_blocks(self, function: Any, start: Floats, *others: Any) -> Any:
        if self._in_one and len(start) <= self.blocks.size:
            return function(self, start, *others)
        return pairs.work(self, function, start, *others)

    def lengths(self, start: ArrayLike, end: ArrayLike) -> Lengths:
        """Measure distances; see `Geometry.lengths`."""
        start, end = rows(start, end)
        ends = self.for_lengths(len(start)).ends(start, end)
        return Lengths(ends.known_length, ends.found)

    def logs(self, start: ArrayLike, end: ArrayLike, *, guess: KeptCurves | None = None) -> Logs:
        """Find geodesics from starts to ends; see `Geometry.logs`.

        Each of n pairs keeps its curve if that takes at most `CURVES_BYTES` / n, so all of a call
        take no more than `CURVES_BYTES`: about 20,000 pairs in 16 dimensions keep theirs.
        """
        start, end = rows(start, end)
        known = () if guess is None else (guess,)
        most = CURVES_BYTES // max(1, len(start))
        return Logs(*self._in_blocks(partial(solve_logs, most), start, end, *known))

    def graph_lengths(self, start: Any, end: Any, *, blocks: Blocks | None = None) -> Floats:
        """Measure graph paths, or straight lines where they are shorter; see `graph_lengths`."""
        start, end = rows(start, end)
        blocks = replace(blocks or self.blocks, size=PAIRS_PER_SEARCH, blocks_per_job=1)
        parts = self.build_graph(), self.metric_table
        return blocks.run(partial(graph_lengths, *parts), start, end)[0]

    # -- geodesics from points ---------------------------------------------------------------------

    def follow(self, base: ArrayLike, velocity: ArrayLike) -> tuple[Floats, Ints]:
        """Follow geodesics for unit time.

        Parameters
        ----------
        base, velocity : array-like, shape=[n, dim]
            Initial points and velocities; they broadcast against each other.

        Returns
        -------
        point : numpy.ndarray, shape=[n, dim]
            End points; after a failure the last point that was reached.
        status : numpy.ndarray of int, shape=[n]
            Codes of `ExponentialStatus`.
        """
        immersion, start, vector = self.tensors(base, velocity)
        return follow(immersion, self.exponential, start, vector, self.blocks.deadline)

    def follow_dense(
        self, base: ArrayLike, velocity: ArrayLike, times: ArrayLike
    ) -> tuple[Floats, Ints]:
        """Evaluate geodesics at any times, shape=[n_times].

        Parameters
        ----------
        base, velocity : array-like, shape=[n, dim]
            Points and velocities at time 0.
        times : array-like, shape=[n_times]
            Times, also beyond 1 and negative.

        Returns
        -------
        points : numpy.ndarray, shape=[n, n_times, dim]
            Points; after a failure the last point that was reached.
        status : numpy.ndarray of int, shape=[n]
            Codes of `ExponentialStatus`.
        """
        immersion, start, vector = self.tensors(base, velocity)
        parts = immersion, self.exponential, start, vector
        return follow_dense(*parts, np.asarray(times, dtype=float), self.blocks.deadline)

    def exps(self, base: ArrayLike, velocity: ArrayLike, *, rtol: float | None = None) -> Floats:
        """Follow geodesics for unit time; see `Geometry.exps`, and by a table `exps_of`."""
        exponential = self.exponential
        if rtol is not None:
            exponential = replace(exponential, rtol=max(rtol, exponential.rtol))
        return exps_of(replace(self, exponential=exponential), *rows(base, velocity))

    def points_along(self, base: ArrayLike, velocity: ArrayLike, times: ArrayLike) -> Floats:
        """Find points of geodesics at several times; see `Geometry.points_along`."""
        geometry, (start, vector) = (
            replace(self, exponential=ray_solver(self)),
            rows(base, velocity),
        )
        return points_of(geometry, start, vector, np.asarray(times, dtype=float))

    def rays(self, base: ArrayLike, velocity: ArrayLike) -> Rays:
        """Begin to follow geodesics with their change of volume; see `Geometry.rays`."""
        return rays_of(self, *rows(base, velocity))

    def volume_changes(self, base: ArrayLike, velocity: ArrayLike) -> tuple[Floats, Floats]:
        """Find ends and the change of volume there; see `Geometry.volume_changes`."""
        start, vector = rows(base, velocity)
        parts = self.smooth_immersion(), ray_solver(self), start, vector
        return volume_changes(*parts, self.blocks.deadline)

    # -- parallel transport ------------------------------------------------------------------------

    def transports(self, base: ArrayLike, velocity: ArrayLike) -> tuple[Floats, Ints]:
        """Parallel transports along geodesics, for unit time; see `transport.transports`."""
        return transports(self, *rows(base, velocity))

    def transports_between(self, base: ArrayLike, end: ArrayLike) -> tuple[Floats, Ints, Ints]:
        """Parallel transports along the geodesics between points; see `transports_between`."""
        return transports_between(self, *rows(base, end))

    # -- at points ---------------------------------------------------------------------------------

    def local(self, function: local.LocalFunction, points: ArrayLike) -> Floats:
        """Evaluate a function of `geometry.local` at points, such as a curvature.

        Parameters
        ----------
        function : callable
            Takes the immersion and points; returns one row per point.
        points : array-like, shape=[n_points, dim]
            Latent codes.

        Returns
        -------
        values : numpy.ndarray, shape=[n_points, ...]
            All rows.
        """
        _, z = self.tensors(points)
        with torch.no_grad():
            return host(local.evaluate(function, self.immersion_for(function), z))

    def metrics(self, points: ArrayLike) -> Floats:
        """Metric matrices; see `Geometry.metrics`."""
        return self.local(local.metric_matrix, points)

    def volume_densities(self, points: ArrayLike) -> Floats:
        """Riemannian volume per unit of latent volume; see `Geometry.volume_densities`."""
        return self.local(local.volume_density, points)

    def connections(self, points: ArrayLike) -> tuple[Floats, Floats]:
        """Metric matrices and Christoffel symbols of the first kind; see `Geometry`."""
        immersion, z = self.tensors(points)
        with torch.no_grad():
            metric, symbols = local.connections(immersion.condensed(), z)
        return host(metric), host(symbols)

    def inner_products(self, a: ArrayLike, b: ArrayLike, base: ArrayLike) -> Floats:
        """Inner products of tangent vectors; see `Geometry.inner_products`."""
        a, b, base = rows(a, b, base)
        return np.einsum("ni,nij,nj->n", a, self.metrics(base), b)

    def to_tangent(self, vectors: ArrayLike, base: ArrayLike) -> Floats:
        """Return the vectors: all are tangent to a latent space."""
        return rows(vectors, base)[0]

    def tensors(self, *arrays: ArrayLike) -> tuple[Any, ...]:
        """Return the smooth immersion, and rows as tensors of its type on its device."""
        immersion = self.smooth_immersion()
        like = torch.empty(0, dtype=immersion.dtype, device=immersion.device)
        return immersion, *(torch.as_tensor(part).to(like) for part in rows(*arrays))
