"""Parallel transport along the geodesics between points."""

from __future__ import annotations

from typing import Any

import torch

from geomstats_vae.geodesics.flow import ExponentialStatus
from geomstats_vae.geodesics.flow.transport import nearest_isometry
from geomstats_vae.geometry import local
from geomstats_vae.geometry.protocol import Floats, Ints
from geomstats_vae.geometry.rows import host

# Share of a geodesic's length by which its end may be missed before its velocity is polished, at
# least; an exponential that is less exact may miss it by more.
_MISS = 1e-8


def transports(geometry: Any, base: Floats, velocity: Floats) -> tuple[Floats, Ints]:
    """Transport along geodesics, for unit time.

    Parameters
    ----------
    geometry : DecoderGeometry
        Geometry of the latent space.
    base, velocity : numpy.ndarray, shape=[n, dim]
        Initial points and velocities.

    Returns
    -------
    transport : numpy.ndarray, shape=[n, dim, dim]
        Isometries from the tangent spaces at the starts to those at the ends, in latent
        coordinates; NaN where a metric is singular.
    status : numpy.ndarray of int, shape=[n]
        Codes of `ExponentialStatus`.

    Notes
    -----
    Kinks of the decoder, such as ReLUs, are rounded at the ``kink_width`` of the geometry.
    """
    immersion, start, vector = geometry.tensors(base, velocity)
    point, transport, status = geometry.exponential.transport(immersion, start, vector)
    metrics = (local.evaluate(local.metric_matrix, immersion, part) for part in (start, point))
    return host(nearest_isometry(transport, *metrics)), status.cpu().numpy()


def transports_between(geometry: Any, base: Floats, end: Floats) -> tuple[Floats, Ints, Ints]:
    """Transport along the geodesics that are found between points.

    Parameters
    ----------
    geometry : DecoderGeometry
        Geometry of the latent space.
    base, end : numpy.ndarray, shape=[n, dim]
        End points.

    Returns
    -------
    transport : numpy.ndarray, shape=[n, dim, dim]
        Isometries; see `DecoderGeometry.transports`.
    status : numpy.ndarray of int, shape=[n]
        Codes of `ExponentialStatus`.
    path_status : numpy.ndarray of int, shape=[n]
        Codes of `GeodesicStatus`.

    Notes
    -----
    A geodesic that misses its end by more than 1e-8 of its length, or the exponential's rtol if
    that is more, is followed again from its polished logarithm. One that misses it by more than
    the solver's rtol even so has failed. That is the rule on decoders with kinks: geodesics are
    followed where these are rounded at ``kink_width``, and found at other widths.
    """
    path = geometry.paths(base, end)
    immersion, start, target, velocity = geometry.tensors(base, end, path.initial_velocity)
    point, transport, status = geometry.exponential.transport(immersion, start, velocity)
    first, last = (local.evaluate(local.metric_matrix, immersion, part) for part in (start, target))
    length = torch.as_tensor(path.length).to(start)
    most = max(_MISS, geometry.exponential.rtol)
    rows = (~(_norms(last, point - target) <= most * length)).nonzero()[:, 0]
    if len(rows):
        chosen = rows.cpu().numpy()
        polished = geometry.paths(base[chosen], end[chosen], polish=True)
        velocity = torch.as_tensor(polished.initial_velocity).to(start)
        again = geometry.exponential.transport(immersion, start[rows], velocity)
        point[rows], transport[rows], status[rows] = again
    missed = ~(_norms(last, point - target) <= geometry.solver.rtol * length)
    status[missed & (status == 0)] = ExponentialStatus.MISSED
    return host(nearest_isometry(transport, first, last)), status.cpu().numpy(), path.status


def _norms(metric: torch.Tensor, vector: torch.Tensor) -> torch.Tensor:
    square = (vector[:, None, :] @ metric @ vector[:, :, None])[:, 0, 0]
    return square.clamp_min(0.0).sqrt()
