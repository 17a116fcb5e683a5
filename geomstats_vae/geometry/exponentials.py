"""Geodesics of a decoder's metric from points along velocities, on arrays."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from geomstats_vae.geodesics.deadline import Deadline
from geomstats_vae.geodesics.flow.exponential import ExponentialSolver
from geomstats_vae.geometry import local
from geomstats_vae.geometry.protocol import Floats, Ints
from geomstats_vae.geometry.rows import host
from geomstats_vae.geometry.time_limit import check_time, earlier
from geomstats_vae.immersions import Immersion


def follow(
    immersion: Immersion,
    exponential: ExponentialSolver,
    start: torch.Tensor,
    velocity: torch.Tensor,
    deadline: Deadline,
) -> tuple[Floats, Ints]:
    """Follow geodesics for unit time.

    Parameters
    ----------
    immersion : Immersion
        The decoder's F, smooth.
    exponential : ExponentialSolver
        Integrates the geodesic equation.
    start, velocity : torch.Tensor, shape=[n, dim]
        Initial points and velocities.
    deadline : Deadline
        When there must be an answer.

    Returns
    -------
    point : numpy.ndarray, shape=[n, dim]
        End points; after a failure the last point that was reached.
    status : numpy.ndarray of int, shape=[n]
        Codes of `ExponentialStatus`.

    Raises
    ------
    OutOfTimeError
        If the deadline passes.
    """
    immersion = immersion.condensed()
    if len(start) > exponential.chunk_size:
        size = max(exponential.chunk_size, local.chunk_size(immersion))
        exponential = replace(exponential, chunk_size=size)
    result = limited(exponential, deadline).solve(immersion, start, velocity)
    check_time(deadline)
    return host(result.point), result.status.cpu().numpy()


def follow_dense(
    immersion: Immersion,
    exponential: ExponentialSolver,
    start: torch.Tensor,
    velocity: torch.Tensor,
    times: Floats,
    deadline: Deadline,
) -> tuple[Floats, Ints]:
    """Evaluate geodesics at any times.

    Parameters
    ----------
    immersion : Immersion
        The decoder's F, smooth.
    exponential : ExponentialSolver
        Integrates the geodesic equation.
    start, velocity : torch.Tensor, shape=[n, dim]
        Points and velocities at time 0.
    times : numpy.ndarray, shape=[n_times]
        Times, also beyond 1 and negative.
    deadline : Deadline
        When there must be an answer.

    Returns
    -------
    points : numpy.ndarray, shape=[n, n_times, dim]
        Points; after a failure the last point that was reached.
    status : numpy.ndarray of int, shape=[n]
        Codes of `ExponentialStatus`.

    Raises
    ------
    OutOfTimeError
        If the deadline passes.
    """
    at = torch.as_tensor(np.asarray(times, dtype=float), device=immersion.device)
    points, status = limited(exponential, deadline).solve_dense(immersion, start, velocity, at)
    check_time(deadline)
    return host(points), status.cpu().numpy()


def limited(exponential: ExponentialSolver, deadline: Deadline) -> ExponentialSolver:
    """Give an exponential no more time than there is.

    Parameters
    ----------
    exponential : ExponentialSolver
        With a limit of its own, or none.
    deadline : Deadline
        When it must end.

    Returns
    -------
    exponential : ExponentialSolver
        One that differs in its limit only.
    """
    seconds = earlier(Deadline.after(exponential.max_seconds), deadline).remaining
    return exponential if seconds is None else replace(exponential, max_seconds=seconds)
