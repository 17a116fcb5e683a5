"""Manifolds as estimators use them: rows of numpy in, rows of numpy out, failures as data.

Points are vectors, one per row, in the coordinates of the space: latent codes, or the extrinsic
coordinates of geomstats' sphere. Both backends of geomstats compute; neither is seen outside.
"""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import geomstats.backend as gs
import numpy as np
import torch
from geomstats.geometry.euclidean import Euclidean
from joblib import effective_n_jobs
from sklearn.base import BaseEstimator

from geomstats_vae.geometry.pairs import PAIRS_PER_BLOCK, in_blocks
from geomstats_vae.manifolds.arrays import to_array
from geomstats_vae.manifolds.metric import PullbackDecoderMetric
from geomstats_vae.manifolds.scaled import ScaledDecoderMetric

# Rows may be off a curved space by the rounding of float32.
_OFF_SPACE = 1e-5
# Tolerance that estimators solve for geodesics to rows with: lengths are right to a tenth of it,
# and logarithms to about as much, far below what another row would change.
ROW_TOL = 1e-4
# Fewer pairs take less than to send the metric and its graph to other processes.
_FEWEST_FOR_JOBS = 32


class SharesSpace(BaseEstimator):
    """Base of estimators on a space: clones share it, for a copy would copy its decoder."""

    def __sklearn_clone__(self):
        """Clone all parameters but the space."""
        bare = copy.copy(self)
        bare.space = None
        clone = super(SharesSpace, bare).__sklearn_clone__()
        clone.space = self.space
        return clone


class Geodesics(NamedTuple):
    """Geodesics between rows, without the curves.

    Parameters
    ----------
    length : numpy.ndarray, shape=[n_pairs]
        Lengths; infinite where there is none.
    velocity : numpy.ndarray, shape=[n_pairs, n_features]
        Logarithms of the ends at the starts; zero where there is none.
    converged : numpy.ndarray of bool, shape=[n_pairs]
        Whether each was found. Lengths of the others are those of the best curves found.
    """

    length: np.ndarray
    velocity: np.ndarray
    converged: np.ndarray


def resolve_space(space, n_features):
    """Take a space whose points are vectors of some length.

    Parameters
    ----------
    space : geomstats.geometry.manifold.Manifold or None
        Equipped space; None is the Euclidean space.
    n_features : int
        Number of features of the data.

    Returns
    -------
    space : geomstats.geometry.manifold.Manifold
        The same, or a new Euclidean space.

    Raises
    ------
    ValueError
        If the space has no metric, or its points are not vectors of n_features entries.
    """
    if space is None:
        return Euclidean(n_features)
    if not hasattr(space, "metric"):
        raise ValueError(
            f"Expected a space with a metric, got {type(space).__name__} without one; "
            "call space.equip_with_metric first."
        )
    if tuple(space.shape) != (n_features,):
        shape = ", ".join(map(str, space.shape))
        raise ValueError(
            f"Expected points of shape [{shape}] for this {type(space).__name__}, got data with "
            f"{n_features} features; pass points of the space, such as the latent codes "
            "vae.transform(X), not data."
        )
    return space


def check_on_space(space, X):
    """Check that rows are points of a space.

    Parameters
    ----------
    space : geomstats.geometry.manifold.Manifold
        Space.
    X : numpy.ndarray, shape=[n_samples, n_features]
        Points.

    Raises
    ------
    ValueError
        If some row is off the space by more than the rounding of float32.
    """
    belongs = gs.to_numpy(space.belongs(_array(X), atol=_OFF_SPACE))
    off = np.flatnonzero(~np.broadcast_to(belongs, len(X)))
    if len(off):
        raise ValueError(
            f"Expected points of {type(space).__name__}, got {len(off)} of {len(X)} rows off it, "
            f"the first of them row {off[0]}; project them with space.projection."
        )


