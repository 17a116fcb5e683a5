"""Walks of many walkers at once: what they return, how they stop, and the loop over time."""

from __future__ import annotations

import abc
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from geomstats.geometry.base import VectorSpaceOpenSet
from sklearn.utils import check_random_state

from geomstats_vae.geodesics.deadline import Deadline, check_seconds
from geomstats_vae.geodesics.status import Status
from geomstats_vae.geodesics.table.metric_table import MetricTable
from geomstats_vae.geometry.bars import progress_bar
from geomstats_vae.geometry.decoder import DecoderGeometry
from geomstats_vae.geometry.protocol import Bools, Floats, Geometry, Ints
from geomstats_vae.geometry.time_limit import OutOfTimeError, check_time
from geomstats_vae.manifolds import failures
from geomstats_vae.manifolds.arrays import Array, enter
from geomstats_vae.manifolds.geometries import geometry_of
from geomstats_vae.manifolds.space import LatentSpace
from geomstats_vae.sampling.coefficients import Coefficients, coefficients_at
from geomstats_vae.sampling.functions import truth_values
from geomstats_vae.sampling.track import Track

Seed = int | np.random.RandomState | None


class WalkStatus(Status):
    """How a walk ended; `message` says it in a sentence."""

    COMPLETED = 0
    ABSORBED = 1
    SINGULAR = 2
    NON_FINITE = 3
    LOST = 4
    OUTSIDE = 5
    OUT_OF_TIME = 6
    INTERRUPTED = 7

    @property
    def message(self) -> str:
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
    WalkStatus.OUT_OF_TIME: "The time was over before the end; raise max_seconds.",
    WalkStatus.INTERRUPTED: "The walk was interrupted before the end.",
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
    geometry : Geometry
        The metric.
    space : Manifold
        Space that walkers may not leave.
    z : numpy.ndarray, shape=[n_walkers, dim]
        Initial points.
    random_state : numpy.random.RandomState
        Source of the noise.
    device : torch.device or None
        Where functions of the user, and the space, get points, under pytorch.
    table : MetricTable, optional
        Table of the metric, which is asked first.
    """

    def __init__(
        self,
        geometry: Geometry,
        space: Any,
        z: Floats,
        random_state: np.random.RandomState,
        device: torch.device | None,
        table: MetricTable | None = None,
    ) -> None:
        self.geometry, self.space, self.table = geometry, space, table
        self.random_state, self.device = random_state, device
        self.z = z.copy()
        self.status = np.zeros(len(z), dtype=np.int64)
        self.n_substeps = np.zeros_like(self.status)

    @abc.abstractmethod
    def advance(self, rows: Ints, step: float) -> Ints:
        """Move some walkers, none of which has stopped.

        Parameters
        ----------
        rows : numpy.ndarray of int, shape=[n_rows]
            The walkers.
        step : float
            Time step.

        Returns
        -------
        done : numpy.ndarray of int, shape=[n_done]
            Those of them whose time step is over.
        """

    def move(self, rows: Ints, track: Track) -> None:
        """Move some walkers, none of which has stopped, and record the steps that are over.

        Parameters
        ----------
        rows : numpy.ndarray of int, shape=[n_rows]
            The walkers.
        track : Track
            Their steps.
        """
        track.record(self.advance(rows, track.step), self.z)

    @property
    def acceptance(self) -> Floats | None:
        """Share of accepted moves, shape=[n_walkers]; None where all are."""
        return None

    def noise(self, n: int) -> Floats:
        """Draw standard normal vectors, shape=[n, dim]."""
        return self.random_state.standard_normal((n, self.z.shape[1]))

    def coefficients(self, z: Floats) -> Coefficients:
        """Evaluate what a move needs of the metric."""
        return coefficients_at(self.geometry, z, self.table)

    def stop_irregular(self, rows: Ints, coefficients: Coefficients) -> Bools:
        """Stop walkers where the metric is not regular; return which go on, shape=[n_rows]."""
        regular = coefficients.regular
        stuck = rows[~regular]
        if len(stuck):
            finite = np.all(np.isfinite(self.geometry.metrics(self.z[stuck])), axis=(1, 2))
            self.status[stuck] = np.where(finite, WalkStatus.SINGULAR, WalkStatus.NON_FINITE)
        return regular

    def in_space(self, z: Floats) -> Bools:
        """Whether points are in the space, shape=[n_points]."""
        return _belongs(self.space, z, self.device)


# Share of what a geodesic between two points costs that a move costs; that of a move with second
# derivatives at one point.
MOVE_COST = 1 / 300


class WalkSampler(abc.ABC):
    """Base of random walks on a space.

    Parameters
    ----------
    space : Manifold
        Equipped space in intrinsic coordinates.
    random_state : int, numpy.random.RandomState or None
        Seed of the noise.
    max_seconds : float, optional
        Seconds after which walkers that are under way stop.
    verbose : bool
        Show a progress bar that counts steps of walkers.

    Raises
    ------
    ValueError
        If max_seconds is negative, the space is not in intrinsic coordinates, or has no metric.
    """

    def __init__(
        self,
        space: Any,
        random_state: Seed,
        max_seconds: float | None = None,
        verbose: bool = False,
    ) -> None:
        check_seconds(max_seconds)
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
        self.max_seconds, self.verbose = max_seconds, verbose

    @property
    def _geodesics_per_move(self) -> float:
        """Geodesics between points that cost as much as a move."""
        return MOVE_COST

    @abc.abstractmethod
    def _walkers(
        self,
        geometry: Geometry,
        z: Floats,
        random_state: np.random.RandomState,
        device: torch.device | None,
        table: MetricTable | None,
    ) -> Walkers:
        """Put walkers on their initial points."""

    def sample_path(self, end_time: float, n_steps: int, initial_point: Array) -> Array:
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

        Notes
        -----
        Ctrl-C does not lose the paths so far: they are returned, with the status ``INTERRUPTED``
        of `sample_walk`, and a warning. In the middle of a move, walkers may be one step ahead of
        the ``stop_time`` that is reported.
        """
        return self.sample_walk(end_time, n_steps, initial_point).points

    @torch.no_grad()
    def sample_walk(
        self, end_time: float, n_steps: int, initial_point: Array, *, every: int = 1
    ) -> RandomWalk:
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
        (z,), origin = enter(self.space.dim, initial_points=initial_point)
        n_outside = int((~_belongs(self.space, z, origin.device)).sum())
        if n_outside:
            raise ValueError(
                f"Expected initial points in the space, got {n_outside} of {len(z)} outside of "
                f"{type(self.space).__name__}; project them with space.projection."
            )
        random_state = check_random_state(self.random_state)
        deadline = Deadline.after(self.max_seconds)
        geometry = geometry_of(self.space, deadline=deadline)
        table = None
        if isinstance(geometry, DecoderGeometry):
            geometry = geometry.for_many(int(len(z) * n_steps * self._geodesics_per_move))
            table = geometry.metric_table
        walkers = self._walkers(geometry, z, random_state, origin.device, table)
        track = Track(z, end_time / n_steps, n_steps, every)
        with progress_bar(
            desc=type(self).__name__,
            unit=" steps",
            total=len(z) * n_steps,
            disable=not self.verbose,
        ) as progress:
            _follow(walkers, track, deadline, progress)
        self._report(walkers.status)
        acceptance = walkers.acceptance
        origin = replace(origin, requires_grad=False)
        give, n_kept = origin.give, track.kept.shape[1]
        return RandomWalk(
            points=give(track.kept),
            times=replace(origin, batch_shape=(n_kept,)).give(np.linspace(0.0, end_time, n_kept)),
            status=give(walkers.status),
            stop_time=give(track.step * track.completed),
            n_substeps=give(walkers.n_substeps),
            acceptance=None if acceptance is None else give(acceptance),
        )

    def _report(self, status: Ints) -> None:
        """Warn of walkers that had to stop, or raise, as the metric is told to."""
        policy = getattr(self.space.metric, "on_failure", "warn")
        if policy == "ignore" and (status == WalkStatus.INTERRUPTED).any():
            policy = "warn"  # an interrupt is never swallowed in silence
        failures.report(
            policy,
            np.where(status == WalkStatus.ABSORBED, WalkStatus.COMPLETED, status),
            WalkStatus,
            "walkers",
            happened="stopped before the end",
            returned="Their paths stay at the last point; sample_walk gives the status of each.",
            warning=RandomWalkWarning,
            error=RandomWalkError,
        )


