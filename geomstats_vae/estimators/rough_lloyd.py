"""Lloyd's iterations in many dimensions by rough curves, before any geodesic is solved for.

With the labels fixed, all means and their curves descend together (`geometry.mean_descent`). Labels
change by lengths of curves of a few chords, where bounds leave them open. So what is left for
geodesics is to confirm the partition, or to change a few labels of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from geomstats_vae.estimators.assignment import Assignment, DistanceBounds, Labels
from geomstats_vae.geodesics.descent import SineCurves
from geomstats_vae.geometry.decoder import DecoderGeometry
from geomstats_vae.geometry.fans import (
    FIRST_STAGE,
    LAST_STAGES,
    ROUGH_STAGE,
    descend_fans,
    fans_of,
    keep_fans,
    look_around,
    rough_curves,
)
from geomstats_vae.geometry.mean_descent import Fans, Stage
from geomstats_vae.geometry.protocol import Floats, KeptCurves, Logs, no_curves


class RoughPartition(NamedTuple):
    """Clusters by rough curves.

    Parameters
    ----------
    assignment : Assignment
        Centers, labels, and lengths by a few chords; none is certified.
    n_iter : int
        Iterations so far.
    """

    assignment: Assignment
    n_iter: int


def rough_lloyd(
    geometry: DecoderGeometry, X: Floats, weights: Floats, centers: Floats, *, max_iter: int
) -> Iterator[RoughPartition]:
    """Iterate from given centers, without a geodesic.

    Parameters
    ----------
    geometry : DecoderGeometry
        Geometry of a latent space of many dimensions.
    X : numpy.ndarray, shape=[n_samples, dim]
        Points.
    weights : numpy.ndarray, shape=[n_samples]
        Positive weights.
    centers : numpy.ndarray, shape=[n_clusters, dim]
        Initial centers.
    max_iter : int
        Largest number of iterations.

    Yields
    ------
    partition : RoughPartition
        After each iteration; the last one has curves to go on from.

    Raises
    ------
    OutOfTimeError
        If the geometry's deadline passes.
    """
    bounds = geometry.bounds
    measure = bounds.chords if geometry.codes is None else bounds.graph_lengths
    labels: Labels = measure(X, centers).argmin(axis=1).astype(np.int32)
    fans = fans_of(X, labels, centers)
    stages: tuple[Stage, ...] = FIRST_STAGE, ROUGH_STAGE
    for n_iter in range(1, max_iter + 1):
        fans = descend_fans(geometry, fans, labels, weights, stages)
        fans = look_around(geometry, fans, ROUGH_STAGE)
        fans, new = _assigned(geometry, X, labels, fans)
        same, labels, stages = bool((new == labels).all()), new, (ROUGH_STAGE,)
        if same:
            break
        yield RoughPartition(_assignment(fans, labels, no_curves(len(X))), n_iter)
    fans = descend_fans(geometry, fans, labels, weights, LAST_STAGES)
    yield RoughPartition(_assignment(fans, labels, keep_fans(geometry, fans)), n_iter)


def _assignment(fans: Fans, labels: Labels, curves: KeptCurves) -> Assignment:
    length = np.where(np.isfinite(fans.length), fans.length, np.inf)
    nothing = np.zeros_like(fans.curves.end), np.zeros(len(labels), dtype=bool)
    return Assignment(fans.means, labels, Logs(length, *nothing, curves))


def _assigned(
    geometry: DecoderGeometry, X: Floats, labels: Labels, fans: Fans
) -> tuple[Fans, Labels]:
    """Assign points to the centers whose curves are shortest, by as few curves as that needs."""
    centers, cheap = fans.means, geometry.bounds
    # Lengths of graph paths would rule out more, but take longer than the curves that they spare.
    chord = cheap.chords(X, centers)
    bounds = DistanceBounds(chord, None, chord.copy(), np.zeros((len(centers), len(centers))))
    labels, length = labels.copy(), np.where(np.isfinite(fans.length), fans.length, np.inf)
    curves = fans.curves
    bounds.solved(np.arange(len(X)), labels, length)
    while True:
        rivals = bounds.rivals(labels, length)
        rows = np.flatnonzero(rivals >= 0)
        if not len(rows):
            return Fans(centers, curves, length), labels
        found, measured = rough_curves(geometry, centers[rivals[rows]], X[rows], ROUGH_STAGE)
        bounds.solved(rows, rivals[rows], measured)
        nearer = np.flatnonzero(measured < length[rows])
        taken = rows[nearer]
        labels[taken], length[taken] = rivals[taken], measured[nearer]
        start = curves.start.copy()
        start[taken] = centers[labels[taken]]
        amplitudes = curves.amplitudes.copy()
        amplitudes[taken] = found.take(nearer).finer(amplitudes.shape[1]).amplitudes
        curves = SineCurves(start, curves.end, amplitudes)
