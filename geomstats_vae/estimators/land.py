"""The locally adaptive normal distribution and mixtures of it, as a scikit-learn estimator."""

from __future__ import annotations

import warnings
from dataclasses import replace
from numbers import Integral, Real

import numpy as np
from sklearn.base import _fit_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from tqdm import tqdm

from geomstats_vae.estimators.land_density import TangentDensity
from geomstats_vae.estimators.land_start import STARTS, canonical_order, first_responsibilities
from geomstats_vae.estimators.mixture import (
    DegenerateError,
    Mixture,
    TangentEM,
    expectation,
)
from geomstats_vae.estimators.tangent_normal import COVARIANCE_TYPES
from geomstats_vae.manifolds.rows import (
    RowGeometry,
    check_on_space,
    resolve_space,
)
from geomstats_vae.models.validation import validate_rows

_MAX_RESTARTS = 3


class LAND(TangentDensity):
    r"""Mixture of locally adaptive normal distributions on a space.

    The density for Riemannian volume of component k is

    .. math:: p_k(x) = C_k^{-1} \exp(-\tfrac12 \langle v, \Gamma_k v \rangle),
        \quad v = \mathrm{Log}_{\mu_k} x ,

    a normal law on the tangent space at the mean [1]_, with the normaliser

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
        rise that the means' next move promises.
    reg_covar : float
        Added to variances along all directions, in squared units of Riemannian length.
    n_normalizer_samples : int
        Rays or points that each normaliser is integrated by, rounded up to eight times a power of
        two. Its standard error falls about as fast as their number rises. Integrals over latent
        coordinates (see Notes) are taken anew in the end, by four times as many points.
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
        Mean log likelihood of the training rows, for Riemannian volume.
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
    With the means fixed, EM costs no geodesics and is iterated to convergence; each move of the
    means costs a geodesic per row and component, and those of the normalisers. A move along the
    steepest direction of [1]_ that would lower the likelihood is shortened, so bounds never fall
    by more than the standard errors of the normalisers.

    Where geodesics are in closed form, and on decoders' spaces without codes or of more than three
    dimensions, normalisers are integrated along rays from the mean, each up to where it stops
    being shortest. On decoders' spaces that know codes of the data they are integrated over
    latent coordinates instead, which is the same after the substitution z = Exp(v); what lies
    beyond a box of up to five times the codes' range is left out.

    The fit does not depend on the order of the rows. Where normalisers are integrated along rays
    it does not, but for 'diag', depend on a linear change of latent coordinates either; integrated
    over latent coordinates they change within their standard errors. Interrupted by Ctrl-C, `fit`
    keeps the best state and warns.

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
        "reg_covar": [Interval(Real, 0.0, None, closed="left")],
        "n_normalizer_samples": [Interval(Integral, 1, None, closed="left")],
        "random_state": ["random_state"],
        "warm_start": ["boolean"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        space=None,
        n_components=1,
        *,
        covariance_type="full",
        init_params="kmeans",
        n_init=1,
        max_iter=100,
        tol=1e-3,
        reg_covar=1e-6,
        n_normalizer_samples=256,
        random_state=None,
        warm_start=False,
        verbose=0,
    ):
        self.space = space
        self.n_components = n_components
        self.covariance_type = covariance_type
        self.init_params = init_params
        self.n_init = n_init
        self.max_iter = max_iter
        self.tol = tol
        self.reg_covar = reg_covar
        self.n_normalizer_samples = n_normalizer_samples
        self.random_state = random_state
        self.warm_start = warm_start
        self.verbose = verbose

    # -- fitting -------------------------------------------------------------------------------

    def fit(self, X, y=None):
        """Estimate the mixture by expectation maximisation.

        Parameters
        ----------
        X : array-like, shape=[n_samples, n_features]
            Points of the space.
        y : None
            Ignored.

        Returns
        -------
        self : LAND
            The fitted estimator.

        Raises
        ------
        ValueError
            If the data are not finite, are no points of the space, or are fewer than the
            components or than two; or if 'diag' is asked for on an embedded space.
        GeodesicConvergenceError
            If a geodesic did not converge and the metric's `on_failure` is 'raise'.

        Warns
        -----
        GeodesicConvergenceWarning
            If geodesics did not converge.
        sklearn.exceptions.ConvergenceWarning
            If EM did not converge, was interrupted, or had to start again because a component
            collapsed or left the data.
        """
        self.fit_predict(X)
        return self

    @_fit_context(prefer_skip_nested_validation=True)
    def fit_predict(self, X, y=None):
        """Estimate the mixture and label the points.

        Parameters
        ----------
        X : array-like, shape=[n_samples, n_features]
            Points of the space.
        y : None
            Ignored.

        Returns
        -------
        labels : numpy.ndarray of int, shape=[n_samples]
            Most probable components; those of `predict`, without its cost.
        """
        X = validate_rows(self, X, dtype=np.float64, ensure_min_samples=2)
        space = self._check_fit(X)
        order = canonical_order(X)
        random_state = check_random_state(self.random_state)
        resume = self.warm_start and hasattr(self, "converged_")
        best, interrupted = None, False
        with tqdm(desc="LAND", unit=" geodesics", disable=not self.verbose) as progress:
            em = TangentEM(
                RowGeometry(space, progress=progress),
                X[order],
                self.covariance_type,
                self.reg_covar,
                self.n_normalizer_samples,
                random_state,
            )
            for _ in range(1 if resume else self.n_init):
                run = _Run(em, self.max_iter, self.tol, progress)
                try:
                    self._run(run, random_state, self._mixture if resume else None)
                except KeyboardInterrupt:
                    if best is None and run.mixture is None:
                        raise
                    interrupted = True
                if run.mixture is not None and (best is None or run.bound > best.bound):
                    best = run
                if interrupted:
                    break
            mixture = best.mixture
            if not interrupted:
                try:
                    mixture = em.refine(mixture)
                except KeyboardInterrupt:
                    interrupted = True
        self._keep(space, best, mixture)
        self._warn(best, interrupted)
        labels = np.empty(len(X), dtype=np.int64)
        labels[order] = mixture.log_joint().argmax(axis=1)
        return labels

    def _check_fit(self, X):
        if len(X) < self.n_components:
            raise ValueError(
                f"Expected n_samples >= n_components but got n_components = {self.n_components}, "
                f"n_samples = {len(X)}; pass more points or ask for fewer components."
            )
        space = resolve_space(self.space, X.shape[1])
        check_on_space(space, X)
        if self.covariance_type == "diag" and space.dim != X.shape[1]:
            raise ValueError(
                "Expected covariance_type 'full' or 'spherical' on a space whose points have more "
                f"coordinates ({X.shape[1]}) than it has dimensions ({space.dim}), got 'diag'."
            )
        return space

    def _run(self, run, random_state, previous):
        """Run EM from a start, and from others where that ends badly."""
        for attempt in range(_MAX_RESTARTS + 1):
            try:
                if previous is not None:
                    run.begin(run.em.resume(previous))
                else:
                    responsibilities = first_responsibilities(
                        run.em.X, self.n_components, self.init_params, random_state
                    )
                    run.begin(run.em.start(responsibilities))
                run.iterate()
                return
            except DegenerateError as error:
                last = attempt == _MAX_RESTARTS
                action = "The best state before that was kept" if last else "EM starts again"
                warnings.warn(
                    f"{str(error).capitalize()}. {action}; fewer components, a larger reg_covar "
                    "or another init_params may help.",
                    ConvergenceWarning,
                    stacklevel=5,
                )
                previous = None
                if last and run.mixture is None:
                    raise ValueError(
                        f"Expected data that EM can start from, got {_MAX_RESTARTS + 1} starts "
                        f"that failed, at last as {error}; ask for fewer components or a larger "
                        "reg_covar."
                    ) from error

    def _keep(self, space, run, mixture):
        components = mixture.components
        self.space_ = space
        self.weights_ = mixture.weights
        self.means_ = np.array([c.frame.base for c in components])
        forms = [self._in_coordinates(c) for c in components]
        self.covariances_, self.precisions_ = (np.array(each) for each in zip(*forms, strict=True))
        self.log_normalizer_ = np.array([c.moments.log_normalizer for c in components])
        self.log_normalizer_std_ = np.array([c.moments.log_normalizer_std for c in components])
        self.converged_, self.n_iter_ = run.converged, len(run.bounds) - 1
        self.lower_bound_, self.lower_bounds_ = expectation(mixture)[0], np.array(run.bounds)
        self.lower_bound_std_ = mixture.error
        self.n_failed_ = mixture.n_failed
        # Without the rows: what remains is the law.
        none = np.zeros(0, dtype=bool)
        bare = [
            replace(c, coordinates=c.coordinates[:0], reached=none, converged=none)
            for c in components
        ]
        self._mixture = Mixture(tuple(bare), mixture.weights)

    def _in_coordinates(self, component):
        """Covariance and precision in the form of the covariance type."""
        basis, dual = component.frame.basis, component.frame.dual
        precision = dual.T @ component.precision @ dual
        covariance = basis @ np.linalg.inv(component.precision) @ basis.T
        if self.covariance_type == "full":
            return covariance, precision
        if self.covariance_type == "diag":
            return np.diagonal(covariance).copy(), np.diagonal(precision).copy()
        return 1.0 / component.precision[0, 0], component.precision[0, 0]

    def _warn(self, run, interrupted):
        if interrupted:
            message = (
                f"The fit was interrupted after {self.n_iter_} moves; the best state was kept."
            )
            warnings.warn(
                message + " Set warm_start and fit again to go on.",
                ConvergenceWarning,
                stacklevel=4,
            )
        elif not run.converged and self.max_iter > 0:
            warnings.warn(
                "Best performing initialization did not converge. Try different init parameters, "
                "or increase max_iter, tol, or check for degenerate data.",
                ConvergenceWarning,
                stacklevel=4,
            )
        self._report(self.n_failed_)


class _Run:
    """One start of EM: its best state so far, whatever happens to it."""

    def __init__(self, em, max_iter, tol, progress):
        self.em, self.max_iter, self.tol, self.progress = em, max_iter, tol, progress
        self.mixture, self.bounds, self.converged = None, [], False

    @property
    def bound(self):
        """Mean log likelihood of the state."""
        return self.bounds[-1]

    def begin(self, mixture):
        """Settle a first mixture."""
        self._take(self.em.settle(mixture, self.tol), [])

    def iterate(self):
        """Move the means until that no longer pays."""
        for _ in range(self.max_iter):
            moved = self.em.move(self.mixture, self.tol)
            if moved is None:
                self.converged = True
                return
            before = self.bound
            self._take(moved, self.bounds)
            if self.bound - before < self.tol:
                self.converged = True
                return

    def _take(self, mixture, bounds):
        self.mixture = mixture
        self.bounds = [*bounds, expectation(mixture)[0]]
        self.progress.set_postfix(move=len(bounds), bound=self.bound)
