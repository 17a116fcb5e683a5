"""Meshes of Gauss points in time, and curves with polynomial accelerations on them.

A curve with fixed ends is the straight line plus the integral of its acceleration against Green's
function of the second derivative. That takes accelerations at the nodes to positions and
velocities without a loss of digits, as differentiation matrices would not.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.polynomial import legendre
from numpy.typing import NDArray

from geomstats_vae.geodesics.curves.reference import lagrange_matrix

Floats = NDArray[np.float64]
# Number of intervals, rows of the pairs, and accelerations at the nodes.
Piece = tuple[int, torch.Tensor, torch.Tensor]


class Mesh:
    """Equal intervals of [0, 1] with Gauss points, and what integrates accelerations there.

    Positions at the nodes are those of the line plus ``bend @ acceleration``, velocities that of
    the line plus ``slope @ acceleration``.

    Parameters
    ----------
    n_nodes : int
        Gauss points of an interval.
    n_elements : int
        Number of intervals.
    """

    def __init__(self, n_nodes: int, n_elements: int) -> None:
        self.n_nodes, self.n_elements = n_nodes, n_elements
        self.nodes = (np.arange(n_elements)[:, None] + _gauss(n_nodes)[0]).ravel() / n_elements
        bend, slope, _ = curve_matrices(n_nodes, n_elements, self.nodes)
        self.bend, self.slope = torch.from_numpy(bend), torch.from_numpy(slope)
        ends = curve_matrices(n_nodes, n_elements, np.array([0.0, 1.0]))[1]
        self.end_slopes = torch.from_numpy(ends)
        self.times = torch.from_numpy(self.nodes)

    @property
    def size(self) -> int:
        """Number of nodes."""
        return len(self.nodes)

    def to(self, device: torch.device) -> Mesh:
        """Copy of the mesh on a device."""
        new = object.__new__(type(self))
        new.__dict__ = {
            name: value.to(device) if isinstance(value, torch.Tensor) else value
            for name, value in self.__dict__.items()
        }
        return new

    def curve(
        self, start: torch.Tensor, end: torch.Tensor, acceleration: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Positions and velocities at the nodes, shape=[n_pairs, size, dim]."""
        position = torch.lerp(start[:, None], end[:, None], self.times[:, None])
        velocity = (end - start)[:, None] + self.slope @ acceleration
        return position + self.bend @ acceleration, velocity

    def speed_of(self, acceleration: torch.Tensor) -> torch.Tensor:
        """Largest coordinate of velocities that accelerations add, at nodes and ends."""
        inner, outer = self.slope @ acceleration, self.end_slopes @ acceleration
        return torch.maximum(largest(inner), largest(outer))


def largest(values: torch.Tensor) -> torch.Tensor:
    """Largest coordinate along curves, shape=[n_pairs]."""
    return values.abs().flatten(1).amax(1)


@lru_cache(maxsize=32)
def mesh_of(n_nodes: int, n_elements: int) -> Mesh:
    """Mesh of so many Gauss points on each of so many intervals, built once."""
    return Mesh(n_nodes, n_elements)


@lru_cache(maxsize=32)
def _gauss(n_nodes: int) -> tuple[Floats, Floats]:
    """Gauss points and weights of [0, 1]."""
    points, weights = legendre.leggauss(n_nodes)
    return 0.5 * (1.0 + points), 0.5 * weights


def curve_matrices(n_nodes: int, n_elements: int, times: Floats) -> tuple[Floats, Floats, Floats]:
    """Matrices that take accelerations at the nodes of a mesh to the curve with ends at 0.

    Parameters
    ----------
    n_nodes : int
        Gauss points of an interval.
    n_elements : int
        Equal intervals of [0, 1].
    times : numpy.ndarray, shape=[n_times]
        Times in [0, 1].

    Returns
    -------
    bend, slope, value : numpy.ndarray, shape=[n_times, n_elements * n_nodes]
        To positions, velocities and accelerations at the times.
    """
    points, weights = _gauss(n_nodes)
    h, which = 1.0 / n_elements, np.arange(n_elements)
    element = np.clip(np.floor(times * n_elements).astype(int), 0, n_elements - 1)
    local = times * n_elements - element
    # Integrals of the polynomials from the left end of their interval, exact by Gauss' rule.
    inner = lagrange_matrix(points, (local[:, None] * points).ravel())
    inner = inner.reshape(len(times), n_nodes, n_nodes)
    once = local[:, None] * np.einsum("q,tqp->tp", weights, inner)
    twice = local[:, None] ** 2 * np.einsum("q,tqp->tp", weights * (1.0 - points), inner)

    def behind(t: Floats) -> Floats:
        """Double integrals up to t of the polynomials on intervals that end before it."""
        beyond = t[:, None, None] - h * (which + 1)[:, None]
        return h * weights * (beyond + h * (1.0 - points))

    rows = np.arange(len(times))
    passed = (which < element[:, None])[:, :, None]
    slope, bend = np.where(passed, h * weights, 0.0), np.where(passed, behind(times), 0.0)
    slope[rows, element], bend[rows, element] = h * once, h * h * twice
    value = np.zeros_like(bend)
    value[rows, element] = lagrange_matrix(points, local)
    # The straight line that brings the other end back to 0.
    whole = behind(np.ones(1))
    bend, slope = bend - times[:, None, None] * whole, slope - whole
    n = len(times)
    return bend.reshape(n, -1), slope.reshape(n, -1), value.reshape(n, -1)


@dataclass(frozen=True)
class Curves:
    """Curves with polynomial accelerations on equal intervals, by number of intervals.

    Parameters
    ----------
    start, end : torch.Tensor, shape=[n_pairs, dim]
        End points.
    n_nodes : int
        Gauss points of an interval.
    pieces : tuple of tuple
        For each mesh its number of intervals, the rows of the pairs on it, and their accelerations
        at its nodes, shape=[n_rows, n_elements * n_nodes, dim].
    """

    start: torch.Tensor
    end: torch.Tensor
    n_nodes: int
    pieces: tuple[Piece, ...]

    def __call__(self, times: torch.Tensor) -> torch.Tensor:
        """Evaluate the curves.

        Parameters
        ----------
        times : torch.Tensor, shape=[n_times]
            Times in [0, 1].

        Returns
        -------
        points : torch.Tensor, shape=[n_pairs, n_times, dim]
            Points; NaN for pairs without a curve.

        Raises
        ------
        ValueError
            If times are not in [0, 1].
        """
        if not bool(((times >= 0.0) & (times <= 1.0)).all()):
            raise ValueError(
                f"Expected times in [0, 1], got {times.tolist()}; follow a geodesic beyond its "
                "ends by its initial velocity."
            )
        shape = (len(self.start), len(times), self.start.shape[1])
        points = self.start.new_full(shape, torch.nan)
        host = times.detach().cpu().double().numpy()
        for n_elements, rows, acceleration in self.pieces:
            bend = torch.as_tensor(curve_matrices(self.n_nodes, n_elements, host)[0]).to(points)
            line = torch.lerp(self.start[rows, None], self.end[rows, None], times[:, None])
            points[rows] = line + bend @ acceleration
        return points
