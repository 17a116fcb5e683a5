r"""Geodesics of a decoder's metric with the change of volume along them.

In normal coordinates w at the base point the Riemannian volume is J(w) dw, with
:math:`J = \sqrt{\det M(Exp\,v)} |\det D_v Exp| / \sqrt{\det M}` at the base point: 1 in the plane,
:math:`(\sin r / r)^{dim - 1}` on the unit sphere. D_v Exp comes from the Jacobi fields along the
ray, which one integration gives at every radius.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from geomstats_vae.geodesics.deadline import NO_LIMIT, Deadline
from geomstats_vae.geodesics.flow.dense import Samples, cubic_states
from geomstats_vae.geodesics.flow.exponential import ExponentialSolver
from geomstats_vae.geodesics.flow.jacobi import JacobiSystem
from geomstats_vae.geodesics.flow.systems import christoffel
from geomstats_vae.geometry import local
from geomstats_vae.geometry.exponentials import limited
from geomstats_vae.geometry.protocol import Bools, Floats, Ints
from geomstats_vae.geometry.rows import host
from geomstats_vae.geometry.time_limit import check_time
from geomstats_vae.immersions import Immersion

# Far more exact than the quadratures that rays serve. A ray that takes more steps for a stretch is
# on its way out of the data.
RAY_EXPONENTIAL = ExponentialSolver(rtol=1e-6, atol=1e-9, max_steps=200)


def ray_solver(geometry: Any) -> ExponentialSolver:
    """Choose the solver of a geometry's rays, within the time that it gives to exponentials.

    Parameters
    ----------
    geometry : DecoderGeometry
        Geometry of a latent space.

    Returns
    -------
    exponential : ExponentialSolver
        Its ``ray_exponential``. Each stretch of the rays has a limit of time of its own.
    """
    limits = geometry.ray_exponential.max_seconds, geometry.exponential.max_seconds
    seconds = min((limit for limit in limits if limit is not None), default=None)
    return replace(geometry.ray_exponential, max_seconds=seconds)


class DecoderRays:
    """Rays by the geodesic and Jacobi equations, a stretch of unit time after the other.

    Parameters
    ----------
    immersion : Immersion
        The decoder's F.
    exponential : ExponentialSolver
        Integrates the equations.
    base, velocity : numpy.ndarray, shape=[n_rays, dim]
        Initial points and velocities.
    deadline : Deadline
        When `advance` ends with `OutOfTimeError`.
    """

    def __init__(
        self,
        immersion: Immersion,
        exponential: ExponentialSolver,
        base: Floats,
        velocity: Floats,
        deadline: Deadline = NO_LIMIT,
    ) -> None:
        self._immersion, self._exponential = immersion, exponential
        self._deadline = deadline
        self._system = JacobiSystem(immersion, exponential.chunk_size)
        start, vector = (_tensor(immersion, rows) for rows in (base, velocity))
        # Not every decoder takes an empty batch.
        empty = start.new_zeros(0, self._system.width)
        self._state = self._system.start(start, vector) if len(start) else empty
        self._density = _density(immersion, start)
        self._time = 0.0

    def advance(self, n_times: int) -> tuple[Floats, Floats, Bools]:
        """Follow all rays for a unit of time; see `Rays.advance`."""
        state = self._state
        times = torch.arange(1, n_times + 1, device=state.device, dtype=state.dtype) / n_times
        states = state.new_full((len(state), n_times, state.shape[1]), torch.nan)
        columns = torch.arange(n_times, device=state.device)
        record = Samples(states, columns, times, cubic_states)
        exponential = limited(self._exponential, self._deadline)
        self._state, code, _ = exponential.integrate(self._system, state, record)
        check_time(self._deadline)
        points, jacobian = self._read(states, self._time + times)
        self._time += 1.0
        volume = _volume(self._immersion, points, jacobian, self._density)
        missed = ~(points.isfinite().all(dim=2) & volume.isfinite()).all(dim=1)
        failed = (code != 0) | missed
        return host(points), host(volume), failed.cpu().numpy()

    def take_over(
        self,
        point: Floats,
        velocity: Floats,
        fields: Floats,
        rates: Floats,
        density: Floats,
        time: float,
    ) -> None:
        """Go on with more rays, which were followed up to now by other means.

        Parameters
        ----------
        point, velocity : numpy.ndarray, shape=[n, dim]
            Points now, and velocities there.
        fields, rates : numpy.ndarray, shape=[n, dim, 2 dim]
            Derivatives of the points by the initial velocities and points, and their derivatives by
            time, in coordinates.
        density : numpy.ndarray, shape=[n]
            Volume densities at the base points.
        time : float
            Time that all rays have been followed for.
        """
        self._time = time
        if not len(point):
            return
        arrays = point, velocity, fields, rates
        z, v, field, rate = (_tensor(self._immersion, part) for part in arrays)
        # The system asks for covariant derivatives.
        pairs = zip(z.split(local.CHUNK_SIZE), v.split(local.CHUNK_SIZE), strict=True)
        with torch.enable_grad():
            parts = [christoffel(self._immersion.jet(*pair))[0].detach() for pair in pairs]
        gamma = torch.cat(parts)
        state = torch.cat((z, v, field.flatten(1), (rate + gamma @ field).flatten(1)), dim=1)
        self._state = torch.cat((self._state, state))
        self._density = torch.cat((self._density, _tensor(self._immersion, density)))

    def _read(self, states: torch.Tensor, times: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Points, and D_v Exp, shape=[n, n_times, dim, dim]."""
        n, n_times, width = states.shape
        dim = self._system.dim
        fields = self._system.fields(states.reshape(-1, width))[:, :, :dim]
        # The field that starts with rate 1 is t D_v Exp at time t.
        jacobian = fields.reshape(n, n_times, dim, dim) / times[:, None, None]
        return states[:, :, :dim], jacobian

    def keep(self, which: Bools | Ints) -> None:
        """Go on with some of the rays, shape=[n_rays], or in another order."""
        rows = torch.as_tensor(which, device=self._state.device)
        self._state, self._density = self._state[rows], self._density[rows]


