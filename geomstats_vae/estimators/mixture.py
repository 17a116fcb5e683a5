"""Mixtures of locally adaptive normal distributions, as values."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy import special

from geomstats_vae.geometry.protocol import Bools, Floats
from geomstats_vae.volume.frames import TangentFrame
from geomstats_vae.volume.quadrature import TangentMoments, TangentQuadrature


class DegenerateError(RuntimeError):
    """A component collapsed, or its mean left the data: EM has to start anew."""


@dataclass(frozen=True)
class Component:
    """A locally adaptive normal distribution, with the rows seen from its mean.

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
    quadrature : TangentQuadrature
        Integrals over the tangent space.
    precision : numpy.ndarray, shape=[dim, dim]
        Inverse covariance G in normal coordinates.
    moments : TangentMoments
        Normaliser and moments.
    """

    frame: TangentFrame
    coordinates: Floats
    reached: Bools
    converged: Bools
    quadrature: TangentQuadrature
    precision: Floats
    moments: TangentMoments

    def log_density(self) -> Floats:
        """Logarithm of the density for Riemannian volume, shape=[n_rows]."""
        squares = np.einsum("ni,ij,nj->n", self.coordinates, self.precision, self.coordinates)
        return np.where(self.reached, -0.5 * squares - self.moments.log_normalizer, -np.inf)

    def adapt(self, precision: Floats) -> Component:
        """Return the distribution of another precision."""
        return replace(self, precision=precision, moments=self.quadrature.moments(precision))


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

    components: tuple[Component, ...]
    weights: Floats

    def log_joint(self) -> Floats:
        """Log density of each row with each component, shape=[n_rows, n_components]."""
        with np.errstate(divide="ignore"):
            log_weights = np.log(self.weights)
        return np.column_stack([c.log_density() for c in self.components]) + log_weights

    @property
    def error(self) -> float:
        """Standard error of the bound that the normalisers have."""
        stds = np.array([c.moments.log_normalizer_std for c in self.components])
        return float(np.linalg.norm(self.weights * stds))

    @property
    def n_failed(self) -> int:
        """Geodesics to rows, and of the normalisers, that did not converge."""
        return sum(int((~c.converged).sum()) + c.quadrature.n_failed for c in self.components)


def expectation(mixture: Mixture, mass: Floats) -> tuple[float, Floats]:
    """E-step.

    Parameters
    ----------
    mixture : Mixture
        Mixture.
    mass : numpy.ndarray, shape=[n_rows]
        Positive weights of the rows.

    Returns
    -------
    bound : float
        Weighted mean log likelihood of the rows that some component reaches.
    shares : numpy.ndarray, shape=[n_rows, n_components]
        Responsibilities times the row's weight; 0 in rows that no component reaches.

    Raises
    ------
    DegenerateError
        If no component reaches any row.
    """
    joint = mixture.log_joint()
    total = special.logsumexp(joint, axis=1)
    seen = np.isfinite(total)
    if not seen.any():
        raise DegenerateError("no row can be reached from any mean")
    shares = np.zeros_like(joint)
    shares[seen] = np.exp(joint[seen] - total[seen, None]) * mass[seen, None]
    return float(np.average(total[seen], weights=mass[seen])), shares
