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

from collections.abc import Iterator

import numpy as np

from geomstats_vae.geodesics.arrays import Bools, Floats, Ints
from geomstats_vae.geodesics.curves.chain import Curves, chain_together
from geomstats_vae.geodesics.curves.path import GeodesicPath
from geomstats_vae.geodesics.model import ModelFactory
from geomstats_vae.geodesics.solver import GeodesicSolver
from geomstats_vae.geodesics.status import GeodesicStatus
from geomstats_vae.immersions.immersion import Immersion

_MATRIX_BYTES = 2**22  # of the matrices of a block of curves, of which there are a dozen


def local_minima(
    immersion: Immersion,
    path: GeodesicPath,
    *,
    model: ModelFactory | None = None,
    max_halvings: int = 3,
) -> Bools:
    """Find the geodesics near which no curve with the same ends is shorter.

    Parameters
    ----------
    immersion : Immersion
        The decoder's F; of a decoder with kinks the smoothed one, at the ``width`` of the path.
    path : GeodesicPath
        Geodesics as numpy arrays, of batch shape [n_pairs].
    model : callable, optional
        Makes the `CurveModel`; see `GeodesicSolver`.
    max_halvings : int
        Halvings of all elements before a second variation that is not definite is believed.

    Returns
    -------
    minimum : array of bool, shape=[n_pairs]
        False where the end point is conjugate to the start or past a conjugate point, and where
        the curve did not converge: then it is no geodesic. Along walls of the standard deviation
        a coarse mesh finds directions of descent that are none, so a curve is called no minimum
        only on a mesh eight times as fine as the path's.
    """
    minimum = path.status == GeodesicStatus.CONVERGED
    curve_model = (model or GeodesicSolver().curve_model)(immersion.condensed(), path.degree, None)
    for rows, curves in blocks_of_curves(path, np.flatnonzero(minimum & (path.length > 0.0))):
        for _ in range(max_halvings):
            curves = curves.halved()
            definite = curve_model.definite(curves)
            minimum[rows] = definite
            rows, curves = rows[~definite], curves.take(np.flatnonzero(~definite))
            if not len(rows):
                break
    return minimum


def blocks_of_curves(path: GeodesicPath, rows: Ints) -> Iterator[tuple[Ints, Curves]]:
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
    most = max(map(len, elements), default=1)
    block = max(1, _MATRIX_BYTES // (8 * size**2 * most))
    for k in range(0, len(rows), block):
        yield rows[k : k + block], chain_together(elements[k : k + block])


def _elements(points: Floats, degree: int) -> Floats:
    """Elements of one path, without those that fill the batch up at its end."""
    n_elements = (len(points) - 1) // degree
    nodes = points[np.arange(n_elements)[:, None] * degree + np.arange(degree + 1)]
    return nodes[(nodes != points[-1]).any(axis=(1, 2))]
