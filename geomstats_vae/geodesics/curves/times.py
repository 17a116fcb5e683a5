"""Times of curves' nodes, in proportion to the arc length."""

from __future__ import annotations

import numpy as np

from geomstats_vae.geodesics.arrays import Floats, Ints


def times_of(arcs: Floats, n_points: Ints) -> Floats:
    """Give the nodes of curves times proportional to the arc length, shape=[n_curves, n_times].

    Parameters
    ----------
    arcs : array, shape=[n_curves, n_elements, degree + 1]
        Lengths from each element's start to its nodes; zero past the last element.
    n_points : array of int, shape=[n_curves]
        Nodes of each curve; the times of others are 1.

    Returns
    -------
    times : array, shape=[n_curves, n_times]
        From 0 to 1; evenly spaced where a curve has no length.
    """
    ends = np.cumsum(arcs[:, :, -1], axis=1)
    begins = np.concatenate((np.zeros((len(arcs), 1)), ends[:, :-1]), axis=1)
    along = (arcs + begins[:, :, None])[:, :, :-1]
    along = np.concatenate((*np.moveaxis(along, 1, 0), ends[:, -1:]), axis=1)
    along[:, 0] = 0.0  # but for the rounding of the integral
    along = np.maximum.accumulate(np.where(np.isfinite(along), along, 0.0), axis=1)
    still = np.flatnonzero(~(along[:, -1] > 0.0))
    along[still, -1] = 1.0
    times = along / along[:, -1:]
    for k in still:
        times[k] = 1.0
        times[k, : n_points[k]] = np.linspace(0.0, 1.0, n_points[k])
    return times
