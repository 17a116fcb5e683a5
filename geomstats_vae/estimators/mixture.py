"""Mixtures of locally adaptive normal laws, and EM for them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import linalg, special

from geomstats_vae.estimators.land_start import to_space
from geomstats_vae.estimators.tangent_normal import fit_precision, flat_precision, forms, is_stale
from geomstats_vae.manifolds.rows import ROW_TOL
from geomstats_vae.volume import importance_quadrature as cloud
from geomstats_vae.volume import ray_quadrature as normalizer
from geomstats_vae.volume.frames import TangentFrame, frame_at, lead_by

_MAX_SETTLEMENTS = 10  # new quadratures until one serves the density that it leads to
# Steps of EM with fixed means: to convergence where a move costs, a few where it does not.
_MAX_INNER, _MAX_INNER_EXACT = 200, 3
_INNER_SHARE = 0.1  # EM with fixed means stops at this share of the tolerance
_RESOLVED = 0.1  # rises of the bound that matter, in its standard errors
_SHORTENING = (0.1, 0.5)  # of steps of the means after which the bound would be lower
_FINER = 4  # times as many samples for the normalisers that are reported
_ROOM = 1.2  # covariances grow on, so new quadratures are made for more
_NORMALIZER_TOL = 1e-3  # as `ROW_TOL`; errors of normalisers average
_COLLAPSED = 2.0  # a component is a point if it is this few times wider than reg_covar


class DegenerateError(RuntimeError):
    """A component collapsed, or its mean left the data: EM has to start elsewhere."""


@dataclass(frozen=True)
class Component:
    """One normal law, with the rows seen from its mean.

    Parameters
    ----------
    frame : TangentFrame
        Frame at the mean, which is its base point.
    coordinates : numpy.ndarray, shape=[n_rows, dim]
        Normal coordinates of the rows' logarithms.
    reached : numpy.ndarray of bool, shape=[n_rows]
        Whether there is a curve from the mean to the row; the density elsewhere is zero.
    converged : numpy.ndarray of bool, shape=[n_rows]
        Whether it is a geodesic; rows elsewhere teach the mean and the covariance nothing.
    quadrature : TangentQuadrature or LatentCloud
        Integrals over the tangent space.
    precision : numpy.ndarray, shape=[dim, dim]
        Inverse covariance G in normal coordinates.
    moments : TangentMoments
        Normaliser and moments of the law.
    """

    frame: TangentFrame
    coordinates: np.ndarray
    reached: np.ndarray
    converged: np.ndarray
    quadrature: Any
    precision: np.ndarray
    moments: normalizer.TangentMoments

    def log_density(self):
        """Logarithm of the density for Riemannian volume, shape=[n_rows]."""
        return log_density(self.coordinates, self.reached, self.precision, self.moments)

    def adapt(self, precision):
        """Return the law of another precision."""
        return replace(self, precision=precision, moments=self.quadrature.moments(precision))


def log_density(coordinates, reached, precision, moments):
    """Logarithm of a locally adaptive normal density, for Riemannian volume.

    Parameters
    ----------
    coordinates : numpy.ndarray, shape=[n_rows, dim]
        Normal coordinates of logarithms.
    reached : numpy.ndarray of bool, shape=[n_rows]
        Whether there is a curve to the row.
    precision : numpy.ndarray, shape=[dim, dim]
        Inverse covariance G in normal coordinates.
    moments : TangentMoments
        Normaliser.

    Returns
    -------
    log_density : numpy.ndarray, shape=[n_rows]
        -w' G w / 2 - log C; minus infinity where there is no curve.
    """
    squares = np.einsum("ni,ij,nj->n", coordinates, precision, coordinates)
    return np.where(reached, -0.5 * squares - moments.log_normalizer, -np.inf)


@dataclass(frozen=True)
class Mixture:
    """Components and their weights.

    Parameters
    ----------
    components : tuple of Component
        Components.
    weights : numpy.ndarray, shape=[n_components]
        Their weights, of sum 1.
    """

    components: tuple
    weights: np.ndarray

    def log_joint(self):
        """Log density of each row with each component, shape=[n_rows, n_components]."""
        with np.errstate(divide="ignore"):
            log_weights = np.log(self.weights)
        return np.column_stack([c.log_density() for c in self.components]) + log_weights

    @property
    def error(self):
        """Standard error of the bound that the normalisers have."""
        stds = np.array([c.moments.log_normalizer_std for c in self.components])
        return float(np.linalg.norm(self.weights * stds))

    @property
    def n_failed(self):
        """Geodesics to rows, and of the normalisers, that did not converge."""
        return sum(int((~c.converged).sum()) + c.quadrature.n_failed for c in self.components)


def expectation(mixture):
    """E-step.

    Parameters
    ----------
    mixture : Mixture
        Mixture.

    Returns
    -------
    bound : float
        Mean log likelihood of the rows that some component reaches.
    responsibilities : numpy.ndarray, shape=[n_rows, n_components]
        Of sum 1 in each row, or 0 in rows that no component reaches.
    """
    joint = mixture.log_joint()
    total = special.logsumexp(joint, axis=1)
    seen = np.isfinite(total)
    if not seen.any():
        raise DegenerateError("no row can be reached from any mean")
    responsibilities = np.zeros_like(joint)
    responsibilities[seen] = np.exp(joint[seen] - total[seen, None])
    return float(total[seen].mean()), responsibilities


class TangentEM:
    """Expectation maximisation for rows on a space.

    With the means fixed every step of EM is cheap and exact: the logarithms stay, and precisions
    and weights are iterated to convergence (`settle`). Only then the means move, all at once,
    which takes new logarithms and normalisers; a move after which the bound would be lower is
    shortened ([1]_, section 3, with the volume that it leaves out).

    Parameters
    ----------
    geometry : RowGeometry
        Space with its geodesics.
    X : numpy.ndarray, shape=[n_rows, n_features]
        Rows.
    covariance_type : str, {'full', 'diag', 'spherical'}
        Covariance type.
    reg_covar : float
        Added to variances, in squared units of Riemannian length.
    n_samples : int
        Rays or points of each normaliser.
    random_state : numpy.random.RandomState
        Draws them, once.

    References
    ----------
    .. [1] Arvanitidis, Hansen, Hauberg. "A Locally Adaptive Normal Distribution." NeurIPS 2016.
    """

    def __init__(self, geometry, X, covariance_type, reg_covar, n_samples, random_state):
        self.geometry, self.X = geometry.loosened(ROW_TOL), X
        self._loose = geometry.loosened(_NORMALIZER_TOL)
        self.covariance_type, self.reg_covar = covariance_type, reg_covar
        dim = geometry.space.dim
        self.grid = cloud.LatentGrid(geometry.space) if cloud.serves(geometry.space) else None
        # Common random numbers: the same for all components and all steps.
        if self.grid is None:
            self.random = normalizer.sphere_directions(n_samples, dim, random_state)
        else:
            self.random = cloud.uniform_points(n_samples, dim, random_state)
            self._many = cloud.uniform_points(_FINER * n_samples, dim, random_state)

    # -- geometry ------------------------------------------------------------------------------

    def see(self, mean, near=None):
        """Frame at a mean, and the rows seen from it."""
        try:
            frame = frame_at(self.geometry.space, mean, near)
        except ValueError as error:
            raise DegenerateError(f"a mean left the data: {error}") from error
        geodesics = self.geometry.connect(mean, self.X)
        reached = np.isfinite(geodesics.length)
        if not geodesics.converged.any():
            raise DegenerateError("a mean left the data: no geodesic from it converges")
        return frame, frame.coordinates(geodesics.velocity), reached, geodesics.converged

    def quadrature(self, frame, coordinates, covariance, previous=None, *, fine=False):
        """Quadrature over the tangent space for laws of about a covariance.

        Logarithms guide it: of the rows, and of the points of a previous one at the same mean.
        """
        scale = linalg.cholesky(covariance, lower=True)
        if self.grid is None:
            return normalizer.build_quadrature(self._loose, frame, scale, self.random)
        rows = self.X
        if previous is not None:
            known = np.isfinite(previous.log_weights)
            rows = np.concatenate((rows, previous.points[known]))
            coordinates = np.concatenate((coordinates, previous.coordinates[known]))
        geometry, random = (self.geometry, self._many) if fine else (self._loose, self.random)
        return cloud.build_cloud(geometry, self.grid, frame, rows, coordinates, scale, random)

    def component(self, frame, coordinates, reached, converged, precision):
        """Component of a precision, with a quadrature made for it."""
        quadrature = self.quadrature(frame, coordinates, linalg.inv(precision))
        moments = quadrature.moments(precision)
        return Component(frame, coordinates, reached, converged, quadrature, precision, moments)

    # -- states --------------------------------------------------------------------------------

    def start(self, responsibilities):
        """First mixture, of responsibilities shape=[n_rows, n_components]."""
        components = []
        for column in responsibilities.T:
            mean = self._first_mean(column)
            frame, coordinates, reached, converged = self.see(mean)
            turned = lead_by(frame, coordinates * np.sqrt(column * converged)[:, None])
            coordinates = turned.coordinates(frame.vectors(coordinates))
            second = self._second(coordinates, column * converged)
            precision = flat_precision(second, self.covariance_type, turned)
            components.append(self.component(turned, coordinates, reached, converged, precision))
        return Mixture(tuple(components), responsibilities.mean(axis=0))

    def resume(self, mixture):
        """Mixture of the same laws, for these rows and random numbers."""
        components = [
            self.component(*self.see(c.frame.base, near=c.frame), c.precision)
            for c in mixture.components
        ]
        return replace(mixture, components=tuple(components))

    def _first_mean(self, weights):
        """Coordinate mean, put on the space; the row next to it if that is not possible."""
        mean = np.average(self.X, axis=0, weights=weights)
        projected = to_space(self.geometry.space, mean)
        if projected is not None:
            return projected
        held = self.X[weights > 0.0]
        return held[np.argmin(((held - mean) ** 2).sum(axis=1))]

    def _second(self, coordinates, weights):
        total = max(weights.sum(), np.finfo(float).tiny)
        second = (coordinates.T * (weights / total)) @ coordinates
        return second + self.reg_covar * np.eye(coordinates.shape[1])

    def settle(self, mixture, tol):
        """Iterate EM with fixed means to convergence, with quadratures that serve the result."""
        bound = -np.inf
        for _ in range(_MAX_SETTLEMENTS):
            mixture = self._iterate(mixture, _INNER_SHARE * tol)
            previous, bound = bound, expectation(mixture)[0]
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

    def _iterate(self, mixture, tol):
        bound = -np.inf
        for _ in range(_MAX_INNER if self.geometry.solves else _MAX_INNER_EXACT):
            previous, (bound, responsibilities) = bound, expectation(mixture)
            if bound - previous < tol:
                break
            components = tuple(
                self._maximise(c, column)
                for c, column in zip(mixture.components, responsibilities.T, strict=True)
            )
            weights = responsibilities.sum(axis=0)
            mixture = Mixture(components, weights / weights.sum())
        return mixture

    def _maximise(self, component, column):
        second = self._second(component.coordinates, column * component.converged)
        basis = forms(self.covariance_type, component.frame)
        fit = fit_precision(component.quadrature, second, basis, component.precision)
        return replace(component, precision=fit.precision, moments=fit.moments)

    def _renew(self, component):
        covariance = _ROOM * linalg.inv(component.precision)
        quadrature = self.quadrature(
            component.frame, component.coordinates, covariance, component.quadrature
        )
        return replace(component, quadrature=quadrature).adapt(component.precision)

    def refine(self, mixture):
        """Integrate over latent coordinates anew, more finely, for the same laws."""
        if self.grid is None:
            return mixture
        components = tuple(self._refined(c) for c in mixture.components)
        return replace(mixture, components=components)

    def _refined(self, component):
        covariance = linalg.inv(component.precision)
        quadrature = self.quadrature(
            component.frame, component.coordinates, covariance, component.quadrature, fine=True
        )
        return replace(component, quadrature=quadrature).adapt(component.precision)

    def _check(self, mixture):
        """Raise DegenerateError if a component has become a point while others have not."""
        widest = [linalg.eigvalsh(linalg.inv(c.precision))[-1] for c in mixture.components]
        collapsed = np.array(widest) <= _COLLAPSED * self.reg_covar
        if collapsed.any() and not collapsed.all():
            raise DegenerateError(f"{int(collapsed.sum())} components collapsed on a point")

    # -- means ---------------------------------------------------------------------------------

    def proposals(self, mixture):
        """Propose steps of the means in normal coordinates, and the rise that each promises.

        The step is the difference between the mean of the rows' logarithms and the law's own
        ([1]_, equation 9); without curvature the latter is 0 and the step exact.
        """
        _, responsibilities = expectation(mixture)
        steps, gains = [], []
        for c, column, weight in zip(
            mixture.components, responsibilities.T, mixture.weights, strict=True
        ):
            weights = column * c.converged
            total = max(weights.sum(), np.finfo(float).tiny)
            step = weights @ c.coordinates / total - c.moments.mean
            steps.append(step)
            gains.append(0.5 * weight * step @ c.precision @ step)
        return steps, np.array(gains)

    def move(self, mixture, tol):
        """Move the means and settle.

        Parameters
        ----------
        mixture : Mixture
            Settled mixture.
        tol : float
            Rise of the bound below which means stay.

        Returns
        -------
        mixture : Mixture or None
            Mixture of a bound that is not lower; None if neither the means nor the rest of it
            would raise the bound.
        """
        steps, gains = self.proposals(mixture)
        bound = expectation(mixture)[0]
        if gains.sum() < tol:
            return self._rest(mixture, bound, tol)
        moving = gains >= 0.1 * gains.max()
        share, least = 1.0, max(0.1 * tol, _RESOLVED * mixture.error)
        # The bound along the step, as a parabola: it rises by (2 share - share^2) times the gain.
        while share == 1.0 or (2.0 - share) * share * gains.sum() >= least:
            components = tuple(
                self._shift(c, share * step) if moves else c
                for c, step, moves in zip(mixture.components, steps, moving, strict=True)
            )
            moved = self.settle(replace(mixture, components=components), tol)
            rise = expectation(moved)[0] - bound
            if rise >= 0.0:
                return moved
            slope = 2.0 * gains.sum()
            share *= np.clip(0.5 * share * slope / (share * slope - rise), *_SHORTENING)
        return self._rest(mixture, bound, tol)

    def _rest(self, mixture, bound, tol):
        """Settle further where the means stay; None if that was done."""
        settled = self.settle(mixture, tol)
        return settled if expectation(settled)[0] - bound >= tol else None

    def _shift(self, component, step):
        frame = component.frame
        mean = self.geometry.exp(frame.vectors(step[None]), frame.base[None])[0]
        if not np.isfinite(mean).all():
            raise DegenerateError("a mean left the data: its step could not be followed")
        seen = self.see(mean, near=frame)
        precision = component.precision
        if self.covariance_type == "diag":  # diagonal again, in the coordinates of the space
            change = frame.dual @ seen[0].basis
            precision = change.T @ precision @ change
        return self.component(*seen, precision)
