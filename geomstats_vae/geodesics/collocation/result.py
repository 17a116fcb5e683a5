"""What collocation knows of pairs of points, while they are worked on and when they are done."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

import torch

from geomstats_vae.geodesics.collocation.mesh import Curves, Mesh, Piece, curve_matrices
from geomstats_vae.geodesics.elements import PerElement
from geomstats_vae.geodesics.status import GeodesicStatus


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
    def converged(self) -> Any:
        """Whether the certificate holds, shape=[...]."""
        return self.status == GeodesicStatus.CONVERGED

    def map(self, function: Callable[[Any], Any]) -> CollocationResult:
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


@dataclass
class Pending(PerElement):
    """Pairs without an answer yet.

    Parameters
    ----------
    rows : torch.Tensor of int, shape=[n]
        The pairs.
    start, end : torch.Tensor, shape=[n, dim]
        End points.
    acceleration : torch.Tensor, shape=[n, size, dim]
        Accelerations of the last curves found, at the nodes of the mesh.
    reached : torch.Tensor, shape=[n]
        Share of the straight line from start to end at which those curves end.
    before : torch.Tensor, shape=[n]
        That share on the mesh before; -1 at first.
    status, residual, error, n_iter : torch.Tensor, shape=[n]
        See `CollocationResult`.
    """

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
    def on_lines(cls, start: torch.Tensor, end: torch.Tensor, size: int) -> Pending:
        """Begin with straight lines, on a mesh of so many nodes."""
        n, dim = start.shape
        rows, new = torch.arange(n, device=start.device), start.new_zeros
        count = torch.zeros_like(rows)
        measures = new(n), new(n) - 1.0, count, new(n), new(n), count.clone()
        return cls(rows, start.clone(), end.clone(), new(n, size, dim), *measures)

    def at_start(self) -> Pending:
        """Forget what was tried, but for the number of steps."""
        new = self.on_lines(self.start, self.end, self.acceleration.shape[1])
        return replace(new, rows=self.rows, residual=self.residual, n_iter=self.n_iter)

    def refined(self, mesh: Mesh) -> Pending:
        """Carry accelerations over to the nodes of a mesh twice as fine."""
        values = curve_matrices(mesh.n_nodes, mesh.n_elements // 2, mesh.nodes)[2]
        matrix = torch.as_tensor(values).to(self.acceleration)
        return replace(self, acceleration=matrix @ self.acceleration)


class Answers:
    """What is known of the pairs that are done.

    Parameters
    ----------
    start, end : torch.Tensor, shape=[n_pairs, dim]
        End points of all pairs.
    """

    def __init__(self, start: torch.Tensor, end: torch.Tensor) -> None:
        n, dim = start.shape
        self.start, self.end = start, end
        self.pieces: list[Piece] = []
        self.initial_velocity = start.new_full((n, dim), torch.nan)
        self.final_velocity = self.initial_velocity.clone()
        self.residual, self.error = start.new_full((2, n), torch.nan)
        self.status, self.n_iter, self.n_elements = torch.zeros(
            3, n, dtype=torch.long, device=start.device
        )

    def take(self, mesh: Mesh, pairs: Pending) -> None:
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

    def result(self, n_nodes: int) -> CollocationResult:
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
