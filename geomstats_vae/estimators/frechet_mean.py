"""Frechet means of points on a space, with the interface of geomstats' class."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from numbers import Integral, Real
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from sklearn.base import _fit_context
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions

from geomstats_vae.estimators.base import ROUNDS, SharesSpace, report_failures, space_geometry
from geomstats_vae.estimators.frechet import NEWTON_DIM, FrechetMeans, unsolved_means
from geomstats_vae.estimators.land_start import to_space
from geomstats_vae.estimators.mean_gradient import differentiable_mean, mean_derivatives
from geomstats_vae.estimators.mean_search import (
    first_means,
    near_means,
    search_means,
)
from geomstats_vae.estimators.rows import with_metric
from geomstats_vae.geodesics.deadline import NO_LIMIT, Deadline
from geomstats_vae.geometry.bars import progress_bar
from geomstats_vae.geometry.decoder import DecoderGeometry
from geomstats_vae.geometry.fans import descends_first
from geomstats_vae.geometry.protocol import Bools, Floats, Geometry, Logs, no_curves
from geomstats_vae.geometry.time_limit import OutOfTimeError
from geomstats_vae.manifolds.arrays import USES_TORCH, Array, Origin, enter, to_backend, to_host
from geomstats_vae.manifolds.closed import ClosedGeometry
from geomstats_vae.manifolds.geometries import check_on_space

# Residuals that are asked for by default, relative to the spread: where geodesics are found by
# Newton's method or in closed form, and where each digit costs many times more.
_EXACT, _ROUGH = 1e-6, 1e-2


class FrechetMean(SharesSpace):
    """Weighted Frechet mean of points, the point of the least mean squared distance to them.

    It takes the place of `geomstats.learning.frechet_mean.FrechetMean`, whose tolerance is a number
    in units of distance: with data in other units that class stops too early, in silence, or never.

    Parameters
    ----------
    space : geomstats.geometry.manifold.Manifold
        Space with a metric whose points are vectors, such as ``vae.latent_space_``; clones of the
        estimator share it.
    init_point : array-like, shape=[dim] or [n_groups, dim], optional
        Where the descent starts. By default at the mean of the coordinates; on a decoder's metric
        at the code whose image is next to the mean image.
    tol : 'auto' or float
        Residual at which a mean is found: the norm of the mean logarithm, relative to the spread,
        which is the root of the variance. 'auto' is 1e-6, and 1e-2 on the metric of a decoder of
        more than 5 dimensions or with kinks, where each digit costs many times more: the mean of n
        points is uncertain by 1 / sqrt(n) of the spread anyway.
    max_iter : int
        Largest number of steps tried.
    max_seconds : float, optional
        Seconds after which `fit` keeps the best mean and warns; see the notes.
    verbose : int
        Show a progress bar that counts geodesics, with the residual after each step.
    n_jobs : int, optional
        Blocks of geodesics solved at a time, as joblib understands it.

    Attributes
    ----------
    estimate_ : array-like, shape=[dim] or [n_groups, dim]
        Mean of the points, or of each group, as an array of the backend. NaN of a group of which
        no point of positive weight is reached.
    variance_ : array-like, shape=[] or [n_groups]
        Weighted mean squared distance of the points that are reached.
    residual_ : array-like, shape=[] or [n_groups]
        Norm of the mean logarithm, relative to the spread.
    converged_ : bool or numpy.ndarray of bool, shape=[n_groups]
        Whether the residual is at most the tolerance, and all geodesics converged.
    n_iter_ : int
        Steps tried.
    n_failed_ : int
        Geodesics that did not converge, to points out of reach included.
    reached_ : numpy.ndarray of bool, shape=[n_samples] or [n_groups, n_samples]
        Whether there is a curve from the mean to each point; the others have no part in it.

    See Also
    --------
    geomstats.learning.frechet_mean.FrechetMean : The same for spaces whose points are matrices.

    Notes
    -----
    On the metric of a decoder of few dimensions the steps are Newton's: the Hessian of the variance
    follows from the second variation of the geodesics at a fraction of their cost. Otherwise steps
    have the size of Barzilai and Borwein. Geodesics are loose at first and as exact as the
    tolerance needs at the end, and each starts from the one before. Where a table of the metric is
    in use, the mean is found in the table first, and then by geodesics of the decoder. In 6
    dimensions and more the mean and its curves, made of few chords, descend together before the
    first geodesic ([2]_); `n_iter_` counts the steps after that, and geodesics to all points say
    that the mean is found.

    Curvature may allow several local means; the one is found that is downhill from the start.

    Under geomstats' pytorch backend `estimate_` is differentiable by the points and the weights, if
    these require a gradient. Its derivatives follow from the implicit function theorem, so they are
    as good as the mean is, and cost about as much as a step; in many dimensions, several.

    Interrupted by Ctrl-C after its first step, `fit` keeps the best so far and warns; so it does
    after `max_seconds`, which are over in the middle of a step, too. If not even the geodesics from
    the start were done by then, `estimate_` is the start, and `variance_` is of lengths of graph
    paths, or of distances in data space where the metric has no graph; `residual_` is NaN. Graph,
    table and derivatives by the points have no limit.

    References
    ----------
    .. [1] Karcher. "Riemannian center of mass and mollifier smoothing." Communications on Pure and
       Applied Mathematics 30 (1977), 509-541.
    .. [2] Rygaard, Hauberg, Markvorsen. "Simultaneous Optimization of Geodesics and Frechet
       Means." 2025. arXiv:2511.04301.

    Examples
    --------
    >>> import numpy as np
    >>> from geomstats.geometry.hypersphere import Hypersphere
    >>> from geomstats_vae import FrechetMean
    >>> X = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    >>> mean = FrechetMean(Hypersphere(2)).fit(X)
    >>> np.round(np.asarray(mean.estimate_), 6).tolist()
    [0.707107, 0.707107, 0.0]
    >>> mean.converged_
    True
    """

    _parameter_constraints: dict = {  # noqa: RUF012  (scikit-learn's convention)
        "space": [HasMethods("equip_with_metric")],
        "init_point": ["array-like", None],
        "tol": [StrOptions({"auto"}), Interval(Real, 0, None, closed="neither")],
        "max_iter": [Interval(Integral, 0, None, closed="left")],
        "max_seconds": [Interval(Real, 0, None, closed="neither"), None],
        "verbose": ["verbose"],
        "n_jobs": [Integral, None],
    }

    def __init__(
        self,
        space: Any,
        *,
        init_point: Any = None,
        tol: str | float = "auto",
        max_iter: int = 100,
        max_seconds: float | None = None,
        verbose: int = 0,
        n_jobs: int | None = None,
    ) -> None:
        self.space = space
        self.init_point = init_point
        self.tol = tol
        self.max_iter = max_iter
        self.max_seconds = max_seconds
        self.verbose = verbose
        self.n_jobs = n_jobs

    def set(self, **parameters: Any) -> FrechetMean:
        """Set parameters, as of geomstats' class; see `set_params`.

        Parameters
        ----------
        **parameters : dict
            Parameters of the class.

        Returns
        -------
        self : FrechetMean
            The estimator.

        Raises
        ------
        ValueError
            If there is no such parameter.
        """
        if "epsilon" in parameters:
            raise ValueError(
                "Expected tol, the residual relative to the spread of the points, got epsilon, "
                "which geomstats takes in squared units of distance; pass tol=1e-6 for example."
            )
        return self.set_params(**parameters)

    # The space is checked, and may be a product or a double of one.
    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: ArrayLike, y: Any = None, weights: ArrayLike | None = None) -> FrechetMean:
        """Find the mean.

        Parameters
        ----------
        X : array-like, shape=[n_samples, dim] or [n_groups, n_samples, dim]
            Points of the space; with groups, the mean of each is found, all at once.
        y : None
            Ignored.
        weights : array-like, shape=[n_samples] or [n_groups, n_samples], optional
            Nonnegative weights; equal ones by default.

        Returns
        -------
        self : FrechetMean
            The fitted estimator.

        Raises
        ------
        ValueError
            If points are not finite or not on the space; if weights are negative, or all zero in
            some group; if the space's points are no vectors.
        GeodesicConvergenceError
            If the mean was not found, or a geodesic did not converge, and the metric's
            `on_failure` is 'raise'.

        Warns
        -----
        GeodesicConvergenceWarning
            In the same cases, if it is 'warn' or the metric has no such policy.
        """
        space = self.space
        if len(space.shape) != 1:
            raise ValueError(
                f"Expected a space whose points are vectors, got points of shape "
                f"{list(space.shape)}; geomstats.learning.frechet_mean.FrechetMean serves others."
            )
        (rows,), origin = enter(space.shape[0], points=X)
        if len(origin.batch_shape) not in (1, 2) or not len(rows):
            raise ValueError(
                f"Expected points of shape [n_samples, {space.shape[0]}] or [n_groups, n_samples, "
                f"{space.shape[0]}], got {[*origin.batch_shape, space.shape[0]]}."
            )
        check_on_space(space, rows)
        n_groups = origin.batch_shape[0] if len(origin.batch_shape) == 2 else 1
        weighted = None if weights is None else to_backend(weights, "weights")
        mass = _check_weights(weighted, origin.batch_shape, n_groups)
        labels = np.repeat(np.arange(n_groups), len(rows) // n_groups)
        deadline = Deadline.after(self.max_seconds)
        with progress_bar(desc="FrechetMean", unit=" geodesics", disable=not self.verbose) as bar:
            shown, n_pairs = bar if self.verbose else None, ROUNDS * len(rows)
            patient = space_geometry(space, self.n_jobs, shown, n_pairs=n_pairs)
            usable = with_metric(patient, rows) & (mass > 0.0)
            if not usable.any():
                raise ValueError(
                    "Expected the metric to be defined at some point of positive weight, got none; "
                    "check that the decoder is finite at the points."
                )
            geometry = patient.working(deadline=deadline)
            means, why = self._search(geometry, rows, labels, mass, usable, n_groups, bar)
        means = _spread(means, usable)
        detached = self._keep(means, labels, mass, origin)
        records = origin.requires_grad or (
            isinstance(weighted, torch.Tensor) and weighted.requires_grad
        )
        if USES_TORCH and records and torch.is_grad_enabled():
            quiet = space_geometry(space)
            self.estimate_ = _with_derivatives(
                quiet, detached, X, weighted, rows, mass, labels, means
            )
        self._report(space, why)
        return self

    def _rtol(self, geometry: Geometry) -> float:
        if self.tol != "auto":
            return float(self.tol)
        if geometry.bounds is None:
            return _EXACT
        smooth = geometry.immersion().smooth is not False  # type: ignore[attr-defined]
        return _EXACT if smooth and geometry.dim <= NEWTON_DIM else _ROUGH

    def _search(
        self,
        geometry: DecoderGeometry | ClosedGeometry,
        X: Floats,
        labels: Any,
        mass: Floats,
        usable: Bools,
        n_groups: int,
        bar: Any,
    ) -> tuple[FrechetMeans, str]:
        """Descend from the start until a limit; the best means, and what stopped the descent."""
        points, of, weights = X[usable], labels[usable], mass[usable]
        start = self._start(geometry, points, of, weights, n_groups)
        means, why = None, f"max_iter={self.max_iter} steps; allow more, or a larger tol"
        search, guess = partial(search_means, rtol=self._rtol(geometry)), None
        try:
            if descends_first(geometry) and self.max_iter:
                start, guess = near_means(geometry, points, of, weights, start)
            data = geometry, points, of, weights, start
            for means in search(*data, max_iter=self.max_iter, guess=guess):
                spread = np.sqrt(np.maximum(means.variance, np.finfo(float).tiny))
                bar.set_postfix(step=means.n_iter, residual=float((means.residual / spread).max()))
        except OutOfTimeError:
            why = f"max_seconds={self.max_seconds}; allow more, or a larger tol"
            if means is None:
                patient = geometry.working(deadline=NO_LIMIT)
                means = unsolved_means(patient, points, of, weights, start)
        except KeyboardInterrupt:
            if means is None:
                raise
            why = "an interruption; pass its estimate_ as init_point to go on"
        assert means is not None  # the start, at least
        if means.n_iter < self.max_iter and "max_iter" in why:
            why = (
                "a point where shorter and shorter steps raise the variance: its geodesics are not "
                "exact enough, or shortest curves change there; a larger tol asks for less"
            )
        return means, why

    def _start(
        self, geometry: Geometry, X: Floats, labels: Any, weights: Floats, n_groups: int
    ) -> Floats:
        if self.init_point is None:
            project = partial(to_space, self.space)
            return first_means(geometry, X, labels, weights, n_groups, project)
        (points,), _ = enter(geometry.n_features, init_point=self.init_point)
        check_on_space(self.space, points)
        return np.array(np.broadcast_to(points, (n_groups, geometry.n_features)))

    def _keep(self, means: FrechetMeans, labels: Any, mass: Floats, origin: Origin) -> Array:
        """Set the attributes, in the shape of the batch; the estimate."""
        one = len(origin.batch_shape) == 1
        detached = replace(
            origin, batch_shape=() if one else origin.batch_shape[:1], requires_grad=False
        )
        n_groups = len(means.points)
        counted = mass > 0.0
        reached = np.isfinite(means.geodesics.length)
        weight = np.bincount(labels, mass * reached, minlength=n_groups)
        failed = counted & ~means.geodesics.converged
        found = weight > 0.0
        spread = np.sqrt(means.variance)
        small = np.maximum(spread, np.finfo(float).tiny)
        estimate = detached.give(np.where(found[:, None], means.points, np.nan))
        self.estimate_ = estimate
        self.variance_ = detached.give(np.where(found, means.variance, np.nan))
        self.residual_ = detached.give(np.where(found, means.residual / small, np.nan))
        sound = means.converged & found
        sound &= np.bincount(labels, failed, minlength=n_groups) == 0
        self.converged_ = bool(sound[0]) if one else sound
        self._unsolved = bool(np.isnan(means.residual).any())
        self._descended = bool((means.converged & found).all())
        self.n_iter_, self.n_failed_ = means.n_iter, int(failed.sum())
        self._n_lost, self._n_counted = int((counted & ~reached).sum()), int(counted.sum())
        self.reached_ = reached.reshape(origin.batch_shape)
        return estimate

    def _report(self, space: Any, why: str) -> None:
        """Report once what did not converge."""
        message, consequence, remedies = "", "", []
        if not self._descended:
            residual = float(np.nanmax(np.append(to_host(self.residual_), 0.0)))
            state = f"its residual is {residual:.1e} of the spread"
            if self._unsolved:
                state = "the geodesics from its start were not done"
            message += f"The Frechet mean did not converge: {state}, and it was stopped by {why}."
            consequence += "estimate_ is the best found."
        if self.n_failed_:
            message += (
                f" {self.n_failed_} of {self._n_counted} geodesics from the mean did not converge."
            )
            consequence += " The best curves found were used."
            remedies.append(
                "space.metric.solve_geodesic says why, pair by pair; a solver with a larger "
                "max_iter or max_elements may help."
            )
        if self._n_lost:
            consequence += f" {self._n_lost} points out of reach have no part in the mean."
        if message:
            report_failures(space, message.strip(), consequence.strip(), " ".join(remedies))


def _check_weights(weights: Array | None, batch: tuple[int, ...], n_groups: int) -> Floats:
    """Weights of the rows, shape=[n_rows]."""
    if weights is None:
        return np.ones(int(np.prod(batch)))
    values = to_host(weights)
    if values.shape not in (batch, batch[-1:]):
        raise ValueError(
            f"Expected weights of shape {list(batch)}, got {list(values.shape)}; pass one for each "
            "point."
        )
    values = np.broadcast_to(values, batch).reshape(n_groups, -1)
    if not (np.isfinite(values).all() and (values >= 0.0).all() and values.any(axis=1).all()):
        raise ValueError(
            "Expected weights that are finite, nonnegative and not all zero in any group; give "
            "points that should not count a weight of zero."
        )
    return values.ravel().astype(float)


def _spread(means: FrechetMeans, usable: Bools) -> FrechetMeans:
    """Give rows without a metric, or without weight, geodesics that are none."""
    if usable.all():
        return means
    n = len(usable)
    found = means.geodesics
    nothing = Logs(
        np.full(n, np.inf),
        np.zeros((n, found.velocity.shape[1])),
        np.zeros(n, dtype=bool),
        no_curves(n),
    )
    for column, part in zip(nothing, found, strict=True):
        column[usable] = part
    return means._replace(geodesics=nothing)


def _with_derivatives(
    geometry: Geometry,
    estimate: torch.Tensor,
    X: Any,
    weights: torch.Tensor | None,
    rows: Floats,
    mass: Floats,
    labels: Any,
    means: FrechetMeans,
) -> torch.Tensor:
    """Attach derivatives to the means of all groups."""
    points = to_backend(X, "points")
    given = torch.ones(points.shape[:-1]) if weights is None else weights
    given = given.to(points).expand(points.shape[:-1])
    n_groups = len(means.points)
    values, found = estimate.reshape(n_groups, -1), []
    grouped = points.reshape(n_groups, -1, points.shape[-1]), given.reshape(n_groups, -1)
    for group, (mean, x, w) in enumerate(zip(values, *grouped, strict=True)):
        some = labels == group
        logs = means.geodesics.take(some)
        slopes = mean_derivatives(geometry, means.points[group], rows[some], mass[some], logs)
        found.append(differentiable_mean(mean, x, w, slopes))
    return torch.stack(found).reshape(estimate.shape)
