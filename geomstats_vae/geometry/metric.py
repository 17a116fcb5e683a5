"""The pullback metric of a decoder, for geomstats."""

from __future__ import annotations

import copy
from dataclasses import replace

import geomstats.backend as gs
import numpy as np
import torch

from geomstats_vae.geodesics.exponential import ExponentialSolver, ExponentialStatus
from geomstats_vae.geodesics.landscape import Landscape
from geomstats_vae.geodesics.path import GeodesicStatus
from geomstats_vae.geodesics.polish import PolishStatus, polish_velocities
from geomstats_vae.geodesics.solver import GeodesicSolver
from geomstats_vae.geodesics.stability import local_minima
from geomstats_vae.geodesics.transport import nearest_isometry
from geomstats_vae.geometry import failures, gradients, local
from geomstats_vae.geometry.arrays import enter, to_host, to_tensor
from geomstats_vae.geometry.cut_locus import cut_distances, directions
from geomstats_vae.geometry.decoder_solvers import DecoderExpSolver, DecoderLogSolver
from geomstats_vae.geometry.pairs import graph_lengths, solve_ends
from geomstats_vae.geometry.pointwise import PointwiseMetric
from geomstats_vae.geometry.scaled import scale_metric

METHODS = ("exact", "graph")
# Share of a geodesic's length by which its end may be missed before its velocity is polished.
_MISS = 1e-8
_FAR = 64.0  # norms of a unit step in latent space, where no codes say how far data go
_MEDOID_CODES = 64
# Rays of `injectivity_radius`: errors far below what a cut point is told by. A ray that takes more
# steps is on its way out of the data.
_RAY_RTOL, _RAY_TOL, _RAY_STEPS = 1e-6, 1e-4, 200


