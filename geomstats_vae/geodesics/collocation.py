"""Geodesics between points of any connection, by collocation at Gauss points.

The geodesic equation z'' + Gamma(z)(z', z') = 0 with both ends fixed is the integral equation
a + Gamma(z)(z', z') = 0 for the acceleration a = z'', where z is the straight line plus the
integral of a against Green's function of the second derivative. The acceleration is a polynomial
on each of some equal intervals of time, and the equation holds at their Gauss points: for smooth
symbols the velocities at the ends are exact to order 2 n_nodes in the length of the intervals
([1]_, theorem 4.1). Newton's method is damped by the natural monotonicity test, which does not
depend on the scaling of the equations ([2]_, section 3.3).

References
----------
.. [1] de Boor, Swartz. "Collocation at Gaussian points." SIAM Journal on Numerical Analysis 10
   (1973).
.. [2] Deuflhard. "Newton Methods for Nonlinear Problems." Springer 2004.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch

from geomstats_vae.geodesics.collocation_mesh import Curves, curve_matrices, largest, mesh_of
from geomstats_vae.geodesics.curves.path import GeodesicStatus
from geomstats_vae.geodesics.elements import PerElement

# Newton's method has to end well below what the certificate compares.
_NEWTON_SHARE = 0.1
# Newton steps of one attempt, and its shortest step as a share of the full one: what asks for
# more gets there sooner by way of nearer end points.
_ATTEMPT, _SHORTEST_STEP = 15, 2.0**-6
# Strides of the end point on one mesh, and the shortest as a share of the whole way.
_STRIDES, _SHORTEST_STRIDE = 60, 2.0**-6
# From so many intervals on, a mesh on which the end point gets no further is the last.
_PATIENCE = 4
_MATRIX_BYTES = 2**26  # of one of Newton's matrices for all pairs worked on at once
_MAX_SHORTENINGS = 4  # of the steps of differences, to a tenth each


@dataclass(frozen=True)
class CollocationResult:
    """Geodesics between pairs of points, with what is known of their accuracy.

    Parameters
    ----------
    initial_velocity, final_velocity : array-like, shape=[..., dim]
        Velocities at the end points for times in [0, 1]; the first is the logarithm. NaN where no
        solution of the collocation equations was found.
    status : array-like of int, shape=[...]
        Member of `GeodesicStatus`; UNDER_RESOLVED where there is a solution on the finest mesh,
        but its certificate fails.
    residual : array-like, shape=[...]
        Largest coordinate of the geodesic equation's residual along the solution on intervals
        twice as long, at the nodes of the mesh of the result, relative to the largest coordinate
        of its velocities; time runs from 0 to 1.
    error : array-like, shape=[...]
        Largest difference between that solution and the result, in positions and velocities at
        the same times, relative to the same: an upper estimate of the result's error.
    n_iter : array-like of int, shape=[...]
        Newton steps in all.
    n_elements : array-like of int, shape=[...]
        Intervals of time.
    path : callable
        Takes times in [0, 1], shape=[n_times], to points of the curves,
        shape=[..., n_times, dim].
    """

    initial_velocity: Any
    final_velocity: Any
    status: Any
    residual: Any
    error: Any
    n_iter: Any
    n_elements: Any
    path: Any

    @property
    def converged(self):
        """Whether the certificate holds, shape=[...]."""
        return self.status == GeodesicStatus.CONVERGED

    def map(self, function):
        """Apply a function to every array, such as a conversion.

        Parameters
        ----------
        function : callable
            Takes and returns an array.

        Returns
        -------
        result : CollocationResult
            The converted result, with the same path.
        """
        names = [field.name for field in fields(self) if field.name != "path"]
        return replace(self, **{name: function(getattr(self, name)) for name in names})


@dataclass(frozen=True)
class CollocationSolver:
    """Solver of the geodesic boundary value problem of a connection.

    Parameters
    ----------
    tol : float
        Certificate: bound on `error` and `residual` of the result.
    n_nodes : int
        Gauss points of an interval, at least 2.
    max_iter : int
        Newton steps of a pair, in all.
    max_elements : int
        Intervals of time of a curve, at least 2.

    Raises
    ------
    ValueError
        If options are not as described.

    Notes
    -----
    Pairs are independent of each other. Newton's method starts from the straight line; where it
    fails, the end point is moved away from the start along the line stride by stride. All
    intervals are bisected until the solutions on two meshes agree: time is proportional to length
    on a geodesic, so that equal intervals do for most. The geodesic that is found is not proved to
    be the shortest.
    """

    tol: float = 1e-6
    n_nodes: int = 8
    max_iter: int = 200
    max_elements: int = 64

    def __post_init__(self):
        least = {"n_nodes": 2, "max_iter": 1, "max_elements": 2}
        for name, bound in least.items():
            value = getattr(self, name)
            if not (isinstance(value, (int, np.integer)) and value >= bound):
                raise ValueError(f"Expected {name} to be an integer >= {bound}, got {value!r}.")
        if not 0.0 < self.tol < 1.0:
            raise ValueError(f"Expected tol between 0 and 1, got {self.tol!r}.")

    def solve(self, connection, start, end):
        """Find geodesics between pairs of points.

        Parameters
        ----------
        connection : object
            Has ``christoffels(points)``, upper index first, shape=[n, dim, dim, dim], and
            ``jacobian_christoffels(points, reach)``, index of the derivation last, for points,
            shape=[n, dim], and about how far from them symbols change, shape=[n]; both NaN where
            there are no symbols.
        start, end : torch.Tensor, shape=[n_pairs, dim]
            End points, finite and of type float64.

        Returns
        -------
        result : CollocationResult
            In tensors.
        """
        answers, pending = _Answers(start, end), None
        n_elements = 1
        while n_elements <= self.max_elements and len(start):
            mesh = mesh_of(self.n_nodes, n_elements).to(start.device)
            if pending is None:
                pending = _Pending.on_lines(start, end, mesh.size)
            else:
                pending = pending.refined(mesh)
            size = max(1, _MATRIX_BYTES // (8 * (mesh.size * start.shape[1]) ** 2))
            for chunk in torch.arange(len(pending.rows), device=start.device).split(size):
                pending[chunk] = self._solve_on(connection, mesh, pending[chunk])
            done = self._judge(mesh, pending)
            answers.take(mesh, pending[done])
            pending = pending[~done]
            n_elements *= 2
            if not len(pending.rows):
                break
        return answers.result(self.n_nodes)

    @property
    def _tol(self):
        return max(self.tol, 64 * torch.finfo(torch.float64).eps)

    # -- one mesh ------------------------------------------------------------------------------

    def _solve_on(self, connection, mesh, pairs):
        """Take pairs as far towards their ends as this mesh allows, and compare with the last."""
        coarse, comparable = pairs.acceleration, pairs.reached == 1.0
        curves = _Iterate.of(connection, mesh, pairs.start, pairs.end, coarse)
        pairs.residual = _relative(largest(curves.residual), curves.velocity)
        pairs.acceleration = coarse.clone()
        stride = 1.0 - pairs.reached
        alive = torch.ones_like(comparable)
        for _ in range(_STRIDES):
            rows = alive.nonzero()[:, 0]
            if not len(rows):
                break
            solved = self._attempt(connection, mesh, pairs, rows, stride[rows])
            # A solution that a finer mesh does not have was none: begin again.
            lost = ~solved & (pairs.reached[rows] == 1.0)
            pairs[rows[lost]] = pairs[rows[lost]].at_start()
            change = torch.where(solved, 2.0, 0.5) * stride[rows]
            stride[rows] = torch.where(lost, 1.0, change)
            alive[rows] = (pairs.reached[rows] < 1.0) & (stride[rows] >= _SHORTEST_STRIDE)
            alive &= pairs.n_iter < self.max_iter
        error = _disagreement(mesh, pairs, coarse)
        pairs.error = torch.where(comparable & (pairs.reached == 1.0), error, torch.inf)
        return pairs

    def _attempt(self, connection, mesh, pairs, rows, stride):
        """Try to move the end points by a stride; returns which pairs got there."""
        part = pairs[rows]
        target = (part.reached + stride).clamp_max(1.0)
        # The guess is the curve found, sheared so that it ends at the new end point.
        solution, status, n_iter = self._newton(
            connection,
            mesh,
            part.start,
            torch.lerp(part.start, part.end, target[:, None]),
            part.acceleration,
            self.max_iter - part.n_iter,
        )
        pairs.n_iter[rows] += n_iter
        pairs.status[rows] = status
        solved = status == GeodesicStatus.CONVERGED
        pairs.acceleration[rows[solved]] = solution[solved]
        pairs.reached[rows[solved]] = target[solved]
        return solved

    def _judge(self, mesh, pairs):
        """Set the statuses that this mesh decides; returns which pairs are done."""
        there = pairs.reached == 1.0
        agreed = there & (pairs.error <= self._tol) & (pairs.residual <= self._tol)
        spent = ~agreed & (pairs.n_iter >= self.max_iter)
        finest = 2 * mesh.n_elements > self.max_elements
        pairs.status[there & ~agreed] = GeodesicStatus.UNDER_RESOLVED
        pairs.status[spent] = GeodesicStatus.MAX_ITER
        stuck = ~there & (pairs.reached <= pairs.before)
        pairs.before = pairs.reached.clone()
        done = agreed | spent | (stuck if mesh.n_elements >= _PATIENCE else False)
        return torch.ones_like(done) if finest else done

    # -- one end point -------------------------------------------------------------------------

    def _newton(self, connection, mesh, start, end, guess, budget):
        """Damped Newton's method; returns accelerations, statuses and numbers of steps."""
        solution = guess.clone()
        status = torch.full_like(budget, GeodesicStatus.MAX_ITER)
        n_iter = torch.zeros_like(budget)
        rows = torch.arange(len(start), device=start.device)
        iterate = _Iterate.of(connection, mesh, start, end, guess)
        damping = torch.ones_like(start[:, 0])
        code = torch.where(iterate.is_finite(), -1, GeodesicStatus.NON_FINITE)
        # Exact already: the equations may even be singular there.
        code[(iterate.residual == 0.0).flatten(1).all(1)] = GeodesicStatus.CONVERGED
        status[code >= 0] = code[code >= 0]
        for _ in range(_ATTEMPT):
            go = (code < 0) & (n_iter[rows] < budget[rows])
            rows, iterate, damping = rows[go], iterate[go], damping[go]
            if not len(rows):
                break
            n_iter[rows] += 1
            step = _Step.of(connection, mesh, iterate)
            iterate, code, damping = self._advance(connection, mesh, iterate, step, damping)
            done = code == GeodesicStatus.CONVERGED
            solution[rows[done]] = iterate.acceleration[done]
            status[rows[code >= 0]] = code[code >= 0]
        return solution, status, n_iter

    def _advance(self, connection, mesh, iterate, step, damping):
        """Try shorter and shorter steps; returns the iterate, and a status or -1."""
        share = (2.0 * damping).clamp_max(1.0)
        code = torch.full_like(step.pivots[:, 0], -1, dtype=torch.long)
        code[~step.is_finite()] = GeodesicStatus.STALLED
        tries = (code < 0).nonzero()[:, 0]
        speed = largest(iterate.velocity)
        small = mesh.speed_of(step.correction) <= _NEWTON_SHARE * self._tol * speed
        while len(tries):
            part, tried = iterate[tries], share[tries]
            trial = _Iterate.of(
                connection,
                mesh,
                part.start,
                part.end,
                part.acceleration + tried[:, None, None] * step.correction[tries],
            )
            following = step.solve(trial.residual, tries)
            size = following.flatten(1).norm(dim=1)
            fine = trial.is_finite() & following.isfinite().flatten(1).all(1)
            # At the limit of rounding corrections no longer shrink.
            fine &= (size <= (1.0 - 0.5 * tried) * step.size[tries]) | small[tries]
            left = mesh.speed_of(following)
            done = fine & (tried == 1.0) & (left <= _NEWTON_SHARE * self._tol * speed[tries])
            trial.acceleration = torch.where(
                done[:, None, None], trial.acceleration + following, trial.acceleration
            )
            iterate[tries[fine]] = trial[fine]
            code[tries[done]] = GeodesicStatus.CONVERGED
            tries = tries[~fine]
            share[tries] *= 0.5
            lost = share[tries] < _SHORTEST_STEP
            code[tries[lost]] = GeodesicStatus.STALLED
            tries = tries[~lost]
        return iterate, code, share


