"""The locally adaptive normal distribution and mixtures of it, as a scikit-learn estimator."""

from __future__ import annotations

import warnings
from dataclasses import replace
from functools import partial
from numbers import Integral, Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import _fit_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions

from geomstats_vae.estimators.base import ROUNDS, Ending, space_geometry
from geomstats_vae.estimators.em import TangentEM
from geomstats_vae.estimators.em_run import Run, run_em
from geomstats_vae.estimators.land_density import TangentDensity, most_probable
from geomstats_vae.estimators.land_start import STARTS, to_space
from geomstats_vae.estimators.mixture import Component, Mixture
from geomstats_vae.estimators.region import IN_FIT, warn_outside
from geomstats_vae.estimators.rows import canonical_order, check_weights, with_metric
from geomstats_vae.estimators.tangent_normal import COVARIANCE_TYPES
from geomstats_vae.geodesics.deadline import Deadline
from geomstats_vae.geometry.bars import progress_bar
from geomstats_vae.geometry.protocol import Bools, Floats, Ints
from geomstats_vae.geometry.time_limit import OutOfTimeError
from geomstats_vae.manifolds.failures import caller_level
from geomstats_vae.manifolds.geometries import check_on_space, resolve_space
from geomstats_vae.models.validation import validate_rows


class LAND(TangentDensity):
    r"""Mixture of locally adaptive normal distributions on a space.

    The density for Riemannian volume of component k is

    .. math:: p_k(x) = C_k^{-1} \exp(-\tfrac12 \langle v, \Gamma_k v \rangle),
        \quad v = \mathrm{Log}_{\mu_k} x ,

    a normal distribution on the tangent space at the mean [1]_, with the normaliser

    .. math:: C_k = \int_D \exp(-\tfrac12 \langle v, \Gamma_k v \rangle)
        \sqrt{\det M(\mathrm{Exp} v)}\, |\det D_v \mathrm{Exp}| \, dv

    over the tangent vectors D of shortest geodesics, so that it integrates to one. In Euclidean
    space it is `sklearn.mixture.GaussianMixture`.

    Parameters
    ----------
    space : geomstats.geometry.manifold.Manifold, optional
        Space with a metric whose points are vectors, such as ``vae.latent_space_``; clones of the
        estimator share it. By default Euclidean space.
    n_components : int
        Number of components.
    covariance_type : {'full', 'diag', 'spherical'}
        Covariances of tangent vectors: any; diagonal in the coordinates of the space; or a
        multiple of the inverse metric at the mean.
    init_params : {'kmeans', 'k-means++', 'random', 'random_from_data'}
        How responsibilities start, on whitened coordinates: by k-means, by the nearest of
        k-means++ seeds or of random rows, or at random.
    n_init : int
        Number of starts, of which the best is kept.
    max_iter : int
        Largest number of moves of the means in one start.
    tol : float
        A start has converged when the mean log likelihood rises by less, or when that is all the
        rise that the means' next move promises. Where geodesics cost, a move has to promise at
        least the standard error that the normalisers give the likelihood.
    max_seconds : float, optional
        Seconds after which `fit` keeps the best state and warns; see the notes.
    reg_covar : float
        Added to variances along all directions, in squared units of Riemannian length.
    n_normalizer_samples : int
        Rays or points that each normaliser is integrated by, rounded up to eight times a power of
        two. Its standard error falls about as fast as their number rises. Integrals over latent
        coordinates (see Notes) are taken anew in the end, by four times as many points: once for
        the last steps of EM, and once for what is reported, by points that did not choose it. On
        decoders' spaces of 6 dimensions and more EM itself takes a quarter of the rays, and the
        integrals that are reported take all.
    random_state : int, numpy.random.RandomState or None
        Source of the starts, the normalisers' points and the samples.
    warm_start : bool
        Start from the last fit.
    verbose : int
        Show a progress bar that counts geodesics, with the bound after each move.

    Attributes
    ----------
    weights_ : numpy.ndarray, shape=[n_components]
        Weights, of sum 1.
    means_ : numpy.ndarray, shape=[n_components, n_features]
        Means, points of the space.
    covariances_ : numpy.ndarray
        Inverses of the precisions, in the coordinates of tangent vectors at the means: of
        shape=[n_components, n_features, n_features] for 'full', [n_components, n_features] for
        'diag', and [n_components], in squared units of Riemannian length, for 'spherical'. On an
        embedded space those of 'full' are singular across it. On a curved space they are
        parameters; second moments of the logarithms differ from them.
    precisions_ : numpy.ndarray
        The matrices Gamma of the exponents, in the same form.
    log_normalizer_ : numpy.ndarray, shape=[n_components]
        log C_k, with tangent vectors measured in an orthonormal frame.
    log_normalizer_std_ : numpy.ndarray, shape=[n_components]
        Standard errors of log_normalizer_.
    converged_ : bool
        Whether the best start converged.
    n_iter_ : int
        Moves of the means in the best start.
    lower_bound_ : float
        Weighted mean log likelihood of the training rows that a component reaches, for Riemannian
        volume.
    lower_bounds_ : numpy.ndarray, shape=[n_iter_ + 1]
        The same after every move, beginning before the first, by the normalisers of EM.
    lower_bound_std_ : float
        Standard error of lower_bound_ that the normalisers have.
    n_failed_ : int
        Geodesics between means and rows and of the normalisers that did not converge in the last
        state. Rows teach a component nothing if theirs did not, but densities use the best curves
        found.
    space_ : geomstats.geometry.manifold.Manifold
        The space.
    n_features_in_ : int
        Number of features seen during `fit`.
    feature_names_in_ : numpy.ndarray of str
        Names of the features, if `X` had any.

    See Also
    --------
    sklearn.mixture.GaussianMixture : The same in Euclidean space, and faster there.
    GeodesicKMeans : Clusters without a density.

    Notes
    -----
    With the means fixed, EM costs no geodesics and is iterated to convergence. Each move of the
    means costs a geodesic per row and component, and those of the normalisers. Moves are along the
    steepest direction of [1]_. One that would lower the likelihood is shortened, so bounds never
    fall by more than the standard errors of the normalisers. By a table of the metric, geodesics
    are measured on the decoder in the end. Without one they go on from those of the means before,
    and on a grid they are found anew in the end.

    There are two ways to integrate normalisers. In closed form, on decoders' spaces without codes,
    and in more than three dimensions, it is along rays from the mean, each up to where it stops
    being shortest. On other decoders' spaces it is by importance sampling over latent coordinates,
    which is the same after the substitution z = Exp(v). What lies beyond a box of up to five times
    the codes' range is left out.

    A start that ends with a component on stray rows, of less than a fifth of the mean weight, goes
    on with that component put elsewhere. Of the two the one of the higher bound is kept.

    A component whose variances are next to `reg_covar`, as of equal rows, is so narrow that the
    space is flat around it. On a space with codes its normaliser is then that of a normal
    distribution.

    The fit does not depend on the order of the rows, and equal rows are one row of their common
    weight. With normalisers along rays it does not depend
    on a linear change of latent coordinates either, but for 'diag'. With importance sampling such a
    change moves normalisers within their standard errors.

    Interrupted by Ctrl-C, `fit` keeps the best state and warns; so it does after `max_seconds`,
    which are over in the middle of a move, too. The first state is there when the means of the
    start have logarithms of all rows, and normalisers. The graph is built whatever its time.

    References
    ----------
    .. [1] Arvanitidis, Hansen, Hauberg. "A Locally Adaptive Normal Distribution." NeurIPS 2016.
       arXiv:1606.02518. Its normaliser leaves out the volume of Exp.

    Examples
    --------
    >>> import numpy as np
    >>> from geomstats.geometry.hypersphere import Hypersphere
    >>> from geomstats_vae import LAND
    >>> sphere = Hypersphere(2)
    >>> X = np.array([[1.0, 0.0, 0.0], [0.8, 0.6, 0.0], [0.8, 0.0, 0.6], [0.6, 0.0, -0.8]])
    >>> land = LAND(sphere, covariance_type="spherical", random_state=0).fit(X)
    >>> bool(sphere.belongs(land.means_[0]))
    True
    """

    _parameter_constraints: dict = {  # noqa: RUF012  (scikit-learn's convention)
        "space": [HasMethods("equip_with_metric"), None],
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "covariance_type": [StrOptions(set(COVARIANCE_TYPES))],
        "init_params": [StrOptions(set(STARTS))],
        "n_init": [Interval(Integral, 1, None, closed="left")],
        "max_iter": [Interval(Integral, 0, None, closed="left")],
        "tol": [Interval(Real, 0.0, None, closed="left")],
        "max_seconds": [Interval(Real, 0, None, closed="neither"), None],
        "reg_covar": [Interval(Real, 0.0, None, closed="left")],
        "n_normalizer_samples": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
        "warm_start": ["boolean"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        space: Any = None,
        n_components: int = 1,
        *,
        covariance_type: str = "full",
        init_params: str = "kmeans",
        n_init: int = 1,
        max_iter: int = 100,
        tol: float = 1e-3,
        max_seconds: float | None = None,
        reg_covar: float = 1e-6,
        n_normalizer_samples: int = 256,
        random_state: Any = None,
        warm_start: bool = False,
        verbose: int = 0,
    ) -> None:
        self.space = space
        self.n_components = n_components
        self.covariance_type = covariance_type
        self.init_params = init_params
        self.n_init = n_init
        self.max_iter = max_iter
        self.tol = tol
        self.max_seconds = max_seconds
        self.reg_covar = reg_covar
        self.n_normalizer_samples = n_normalizer_samples
        self.random_state = random_state
        self.warm_start = warm_start
        self.verbose = verbose

    # -- fitting -------------------------------------------------------------------------------

    def fit(self, X: ArrayLike, y: Any = None, sample_weight: ArrayLike | None = None) -> LAND:
        """Estimate the mixture by expectation maximisation.

        Parameters
        ----------
        X : array-like, shape=[n_samples, n_features]
            Points of the space.
        y : None
            Ignored.
        sample_weight : array-like, shape=[n_samples], optional
            Nonnegative weights; all 1 by default. A weight of 2 is that of two equal rows, and a
            row of weight 0 is left out.

        Returns
        -------
        self : LAND
            The fitted estimator.

        Raises
        ------
        ValueError
            If the data are not finite, are no points of the space, or are fewer than the
            components or than two; if weights are negative or all zero; if the metric is not
            defined at any row; or if 'diag' is asked for on an embedded space.
        OutOfTimeError
            If `max_seconds` were over before the first state.
        GeodesicConvergenceError
            If a geodesic did not converge and the metric's `on_failure` is 'raise'.

        Warns
        -----
        GeodesicConvergenceWarning
            If geodesics did not converge, or rows cannot be reached.
        UserWarning
            If most rows lie outside the region of the space's codes, as scaled rows do.
        sklearn.exceptions.ConvergenceWarning
            If there are fewer distinct rows than components, or EM did not converge, was
            interrupted or out of time, or had to start again because a component collapsed or left
            the data.
        """
        self.fit_predict(X, sample_weight=sample_weight)
        return self

    @_fit_context(prefer_skip_nested_validation=True)
    def fit_predict(
        self, X: ArrayLike, y: Any = None, sample_weight: ArrayLike | None = None
    ) -> Ints:
        """Estimate the mixture and label the points.

        Parameters
        ----------
        X : array-like, shape=[n_samples, n_features]
            Points of the space.
        y : None
            Ignored.
        sample_weight : array-like, shape=[n_samples], optional
            As of `fit`.

        Returns
        -------
        labels : numpy.ndarray of int, shape=[n_samples]
            Most probable components, -1 of rows that none reaches; those of `predict`, without its
            cost.
        """
        points = validate_rows(self, X, dtype=np.float64, ensure_min_samples=2)
        weights = check_weights(sample_weight, points)
        space = self._check_fit(points)
        rows, place = np.unique(points, axis=0, return_inverse=True)
        place = place.ravel()
        mass = np.bincount(place, weights, minlength=len(rows)).astype(float)
        defined = with_metric(space_geometry(space), rows)
        used = self._usable(mass, defined)
        used = used[canonical_order(rows[used], mass[used])]
        with progress_bar(desc="LAND", unit=" geodesics", disable=not self.verbose) as progress:
            best, mixture, ending = self._run(space, rows[used], mass[used], progress)
        self._keep(space, best, mixture)
        self.n_failed_ += self.n_components * int((~defined & (mass > 0.0)).sum())
        labels = self._label(rows, used, mixture)[place]
        self._warn(best, ending, n_rows=len(used), n_lost=int((labels[weights > 0.0] < 0).sum()))
        return labels

    def _usable(self, mass: Floats, defined: Bools) -> Ints:
        used = np.flatnonzero((mass > 0.0) & defined)
        if not len(used):
            raise ValueError(
                "Expected the metric to be defined at some point of positive weight, got none; "
                "check that the decoder is finite at the rows of X."
            )
        return used

    def _label(self, rows: Floats, used: Ints, mixture: Mixture) -> Ints:
        """Most probable components of rows, by the mixture's view of those that were used."""
        labels = np.empty(len(rows), dtype=np.int64)
        labels[used] = most_probable(mixture.log_joint())
        rest = np.setdiff1d(np.arange(len(rows)), used)
        if len(rest):
            labels[rest] = most_probable(self._view(rows[rest])[0])
        return labels

    def _run(
        self, space: Any, X: Floats, mass: Floats, progress: Any
    ) -> tuple[Run, Mixture, Ending]:
        """Run EM; the best start, its mixture with finer normalisers, and how it ended."""
        deadline = Deadline.after(self.max_seconds)
        random_state = check_random_state(self.random_state)
        em = TangentEM(
            space_geometry(
                space,
                progress=progress,
                deadline=deadline,
                n_pairs=ROUNDS * self.n_components * len(X),
            ),
            partial(to_space, space),
            X,
            mass,
            self.covariance_type,
            self.reg_covar,
            self.n_normalizer_samples,
            random_state,
            deadline,
        )
        best, ending = run_em(
            em,
            self.n_components,
            self.init_params,
            random_state,
            n_init=self.n_init,
            max_iter=self.max_iter,
            tol=self.tol,
            progress=progress,
            previous=self._mixture if self.warm_start and hasattr(self, "converged_") else None,
        )
        if ending is not Ending.DONE:
            return best, best.state, ending
        try:
            return best, em.refine(best.state, self.tol), ending
        except (KeyboardInterrupt, OutOfTimeError) as stop:
            return best, best.state, Ending.of(stop)

    def _check_fit(self, X: Floats) -> Any:
        if len(X) < self.n_components:
            raise ValueError(
                f"Expected n_samples >= n_components but got n_components = {self.n_components}, "
                f"n_samples = {len(X)}; pass more points or ask for fewer components."
            )
        space = resolve_space(self.space, X.shape[1])
        check_on_space(space, X)
        warn_outside(space, X, IN_FIT)
        if self.covariance_type == "diag" and space.dim != X.shape[1]:
            raise ValueError(
                "Expected covariance_type 'full' or 'spherical' on a space whose points have more "
                f"coordinates ({X.shape[1]}) than it has dimensions ({space.dim}), got 'diag'."
            )
        return space

    def _keep(self, space: Any, run: Run, mixture: Mixture) -> None:
        components = mixture.components
        self.space_ = space
        self.weights_ = mixture.weights
        self.means_ = np.array([c.frame.base for c in components])
        forms = [self._in_coordinates(c) for c in components]
        self.covariances_, self.precisions_ = (np.array(each) for each in zip(*forms, strict=True))
        self.log_normalizer_ = np.array([c.moments.log_normalizer for c in components])
        self.log_normalizer_std_ = np.array([c.moments.log_normalizer_std for c in components])
        self.converged_, self.n_iter_ = run.converged, len(run.bounds) - 1
        self.lower_bound_ = run.em.expectation(mixture)[0]
        self.lower_bounds_ = np.array(run.bounds)
        self.lower_bound_std_ = mixture.error
        self.n_failed_ = mixture.n_failed
        # Without the rows: what remains are the distributions.
        none = np.zeros(0, dtype=bool)
        bare = [
            replace(c, coordinates=c.coordinates[:0], reached=none, converged=none)
            for c in components
        ]
        self._mixture = Mixture(tuple(bare), mixture.weights)

    def _in_coordinates(self, component: Component) -> tuple[Any, Any]:
        """Covariance and precision in the form of the covariance type."""
        basis, dual = component.frame.basis, component.frame.dual
        precision = dual.T @ component.precision @ dual
        covariance = basis @ np.linalg.inv(component.precision) @ basis.T
        if self.covariance_type == "full":
            return covariance, precision
        if self.covariance_type == "diag":
            return np.diagonal(covariance).copy(), np.diagonal(precision).copy()
        return 1.0 / component.precision[0, 0], component.precision[0, 0]

    def _warn(self, run: Run, ending: Ending, *, n_rows: int, n_lost: int) -> None:
        if n_rows < self.n_components:
            warnings.warn(
                f"Number of distinct rows ({n_rows}) found smaller than n_components "
                f"({self.n_components}); ask for fewer.",
                ConvergenceWarning,
                stacklevel=caller_level(),
            )
        if ending is not Ending.DONE:
            message = (
                f"The fit {ending.words(self.max_seconds)} after {self.n_iter_} moves; the best "
                "state was kept."
            )
            warnings.warn(
                message + " Set warm_start and fit again to go on.",
                ConvergenceWarning,
                stacklevel=caller_level(),
            )
        elif not run.converged and self.max_iter > 0:
            warnings.warn(
                "Best performing initialization did not converge. Try different init parameters, "
                "or increase max_iter, tol, or check for degenerate data.",
                ConvergenceWarning,
                stacklevel=caller_level(),
            )
        self._report(self.n_failed_, n_lost)
