"""Steps of walkers over time."""

from __future__ import annotations

import numpy as np

from geomstats_vae.geometry.protocol import Floats, Ints


class Track:
    """Steps of walkers over time, and the points that are kept.

    Parameters
    ----------
    z : numpy.ndarray, shape=[n_walkers, dim]
        Initial points.
    step : float
        Time step.
    n_steps : int
        Number of steps.
    every : int
        Every so many of them are kept.

    Attributes
    ----------
    kept : numpy.ndarray, shape=[n_walkers, n_kept, dim]
        Points, the initial ones first.
    completed : numpy.ndarray of int, shape=[n_walkers]
        Steps that are over.
    """

    def __init__(self, z: Floats, step: float, n_steps: int, every: int) -> None:
        self.step, self.n_steps, self.every = step, n_steps, every
        self.kept = np.repeat(z[:, None], n_steps // every + 1, axis=1)
        self.completed = np.zeros(len(z), dtype=np.int64)

    def record(self, done: Ints, z: Floats) -> None:
        """Count one more step of some walkers, which are at points, shape=[n_walkers, dim]."""
        # Points first: an interrupt must not leave a step that counts without its point.
        count = self.completed[done] + 1
        keep = count % self.every == 0
        self.kept[done[keep], count[keep] // self.every] = z[done[keep]]
        self.completed[done] = count

    def close(self, z: Floats) -> None:
        """Let walkers that stopped stay where they are."""
        for row in np.flatnonzero(self.completed < self.n_steps):
            self.kept[row, self.completed[row] // self.every + 1 :] = z[row]
