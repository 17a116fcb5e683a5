"""What estimators, samplers and integrals ask of a geometry, whatever induces it.

All arrays are float64 arrays of numpy, one row per point or pair: points in coordinates of the
space, which may be more than it has dimensions (geomstats' sphere in R^3). Failures are data: a
length is infinite, a point NaN, where there is none. Rows are independent of each other.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from geomstats_vae.geodesics import GeodesicPath, LatentGraph
from geomstats_vae.geodesics.curves.path import SolvedCurves

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]
# What a geometry needs to go on from geodesics to those of nearby points, a row for each.
KeptCurves = NDArray[np.object_]


class Lengths(NamedTuple):
    """Lengths of geodesics.

    Parameters
    ----------
    length : numpy.ndarray, shape=[n_pairs]
        Lengths; infinite where there is none.
    converged : numpy.ndarray of bool, shape=[n_pairs]
        Whether each was found. Lengths of the others are those of the best curves found.
    """

    length: Floats
    converged: Bools


class Logs(NamedTuple):
    """Geodesics between rows, without the curves.

    Parameters
    ----------
    length : numpy.ndarray, shape=[n_pairs]
        Lengths; infinite where there is none.
    velocity : numpy.ndarray, shape=[n_pairs, n_features]
        Logarithms of the ends at the starts; zero where there is none.
    converged : numpy.ndarray of bool, shape=[n_pairs]
        Whether each was found. Lengths of the others are those of the best curves found.
    curves : numpy.ndarray of object, shape=[n_pairs]
        What `Geometry.logs` takes as its guess, to go on from each geodesic to that of nearby
        points; None where there is nothing. Only the geometry that made it looks into it.
    """

    length: Floats
    velocity: Floats
    converged: Bools
    curves: KeptCurves

    def copy(self) -> Logs:
        """Copy the columns, to change some rows."""
        return self.take(np.arange(len(self.length)))

    def take(self, rows: Ints | Bools) -> Logs:
        """Take some rows, in fresh columns."""
        length, velocity, converged, curves = self
        return Logs(length[rows], velocity[rows], converged[rows], curves[rows])


def no_curves(n_pairs: int) -> KeptCurves:
    """Say of pairs that there is nothing to go on from, shape=[n_pairs]."""
    return np.full(n_pairs, None, dtype=object)


class Bounds(Protocol):
    """What is known of distances without a geodesic: one evaluation, or one search of a graph."""

    def chords(self, points: Floats, centers: Floats) -> Floats:
        """Lower bounds of distances, shape=[n_points, n_centers]: chords in data space."""

    def graph_lengths(self, points: Floats, centers: Floats) -> Floats:
        """Lengths of graph paths, shape=[n_points, n_centers], a few percent from distances.

        Infinite where the graph has no path. Needs a graph, so codes of the geometry.
        """

    def variance(self, points: Floats, weights: Floats) -> float:
        """Weighted variance of the points' images, at most their Frechet variance."""

    def order(self, points: Floats) -> Ints:
        """Order of the points that no change of latent coordinates changes, shape=[n_points]."""


class Rays(Protocol):
    """Geodesics that are followed from a point, a stretch of time after the other."""

    def advance(self, n_times: int) -> tuple[Floats, Floats, Bools]:
        """Follow all rays for a unit of time.

        Parameters
        ----------
        n_times : int
            Number of equal times at which points are wanted, the end of the stretch included.

        Returns
        -------
        points : numpy.ndarray, shape=[n_rays, n_times, n_features]
            Points; NaN where a ray cannot be followed so far.
        volume : numpy.ndarray, shape=[n_rays, n_times]
            Change of volume there: the volume density of normal coordinates. Negative behind a
            first conjugate point where its sign is known; NaN where a point was not reached.
        failed : numpy.ndarray of bool, shape=[n_rays]
            Whether a ray could not be followed to the end of the stretch.
        """

    def keep(self, which: Bools) -> None:
        """Go on with some of the rays, shape=[n_rays]."""