def decoder_metric(metric):
    """Find the decoder's metric that geodesics are solved for in.

    Parameters
    ----------
    metric : geomstats.geometry.riemannian_metric.RiemannianMetric
        Metric of a space, perhaps a decoder's times a constant.

    Returns
    -------
    metric : PullbackDecoderMetric or None
        The decoder's metric itself; None of other metrics.
    factor : float
        Ratio of the lengths in the given metric to those in it.
    """
    factor = 1.0
    while isinstance(metric, ScaledDecoderMetric):
        factor *= math.sqrt(metric.scale)
        metric = metric.underlying_metric
    return (metric if isinstance(metric, PullbackDecoderMetric) else None), factor


class RowGeometry:
    """Geodesics between rows, in one batch or in blocks by joblib.

    Parameters
    ----------
    space : geomstats.geometry.manifold.Manifold
        Equipped space whose points are vectors.
    n_jobs : int, optional
        Blocks of pairs solved at a time, as joblib understands it.
    progress : tqdm.tqdm, optional
        Bar that is moved by the number of pairs.

    Attributes
    ----------
    n_pairs : int
        Number of pairs connected or measured so far.

    Notes
    -----
    Starts and ends broadcast against each other and may be many or none. Pairs are independent:
    a result does not depend on the rest of its batch.
    """

    def __init__(self, space, n_jobs=None, progress=None):
        self.space, self.n_jobs, self.progress = space, n_jobs, progress
        self.n_pairs = 0

    @property
    def solves(self):
        """Whether geodesics are solved for, each at a cost, and not given in closed form."""
        return decoder_metric(self.space.metric)[0] is not None

    def loosened(self, tol):
        """Copy that solves less exactly.

        Parameters
        ----------
        tol : float
            Tolerance of the metric's solver, relative to the lengths.

        Returns
        -------
        geometry : RowGeometry
            With a metric that shares all but the solver; this one itself if the metric is no
            decoder's, or scaled, or no more exact already.
        """
        metric = self.space.metric
        if not isinstance(metric, PullbackDecoderMetric) or metric.solver.tol >= tol:
            return self
        metric._start_landscape()  # once, for both
        loose, space = copy.copy(metric), copy.copy(self.space)
        loose.solver = replace(metric.solver, tol=tol)
        loose._space = space
        space.metric = loose
        space.equip_with_metric(loose)  # the space's connection, too, where geomstats has such
        return RowGeometry(space, self.n_jobs, self.progress)

    def connect(self, start, end):
        """Geodesics from row to row.

        Parameters
        ----------
        start, end : array-like, shape=[n_pairs, n_features] or [n_features]
            End points.

        Returns
        -------
        geodesics : Geodesics
            Their lengths and initial velocities.
        """
        function = _solve if self.solves else _connect
        return Geodesics(*self._each_block(partial(function, self.space.metric), start, end))

    def dist(self, start, end):
        """Distances from row to row.

        Parameters
        ----------
        start, end : array-like, shape=[n_pairs, n_features] or [n_features]
            End points.

        Returns
        -------
        length : numpy.ndarray, shape=[n_pairs]
            Distances; infinite where there is no geodesic.
        converged : numpy.ndarray of bool, shape=[n_pairs]
            Whether each was found.
        """
        if self.solves:
            geodesics = self.connect(start, end)
            return geodesics.length, geodesics.converged
        return tuple(self._each_block(partial(_measure, self.space.metric), start, end))

    def exp(self, tangent_vec, base_point):
        """Points that geodesics reach in unit time.

        Parameters
        ----------
        tangent_vec, base_point : array-like, shape=[n_points, n_features]
            Velocities and initial points.

        Returns
        -------
        point : numpy.ndarray, shape=[n_points, n_features]
            End points; NaN where a geodesic cannot be followed.
        """
        vector, base = np.broadcast_arrays(tangent_vec, base_point)
        metric = self.space.metric
        if not self.solves:
            return _rows(metric.exp(_array(vector), _array(base)))
        metric, _ = decoder_metric(metric)  # a constant factor changes no geodesic
        immersion = metric.decoder.immersion()
        tensors = (
            _tensor(rows).to(dtype=immersion.dtype, device=immersion.device)
            for rows in (base, vector)
        )
        with torch.no_grad():
            end = metric.exponential.solve(immersion, *tensors)
        point = end.point.cpu().numpy()
        return np.where(end.status.cpu().numpy()[:, None] == 0, point, np.nan)

    def inner_product(self, vector_a, vector_b, base_point):
        """Inner products of tangent vectors.

        Parameters
        ----------
        vector_a, vector_b, base_point : array-like, shape=[n_points, n_features]
            Tangent vectors and the points that they sit at.

        Returns
        -------
        inner_product : numpy.ndarray, shape=[n_points]
            Their products in the metric.
        """
        rows = np.broadcast_arrays(vector_a, vector_b, base_point)
        products = self.space.metric.inner_product(*map(_array, rows))
        return np.broadcast_to(gs.to_numpy(products), len(rows[0])).astype(float)

    def squared_norm(self, vector, base_point):
        """Squared norms of tangent vectors.

        Parameters
        ----------
        vector, base_point : array-like, shape=[n_points, n_features]
            Tangent vectors and the points that they sit at.

        Returns
        -------
        squared_norm : numpy.ndarray, shape=[n_points]
            Their squared lengths in the metric.
        """
        return self.inner_product(vector, vector, base_point)

    def _each_block(self, function, start, end):
        start, end = (
            _tensor(rows) for rows in np.broadcast_arrays(np.atleast_2d(start), np.atleast_2d(end))
        )
        n_jobs = effective_n_jobs(self.n_jobs) if len(start) >= _FEWEST_FOR_JOBS else 1
        if n_jobs == 1:
            function = partial(self._counted, function)
        elif self.solves:
            decoder_metric(self.space.metric)[0]._start_landscape()  # once, and not in every worker
        if len(start) and n_jobs == 1 and not self.solves:
            return function(start, end)
        columns = in_blocks(function, start, end, PAIRS_PER_BLOCK, n_jobs=n_jobs)
        if n_jobs > 1:
            self._count(len(start))
        return columns

    def _counted(self, function, start, end):
        columns = function(start, end)
        self._count(len(start))
        return columns

    def _count(self, n_pairs):
        self.n_pairs += n_pairs
        if self.progress is not None:
            self.progress.update(n_pairs)


