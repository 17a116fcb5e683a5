"""Mixtures of locally adaptive normal laws as densities: what a fitted estimator answers."""

from __future__ import annotations

import warnings
from dataclasses import replace

import geomstats.backend as gs
import numpy as np
from scipy import special
from sklearn.base import DensityMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from geomstats_vae.estimators import land_sampling
from geomstats_vae.geodesics import GeodesicConvergenceError, GeodesicConvergenceWarning
from geomstats_vae.manifolds.rows import ROW_TOL, RowGeometry, SharesSpace, check_on_space
from geomstats_vae.models.validation import validate_rows
from geomstats_vae.volume.frames import inner_products

MEASURES = ("riemannian", "lebesgue")


class TangentDensity(DensityMixin, SharesSpace):
    """Base of estimators that fit a mixture to points of a space.

    What `fit` leaves behind and all methods read: the space `space_`, the weights `weights_` and
    the laws themselves, `_mixture`.
    """

    def _log_joint(self, X):
        """Log density of each row with each component, for Riemannian volume."""
        geometry = RowGeometry(self.space_).loosened(ROW_TOL)  # as in the fit
        columns, n_failed = [], 0
        for c in self._mixture.components:
            geodesics = geometry.connect(c.frame.base, X)
            n_failed += int((~geodesics.converged).sum())
            seen = replace(
                c,
                coordinates=c.frame.coordinates(geodesics.velocity),
                reached=np.isfinite(geodesics.length),
            )
            columns.append(seen.log_density())
        self._report(n_failed)
        with np.errstate(divide="ignore"):
            return np.column_stack(columns) + np.log(self.weights_)

    def _check_points(self, X):
        check_is_fitted(self)
        X = validate_rows(self, X, dtype=np.float64, reset=False)
        check_on_space(self.space_, X)
        return X

    def score_samples(self, X, measure="riemannian"):
        """Log density of points.

        Parameters
        ----------
        X : array-like, shape=[n_samples, n_features]
            Points of the space.
        measure : {'riemannian', 'lebesgue'}
            Measure that the density is for. By default Riemannian volume: then it is a property of
            the points, whatever their coordinates. A density for Lebesgue measure in latent
            coordinates, which integrates to one over dz and compares with that of a
            `sklearn.mixture.GaussianMixture` on the same codes, is sqrt(det M(z)) times that.

        Returns
        -------
        log_density : numpy.ndarray, shape=[n_samples]
            Logarithms of the density; minus infinity where no geodesic was found.

        Raises
        ------
        ValueError
            If measure is neither, or is 'lebesgue' on an embedded space.
        """
        if measure not in MEASURES:
            raise ValueError(
                f"Expected measure to be one of {', '.join(map(repr, MEASURES))}, got {measure!r}."
            )
        X = self._check_points(X)
        logs = special.logsumexp(self._log_joint(X), axis=1)
        return logs if measure == "riemannian" else logs + self._log_volume(X)

    def _log_volume(self, X):
        if self.space_.dim != X.shape[1]:
            raise ValueError(
                "Expected measure='riemannian' on a space that is embedded in one of more "
                "dimensions, got 'lebesgue'; its points have no Lebesgue measure."
            )
        metric = self.space_.metric
        if hasattr(metric, "volume_density"):
            return np.log(gs.to_numpy(metric.volume_density(gs.from_numpy(X))))
        grams = np.array([inner_products(self.space_, x) for x in X])
        return 0.5 * np.linalg.slogdet(grams)[1]

    def score(self, X, y=None, measure="riemannian"):
        """Mean log density of points.

        Parameters
        ----------
        X : array-like, shape=[n_samples, n_features]
            Points of the space.
        y : None
            Ignored.
        measure : {'riemannian', 'lebesgue'}
            As of `score_samples`. On the same points and space the scores of two models differ by
            as much for either.

        Returns
        -------
        score : float
            Mean log likelihood.
        """
        return float(self.score_samples(X, measure).mean())

    def predict_proba(self, X):
        """Responsibilities of the components.

        Parameters
        ----------
        X : array-like, shape=[n_samples, n_features]
            Points of the space.

        Returns
        -------
        responsibilities : numpy.ndarray, shape=[n_samples, n_components]
            Of sum 1 in each row; the weights where no geodesic was found.
        """
        joint = self._log_joint(self._check_points(X))
        lost = ~np.isfinite(joint).any(axis=1)
        with np.errstate(divide="ignore"):
            joint[lost] = np.log(self.weights_)
        return special.softmax(joint, axis=1)

    def predict(self, X):
        """Most probable component of each point.

        Parameters
        ----------
        X : array-like, shape=[n_samples, n_features]
            Points of the space.

        Returns
        -------
        labels : numpy.ndarray of int, shape=[n_samples]
            Indices of components.
        """
        return self._log_joint(self._check_points(X)).argmax(axis=1)

    def sample(self, n_samples=1):
        """Draw points from the mixture.

        Parameters
        ----------
        n_samples : int
            Number of points.

        Returns
        -------
        X : numpy.ndarray, shape=[n_samples, n_features]
            Points of the space, component by component.
        labels : numpy.ndarray of int, shape=[n_samples]
            Their components.

        Raises
        ------
        ValueError
            If n_samples is not positive.

        Notes
        -----
        Draws are exact, by rejection, and take two or three geodesics each.
        """
        check_is_fitted(self)
        if n_samples < 1:
            raise ValueError(
                f"Invalid value for 'n_samples': {n_samples}. The sampling requires at least one "
                "sample."
            )
        random_state = check_random_state(self.random_state)
        geometry = RowGeometry(self.space_)
        counts = random_state.multinomial(n_samples, self.weights_)
        points = [
            land_sampling.draw(geometry, c, int(count), random_state)
            for c, count in zip(self._mixture.components, counts, strict=True)
        ]
        return np.concatenate(points), np.repeat(np.arange(len(counts)), counts)

    def _n_parameters(self):
        dim = self.space_.dim
        shape = {"full": dim * (dim + 1) // 2, "diag": dim, "spherical": 1}[self.covariance_type]
        return len(self.weights_) * (dim + shape + 1) - 1

    def bic(self, X, measure="riemannian"):
        """Bayesian information criterion; the lower the better.

        Parameters
        ----------
        X : array-like, shape=[n_samples, n_features]
            Points of the space.
        measure : {'riemannian', 'lebesgue'}
            As of `score_samples`; 'lebesgue' compares with other models of the same coordinates.

        Returns
        -------
        bic : float
            -2 log likelihood + log(n_samples) times the number of parameters.
        """
        logs = self.score_samples(X, measure)
        return float(-2.0 * logs.sum() + self._n_parameters() * np.log(len(logs)))

    def aic(self, X, measure="riemannian"):
        """Akaike information criterion; the lower the better.

        Parameters
        ----------
        X : array-like, shape=[n_samples, n_features]
            Points of the space.
        measure : {'riemannian', 'lebesgue'}
            As of `score_samples`; 'lebesgue' compares with other models of the same coordinates.

        Returns
        -------
        aic : float
            -2 log likelihood + 2 times the number of parameters.
        """
        return float(-2.0 * self.score_samples(X, measure).sum() + 2.0 * self._n_parameters())

    def _report(self, n_failed):
        """Report geodesics that did not converge, as the metric is told to."""
        policy = getattr(self.space_.metric, "on_failure", "warn")
        if not n_failed or policy == "ignore":
            return
        message = (
            f"{n_failed} geodesics did not converge. space.metric.solve_geodesic says why, pair "
            "by pair; a solver with a larger max_iter or max_elements may help."
        )
        if policy == "raise":
            raise GeodesicConvergenceError(message)
        message += " Densities use the best curves found."
        warnings.warn(message, GeodesicConvergenceWarning, stacklevel=4)
