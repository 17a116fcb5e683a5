"""Derivatives of Frechet means by the implicit function theorem: nothing is unrolled.

At a mean m of points x_i with weights w_i the slope of the variance vanishes,
sum_i w_i grad_m d(m, x_i)^2 / 2 = 0. To first order its changes cancel ([1]_, section 3):
dm = -H^-1 sum_i (w_i C_i dx_i + dw_i grad_i), with H = sum_i w_i H_i, H_i the Hessian of half the
squared distance by m, C_i its mixed derivative by m and x_i, and grad_i = -Log_m(x_i).

References
----------
.. [1] Griewank, Faure. "Reduced functions, gradients and Hessians from fixed-point iterations for
   state equations." Numerical Algorithms 30 (2002), 113-139.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch

from geomstats_vae.geometry.decoder import DecoderGeometry
from geomstats_vae.geometry.hessians import distance_hessians
from geomstats_vae.geometry.protocol import Floats, Geometry, Logs
from geomstats_vae.manifolds.gradients import linearised
from geomstats_vae.volume.frames import TangentFrame, frame_at

# Step of central differences, in units of length of the space or of the spread.
_STEP = float(np.finfo(float).eps ** (1.0 / 3.0))


class MeanDerivatives(NamedTuple):
    """Derivatives of a mean by its points and by their weights.

    Parameters
    ----------
    by_point : numpy.ndarray, shape=[n_samples, n_features, n_features]
        Entry [i, j, k] is that of the mean's coordinate j by coordinate k of point i. On a space of
        fewer dimensions than coordinates, along it.
    by_weight : numpy.ndarray, shape=[n_samples, n_features]
        By each weight.
    """

    by_point: Floats
    by_weight: Floats


def mean_derivatives(
    geometry: Geometry, mean: Floats, X: Floats, weights: Floats, logs: Logs
) -> MeanDerivatives:
    """Differentiate a Frechet mean.

    Parameters
    ----------
    geometry : Geometry
        The geometry.
    mean : numpy.ndarray, shape=[n_features]
        The mean.
    X : numpy.ndarray, shape=[n_samples, n_features]
        Points.
    weights : numpy.ndarray, shape=[n_samples]
        Their weights.
    logs : Logs
        Geodesics from the mean to the points. Points without one do not matter.

    Returns
    -------
    derivatives : MeanDerivatives
        With a decoder from the second variations of the curves, with closed forms by differences.
    """
    reached = np.isfinite(logs.length) & (weights > 0.0)
    by_point = np.zeros((*X.shape, X.shape[1]))
    frame = frame_at(geometry, mean)
    find = _by_curves if isinstance(geometry, DecoderGeometry) else _by_differences
    rows = logs.velocity[reached]
    hessian, mixed = find(geometry, frame, X[reached], weights[reached], logs, reached)
    inverse = frame.basis @ np.linalg.inv(hessian)
    by_point[reached] = -weights[reached, None, None] * (inverse @ mixed)
    by_weight = np.zeros_like(X)
    by_weight[reached] = frame.coordinates(rows) @ inverse.T
    return MeanDerivatives(by_point, by_weight)


def _by_curves(
    geometry: Any, frame: TangentFrame, X: Floats, weights: Floats, logs: Logs, reached: Any
) -> tuple[Floats, Floats]:
    """Sum of the weighted Hessians, and mixed derivatives, in the frame at the mean."""
    curves, velocity = logs.curves[reached], logs.velocity[reached]
    by_start, mixed = distance_hessians(geometry, curves, n_halvings=1)
    lost = np.flatnonzero(~np.isfinite(by_start).all(axis=(1, 2)))
    if len(lost):
        immersion, base, vector = geometry.tensors(frame.base, velocity[lost])
        found = geometry.exponential.differential(immersion, base, vector)
        _, d_vector, d_point, _ = (part.cpu().numpy() for part in found)
        metric = geometry.metrics(frame.base)
        mixed[lost] = -metric @ np.linalg.inv(d_vector)
        # Coordinate derivatives; those of the metric cancel in the sum, where the slope vanishes.
        by_start[lost] = -mixed[lost] @ d_point
    hessian = frame.basis.T @ np.einsum("n,nij->ij", weights, by_start) @ frame.basis
    return hessian, frame.basis.T @ mixed


def _by_differences(
    geometry: Geometry, frame: TangentFrame, X: Floats, weights: Floats, logs: Logs, reached: Any
) -> tuple[Floats, Floats]:
    """Take central differences of logarithms instead, for closed forms."""
    spread = float(np.sqrt(np.average(logs.length[reached] ** 2, weights=weights)))
    h = _STEP * (spread if spread > 0.0 else 1.0)
    hessian = np.empty((frame.dim, frame.dim))
    for k, axis in enumerate(frame.basis.T):
        ahead, behind = (
            weights @ geometry.logs(geometry.exps(frame.base, sign * h * axis), X).velocity
            for sign in (1.0, -1.0)
        )
        hessian[:, k] = frame.coordinates(behind - ahead) / (2.0 * h)
    mixed = np.empty((len(X), frame.dim, X.shape[1]))
    frames = [frame_at(geometry, x) for x in X]
    basis = np.stack([local.basis for local in frames])
    duals = np.stack([local.dual for local in frames])
    slopes = np.empty((len(X), frame.dim, frame.dim))
    for k in range(frame.dim):
        ahead, behind = (
            geometry.logs(frame.base, geometry.exps(X, sign * h * basis[:, :, k])).velocity
            for sign in (1.0, -1.0)
        )
        slopes[:, :, k] = frame.coordinates(behind - ahead) / (2.0 * h)
    mixed[:] = slopes @ duals
    return 0.5 * (hessian + hessian.T), mixed


def differentiable_mean(
    mean: torch.Tensor, X: torch.Tensor, weights: torch.Tensor, derivatives: MeanDerivatives
) -> torch.Tensor:
    """Attach derivatives to a mean.

    Parameters
    ----------
    mean : torch.Tensor, shape=[n_features]
        The mean.
    X : torch.Tensor, shape=[n_samples, n_features]
        Points.
    weights : torch.Tensor, shape=[n_samples]
        Their weights.
    derivatives : MeanDerivatives
        Derivatives.

    Returns
    -------
    mean : torch.Tensor, shape=[n_features]
        Equal to the mean; differentiable once.
    """
    by_point, by_weight = (torch.as_tensor(part).to(mean) for part in derivatives)
    jacobians = [by_point.permute(1, 0, 2).flatten(1)[None], by_weight.T[None]]
    return linearised(mean[None], jacobians, [X.reshape(1, -1), weights.reshape(1, -1)])[0]
