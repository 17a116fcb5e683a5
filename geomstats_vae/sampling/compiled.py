"""Walkers that are moved many steps at a time by compiled code, on a table of the metric."""

from __future__ import annotations

import numpy as np

from geomstats_vae.geodesics.table.metric_table import MetricTable
from geomstats_vae.geodesics.table.walks import walk
from geomstats_vae.geometry.protocol import Floats, Ints
from geomstats_vae.sampling.domains import Box
from geomstats_vae.sampling.track import Track
from geomstats_vae.sampling.walk import Walkers

# Moves of all walkers in one call: what it takes is about as long as an interrupt may wait.
_MOST_MOVES = 2**16


class CompiledEuler:
    """Moves walkers by Euler's scheme until something is the matter.

    Parameters
    ----------
    table : MetricTable
        The metric.
    box : Box or None
        Where walkers stay.
    drift : bool
        Whether they have the drift.
    max_change : float or None
        See `BrownianMotion`.
    max_substeps : int
        See there.
    """

    def __init__(
        self,
        table: MetricTable,
        box: Box | None,
        drift: bool,
        max_change: float | None,
        max_substeps: int,
    ) -> None:
        dim = table.dim
        self._tree = table.tree
        self._low = np.full(dim, -np.inf) if box is None else np.ascontiguousarray(box.low)
        self._high = np.full(dim, np.inf) if box is None else np.ascontiguousarray(box.high)
        self._drift = 1.0 if drift else 0.0
        self._change = np.inf if max_change is None else max_change**2
        self._substeps = max_substeps
        # Moves of a walker that noise is drawn for; fewer where most of them get stuck.
        self._n_moves = 2

    def move(
        self, rows: Ints, track: Track, walkers: Walkers, spent: Floats
    ) -> tuple[Ints, Floats]:
        """Move some walkers.

        Parameters
        ----------
        rows : numpy.ndarray of int, shape=[n_rows]
            The walkers.
        track : Track
            Their steps; written.
        walkers : Walkers
            Their points, moves and noise; changed.
        spent : numpy.ndarray, shape=[n_walkers]
            Time of each walker's step that is over; changed.

        Returns
        -------
        stuck : numpy.ndarray of int, shape=[n_stuck]
            Walkers whose next move leaves the box, or starts where the table knows no metric.
        noise : numpy.ndarray, shape=[n_stuck, dim]
            Noise of that move.
        """
        dim, n_moves = walkers.z.shape[1], self._n_moves
        noise = walkers.noise(len(rows) * n_moves).reshape(len(rows), n_moves, dim)
        used = np.empty(len(rows), dtype=np.int64)
        walk(
            self._tree,
            rows,
            noise,
            track.step,
            self._drift,
            self._change,
            track.step / self._substeps,
            self._low,
            self._high,
            track.every,
            track.n_steps,
            walkers.z,
            spent,
            track.completed,
            walkers.n_substeps,
            track.kept,
            used,
        )
        most = max(1, _MOST_MOVES // len(rows))
        self._n_moves = int(np.clip(2.0 * used.mean(), 1, most))
        stuck = np.flatnonzero((used < n_moves) & (track.completed[rows] < track.n_steps))
        return rows[stuck], noise[stuck, used[stuck]]
