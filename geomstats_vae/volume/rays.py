"""Fans of geodesics: rays from a base point, with the change of volume along them.

In normal coordinates w at the base point the Riemannian volume is J(w) dw, with
J = sqrt(det M(Exp v)) |det D_v Exp| / sqrt(det M) at the base point: 1 in the plane,
(sin r / r)^(dim - 1) on the unit sphere. On a decoder's space D_v Exp comes from the Jacobi fields
along the ray, which one integration gives at every radius; elsewhere from differences of `exp`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import geomstats.backend as gs
import numpy as np
import torch
from geomstats.geometry.euclidean import EuclideanMetric

from geomstats_vae.geodesics.exponential import ExponentialSolver
from geomstats_vae.geodesics.jacobi import JacobiSystem
from geomstats_vae.manifolds.rows import decoder_metric

NODES_PER_UNIT = 8  # of the scaled radius: eight nodes per standard deviation
_NODES_PER_SEGMENT = 4
_STENCIL = 6  # nodes that an interpolant goes through
_SHELLS = 16  # of tangent vectors by length
# Far more exact than the quadrature that the rays serve. A ray that takes more steps for half a
# standard deviation is on its way out of the data.
_RAY_SOLVER = ExponentialSolver(rtol=1e-6, atol=1e-9, max_steps=200)


@dataclass(frozen=True)
class Fan:
    """Rays Exp(s theta_j) at the scaled radii s = 0, h, 2h, ...

    Parameters
    ----------
    directions : numpy.ndarray, shape=[n_rays, dim]
        Velocities theta_j, in normal coordinates.
    step : float
        Distance h of the radii.
    points : numpy.ndarray, shape=[n_rays, n_nodes, n_features]
        Points of the rays.
    volume : numpy.ndarray, shape=[n_rays, n_nodes]
        Change of volume J; negative behind a first conjugate point where its sign is known.
    n_valid : numpy.ndarray of int, shape=[n_rays]
        Nodes of each ray that were reached; what stands behind them means nothing.
    failed : numpy.ndarray of bool, shape=[n_rays]
        Whether a ray could not be followed farther.
    """

    directions: np.ndarray
    step: float
    points: np.ndarray
    volume: np.ndarray
    n_valid: np.ndarray
    failed: np.ndarray

    def ends(self):
        """Scaled radii of the first conjugate points, or else where the rays end.

        Returns
        -------
        ends : numpy.ndarray, shape=[n_rays]
            Scaled radii s.
        """
        nodes = np.arange(self.volume.shape[1])
        behind = (self.volume <= 0.0) & (nodes < self.n_valid[:, None])
        first = np.where(behind.any(axis=1), behind.argmax(axis=1), self.n_valid)
        rows = np.arange(len(first))
        inside = (first < self.n_valid) & (first > 0)
        after = np.minimum(first, self.n_valid - 1)
        before = np.maximum(after - inside, 0)
        low, high = self.volume[rows, before], self.volume[rows, after]
        share = np.where(inside, low / np.where(inside, low - high, 1.0), 0.0)
        return self.step * (before + share)

    def points_at(self, radii, rays=slice(None)):
        """Points of rays.

        Parameters
        ----------
        radii : numpy.ndarray, shape=[n]
            Scaled radius on each ray, not behind its end.
        rays : numpy.ndarray of int, shape=[n]
            Indices of the rays; all of them unless given.

        Returns
        -------
        points : numpy.ndarray, shape=[n, n_features]
            Points in coordinates of the space.
        """
        first, basis = self._interpolation(radii[:, None], self.n_valid[rays])
        values = _gather(self.points[rays], first[:, 0])
        return np.einsum("ni,nif->nf", basis[:, 0], values)

    def volumes_at(self, radii):
        """Change of volume along all rays.

        Parameters
        ----------
        radii : numpy.ndarray, shape=[n_rays, n_radii]
            Scaled radii.

        Returns
        -------
        volume : numpy.ndarray, shape=[n_rays, n_radii]
            J, not negative.
        """
        first, basis = self._interpolation(radii, self.n_valid)
        rows = np.arange(len(radii))[:, None, None]
        values = self.volume[rows, first[..., None] + np.arange(_STENCIL)]
        return np.maximum((basis * values).sum(axis=-1), 0.0)

    def _interpolation(self, radii, n_valid):
        """First nodes of stencils, and Lagrange's basis on them."""
        where = radii / self.step
        last = np.maximum(n_valid - _STENCIL, 0)[:, None]
        first = np.clip(np.floor(where).astype(int) - _STENCIL // 2 + 1, 0, last)
        x = where - first
        nodes = np.arange(_STENCIL)
        basis = np.ones((*x.shape, _STENCIL))
        for i in nodes:
            for k in nodes[nodes != i]:
                basis[..., i] *= (x - k) / (i - k)
        return first, basis


def _gather(values, first):
    index = first[:, None] + np.arange(_STENCIL)
    return values[np.arange(len(values))[:, None], index]


def spread_fan(geometry, frame, directions, length, is_far=None):
    """Follow rays from a point.

    Parameters
    ----------
    geometry : RowGeometry
        Space with its geodesics.
    frame : TangentFrame
        Frame at the base point.
    directions : numpy.ndarray, shape=[n_rays, dim]
        Velocities in normal coordinates.
    length : float
        Scaled radius up to which the rays are followed.
    is_far : callable, optional
        Takes points, shape=[n, n_features], and their distances along rays, shape=[n], and tells
        which rays need not be followed beyond them. Asked where following costs.

    Returns
    -------
    fan : Fan
        The rays.
    """
    n_segments = max(int(np.ceil(length * NODES_PER_UNIT / _NODES_PER_SEGMENT)), 2)
    nodes = np.arange(n_segments * _NODES_PER_SEGMENT + 1) / NODES_PER_UNIT
    if geometry.solves:
        return _decoder_fan(geometry.space, frame, directions, nodes, is_far)
    points, volume = _exact_rays(geometry.space, frame, nodes[:, None] * directions[:, None])
    finite = np.isfinite(points).all(axis=2) & np.isfinite(volume)
    n_valid = np.where(finite.all(axis=1), len(nodes), (~finite).argmax(axis=1))
    return Fan(directions, 1.0 / NODES_PER_UNIT, points, volume, n_valid, ~finite.all(axis=1))


def volumes_along(geometry, frame, fan, radii):
    """Change of volume on rays.

    Parameters
    ----------
    geometry : RowGeometry
        Space with its geodesics.
    frame : TangentFrame
        Frame at the base point.
    fan : Fan
        Rays.
    radii : numpy.ndarray, shape=[n_rays, n_radii]
        Scaled radii, not behind the ends of rays.

    Returns
    -------
    volume : numpy.ndarray, shape=[n_rays, n_radii]
        J: interpolated between the nodes of rays that were integrated, exact elsewhere.
    """
    if geometry.solves:
        return fan.volumes_at(radii)
    return _exact_rays(geometry.space, frame, radii[:, :, None] * fan.directions[:, None])[1]


def volume_at(geometry, frame, coordinates):
    """Exponential map and change of volume at single tangent vectors.

    Parameters
    ----------
    geometry : RowGeometry
        Space with its geodesics.
    frame : TangentFrame
        Frame at the base point.
    coordinates : numpy.ndarray, shape=[n, dim]
        Normal coordinates.

    Returns
    -------
    points : numpy.ndarray, shape=[n, n_features]
        Points of the space; not a number where the geodesic cannot be followed.
    volume : numpy.ndarray, shape=[n]
        J.
    """
    space = geometry.space
    if not geometry.solves:
        points, volume = _exact_rays(space, frame, coordinates[:, None])
        return points[:, 0], volume[:, 0]
    metric, _ = decoder_metric(space.metric)
    immersion = metric.decoder.immersion()
    vectors = frame.vectors(coordinates)
    tensors = (
        torch.tensor(rows, dtype=torch.float64, device=immersion.device)
        for rows in (np.broadcast_to(frame.base, vectors.shape).copy(), vectors)
    )
    end, by_vector, _, status = _RAY_SOLVER.differential(immersion, *tensors)
    points = np.where(status.cpu().numpy()[:, None] == 0, end.cpu().numpy(), np.nan)
    jacobian = by_vector.cpu().numpy()[:, None]
    return points, np.abs(_signed_volume(space, frame, points[:, None], jacobian)[:, 0])


def _exact_rays(space, frame, coordinates):
    """Exp and J where the exponential map is in closed form; shape=[n_rays, n_radii, ...]."""
    flat = coordinates.reshape(-1, frame.dim)
    points = _exp(space, frame, flat)
    if isinstance(space.metric, EuclideanMetric):
        volume = np.ones(len(flat))
    else:
        volume = _volume_by_differences(space, frame, flat, points)
    shape = coordinates.shape[:2]
    return points.reshape(*shape, -1), volume.reshape(shape)


def _exp(space, frame, coordinates):
    vectors = frame.vectors(coordinates)
    points = np.empty_like(vectors)
    order = np.argsort(np.linalg.norm(coordinates, axis=1), kind="stable")
    # Shell by shell: geomstats' Poincare ball spoils all points of a batch of which one comes next
    # to its boundary.
    for rows in np.array_split(order, min(_SHELLS, len(order))):
        base = np.tile(frame.base, (len(rows), 1))
        end = space.metric.exp(gs.from_numpy(vectors[rows]), gs.from_numpy(base))
        points[rows] = gs.to_numpy(end)
    return points


def _volume_by_differences(space, frame, coordinates, points):
    """J from the Gram matrix of central differences of the exponential map."""
    scale = np.maximum(np.linalg.norm(coordinates, axis=1, keepdims=True), 1.0)
    h = np.finfo(float).eps ** (1 / 3) * scale
    fields = []
    for axis in np.eye(frame.dim):
        ahead, behind = (_exp(space, frame, coordinates + sign * h * axis) for sign in (1.0, -1.0))
        fields.append(gs.from_numpy((ahead - behind) / (2.0 * h)))
    base = gs.from_numpy(points)
    gram = np.empty((len(points), frame.dim, frame.dim))
    for i, first in enumerate(fields):
        for k, second in enumerate(fields[: i + 1]):
            product = gs.to_numpy(space.metric.inner_product(first, second, base))
            gram[:, i, k] = gram[:, k, i] = product
    volume = np.full(len(points), np.nan)
    finite = np.isfinite(gram).all(axis=(1, 2))
    # Rounding may push the determinant below zero at conjugate points.
    volume[finite] = np.sqrt(np.maximum(np.linalg.det(gram[finite]), 0.0))
    return volume


def _decoder_fan(space, frame, directions, nodes, is_far):
    """Rays by the geodesic and Jacobi equations, half a unit of radius at a time.

    A ray is left where it passes a conjugate point, cannot be followed, or is far.
    """
    metric, _ = decoder_metric(space.metric)
    immersion = metric.decoder.immersion()
    system = JacobiSystem(immersion, metric.exponential.chunk_size)
    unit = _NODES_PER_SEGMENT / NODES_PER_UNIT
    velocity = unit * frame.vectors(directions)
    base = np.broadcast_to(frame.base, velocity.shape)
    tensors = (
        torch.tensor(rows, dtype=torch.float64, device=immersion.device)
        for rows in (base.copy(), velocity)
    )
    state = system.start(*tensors)
    fan = _empty_fan(frame, directions, nodes)
    norms = np.linalg.norm(directions, axis=1)
    going = np.arange(len(directions))
    for first in range(1, len(nodes), _NODES_PER_SEGMENT):
        record = _Record(state, _NODES_PER_SEGMENT)
        state, code, _ = _RAY_SOLVER._integrate(system, state, record)
        radii = nodes[first : first + _NODES_PER_SEGMENT]
        points, jacobian = record.read(system, first - 1)
        volume = _signed_volume(space, frame, points, jacobian)
        finite = np.isfinite(points).all(axis=2) & np.isfinite(volume)
        reached = np.cumprod(finite, axis=1).sum(axis=1)
        rows = np.s_[going[:, None], first + np.arange(_NODES_PER_SEGMENT)]
        fan.points[rows], fan.volume[rows] = points, volume
        fan.n_valid[going] += reached
        fan.failed[going] = (code.cpu().numpy() != 0) | ~finite.all(axis=1)
        keep = ~fan.failed[going] & finite.all(axis=1) & (volume > 0.0).all(axis=1)
        if is_far is not None and keep.any():
            keep[keep] = ~is_far(points[keep, -1], radii[-1] * norms[going[keep]])
        going, state = going[keep], state[torch.as_tensor(keep, device=state.device)]
        if not len(going):
            break
    # Rays of too few nodes cannot be interpolated, and count for nothing.
    short = fan.n_valid < _STENCIL
    reached = (np.arange(len(nodes)) < fan.n_valid[:, None]) & ~short[:, None]
    return replace(
        fan,
        points=np.where(reached[:, :, None], fan.points, frame.base),
        volume=np.where(reached, fan.volume, 0.0),
        failed=fan.failed | short,
    )


def _empty_fan(frame, directions, nodes):
    shape = len(directions), len(nodes)
    points = np.zeros((*shape, len(frame.base)))
    points[:, 0] = frame.base
    volume = np.zeros(shape)
    volume[:, 0] = 1.0
    ones = np.ones(shape[0], dtype=int)
    failed = np.zeros(shape[0], dtype=bool)
    return Fan(directions, 1.0 / NODES_PER_UNIT, points, volume, ones, failed)


def _signed_volume(space, frame, points, jacobian):
    """J with the sign of det D_v Exp; not a number where a point was not reached."""
    volume = np.full(points.shape[:2], np.nan)
    reached = np.isfinite(points).all(axis=2)
    if reached.any():
        density = gs.to_numpy(space.metric.volume_density(gs.from_numpy(points[reached])))
        scale = abs(np.linalg.det(frame.basis))
        volume[reached] = scale * density * np.linalg.det(jacobian[reached])
    return volume


class _Record:
    """States of paths at equal times of one run, by cubics between the integrator's steps."""

    def __init__(self, state, n_times):
        self.times = torch.arange(1, n_times + 1, device=state.device, dtype=state.dtype) / n_times
        self.states = state.new_full((len(state), n_times, state.shape[1]), torch.nan)

    def __call__(self, rows, time, step, state, slope, new, new_slope):
        """Fill in the times within (time, time + step]."""
        # Rounding may leave the last time just behind the last step.
        end = time + step
        end = torch.where(end >= 1.0 - 4 * torch.finfo(end.dtype).eps, torch.ones_like(end), end)
        path, column = ((self.times > time[:, None]) & (self.times <= end[:, None])).nonzero(
            as_tuple=True
        )
        h = step[path, None]
        s = ((self.times[column] - time[path]) / step[path])[:, None]
        left = (1 + 2 * s) * state[path] + s * h * slope[path]
        right = (3 - 2 * s) * new[path] - (1 - s) * h * new_slope[path]
        self.states[rows[path], column] = (1 - s) ** 2 * left + s**2 * right

    def read(self, system, n_before):
        """Points, and D_v Exp, shape=[n, n_times, dim, dim]; n_before nodes lie before."""
        n, n_times, width = self.states.shape
        fields = system.fields(self.states.reshape(-1, width))[:, :, : system.dim]
        # The field that starts with rate 1 is t D_v Exp at time t.
        times = n_before / n_times + self.times
        jacobian = fields.reshape(n, n_times, system.dim, system.dim) / times[:, None, None]
        points = self.states[:, :, : system.dim]
        return points.cpu().numpy(), jacobian.cpu().numpy()
