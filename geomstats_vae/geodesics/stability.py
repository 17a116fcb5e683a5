"""Second-order check: whether geodesics are local minima of the length between their ends.

The second variation of a geodesic's energy with fixed ends,
I(u, u) = int |Du|^2 - <R(c', u) c', u>, is positive definite if and only if no point of (0, 1] is
conjugate to the start ([1]_, chapter 11, theorem 2.2 and corollary 2.9). Assembled on the curve's
own elements it is Newton's matrix of the shortening.

References
----------
.. [1] do Carmo. "Riemannian Geometry." Birkhäuser 1992.
"""

from __future__ import annotations

import numpy as np

from geomstats_vae.geodesics.curves import Curves
from geomstats_vae.geodesics.krylov import (
    KrylovEvaluator,
    definite_variations,
    evaluator_for,
    newton_steps,
)
from geomstats_vae.geodesics.newton import solve_between_ends
from geomstats_vae.geodesics.path import GeodesicStatus

MAX_HALVINGS = 3  # before a second variation is called not definite
_MATRIX_BYTES = 2**22  # of the matrices of a block of curves, of which there are a dozen


def local_minima(immersion, path):
    """Find the geodesics near which no curve with the same ends is shorter.

    Parameters
    ----------
    immersion : Immersion
        The decoder's F. The second derivatives of a ReLU network miss the curvature of its kinks.
    path : GeodesicPath
        Geodesics as numpy arrays, of batch shape [n_pairs].

    Returns
    -------
    minimum : array of bool, shape=[n_pairs]
        False where the end point is conjugate to the start or past a conjugate point, and where
        the curve did not converge: then it is no geodesic. Along walls of the standard deviation
        a coarse mesh finds directions of descent that are none, so a curve is called no minimum
        only on a mesh eight times as fine as the path's.
    """
    minimum = path.status == GeodesicStatus.CONVERGED
    evaluator = evaluator_for(immersion.condensed(), path.degree)
    for rows, curves in blocks_of_curves(path, np.flatnonzero(minimum & (path.length > 0.0))):
        for _ in range(MAX_HALVINGS):
            curves = curves.split(np.ones(len(curves.nodes), dtype=bool))
            definite = _definite(evaluator, curves)
            minimum[rows] = definite
            rows, curves = rows[~definite], curves.take(np.flatnonzero(~definite))
            if not len(rows):
                break
    return minimum


def blocks_of_curves(path, rows):
    """Yield some of a path's curves as chains of elements, in blocks of bounded memory.

    Parameters
    ----------
    path : GeodesicPath
        Geodesics as numpy arrays, of batch shape [n_pairs].
    rows : array of int, shape=[n_rows]
        Pairs of which the curves are wanted.

    Yields
    ------
    rows : array of int, shape=[n_block]
        Pairs of a block.
    curves : Curves
        Their curves.
    """
    elements = [_elements(path.points[k], path.degree) for k in rows]
    size = (path.degree + 1) * path.points.shape[2]
    most = max((len(piece) for piece in elements), default=1)
    block = max(1, _MATRIX_BYTES // (8 * size**2 * most))
    for k in range(0, len(rows), block):
        part = elements[k : k + block]
        counts = np.array([len(piece) for piece in part])
        yield rows[k : k + block], Curves(np.concatenate(part), counts)


def _elements(points, degree):
    """Elements of one path, without those that fill the batch up at its end."""
    n_elements = (len(points) - 1) // degree
    nodes = points[np.arange(n_elements)[:, None] * degree + np.arange(degree + 1)]
    return nodes[(nodes != points[-1]).any(axis=(1, 2))]


def _definite(evaluator, curves):
    if isinstance(evaluator, KrylovEvaluator):
        return definite_variations(evaluator, curves)
    return solve_variation(evaluator, curves, evaluator.system(curves.nodes))[2]


def solve_variation(evaluator, curves, system):
    """Solve for the step of Newton's method to a geodesic between the curves' own ends.

    Parameters
    ----------
    evaluator : ElementEvaluator
        Evaluates the decoder along elements.
    curves : Curves
        Curves.
    system : ElementSystem
        First and second variation of their elements.

    Returns
    -------
    step : array, shape=[n_elements, degree + 1, dim]
        Displacement of the nodes; zero at the ends, and where the matrix is not definite.
    decrement : array, shape=[n_curves]
        Squared length of the step in the metric of the second variation.
    definite : array of bool, shape=[n_curves]
        Whether the second variation is positive definite.
    """
    if isinstance(evaluator, KrylovEvaluator):
        return newton_steps(evaluator, curves)
    matrices, gradient = system.stiffness + system.curvature, system.gradient.copy()
    broken = ~(np.isfinite(matrices).all(axis=(1, 2)) & np.isfinite(gradient).all(axis=1))
    matrices[broken], gradient[broken] = -np.eye(matrices.shape[1]), 0.0
    step, decrement, definite = solve_between_ends(curves, matrices, gradient)
    return step, decrement, definite & (curves.total(broken) == 0)
