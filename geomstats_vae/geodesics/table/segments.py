"""Lengths of short straight lines in a tabulated metric, compiled."""

from __future__ import annotations

import numpy as np
from numba import njit

from geomstats_vae.geodesics.arrays import Floats
from geomstats_vae.geodesics.table.splines import SplineTree, find_mesh, jet_scratch, speed_on_mesh


@njit(cache=True, nogil=True)
def spline_segments(tree: SplineTree, start: Floats, end: Floats, length: Floats) -> None:
    """Lengths of straight lines in a metric, by Gauss's rule of two points; see `spline_speeds`.

    Parameters
    ----------
    tree : SplineTree
        The splines.
    start, end : array, shape=[n_lines, dim]
        Ends of the lines.
    length : array, shape=[n_lines]
        Written: lengths; NaN where the functions are not known.
    """
    dim = len(tree.low)
    scratch, x, step = jet_scratch(dim), np.empty(dim), np.empty(dim)
    for n in range(len(start)):
        length[n] = 0.0
        for k in range(dim):
            step[k] = end[n, k] - start[n, k]
        for share in (0.5 - 0.5 / 3.0**0.5, 0.5 + 0.5 / 3.0**0.5):
            for k in range(dim):
                x[k] = start[n, k] + share * step[k]
            mesh = find_mesh(tree, x)
            if mesh < 0:
                length[n] = np.nan
            else:
                length[n] += 0.5 * speed_on_mesh(tree, mesh, x, step, scratch)
