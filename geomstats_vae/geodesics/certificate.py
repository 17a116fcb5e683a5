"""The certificate of curves that have descended by chords, without a second variation.

Its residual is the decrement in the matrix that the steps of the descent have taught.
"""

from __future__ import annotations

import numpy as np

from geomstats_vae.geodesics.arrays import Floats
from geomstats_vae.geodesics.curves.chain import Curves
from geomstats_vae.geodesics.deadline import NO_LIMIT, Deadline
from geomstats_vae.geodesics.descent import Descended
from geomstats_vae.geodesics.ends import end_metrics, velocities
from geomstats_vae.geodesics.minimised import Minimised
from geomstats_vae.geodesics.model import CurveModel
from geomstats_vae.geodesics.status import GeodesicStatus


def certify(
    model: CurveModel,
    found: Descended,
    n_elements: int,
    n_chords: int,
    rtol: float,
    deadline: Deadline = NO_LIMIT,
) -> Minimised:
    """Measure curves that have descended, and give each its status.

    Lengths are those by chords, extrapolated: their error falls with the square of the number of
    chords.

    Parameters
    ----------
    model : CurveModel
        Measures.
    found : Descended
        The curves.
    n_elements : int
        Elements that they are made of.
    n_chords : int
        Chords of a curve by which it is measured; it is measured once more by twice as many.
    rtol : float
        Bound on the residual, and on the relative difference of the two measures.
    deadline : Deadline, optional
        When the descent was to end.

    Returns
    -------
    minimised : Minimised
        The curves.
    """
    elements = found.curves.elements(n_elements, model.element.degree)
    coarse, fine = (_chords(model, elements, n) for n in (n_chords, 2 * n_chords))
    with np.errstate(invalid="ignore"):
        length, error = fine + (fine - coarse) / 3.0, np.abs(fine - coarse) / fine
    status = np.full(len(elements), int(GeodesicStatus.CONVERGED))
    late = deadline.passed
    unfinished = GeodesicStatus.OUT_OF_TIME if late else GeodesicStatus.MAX_ITER
    status[~(found.residual <= rtol)] = unfinished
    status[~(error <= rtol)] = GeodesicStatus.UNDER_RESOLVED
    status[~np.isfinite(length)] = GeodesicStatus.NON_FINITE
    return Minimised(
        curves=elements,
        length=np.where(np.isfinite(length), length, np.inf),
        velocity=velocities(model, elements, 0.0, length, end_metrics(model, elements)),
        residual=np.where(np.isfinite(found.residual), found.residual, np.inf),
        length_error=np.where(np.isfinite(error), error, np.inf),
        status=status,
        n_iter=found.n_iter,
        settled=np.zeros(len(elements), dtype=bool),
    )


def _chords(model: CurveModel, curves: Curves, n_chords: int) -> Floats:
    """Lengths of curves by about so many chords each."""
    each = -(-n_chords // int(curves.counts[0])) if len(curves) else 1
    return curves.total(model.chord_lengths(curves.sample(each)))
