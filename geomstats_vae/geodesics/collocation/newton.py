"""Newton's method on the collocation equations of one mesh.

It is damped by the natural monotonicity test, which does not depend on the scaling of the equations
([1]_, section 3.3).

References
----------
.. [1] Deuflhard. "Newton Methods for Nonlinear Problems." Springer 2004.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from geomstats_vae.geodesics.collocation.connection import Connection
from geomstats_vae.geodesics.collocation.mesh import Mesh, largest
from geomstats_vae.geodesics.elements import PerElement
from geomstats_vae.geodesics.status import GeodesicStatus


@dataclass(frozen=True)
class NewtonOptions:
    """Options of one attempt of Newton's method.

    Parameters
    ----------
    tol_share : float
        Share of the solver's tolerance at which the method ends. It must be well below 1, for the
        certificate compares solutions on two meshes.
    max_steps : int
        Steps of an attempt. A pair that asks for more gets there sooner by way of nearer end
        points.
    shortest_step : float
        Shortest step, as a share of the full one.
    """

    tol_share: float = 0.1
    max_steps: int = 15
    shortest_step: float = 2.0**-6


@dataclass
class Iterate(PerElement):
    """Curves, and at their nodes velocities, symbols and residuals of the geodesic equation."""

    start: torch.Tensor
    end: torch.Tensor
    acceleration: torch.Tensor
    position: torch.Tensor
    velocity: torch.Tensor
    christoffels: torch.Tensor
    residual: torch.Tensor

    @classmethod
    def of(
        cls,
        connection: Connection,
        mesh: Mesh,
        start: torch.Tensor,
        end: torch.Tensor,
        acceleration: torch.Tensor,
    ) -> Iterate:
        """Evaluate curves by their accelerations at the nodes, shape=[n, size, dim]."""
        position, velocity = mesh.curve(start, end, acceleration)
        symbols = connection.christoffels(position.flatten(0, 1))
        symbols = symbols.unflatten(0, position.shape[:2])
        residual = acceleration + torch.einsum("nqijk,nqj,nqk->nqi", symbols, velocity, velocity)
        return cls(start, end, acceleration, position, velocity, symbols, residual)

    def is_finite(self) -> torch.Tensor:
        """Whether each residual is finite, shape=[n]."""
        return self.residual.isfinite().flatten(1).all(1)


@dataclass
class Correction:
    """Newton's corrections, and the factors that they came from.

    Parameters
    ----------
    factors, pivots : torch.Tensor
        LU factors of the derivatives of the residuals.
    value : torch.Tensor, shape=[n, size, dim]
        Changes of the accelerations.
    """

    factors: torch.Tensor
    pivots: torch.Tensor
    value: torch.Tensor

    @classmethod
    def of(cls, connection: Connection, mesh: Mesh, iterate: Iterate) -> Correction:
        """Linearise the geodesic equation at the nodes and solve for the corrections."""
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
        correction = cls(factors, pivots, iterate.residual)
        correction.value = correction.solve(iterate.residual)
        return correction

    @property
    def size(self) -> torch.Tensor:
        """Euclidean norms, shape=[n]."""
        return self.value.flatten(1).norm(dim=1)

    def is_finite(self) -> torch.Tensor:
        """Whether each is finite, shape=[n]."""
        return self.value.isfinite().flatten(1).all(1)

    def solve(self, residual: torch.Tensor, rows: torch.Tensor | None = None) -> torch.Tensor:
        """Correct residuals of the pairs in the given rows; by default of all."""
        factors, pivots = self.factors, self.pivots
        if rows is not None and len(rows) < len(factors):
            factors, pivots = factors[rows], pivots[rows]
        right = -residual.flatten(1)[:, :, None]
        return torch.linalg.lu_solve(factors, pivots, right).view_as(residual)


@dataclass(frozen=True)
class Newton:
    """Damped Newton's method for curves between fixed ends.

    Parameters
    ----------
    connection : Connection
        Symbols.
    mesh : Mesh
        Nodes at which the equation holds.
    tol : float
        The method ends when a full step, and the one after it, change velocities by at most this,
        relative to the largest velocity.
    options : NewtonOptions
        Options.
    """

    connection: Connection
    mesh: Mesh
    tol: float
    options: NewtonOptions

    def evaluate(
        self, start: torch.Tensor, end: torch.Tensor, acceleration: torch.Tensor
    ) -> Iterate:
        """Evaluate curves; see `Iterate.of`."""
        return Iterate.of(self.connection, self.mesh, start, end, acceleration)

    def solve(
        self, start: torch.Tensor, end: torch.Tensor, guess: torch.Tensor, budget: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Solve the equations from an initial guess.

        Parameters
        ----------
        start, end : torch.Tensor, shape=[n, dim]
            End points.
        guess : torch.Tensor, shape=[n, size, dim]
            Accelerations at the nodes.
        budget : torch.Tensor of int, shape=[n]
            Most steps of each pair.

        Returns
        -------
        solution : torch.Tensor, shape=[n, size, dim]
            Accelerations; the guess where the method failed.
        status : torch.Tensor of int, shape=[n]
            Codes of `GeodesicStatus`.
        n_iter : torch.Tensor of int, shape=[n]
            Numbers of steps.
        """
        solution = guess.clone()
        status = torch.full_like(budget, GeodesicStatus.MAX_ITER)
        n_iter = torch.zeros_like(budget)
        rows = torch.arange(len(start), device=start.device)
        iterate = self.evaluate(start, end, guess)
        damping = torch.ones_like(start[:, 0])
        code = torch.where(iterate.is_finite(), -1, GeodesicStatus.NON_FINITE)
        # Exact already: the equations may even be singular there.
        code[(iterate.residual == 0.0).flatten(1).all(1)] = GeodesicStatus.CONVERGED
        status[code >= 0] = code[code >= 0]
        for _ in range(self.options.max_steps):
            go = (code < 0) & (n_iter[rows] < budget[rows])
            rows, iterate, damping = rows[go], iterate[go], damping[go]
            if not len(rows):
                break
            n_iter[rows] += 1
            iterate, code, damping = self._advance(iterate, damping)
            done = code == GeodesicStatus.CONVERGED
            solution[rows[done]] = iterate.acceleration[done]
            status[rows[code >= 0]] = code[code >= 0]
        return solution, status, n_iter

    def _advance(
        self, iterate: Iterate, damping: torch.Tensor
    ) -> tuple[Iterate, torch.Tensor, torch.Tensor]:
        """Take a step, shorter and shorter ones are tried; returns a status, or -1, too."""
        correction = Correction.of(self.connection, self.mesh, iterate)
        share = (2.0 * damping).clamp_max(1.0)
        code = torch.full_like(share, -1, dtype=torch.long)
        code[~correction.is_finite()] = GeodesicStatus.STALLED
        tries = (code < 0).nonzero()[:, 0]
        enough = self.tol * largest(iterate.velocity)
        small = self.mesh.speed_of(correction.value) <= enough
        while len(tries):
            tried = share[tries]
            trial, fine, following = self._try(iterate, correction, tries, tried, small)
            left = self.mesh.speed_of(following)
            done = fine & (tried == 1.0) & (left <= enough[tries])
            trial.acceleration = torch.where(
                done[:, None, None], trial.acceleration + following, trial.acceleration
            )
            iterate[tries[fine]] = trial[fine]
            code[tries[done]] = GeodesicStatus.CONVERGED
            tries = tries[~fine]
            share[tries] *= 0.5
            lost = share[tries] < self.options.shortest_step
            code[tries[lost]] = GeodesicStatus.STALLED
            tries = tries[~lost]
        return iterate, code, share

    def _try(
        self,
        iterate: Iterate,
        correction: Correction,
        tries: torch.Tensor,
        tried: torch.Tensor,
        small: torch.Tensor,
    ) -> tuple[Iterate, torch.Tensor, torch.Tensor]:
        """Try shares of the corrections; returns curves, which are good, and what is left there.

        The natural test of monotonicity: the correction that follows with the same factors must be
        shorter than this one.
        """
        part, moves = iterate[tries], tried[:, None, None] * correction.value[tries]
        trial = self.evaluate(part.start, part.end, part.acceleration + moves)
        following = correction.solve(trial.residual, tries)
        size = following.flatten(1).norm(dim=1)
        fine = trial.is_finite() & following.isfinite().flatten(1).all(1)
        # At the limit of rounding corrections no longer shrink.
        fine &= (size <= (1.0 - 0.5 * tried) * correction.size[tries]) | small[tries]
        return trial, fine, following
