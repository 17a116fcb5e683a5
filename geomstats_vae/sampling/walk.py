"""Walks of many walkers at once: what they return, how they stop, and the loop over time."""

from __future__ import annotations

import abc
import sys
import warnings
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any

import numpy as np
import torch
from geomstats.geometry.base import VectorSpaceOpenSet
from sklearn.utils import check_random_state

from geomstats_vae.manifolds.arrays import enter, to_array
from geomstats_vae.manifolds.rows import decoder_metric
from geomstats_vae.sampling.coefficients import resolve_geometry


class WalkStatus(IntEnum):
    """How a walk ended; `message` says it in a sentence."""

    COMPLETED = 0
    ABSORBED = 1
    SINGULAR = 2
    NON_FINITE = 3
    LOST = 4
    OUTSIDE = 5

    @property
    def message(self):
        """One sentence."""
        return _MESSAGES[self]


_MESSAGES = {
    WalkStatus.COMPLETED: "The walker went on to the end.",
    WalkStatus.ABSORBED: "The walker met the edge of the domain, where it stays.",
    WalkStatus.SINGULAR: (
        "The walker came to a point where the metric is singular: far from the data a decoder may "
        "be constant; a domain keeps walkers away from there."
    ),
    WalkStatus.NON_FINITE: (
        "The walker, the decoder or the density left the floating-point range; take shorter steps."
    ),
    WalkStatus.LOST: "The geodesic of a step could not be followed to its end; take shorter steps.",
    WalkStatus.OUTSIDE: "A step ended outside the space; take shorter steps, or pass a domain.",
}


class RandomWalkWarning(UserWarning):
    """Some walkers stopped before the end; their paths stay at the last point reached."""


class RandomWalkError(RuntimeError):
    """Some walkers stopped before the end, and the metric's ``on_failure`` is 'raise'."""


@dataclass(frozen=True)
class RandomWalk:
    """Paths of walkers, and how they ended.

    Parameters
    ----------
    points : array-like, shape=[..., n_kept, dim]
        Paths, from the initial points on. A walker that stops stays where it is.
    times : array-like, shape=[n_kept]
        Times of the points, from 0 to the end.
    status : array-like of int, shape=[...]
        Codes of `WalkStatus`.
    stop_time : array-like, shape=[...]
        When each walker stopped; the end time if it did not.
    n_substeps : array-like of int, shape=[...]
        Number of moves of each walker, at least one in a step; evaluations of the metric.
    acceptance : array-like, shape=[...], or None
        Share of the moves that were accepted, of walks that are Metropolis-adjusted.
    """

    points: Any
    times: Any
    status: Any
    stop_time: Any
    n_substeps: Any
    acceptance: Any = None


class Walkers(abc.ABC):
    """Walkers under way.

    Parameters
    ----------
    geometry : DecoderGeometry or ArrayGeometry
        The metric.
    z : torch.Tensor, shape=[n_walkers, dim]
        Initial points.
    random_state : numpy.random.RandomState
        Source of the noise.
    """

    def __init__(self, geometry, z, random_state):
        self.geometry, self.random_state = geometry, random_state
        self.z = z.clone()
        self.status = torch.zeros(len(z), dtype=torch.long, device=z.device)
        self.n_substeps = torch.zeros_like(self.status)

    @abc.abstractmethod
    def advance(self, rows, step):
        """Move some walkers, none of which has stopped.

        Parameters
        ----------
        rows : torch.Tensor of int, shape=[n_rows]
            The walkers.
        step : float
            Time step.

        Returns
        -------
        done : torch.Tensor of int, shape=[n_done]
            Those of them whose time step is over.
        """

    @property
    def acceptance(self):
        """Share of accepted moves, shape=[n_walkers]; None where all are."""
        return None

    def noise(self, n):
        """Draw standard normal vectors, shape=[n, dim]."""
        draws = self.random_state.standard_normal((n, self.z.shape[1]))
        return torch.from_numpy(draws).to(self.z)

    def stop_irregular(self, rows, coefficients):
        """Stop walkers where the metric is not regular; return which go on, shape=[n_rows]."""
        regular = coefficients.regular
        stuck = rows[~regular]
        if len(stuck):
            finite = self.geometry.metric(self.z[stuck]).isfinite().all(2).all(1)
            self.status[stuck] = torch.where(finite, WalkStatus.SINGULAR, WalkStatus.NON_FINITE)
        return regular


