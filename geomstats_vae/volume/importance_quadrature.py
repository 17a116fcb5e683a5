r"""Integrals over a tangent space by importance sampling in latent coordinates.

Where a decoder's metric is rough, geodesics from one point focus and scatter: after one standard
deviation most rays are no longer shortest, and few of the others carry most of the volume. The
same integral in latent coordinates is gentle. With z = Exp(v), dM = sqrt(det M(z)) dz and each
point counted once, by its shortest geodesic,

.. math:: C(G) = \int \exp(-w(z)' G w(z) / 2) \sqrt{\det M(z)} dz ,

where w(z) are the normal coordinates of Log z. Points z are drawn by randomised quasi-Monte-Carlo
from a distribution on a grid that lengths of graph paths suggest (importance sampling, [1]_,
chapter 9; see `importance_grid`), and each costs a geodesic.

References
----------
.. [1] Owen. "Monte Carlo Theory, Methods and Examples." 2013.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import linalg, stats

from geomstats_vae.geometry.protocol import Floats, Geometry, KeptCurves
from geomstats_vae.volume.frames import TangentFrame
from geomstats_vae.volume.importance_grid import GridDistribution, ImportanceGrid
from geomstats_vae.volume.quadrature import N_REPLICATES, TangentMoments, TangentQuadrature


@dataclass(frozen=True)
class ImportanceQuadrature(TangentQuadrature):
    """Quadrature over tangent vectors by their end points.

    Parameters
    ----------
    points : numpy.ndarray, shape=[n_points, dim]
        Points, replicate after replicate.
    coordinates : numpy.ndarray, shape=[n_points, dim]
        Their normal coordinates w.
    log_weights : numpy.ndarray, shape=[n_points]
        Logarithms of weights whose mean integrates over Riemannian volume.
    scale : numpy.ndarray, shape=[dim, dim]
        Scale matrix L: the points were drawn for densities of covariance about L L'.
    distribution : GridDistribution
        What the points were drawn from.
    n_failed : int
        Geodesics to them that did not converge.
    log_volumes : numpy.ndarray, shape=[n_points]
        The same as log_weights, also of points without a geodesic.
    curves : numpy.ndarray of object, shape=[n_points]
        The geodesics; see `Geometry.logs`.
    """

    points: Floats
    coordinates: Floats
    log_weights: Floats
    scale: Floats
    distribution: GridDistribution
    n_failed: int
    log_volumes: Floats
    curves: KeptCurves

    @classmethod
    def of(
        cls,
        geometry: Geometry,
        frame: TangentFrame,
        points: Floats,
        log_volumes: Floats,
        scale: Floats,
        distribution: GridDistribution,
        guess: KeptCurves | None = None,
    ) -> ImportanceQuadrature:
        """Solve for the geodesics from a mean to points; the parameters are those of the class."""
        logs = geometry.logs(frame.base, points, guess=guess)
        reached, n_failed = np.isfinite(logs.length), int((~logs.converged).sum())
        log_weights = np.where(reached, log_volumes, -np.inf)
        normal = frame.coordinates(logs.velocity)
        rest = scale, distribution, n_failed, log_volumes, logs.curves
        return cls(points, normal, log_weights, *rest)

    def seen_from(
        self, geometry: Geometry, frame: TangentFrame, *, afresh: bool = False
    ) -> ImportanceQuadrature:
        """See the same points from another mean.

        Errors of both quadratures are nearly the same, so they hardly matter to the difference of
        normalisers.

        Parameters
        ----------
        geometry : Geometry
            Finds the geodesics.
        frame : TangentFrame
            Frame at the other mean.
        afresh : bool
            Whether they are searched anew, not from those of this quadrature.

        Returns
        -------
        quadrature : ImportanceQuadrature
            The points were drawn for the old mean; see `efficiency`.
        """
        rest = self.points, self.log_volumes, self.scale, self.distribution
        return self.of(geometry, frame, *rest, guess=None if afresh else self.curves)

    def efficiency(self, precision: Floats) -> float:
        """Effective number of points over their number ([1]_, section 9.3), for a precision."""
        return float(1.0 / (self._kernel(precision)[1] ** 2).mean())

    def _kernel(self, precision: Floats) -> tuple[float, Floats]:
        """Log of the mean, and the terms relative to it."""
        squares = np.einsum("ni,ij,nj->n", self.coordinates, precision, self.coordinates)
        exponents = self.log_weights - 0.5 * squares
        largest = exponents.max()
        kernel = np.exp(exponents - largest)
        mean = kernel.mean()
        return largest + np.log(mean), kernel / mean

    def moments(self, precision: Floats) -> TangentMoments:
        """Integrals under exp(-w' G w / 2); see `TangentQuadrature.moments`."""
        log_normalizer, kernel = self._kernel(precision)
        means = kernel.reshape(N_REPLICATES, -1).mean(axis=1)
        error = means.std(ddof=1) / np.sqrt(N_REPLICATES)
        first = (kernel[:, None] * self.coordinates).mean(axis=0)
        second = (self.coordinates.T * kernel) @ self.coordinates / len(kernel)
        return TangentMoments(log_normalizer, error, first, second)

    def covariance_of_squares(self, precision: Floats, directions: Floats) -> Floats:
        """Covariances of quadratic forms; see `TangentQuadrature.covariance_of_squares`."""
        _, kernel = self._kernel(precision)
        forms = np.einsum("ni,aij,nj->na", self.coordinates, directions, self.coordinates)
        mean = kernel @ forms / len(kernel)
        return (forms.T * kernel) @ forms / len(kernel) - np.outer(mean, mean)

    def propose(
        self,
        geometry: Geometry,
        frame: TangentFrame,
        precision: Floats,
        n: int,
        random_state: np.random.RandomState,
    ) -> tuple[Floats, Floats]:
        """Draw from the distribution on the grid; see `TangentQuadrature.propose`.

        Each draw costs a geodesic. The ratio is relative to the largest among the points of the
        quadrature.
        """
        uniform = random_state.uniform(size=(n, frame.dim))
        points, log_proposal = self.distribution.draw(uniform)
        log_volumes = _log_volumes(geometry, points, log_proposal)
        logs = geometry.logs(frame.base, points)
        coordinates = frame.coordinates(logs.velocity)
        log_weights = np.where(np.isfinite(logs.length), log_volumes, -np.inf)
        squares = np.einsum("ni,ij,nj->n", coordinates, precision, coordinates)
        log_normalizer, kernel = self._kernel(precision)
        return points, np.exp(log_weights - 0.5 * squares - log_normalizer) / kernel.max()


def _log_volumes(geometry: Geometry, points: Floats, log_density: Floats) -> Floats:
    """Log weights of points drawn from a density, shape=[n_points]."""
    with np.errstate(divide="ignore"):
        return np.log(geometry.volume_densities(points)) - log_density


def uniform_points(n_points: int, dim: int, random_state: np.random.RandomState) -> Floats:
    """Quasi-random points of the unit cube, in independent replicates one after another.

    Parameters
    ----------
    n_points : int
        Number of points; rounded up to replicates of a power of two.
    dim : int
        Dimension.
    random_state : numpy.random.RandomState
        Scrambles Sobol's sequence.

    Returns
    -------
    points : numpy.ndarray, shape=[n_points, dim]
        Points.
    """
    log_size = max(0, int(np.ceil(np.log2(n_points / N_REPLICATES))))
    seeds = random_state.randint(np.iinfo(np.int32).max, size=N_REPLICATES)
    return np.concatenate(
        [stats.qmc.Sobol(dim, seed=int(seed)).random_base2(log_size) for seed in seeds]
    )


def build_importance_quadrature(
    geometry: Geometry,
    grid: ImportanceGrid,
    frame: TangentFrame,
    rows: Floats,
    coordinates: Floats,
    scale: Floats,
    uniform: Floats,
) -> ImportanceQuadrature:
    """Draw points for a mean and solve for the geodesics to them.

    Parameters
    ----------
    geometry : Geometry
        Finds the geodesics.
    grid : ImportanceGrid
        Grid over the latent space.
    frame : TangentFrame
        Frame at the mean.
    rows : numpy.ndarray, shape=[n_rows, dim]
        Points whose logarithms are known.
    coordinates : numpy.ndarray, shape=[n_rows, dim]
        Normal coordinates of these logarithms.
    scale : numpy.ndarray, shape=[dim, dim]
        Scale matrix L: about the covariance of the densities to be integrated is L L'.
    uniform : numpy.ndarray, shape=[n_points, dim]
        Points of the unit cube.

    Returns
    -------
    quadrature : ImportanceQuadrature
        The quadrature.
    """
    precision = linalg.inv(scale @ scale.T)
    distribution = grid.distribution(frame, rows, coordinates, precision)
    points, log_density = distribution.draw(uniform)
    log_volumes = _log_volumes(geometry, points, log_density)
    return ImportanceQuadrature.of(geometry, frame, points, log_volumes, scale, distribution)
