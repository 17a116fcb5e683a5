"""What is kept of geodesics that were solved for in blocks: their ends, logarithms and curves."""

from __future__ import annotations

from dataclasses import fields

import numpy as np

from geomstats_vae.geodesics import GeodesicPath
from geomstats_vae.geodesics.arrays import Floats, Ints
from geomstats_vae.geodesics.curves.path import SolvedCurves, join_curves
from geomstats_vae.geometry.protocol import Bools, KeptCurves, PathGeometry, no_curves
from geomstats_vae.geometry.rows import Ends

# Bytes that the curves of one call may take.
CURVES_BYTES = 2**28


def solve_ends(
    geometry: PathGeometry, start: Floats, end: Floats
) -> tuple[Floats, Floats, Floats, Ints]:
    """Solve for geodesics, and keep the columns of `Ends`.

    Parameters
    ----------
    geometry : PathGeometry
        Finds the geodesics.
    start, end : numpy.ndarray, shape=[n_pairs, dim]
        End points.

    Returns
    -------
    columns : tuple of numpy.ndarray
        Lengths, end velocities and statuses.
    """
    ends = Ends.of(geometry.paths(start, end))
    return ends.length, ends.initial_velocity, ends.final_velocity, ends.status


def solve_logs(
    most_bytes: int,
    geometry: PathGeometry,
    start: Floats,
    end: Floats,
    guess: KeptCurves | None = None,
) -> tuple[Floats, Floats, Bools, KeptCurves]:
    """Solve for geodesics, and keep the columns of `Logs`.

    Parameters
    ----------
    most_bytes : int
        Bytes of a curve past which it is not kept.
    geometry : PathGeometry
        Finds the geodesics.
    start, end : numpy.ndarray, shape=[n_pairs, dim]
        End points.
    guess : numpy.ndarray of object, shape=[n_pairs], optional
        Curves between points nearby, as this function returns them.

    Returns
    -------
    columns : tuple of numpy.ndarray
        Lengths, initial velocities, whether they are geodesics, and curves.
    """
    path = geometry.paths(start, end, guess=None if guess is None else unpack_curves(guess))
    ends = Ends.of(path)
    known = np.isfinite(ends.initial_velocity).all(axis=1) & np.isfinite(ends.length)
    velocity = np.where(known[:, None], ends.initial_velocity, 0.0)
    return ends.known_length, velocity, ends.found & known, _packed(path, most_bytes)


def _packed(path: GeodesicPath, most_bytes: int) -> KeptCurves:
    """Split curves into rows; those that are large, or no geodesics, are left out."""
    kept = no_curves(len(path.length))
    curves = path.curves
    if curves is None:  # of a solver that cannot go on from any
        return kept
    sizes = [most_bytes + 1 if nodes is None else nodes.nbytes for nodes in curves.nodes]
    rows = np.flatnonzero(curves.converged & (np.array(sizes) <= most_bytes))
    for k, single in zip(rows, curves.single(rows), strict=True):
        kept[k] = single
    return kept


def unpack_curves(kept: KeptCurves) -> SolvedCurves | None:
    """Join rows to the curves that a solver goes on from.

    Parameters
    ----------
    kept : numpy.ndarray of object, shape=[n_pairs]
        Curves, or None.

    Returns
    -------
    curves : SolvedCurves or None
        Curves; those of rows without one have no nodes. None if there are none at all.
    """
    some = next((row for row in kept if row is not None), None)
    if some is None:
        return None
    nothing = {column.name: getattr(some, column.name) for column in fields(SolvedCurves)}
    nothing |= {"nodes": [None], "converged": np.zeros(1, dtype=bool)}
    missing = SolvedCurves(**nothing)
    return join_curves([missing if row is None else row for row in kept])