def _tensor(rows):
    # Copied: torch warns of read-only arrays and refuses negative strides.
    return torch.from_numpy(np.array(rows, dtype=np.float64, order="C"))


def _array(rows):
    return to_array(_tensor(rows))


def _rows(array):
    return np.atleast_2d(np.asarray(gs.to_numpy(array), dtype=float))


def _solve(metric, start, end):
    path = metric.solve_geodesic(to_array(start), to_array(end))
    names = ("length", "initial_velocity", "converged")
    length, velocity, converged = (gs.to_numpy(getattr(path, name)) for name in names)
    return _honest(length, velocity, converged)


def _connect(metric, start, end):
    length, converged = _measure(metric, start, end)
    if not len(start):
        return length, end.numpy(), converged
    velocity = _rows(metric.log(to_array(end), to_array(start)))
    return _honest(length, velocity, converged)


def _measure(metric, start, end):
    if not len(start):
        return np.zeros(0), np.zeros(0, dtype=bool)
    length = np.reshape(gs.to_numpy(metric.dist(to_array(start), to_array(end))), len(start))
    finite = np.isfinite(length)
    return np.where(finite, length, np.inf), finite


def _honest(length, velocity, converged):
    finite = np.isfinite(length) & np.isfinite(velocity).all(axis=1)
    length = np.where(np.isfinite(length), length, np.inf)
    return length, np.where(finite[:, None], velocity, 0.0), converged & finite
