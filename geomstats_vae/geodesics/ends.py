"""What a decoder does at the end points of curves: how long they may be, and what is rounding."""

from __future__ import annotations

import numpy as np

from geomstats_vae.geodesics.arrays import Floats
from geomstats_vae.geodesics.curves.chain import Curves
from geomstats_vae.geodesics.elements import Evaluator, cache_sized_chunk
from geomstats_vae.geodesics.model import CurveModel


def end_metrics(model: CurveModel, curves: Curves) -> Floats:
    """Metric matrices at both ends of each curve, shape=[n_curves, 2, dim, dim]."""
    metric = model.metrics(curves.ends.reshape(-1, curves.dim))
    return metric.reshape(-1, 2, *metric.shape[1:])


def end_norms(model: CurveModel, curves: Curves) -> Floats:
    """Norms of F at the starts of curves, shape=[n_curves]."""
    evaluator = Evaluator(model.immersion, cache_sized_chunk(model.immersion, 1))
    return evaluator.line_speeds(curves.ends[:, 0], curves.ends[:, 1])[2]


def largest_length(curves: Curves, metric: Floats) -> Floats:
    """About the largest length that a displacement as from end to end may have."""
    size = np.linalg.norm(np.diff(curves.ends, axis=1)[:, 0], axis=1)
    squares = np.trace(metric, axis1=2, axis2=3).min(axis=1)
    return size * np.sqrt(np.maximum(np.nan_to_num(squares, posinf=0.0), 0.0))
