r"""Geodesics followed on a table, each with a bound of how far it is from that of the decoder.

A path of the table is off where its acceleration is. With the propagator U(t, s) of the Jacobi
fields, which takes what happens to point and velocity at time s to time t, the end is off by

.. math:: \int_0^1 U(1, s) \binom{0}{\delta(s)} ds

to first order, where delta is the decoder's acceleration at the path's point and velocity less that
of the table. The integral is taken of norms: errors of splines change sign from cell to cell, and
so would be lost between few nodes of a quadrature.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from geomstats_vae.geodesics import positive_definite
from geomstats_vae.geodesics.arrays import Bools, Floats
from geomstats_vae.geodesics.flow.systems import GeodesicSystem
from geomstats_vae.geodesics.table.flow import FlowStatus, follow_paths
from geomstats_vae.geodesics.table.metric_table import MetricTable
from geomstats_vae.immersions.immersion import Immersion


class PathState(NamedTuple):
    """Geodesics with the Jacobi fields along them, at one time.

    Parameters
    ----------
    q : array, shape=[n, (1 + 2 dim) dim]
        Points; fields by the coordinates of the initial velocity; and those by the coordinates of
        the initial point, in coordinates.
    p : array, shape=[n, (1 + 2 dim) dim]
        Their derivatives by time.
    """

    q: Floats
    p: Floats

    @classmethod
    def start(cls, point: Floats, velocity: Floats) -> PathState:
        """Begin geodesics at points along velocities, shape=[n, dim]."""
        n, dim = point.shape
        eye, zero = np.eye(dim).ravel(), np.zeros(dim * dim)
        q = np.concatenate((point, np.tile(np.concatenate((zero, eye)), (n, 1))), axis=1)
        p = np.concatenate((velocity, np.tile(np.concatenate((eye, zero)), (n, 1))), axis=1)
        return cls(q, p)

    def take(self, rows: Bools) -> PathState:
        """Take some of the geodesics."""
        return PathState(self.q[rows], self.p[rows])


class Stretch(NamedTuple):
    """Geodesics that were followed for unit time.

    Parameters
    ----------
    q, p : array, shape=[n, n_times, (1 + 2 dim) dim]
        States at some times; see `PathState`.
    good : array of bool, shape=[n]
        Whether they are as exact as was asked for.
    """

    q: Floats
    p: Floats
    good: Bools


@dataclass(frozen=True)
class TabulatedExponential:
    """Follows geodesics on a table, as far as that is exact enough.

    Parameters
    ----------
    table : MetricTable
        The metric.
    immersion : Immersion
        The decoder's F, smooth, whose metric is a multiple of the table's.
    rtol : float
        Error that ends may have, to first order, relative to the length of the path, both measured
        by the metric at the end.
    atol : float
        Largest absolute error of a step.
    max_steps : int
        Number of steps after which a path is given up.
    chunk_size : int
        Number of points at which the decoder's derivatives are evaluated at once.
    exact_fields : bool
        Whether Jacobi fields are asked for, and so are as exact as paths.
    fields_rtol : float
        Largest relative error of a step in fields that serve the bound alone.
    of_steps : float
        Largest error of a step, as a share of the tolerance.
    n_nodes : int
        Points of a path at which the decoder is asked.
    """

    table: MetricTable
    immersion: Immersion
    rtol: float
    atol: float = 1e-12
    max_steps: int = 1000
    chunk_size: int = 512
    exact_fields: bool = False
    fields_rtol: float = 1e-3
    of_steps: float = 0.01
    n_nodes: int = 8

    def advance(self, state: PathState, times: Floats) -> Stretch:
        """Follow geodesics for unit time.

        Parameters
        ----------
        state : PathState
            Geodesics; moved, as far as the table knows the metric.
        times : array, shape=[n_times]
            Times in (0, 1] at which states are wanted, in ascending order.

        Returns
        -------
        stretch : Stretch
            States at these times.
        """
        nodes, weights = np.polynomial.legendre.leggauss(self.n_nodes)
        nodes, weights = 0.5 * (1.0 + nodes), 0.5 * weights
        wanted = np.concatenate((times, nodes))
        order = np.argsort(wanted, kind="stable")
        n, width = state.q.shape
        dense = np.full((2, n, len(wanted), width), np.nan)
        defect = np.empty(n)
        status, n_steps = np.empty((2, n), dtype=np.int64)
        fields_rtol = self.of_steps * self.rtol if self.exact_fields else self.fields_rtol
        follow_paths(
            self.table.tree,
            state.q,
            state.p,
            wanted[order],
            self.of_steps * self.rtol,
            fields_rtol,
            self.atol,
            self.max_steps,
            dense,
            defect,
            status,
            n_steps,
        )
        dense[:, :, order] = dense.copy()
        found, along = dense[:, :, : len(times)], dense[:, :, len(times) :]
        good = status == FlowStatus.DONE
        done = np.flatnonzero(good)
        good[done] = self._certify(
            PathState(state.q[done], state.p[done]), along[:, done], nodes, weights, defect[done]
        )
        return Stretch(found[0], found[1], good)

    def _certify(
        self, end: PathState, along: Floats, nodes: Floats, weights: Floats, defect: Floats
    ) -> Bools:
        """Whether paths end near those of the decoder, shape=[n]."""
        if not len(end.q):
            return np.zeros(0, dtype=bool)
        dim, n = self.table.dim, len(end.q)
        shape = (n, len(nodes), dim, dim)
        by_velocity = _by_velocity(end, along, dim)
        flat = along.reshape(2, n * len(nodes), -1)
        point, velocity = flat[0, :, :dim], flat[1, :, :dim]
        factor, end_factor = (
            positive_definite.cholesky(torch.from_numpy(self.table.metrics(part))).numpy()
            for part in (np.ascontiguousarray(point), np.ascontiguousarray(end.q[:, :dim]))
        )
        with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
            length = np.linalg.norm(end.p[:, None, :dim] @ end_factor, axis=2)[:, 0]
            framed = end_factor[:, None].swapaxes(2, 3) @ by_velocity
            inverse = np.linalg.inv(np.where(np.isfinite(factor), factor, np.eye(dim)))
            turned = framed @ inverse.reshape(shape).swapaxes(2, 3)
            gain = (np.linalg.norm(turned, axis=(2, 3)) / (1.0 - nodes)).max(axis=1)
            good = defect * gain <= self.rtol
            good |= length == 0.0
        asked = np.flatnonzero(~good & np.isfinite(gain))
        if len(asked):
            rows = (asked[:, None] * len(nodes) + np.arange(len(nodes))).ravel()
            off = self._defects(point[rows], velocity[rows]).reshape(len(asked), -1, dim, 1)
            with np.errstate(invalid="ignore", over="ignore"):
                moved = np.linalg.norm((framed[asked] @ off)[..., 0], axis=2) @ weights
                good[asked] = moved <= self.rtol * length[asked]
        return good

    def _defects(self, point: Floats, velocity: Floats) -> Floats:
        """Subtract the table's accelerations from those of the decoder, shape=[n, dim]."""
        dim = self.table.dim
        state = torch.from_numpy(np.concatenate((point, velocity), axis=1)).to(
            dtype=self.immersion.dtype, device=self.immersion.device
        )
        with torch.no_grad():
            slope = GeodesicSystem(self.immersion.condensed(), self.chunk_size).slope(state)
        metric, first, _ = self.table.jets(point)
        covector = np.einsum("nijk,nj,nk->ni", first, velocity, velocity)
        covector -= 0.5 * np.einsum("nijk,ni,nj->nk", first, velocity, velocity)
        turn = positive_definite.solve(
            torch.from_numpy(metric), torch.from_numpy(covector)[..., None]
        )
        return slope[:, dim:].cpu().numpy() + turn[..., 0].numpy()


def _propagator(q: Floats, p: Floats, dim: int) -> Floats:
    """Return derivatives by the initial velocity and point, shape=[..., 2 dim, 2 dim]."""
    fields = [part[..., dim:].reshape(*part.shape[:-1], 2 * dim, dim) for part in (q, p)]
    return np.concatenate(fields, axis=-1).swapaxes(-1, -2)


def _by_velocity(end: PathState, along: Floats, dim: int) -> Floats:
    """Return derivatives of ends by velocities on the way, shape=[n, n_nodes, dim, dim]."""
    right = np.zeros((2 * dim, dim))
    right[dim:] = np.eye(dim)
    here = torch.from_numpy(np.ascontiguousarray(_propagator(along[0], along[1], dim)))
    back = torch.linalg.solve_ex(here, torch.from_numpy(right).expand(*here.shape[:2], -1, -1))[0]
    return _propagator(end.q, end.p, dim)[:, None, :dim] @ back.numpy()
