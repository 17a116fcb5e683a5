"""Second derivatives of half the squared distance between the ends of geodesics.

They are those of the energy of the shortest curve: the index form of Jacobi fields with given ends
([1]_, chapter 10, exercise 5). On the elements that a geodesic was solved with, that is the second
variation of its length times the length, with all nodes but the two ends eliminated. It costs as
much as one step of Newton's method, far less than to follow the Jacobi fields.

References
----------
.. [1] do Carmo. "Riemannian Geometry." Birkhaeuser 1992.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from geomstats_vae.geodesics.arrays import Floats, Ints
from geomstats_vae.geodesics.assembled import AssembledModel
from geomstats_vae.geodesics.curves.chain import Curves, chain_together
from geomstats_vae.geodesics.table.measure import end_hessians
from geomstats_vae.geometry.decoder import DecoderGeometry
from geomstats_vae.geometry.protocol import KeptCurves

_MATRIX_BYTES = 2**25  # of the elements' matrices of a block of curves, of which there are a few


class DistanceHessians(NamedTuple):
    """Second derivatives of half the squared distance from x to y.

    Parameters
    ----------
    by_start : numpy.ndarray, shape=[n_pairs, dim, dim]
        Covariant Hessians by x. That of a sum of which x is a critical point is the ordinary one.
    mixed : numpy.ndarray, shape=[n_pairs, dim, dim]
        Derivatives by x, then by y; entry [i, j] is d^2 / dx_i dy_j.
    """

    by_start: Floats
    mixed: Floats


def distance_hessians(
    geometry: DecoderGeometry, curves: KeptCurves, *, n_halvings: int = 0
) -> DistanceHessians:
    """Second derivatives of half the squared lengths of geodesics by their ends.

    Parameters
    ----------
    geometry : DecoderGeometry
        The geometry that found them.
    curves : numpy.ndarray of object, shape=[n_pairs]
        Column `curves` of `Logs`.
    n_halvings : int
        Halvings of all elements, for more digits.

    Returns
    -------
    hessians : DistanceHessians
        Second derivatives, of a decoder with kinks those of the smoothed one. NaN where there is no
        curve.
    """
    dim = geometry.dim
    hessians = DistanceHessians(*np.full((2, len(curves), dim, dim), np.nan))
    table = None if n_halvings else geometry.metric_table
    immersion = geometry.smooth_immersion().condensed()
    there = [k for k, row in enumerate(curves) if row is not None]
    degree = np.array([curves[k].nodes[0].shape[1] - 1 for k in there], dtype=int)
    for one in np.unique(degree):
        model = AssembledModel(immersion, int(one))
        rows = np.array(there)[degree == one]
        each = 8 * ((one + 1) * dim) ** 2 * 2**n_halvings
        sizes = np.cumsum([len(curves[k].nodes[0]) * each for k in rows])
        for block in np.split(rows, np.flatnonzero(np.diff(sizes // _MATRIX_BYTES)) + 1):
            chains = chain_together([curves[k].nodes[0] for k in block])
            if table is not None:
                hessians.by_start[block], hessians.mixed[block] = end_hessians(table, chains)
                block = block[~np.isfinite(hessians.by_start[block]).all(axis=(1, 2))]
                if not len(block):
                    continue
                chains = chain_together([curves[k].nodes[0] for k in block])
            for _ in range(n_halvings):
                chains = chains.halved()
            hessians.by_start[block], hessians.mixed[block] = _between_ends(model, chains)
    return hessians


def _between_ends(model: AssembledModel, curves: Curves) -> tuple[Floats, Floats]:
    """Second derivatives by the start, and by start and end, of half the squared lengths."""
    with torch.no_grad():
        variation = model.variation(curves.nodes)
    first, middle, last = _without_inner(variation.stiffness + variation.curvature, curves.dim)
    start, mixed, end = (part[curves.offsets[:-1]] for part in (first, middle, last))
    for k in range(1, int(curves.counts.max())):
        longer = np.flatnonzero(curves.counts > k)
        rows = curves.offsets[longer] + k
        # The node where an element begins is joined to the two ends of all that is before it.
        to_both = np.concatenate((mixed[longer].transpose(0, 2, 1), middle[rows]), axis=2)
        solved = _solved(end[longer] + first[rows], to_both)
        to_start, to_end = np.split(solved, 2, axis=2)
        start[longer] -= mixed[longer] @ to_start
        mixed[longer] = -mixed[longer] @ to_end
        end[longer] = last[rows] - middle[rows].transpose(0, 2, 1) @ to_end
    length = curves.total(variation.length)[:, None, None]
    return length * start, length * mixed


def _without_inner(matrices: Floats, dim: int) -> tuple[Floats, Floats, Floats]:
    """Blocks of element matrices between the first and the last node, others eliminated."""
    ends: Ints = np.r_[:dim, matrices.shape[1] - dim : matrices.shape[1]]
    inner = slice(dim, matrices.shape[1] - dim)
    among, across = matrices[:, inner, inner], matrices[:, inner][:, :, ends]
    left = matrices[:, ends][:, :, ends] - across.transpose(0, 2, 1) @ _solved(among, across)
    return left[:, :dim, :dim], left[:, :dim, dim:], left[:, dim:, dim:]


def _solved(matrices: Floats, right: Floats) -> Floats:
    """Solve linear systems; NaN where a matrix is singular or not finite."""
    try:
        return np.asarray(np.linalg.solve(matrices, right), dtype=np.float64)
    except np.linalg.LinAlgError:
        inverse, failed = torch.linalg.inv_ex(torch.from_numpy(matrices))
        inverse[failed != 0] = torch.nan
        return np.asarray(inverse.numpy() @ right, dtype=np.float64)