@runtime_checkable
class Geometry(Protocol):
    """A Riemannian geometry on rows.

    Attributes
    ----------
    n_features : int
        Coordinates of a point.
    dim : int
        Dimension of the space.
    rtol : float
        Relative error that lengths may have, with room to spare.
    bounds : Bounds or None
        Cheap bounds of distances. None where a distance is as cheap as a bound, as in closed form:
        then nothing is gained by asking for fewer geodesics.
    codes : numpy.ndarray, shape=[n_codes, n_features], or None
        Points of the data that it knows, between which its graph measures; None without a graph.
    """

    @property
    def n_features(self) -> int:
        """Coordinates of a point."""

    @property
    def dim(self) -> int:
        """Dimension of the space."""

    @property
    def rtol(self) -> float:
        """Relative error that lengths may have, with room to spare."""

    @property
    def bounds(self) -> Bounds | None:
        """Cheap bounds of distances; None where a distance is as cheap as a bound."""

    @property
    def codes(self) -> Floats | None:
        """Points of the data that it knows; None without a graph."""

    def build_graph(self) -> LatentGraph | None:
        """Return the graph over the codes, built now if it was not; None without codes."""

    def with_tol(self, tol: float) -> Geometry:
        """Take a tolerance for lengths, relative to them; never one that is more exact."""

    def scaled(self, factor: float) -> Geometry:
        """Take the metric times a positive factor; lengths scale by its square root."""

    def lengths(self, start: Floats, end: Floats) -> Lengths:
        """Measure distances; starts and ends broadcast against each other."""

    def logs(self, start: Floats, end: Floats, *, guess: KeptCurves | None = None) -> Logs:
        """Find geodesics from starts to ends; they broadcast against each other.

        Parameters
        ----------
        start, end : numpy.ndarray, shape=[n_pairs, n_features]
            Points.
        guess : numpy.ndarray of object, shape=[n_pairs], optional
            Column `curves` of an earlier answer for points nearby, row by row. It saves work and
            changes no result by more than the tolerance; closed forms need none.

        Returns
        -------
        logs : Logs
            Geodesics.
        """

    def exps(self, base: Floats, velocity: Floats, *, rtol: float | None = None) -> Floats:
        """Follow geodesics for unit time.

        Parameters
        ----------
        base, velocity : numpy.ndarray, shape=[n, n_features]
            Initial points and velocities.
        rtol : float, optional
            Relative error that ends may have, where less than all of the accuracy is needed.

        Returns
        -------
        points : numpy.ndarray, shape=[n, n_features]
            Ends; NaN where a geodesic cannot be followed.
        """

    def inner_products(self, a: Floats, b: Floats, base: Floats) -> Floats:
        """Inner products of tangent vectors at base points, shape=[n]."""

    def metrics(self, points: Floats) -> Floats:
        """Metric matrices, shape=[n, n_features, n_features].

        On a space of fewer dimensions than coordinates, those of the space around it.
        """

    def connections(self, points: Floats) -> tuple[Floats, Floats]:
        """Metric matrices, and Christoffel symbols of the first kind, shape=[n, dim, dim, dim].

        The symbols are <d_i d_j F, d_k F> with the index k first. Needs n_features = dim.
        """

    def volume_densities(self, points: Floats) -> Floats:
        """Riemannian volume per unit of coordinate volume, shape=[n]."""

    def volume_changes(self, base: Floats, velocity: Floats) -> tuple[Floats, Floats]:
        """Follow geodesics, and measure the change of volume at their ends.

        Returns
        -------
        points : numpy.ndarray, shape=[n, n_features]
            Points Exp(v); NaN where the geodesic cannot be followed.
        volume : numpy.ndarray, shape=[n]
            Volume density of normal coordinates, not negative: sqrt(det M(Exp v)) |det D_v Exp|
            over sqrt(det M) at the base point.
        """

    def points_along(self, base: Floats, velocity: Floats, times: Floats) -> Floats:
        """Find points of geodesics at several times, as exactly as rays are followed.

        Parameters
        ----------
        base, velocity : numpy.ndarray, shape=[n, n_features]
            Initial points and velocities.
        times : numpy.ndarray, shape=[n_times]
            Positive times.

        Returns
        -------
        points : numpy.ndarray, shape=[n, n_times, n_features]
            Points. Behind a place where a geodesic cannot be followed, NaN or points before it.
        """

    def rays(self, base: Floats, velocity: Floats) -> Rays:
        """Begin to follow geodesics with their change of volume; points and vectors broadcast."""

    def to_tangent(self, vectors: Floats, base: Floats) -> Floats:
        """Project vectors to the tangent spaces at base points, shape=[n, n_features]."""


class PathGeometry(Geometry, Protocol):
    """A geometry whose geodesics are curves that can be had."""

    def paths(
        self, start: Floats, end: Floats, *, guess: GeodesicPath | SolvedCurves | None = None
    ) -> GeodesicPath:
        """Find geodesics, from those of nearby points, or their ``curves``, if they are given."""
