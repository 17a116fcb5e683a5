"""Geodesics between points of any connection, by collocation at Gauss points.

The geodesic equation z'' + Gamma(z)(z', z') = 0 with both ends fixed is the integral equation
a + Gamma(z)(z', z') = 0 for the acceleration a = z'', where z is the straight line plus the
integral of a against Green's function of the second derivative. The acceleration is a polynomial
on each of some equal intervals of time, and the equation holds at their Gauss points: for smooth
symbols the velocities at the ends are exact to order 2 n_nodes in the length of the intervals
([1]_, theorem 4.1).

References
----------
.. [1] de Boor, Swartz. "Collocation at Gaussian points." SIAM Journal on Numerical Analysis 10
   (1973).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch

from geomstats_vae.geodesics.collocation.connection import Connection
from geomstats_vae.geodesics.collocation.mesh import Mesh, largest, mesh_of
from geomstats_vae.geodesics.collocation.newton import Newton, NewtonOptions
from geomstats_vae.geodesics.collocation.result import Answers, CollocationResult, Pending
from geomstats_vae.geodesics.status import GeodesicStatus


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
    newton : NewtonOptions
        Options of one attempt of Newton's method.
    max_strides : int
        Strides of the end point on one mesh.
    shortest_stride : float
        Shortest stride of the end point, as a share of the line from start to end.
    patience : int
        A pair whose end point gets no further on a mesh of at least so many intervals is given up.
    memory_limit : int
        Bytes of the matrices of all pairs that are worked on at once.

    Raises
    ------
    ValueError
        If options are not as described.

    Notes
    -----
    Pairs are independent of each other. Newton's method starts from the straight line. Where it
    fails, it is given an end point on that line, nearer to the start, which then moves to the end
    stride by stride. All intervals are bisected until the solutions on two meshes agree. Equal
    intervals do for most geodesics, because time on them is proportional to length. The geodesic
    that is found is not proved to be the shortest.
    """

    tol: float = 1e-6
    n_nodes: int = 8
    max_iter: int = 200
    max_elements: int = 64
    newton: NewtonOptions = field(default_factory=NewtonOptions)
    max_strides: int = 60
    shortest_stride: float = 2.0**-6
    patience: int = 4
    memory_limit: int = 2**26

    def __post_init__(self) -> None:
        least = {"n_nodes": 2, "max_iter": 1, "max_elements": 2}
        for name, bound in least.items():
            value = getattr(self, name)
            if not (isinstance(value, (int, np.integer)) and value >= bound):
                raise ValueError(f"Expected {name} to be an integer >= {bound}, got {value!r}.")
        if not 0.0 < self.tol < 1.0:
            raise ValueError(f"Expected tol between 0 and 1, got {self.tol!r}.")

    def solve(
        self, connection: Connection, start: torch.Tensor, end: torch.Tensor
    ) -> CollocationResult:
        """Find geodesics between pairs of points.

        Parameters
        ----------
        connection : Connection
            Christoffel symbols and their derivatives.
        start, end : torch.Tensor, shape=[n_pairs, dim]
            End points, finite and of type float64.

        Returns
        -------
        result : CollocationResult
            In tensors.
        """
        answers = Answers(start, end)
        pending: Pending | None = None
        n_elements = 1
        while n_elements <= self.max_elements and len(start):
            mesh = mesh_of(self.n_nodes, n_elements).to(start.device)
            if pending is None:
                pending = Pending.on_lines(start, end, mesh.size)
            else:
                pending = pending.refined(mesh)
            newton = Newton(connection, mesh, self.newton.tol_share * self._tol, self.newton)
            matrix_bytes = start.element_size() * (mesh.size * start.shape[1]) ** 2
            size = max(1, self.memory_limit // matrix_bytes)
            for chunk in torch.arange(len(pending.rows), device=start.device).split(size):
                pending[chunk] = self._solve_on(newton, pending[chunk])
            done = self._judge(mesh, pending)
            answers.take(mesh, pending[done])
            pending = pending[~done]
            n_elements *= 2
            if not len(pending.rows):
                break
        return answers.result(self.n_nodes)

    @property
    def _tol(self) -> float:
        # Solutions do not agree better than rounding lets them.
        return max(self.tol, 64 * torch.finfo(torch.float64).eps)

    def _solve_on(self, newton: Newton, pairs: Pending) -> Pending:
        """Take pairs as far towards their ends as this mesh allows, and compare with the last."""
        coarse, comparable = pairs.acceleration, pairs.reached == 1.0
        curves = newton.evaluate(pairs.start, pairs.end, coarse)
        pairs.residual = _relative(largest(curves.residual), curves.velocity)
        pairs.acceleration = coarse.clone()
        stride = 1.0 - pairs.reached
        alive = torch.ones_like(comparable)
        for _ in range(self.max_strides):
            rows = alive.nonzero()[:, 0]
            if not len(rows):
                break
            solved = self._attempt(newton, pairs, rows, stride[rows])
            # A solution that a finer mesh does not have was none: begin again.
            lost = ~solved & (pairs.reached[rows] == 1.0)
            pairs[rows[lost]] = pairs[rows[lost]].at_start()
            change = torch.where(solved, 2.0, 0.5) * stride[rows]
            stride[rows] = torch.where(lost, 1.0, change)
            alive[rows] = (pairs.reached[rows] < 1.0) & (stride[rows] >= self.shortest_stride)
            alive &= pairs.n_iter < self.max_iter
        error = _disagreement(newton.mesh, pairs, coarse)
        pairs.error = torch.where(comparable & (pairs.reached == 1.0), error, torch.inf)
        return pairs

    def _attempt(
        self, newton: Newton, pairs: Pending, rows: torch.Tensor, stride: torch.Tensor
    ) -> torch.Tensor:
        """Try to move the end points by a stride; returns which pairs got there."""
        part = pairs[rows]
        target = (part.reached + stride).clamp_max(1.0)
        # The guess is the curve found, sheared so that it ends at the new end point.
        end = torch.lerp(part.start, part.end, target[:, None])
        budget = self.max_iter - part.n_iter
        solution, status, n_iter = newton.solve(part.start, end, part.acceleration, budget)
        pairs.n_iter[rows] += n_iter
        pairs.status[rows] = status
        solved = status == GeodesicStatus.CONVERGED
        pairs.acceleration[rows[solved]] = solution[solved]
        pairs.reached[rows[solved]] = target[solved]
        return solved

    def _judge(self, mesh: Mesh, pairs: Pending) -> torch.Tensor:
        """Set the statuses that this mesh decides; returns which pairs are done."""
        there = pairs.reached == 1.0
        agreed = there & (pairs.error <= self._tol) & (pairs.residual <= self._tol)
        spent = ~agreed & (pairs.n_iter >= self.max_iter)
        finest = 2 * mesh.n_elements > self.max_elements
        pairs.status[there & ~agreed] = GeodesicStatus.UNDER_RESOLVED
        pairs.status[spent] = GeodesicStatus.MAX_ITER
        stuck = ~there & (pairs.reached <= pairs.before)
        pairs.before = pairs.reached.clone()
        done = agreed | spent | (stuck if mesh.n_elements >= self.patience else False)
        return torch.ones_like(done) if finest else done


def _disagreement(mesh: Mesh, pairs: Pending, coarse: torch.Tensor) -> torch.Tensor:
    """Difference between curves of a coarser mesh and those of this one, relative."""
    change = pairs.acceleration - coarse
    _, velocity = mesh.curve(pairs.start, pairs.end, pairs.acceleration)
    return _relative(torch.maximum(largest(mesh.bend @ change), mesh.speed_of(change)), velocity)


def _relative(size: torch.Tensor, velocity: torch.Tensor) -> torch.Tensor:
    """Sizes relative to the largest coordinate of velocities; points that coincide have none."""
    return torch.where(size == 0.0, 0.0, size / largest(velocity))
