r"""Bundles of rays: geodesics from one base point, with the change of volume along them.

In normal coordinates w at the base point the Riemannian volume is J(w) dw, with
:math:`J = \sqrt{\det M(Exp\,v)} |\det D_v Exp| / \sqrt{\det M}` at the base point: 1 in the plane,
:math:`(\sin r / r)^{dim - 1}` on the unit sphere. Radii are scaled: a ray of velocity theta has
covered the length s |theta| at the scaled radius s.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from geomstats_vae.geometry.protocol import Bools, Floats, Geometry, Ints
from geomstats_vae.volume.frames import TangentFrame

# Takes points, shape=[n, n_features], and the lengths of rays up to them, shape=[n]; returns where
# the rays are known to be no shortest geodesics, shape=[n].
FarTest = Callable[[Floats, Floats], Bools]

# Nodes per unit of the scaled radius. The unit is a standard deviation.
_NODES_PER_UNIT = 8
# After as many nodes a costly ray is looked at: whether it is worth following on.
_NODES_PER_STRETCH = 4
# Nodes that an interpolant goes through: its error falls with the sixth power of their distance.
_STENCIL = 6


@dataclass(frozen=True)
class RayBundle:
    """Rays Exp(s theta_j) at the scaled radii s = 0, h, 2h, ...

    Parameters
    ----------
    geometry : Geometry
        Geometry that the rays belong to.
    frame : TangentFrame
        Frame at the base point.
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

    geometry: Geometry
    frame: TangentFrame
    directions: Floats
    step: float
    points: Floats
    volume: Floats
    n_valid: Ints
    failed: Bools

    def ends(self) -> Floats:
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

    def lengths(self, radii: Floats, rays: Ints) -> Floats:
        """Lengths of some rays up to a scaled radius each, shape=[n]."""
        return radii * np.linalg.norm(self.directions[rays], axis=1)

    def points_at(self, radii: Floats, rays: Ints) -> Floats:
        """Points of some rays, interpolated between nodes.

        Parameters
        ----------
        radii : numpy.ndarray, shape=[n]
            Scaled radius on each ray, not behind its end.
        rays : numpy.ndarray of int, shape=[n]
            Indices of the rays.

        Returns
        -------
        points : numpy.ndarray, shape=[n, n_features]
            Points in coordinates of the space.
        """
        first, basis = self._interpolation(radii[:, None], self.n_valid[rays])
        values = self.points[rays[:, None], first + np.arange(_STENCIL)]
        return np.einsum("ni,nif->nf", basis[:, 0], values)

    def volumes_at(self, radii: Floats) -> Floats:
        """Change of volume along all rays.

        Parameters
        ----------
        radii : numpy.ndarray, shape=[n_rays, n_radii]
            Scaled radii, not behind the ends of rays.

        Returns
        -------
        volume : numpy.ndarray, shape=[n_rays, n_radii]
            J, not negative. Interpolated between nodes where geodesics cost, exact where they do
            not.
        """
        if self.geometry.bounds is None:
            velocity = radii[:, :, None] * self.frame.vectors(self.directions)[:, None]
            flat = velocity.reshape(-1, velocity.shape[2])
            return self.geometry.volume_changes(self.frame.base, flat)[1].reshape(radii.shape)
        first, basis = self._interpolation(radii, self.n_valid)
        rows = np.arange(len(radii))[:, None, None]
        values = self.volume[rows, first[..., None] + np.arange(_STENCIL)]
        return np.maximum((basis * values).sum(axis=-1), 0.0)

    def _interpolation(self, radii: Floats, n_valid: Ints) -> tuple[Ints, Floats]:
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


def follow_rays(
    geometry: Geometry,
    frame: TangentFrame,
    directions: Floats,
    length: float,
    is_far: FarTest | None = None,
) -> RayBundle:
    """Follow rays from a point.

    Where geodesics cost, a ray is followed half a unit of radius at a time. It is left where it
    passes a conjugate point, cannot be followed, or is far.

    Parameters
    ----------
    geometry : Geometry
        Geometry of a space whose points are vectors.
    frame : TangentFrame
        Frame at the base point.
    directions : numpy.ndarray, shape=[n_rays, dim]
        Velocities in normal coordinates.
    length : float
        Scaled radius up to which the rays are followed.
    is_far : callable, optional
        Tells which rays need not be followed beyond some points; see `FarTest`.

    Returns
    -------
    bundle : RayBundle
        The rays.
    """
    n_stretches = max(int(np.ceil(length * _NODES_PER_UNIT / _NODES_PER_STRETCH)), 2)
    n_nodes = n_stretches * _NODES_PER_STRETCH
    n_times = n_nodes if geometry.bounds is None else _NODES_PER_STRETCH
    nodes = _Nodes(len(directions), n_nodes, frame.base)
    velocity = n_times / _NODES_PER_UNIT * frame.vectors(directions)
    rays, norms = geometry.rays(frame.base, velocity), np.linalg.norm(directions, axis=1)
    going = np.arange(len(directions))
    for first in range(1, n_nodes + 1, n_times):
        points, volume, failed = rays.advance(n_times)
        nodes.put(going, first, points, volume, failed)
        keep = ~failed & (volume > 0.0).all(axis=1)
        if is_far is not None and keep.any():
            along = (first + n_times - 1) / _NODES_PER_UNIT * norms[going[keep]]
            keep[keep] = ~is_far(points[keep, -1], along)
        going = going[keep]
        if not len(going):
            break
        rays.keep(keep)
    return nodes.bundle(geometry, frame, directions)


class _Nodes:
    """Nodes of rays, as far as they are known."""

    def __init__(self, n_rays: int, n_nodes: int, base: Floats) -> None:
        self._points = np.zeros((n_rays, n_nodes + 1, len(base)))
        self._points[:, 0] = base
        self._volume = np.zeros((n_rays, n_nodes + 1))
        self._volume[:, 0] = 1.0
        self._n_valid = np.ones(n_rays, dtype=int)
        self._failed = np.zeros(n_rays, dtype=bool)

    def put(self, rays: Ints, first: int, points: Floats, volume: Floats, failed: Bools) -> None:
        """Take in a stretch of some rays, whose first node has an index."""
        rows = rays[:, None], first + np.arange(points.shape[1])
        finite = np.isfinite(points).all(axis=2) & np.isfinite(volume)
        self._points[rows], self._volume[rows] = points, volume
        self._n_valid[rays] += np.cumprod(finite, axis=1).sum(axis=1)
        self._failed[rays] = failed

    def bundle(self, geometry: Geometry, frame: TangentFrame, directions: Floats) -> RayBundle:
        """Return the rays. Those of too few nodes to be interpolated count for nothing."""
        short = self._n_valid < _STENCIL
        reached = np.arange(self._volume.shape[1]) < self._n_valid[:, None]
        reached &= ~short[:, None]
        return RayBundle(
            geometry,
            frame,
            directions,
            1.0 / _NODES_PER_UNIT,
            np.where(reached[:, :, None], self._points, frame.base),
            np.where(reached, self._volume, 0.0),
            self._n_valid,
            self._failed | short,
        )
