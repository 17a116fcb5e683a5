"""Many pairs: geodesics solved in blocks of bounded memory, in this process or by joblib."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from joblib import Parallel, delayed, effective_n_jobs

# Pairs are independent, so blocks change memory and not results.
PAIRS_PER_BLOCK = 512


class Ends(NamedTuple):
    """What distances need of geodesics: no curves, which take most of the memory.

    Parameters
    ----------
    length : array, shape=[n_pairs]
        Lengths.
    initial_velocity, final_velocity : array, shape=[n_pairs, dim]
        Velocities at the ends.
    status : array of int, shape=[n_pairs]
        Statuses.
    """

    length: np.ndarray
    initial_velocity: np.ndarray
    final_velocity: np.ndarray
    status: np.ndarray


def solve_ends(solve, start, end, *, n_jobs=1, **joblib_kwargs):
    """Solve for geodesics between rows and keep their ends.

    Parameters
    ----------
    solve : callable
        Takes end points, shape=[n_pairs, dim] each, and returns a `GeodesicPath` of numpy arrays.
    start, end : torch.Tensor, shape=[n_pairs, dim]
        End points.
    n_jobs : int, optional
        Blocks solved at a time, as joblib understands it.
    **joblib_kwargs : dict
        Further arguments of `joblib.Parallel`.

    Returns
    -------
    ends : Ends
        Lengths, end velocities and statuses.
    """
    start, end = start.detach(), end.detach()
    if n_jobs == 1 and not joblib_kwargs:
        size = PAIRS_PER_BLOCK
        blocks = [
            _block(solve, a, b) for a, b in zip(start.split(size), end.split(size), strict=True)
        ]
    else:
        # Several blocks a worker: pairs differ in cost.
        size = min(PAIRS_PER_BLOCK, max(1, -(-len(start) // (4 * effective_n_jobs(n_jobs)))))
        blocks = Parallel(n_jobs=n_jobs, **joblib_kwargs)(
            delayed(_block)(solve, a, b)
            for a, b in zip(start.split(size), end.split(size), strict=True)
        )
    return Ends(*map(np.concatenate, zip(*blocks, strict=True)))


def _block(solve, start, end):
    path = solve(start, end)
    return Ends(*(getattr(path, name) for name in Ends._fields))
