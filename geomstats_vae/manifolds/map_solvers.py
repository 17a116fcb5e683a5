"""Exponential map and logarithm of a decoder's metric, as geomstats swaps them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from geomstats.numerics.geodesic import ExpSolver, LogSolver

from geomstats_vae.geodesics import GeodesicPath, GeodesicStatus
from geomstats_vae.geodesics.flow.exponential import ExponentialStatus
from geomstats_vae.geodesics.polish import QUICK_POLISH, PolishOptions, PolishStatus
from geomstats_vae.manifolds import failures
from geomstats_vae.manifolds.arrays import Array, enter, enter_tensors, to_host
from geomstats_vae.manifolds.functions import GeodesicBetween, GeodesicFrom
from geomstats_vae.manifolds.gradients import differentiable_exp, differentiable_log


class DecoderExpSolver(ExpSolver):
    """Exponential map of a decoder's metric, by its ``exponential``.

    Parameters
    ----------
    metric : PullbackDecoderMetric
        The metric.

    Notes
    -----
    Kinks of the decoder, such as ReLUs, are rounded at the ``kink_width`` of its geometry.
    """

    def __init__(self, metric: Any) -> None:
        super().__init__(solves_ivp=True)
        self.metric = metric

    def exp(self, tangent_vec: Array, base_point: Array) -> Array:
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
        geometry = self.metric.geometry
        arrays = {"tangent_vectors": tangent_vec, "base_points": base_point}
        (vector, base), origin = enter(geometry.dim, **arrays)
        if not origin.requires_grad:
            with origin.recording():
                point, status = geometry.follow(base, vector)
        else:
            (v, z), _ = enter_tensors(geometry.dim, geometry.decoder.device, **arrays)
            immersion = geometry.smooth_immersion(z.device)
            point, status = differentiable_exp(geometry.exponential, immersion, z, v)
        _report(self.metric, status, ExponentialStatus, "exponentials")
        return origin.give(point)

    def geodesic_ivp(self, tangent_vec: Array, base_point: Array) -> GeodesicFrom:
        """Geodesics by their initial points and velocities.

        Parameters
        ----------
        tangent_vec : array-like, shape=[..., dim]
            Initial velocities, in latent coordinates.
        base_point : array-like, shape=[..., dim]
            Initial points in latent space.

        Returns
        -------
        path : GeodesicFrom
            Callable that maps times, shape=[n_times] or [..., n_times] or a float, to points,
            shape=[..., n_times, dim]; negative times, and times beyond 1, go on along the
            geodesic. It can be pickled, and has ``velocity(t)``.
        """
        geometry = self.metric.geometry
        (base, vector), origin = enter(
            geometry.dim, initial_points=base_point, tangent_vectors=tangent_vec
        )
        return GeodesicFrom(geometry, base, vector, origin, self.metric.on_failure)


class DecoderLogSolver(LogSolver):
    """Logarithm of a decoder's metric, by its ``solver``.

    Parameters
    ----------
    metric : PullbackDecoderMetric
        The metric.
    keeps_guess : bool
        Start from the curves of the last call if it was for the same end points; see
        `PullbackDecoderMetric.warm_start`.

    Attributes
    ----------
    guess : GeodesicPath or None
        Curves of the last call, if they are kept.
    """

    def __init__(self, metric: Any, *, keeps_guess: bool = False) -> None:
        super().__init__(solves_bvp=True)
        self.metric, self.keeps_guess = metric, keeps_guess
        self.guess: GeodesicPath | None = None
        self._ends: tuple[Any, Any] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"guess": None, "_ends": None}

    def log(self, point: Array, base_point: Array, *, polish: bool = False) -> Array:
        """Riemannian logarithm; see `PullbackDecoderMetric.log`."""
        geometry = self.metric.geometry
        arrays = {"points": point, "base_points": base_point}
        (end, base), origin = enter(geometry.dim, **arrays)
        self.metric._warn_far(base, end)
        with origin.recording():
            path = self._solve(base, end, polish=polish)
        _report(self.metric, path.status, GeodesicStatus, "geodesics")
        if polish:
            rough = path.converged & np.isnan(path.velocity_error)
            _report(self.metric, rough, PolishStatus, "polished logarithms")
        if not origin.requires_grad:
            return origin.give(path.initial_velocity)
        (y, x), _ = enter_tensors(geometry.dim, geometry.decoder.device, **arrays)
        velocity = torch.as_tensor(path.initial_velocity, device=x.device)
        immersion = geometry.smooth_immersion(x.device)
        return origin.give(differentiable_log(geometry.exponential, immersion, y, x, velocity))

    @property
    def _quick_polish(self) -> bool | PolishOptions:
        """What logarithms cost a third more for, so that exponentials invert them."""
        geometry = self.metric.geometry
        exact = getattr(geometry.solver, "exact_velocities", None)
        return QUICK_POLISH if exact is not None and exact(geometry.immersion()) else False

    def _solve(self, start: Any, end: Any, *, polish: bool) -> GeodesicPath:
        geometry = self.metric.geometry
        if not self.keeps_guess:
            return geometry.paths(start, end, polish=polish or self._quick_polish)
        guess = self.guess
        if self._ends is None or not np.array_equal(self._ends[1], end):
            guess = None
        elif np.array_equal(self._ends[0], start) and not polish:
            return self.guess  # type: ignore[return-value]
        path = geometry.paths(start, end, guess=guess, polish=polish)
        self.guess, self._ends = path, (start, end)
        return path

    def geodesic_bvp(self, point: Array, base_point: Array) -> GeodesicBetween:
        """Geodesics by their end points, all solved for at once.

        Parameters
        ----------
        point : array-like, shape=[..., dim]
            End points.
        base_point : array-like, shape=[..., dim]
            Initial points.

        Returns
        -------
        path : GeodesicBetween
            Callable that maps times in [0, 1], shape=[n_times] or [..., n_times] or a float, to
            points, shape=[..., n_times, dim]. It can be pickled, and has ``velocity(t)``.
        """
        geometry = self.metric.geometry
        (start, end), origin = enter(geometry.dim, initial_points=base_point, end_points=point)
        with origin.recording():
            solved = geometry.paths(start, end)
        _report(self.metric, solved.status, GeodesicStatus, "geodesics")
        return GeodesicBetween(solved, origin)


def _report(metric: Any, status: Any, kind: Any, what: str) -> None:
    if bool(status.any()):
        failures.report(metric.on_failure, to_host(status).astype(int), kind, what)
