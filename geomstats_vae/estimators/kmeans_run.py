"""Starts of k-means: each descends until it has converged, and the best partition is kept."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from geomstats_vae.estimators.assignment import Assignment, assign, assign_unsolved
from geomstats_vae.estimators.base import Ending
from geomstats_vae.estimators.lloyd import (
    Partition,
    descend,
    mean_variance,
    unsolved_partition,
)
from geomstats_vae.geometry.protocol import Floats, Geometry
from geomstats_vae.geometry.time_limit import OutOfTimeError


def run_kmeans(
    geometry: Geometry,
    patient: Geometry,
    X: Floats,
    weights: Floats,
    starts: Iterator[Floats],
    *,
    max_iter: int,
    tol: float,
    sparing: bool,
    progress: Any,
) -> tuple[Partition, Ending]:
    """Run k-means from several starts.

    Parameters
    ----------
    geometry : Geometry
        Finds and follows geodesics until its deadline.
    patient : Geometry
        The same without a deadline.
    X : numpy.ndarray, shape=[n_samples, n_features]
        Points.
    weights : numpy.ndarray, shape=[n_samples]
        Positive weights.
    starts : iterator of numpy.ndarray, shape=[n_clusters, n_features]
        Initial centers of each start.
    max_iter : int
        Largest number of iterations of one start.
    tol : float
        A start has converged when the squared movements of its centers sum to no more than this
        share of the variance of the points per dimension.
    sparing : bool
        Whether bounds may stand in for geodesics.
    progress : tqdm.tqdm
        Bar that shows the inertia.

    Returns
    -------
    best : Partition
        That of the least cost.
    ending : Ending
        Whether the starts were run to the end.

    Raises
    ------
    KeyboardInterrupt
        If the user interrupts before the first partition.
    OutOfTimeError
        If the time was over before there were centers.
    """
    best: Partition | None = None
    partition: Partition | None = None
    first: Floats | None = None
    try:
        for number, centers in enumerate(starts):
            first, partition = centers if first is None else first, None
            if not number:
                tol = tol * mean_variance(geometry, X, weights) if tol else 0.0
            for partition in descend(
                geometry, X, weights, centers, max_iter=max_iter, tol=tol, sparing=sparing
            ):
                progress.set_postfix(
                    start=number, iteration=partition.n_iter, inertia=partition.inertia
                )
            assert partition is not None  # there is at least one
            if best is None or partition.cost < best.cost:
                best = partition
    except (KeyboardInterrupt, OutOfTimeError) as stop:
        kept = [state for state in (best, partition) if state is not None]
        if kept:
            return min(kept, key=lambda state: state.cost), Ending.of(stop)
        if isinstance(stop, KeyboardInterrupt):
            raise
        if first is None:
            raise OutOfTimeError(
                "Expected enough time to draw the first centers, got to the end of max_seconds "
                "before; allow more, pass centers or init='random', or give the space's metric "
                "points: draws are then measured on its graph."
            ) from stop
        return unsolved_partition(patient, X, weights, first), Ending.OUT_OF_TIME
    assert best is not None  # there is at least one start
    return best, Ending.DONE


def assign_in_time(geometry: Geometry, patient: Geometry, X: Floats, centers: Floats) -> Assignment:
    """Assign points that had no part in the fit to its centers.

    Parameters
    ----------
    geometry : Geometry
        Finds geodesics until its deadline.
    patient : Geometry
        The same without a deadline.
    X : numpy.ndarray, shape=[n_samples, n_features]
        Points.
    centers : numpy.ndarray, shape=[n_clusters, n_features]
        Centers.

    Returns
    -------
    assignment : Assignment
        Nearest centers; those that seem nearest without a geodesic if there is no time.
    """
    try:
        return assign(geometry, X, centers)
    except OutOfTimeError:
        return assign_unsolved(patient, X, centers)
