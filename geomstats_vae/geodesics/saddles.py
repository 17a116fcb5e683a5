"""Leaving saddles: curves that are stationary, and not the shortest near them.

A curve over the top of a hill, from which it would slide to either side, has no gradient to follow.
A model says in which direction it slides; here it slides as far as that makes it shorter.
"""

from __future__ import annotations

import numpy as np

from geomstats_vae.geodesics.arrays import Bools, Floats
from geomstats_vae.geodesics.curves.chain import Curves
from geomstats_vae.geodesics.model import CurveModel
from geomstats_vae.geodesics.options import MinimiseOptions


def slide(
    model: CurveModel,
    curves: Curves,
    mode: Floats,
    unit: Floats,
    length: Floats,
    tol: float,
    options: MinimiseOptions,
) -> tuple[Floats, Bools]:
    """Move curves along modes, to either side, as far as that makes them shorter.

    Parameters
    ----------
    model : CurveModel
        Measures the curves.
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
    options : MinimiseOptions
        How far curves slide.

    Returns
    -------
    nodes : array, shape=[n_elements, degree + 1, dim]
        Nodes of the shortest curves found.
    moved : array of bool, shape=[n_curves]
        Which of them are not the given ones.
    """
    best, shortest = curves.nodes.copy(), length * (1.0 - tol)
    moved = np.zeros(len(curves), dtype=bool)
    shares = options.longest_slide * 0.5 ** np.arange(options.n_slides)[::-1]
    for sign in (1.0, -1.0):
        sliding, last = np.ones(len(curves), dtype=bool), length
        for share in shares:
            step = sign * share * unit
            nodes = curves.nodes + step[curves.owner, None, None] * mode
            tried = curves.total(model.lengths(nodes))
            # Further only as long as it goes down: a far jump could land behind a wall.
            sliding &= tried <= last
            last = tried
            better = sliding & (tried < shortest)
            shortest, moved = np.where(better, tried, shortest), moved | better
            rows = better[curves.owner]
            best[rows] = nodes[rows]
            if not sliding.any():
                break
    return best, moved
