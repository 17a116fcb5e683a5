"""What a fitted mixture of locally adaptive normal distributions answers, as a density."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import special
from sklearn.base import DensityMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from geomstats_vae.estimators import land_sampling
from geomstats_vae.estimators.base import SharesSpace, report_failures, space_geometry, with_row_tol
from geomstats_vae.estimators.mixture import Mixture
from geomstats_vae.estimators.region import IN_USE, warn_outside
from geomstats_vae.estimators.rows import check_weights, with_metric
from geomstats_vae.geometry.decoder import DecoderGeometry
from geomstats_vae.geometry.protocol import Floats, Geometry, Ints
from geomstats_vae.geometry.tables import TableOnDemand
from geomstats_vae.manifolds.geometries import check_on_space
from geomstats_vae.models.validation import validate_rows
from geomstats_vae.volume.importance_grid import ImportanceGrid

MEASURES = ("riemannian", "lebesgue")
# Geodesics to points beyond a table that pay for a wider one: each takes 30 ms without.
_MANY_BEYOND = 100


def most_probable(joint: Floats) -> Ints:
    """Find the components of the largest densities.

    Parameters
    ----------
    joint : numpy.ndarray, shape=[n_samples, n_components]
        Log densities of rows with components.

    Returns
    -------
    labels : numpy.ndarray of int, shape=[n_samples]
        Indices of components; -1 of a row that none reaches.
    """
    return np.where(np.isfinite(joint).any(axis=1), joint.argmax(axis=1), -1)


def _by_reach(
    geometry: Geometry, X: Floats, rows: Ints, n_means: int
) -> list[tuple[Ints, Geometry]]:
    """Split rows into those that the table in use knows, and those that a wider one may know.

    Where there are a few only, the decoder's own geodesics cost less than a wider table.
    """
    if not len(rows):
        return []
    table = geometry.metric_table if isinstance(geometry, DecoderGeometry) else None
    wider = ImportanceGrid.within_table(geometry)
    if table is None or wider is geometry or not isinstance(wider, DecoderGeometry):
        return [(rows, geometry)]
    known = table.knows(X[rows])
    beyond = rows[~known]
    built = isinstance(wider.table, TableOnDemand) and wider.table.built
    if not len(beyond) or not (built or len(beyond) * n_means >= _MANY_BEYOND):
        return [(rows, geometry)]
    return [(rows[known], geometry), (beyond, wider)]


class TangentDensity(DensityMixin, SharesSpace):
    """Base of estimators that fit a mixture to points of a space.

    What `fit` leaves behind and all methods read: the space `space_`, the weights `weights_` and
    the distributions themselves, `_mixture`.
    """

    space_: Any
    weights_: Floats
    covariance_type: str
    random_state: Any
    _mixture: Mixture

    def _log_joint(self, X: Floats) -> Floats:
        """Log density of each row with each component, for Riemannian volume."""
        joint, n_failed = self._view(X)
        self._report(n_failed, int((~np.isfinite(joint).any(axis=1)).sum()))
        return joint

    def _view(self, X: Floats) -> tuple[Floats, int]:
        """Find it without a report, and the number of geodesics that did not converge."""
        n_pairs = len(X) * len(self._mixture.components)
        geometry = with_row_tol(space_geometry(self.space_, n_pairs=n_pairs))  # as in the fit
        defined = with_metric(geometry, X)
        joint = np.full((len(X), len(self._mixture.components)), -np.inf)
        n_failed = joint.shape[1] * int((~defined).sum())
        with np.errstate(divide="ignore"):
            log_weights = np.log(self.weights_)
        for rows, working in _by_reach(geometry, X, np.flatnonzero(defined), joint.shape[1]):
            for k, c in enumerate(self._mixture.components):
                logs = working.logs(c.frame.base, X[rows])
                n_failed += int((~logs.converged).sum())
                seen = replace(
                    c,
                    coordinates=c.frame.coordinates(logs.velocity),
                    reached=np.isfinite(logs.length),
                )
                joint[rows, k] = seen.log_density() + log_weights[k]
        return joint, n_failed

    def _check_points(self, X: ArrayLike) -> Floats:
        check_is_fitted(self)
        points = validate_rows(self, X, dtype=np.float64, reset=False)
        check_on_space(self.space_, points)
        return points

    def score_samples(self, X: ArrayLike, measure: str = "riemannian") -> Floats:
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
        rows = self._check_points(X)
        logs = special.logsumexp(self._log_joint(rows), axis=1)
        return logs if measure == "riemannian" else logs + self._log_volume(rows)

    def _log_volume(self, X: Floats) -> Floats:
        if self.space_.dim != X.shape[1]:
            raise ValueError(
                "Expected measure='riemannian' on a space that is embedded in one of more "
                "dimensions, got 'lebesgue'; its points have no Lebesgue measure."
            )
        return np.log(space_geometry(self.space_).volume_densities(X))

    def score(
        self,
        X: ArrayLike,
        y: Any = None,
        measure: str = "riemannian",
        sample_weight: ArrayLike | None = None,
    ) -> float:
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
        sample_weight : array-like, shape=[n_samples], optional
            Nonnegative weights of the mean; all 1 by default.

        Returns
        -------
        score : float
            Mean log likelihood; minus infinity if no component reaches some point of positive
            weight.
        """
        logs = self.score_samples(X, measure)
        weights = check_weights(sample_weight, logs)
        counted = weights > 0.0
        return float(np.average(logs[counted], weights=weights[counted]))

    def predict_proba(self, X: ArrayLike) -> Floats:
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

    def predict(self, X: ArrayLike) -> Ints:
        """Most probable component of each point.

        Parameters
        ----------
        X : array-like, shape=[n_samples, n_features]
            Points of the space.

        Returns
        -------
        labels : numpy.ndarray of int, shape=[n_samples]
            Indices of components; -1 of a point that none reaches.
        """
        points = self._check_points(X)
        warn_outside(self.space_, points, IN_USE)
        return most_probable(self._log_joint(points))

    def sample(self, n_samples: int = 1) -> tuple[Floats, Ints]:
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
        geometry = space_geometry(self.space_)
        counts = random_state.multinomial(n_samples, self.weights_)
        points = [
            land_sampling.draw(geometry, c, int(count), random_state)
            for c, count in zip(self._mixture.components, counts, strict=True)
        ]
        return np.concatenate(points), np.repeat(np.arange(len(counts)), counts)

    def _n_parameters(self) -> int:
        dim = self.space_.dim
        shape = {"full": dim * (dim + 1) // 2, "diag": dim, "spherical": 1}[self.covariance_type]
        return len(self.weights_) * (dim + shape + 1) - 1

    def bic(self, X: ArrayLike, measure: str = "riemannian") -> float:
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

    def aic(self, X: ArrayLike, measure: str = "riemannian") -> float:
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

    def _report(self, n_failed: int, n_lost: int) -> None:
        """Report geodesics that did not converge and rows out of reach, as the metric asks."""
        message, consequence = f"{n_failed} geodesics did not converge.", ""
        if n_lost:
            message += f" No component reaches {n_lost} rows."
            consequence = " It is zero at rows out of reach, whose label is -1."
        if n_failed:
            report_failures(
                self.space_,
                message,
                f"The density uses the best curves found.{consequence}",
            )
