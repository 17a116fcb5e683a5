"""The pullback metric of a decoder, for geomstats."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from geomstats.geometry.riemannian_metric import RiemannianMetric

from geomstats_vae.geodesics import GeodesicPath, GeodesicStatus
from geomstats_vae.geodesics.flow.exponential import ExponentialSolver
from geomstats_vae.geometry import local
from geomstats_vae.geometry.decoder import DecoderGeometry
from geomstats_vae.geometry.graphs import GraphOnDemand
from geomstats_vae.geometry.members import member_graphs
from geomstats_vae.geometry.tables import TableOnDemand
from geomstats_vae.immersions.decoder import Decoder
from geomstats_vae.manifolds import balls, decoding, display, distances, failures, tangent
from geomstats_vae.manifolds.arrays import (
    Array,
    Origin,
    enter,
    enter_tensors,
    outside_inference_mode,
)
from geomstats_vae.manifolds.gradients import differentiable_length
from geomstats_vae.manifolds.map_solvers import DecoderExpSolver, DecoderLogSolver


def _at_points(function: local.LocalFunction) -> Callable[..., Array]:
    """Make a method of a function of the immersion at single points."""

    def method(self: PullbackDecoderMetric, base_point: Array) -> Array:
        (z,), origin = enter_tensors(self._space.dim, self.decoder.device, points=base_point)
        with origin.recording():
            immersion = self.geometry.immersion_for(function, z.device)
            return origin.give(local.evaluate(function, immersion, z))

    method.__name__, method.__qualname__ = function.__name__, f"{__name__}.{function.__name__}"
    method.__doc__ = function.__doc__
    return method


class PullbackDecoderMetric(RiemannianMetric):
    """Expected pullback metric of a stochastic decoder, M = J_mu' J_mu + J_sigma' J_sigma.

    That is the pullback of the Euclidean metric by F: z -> (mu(z), sigma(z)) ([1]_, Theorem 1);
    for a deterministic decoder, by its mean alone.

    Parameters
    ----------
    space : Manifold
        Latent space, an open set of a vector space; equip it by ``equip_with_metric``.
    decoder : callable or Immersion
        Maps latent codes, tensors of shape=[n_points, dim], to a tensor, a pair (mean, std), a
        `torch.distributions.Distribution`, or an object with ``.reconstruction``, ``.sample`` or
        ``.mean``. A module is copied and frozen; it must be in evaluation mode. An `Immersion` is
        F itself. Of an `EnsembleDecoder` the metric is the mean of those of its members.
    output : callable, optional
        Reads what the decoder returns, instead of the rules above.
    likelihood : callable or 'expected', optional
        Maps the distribution that the decoder returns to its embedding, instead of the one that
        is registered for it. With 'expected' the embedding is the mean and standard deviation of
        the data.
    latent_shape : tuple of int, optional
        Shape of one code as the decoder takes it, such as (4, 8, 8); dim is the product.
    points : array-like, shape=[n_points, dim], optional
        Latent codes of the data: they show where geodesics may run, for global starts. Without
        them every geodesic starts from the straight line.
    graph : LatentGraph, optional
        Graph for global starts over ``points``; by default it is built when it is first needed.
    table : {'auto'} or bool
        Whether geodesics are found by a table of the metric, in two and three dimensions and with
        ``points``: 'auto' if so many are asked for at once that it pays. The table takes seconds
        and megabytes. Its answers are certified on the decoder, like all others.
    solver : Solver, optional
        Solves for geodesics between points; by default a `GeodesicSolver`.
    exponential : ExponentialSolver, optional
        Follows geodesics from a point along a velocity.
    on_failure : str, {'warn', 'raise', 'ignore'}
        What `exp`, `log`, `geodesic` and the distances do if some items did not converge: a
        `GeodesicConvergenceWarning` once per call, a `GeodesicConvergenceError`, or nothing. The
        best results found are returned; `solve_geodesic` returns the status of each instead.

    Attributes
    ----------
    geometry : DecoderGeometry
        All that is computed, on arrays of numpy: without geomstats, tensors or failure policy.
    exp_solver, log_solver : geomstats.numerics.geodesic.ExpSolver, LogSolver
        What `exp`, `log` and `geodesic` use: those of the decoder, unless others are assigned.
        Distances are always the lengths of curves that ``solver`` finds.

    Raises
    ------
    DecoderError
        A ValueError: if the decoder is random, in training mode, or cannot be read.
    ValueError
        If points or options are not as described.

    Notes
    -----
    Points and tangent vectors live in latent space, have the shape [..., dim] and broadcast
    against each other. Computed in float64, results come in the type and on the device of the
    input under the pytorch backend, also for half precision; only paths of `solve_geodesic` come
    in float32 then. `metric_matrix` and the other local methods, norms, `exp`, `log`, `dist`,
    `squared_dist` and `dist_pairwise` are differentiable there; paths are so in time alone. What
    is not differentiable comes detached. The numpy backend takes tensors, too, without their
    derivatives.

    A distance is the length of the curve found: stationary where it converged, not proved to be
    the shortest. No result depends on what was asked before. An iteration that moves one point
    while others stay, such as a Frechet mean, can start from its last curves: see `warm_start`.

    `exp`, `parallel_transport`, Christoffel symbols and curvatures need second derivatives. They
    are those of a decoder whose kinks, such as ReLUs, are rounded at ``geometry.kink_width``; `log`
    has its own widths. So exp(log(x)) returns only near to x if the decoder has kinks.

    References
    ----------
    .. [1] Arvanitidis, Hansen, Hauberg. "Latent Space Oddity: on the Curvature of Deep Generative
       Models." ICLR 2018. arXiv:1710.11379.
    """

    def __init__(
        self,
        space: Any,
        decoder: Any,
        *,
        output: Any = None,
        likelihood: Any = None,
        latent_shape: Any = None,
        points: Any = None,
        graph: Any = None,
        table: Any = "auto",
        solver: Any = None,
        exponential: ExponentialSolver | None = None,
        on_failure: str = "warn",
    ) -> None:
        super().__init__(space)
        failures.check_policy(on_failure)
        if not (table == "auto" or isinstance(table, bool)):
            raise ValueError(f"Expected table to be 'auto', True or False, got {table!r}.")
        options = {"solver": solver, "exponential": exponential}
        if points is not None:
            codes = _check_codes(points, space.dim)
            graph = GraphOnDemand(codes) if graph is None else graph
            if table is not False:
                options["table"] = TableOnDemand(codes, always=table is True)
        reading = {"output": output, "likelihood": likelihood, "latent_shape": latent_shape}
        with outside_inference_mode():
            frozen = Decoder(decoder, space.dim, **reading)
            if points is not None:
                frozen.check(torch.as_tensor(codes))
        self.geometry = DecoderGeometry(
            frozen,
            graph,
            **{name: option for name, option in options.items() if option is not None},
        )
        self.on_failure = on_failure
        self.exp_solver, self.log_solver = DecoderExpSolver(self), DecoderLogSolver(self)

    __repr__ = display.one_line
    _repr_html_ = display.table

    def __copy__(self) -> PullbackDecoderMetric:
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        for name in ("exp_solver", "log_solver"):
            solver = getattr(self, name)
            if getattr(solver, "metric", None) is self:
                setattr(other, name, type(solver)(other))
        return other

    def __mul__(self, scalar: float) -> PullbackDecoderMetric:
        """Scale the metric tensor by a positive float; the space is not equipped with it."""
        if not isinstance(scalar, float):
            return NotImplemented
        scaled = copy.copy(self)
        scaled.geometry = self.geometry.scaled(scalar)
        return scaled

    __rmul__ = __mul__

    @property
    def decoder(self) -> Decoder:
        """The frozen copy of the decoder."""
        return self.geometry.decoder

    @property
    def points(self) -> Any:
        """Latent codes that the graph of global starts covers, or None."""
        return self.geometry.codes

    @property
    def solver(self) -> Any:
        """Solves for geodesics between points."""
        return self.geometry.solver

    @solver.setter
    def solver(self, solver: Any) -> None:
        self.geometry = replace(self.geometry, solver=solver)

    @property
    def exponential(self) -> ExponentialSolver:
        """Follows geodesics from a point along a velocity."""
        return self.geometry.exponential

    @exponential.setter
    def exponential(self, exponential: ExponentialSolver) -> None:
        self.geometry = replace(self.geometry, exponential=exponential)

    def build_graph(self, *, verbose: bool = False) -> Any:
        """Build the graph of global starts now, with a progress bar if verbose, and return it."""
        with outside_inference_mode():
            return self.geometry.build_graph(verbose=verbose)

    @contextmanager
    def warm_start(self) -> Iterator[None]:
        """Let logarithms start from the last ones, in a ``with`` block.

        Iterations of geomstats that move a point while others stay, such as `FrechetMean` and
        `GeodesicRegression`, ask again and again for nearly the same geodesics. In the block `log`
        keeps the curves that it found last, and starts from them if it is asked for the same
        ``point`` again: a mean's later iterations cost a quarter of its first. A curve that is no
        longer the shortest is found anew, so results agree within the solver's tolerance.
        """
        before, self.log_solver = self.log_solver, DecoderLogSolver(self, keeps_guess=True)
        try:
            yield
        finally:
            self.log_solver = before

    # -- at points ---------------------------------------------------------------------------------

    def _enter(self, **arrays: Any) -> tuple[list[Any], Origin]:
        return enter(self._space.dim, **arrays)

    metric_matrix = _at_points(local.metric_matrix)
    cometric_matrix = _at_points(local.cometric_matrix)
    inner_product_derivative_matrix = _at_points(local.metric_derivative)
    christoffels = _at_points(local.christoffels)
    jacobian_christoffels = _at_points(local.christoffel_derivative)
    riemann_tensor = _at_points(local.riemann_tensor)
    gaussian_curvature = _at_points(local.gaussian_curvature)
    volume_density = _at_points(local.volume_density)

    curvature_derivative = tangent.curvature_derivative
    curvature = tangent.of_geomstats("curvature")
    directional_curvature = tangent.of_geomstats("directional_curvature")
    sectional_curvature = tangent.of_geomstats("sectional_curvature")
    geodesic_equation = tangent.of_geomstats("geodesic_equation")

    # -- of tangent vectors ------------------------------------------------------------------------

    inner_product = tangent.inner_product
    squared_norm = tangent.squared_norm
    norm = tangent.norm
    normalize = tangent.normalize
    inner_coproduct = tangent.of_geomstats("inner_coproduct")

    # -- geodesics ---------------------------------------------------------------------------------

    def solve_geodesic(
        self,
        start: Array,
        end: Array,
        *,
        guess: GeodesicPath | None = None,
        polish: bool = False,
        check_minimum: bool = False,
        verbose: bool = False,
    ) -> GeodesicPath:
        """Solve for geodesics between pairs of points.

        Parameters
        ----------
        start, end : array-like, shape=[..., dim]
            End points in latent space.
        guess : GeodesicPath, optional
            What an earlier call returned for as many pairs. Pairs that moved a little since are
            found from there in fewer steps.
        polish : bool
            Make velocities and lengths exact to about 1e-9, by Newton's method on finer meshes;
            ``path.velocity_error`` says how exact. The points of the path stay. Takes a few times
            as long as the geodesics.
        check_minimum : bool
            Fill ``path.local_minimum``: whether no curve near a geodesic is shorter.
        verbose : bool
            Show a progress bar, in pairs.

        Returns
        -------
        path : GeodesicPath
            Curves in arrays of the backend, batch shapes broadcast, with their lengths and what is
            known of their accuracy. Failures are in ``path.status``: no warning, no error. Curves
            between points in half precision come in float32.
        """
        (start, end), origin = self._enter(start=start, end=end)
        self._warn_far(start, end)
        geometry = self.geometry.working(verbose=True) if verbose else self.geometry
        with origin.recording():
            path = geometry.paths(
                start, end, guess=guess, polish=polish, check_minimum=check_minimum
            )
        dtype = torch.promote_types(origin.dtype, torch.float32)
        path = path.map(replace(origin, dtype=dtype, requires_grad=False).give)
        return replace(path, decoder=decoding.decoder_of(self))

    def log(self, point: Array, base_point: Array, *, polish: bool = False) -> Array:
        """Riemannian logarithm, the initial velocity of the geodesic from base_point to point.

        Parameters
        ----------
        point : array-like, shape=[..., dim]
            End points in latent space.
        base_point : array-like, shape=[..., dim]
            Initial points in latent space.
        polish : bool
            Make logarithms exact to about 1e-9, so that `exp` inverts them as far as its own
            tolerance goes; see `solve_geodesic`. In up to five dimensions, on decoders without
            kinks, they are nearly so by default; in more, geodesics spread so fast that `exp` ends
            elsewhere, unless points are near to each other.

        Returns
        -------
        tangent_vec : array-like, shape=[..., dim]
            Tangent vectors at the base points.
        """
        if polish:
            return DecoderLogSolver(self).log(point, base_point, polish=True)
        return self.log_solver.log(point, base_point)

    parallel_transport = tangent.parallel_transport

    def _report(self, status: Any, kind: Any, what: str) -> None:
        if status.any():
            failures.report(self.on_failure, status, kind, what)

    def _warn_far(self, *ends: Any) -> None:
        far = np.logical_or(*map(self.geometry.surroundings.misses, ends))
        if far.any():
            failures.warn_far(self.on_failure, int(far.sum()), len(far))

    # -- distances ---------------------------------------------------------------------------------

    def _lengths(
        self,
        point_a: Array,
        point_b: Array,
        *,
        method: str = "exact",
        squared: bool = False,
        **working: Any,
    ) -> Array:
        (a, b), origin = self._enter(points=point_a, other_points=point_b)
        self._warn_far(a, b)
        geometry = self.geometry.working(**working) if working else self.geometry
        if method == "graph":
            with origin.recording():
                length = geometry.graph_lengths(a, b)
            lost = np.where(np.isfinite(length), 0, int(GeodesicStatus.NON_FINITE))
            self._report(lost, GeodesicStatus, "graph paths")
            return replace(origin, requires_grad=False).give(length)
        if method != "exact":
            raise ValueError(f"Expected method to be one of 'exact', 'graph', got {method!r}.")
        if not origin.requires_grad:
            geometry = geometry.for_lengths(len(a))
        with origin.recording():
            ends = geometry.ends(a, b)
        self._report(ends.status, GeodesicStatus, "geodesics")
        if origin.requires_grad:
            (a, b), _ = enter_tensors(self._space.dim, points=point_a, other_points=point_b)
            immersion = geometry.immersion(a.device)
            return origin.give(differentiable_length(immersion, a, b, ends, squared=squared))
        return origin.give(ends.length**2 if squared else ends.length)

    def dist(self, point_a: Array, point_b: Array, *, verbose: bool = False) -> Array:
        """Geodesic distance: the length of the curve, not the norm of its logarithm.

        Parameters
        ----------
        point_a, point_b : array-like, shape=[..., dim]
            Points in latent space.
        verbose : bool
            Show a progress bar, in pairs.

        Returns
        -------
        dist : array-like, shape=[...]
            Distances, in the units of the data.
        """
        working: dict[str, Any] = {"verbose": True} if verbose else {}
        return self._lengths(point_a, point_b, **working)

    def squared_dist(self, point_a: Array, point_b: Array) -> Array:
        """Squared geodesic distance, shape=[...]; differentiable also where points coincide."""
        return self._lengths(point_a, point_b, squared=True)

    dist_pairwise = distances.dist_pairwise
    dist_broadcast = distances.dist_broadcast
    dist_members = distances.dist_members
    dist_bounds = distances.dist_bounds
    diameter = distances.diameter
    closest_neighbor_index = distances.closest_neighbor_index

    @cached_property
    def _member_graphs(self) -> tuple[Any, ...]:
        return member_graphs(self.geometry)

    # -- around a point ----------------------------------------------------------------------------

    injectivity_radius = balls.injectivity_radius
    normalization_factor = balls.normalization_factor
    norm_factor_gradient = balls.norm_factor_gradient


def _check_codes(points: Any, dim: int) -> Any:
    (codes,), origin = enter(dim, points=points)
    if len(origin.batch_shape) != 1 or len(codes) == 0:
        raise ValueError(
            f"Expected latent codes of shape [n_points > 0, {dim}] as points, got "
            f"{[*origin.batch_shape, dim]}; pass the codes of the data, or None."
        )
    return codes