class PullbackDecoderMetric(PointwiseMetric):
    """Expected pullback metric of a stochastic decoder, M = J_mu' J_mu + J_sigma' J_sigma.

    That is the pullback of the Euclidean metric by F: z -> (mu(z), sigma(z)) ([1]_, Theorem 1);
    for a deterministic decoder, by its mean alone.

    Parameters
    ----------
    space : Manifold
        Latent space, an open set of a vector space; equip it by ``equip_with_metric``.
    decoder : callable
        Maps latent codes, tensors of shape=[n_points, dim], to a tensor, a pair (mean, std), a
        `torch.distributions.Distribution`, or an object with ``.reconstruction``, ``.sample`` or
        ``.mean``. A module is copied and frozen; it must be in evaluation mode.
    output : callable, optional
        Reads what the decoder returns, instead of the rules above.
    points : array-like, shape=[n_points, dim], optional
        Latent codes of the data: they show where geodesics may run, for global starts. Without
        them every geodesic starts from the straight line.
    solver : GeodesicSolver, optional
        Solves for geodesics between points.
    exponential : ExponentialSolver, optional
        Follows geodesics from a point along a velocity.
    on_failure : str, {'warn', 'raise', 'ignore'}
        What `exp`, `log`, `geodesic` and the distances do if some items did not converge: a
        `GeodesicConvergenceWarning` once per call, a `GeodesicConvergenceError`, or nothing. The
        best results found are returned; `solve_geodesic` returns the status of each instead.

    Attributes
    ----------
    decoder : Decoder
        The frozen copy.
    exp_solver, log_solver : geomstats.numerics.geodesic.ExpSolver, LogSolver
        What `exp`, `log` and `geodesic` use: the solvers above, unless others are assigned.
        Distances are always the lengths of curves that ``solver`` finds.

    Raises
    ------
    DecoderError
        A ValueError: if the decoder is random, in training mode, or cannot be read.
    ValueError
        If points or options are not as described.

    Notes
    -----
    Points and tangent vectors live in latent space and broadcast against each other. Computed in
    float64, results come in the type and on the device of the input under the pytorch backend,
    where `metric_matrix` and the other local methods, `exp`, `log`, `dist`, `squared_dist` and
    `dist_pairwise` are differentiable; paths are not. A distance is the length of the curve found:
    stationary where it converged, not proved to be the shortest.

    References
    ----------
    .. [1] Arvanitidis, Hansen, Hauberg. "Latent Space Oddity: on the Curvature of Deep Generative
       Models." ICLR 2018. arXiv:1710.11379.
    """

    def __init__(
        self,
        space,
        decoder,
        *,
        output=None,
        points=None,
        solver=None,
        exponential=None,
        on_failure="warn",
    ):
        super().__init__(space, decoder, output=output)
        failures.check_policy(on_failure)
        self.points = None if points is None else _check_codes(points, space.dim)
        self.solver = GeodesicSolver() if solver is None else solver
        self.exponential = ExponentialSolver() if exponential is None else exponential
        self.on_failure = on_failure
        self.exp_solver, self.log_solver = DecoderExpSolver(self), DecoderLogSolver(self)
        self._landscape, self._last_logs, self._last_laws = None, None, None

    def __getstate__(self):
        """State without the geodesics of the last logarithms, which are of use to nobody else."""
        return self.__dict__ | {"_last_logs": None}

    def __mul__(self, scalar):
        """Scale the metric tensor; lengths scale by the square root.

        Parameters
        ----------
        scalar : float
            Positive factor.

        Returns
        -------
        metric : ScaledDecoderMetric
            The scaled metric; the space is not equipped with it.
        """
        return scale_metric(self, scalar)

    # -- geodesics -----------------------------------------------------------------------------

    def _start_landscape(self):
        """Graph for global starts, built when first needed; None without points."""
        if self._landscape is None and self.points is not None:
            self._landscape = Landscape(self.decoder.immersion(), self.points)
        return self._landscape

    @torch.no_grad()
    def _solve(self, start, end, *, polish=False, check_minimum=False):
        immersion, landscape = self.decoder.immersion(), self._start_landscape()
        path = self.solver.solve(immersion, to_host(start), to_host(end), landscape)
        if polish:
            path = polish_velocities(immersion, path, self.solver.rtol)
        if check_minimum:
            path = replace(path, local_minimum=local_minima(immersion, path))
        return path

    @torch.no_grad()
    def _solve_again(self, start, end):
        """Solve for geodesics, from the last ones if they ended at the same points.

        So do iterations that move a point while others stay: a Frechet mean, a regression.
        """
        immersion, landscape = self.decoder.immersion(), self._start_landscape()
        start, end, last = to_host(start), to_host(end), self._last_logs
        if last is not None and not np.array_equal(last.end, end):
            last = None
        if last is not None and np.array_equal(last.start, start):
            return last.path
        solution = self.solver.solve_near(immersion, start, end, landscape, last)
        self._last_logs = solution
        return solution.path

    def _report_paths(self, status):
        failures.report(self.on_failure, status, GeodesicStatus, "geodesics")

    def solve_geodesic(self, start, end, *, polish=False, check_minimum=False):
        """Solve for geodesics between pairs of points.

        Parameters
        ----------
        start, end : array-like, shape=[..., dim]
            End points in latent space.
        polish : bool
            Make velocities and lengths exact to about 1e-9, by Newton's method on finer meshes;
            ``path.velocity_error`` says how exact. The points of the path stay. Takes a few times
            as long as the geodesics.
        check_minimum : bool
            Fill ``path.local_minimum``: whether no curve near a geodesic is shorter.

        Returns
        -------
        path : GeodesicPath
            Curves in arrays of the backend, batch shapes broadcast, with their lengths and what is
            known of their accuracy. Failures are in ``path.status``: no warning, no error.
        """
        (start, end), origin = self._enter(start=start, end=end)
        path = self._solve(start, end, polish=polish, check_minimum=check_minimum)
        return path.map(origin.give)

    def log(self, point, base_point, *, polish=False):
        """Riemannian logarithm, the initial velocity of the geodesic from base_point to point.

        Parameters
        ----------
        point : array-like, shape=[..., dim]
            End points in latent space.
        base_point : array-like, shape=[..., dim]
            Initial points in latent space.
        polish : bool
            Make logarithms exact to about 1e-9, so that `exp` inverts them as far as its own
            tolerance goes; see `solve_geodesic`.

        Returns
        -------
        tangent_vec : array-like, shape=[..., dim]
            Tangent vectors at the base points.
        """
        return (
            self._log(point, base_point, polish=True)
            if polish
            else self.log_solver.log(point, base_point)
        )

    def _log(self, point, base_point, *, polish=False):
        (point, base), origin = self._enter(points=point, base_points=base_point)
        path = self._solve(base, point, polish=True) if polish else self._solve_again(base, point)
        self._report_paths(path.status)
        if polish:
            rough = path.converged & np.isnan(path.velocity_error)
            failures.report(self.on_failure, rough, PolishStatus, "polished logarithms")
        velocity = torch.as_tensor(path.initial_velocity, device=base.device)
        if origin.requires_grad:
            velocity = gradients.differentiable_log(
                self.exponential, self._immersion(base), point, base, velocity
            )
        return origin.give(velocity)

    def exp(self, tangent_vec, base_point):
        """Exponential map: follow geodesics for unit time.

        Parameters
        ----------
        tangent_vec : array-like, shape=[..., dim]
            Initial velocities, in latent coordinates.
        base_point : array-like, shape=[..., dim]
            Initial points in latent space.

        Returns
        -------
        point : array-like, shape=[..., dim]
            End points in latent space; after a failure the last point that was reached.
        """
        return self.exp_solver.exp(tangent_vec, base_point)

    def _exp(self, tangent_vec, base_point):
        (vector, base), origin = self._enter(tangent_vectors=tangent_vec, base_points=base_point)
        immersion = self._immersion(base)
        if origin.requires_grad:
            point, status = gradients.differentiable_exp(self.exponential, immersion, base, vector)
        else:
            result = self.exponential.solve(immersion, base.detach(), vector.detach())
            point, status = result.point, result.status
        self._report_exponentials(status)
        return origin.give(point)

    def _report_exponentials(self, status):
        failures.report(self.on_failure, status.cpu(), ExponentialStatus, "exponentials")

    def geodesic(self, initial_point, end_point=None, initial_tangent_vec=None):
        """Geodesics by their end points, or by initial points and velocities.

        Parameters
        ----------
        initial_point : array-like, shape=[..., dim]
            Initial points in latent space.
        end_point : array-like, shape=[..., dim], optional
            End points; solved for at once, for the whole batch.
        initial_tangent_vec : array-like, shape=[..., dim], optional
            Initial velocities, instead of end points.

        Returns
        -------
        path : callable
            Maps times, shape=[n_times] or a float, to points, shape=[..., n_times, dim]; times
            from 0 to 1 run from end to end.

        Raises
        ------
        ValueError
            Unless exactly one of end_point and initial_tangent_vec is given.
        """
        if (end_point is None) == (initial_tangent_vec is None):
            raise ValueError(
                "Expected either end_point or initial_tangent_vec, got "
                f"{'neither' if end_point is None else 'both'}; pass one."
            )
        if end_point is not None and self.log_solver.solves_bvp:
            return self.log_solver.geodesic_bvp(end_point, initial_point)
        if end_point is not None:
            initial_tangent_vec = self.log(end_point, initial_point)
        if self.exp_solver.solves_ivp:
            return self.exp_solver.geodesic_ivp(initial_tangent_vec, initial_point)
        return self._geodesic_by_velocity(initial_point, initial_tangent_vec)

    def _geodesic_by_ends(self, initial_point, end_point):
        (start, end), origin = self._enter(initial_points=initial_point, end_points=end_point)
        solved = self._solve(start, end)
        self._report_paths(solved.status)
        return lambda t: origin.give(solved(to_host(_times(t))))

    def _geodesic_by_velocity(self, initial_point, initial_tangent_vec):
        (base, vector), origin = self._enter(
            initial_points=initial_point, tangent_vectors=initial_tangent_vec
        )
        base, vector = base.detach(), vector.detach()

        def path(t):
            points, status = self.exponential.solve_dense(
                self._immersion(base), base, vector, _times(t).to(base)
            )
            self._report_exponentials(status)
            return origin.give(points)

        return path

    def parallel_transport(self, tangent_vec, base_point, direction=None, end_point=None):
        """Parallel transport of tangent vectors along geodesics.

        Parameters
        ----------
        tangent_vec : array-like, shape=[..., dim]
            Tangent vectors at the base points.
        base_point : array-like, shape=[..., dim]
            Points to transport from.
        direction : array-like, shape=[..., dim], optional
            Initial velocities of the geodesics; they are followed for unit time.
        end_point : array-like, shape=[..., dim], optional
            Points to transport to, along the geodesics that `log` finds, instead of directions.

        Returns
        -------
        transported : array-like, shape=[..., dim]
            Tangent vectors at the ends. Inner products are kept to rounding, directions to about
            the tolerance of ``exponential``. Not differentiable.

        Raises
        ------
        ValueError
            Unless exactly one of direction and end_point is given.

        Notes
        -----
        The equation P' = -Gamma(c') P is integrated together with that of the geodesic c; P is
        then replaced by the isometry nearest to it. A geodesic that misses its end point by more
        than 1e-8 of its length is followed again from its polished logarithm; one that misses it
        by more than ``solver.rtol`` even so counts as failed.
        """
        if (direction is None) == (end_point is None):
            raise ValueError(
                "Expected either direction or end_point, got "
                f"{'neither' if direction is None else 'both'}; pass one."
            )
        arrays = {"tangent_vectors": tangent_vec, "base_points": base_point}
        if end_point is None:
            arrays["directions"] = direction
        else:
            arrays["end_points"] = end_point
        (vector, base, other), origin = self._enter(**arrays)
        with torch.no_grad():
            vector, base, other = vector.detach(), base.detach(), other.detach()
            if end_point is None:
                transport, status = self._transport(base, other)
            else:
                transport, status = self._transport_to(base, other)
        self._report_exponentials(status)
        return replace(origin, requires_grad=False).give((transport @ vector[:, :, None])[..., 0])

    def _transport(self, base, velocity):
        immersion = self._immersion(base)
        point, transport, status = self.exponential.transport(immersion, base, velocity)
        ends = (local.evaluate(local.metric_matrix, immersion, rows) for rows in (base, point))
        return nearest_isometry(transport, *ends), status

    def _transport_to(self, base, end):
        """Transports to end points; polished where the geodesic followed would miss them."""
        immersion = self._immersion(base)
        path = self._solve(base, end)
        self._report_paths(path.status)
        velocity = torch.as_tensor(path.initial_velocity, device=base.device)
        point, transport, status = self.exponential.transport(immersion, base, velocity)
        start_metric, end_metric = (
            local.evaluate(local.metric_matrix, immersion, rows) for rows in (base, end)
        )
        length = torch.as_tensor(path.length, device=base.device)
        missed = ~(_distance(end_metric, point - end) <= _MISS * length)
        rows = missed.nonzero()[:, 0]
        if len(rows):
            polished = self._solve(base[rows], end[rows], polish=True)
            velocity = torch.as_tensor(polished.initial_velocity, device=base.device)
            point[rows], transport[rows], status[rows] = self.exponential.transport(
                immersion, base[rows], velocity
            )
        missed = ~(_distance(end_metric, point - end) <= self.solver.rtol * length)
        status[missed & (status == 0)] = ExponentialStatus.MISSED
        return nearest_isometry(transport, start_metric, end_metric), status

    @torch.no_grad()
    def injectivity_radius(self, base_point, *, n_directions=None, max_radius=None):
        """Estimate the radius up to which `exp` is one to one, from geodesics in some directions.

        Parameters
        ----------
        base_point : array-like, shape=[..., dim]
            Points in latent space.
        n_directions : int, optional
            Geodesics followed from each point, equally spaced or random; by default 16, or 4 dim
            if that is more.
        max_radius : float, optional
            Radius up to which cut points are looked for. By default the largest distance to one
            of the codes on the graph; without codes, 64 times the norm of a unit step in latent
            space.

        Returns
        -------
        radius : array-like, shape=[...]
            Estimates; infinity where every geodesic followed is shortest up to the largest radius,
            NaN where the metric is singular.

        Raises
        ------
        ValueError
            If n_directions or max_radius is not positive.

        Notes
        -----
        The radius is where the first of the geodesics meets a cut point: where a curve of the same
        ends is found that is shorter, or where it cannot be followed farther. It is found to 1 %,
        down to 1/64 of the largest. An estimate and no bound: nearer cut points in directions
        between are missed, and those whose shorter curve the solver does not find. A bound would
        ask for curvatures everywhere.
        """
        for name, value in (("n_directions", n_directions), ("max_radius", max_radius)):
            if value is not None and not value > 0:
                raise ValueError(f"Expected {name} > 0, got {value}.")
        (z,), origin = self._enter(points=base_point)
        immersion = self._immersion(z)
        metric = local.evaluate(local.metric_matrix, immersion, z)
        if max_radius is not None:
            largest = z.new_full((len(z),), max_radius)
        else:
            largest = self._reach(z, metric)

        exponential = replace(self.exponential, rtol=_RAY_RTOL, max_steps=_RAY_STEPS)
        loose = copy.copy(self)
        loose.solver = replace(self.solver, tol=max(self.solver.tol, _RAY_TOL))

        def follow(base, velocity, times):
            return exponential.solve_dense(immersion, base, velocity, times)[0]

        def dist(start, end):
            return solve_ends(loose._solve, start, end).length

        unit = directions(self._space.dim, n_directions)
        return origin.give(cut_distances(follow, dist, metric, z, unit, largest))

    def _reach(self, z, metric):
        """Radii within which all data lie, or some for lack of data."""
        landscape = self._start_landscape()
        if landscape is None or not len(z):
            squares = metric.diagonal(dim1=1, dim2=2).mean(dim=1)
            return _FAR * squares.sqrt()
        codes = torch.as_tensor(self.points).to(z)
        start = z.repeat_interleave(len(codes), dim=0)
        lengths = graph_lengths(landscape, start, codes.repeat(len(z), 1)).reshape(len(z), -1)
        largest = np.where(np.isfinite(lengths), lengths, 0.0).max(axis=1)
        return torch.as_tensor(largest).to(z)

    def normalization_factor(self, variances, base_point=None):
        r"""Normalise isotropic normal laws, for `geomstats.learning.expectation_maximization`.

        Parameters
        ----------
        variances : array-like, shape=[n_variances]
            Standard deviations sigma, in units of distance; geomstats calls them variances.
        base_point : array-like, shape=[dim], optional
            Mean of the laws. By default the medoid of the codes, in distances on the graph; without
            codes, the origin.

        Returns
        -------
        factor : array-like, shape=[n_variances]
            :math:`\zeta(\sigma) = \int \exp(-d(m, x)^2 / (2 \sigma^2)) dx`, over the
            Riemannian volume.

        Raises
        ------
        ValueError
            If sigma is not positive and finite, or the metric is singular at the mean.

        Notes
        -----
        geomstats asks for one factor at all means, as is right on homogeneous spaces. On others it
        depends on the mean, and `LAND` is the mixture that takes this into account.
        """
        return self._isotropic(variances, base_point)[0]

    def norm_factor_gradient(self, variances, base_point=None):
        r"""Differentiate the logarithm of `normalization_factor`.

        Parameters
        ----------
        variances : array-like, shape=[n_variances]
            Standard deviations sigma, in units of distance.
        base_point : array-like, shape=[dim], optional
            Mean of the laws, as of `normalization_factor`.

        Returns
        -------
        factor : array-like, shape=[n_variances]
            :math:`\zeta(\sigma)`.
        gradient : array-like, shape=[n_variances]
            :math:`d \log \zeta / d \sigma = E[d(m, x)^2] / \sigma^3`.
        """
        return self._isotropic(variances, base_point)

    @torch.no_grad()
    def _isotropic(self, variances, base_point):
        from geomstats_vae.estimators.isotropic import RayStatus, isotropic_moments

        sigma = to_host(to_tensor(variances, "variances"))
        if sigma.ndim != 1 or not (np.isfinite(sigma) & (sigma > 0.0)).all():
            raise ValueError(
                "Expected positive and finite variances of shape [n_variances], got "
                f"{sigma if sigma.ndim == 1 else list(sigma.shape)}."
            )
        base = self._medoid() if base_point is None else base_point
        (base,), origin = self._enter(points=base)
        key = sigma.tobytes(), to_host(base).tobytes()
        if self._last_laws is None or self._last_laws[0] != key:  # geomstats asks for both in turn
            space = copy.copy(self._space)
            space.metric = self  # which may be part of a scaled one
            self._last_laws = key, isotropic_moments(space, to_host(base)[0], sigma)
        factor, square, status = self._last_laws[1]
        failures.report(self.on_failure, status, RayStatus, "rays")
        origin = replace(origin, batch_shape=sigma.shape, requires_grad=False)
        return origin.give(factor), origin.give(square / sigma**3)

    def _medoid(self):
        """Code of least total distance to others on the graph, or the origin without codes."""
        landscape = self._start_landscape()
        if landscape is None:
            return np.zeros(self._space.dim)
        chosen = np.linspace(0, len(self.points) - 1, min(_MEDOID_CODES, len(self.points)))
        codes = torch.as_tensor(self.points[chosen.astype(int)])
        n = len(codes)
        lengths = graph_lengths(landscape, codes.repeat_interleave(n, 0), codes.repeat(n, 1))
        return codes[int(np.argmin(lengths.reshape(n, n).sum(axis=1)))].numpy()

    # -- distances -----------------------------------------------------------------------------

    def _lengths(self, start, end, origin, *, method="exact", squared=False, **options):
        """Lengths of geodesics between rows, shape=[n_pairs]."""
        if method not in METHODS:
            raise ValueError(
                f"Expected method to be one of {', '.join(map(repr, METHODS))}, got {method!r}."
            )
        with torch.no_grad():
            landscape = self._start_landscape()  # once, and not in every worker
        if method == "graph":
            return self._graph_lengths(landscape, start, end, options)
        ends = solve_ends(self._solve, start, end, **options)
        self._report_paths(ends.status)
        if origin.requires_grad:
            return gradients.differentiable_length(
                self._immersion(start), start, end, ends, squared=squared
            )
        length = torch.as_tensor(ends.length, device=start.device)
        return length**2 if squared else length

    @torch.no_grad()
    def _graph_lengths(self, landscape, start, end, options):
        if landscape is None:
            raise ValueError(
                "Expected latent codes for method='graph', got a metric without points; pass the "
                "codes of the data as points, or method='exact'."
            )
        length = graph_lengths(landscape, start, end, **options)
        lost = np.where(np.isfinite(length), GeodesicStatus.CONVERGED, GeodesicStatus.NON_FINITE)
        self._report_paths(lost)
        return torch.as_tensor(length, device=start.device)

    def dist(self, point_a, point_b):
        """Geodesic distance: the length of the curve, not the norm of its logarithm.

        Parameters
        ----------
        point_a, point_b : array-like, shape=[..., dim]
            Points in latent space.

        Returns
        -------
        dist : array-like, shape=[...]
            Distances, in the units of the data.
        """
        (a, b), origin = self._enter(points=point_a, other_points=point_b)
        return origin.give(self._lengths(a, b, origin))

    def squared_dist(self, point_a, point_b):
        """Squared geodesic distance.

        Parameters
        ----------
        point_a, point_b : array-like, shape=[..., dim]
            Points in latent space.

        Returns
        -------
        squared_dist : array-like, shape=[...]
            Squared distances; differentiable also where the points coincide.
        """
        (a, b), origin = self._enter(points=point_a, other_points=point_b)
        return origin.give(self._lengths(a, b, origin, squared=True))

    def dist_pairwise(self, points, n_jobs=1, *, method="exact", verbose=False, **joblib_kwargs):
        """Distances between all pairs of points, each pair solved once.

        Parameters
        ----------
        points : array-like, shape=[n_points, dim]
            Points in latent space.
        n_jobs : int, optional
            Blocks of pairs solved at a time, as joblib understands it; 1 works in this process.
        method : str, {'exact', 'graph'}
            Solve for geodesics, or take the shortest ways on the graph of global starts, or
            straight lines where they are shorter; the metric must have points. See the notes.
        verbose : bool
            Show a progress bar.
        **joblib_kwargs : dict
            Further arguments of `joblib.Parallel`.

        Returns
        -------
        dist : array-like, shape=[n_points, n_points]
            Symmetric matrix of distances.

        Raises
        ------
        ValueError
            If points are no rows, method is neither, or there is no graph.

        Notes
        -----
        How far graph distances are from exact ones, measured on random pairs of the 1,797 digits
        of 8 x 8 pixels: 0.5 % in the median and 1.4 % at the 90th percentile in two latent
        dimensions; 6.0 % and 11 % in four and 8.2 % and 14 % in eight, all too large. In more than
        three dimensions the graph joins the codes themselves, and ways go from code to code. Graph
        distances are not differentiable.
        """
        (z,), origin = self._enter(points=points)
        if len(origin.batch_shape) != 1:
            raise ValueError(
                f"Expected points of shape [n_points, {self._space.dim}], got "
                f"{[*origin.batch_shape, self._space.dim]}; pass one row per point."
            )
        rows, columns = torch.triu_indices(len(z), len(z), 1, device=z.device)
        lengths = self._lengths(
            z[rows],
            z[columns],
            origin,
            method=method,
            n_jobs=n_jobs,
            verbose=verbose,
            **joblib_kwargs,
        )
        upper = z.new_zeros(len(z), len(z)).index_put((rows, columns), lengths)
        return origin.give(upper + upper.T)

    def dist_broadcast(
        self, point_a, point_b, n_jobs=1, *, method="exact", verbose=False, **joblib_kwargs
    ):
        """Distances between points of the same index, or all pairs if the numbers differ.

        Parameters
        ----------
        point_a : array-like, shape=[n_points_a, dim] or [dim]
            Points in latent space.
        point_b : array-like, shape=[n_points_b, dim] or [dim]
            Points in latent space.
        n_jobs : int, optional
            Blocks of pairs solved at a time, as of `dist_pairwise`.
        method : str, {'exact', 'graph'}
            As of `dist_pairwise`.
        verbose : bool
            Show a progress bar.
        **joblib_kwargs : dict
            Further arguments of `joblib.Parallel`.

        Returns
        -------
        dist : array-like, shape=[n_points] or [n_points_a, n_points_b]
            Distances.
        """
        a, b = to_tensor(point_a, "points"), to_tensor(point_b, "other_points")
        if a.ndim == b.ndim == 2 and len(a) != len(b) and 1 not in (len(a), len(b)):
            a = a[:, None]
        (a, b), origin = self._enter(points=a, other_points=b)
        options = joblib_kwargs | {"method": method, "n_jobs": n_jobs, "verbose": verbose}
        return origin.give(self._lengths(a, b, origin, **options))

    def diameter(self, points):
        """Largest distance between two of some points.

        Parameters
        ----------
        points : array-like, shape=[n_points, dim]
            Points in latent space.

        Returns
        -------
        diameter : float
            Distance of the two that are farthest apart; zero of fewer than two points.
        """
        (z,), origin = self._enter(points=points)
        rows, columns = torch.triu_indices(len(z), len(z), 1, device=z.device)
        lengths = self._lengths(z[rows], z[columns], origin)
        largest = lengths.max() if len(lengths) else z.sum() * 0.0
        return replace(origin, batch_shape=()).give(largest[None])

    def closest_neighbor_index(self, point, neighbors):
        """Index of the closest neighbor of each point.

        Parameters
        ----------
        point : array-like, shape=[..., dim]
            Points in latent space.
        neighbors : array-like, shape=[n_neighbors, dim]
            Points to choose from.

        Returns
        -------
        index : array-like of int, shape=[...]
            Rows of neighbors.

        Raises
        ------
        ValueError
            If there are no neighbors.
        """
        point, neighbors = to_tensor(point, "points"), to_tensor(neighbors, "neighbors")
        if neighbors.ndim != 2 or len(neighbors) == 0:
            raise ValueError(
                f"Expected neighbors of shape [n_neighbors > 0, {self._space.dim}], got "
                f"{list(neighbors.shape)}; pass one row per neighbor."
            )
        dist = self.dist(point.detach()[..., None, :], neighbors.detach())
        return gs.argmin(dist, axis=-1)


def _distance(metric, vector):
    """Norms of vectors, shape=[n]."""
    return (vector[:, None, :] @ metric @ vector[:, :, None])[:, 0, 0].clamp_min(0.0).sqrt()


def _times(t):
    times = to_tensor(t, "times").detach()
    if times.ndim > 1:
        raise ValueError(
            f"Expected times of shape [n_times] or one time, got {list(times.shape)}; "
            "pass the same times for the whole batch."
        )
    return times.reshape(-1)


def _check_codes(points, dim):
    (codes,), origin = enter(dim, points=points)
    if len(origin.batch_shape) != 1 or len(codes) == 0:
        raise ValueError(
            f"Expected latent codes of shape [n_points > 0, {dim}] as points, got "
            f"{[*origin.batch_shape, dim]}; pass the codes of the data, or None."
        )
    return to_host(codes)
