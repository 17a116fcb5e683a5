"""Geodesic solvers for any metric of geomstats whose points are vectors of coordinates.

They need nothing of a metric but its Christoffel symbols, and go where geomstats takes an
``exp_solver`` or a ``log_solver``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from geomstats.geometry.base import VectorSpaceOpenSet
from geomstats.numerics.geodesic import ExpSolver, LogSolver

from geomstats_vae.geodesics.collocation import (
    CollocationResult,
    CollocationSolver,
    central_differences,
)
from geomstats_vae.geodesics.flow import ExponentialSolver, ExponentialStatus
from geomstats_vae.geodesics.flow.systems import PathSystem
from geomstats_vae.geodesics.status import GeodesicStatus
from geomstats_vae.manifolds import failures
from geomstats_vae.manifolds.arrays import Array, Origin, enter_tensors, to_array, to_tensor

_CHUNK_ENTRIES = 2**22  # of symbols, or of their derivatives, computed at once


class AdaptiveExpSolver(ExpSolver):
    """Exponential map by Dormand-Prince steps, with a step size for every geodesic.

    Parameters
    ----------
    space : Manifold
        Equipped manifold. Its points are vectors of dim coordinates, and its metric has
        ``geodesic_equation``, as every metric with ``christoffels`` does.
    exponential : ExponentialSolver, optional
        Tolerances and number of steps; its ``chunk_size`` is not used.
    on_failure : str, {'warn', 'raise', 'ignore'}
        What to do if some geodesics did not reach their end: a `GeodesicConvergenceWarning` once
        per call, a `GeodesicConvergenceError`, or nothing.

    Raises
    ------
    ValueError
        If points of the space are not vectors of dim coordinates, or options not as described.

    Notes
    -----
    Computed in float64 and returned in the type of the input. Results carry no derivatives. In an
    open set of a vector space geodesics stay in the set: one that runs into the boundary fails.
    Metrics whose symbols geomstats derives automatically need its pytorch backend.

    Examples
    --------
    >>> space.metric.exp_solver = AdaptiveExpSolver(space)
    >>> space.metric.exp(tangent_vec, base_point)
    """

    def __init__(
        self,
        space: Any,
        exponential: ExponentialSolver | None = None,
        *,
        on_failure: str = "warn",
    ) -> None:
        super().__init__(solves_ivp=True)
        failures.check_policy(on_failure)
        self._connection = _Connection(space)
        self.exponential = ExponentialSolver() if exponential is None else exponential
        self.on_failure = on_failure

    def exp(self, tangent_vec: Array, base_point: Array) -> Array:
        """Exponential map: follow geodesics for unit time.

        Parameters
        ----------
        tangent_vec : array-like, shape=[..., dim]
            Tangent vectors at the base points.
        base_point : array-like, shape=[..., dim]
            Points on the manifold.

        Returns
        -------
        end_point : array-like, shape=[..., dim]
            Points on the manifold; after a failure the last point that was reached.

        Raises
        ------
        ValueError
            If arrays are not as described, or base points are not in the space.
        """
        return self._follow(tangent_vec, base_point)(1.0)[..., 0, :]

    def geodesic_ivp(self, tangent_vec: Array, base_point: Array) -> Callable[[Any], Array]:
        """Geodesics by their initial points and velocities.

        Parameters
        ----------
        tangent_vec : array-like, shape=[..., dim]
            Tangent vectors at the base points.
        base_point : array-like, shape=[..., dim]
            Points on the manifold.

        Returns
        -------
        path : callable
            Maps times, shape=[n_times] or a float, to points, shape=[..., n_times, dim]; negative
            times, and times beyond 1, go on along the geodesic.

        Raises
        ------
        ValueError
            If arrays are not as described, or base points are not in the space.
        """
        return self._follow(tangent_vec, base_point)

    def _follow(self, tangent_vec: Array, base_point: Array) -> _GeodesicFrom:
        (vector, base), origin = self._connection.enter(
            "base_points", tangent_vectors=tangent_vec, base_points=base_point
        )
        system = _ConnectionSystem(self._connection)
        return _GeodesicFrom(self.exponential, system, base, vector, origin, self.on_failure)


@dataclass(frozen=True)
class _GeodesicFrom:
    """Geodesics by their initial points and velocities, as a function of time to be pickled."""

    exponential: ExponentialSolver
    system: _ConnectionSystem
    base: torch.Tensor
    vector: torch.Tensor
    origin: Origin
    on_failure: str

    def __call__(self, t: Any) -> Array:
        times = _times(t).to(self.base)
        points, status = self.exponential.integrate_dense(
            self.system, self.base, self.vector, times
        )
        failures.report(self.on_failure, status.cpu(), ExponentialStatus, "exponentials")
        return self.origin.give(points)


class CollocationLogSolver(LogSolver):
    """Logarithm by Newton's method on the geodesic equation, collocated at Gauss points.

    Parameters
    ----------
    space : Manifold
        Equipped manifold. Its points are vectors of dim coordinates, and its metric has
        ``christoffels``; their derivative ``jacobian_christoffels`` is used where there is one,
        and differences otherwise.
    tol : float
        Certificate: largest error of positions and velocities along a geodesic, and largest
        residual of its equation, in units of its largest velocity.
    n_nodes : int
        Gauss points of an interval of time, at least 2.
    max_iter : int
        Newton steps of a pair, in all.
    max_elements : int
        Intervals of time of a geodesic.
    on_failure : str, {'warn', 'raise', 'ignore'}
        What `log` and `geodesic_bvp` do if some geodesics were not found: a
        `GeodesicConvergenceWarning` once per call, a `GeodesicConvergenceError`, or nothing.

    Attributes
    ----------
    collocation : CollocationSolver
        What solves the equations. It has further options, and may be replaced by another.

    Raises
    ------
    ValueError
        If points of the space are not vectors of dim coordinates, or options not as described.

    Notes
    -----
    Computed in float64 and returned in the type of the input, for all pairs at once. Results carry
    no derivatives. Newton's method starts from the straight line in coordinates; a geodesic that
    it finds is certified to be one, but not to be the shortest. Where none is found, results are
    NaN. In an open set of a vector space curves stay in the set.
    Metrics whose symbols geomstats derives automatically need its pytorch backend.

    Examples
    --------
    >>> space.metric.log_solver = CollocationLogSolver(space)
    >>> space.metric.log(point, base_point)
    """

    def __init__(
        self,
        space: Any,
        *,
        tol: float = 1e-6,
        n_nodes: int = 8,
        max_iter: int = 200,
        max_elements: int = 64,
        on_failure: str = "warn",
    ) -> None:
        super().__init__(solves_bvp=True)
        failures.check_policy(on_failure)
        self._connection = _Connection(space)
        self.collocation = CollocationSolver(
            tol=tol, n_nodes=n_nodes, max_iter=max_iter, max_elements=max_elements
        )
        self.on_failure = on_failure

    def log(self, point: Array, base_point: Array) -> Array:
        """Riemannian logarithm, the initial velocity of the geodesic from base_point to point.

        Parameters
        ----------
        point : array-like, shape=[..., dim]
            Points on the manifold.
        base_point : array-like, shape=[..., dim]
            Points on the manifold.

        Returns
        -------
        tangent_vec : array-like, shape=[..., dim]
            Tangent vectors at the base points; NaN where no geodesic was found.

        Raises
        ------
        ValueError
            If arrays are not as described, or points are not in the space.
        """
        result, origin = self._solve(point, base_point)
        self._report(result)
        return origin.give(result.initial_velocity)

    def geodesic_bvp(self, point: Array, base_point: Array) -> Callable[[Any], Array]:
        """Geodesics by their end points, all solved for at once.

        Parameters
        ----------
        point : array-like, shape=[..., dim]
            End points.
        base_point : array-like, shape=[..., dim]
            Initial points.

        Returns
        -------
        path : callable
            Maps times in [0, 1], shape=[n_times] or a float, to points, shape=[..., n_times, dim];
            NaN where no geodesic was found.

        Raises
        ------
        ValueError
            If arrays are not as described, or points are not in the space.
        """
        result, origin = self._solve(point, base_point)
        self._report(result)
        return _GeodesicBetween(result, origin)

    def solve_geodesic(self, start: Array, end: Array) -> CollocationResult:
        """Solve for geodesics between pairs of points.

        Parameters
        ----------
        start, end : array-like, shape=[..., dim]
            End points.

        Returns
        -------
        result : CollocationResult
            Velocities, the status of each pair, and what is known of their accuracy, in arrays of
            the backend. Failures are in ``result.status``: no warning, no error.

        Raises
        ------
        ValueError
            If arrays are not as described, or points are not in the space.
        """
        result, origin = self._solve(end, start)
        return replace(result.map(origin.give), path=_GeodesicBetween(result, origin))

    def _solve(self, point: Array, base_point: Array) -> tuple[CollocationResult, Origin]:
        (point, base), origin = self._connection.enter(
            "points", "base_points", points=point, base_points=base_point
        )
        return self.collocation.solve(self._connection, base, point), origin

    def _report(self, result: CollocationResult) -> None:
        failures.report(self.on_failure, result.status.cpu(), GeodesicStatus, "geodesics")


class _Connection:
    """Christoffel symbols of a space's metric, on tensors; NaN outside the space."""

    def __init__(self, space: Any) -> None:
        if space.point_ndim != 1 or tuple(space.shape) != (space.dim,):
            raise ValueError(
                f"Expected a space whose points are vectors of its dim = {space.dim} coordinates, "
                f"got points of shape {list(space.shape)}; use intrinsic coordinates."
            )
        self.space, self.dim = space, space.dim

    def enter(self, *inside: str, **arrays: Array) -> tuple[list[torch.Tensor], Origin]:
        """Take arrays in; those named first must be points of the space."""
        tensors, origin = enter_tensors(self.dim, **arrays)
        tensors = [tensor.detach() for tensor in tensors]
        for name, tensor in zip(arrays, tensors, strict=True):
            outside = ~self._belongs(tensor) if name in inside else tensor.new_zeros(0).bool()
            if outside.any():
                raise ValueError(
                    f"Expected {name} in the {type(self.space).__name__}, got "
                    f"{int(outside.sum())} of {len(tensor)} outside, the first "
                    f"{tensor[outside][0].tolist()}; remove them, or apply the space's projection."
                )
        return tensors, replace(origin, requires_grad=False)

    def geodesic_equation(self, state: torch.Tensor) -> torch.Tensor:
        """Slopes of states (position, velocity), shape=[n, 2 dim]."""
        equation = self._needed("geodesic_equation")
        return self._evaluate(
            lambda part: equation(to_array(part.unflatten(1, (2, self.dim)))),
            state,
            (2 * self.dim,),
        )

    def christoffels(self, points: torch.Tensor) -> torch.Tensor:
        """Symbols at points, upper index first, shape=[n, dim, dim, dim]."""
        symbols = self._needed("christoffels")
        return self._evaluate(lambda part: symbols(to_array(part)), points, (self.dim,) * 3)

    def jacobian_christoffels(self, points: torch.Tensor, reach: torch.Tensor) -> torch.Tensor:
        """Differentiate the symbols, index of the derivation last, shape=[n, dim, ..., dim]."""
        jacobian = self._method("jacobian_christoffels")
        if jacobian is None:
            return central_differences(self.christoffels, points, reach)
        return self._evaluate(lambda part: jacobian(to_array(part)), points, (self.dim,) * 4)

    def _method(self, name: str) -> Callable[..., Array] | None:
        """Of the space's connection, where geomstats' main branch has it, or of its metric."""
        for owner in ("connection", "metric"):
            method = getattr(getattr(self.space, owner, None), name, None)
            if method is not None:
                return method
        return None

    def _needed(self, name: str) -> Callable[..., Array]:
        method = self._method(name)
        if method is None:
            raise ValueError(
                f"Expected a {type(self.space).__name__} whose metric has {name}, got none; equip "
                "the space with such a metric."
            )
        return method

    def _belongs(self, points: torch.Tensor) -> torch.Tensor:
        # The test of other spaces is for points of the space around them.
        if not isinstance(self.space, VectorSpaceOpenSet) or not len(points):
            return torch.ones_like(points[:, 0], dtype=torch.bool)
        inside = self.space.belongs(to_array(points), atol=0.0)
        inside = inside if isinstance(inside, torch.Tensor) else torch.tensor(inside)
        return inside.to(points.device).expand(len(points))

    def _evaluate(
        self,
        function: Callable[[torch.Tensor], Array],
        points: torch.Tensor,
        shape: tuple[int, ...],
    ) -> torch.Tensor:
        """Call the metric on rows that begin with points of the space, in chunks."""
        values = points.new_full((len(points), *shape), torch.nan)
        inside = points.isfinite().all(1)
        inside[inside.clone()] = self._belongs(points[inside, : self.dim])
        rows = inside.nonzero()[:, 0]
        # The geodesic equation is small, but made of symbols.
        size = max(int(np.prod(shape)), self.dim**3)
        n_chunks = 1 + len(rows) * size // _CHUNK_ENTRIES
        for part in rows.tensor_split(n_chunks):
            # Some metrics of geomstats return wrong shapes for a batch of one point.
            part = part.repeat(2) if len(part) == 1 else part
            if len(part):
                with np.errstate(all="ignore"):
                    value = function(points[part])
                value = to_tensor(value, "what the metric returns").detach().to(values)
                values[part] = value.reshape(len(part), *shape)
        return values


class _ConnectionSystem(PathSystem):
    """State (z, v) with z' = v and v' by the geodesic equation of a connection."""

    def __init__(self, connection: _Connection) -> None:
        super().__init__(connection.dim)
        self.connection = connection

    def slope(self, state: torch.Tensor) -> torch.Tensor:
        return self.connection.geodesic_equation(state)


@dataclass(frozen=True)
class _GeodesicBetween:
    """Geodesics by their end points, as a function of time to be pickled."""

    result: CollocationResult
    origin: Origin

    def __call__(self, t: Any) -> Array:
        return self.origin.give(self.result.path(_times(t).to(self.result.initial_velocity)))


def _times(t: Any) -> torch.Tensor:
    times = to_tensor(t, "times").detach()
    if times.ndim > 1 or not bool(times.isfinite().all()):
        raise ValueError(
            f"Expected finite times of shape [n_times] or one time, got {times}; pass the same "
            "times for the whole batch."
        )
    return times.reshape(-1)
