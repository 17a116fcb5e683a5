"""Geodesics as functions of time, as geomstats' ``geodesic`` returns them; they can be pickled."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from geomstats_vae.geodesics import GeodesicPath
from geomstats_vae.geodesics.flow.exponential import ExponentialStatus
from geomstats_vae.manifolds import failures
from geomstats_vae.manifolds.arrays import Array, Origin, to_backend, to_host
from geomstats_vae.manifolds.gradients import linearised


class GeodesicBetween:
    """Geodesics between points that were solved for, as a function of time.

    Parameters
    ----------
    path : GeodesicPath
        Geodesics, in rows of numpy.
    origin : Origin
        Hands results out.
    """

    def __init__(self, path: GeodesicPath, origin: Origin) -> None:
        self._dtype = origin.dtype
        # In float64, whatever the type of the results: times in half precision are too coarse.
        wide = replace(origin, dtype=torch.float64, requires_grad=False)
        self._path = replace(path, curves=None).map(wide.give)

    def __call__(self, t: Array) -> Array:
        """Points at times in [0, 1], shape=[..., n_times, dim]; see `GeodesicPath`."""
        return self._given(self._path(to_backend(t, "times")))

    def velocity(self, t: Array) -> Array:
        """Velocities at times, shape=[..., n_times, dim]; see `GeodesicPath.velocity`."""
        return self._given(self._path.velocity(to_backend(t, "times")))

    def _given(self, values: Array) -> Array:
        return values.to(self._dtype) if isinstance(values, torch.Tensor) else values


class GeodesicFrom:
    """Geodesics from points along velocities, as a function of time.

    Parameters
    ----------
    geometry : DecoderGeometry
        Follows geodesics.
    base, velocity : numpy.ndarray, shape=[n, dim]
        Points and velocities at time 0.
    origin : Origin
        Hands results out.
    on_failure : str
        Policy; see `failures.report`.
    """

    def __init__(
        self, geometry: Any, base: Any, velocity: Any, origin: Origin, on_failure: str
    ) -> None:
        self._geometry, self._base, self._velocity = geometry, base, velocity
        self._origin, self._on_failure = replace(origin, requires_grad=False), on_failure

    def __call__(self, t: Array) -> Array:
        """Find points at any times, also negative ones and those beyond 1.

        Parameters
        ----------
        t : array-like, shape=[n_times] or [..., n_times], or float
            Times: the same for all geodesics, or for each its own.

        Returns
        -------
        points : array-like, shape=[..., n_times, dim]
            Points; after a failure the last ones that were reached. Under pytorch they are
            differentiable in the times.
        """
        t = to_backend(t, "times")
        times = self._times(t)
        with self._origin.recording():
            points, status = self._points(t, times)
        self._report(status)
        if not (isinstance(t, torch.Tensor) and t.requires_grad and torch.is_grad_enabled()):
            return self._origin.give(points)
        slopes = torch.as_tensor(self._velocities(times)).reshape(-1, points.shape[-1], 1)
        shape = (*self._origin.batch_shape, times.shape[1])
        asked = t.cpu().double().expand(shape).reshape(-1, 1)
        value = torch.as_tensor(points).reshape(-1, points.shape[-1])
        recorded = linearised(value, [slopes], [asked]).reshape(points.shape)
        return replace(self._origin, requires_grad=True).give(recorded)

    def _points(self, t: Array, times: Any) -> tuple[Any, Any]:
        if t.ndim <= 1:
            same = to_host(t).reshape(-1)
            return self._geometry.follow_dense(self._base, self._velocity, same)
        points, status = self._geometry.follow(*self._stretches(times))
        return points.reshape(*times.shape, -1), status

    def velocity(self, t: Array) -> Array:
        """Find velocities at any times: the initial ones, transported parallel to themselves.

        Parameters
        ----------
        t : array-like, shape=[n_times] or [..., n_times], or float
            Times, as of a call.

        Returns
        -------
        velocity : array-like, shape=[..., n_times, dim]
            Velocities, of the norm of the initial ones.
        """
        return self._origin.give(self._velocities(self._times(to_backend(t, "times"))))

    def _velocities(self, times: Any) -> Any:
        base, stretch = self._stretches(times)
        with self._origin.recording():
            transport, status = self._geometry.transports(base, stretch)
        self._report(status)
        velocity = np.repeat(self._velocity, times.shape[1], axis=0)
        return np.einsum("nij,nj->ni", transport, velocity).reshape(*times.shape, -1)

    def _stretches(self, times: Any) -> tuple[Any, Any]:
        """Repeat geodesics, one for each of their times, which they take unit time to reach."""
        base = np.repeat(self._base, times.shape[1], axis=0)
        return base, (times[:, :, None] * self._velocity[:, None]).reshape(base.shape)

    def _times(self, t: Array) -> Any:
        """Give each geodesic its times, shape=[n, n_times]."""
        times, batch = np.atleast_1d(to_host(t)), self._origin.batch_shape
        if not np.isfinite(times).all():
            raise ValueError("Expected finite times, got NaN or infinity; remove them.")
        try:
            times = np.broadcast_to(times, (*batch, times.shape[-1]))
        except ValueError as error:
            shape = "".join(f"{n}, " for n in batch)
            raise ValueError(
                f"Expected times of shape [n_times] or [{shape}n_times], got {list(times.shape)}; "
                "pass the same times for all geodesics, or a row for each."
            ) from error
        return times.reshape(len(self._base), times.shape[-1])

    def _report(self, status: Any) -> None:
        if status.any():
            failures.report(self._on_failure, status, ExponentialStatus, "exponentials")
