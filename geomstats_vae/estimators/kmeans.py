"""k-means by geodesic distances, as a scikit-learn estimator."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import (
    ClassNamePrefixFeaturesOutMixin,
    ClusterMixin,
    TransformerMixin,
    _fit_context,
)
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from geomstats_vae.estimators.assignment import Assignment, Labels, assign, merge, reached_labels
from geomstats_vae.estimators.base import (
    ROUNDS,
    Ending,
    SharesSpace,
    report_rows,
    space_geometry,
    with_row_tol,
)
from geomstats_vae.estimators.kmeans_run import assign_in_time, run_kmeans
from geomstats_vae.estimators.kmeans_start import asked_centers, drawn_centers
from geomstats_vae.estimators.region import IN_FIT, IN_USE, warn_outside
from geomstats_vae.estimators.rows import check_weights, distinct_rows, with_metric
from geomstats_vae.geodesics.deadline import Deadline
from geomstats_vae.geometry.bars import progress_bar
from geomstats_vae.geometry.protocol import Bools, Floats, Geometry
from geomstats_vae.manifolds.failures import caller_level
from geomstats_vae.manifolds.geometries import check_on_space, resolve_space
from geomstats_vae.models.validation import check_rows, validate_rows


class GeodesicKMeans(ClassNamePrefixFeaturesOutMixin, TransformerMixin, ClusterMixin, SharesSpace):
    """k-means clustering by geodesic distances, with Frechet means as centers.

    Minimises sum_i w_i min_k d(x_i, c_k)^2 over centers c_k by Lloyd's iterations. In Euclidean
    space that is `sklearn.cluster.KMeans`.

    Parameters
    ----------
    space : geomstats.geometry.manifold.Manifold, optional
        Space with a metric whose points are vectors, such as ``vae.latent_space_``; clones of the
        estimator share it. By default Euclidean space.
    n_clusters : int
        Number of clusters.
    init : {'k-means++', 'random'}, callable or array-like, shape=[n_clusters, n_features]
        Where centers start: at points that are drawn far from each other, at points drawn by
        their weights, where ``init(X, n_clusters, random_state=random_state)`` says, or at given
        points of the space. Draws on a metric with a graph are followed by a descent on the graph;
        see the notes.
    n_init : 'auto' or int
        Number of starts, of which the best is kept. 'auto' is 1 for given centers and for
        'k-means++', and 10 for draws on a metric with a graph, 'random' and callables.
    max_iter : int
        Largest number of iterations of one start.
    tol : float
        A start has converged when the squared distances that its centers moved sum to no more
        than `tol` times the variance of the data per dimension, or no label changes.
    max_seconds : float, optional
        Seconds after which `fit` keeps the best state and warns; see the notes.
    random_state : int, numpy.random.RandomState or None
        Source of the draws.
    verbose : int
        Show a progress bar that counts geodesics, with the inertia after each iteration.
    n_jobs : int, optional
        Blocks of geodesics solved at a time, as joblib understands it.

    Attributes
    ----------
    cluster_centers_ : numpy.ndarray, shape=[n_clusters, n_features]
        Frechet means of the clusters, points of the space.
    labels_ : numpy.ndarray of int32, shape=[n_samples]
        Index of each point's nearest center; -1 of a point that no center reaches.
    inertia_ : float
        Weighted sum of squared distances of the points that have a label to their nearest centers,
        in squared units of distance.
    n_iter_ : int
        Iterations of the best start, as `sklearn.cluster.KMeans` counts them; 0 if the time was
        over before the first assignment.
    n_failed_ : int
        Points whose geodesic to their center did not converge: their distances are those of the
        best curves found.
    space_ : geomstats.geometry.manifold.Manifold
        The space.
    n_features_in_ : int
        Number of features seen during `fit`.
    feature_names_in_ : numpy.ndarray of str
        Names of the features, if `X` had any.

    See Also
    --------
    sklearn.cluster.KMeans : The same in Euclidean space, and faster there.

    Notes
    -----
    Equal rows count as one row of their common weight, and rows are worked on in an order of their
    own: their order in `X` and their multiplicity do not matter. A linear change of latent
    coordinates does not matter either, on a decoder's metric without points. With points it does,
    for the grid of the graph does not follow it.

    Rows are points of the space, so latent codes as the encoder gives them: a scaler in front of
    the estimator changes them into others. Where most rows are farther from the nearest of the
    space's codes than nearly all codes are from their neighbours, `fit` and `predict` warn.

    No curve leads to a row where the decoder is not finite, or behind such a place. Rows that no
    center reaches pull no center and are not part of the inertia; of several starts the one that
    loses least of the weight is kept, then the one of the least inertia.

    A geodesic of a decoder's metric costs milliseconds, so as few as possible are solved for.
    In an assignment bounds rule out the clear cases: the triangle inequality [2]_, chords in data
    space, and lengths of graph paths, with a margin that is learnt from the geodesics solved. Near
    ties are solved for. The geodesics from a center to its points serve the assignment and the
    mean. If the metric has a graph, draws use its distances and all starts descend on a coarse
    graph, where every distance is known. The start with the least inertia there goes on to
    geodesics. Given centers and those of a callable are left alone. On decoders of 6 dimensions and
    more, iterations are first done by curves of few chords, which descend together with the centers
    and are no geodesics. Those that follow assign all points by geodesics, as ever, and move
    centers until the norm of each mean logarithm is at most a hundredth of the cluster's spread.

    A geodesic is known to be stationary and not to be the shortest. Interrupted by Ctrl-C, `fit`
    keeps the last assignment and warns; so it does after `max_seconds`, which are over in the
    middle of an iteration, too. If not one assignment was done by then, the centers are those of
    the first start, and points are assigned to them by lengths of graph paths, or by distances in
    data space where the metric has no graph: `n_iter_` is 0, and `n_failed_` counts all points. The
    graph is built whatever its time.

    References
    ----------
    .. [1] Arvanitidis, Hansen, Hauberg. "Latent Space Oddity: on the Curvature of Deep Generative
       Models." ICLR 2018, section 5. arXiv:1710.11379.
    .. [2] Elkan. "Using the triangle inequality to accelerate k-means." ICML 2003.

    Examples
    --------
    >>> import numpy as np
    >>> from geomstats.geometry.hypersphere import Hypersphere
    >>> from geomstats_vae import GeodesicKMeans
    >>> X = np.array([[1.0, 0.0, 0.0], [0.8, 0.6, 0.0], [0.0, 0.0, 1.0], [0.0, 0.6, 0.8]])
    >>> kmeans = GeodesicKMeans(Hypersphere(2), n_clusters=2, random_state=0).fit(X)
    >>> bool(kmeans.labels_[0] == kmeans.labels_[1] != kmeans.labels_[2])
    True
    """

    _parameter_constraints: dict = {  # noqa: RUF012  (scikit-learn's convention)
        "space": [HasMethods("equip_with_metric"), None],
        "n_clusters": [Interval(Integral, 1, None, closed="left")],
        "init": [StrOptions({"k-means++", "random"}), callable, "array-like"],
        "n_init": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "tol": [Interval(Real, 0, None, closed="left")],
        "max_seconds": [Interval(Real, 0, None, closed="neither"), None],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
        "n_jobs": [Integral, None],
    }

    # Off, every distance is solved for: to show that bounds do not change the answer.
    _sparing = True

    def __init__(
        self,
        space: Any = None,
        n_clusters: int = 8,
        *,
        init: Any = "k-means++",
        n_init: str | int = "auto",
        max_iter: int = 300,
        tol: float = 1e-4,
        max_seconds: float | None = None,
        random_state: Any = None,
        verbose: int = 0,
        n_jobs: int | None = None,
    ) -> None:
        self.space = space
        self.n_clusters = n_clusters
        self.init = init
        self.n_init = n_init
        self.max_iter = max_iter
        self.tol = tol
        self.max_seconds = max_seconds
        self.random_state = random_state
        self.verbose = verbose
        self.n_jobs = n_jobs

    @property
    def _n_features_out(self) -> int:
        return len(self.cluster_centers_)

    # -- fitting -------------------------------------------------------------------------------

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(
        self, X: ArrayLike, y: Any = None, sample_weight: ArrayLike | None = None
    ) -> GeodesicKMeans:
        """Find the centers.

        Parameters
        ----------
        X : array-like, shape=[n_samples, n_features]
            Points of the space.
        y : None
            Ignored.
        sample_weight : array-like, shape=[n_samples], optional
            Nonnegative weights; all 1 by default.

        Returns
        -------
        self : GeodesicKMeans
            The fitted estimator.

        Raises
        ------
        ValueError
            If the data are not finite, are no points of the space, or are fewer than the
            clusters; if weights are negative or all zero; if given centers do not fit; if the
            metric is not defined at any row.
        OutOfTimeError
            If `max_seconds` were over before the first centers were drawn.
        GeodesicConvergenceError
            If a geodesic did not converge and the metric's `on_failure` is 'raise'.

        Warns
        -----
        GeodesicConvergenceWarning
            If geodesics to the centers did not converge, or rows cannot be reached.
        UserWarning
            If most rows lie outside the region of the space's codes.
        sklearn.exceptions.ConvergenceWarning
            If clusters are empty, or the fit was interrupted or out of time.
        """
        points = validate_rows(self, X, dtype=np.float64, order="C")
        weights = check_weights(sample_weight, points)
        space = self._check_fit(points)
        asked = isinstance(self.init, str) or callable(self.init)
        given = None if asked else self._check_centers(space, points, self.init)
        deadline = Deadline.after(self.max_seconds)
        with progress_bar(
            desc="GeodesicKMeans", unit=" geodesics", disable=not self.verbose
        ) as progress:
            pairs = ROUNDS * self.n_clusters * len(points)
            plain = space_geometry(space, self.n_jobs, progress, n_pairs=pairs)
            patient, geometry = map(with_row_tol, (plain, plain.working(deadline=deadline)))
            rows, place = distinct_rows(patient, points)
            mass = np.bincount(place, weights, minlength=len(rows)).astype(float)
            weighted = (mass > 0.0) & with_metric(patient, rows)
            self._check_enough(weighted)
            data = rows[weighted], mass[weighted]
            starts = self._starts(space, geometry, *data, points, given)
            best, ending = run_kmeans(
                geometry,
                patient,
                *data,
                starts,
                max_iter=self.max_iter,
                tol=self.tol,
                sparing=self._sparing,
                progress=progress,
            )
            found = best.assignment
            if not weighted.all():
                rest = assign_in_time(geometry, patient, rows[~weighted], found.centers)
                found = merge(found, rest, weighted)
        self.space_ = space
        self.cluster_centers_ = best.assignment.centers
        self.labels_ = reached_labels(found)[place]
        self.inertia_ = best.inertia
        self.n_iter_ = best.n_iter
        self.n_failed_ = report_rows(space, found.geodesics.converged[place], self.labels_ >= 0)
        self._warn_of_clusters(ending)
        return self

    def _check_fit(self, X: Floats) -> Any:
        if len(X) < self.n_clusters:
            raise ValueError(
                f"n_samples={len(X)} should be >= n_clusters={self.n_clusters}; pass more points "
                "or ask for fewer clusters."
            )
        space = resolve_space(self.space, X.shape[1])
        check_on_space(space, X)
        warn_outside(space, X, IN_FIT)
        return space

    def _check_enough(self, usable: Bools) -> None:
        if not usable.any():
            raise ValueError(
                "Expected the metric to be defined at some point of positive weight, got none; "
                "check that the decoder is finite at the rows of X."
            )

    def _check_centers(self, space: Any, X: Floats, centers: ArrayLike) -> Floats:
        points = check_rows(centers, dtype=np.float64, copy=True, input_name="init")
        if points.shape != (self.n_clusters, X.shape[1]):
            raise ValueError(
                f"Expected initial centers of shape [{self.n_clusters}, {X.shape[1]}], got "
                f"{list(points.shape)}; pass one point of the space per cluster."
            )
        check_on_space(space, points)
        return points

    def _starts(
        self,
        space: Any,
        geometry: Geometry,
        rows: Floats,
        mass: Floats,
        X: Floats,
        given: Floats | None,
    ) -> Iterator[Floats]:
        """Yield initial centers, one start after the other."""
        random_state = check_random_state(self.random_state)
        if given is not None:
            yield given
        elif callable(self.init):
            for centers in asked_centers(self.init, X, self.n_clusters, self.n_init, random_state):
                yield self._check_centers(space, X, centers)
        else:
            yield from drawn_centers(
                geometry,
                rows,
                mass,
                self.n_clusters,
                init=self.init,
                n_init=self.n_init,
                max_iter=self.max_iter,
                random_state=random_state,
            )

    def _warn_of_clusters(self, ending: Ending) -> None:
        if ending is not Ending.DONE:
            warnings.warn(
                f"The fit {ending.words(self.max_seconds)} after {self.n_iter_} iterations; the "
                "best state was kept. Pass its cluster_centers_ as init to go on.",
                ConvergenceWarning,
                stacklevel=caller_level(),
            )
        n_found = len(np.unique(self.labels_[self.labels_ >= 0]))
        if n_found < self.n_clusters:
            warnings.warn(
                f"Number of distinct clusters ({n_found}) found smaller than n_clusters "
                f"({self.n_clusters}). Possibly due to duplicate points in X; ask for fewer.",
                ConvergenceWarning,
                stacklevel=caller_level(),
            )

    # -- use -----------------------------------------------------------------------------------

    def _check_points(self, X: ArrayLike) -> Floats:
        check_is_fitted(self, "cluster_centers_")
        points = validate_rows(self, X, dtype=np.float64, order="C", reset=False)
        check_on_space(self.space_, points)
        return points

    def _geometry(self, n_rows: int) -> Geometry:
        pairs = n_rows * len(self.cluster_centers_)
        return with_row_tol(space_geometry(self.space_, self.n_jobs, n_pairs=pairs))  # as fit

    def _assign(self, X: Floats) -> Assignment:
        assignment = assign(self._geometry(len(X)), X, self.cluster_centers_, sparing=self._sparing)
        found = assignment.geodesics
        report_rows(self.space_, found.converged, np.isfinite(found.length))
        return assignment

    def predict(self, X: ArrayLike) -> Labels:
        """Nearest center of each point.

        Parameters
        ----------
        X : array-like, shape=[n_samples, n_features]
            Points of the space.

        Returns
        -------
        labels : numpy.ndarray of int32, shape=[n_samples]
            Indices of centers; -1 of a point that no center reaches.

        Raises
        ------
        GeodesicConvergenceError
            If a geodesic did not converge and the metric's `on_failure` is 'raise'.

        Warns
        -----
        GeodesicConvergenceWarning
            If geodesics to the centers did not converge, or points cannot be reached.
        UserWarning
            If nearly all points lie outside the region of the space's codes.
        """
        points = self._check_points(X)
        warn_outside(self.space_, points, IN_USE)
        return reached_labels(self._assign(points))

    def transform(self, X: ArrayLike) -> Floats:
        """Distances to the centers; each is solved for.

        Parameters
        ----------
        X : array-like, shape=[n_samples, n_features]
            Points of the space.

        Returns
        -------
        distances : numpy.ndarray, shape=[n_samples, n_clusters]
            Geodesic distances; infinite where there is no curve.
        """
        geometry = self._geometry(len(points := self._check_points(X)))
        defined = with_metric(geometry, points)
        n_clusters = len(self.cluster_centers_)
        distances = np.full((len(points), n_clusters), np.inf)
        converged = np.zeros((len(points), n_clusters), dtype=bool)
        start = np.tile(self.cluster_centers_, (int(defined.sum()), 1))
        length, found = geometry.lengths(start, np.repeat(points[defined], n_clusters, axis=0))
        distances[defined] = length.reshape(-1, n_clusters)
        converged[defined] = found.reshape(-1, n_clusters)
        report_rows(self.space_, converged, np.isfinite(distances).any(axis=1))
        return distances

    def score(self, X: ArrayLike, y: Any = None, sample_weight: ArrayLike | None = None) -> float:
        """Opposite of the inertia of points about the centers.

        Parameters
        ----------
        X : array-like, shape=[n_samples, n_features]
            Points of the space.
        y : None
            Ignored.
        sample_weight : array-like, shape=[n_samples], optional
            Nonnegative weights; all 1 by default.

        Returns
        -------
        score : float
            Minus the weighted sum of squared distances to the nearest centers; minus infinity if
            no center reaches some point of positive weight.
        """
        points = self._check_points(X)
        weights = check_weights(sample_weight, points)
        length = self._assign(points).geodesics.length
        counted = weights > 0.0
        return -float(weights[counted] @ length[counted] ** 2)