def _disagreement(mesh, pairs, coarse):
    """Difference between curves of a coarser mesh and those of this one, relative."""
    change = pairs.acceleration - coarse
    _, velocity = mesh.curve(pairs.start, pairs.end, pairs.acceleration)
    return _relative(torch.maximum(largest(mesh.bend @ change), mesh.speed_of(change)), velocity)


def _relative(size, velocity):
    """Sizes relative to the largest coordinate of velocities; points that coincide have none."""
    return torch.where(size == 0.0, 0.0, size / largest(velocity))


@dataclass
class _Pending(PerElement):
    """Pairs without an answer yet; `reached` is the share of the way to the end point."""

    rows: torch.Tensor
    start: torch.Tensor
    end: torch.Tensor
    acceleration: torch.Tensor
    reached: torch.Tensor
    before: torch.Tensor
    status: torch.Tensor
    residual: torch.Tensor
    error: torch.Tensor
    n_iter: torch.Tensor

    @classmethod
    def on_lines(cls, start, end, size):
        n, dim = start.shape
        rows, new = torch.arange(n, device=start.device), start.new_zeros
        count = torch.zeros_like(rows)
        measures = new(n), new(n) - 1.0, count, new(n), new(n), count.clone()
        return cls(rows, start.clone(), end.clone(), new(n, size, dim), *measures)

    def at_start(self):
        """Forget what was tried, but for the number of steps."""
        new = self.on_lines(self.start, self.end, self.acceleration.shape[1])
        return replace(new, rows=self.rows, residual=self.residual, n_iter=self.n_iter)

    def refined(self, mesh):
        """Carry accelerations over to the nodes of a mesh twice as fine."""
        values = curve_matrices(mesh.n_nodes, mesh.n_elements // 2, mesh.nodes)[2]
        values = torch.as_tensor(values).to(self.acceleration)
        return replace(self, acceleration=values @ self.acceleration)


@dataclass
class _Iterate(PerElement):
    """Curves, and at their nodes velocities, symbols and residuals of the geodesic equation."""

    start: torch.Tensor
    end: torch.Tensor
    acceleration: torch.Tensor
    position: torch.Tensor
    velocity: torch.Tensor
    christoffels: torch.Tensor
    residual: torch.Tensor

    @classmethod
    def of(cls, connection, mesh, start, end, acceleration):
        position, velocity = mesh.curve(start, end, acceleration)
        symbols = connection.christoffels(position.flatten(0, 1))
        symbols = symbols.unflatten(0, position.shape[:2])
        residual = acceleration + torch.einsum("nqijk,nqj,nqk->nqi", symbols, velocity, velocity)
        return cls(start, end, acceleration, position, velocity, symbols, residual)

    def is_finite(self):
        return self.residual.isfinite().flatten(1).all(1)


@dataclass
class _Step:
    """Newton's correction, and the factors that it came from."""

    factors: torch.Tensor
    pivots: torch.Tensor
    correction: torch.Tensor

    @classmethod
    def of(cls, connection, mesh, iterate):
        n, n_points, dim = iterate.position.shape
        v, symbols = iterate.velocity, iterate.christoffels
        by_velocity = torch.einsum("nqijk,nqk->nqij", symbols + symbols.transpose(-1, -2), v)
        reach = torch.maximum(iterate.position.abs(), v.abs()).amax(2).flatten()
        slopes = connection.jacobian_christoffels(iterate.position.flatten(0, 1), reach)
        slopes = slopes.unflatten(0, (n, n_points))
        by_position = torch.einsum("nqijkl,nqj,nqk->nqil", slopes, v, v)
        matrix = torch.einsum("nqij,qp->nqipj", by_velocity, mesh.slope)
        matrix += torch.einsum("nqij,qp->nqipj", by_position, mesh.bend)
        matrix = matrix.reshape(n, n_points * dim, n_points * dim)
        matrix.diagonal(dim1=1, dim2=2).add_(1.0)
        factors, pivots, _ = torch.linalg.lu_factor_ex(matrix)
        step = cls(factors, pivots, iterate.residual)
        step.correction = step.solve(iterate.residual)
        return step

    @property
    def size(self):
        return self.correction.flatten(1).norm(dim=1)

    def is_finite(self):
        return self.correction.isfinite().flatten(1).all(1)

    def solve(self, residual, rows=None):
        """Correction of residuals of the pairs in the given rows; by default of all."""
        factors, pivots = self.factors, self.pivots
        if rows is not None and len(rows) < len(factors):
            factors, pivots = factors[rows], pivots[rows]
        right = -residual.flatten(1)[:, :, None]
        return torch.linalg.lu_solve(factors, pivots, right).view_as(residual)


class _Answers:
    """What is known of the pairs that are done."""

    def __init__(self, start, end):
        n, dim = start.shape
        self.start, self.end, self.pieces = start, end, []
        self.initial_velocity = start.new_full((n, dim), torch.nan)
        self.final_velocity = self.initial_velocity.clone()
        self.residual, self.error = start.new_full((2, n), torch.nan)
        self.status, self.n_iter, self.n_elements = torch.zeros(
            3, n, dtype=torch.long, device=start.device
        )

    def take(self, mesh, pairs):
        """Write down pairs that are done; their curves only if they get to the end."""
        self.status[pairs.rows] = pairs.status
        self.n_iter[pairs.rows] = pairs.n_iter
        self.n_elements[pairs.rows] = mesh.n_elements
        pairs = pairs[pairs.reached == 1.0]
        if not len(pairs.rows):
            return
        self.residual[pairs.rows] = pairs.residual
        self.error[pairs.rows] = pairs.error
        ends = mesh.end_slopes @ pairs.acceleration
        line = pairs.end - pairs.start
        self.initial_velocity[pairs.rows] = line + ends[:, 0]
        self.final_velocity[pairs.rows] = line + ends[:, 1]
        self.pieces.append((mesh.n_elements, pairs.rows, pairs.acceleration))

    def result(self, n_nodes):
        """Everything, in the order of the pairs."""
        return CollocationResult(
            self.initial_velocity,
            self.final_velocity,
            self.status,
            self.residual,
            self.error,
            self.n_iter,
            self.n_elements,
            Curves(self.start, self.end, n_nodes, tuple(self.pieces)),
        )


# -- derivatives -------------------------------------------------------------------------------


def central_differences(function, points, reach):
    """Differentiate a function of points by central differences, all in one call.

    Parameters
    ----------
    function : callable
        Takes points, shape=[n, dim], to values, shape=[n, ...]; NaN where it has none.
    points : torch.Tensor, shape=[n, dim]
        Where to differentiate.
    reach : torch.Tensor, shape=[n]
        About how far from each point the function changes.

    Returns
    -------
    derivative : torch.Tensor, shape=[n, ..., dim]
        Index of the derivation last; NaN where the function has no value nearby.

    Notes
    -----
    Where values are missing, as beyond the boundary of a domain, steps are shortened.
    """
    step = torch.finfo(points.dtype).eps ** (1 / 3) * reach
    derivative = _differences(function, points, step)
    for _ in range(_MAX_SHORTENINGS):
        rows = (~derivative.isfinite()).flatten(1).any(1).nonzero()[:, 0]
        if not len(rows):
            break
        step[rows] *= 0.1
        derivative[rows] = _differences(function, points[rows], step[rows])
    return derivative


def _differences(function, points, step):
    n, dim = points.shape
    shift = step[:, None, None] * torch.eye(dim, dtype=points.dtype, device=points.device)
    ahead, behind = points[:, None] + shift, points[:, None] - shift
    values = function(torch.cat((ahead, behind)).flatten(0, 1)).unflatten(0, (2, n, dim))
    # The steps that were really taken, rounding included.
    taken = (ahead - behind).diagonal(dim1=1, dim2=2)
    slopes = values[0] - values[1]
    slopes = slopes / taken.reshape(n, dim, *(1,) * (slopes.ndim - 2))
    return slopes.movedim(1, -1)
