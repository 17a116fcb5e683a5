"""Expectation maximisation for mixtures of locally adaptive normal distributions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from scipy import linalg

from geomstats_vae.estimators.land_start import first_mean
from geomstats_vae.estimators.mean_search import near_means
from geomstats_vae.estimators.mixture import Component, DegenerateError, Mixture, expectation
from geomstats_vae.estimators.row_views import RowViews
from geomstats_vae.estimators.tangent_normal import fit_precision, flat_precision, forms, is_stale
from geomstats_vae.geodesics.deadline import NO_LIMIT, Deadline
from geomstats_vae.geometry.fans import descends_first
from geomstats_vae.geometry.protocol import Floats, Geometry, no_curves
from geomstats_vae.geometry.time_limit import check_time
from geomstats_vae.volume.frames import TangentFrame, lead_by

# Times that quadratures are renewed, until one serves the density that it leads to.
_MAX_RENEWALS = 10
# Steps of EM with fixed means: to convergence where a move of the means costs, a few where it does
# not.
_MAX_STEPS, _MAX_STEPS_CHEAP = 200, 3
# EM with fixed means stops at this share of the tolerance.
_INNER_SHARE = 0.1
# Rises that are worth a move of the means, in standard errors of the bound: where geodesics cost,
# and where they do not.
_RESOLVED, _RESOLVED_CHEAP = 1.0, 0.1
# Share of the rows' weight that counts as rounding.
_LOSS = 1e-9
# A step of the means after which the bound would be lower is shortened to a share of it between
# these.
_SHORTENING = (0.1, 0.5)
# Covariances grow on, so new quadratures are made for this many times more.
_ROOM = 1.2
# A component is a point if its covariance is at most this many times reg_covar.
_COLLAPSED = 2.0


class TangentEM:
    """Expectation maximisation for rows on a space.

    With the means fixed every step of EM is cheap and exact: the logarithms stay, and precisions
    and weights are iterated to convergence (`fit_fixed_means`). Only then the means move, all at
    once, which takes new logarithms and normalisers. A move after which the bound would be lower is
    shortened ([1]_, section 3, with the volume that it leaves out).

    Parameters
    ----------
    geometry : Geometry
        Finds and follows geodesics.
    to_space : callable
        Puts a mean of the rows' coordinates, shape=[n_features], on the space; None if it cannot.
    X : numpy.ndarray, shape=[n_rows, n_features]
        Rows.
    mass : numpy.ndarray, shape=[n_rows]
        Their positive weights.
    covariance_type : str, {'full', 'diag', 'spherical'}
        Covariance type.
    reg_covar : float
        Added to variances, in squared units of Riemannian length.
    n_samples : int
        Rays or points of each normaliser.
    random_state : numpy.random.RandomState
        Draws them, once.
    deadline : Deadline
        When steps that are not done end with `OutOfTimeError`; that of the geometry.

    References
    ----------
    .. [1] Arvanitidis, Hansen, Hauberg. "A Locally Adaptive Normal Distribution." NeurIPS 2016.
    """

    def __init__(
        self,
        geometry: Geometry,
        to_space: Callable[[Floats], Floats | None],
        X: Floats,
        mass: Floats,
        covariance_type: str,
        reg_covar: float,
        n_samples: int,
        random_state: np.random.RandomState,
        deadline: Deadline = NO_LIMIT,
    ) -> None:
        self.views = RowViews(geometry, X, n_samples, random_state, deadline)
        self.geometry, self._to_space, self._deadline = self.views.geometry, to_space, deadline
        self.X, self.mass = X, mass
        self.covariance_type, self.reg_covar = covariance_type, reg_covar

    def expectation(self, mixture: Mixture) -> tuple[float, Floats]:
        """E-step for the rows and their weights; see `mixture.expectation`."""
        return expectation(mixture, self.mass)

    def start(self, responsibilities: Floats) -> Mixture:
        """First mixture, of responsibilities shape=[n_rows, n_components]."""
        components, shares = [], responsibilities * self.mass[:, None]
        for mean, column in zip(self._first_means(shares), shares.T, strict=True):
            view = self.views.see(mean)
            weights = column * view.converged
            turned = lead_by(view.frame, view.coordinates * np.sqrt(weights)[:, None])
            coordinates = turned.coordinates(view.frame.vectors(view.coordinates))
            second = self._second(coordinates, weights)
            precision = self._flat_precision(second, turned)
            view = view._replace(frame=turned, coordinates=coordinates)
            components.append(self.views.component(view, precision))
        return Mixture(tuple(components), shares.sum(axis=0) / self.mass.sum())

    def resume(self, mixture: Mixture) -> Mixture:
        """Mixture of the same distributions, for these rows and random numbers."""
        components = [
            self.views.component(self.views.see(c.frame.base, c.frame), c.precision)
            for c in mixture.components
        ]
        return replace(mixture, components=tuple(components))

    def _first_means(self, shares: Floats) -> list[Floats]:
        """Coordinate means; in many dimensions points next to Frechet means of the nearest rows."""
        means = [first_mean(self.geometry, self._to_space, self.X, each) for each in shares.T]
        if not descends_first(self.geometry):
            return means
        labels = shares.argmax(axis=1)
        start = np.stack(means)
        points, curves = near_means(self.geometry, self.X, labels, shares.max(axis=1), start)
        for k, point in enumerate(points):
            own = no_curves(len(labels))
            own[labels == k] = curves[labels == k]
            self.views.keep(point, own)
        return list(points)

    def _second(self, coordinates: Floats, weights: Floats) -> Floats:
        total = max(weights.sum(), np.finfo(float).tiny)
        second = (coordinates.T * (weights / total)) @ coordinates
        return second + self.reg_covar * np.eye(coordinates.shape[1])

    def _flat_precision(self, second: Floats, frame: TangentFrame) -> Floats:
        try:
            with np.errstate(divide="ignore", invalid="ignore"):
                precision = flat_precision(second, self.covariance_type, frame)
        except linalg.LinAlgError:
            precision = np.full_like(second, np.nan)
        if not np.isfinite(precision).all():
            raise DegenerateError("the rows of a component have a singular covariance")
        return precision

    def fit_fixed_means(self, mixture: Mixture, tol: float) -> Mixture:
        """Iterate EM with fixed means to convergence, with quadratures that serve the result."""
        bound = -np.inf
        for _ in range(_MAX_RENEWALS):
            mixture = self._iterate(mixture, _INNER_SHARE * tol)
            previous, bound = bound, self.expectation(mixture)[0]
            stale = [is_stale(c.quadrature, c.precision) for c in mixture.components]
            # A covariance may grow without end, where that changes nothing within reach.
            if not any(stale) or bound - previous < tol:
                break
            components = tuple(
                self.views.renewed(c, room=_ROOM) if due else c
                for c, due in zip(mixture.components, stale, strict=True)
            )
            mixture = replace(mixture, components=components)
        self._check(mixture)
        return mixture

    def _iterate(self, mixture: Mixture, tol: float) -> Mixture:
        cheap = self.geometry.bounds is None
        bound = -np.inf
        for _ in range(_MAX_STEPS_CHEAP if cheap else _MAX_STEPS):
            check_time(self._deadline)
            previous, (bound, shares) = bound, self.expectation(mixture)
            if bound - previous < tol:
                break
            components = tuple(
                self._maximise(c, column)
                for c, column in zip(mixture.components, shares.T, strict=True)
            )
            weights = shares.sum(axis=0)
            mixture = Mixture(components, weights / weights.sum())
        return mixture

    def _maximise(self, component: Component, column: Floats) -> Component:
        second = self._second(component.coordinates, column * component.converged)
        basis = forms(self.covariance_type, component.frame)
        fit = fit_precision(component.quadrature, second, basis, component.precision)
        return replace(component, precision=fit.precision, moments=fit.moments)

    def refine(self, mixture: Mixture, tol: float) -> Mixture:
        """See the rows and integrate anew for the same distributions, where EM does it roughly.

        Geodesics to rows are certified. Integrals are finer over latent coordinates, and in many
        dimensions.

        Over latent coordinates EM with fixed means goes on by the finer integrals. A maximum is
        where integrals err to its favour, so those of the result are by points that did not choose
        it.
        """
        views, components = self.views, tuple(map(self.views.seen_exactly, mixture.components))
        if views.finer is not None:
            components = tuple(views.renewed(c, views.finer) for c in components)
        mixture = replace(mixture, components=components)
        if views.others is None:
            return mixture
        fitted = self._iterate(mixture, _INNER_SHARE * tol)
        if not any(is_stale(c.quadrature, c.precision) for c in fitted.components):
            mixture = fitted
        components = tuple(views.renewed(c, views.others) for c in mixture.components)
        return replace(mixture, components=components)

    def _check(self, mixture: Mixture) -> None:
        """Raise DegenerateError if a component has become a point while others have not."""
        widest = [linalg.eigvalsh(linalg.inv(c.precision))[-1] for c in mixture.components]
        collapsed = np.array(widest) <= _COLLAPSED * self.reg_covar
        if collapsed.any() and not collapsed.all():
            raise DegenerateError(f"{int(collapsed.sum())} components collapsed on a point")

    # -- means ---------------------------------------------------------------------------------

    def proposals(self, mixture: Mixture) -> tuple[list[Floats], Floats]:
        """Propose steps of the means in normal coordinates, and the rise that each promises.

        The step is the difference between the mean of the rows' logarithms and that of the
        distribution ([1]_, equation 9). Without curvature the latter is 0 and the step exact.
        """
        _, shares = self.expectation(mixture)
        steps, gains = [], []
        for c, column, weight in zip(mixture.components, shares.T, mixture.weights, strict=True):
            weights = column * c.converged
            total = max(weights.sum(), np.finfo(float).tiny)
            step = weights @ c.coordinates / total - c.moments.mean
            steps.append(step)
            gains.append(0.5 * weight * step @ c.precision @ step)
        return steps, np.array(gains)

    def move(self, mixture: Mixture, tol: float) -> Mixture | None:
        """Move the means, and iterate EM with the new ones.

        Parameters
        ----------
        mixture : Mixture
            Mixture that EM with fixed means has converged to.
        tol : float
            Rise of the bound below which means stay.

        Returns
        -------
        mixture : Mixture or None
            Mixture of a bound that is not lower; None if neither the means nor the rest of it
            would raise the bound.
        """
        steps, gains = self.proposals(mixture)
        bound, shares = self.expectation(mixture)
        cheap = self.geometry.bounds is None
        resolved = (_RESOLVED_CHEAP if cheap else _RESOLVED) * mixture.error
        if gains.sum() < (tol if cheap else max(tol, resolved)):
            return self._rest(mixture, bound, tol)
        moving = gains >= 0.1 * gains.max()
        share, least = 1.0, max(0.1 * tol, resolved)
        # Along the step the bound is a parabola: it rises by (2 share - share^2) times the gain.
        while share == 1.0 or (2.0 - share) * share * gains.sum() >= least:
            components = tuple(
                self._shift(c, share * step) if moves else c
                for c, step, moves in zip(mixture.components, steps, moving, strict=True)
            )
            moved = self.fit_fixed_means(replace(mixture, components=components), tol)
            new_bound, new_shares = self.expectation(moved)
            rise = new_bound - bound
            if new_shares.sum() < shares.sum() - _LOSS * self.mass.sum():
                rise = -np.inf  # the bound is that of fewer rows
            if rise >= 0.0:
                return moved
            slope = 2.0 * gains.sum()
            share *= np.clip(0.5 * share * slope / (share * slope - rise), *_SHORTENING)
        return self._rest(mixture, bound, tol)

    def _rest(self, mixture: Mixture, bound: float, tol: float) -> Mixture | None:
        """Iterate on where the means stay; None if that does not raise the bound."""
        fitted = self.fit_fixed_means(mixture, tol)
        return fitted if self.expectation(fitted)[0] - bound >= tol else None

    def _shift(self, component: Component, step: Floats) -> Component:
        frame = component.frame
        mean = self.geometry.exps(frame.base, frame.vectors(step))[0]
        if not np.isfinite(mean).all():
            raise DegenerateError("a mean left the data: its step could not be followed")
        view = self.views.see(mean, frame)
        precision = component.precision
        if self.covariance_type == "diag":  # diagonal again, in the coordinates of the space
            change = frame.dual @ view.frame.basis
            precision = change.T @ precision @ change
        return self.views.component_after(component, view, precision)