def volume_changes(
    immersion: Immersion,
    exponential: ExponentialSolver,
    base: Floats,
    velocity: Floats,
    deadline: Deadline = NO_LIMIT,
) -> tuple[Floats, Floats]:
    """Follow geodesics, and measure the change of volume there; see `Geometry.volume_changes`.

    Parameters
    ----------
    immersion : Immersion
        The decoder's F.
    exponential : ExponentialSolver
        Integrates the geodesic and Jacobi equations.
    base, velocity : numpy.ndarray, shape=[n, dim]
        Initial points and velocities.
    deadline : Deadline
        When there must be an answer.

    Returns
    -------
    points : numpy.ndarray, shape=[n, dim]
        Ends; NaN where the geodesic cannot be followed.
    volume : numpy.ndarray, shape=[n]
        Change of volume, not negative.

    Raises
    ------
    OutOfTimeError
        If the deadline passes.
    """
    start, vector = (_tensor(immersion, rows) for rows in (base, velocity))
    limit = limited(exponential, deadline)
    end, by_vector, _, status = limit.differential(immersion, start, vector)
    check_time(deadline)
    points = torch.where((status == 0)[:, None], end, torch.nan)
    density = _density(immersion, start)
    volume = _volume(immersion, points[:, None], by_vector[:, None], density)
    return host(points), np.abs(host(volume)[:, 0])


def volume_densities_of(immersion: Immersion, points: Floats) -> Floats:
    """Volume densities at points, shape=[n_points]."""
    return host(_density(immersion, _tensor(immersion, points)))


def _tensor(immersion: Immersion, rows: Floats) -> torch.Tensor:
    return torch.as_tensor(rows, dtype=immersion.dtype, device=immersion.device)


def _density(immersion: Immersion, points: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return local.evaluate(local.volume_density, immersion, points)


def _volume(
    immersion: Immersion, points: torch.Tensor, jacobian: torch.Tensor, density: torch.Tensor
) -> torch.Tensor:
    """J with the sign of det D_v Exp, shape=[n_rays, n_times]; NaN where no point was reached."""
    volume = points.new_full(points.shape[:2], torch.nan)
    reached = points.isfinite().all(dim=2)
    if reached.any():
        there = _density(immersion, points[reached]) * torch.linalg.det(jacobian[reached])
        volume[reached] = there / density[:, None].expand_as(volume)[reached]
    return volume