def is_everywhere(space: Any) -> bool:
    """Whether all finite points belong to a space, as far as it is asked."""
    # Other spaces than open sets ask for embedded points, even of intrinsic coordinates.
    latent = isinstance(space, LatentSpace) and type(space).belongs is LatentSpace.belongs
    return latent or not isinstance(space, VectorSpaceOpenSet)


def _belongs(space: Any, z: Floats, device: torch.device | None) -> Bools:
    if is_everywhere(space):
        return np.all(np.isfinite(z), axis=1)
    return truth_values(space.belongs, "space.belongs", z, device)


def _follow(walkers: Walkers, track: Track, deadline: Deadline, progress: Any) -> None:
    """Move walkers until all have stopped.

    Walkers are independent, and each has a clock of its own: none waits for those that take more
    moves to a step.
    """
    try:
        while True:
            rows = np.flatnonzero((walkers.status == 0) & (track.completed < track.n_steps))
            if not len(rows):
                break
            check_time(deadline)
            walkers.move(rows, track)
            progress.update(int(track.completed.sum()) - progress.n)
    except (KeyboardInterrupt, OutOfTimeError) as stop:
        late = isinstance(stop, OutOfTimeError)
        going = (walkers.status == 0) & (track.completed < track.n_steps)
        walkers.status[going] = WalkStatus.OUT_OF_TIME if late else WalkStatus.INTERRUPTED
    track.close(walkers.z)


def _check_times(end_time: float, n_steps: int, every: int) -> None:
    if not 0.0 < end_time < np.inf:
        raise ValueError(f"Expected a positive and finite end_time, got {end_time}.")
    for name, value in (("n_steps", n_steps), ("every", every)):
        if int(value) != value or value < 1:
            raise ValueError(f"Expected a positive integer as {name}, got {value!r}.")
    if n_steps % every:
        raise ValueError(
            f"Expected every to divide n_steps={n_steps}, got {every}; the last step must be kept."
        )
