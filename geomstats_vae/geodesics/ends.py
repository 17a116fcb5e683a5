"""What a decoder does at the end points of curves: how long they may be, and what is rounding."""

from __future__ import annotations

import numpy as np

from geomstats_vae.geodesics.arrays import Floats
from geomstats_vae.geodesics.curves.chain import Curves, end_velocities
from geomstats_vae.geodesics.elements import Evaluator, cache_sized_chunk
from geomstats_vae.geodesics.model import CurveModel


def end_metrics(model: CurveModel, curves: Curves) -> Floats:
    """Metric matrices at both ends of each curve, shape=[n_curves, 2, dim, dim]."""
    metric = model.metrics(curves.ends.reshape(-1, curves.dim))
    return metric.reshape(-1, 2, *metric.shape[1:])


def end_norms(model: CurveModel, curves: Curves) -> Floats:
    """Norms of F at the starts of curves, shape=[n_curves]."""
    evaluator = Evaluator(model.immersion, cache_sized_chunk(model.immersion, 1))
    return evaluator.steps(curves.ends[:, 0], curves.ends[:, 1])[1]


def velocities(
    model: CurveModel,
    curves: Curves,
    step: Floats | float,
    length: Floats,
    metric: Floats,
    gradient: Floats | None = None,
) -> Floats:
    """Velocities at both ends of curves after a step that makes them geodesics.

    The length is stationary, so its error is the square of that of a velocity.

    Parameters
    ----------
    model : CurveModel
        Evaluates.
    curves : Curves
        Curves before the step.
    step : array, shape=[n_elements, degree + 1, dim], or float
        Displacements of the nodes.
    length : array, shape=[n_curves]
        Lengths.
    metric : array, shape=[n_curves, 2, dim, dim]
        Metric matrices at the end points.
    gradient : array, shape=[n_elements, (degree + 1) * dim], optional
        Derivatives of the lengths of the elements before the step, where those after it are not
        finite; NaN by default.

    Returns
    -------
    velocity : array, shape=[n_curves, 2, dim]
        Velocities, of curves that take unit time.
    """
    if gradient is None:
        n_elements, n_nodes, dim = curves.nodes.shape
        gradient = np.full((n_elements, n_nodes * dim), np.nan)
    gradient = gradient.copy()
    ends = np.stack((curves.offsets[:-1], curves.offsets[1:] - 1), axis=1).ravel()
    if len(ends):
        moved = model.variation((curves.nodes + step)[ends])
        gradient[ends[moved.finite]] = moved.gradient[moved.finite]
    return end_velocities(curves, gradient, length, metric)


def largest_length(curves: Curves, metric: Floats) -> Floats:
    """About the largest length that a displacement as from end to end may have."""
    # The sum of those along each coordinate, which may have very different scales.
    move = np.abs(np.diff(curves.ends, axis=1)[:, 0])
    squares = np.diagonal(metric, axis1=2, axis2=3).min(axis=1)
    return (move * np.sqrt(np.maximum(np.nan_to_num(squares, posinf=0.0), 0.0))).sum(axis=1)
