"""Geodesics of a decoder's metric, by their ends or their velocities, and transport along them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from geomstats_vae.geodesics.curves.path import GeodesicStatus
from geomstats_vae.geodesics.exponential import ExponentialSolver, ExponentialStatus
from geomstats_vae.geodesics.graph.latent_graph import LatentGraph
from geomstats_vae.geodesics.polish import PolishStatus, polish_velocities
from geomstats_vae.geodesics.solver import GeodesicSolver
from geomstats_vae.geodesics.stability import local_minima
from geomstats_vae.geodesics.transport import nearest_isometry
from geomstats_vae.geometry import gradients, local
from geomstats_vae.manifolds import failures
from geomstats_vae.manifolds.arrays import enter, to_host, to_tensor
from geomstats_vae.manifolds.decoder_solvers import DecoderExpSolver, DecoderLogSolver
from geomstats_vae.manifolds.pointwise import PointwiseMetric

# Share of a geodesic's length by which its end may be missed before its velocity is polished, at
# least; an exponential that is less exact may miss it by more.
_MISS = 1e-8


class GeodesicMetric(PointwiseMetric):
    """Geodesics of the metric that a decoder induces.

    Parameters
    ----------
    space : Manifold
        Latent space.
    decoder : callable
        Decoder; see `PullbackDecoderMetric`.
    output : callable, optional
        Reads what the decoder returns.
    points : array-like, shape=[n_points, dim], optional
        Latent codes of the data, for global starts.
    solver : GeodesicSolver, optional
        Solves for geodesics between points.
    exponential : ExponentialSolver, optional
        Follows geodesics from a point along a velocity.
    on_failure : str, {'warn', 'raise', 'ignore'}
        What to do if some items of a call did not converge.
    """

    def __init__(
        self, space, decoder, *, output=None, points=None, solver=None, exponential=None, on_failure
    ):
        super().__init__(space, decoder, output=output)
        failures.check_policy(on_failure)
        self.points = None if points is None else _check_codes(points, space.dim)
        self.solver = GeodesicSolver() if solver is None else solver
        self.exponential = ExponentialSolver() if exponential is None else exponential
        self.on_failure = on_failure
        self._exp_solver, self._log_solver = None, None
        self._landscape, self._last_logs = None, None

    def __getstate__(self):
        """State without the geodesics of the last logarithms, which are of use to nobody else."""
        return self.__dict__ | {"_last_logs": None}

    @property
    def exp_solver(self):
        """What `exp` and `geodesic` follow geodesics with: ``exponential``, or one assigned."""
        return DecoderExpSolver(self) if self._exp_solver is None else self._exp_solver

    @exp_solver.setter
    def exp_solver(self, exp_solver):
        self._exp_solver = exp_solver

    @property
    def log_solver(self):
        """What `log` and `geodesic` find geodesics with: ``solver``, or one assigned."""
        return DecoderLogSolver(self) if self._log_solver is None else self._log_solver

    @log_solver.setter
    def log_solver(self, log_solver):
        self._log_solver = log_solver

    def _start_landscape(self):
        """Graph for global starts, built when first needed; None without points."""
        if self._landscape is None and self.points is not None:
            self._landscape = LatentGraph(self.decoder.immersion(), self.points)
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
        before = None if last is None else last.curves
        if before is None or not np.array_equal(before.end, end):
            last = None
        elif np.array_equal(before.start, start):
            return last
        self._last_logs = self.solver.solve(immersion, start, end, landscape, last)
        return self._last_logs

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
        than 1e-8 of its length, or ``exponential.rtol`` if that is more, is followed again from its
        polished logarithm; one that misses it by more than ``solver.rtol`` even so has failed.
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
        most = max(_MISS, self.exponential.rtol)
        missed = ~(_distance(end_metric, point - end) <= most * length)
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