class WalkSampler(abc.ABC):
    """Base of random walks on a space.

    Parameters
    ----------
    space : Manifold
        Equipped space in intrinsic coordinates.
    random_state : int, numpy.random.RandomState or None
        Seed of the noise.

    Raises
    ------
    ValueError
        If the space is not in intrinsic coordinates, or has no metric.
    """

    def __init__(self, space, random_state):
        if not hasattr(space, "metric"):
            raise ValueError(
                f"Expected a space with a metric, got {type(space).__name__} without one; "
                "call space.equip_with_metric first."
            )
        if tuple(space.shape) != (space.dim,):
            raise ValueError(
                f"Expected a space in intrinsic coordinates, points of shape [{space.dim}], got "
                f"{type(space).__name__} with points of shape {list(space.shape)}."
            )
        self.space, self.random_state = space, random_state

    @abc.abstractmethod
    def _walkers(self, geometry, z, random_state) -> Walkers:
        """Put walkers on their initial points."""

    def sample_path(self, end_time, n_steps, initial_point):
        """Sample paths.

        Parameters
        ----------
        end_time : float
            Time at which the paths end, in units of squared distance.
        n_steps : int
            Number of time steps.
        initial_point : array-like, shape=[..., dim]
            Points where walkers start, one for each walker.

        Returns
        -------
        path : array-like, shape=[..., n_steps + 1, dim]
            Points of the paths at equal times, the initial ones first. A walker that stops stays
            where it is; `sample_walk` says which did, and why.

        Raises
        ------
        ValueError
            If end_time or n_steps is not positive, or initial points are not in the space.

        Warns
        -----
        RandomWalkWarning
            If some walker had to stop before the end; not if it was absorbed.
        """
        return self.sample_walk(end_time, n_steps, initial_point).points

    @torch.no_grad()
    def sample_walk(self, end_time, n_steps, initial_point, *, every=1):
        """Sample paths, and say how they ended.

        Parameters
        ----------
        end_time : float
            Time at which the paths end, in units of squared distance.
        n_steps : int
            Number of time steps.
        initial_point : array-like, shape=[..., dim]
            Points where walkers start, one for each walker.
        every : int
            Keep every so many steps, to save memory; a divisor of n_steps.

        Returns
        -------
        walk : RandomWalk
            Paths with their times, statuses and numbers of moves.

        Raises
        ------
        ValueError
            As of `sample_path`, or if every does not divide n_steps.

        Warns
        -----
        RandomWalkWarning
            As of `sample_path`.
        """
        _check_times(end_time, n_steps, every)
        (z,), origin = enter(self.space.dim, _device(self.space), initial_points=initial_point)
        n_outside = int((~self._belongs(z)).sum())
        if n_outside:
            raise ValueError(
                f"Expected initial points in the space, got {n_outside} of {len(z)} outside of "
                f"{type(self.space).__name__}; project them with space.projection."
            )
        geometry, scale = resolve_geometry(self.space, z.device)
        walkers = self._walkers(geometry, z, check_random_state(self.random_state))
        step = end_time / n_steps
        kept, stopped = _follow(walkers, step / scale, n_steps, every)
        self._report(walkers.status)
        acceptance = walkers.acceptance
        origin = replace(origin, requires_grad=False)
        give, n_kept = origin.give, kept.shape[1]
        return RandomWalk(
            points=give(kept),
            times=replace(origin, batch_shape=(n_kept,)).give(np.linspace(0.0, end_time, n_kept)),
            status=give(walkers.status),
            stop_time=give(step * stopped),
            n_substeps=give(walkers.n_substeps),
            acceptance=None if acceptance is None else give(acceptance),
        )

    def _belongs(self, z):
        """Whether points are in the space, shape=[n_points]."""
        if not isinstance(self.space, VectorSpaceOpenSet):
            # Other spaces ask for embedded points, even of intrinsic coordinates.
            return z.isfinite().all(1)
        return torch.as_tensor(self.space.belongs(to_array(z)), device=z.device).expand(len(z))

    def _report(self, status):
        """Warn of walkers that had to stop, or raise, as the metric is told to."""
        policy = getattr(self.space.metric, "on_failure", "warn")
        values, counts = np.unique(status.cpu().numpy(), return_counts=True)
        failed = {
            WalkStatus(int(value)): int(count)
            for value, count in zip(values, counts, strict=True)
            if value not in (WalkStatus.COMPLETED, WalkStatus.ABSORBED)
        }
        if policy == "ignore" or not failed:
            return
        reasons = " ".join(f"{count} {code.name}: {code.message}" for code, count in failed.items())
        message = (
            f"{sum(failed.values())} of {len(status)} walkers stopped before the end. {reasons}"
        )
        if policy == "raise":
            raise RandomWalkError(message)
        message += " Their paths stay at the last point; sample_walk gives the status of each."
        warnings.warn(message, RandomWalkWarning, stacklevel=_caller_level())


def _follow(walkers, step, n_steps, every):
    """Points kept, shape=[n_walkers, n_kept, dim], and the steps that each walker completed.

    Walkers are independent, and each has a clock of its own: none waits for those that take more
    moves to a step.
    """
    z = walkers.z
    kept = z[:, None].repeat(1, n_steps // every + 1, 1)
    completed = torch.zeros(len(z), dtype=torch.long, device=z.device)
    while True:
        rows = ((walkers.status == 0) & (completed < n_steps)).nonzero()[:, 0]
        if not len(rows):
            break
        done = walkers.advance(rows, step)
        completed[done] += 1
        keep = done if every == 1 else done[completed[done] % every == 0]
        kept[keep, completed[keep] // every] = z[keep]
    for row in (completed < n_steps).nonzero()[:, 0]:
        kept[row, completed[row] // every + 1 :] = z[row]
    return kept, completed


def _check_times(end_time, n_steps, every):
    if not 0.0 < end_time < np.inf:
        raise ValueError(f"Expected a positive and finite end_time, got {end_time}.")
    for name, value in (("n_steps", n_steps), ("every", every)):
        if int(value) != value or value < 1:
            raise ValueError(f"Expected a positive integer as {name}, got {value!r}.")
    if n_steps % every:
        raise ValueError(
            f"Expected every to divide n_steps={n_steps}, got {every}; the last step must be kept."
        )


def _device(space):
    """Device of the decoder under the numpy backend; the host for other metrics."""
    metric, _ = decoder_metric(space.metric)
    return None if metric is None else metric.decoder.device


def _caller_level():
    """Stack level, for the function that calls this one, of the first frame outside this part."""
    package = __name__.rpartition(".")[0]
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and _is_ours(frame, package):
        frame = frame.f_back
        level += 1
    return level


def _is_ours(frame, package):
    # torch's decorators stand in between.
    return frame.f_globals.get("__name__", "").startswith((package, "torch."))
