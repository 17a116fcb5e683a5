"""Leaving saddles: curves that are stationary, and not the shortest near them.

A curve over the top of a hill, from which it would slide to either side, has no gradient to follow.
The mode of its second variation with the least eigenvalue shows where it slides.
"""

from __future__ import annotations

import numpy as np

from geomstats_vae.geodesics.curves import Curves
from geomstats_vae.geodesics.newton import SHIFTS, solve_between_ends

_BISECTIONS, _ITERATIONS = 8, 6
# Displacements tried along the mode, as shares of the length, root mean square in the metric.
_SHARES = 0.25 * 0.5 ** np.arange(14)[::-1]


def leave_saddles(evaluator, curves, system, length, tol):
    """Slide curves off their saddles.

    Parameters
    ----------
    evaluator : ElementEvaluator
        Evaluates the decoder along elements.
    curves : Curves
        Curves whose second variation is not positive definite.
    system : ElementSystem
        Their variations.
    length : array, shape=[n_curves]
        Their lengths.
    tol : float
        Share of the length by which a curve must become shorter.

    Returns
    -------
    curves : Curves
        The shortest curves found along the modes.
    moved : array of bool, shape=[n_curves]
        Which of them are not the given ones.
    """
    # The mode has unit mass, so its mean square along the curve is 1 / length.
    return slide(evaluator, curves, _lowest_mode(curves, system, length), length**1.5, length, tol)


def slide(evaluator, curves, mode, unit, length, tol):
    """Move curves along modes, to either side, as far as that makes them shorter.

    Parameters
    ----------
    evaluator : ElementEvaluator
        Evaluates the decoder along elements.
    curves : Curves
        Curves.
    mode : array, shape=[n_elements, degree + 1, dim]
        Displacements of their nodes.
    unit : array, shape=[n_curves]
        Multiple of the mode that is as large as the curve is long.
    length : array, shape=[n_curves]
        Their lengths.
    tol : float
        Share of the length by which a curve must become shorter.

    Returns
    -------
    curves : Curves
        The shortest curves found.
    moved : array of bool, shape=[n_curves]
        Which of them are not the given ones.
    """
    best, shortest = curves.nodes.copy(), length * (1.0 - tol)
    moved = np.zeros(len(curves), dtype=bool)
    for sign in (1.0, -1.0):
        sliding, last = np.ones(len(curves), dtype=bool), length
        for share in _SHARES:
            step = sign * share * unit
            nodes = curves.nodes + step[curves.owner, None, None] * mode
            tried = curves.total(evaluator.length(nodes))
            # Further only as long as it goes down: a far jump could land behind a wall.
            sliding &= tried <= last
            last = tried
            better = sliding & (tried < shortest)
            shortest, moved = np.where(better, tried, shortest), moved | better
            rows = better[curves.owner]
            best[rows] = nodes[rows]
            if not sliding.any():
                break
    return Curves(best, curves.counts), moved


def _lowest_mode(curves, system, length):
    """Mode with the least eigenvalue, of unit mass, by inverse iteration; zero where none."""

    def shifted(shift):
        weight = (shift / length**2)[curves.owner][:, None, None]
        return system.stiffness + system.curvature + weight * system.mass

    # The nearer the shift to the least eigenvalue, the more its mode stands out.
    low, high = np.full(len(curves), 0.1 * SHIFTS[0]), np.full(len(curves), SHIFTS[-1])
    for _ in range(_BISECTIONS):
        middle = np.sqrt(low * high)
        enough = solve_between_ends(curves, shifted(middle), system.gradient)[2]
        low, high = np.where(enough, low, middle), np.where(enough, middle, high)
    matrix = shifted(high)
    # Any start will do that is orthogonal to no mode; a curve's may not depend on the others.
    node = np.arange(len(curves.nodes)) - curves.offsets[:-1][curves.owner]
    phase = np.arange(curves.nodes[0].size) + curves.nodes[0].size * node[:, None]
    mode = np.sin(1.0 + 2.399963 * phase)
    for _ in range(_ITERATIONS):
        image = (system.mass @ mode[:, :, None])[:, :, 0]
        mode = solve_between_ends(curves, matrix, -image)[0].reshape(mode.shape)
        square = curves.total((mode * (system.mass @ mode[:, :, None])[:, :, 0]).sum(axis=1))
        scale = np.sqrt(np.maximum(square, np.finfo(float).tiny))
        mode = mode / scale[curves.owner][:, None]
    return mode.reshape(curves.nodes.shape)
