"""Expectation maximisation for mixtures of locally adaptive normal distributions."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from scipy import linalg

from geomstats_vae.estimators.base import between_steps, with_row_tol
from geomstats_vae.estimators.land_start import first_mean
from geomstats_vae.estimators.mean_search import near_means
from geomstats_vae.estimators.mixture import Component, DegenerateError, Mixture, expectation
from geomstats_vae.estimators.tangent_normal import fit_precision, flat_precision, forms, is_stale
from geomstats_vae.geodesics.deadline import NO_LIMIT, Deadline
from geomstats_vae.geometry.decoder import DecoderGeometry
from geomstats_vae.geometry.fans import descends_first
from geomstats_vae.geometry.protocol import Bools, Floats, Geometry, KeptCurves, Logs, no_curves
from geomstats_vae.geometry.time_limit import check_time
from geomstats_vae.volume.flat_quadrature import FlatQuadrature, is_flat
from geomstats_vae.volume.frames import TangentFrame, frame_at, lead_by
from geomstats_vae.volume.importance_grid import ImportanceGrid
from geomstats_vae.volume.importance_quadrature import (
    ImportanceQuadrature,
    build_importance_quadrature,
    uniform_points,
)
from geomstats_vae.volume.quadrature import TangentQuadrature
from geomstats_vae.volume.ray_quadrature import build_ray_quadrature, sphere_directions

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
# The normalisers that are reported have as many times more samples: of latent coordinates, and in
# many dimensions of rays.
_FINER = 4
# Covariances grow on, so new quadratures are made for this many times more.
_ROOM = 1.2
# As `ROW_TOL`, for normalisers; their errors average.
_NORMALIZER_TOL = 1e-3
# Tolerances of rays in many dimensions, where each takes a tenth of a second or more.
_RAY_RTOL, _RAY_ATOL = 1e-4, 1e-7
# Curves to the rows are kept for the next move of the means; at most so many.
_CURVES_KEPT = 20_000
# Points of a quadrature are drawn anew if fewer than this share of them count.
_LEAST_EFFICIENCY = 0.3
# A component is a point if its covariance is at most this many times reg_covar.
_COLLAPSED = 2.0


class View(NamedTuple):
    """The rows, seen from a mean.

    Parameters
    ----------
    frame : TangentFrame
        Frame at the mean.
    coordinates : numpy.ndarray, shape=[n_rows, dim]
        Normal coordinates of the rows' logarithms.
    reached, converged : numpy.ndarray of bool, shape=[n_rows]
        Whether there is a curve from the mean to the row, and whether it is a geodesic.
    """

    frame: TangentFrame
    coordinates: Floats
    reached: Bools
    converged: Bools


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
        if ImportanceGrid.serves(geometry):
            geometry = ImportanceGrid.within_table(geometry)
        self._exact, self._to_space = with_row_tol(geometry), to_space
        self._by_table = isinstance(geometry, DecoderGeometry) and geometry.tabulated
        # By a table rows are seen as roughly as points of normalisers, until the end.
        loose = between_steps(geometry.with_tol(_NORMALIZER_TOL))
        self.geometry = loose if self._by_table else self._exact
        self._deadline = deadline
        self.X, self.mass = X, mass
        self._loose = loose
        if descends_first(geometry):
            exact = geometry.ray_exponential
            rays = replace(exact, rtol=max(exact.rtol, _RAY_RTOL), atol=max(exact.atol, _RAY_ATOL))
            self._loose = replace(geometry.with_tol(_NORMALIZER_TOL), ray_exponential=rays)
        self._fine = geometry.with_tol(_NORMALIZER_TOL) if self._by_table else self._exact
        self._curves: dict[bytes, KeptCurves] = {}  # to the rows, by the mean
        self.covariance_type, self.reg_covar = covariance_type, reg_covar
        # Common random numbers: the same for all components and all steps.
        self._many: Floats | None = None
        if ImportanceGrid.serves(geometry):
            self.grid: ImportanceGrid | None = ImportanceGrid(geometry)
            self.random = uniform_points(n_samples, geometry.dim, random_state)
            self._many = uniform_points(_FINER * n_samples, geometry.dim, random_state)
        else:
            self.grid, before = None, copy.deepcopy(random_state)
            self.random = sphere_directions(n_samples, geometry.dim, random_state)
            if descends_first(geometry):
                self._many = self.random
                self.random = sphere_directions(n_samples // _FINER, geometry.dim, before)

    # -- geometry ------------------------------------------------------------------------------

    def see(self, mean: Floats, previous: TangentFrame | None = None) -> View:
        """Frame at a mean, and the rows seen from it."""
        try:
            frame = frame_at(self.geometry, mean, previous)
        except ValueError as error:
            raise DegenerateError(f"a mean left the data: {error}") from error
        logs = self._logs(mean, previous)
        reached = np.isfinite(logs.length)
        if not logs.converged.any():
            raise DegenerateError("a mean left the data: no geodesic from it converges")
        return View(frame, frame.coordinates(logs.velocity), reached, logs.converged)

    def _logs(self, mean: Floats, previous: TangentFrame | None) -> Logs:
        """Find geodesics to the rows, from those of the mean before it moved."""
        base = mean if previous is None else previous.base
        guess = self._curves.get(base.tobytes())
        logs = self.geometry.logs(mean, self.X, guess=guess)
        self._curves[mean.tobytes()] = logs.curves
        while len(self._curves) * len(self.X) > _CURVES_KEPT:
            del self._curves[next(iter(self._curves))]  # the oldest
        return logs

    def quadrature(
        self,
        frame: TangentFrame,
        coordinates: Floats,
        covariance: Floats,
        previous: TangentQuadrature | None = None,
        *,
        fine: bool = False,
    ) -> TangentQuadrature:
        """Quadrature over the tangent space for densities of about a covariance.

        Logarithms guide it: of the rows, and of the points of a previous one at the same mean.
        """
        check_time(self._deadline)
        scale = linalg.cholesky(covariance, lower=True)
        if is_flat(self.geometry, frame, scale):
            return FlatQuadrature(scale)
        random = self._many if fine and self._many is not None else self.random
        if self.grid is None:
            return build_ray_quadrature(self._loose, frame, scale, random)
        rows = self.X
        if isinstance(previous, ImportanceQuadrature):
            known = np.isfinite(previous.log_weights)
            rows = np.concatenate((rows, previous.points[known]))
            coordinates = np.concatenate((coordinates, previous.coordinates[known]))
        geometry = self._fine if fine else self._loose
        return build_importance_quadrature(
            geometry, self.grid, frame, rows, coordinates, scale, random
        )

    def component(self, view: View, precision: Floats) -> Component:
        """Component of a precision, with a quadrature made for it."""
        quadrature = self.quadrature(view.frame, view.coordinates, linalg.inv(precision))
        return self._component(view, precision, quadrature)

    def _component(self, view: View, precision: Floats, quadrature: TangentQuadrature) -> Component:
        moments = quadrature.moments(precision)
        if not np.isfinite(moments.log_normalizer):
            raise DegenerateError("a mean left the data: no geodesic from it can be followed")
        return Component(*view, quadrature, precision, moments)

    def expectation(self, mixture: Mixture) -> tuple[float, Floats]:
        """E-step for the rows and their weights; see `mixture.expectation`."""
        return expectation(mixture, self.mass)

    # -- states --------------------------------------------------------------------------------

    def start(self, responsibilities: Floats) -> Mixture:
        """First mixture, of responsibilities shape=[n_rows, n_components]."""
        components, shares = [], responsibilities * self.mass[:, None]
        for mean, column in zip(self._first_means(shares), shares.T, strict=True):
            view = self.see(mean)
            weights = column * view.converged
            turned = lead_by(view.frame, view.coordinates * np.sqrt(weights)[:, None])
            coordinates = turned.coordinates(view.frame.vectors(view.coordinates))
            second = self._second(coordinates, weights)
            precision = self._flat_precision(second, turned)
            view = view._replace(frame=turned, coordinates=coordinates)
            components.append(self.component(view, precision))
        return Mixture(tuple(components), shares.sum(axis=0) / self.mass.sum())

    def resume(self, mixture: Mixture) -> Mixture:
        """Mixture of the same distributions, for these rows and random numbers."""
        components = [
            self.component(self.see(c.frame.base, c.frame), c.precision) for c in mixture.components
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
            self._curves[point.tobytes()] = own
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
                self._renew(c) if due else c
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

    def _renew(self, component: Component) -> Component:
        covariance = _ROOM * linalg.inv(component.precision)
        quadrature = self.quadrature(
            component.frame, component.coordinates, covariance, component.quadrature
        )
        return replace(component, quadrature=quadrature).adapt(component.precision)

    def refine(self, mixture: Mixture) -> Mixture:
        """See the rows and integrate anew for the same distributions, where EM does it roughly.

        Integrals are finer over latent coordinates, and in many dimensions. Geodesics to rows are
        certified where EM found them by a table alone.
        """
        components = mixture.components
        if self._by_table:
            components = tuple(self._seen_exactly(c) for c in components)
        if self._many is not None:
            components = tuple(self._refined(c) for c in components)
        return replace(mixture, components=components)

    def _seen_exactly(self, component: Component) -> Component:
        mean = component.frame.base
        logs = self._exact.logs(mean, self.X, guess=self._curves.get(mean.tobytes()))
        return replace(
            component,
            coordinates=component.frame.coordinates(logs.velocity),
            reached=np.isfinite(logs.length),
            converged=logs.converged,
        )

    def _refined(self, component: Component) -> Component:
        covariance = linalg.inv(component.precision)
        quadrature = self.quadrature(
            component.frame, component.coordinates, covariance, component.quadrature, fine=True
        )
        return replace(component, quadrature=quadrature).adapt(component.precision)

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
        view = self.see(mean, frame)
        precision = component.precision
        if self.covariance_type == "diag":  # diagonal again, in the coordinates of the space
            change = frame.dual @ view.frame.basis
            precision = change.T @ precision @ change
        if isinstance(component.quadrature, ImportanceQuadrature):
            seen = component.quadrature.seen_from(self._loose, view.frame)
            if seen.efficiency(precision) >= _LEAST_EFFICIENCY:
                return self._component(view, precision, seen)
        return self.component(view, precision)
