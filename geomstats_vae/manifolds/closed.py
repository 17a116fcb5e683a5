"""Any metric of geomstats as a geometry on rows, by its own exponentials and logarithms."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import geomstats.backend as gs
import numpy as np
from geomstats.geometry.euclidean import EuclideanMetric
from numpy.typing import ArrayLike

from geomstats_vae.geometry.blocks import Blocks, Columns
from geomstats_vae.geometry.protocol import Bools, Floats, KeptCurves, Lengths, Logs, no_curves
from geomstats_vae.geometry.rows import rows
from geomstats_vae.geometry.time_limit import check_time
from geomstats_vae.manifolds.arrays import Array
from geomstats_vae.volume.frames import frame_at

# Batches of tangent vectors by length; see `_exp`.
_SHELLS = 16


@dataclass(frozen=True)
class ClosedGeometry:
    """Geometry of a space of geomstats whose points are vectors.

    Parameters
    ----------
    space : geomstats.geometry.manifold.Manifold
        Equipped space.
    scale : float
        Factor of its metric tensor.
    blocks : Blocks
        How many pairs are worked on. Workers in other processes choose geomstats' backend by
        their own environment.
    rtol : float
        Relative error that lengths may have: closed forms lose half of the digits near a cut locus.

    Notes
    -----
    A metric without closed forms serves as well if its `exp`, `log` and `dist` do; each costs what
    it costs there.
    """

    space: Any
    scale: float = 1.0
    blocks: Blocks = field(default_factory=Blocks)
    rtol: float = 1e-6

    bounds = None
    codes = None

    @property
    def n_features(self) -> int:
        """Coordinates of a point."""
        return int(self.space.shape[0])

    @property
    def dim(self) -> int:
        """Dimension of the space."""
        return int(self.space.dim)

    def with_tol(self, tol: float) -> ClosedGeometry:
        """Return the geometry itself: closed forms have no tolerance."""
        return self

    def scaled(self, factor: float) -> ClosedGeometry:
        """Multiply the metric tensor; lengths scale by the square root."""
        if not (factor > 0.0 and math.isfinite(factor)):
            raise ValueError(f"Expected a positive and finite factor, got {factor}.")
        return replace(self, scale=self.scale * factor)

    def build_graph(self) -> None:
        """Return None: closed forms need no graph."""

    def working(self, **options: Any) -> ClosedGeometry:
        """Work on pairs otherwise; see `DecoderGeometry.working`."""
        return replace(self, blocks=replace(self.blocks, **options))

    def lengths(self, start: ArrayLike, end: ArrayLike) -> Lengths:
        """Measure distances; see `Geometry.lengths`."""
        length, converged = self._each(_measure, start, end)
        return Lengths(self.scale**0.5 * length, converged)

    def logs(self, start: ArrayLike, end: ArrayLike, *, guess: KeptCurves | None = None) -> Logs:
        """Find geodesics from starts to ends; see `Geometry.logs`. The guess is not needed."""
        length, velocity, converged = self._each(_connect, start, end)
        return Logs(self.scale**0.5 * length, velocity, converged, no_curves(len(length)))

    def exps(self, base: ArrayLike, velocity: ArrayLike, *, rtol: float | None = None) -> Floats:
        """Follow geodesics for unit time; see `Geometry.exps`."""
        base, velocity = rows(base, velocity)
        return _as_rows(self.space.metric.exp(_array(velocity), _array(base)))

    def inner_products(self, a: ArrayLike, b: ArrayLike, base: ArrayLike) -> Floats:
        """Inner products of tangent vectors; see `Geometry.inner_products`."""
        a, b, base = rows(a, b, base)
        products = self.space.metric.inner_product(_array(a), _array(b), _array(base))
        products = np.broadcast_to(gs.to_numpy(products), len(base)).astype(float)
        return self.scale * products

    def metrics(self, points: ArrayLike) -> Floats:
        """Metric matrices; see `Geometry.metrics`."""
        (points,) = rows(points)
        n, eye = self.n_features, np.eye(self.n_features)
        a, b = (
            np.tile(part, (len(points), 1)) for part in (np.repeat(eye, n, 0), np.tile(eye, (n, 1)))
        )
        return self.inner_products(a, b, np.repeat(points, n * n, axis=0)).reshape(-1, n, n)

    def connections(self, points: ArrayLike) -> tuple[Floats, Floats]:
        """Metric matrices and Christoffel symbols of the first kind; see `Geometry`."""
        (points,) = rows(points)
        metric = self._at("metric_matrix", points, 2)
        gamma = self._at("christoffels", points, 3)
        symbols = (metric @ gamma.reshape(*gamma.shape[:2], -1)).reshape(gamma.shape)
        return self.scale * metric, self.scale * symbols

    def _at(self, name: str, points: Floats, order: int) -> Floats:
        values = gs.to_numpy(getattr(self.space.metric, name)(_array(points)))
        shape = (len(points), *(points.shape[1],) * order)
        if values.shape not in (shape, shape[1:]):
            raise ValueError(
                f"Expected {name} in intrinsic coordinates, shape {list(shape)}, got "
                f"{list(values.shape)} from {type(self.space.metric).__name__}; walks need "
                "coordinates."
            )
        # A constant metric may come without its batch.
        return np.broadcast_to(values, shape).astype(float)

    def volume_densities(self, points: ArrayLike) -> Floats:
        """Riemannian volume per unit of coordinate volume; see `Geometry.volume_densities`."""
        (points,) = rows(points)
        determinant = np.linalg.det(self.metrics(points))
        return np.sqrt(np.maximum(determinant, 0.0))

    def to_tangent(self, vectors: ArrayLike, base: ArrayLike) -> Floats:
        """Project vectors to tangent spaces; see `Geometry.to_tangent`."""
        vectors, base = rows(vectors, base)
        if self.dim == self.n_features:
            return vectors
        return _as_rows(self.space.to_tangent(_array(vectors), _array(base)))

    def volume_changes(self, base: ArrayLike, velocity: ArrayLike) -> tuple[Floats, Floats]:
        """Find ends and the change of volume there; see `Geometry.volume_changes`."""
        base, velocity = rows(base, velocity)
        points = self._exp(base, velocity)
        if isinstance(self.space.metric, EuclideanMetric):
            return points, np.ones(len(base))
        return points, self._volumes(base, velocity, points)

    def points_along(self, base: ArrayLike, velocity: ArrayLike, times: ArrayLike) -> Floats:
        """Find points of geodesics at several times; see `Geometry.points_along`."""
        base, velocity = rows(base, velocity)
        times = np.asarray(times, dtype=float)
        shape = (len(base), len(times), self.n_features)
        vectors = times[:, None] * velocity[:, None]
        bases = np.broadcast_to(base[:, None], shape).reshape(-1, self.n_features)
        return self._exp(bases, vectors.reshape(-1, self.n_features)).reshape(shape)

    def rays(self, base: ArrayLike, velocity: ArrayLike) -> ClosedRays:
        """Begin to follow geodesics with their change of volume; see `Geometry.rays`."""
        return ClosedRays(self, *rows(base, velocity))

    def _exp(self, base: Floats, velocity: Floats) -> Floats:
        points = np.empty_like(velocity)
        order = np.argsort(self.inner_products(velocity, velocity, base), kind="stable")
        # Shell by shell: geomstats' Poincare ball spoils all points of a batch of which one comes
        # next to its boundary.
        for part in np.array_split(order, max(1, min(_SHELLS, len(order)))):
            if len(part):
                points[part] = self.exps(base[part], velocity[part])
        return points

    def _volumes(self, base: Floats, velocity: Floats, points: Floats) -> Floats:
        """Change of volume, from the Gram matrix of central differences of the exponential map."""
        starts, place = np.unique(base, axis=0, return_inverse=True)
        axes = np.stack([frame_at(self, start).basis for start in starts])[place.ravel()]
        norm = np.sqrt(np.maximum(self.inner_products(velocity, velocity, base), 0.0))
        h = np.finfo(float).eps ** (1 / 3) * np.maximum(norm, 1.0)[:, None]
        fields = []
        for k in range(self.dim):
            ahead, behind = (self._exp(base, velocity + s * h * axes[:, :, k]) for s in (1.0, -1.0))
            fields.append((ahead - behind) / (2.0 * h))
        gram = np.empty((len(points), self.dim, self.dim))
        for i, first in enumerate(fields):
            for k, second in enumerate(fields[: i + 1]):
                gram[:, i, k] = gram[:, k, i] = self.inner_products(first, second, points)
        volume = np.full(len(points), np.nan)
        finite = np.isfinite(gram).all(axis=(1, 2))
        # Rounding may push the determinant below zero at conjugate points.
        volume[finite] = np.sqrt(np.maximum(np.linalg.det(gram[finite]), 0.0))
        return volume

    def _each(self, function: Any, start: ArrayLike, end: ArrayLike) -> list[Any]:
        start, end = rows(start, end)
        function = partial(function, self.space.metric)
        if not len(start) or self.blocks.jobs(len(start)) == 1:
            check_time(self.blocks.deadline)
            columns = function(start, end)
            if self.blocks.progress is not None:
                self.blocks.progress.update(len(start))
            return list(columns)
        return self.blocks.run(function, start, end)


class ClosedRays:
    """Rays of a metric in closed form, a stretch of unit time after the other.

    Parameters
    ----------
    geometry : ClosedGeometry
        Geometry.
    base, velocity : numpy.ndarray, shape=[n_rays, n_features]
        Initial points and velocities.
    """

    def __init__(self, geometry: ClosedGeometry, base: Floats, velocity: Floats) -> None:
        self._geometry, self._base, self._velocity = geometry, base, velocity
        self._time = 0.0

    def advance(self, n_times: int) -> tuple[Floats, Floats, Bools]:
        """Follow all rays for a unit of time; see `Rays.advance`."""
        times = self._time + np.arange(1, n_times + 1) / n_times
        self._time += 1.0
        shape = (len(self._base), n_times, self._base.shape[1])
        velocity = times[:, None] * self._velocity[:, None]
        base = np.broadcast_to(self._base[:, None], shape).reshape(-1, shape[2])
        points, volume = self._geometry.volume_changes(base, velocity.reshape(-1, shape[2]))
        points, volume = points.reshape(shape), volume.reshape(shape[:2])
        reached = np.isfinite(points).all(axis=2) & np.isfinite(volume)
        return points, volume, np.asarray(~reached.all(axis=1))

    def keep(self, which: Bools) -> None:
        """Go on with some of the rays, shape=[n_rays]."""
        self._base, self._velocity = self._base[which], self._velocity[which]


def _measure(metric: Any, start: Floats, end: Floats) -> Columns:
    if not len(start):
        return np.zeros(0), np.zeros(0, dtype=bool)
    length = np.reshape(gs.to_numpy(metric.dist(_array(start), _array(end))), len(start))
    finite = np.isfinite(length)
    return np.where(finite, length, np.inf), finite


def _connect(metric: Any, start: Floats, end: Floats) -> Columns:
    length, converged = _measure(metric, start, end)
    if not len(start):
        return length, end, converged
    velocity = _as_rows(metric.log(_array(end), _array(start)))
    finite = np.isfinite(length) & np.isfinite(velocity).all(axis=1)
    return length, np.where(finite[:, None], velocity, 0.0), converged & finite


def _array(points: Floats) -> Array:
    return gs.from_numpy(np.array(points))


def _as_rows(array: Array) -> Floats:
    return np.atleast_2d(np.asarray(gs.to_numpy(array), dtype=float))
