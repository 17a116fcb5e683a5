"""Euler and Maruyama's scheme for Brownian motion in a tabulated metric, compiled."""

from __future__ import annotations

import numpy as np
from numba import njit

from geomstats_vae.geodesics.arrays import Floats, Ints
from geomstats_vae.geodesics.table.frames import frame_at
from geomstats_vae.geodesics.table.splines import SplineTree, jet_scratch


@njit(cache=True, nogil=True)
def walk(
    tree: SplineTree,
    rows: Ints,
    noise: Floats,
    step: float,
    with_drift: float,
    largest_change: float,
    shortest: float,
    low: Floats,
    high: Floats,
    every: int,
    n_steps: int,
    z: Floats,
    spent: Floats,
    completed: Ints,
    n_moves: Ints,
    kept: Floats,
    used: Ints,
) -> None:
    """Move walkers, each until its noise is used up, its walk is over, or something is the matter.

    Parameters
    ----------
    tree : SplineTree
        The metric's components on and above the diagonal.
    rows : array of int, shape=[n_rows]
        The walkers.
    noise : array, shape=[n_rows, n_noise, dim]
        Standard normal vectors, one for each move.
    step : float
        Time step.
    with_drift : float
        Factor of the drift: 1, or 0 to leave it out.
    largest_change : float
        Square of the change of the metric up to which a step is not divided; infinite for none.
    shortest : float
        Shortest time of a move.
    low, high : array, shape=[dim]
        Corners of the box in which walkers stay; infinite for none.
    every, n_steps : int
        Every so many steps are kept, of so many.
    z : array, shape=[n_walkers, dim]
        Points of all walkers; changed.
    spent : array, shape=[n_walkers]
        Time of the step under way that is over; changed.
    completed, n_moves : array of int, shape=[n_walkers]
        Steps and moves that are over; changed.
    kept : array, shape=[n_walkers, n_kept, dim]
        Points after steps; written.
    used : array of int, shape=[n_rows]
        Written: noise that was used. Where it is not all of it, and steps are left, the walker's
        next move by the noise that comes next is out of the box, or starts where the table knows
        no regular metric; it was not made.
    """
    dim = len(tree.low)
    jet = np.empty((1 + dim + dim * (dim + 1) // 2, dim * (dim + 1) // 2))
    scratch, symbols = jet_scratch(dim), np.empty((2, dim, dim, dim))
    factor, frame = np.empty((dim, dim)), np.empty((dim, dim))
    drift, x = np.empty(dim), np.empty(dim)
    for r in range(len(rows)):
        n, used[r] = rows[r], 0
        while used[r] < noise.shape[1] and completed[n] < n_steps:
            roughness = frame_at(tree, z[n], factor, frame, drift, jet, scratch, symbols)
            if not (roughness >= 0.0 and roughness < np.inf):
                break
            left = step - spent[n]
            part = max(largest_change / roughness if roughness > 0.0 else np.inf, shortest)
            over = not part < left
            if over:
                part = left
            root, inside = np.sqrt(part), True
            for k in range(dim):
                move = 0.0
                for a in range(k, dim):
                    move += frame[k, a] * noise[r, used[r], a]
                x[k] = z[n, k] + (root * move + with_drift * part * drift[k])
                # Written so that what is no number is outside.
                inside &= x[k] >= low[k] and x[k] <= high[k] and abs(x[k]) < np.inf
            if not inside:
                break
            used[r] += 1
            n_moves[n] += 1
            spent[n] = 0.0 if over else spent[n] + part
            for k in range(dim):
                z[n, k] = x[k]
            if over:
                # Points first: an interrupt must not leave a step that counts without its point.
                count = completed[n] + 1
                if count % every == 0:
                    for k in range(dim):
                        kept[n, count // every, k] = x[k]
                completed[n] = count
