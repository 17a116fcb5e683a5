"""What diffusions ask of a tabulated metric, compiled: frames, drifts and roughness."""

from __future__ import annotations

import numpy as np
from numba import njit

from geomstats_vae.geodesics.arrays import Bools, Floats
from geomstats_vae.geodesics.table.splines import (
    INNER,
    JetScratch,
    SplineTree,
    jet_scratch,
    spline_jet,
)


@njit(**INNER)
def _symbols(jet: Floats, symbols: Floats) -> None:
    """Christoffel symbols of the first kind, the index k first: <d_i d_j F, d_k F>."""
    dim = symbols.shape[0]
    for k in range(dim):
        for i in range(dim):
            for j in range(dim):
                symbols[k, i, j] = 0.0
    n = 0
    for i in range(dim):
        for j in range(i, dim):
            for k in range(dim):
                half = 0.5 * jet[1 + k, n]
                symbols[i, k, j] += half
                symbols[i, j, k] += half
                symbols[k, i, j] -= half
                if i != j:
                    symbols[j, k, i] += half
                    symbols[j, i, k] += half
                    symbols[k, j, i] -= half
            n += 1


@njit(**INNER)
def frame_at(
    tree: SplineTree,
    x: Floats,
    factor: Floats,
    frame: Floats,
    drift: Floats,
    jet: Floats,
    scratch: JetScratch,
    symbols: Floats,
) -> float:
    """Orthonormal frame at a point, with the drift of Brownian motion and the roughness.

    Parameters
    ----------
    tree : SplineTree
        The metric's components on and above the diagonal.
    x : array, shape=[dim]
        Point.
    factor, frame, drift : array
        Written; see `frames_at`.
    jet : array, shape=[n_jet, n_functions]
        Scratch.
    scratch : JetScratch
        Scratch.
    symbols : array, shape=[2, dim, dim, dim]
        Scratch.

    Returns
    -------
    roughness : float
        As of `frames_at`; -1 where the table knows no regular metric.
    """
    dim = len(x)
    if not spline_jet(tree, x, scratch, jet):
        return -1.0
    c = 0
    for i in range(dim):
        for j in range(i, dim):
            factor[i, j], factor[j, i] = 0.0, jet[0, c]
            frame[i, j] = frame[j, i] = 0.0
            c += 1
    for i in range(dim):
        for j in range(i + 1):
            total = factor[i, j]
            for k in range(j):
                total -= factor[i, k] * factor[j, k]
            if i > j:
                factor[i, j] = total / factor[j, j]
            else:
                if not total > 0.0:
                    return -1.0
                factor[i, i] = np.sqrt(total)
    for a in range(dim):
        # L' s_a = e_a.
        for i in range(a, -1, -1):
            total = 1.0 if i == a else 0.0
            for k in range(i + 1, a + 1):
                total -= factor[k, i] * frame[k, a]
            frame[i, a] = total / factor[i, i]
    _symbols(jet, symbols[0])
    # The symbols in the frame, one index after the other.
    for k in range(dim):
        for a in range(dim):
            for j in range(dim):
                total = 0.0
                for i in range(a + 1):
                    total += symbols[0, k, i, j] * frame[i, a]
                symbols[1, k, a, j] = total
    for k in range(dim):
        for a in range(dim):
            for b in range(dim):
                total = 0.0
                for j in range(b + 1):
                    total += symbols[1, k, a, j] * frame[j, b]
                symbols[0, k, a, b] = total
    roughness = 0.0
    for i in range(dim):
        drift[i] = 0.0
    for c in range(dim):
        bend = 0.0
        for a in range(dim):
            for b in range(dim):
                total = 0.0
                for k in range(c + 1):
                    total += symbols[0, k, a, b] * frame[k, c]
                roughness += total * total
                if a == b:
                    bend += total
        for i in range(c + 1):
            drift[i] -= 0.5 * frame[i, c] * bend
    return roughness


@njit(cache=True, nogil=True)
def frames_at(
    tree: SplineTree,
    points: Floats,
    factor: Floats,
    root: Floats,
    drift: Floats,
    roughness: Floats,
    known: Bools,
) -> None:
    """Orthonormal frames of a tabulated metric, with the drift of Brownian motion.

    Parameters
    ----------
    tree : SplineTree
        The metric's components on and above the diagonal.
    points : array, shape=[n_points, dim]
        Points.
    factor, root : array, shape=[n_points, dim, dim]
        Written: Cholesky factors L of the metric, M = L L', and frames, the columns of L'^{-1}.
    drift : array, shape=[n_points, dim]
        Written: -1/2 sum_a Gamma(s_a, s_a), with the columns s_a.
    roughness : array, shape=[n_points]
        Written: sum_abc (Gamma^c_ab)^2 in the frame.
    known : array of bool, shape=[n_points]
        Written: whether the table knows a regular metric there; where not, the rest means nothing.
    """
    dim = len(tree.low)
    jet = np.empty((1 + dim + dim * (dim + 1) // 2, dim * (dim + 1) // 2))
    scratch, symbols = jet_scratch(dim), np.empty((2, dim, dim, dim))
    for n in range(len(points)):
        parts = factor[n], root[n], drift[n]
        roughness[n] = frame_at(tree, points[n], *parts, jet, scratch, symbols)
        known[n] = roughness[n] >= 0.0
