r"""Integrals over a tangent space, whatever the nodes: what a normal distribution needs of them.

In normal coordinates w at a mean the density of a locally adaptive normal distribution is
exp(-w' G w / 2) / C(G), for Riemannian volume. Normaliser and moments are integrals over the
tangent vectors of shortest geodesics. All that costs geometry is independent of the precision G:
one set of nodes serves every G that is not far from the one it was made for.
"""

from __future__ import annotations

import abc
from typing import NamedTuple

import numpy as np
from scipy import linalg

from geomstats_vae.geometry.protocol import Floats, Geometry
from geomstats_vae.volume.frames import TangentFrame

# Independent scrambles of the quasi-random numbers, which standard errors are estimated from.
N_REPLICATES = 8


class TangentMoments(NamedTuple):
    """Integrals under a density on a tangent space, in normal coordinates.

    Parameters
    ----------
    log_normalizer : float
        log C.
    log_normalizer_std : float
        Its standard error.
    mean : numpy.ndarray, shape=[dim]
        E[w].
    second : numpy.ndarray, shape=[dim, dim]
        E[w w'].
    """

    log_normalizer: float
    log_normalizer_std: float
    mean: Floats
    second: Floats


class TangentQuadrature(abc.ABC):
    """Quadrature over the tangent vectors of shortest geodesics.

    Attributes
    ----------
    scale : numpy.ndarray, shape=[dim, dim]
        Scale matrix L: the nodes were made for densities of covariance about L L'.
    n_failed : int
        Geodesics of the nodes that could not be found, or not be followed to their ends.
    """

    scale: Floats
    n_failed: int

    @abc.abstractmethod
    def moments(self, precision: Floats) -> TangentMoments:
        """Integrals under exp(-w' G w / 2), over Riemannian volume.

        Parameters
        ----------
        precision : numpy.ndarray, shape=[dim, dim]
            Matrix G in normal coordinates, positive definite.

        Returns
        -------
        moments : TangentMoments
            Normaliser, its standard error between replicates, and moments.
        """

    @abc.abstractmethod
    def covariance_of_squares(self, precision: Floats, directions: Floats) -> Floats:
        """Covariances of quadratic forms under the density: the curvature of log C.

        Parameters
        ----------
        precision : numpy.ndarray, shape=[dim, dim]
            Matrix G in normal coordinates.
        directions : numpy.ndarray, shape=[n_forms, dim, dim]
            Matrices T_a of the forms w' T_a w.

        Returns
        -------
        covariance : numpy.ndarray, shape=[n_forms, n_forms]
            Their covariance matrix.
        """

    @abc.abstractmethod
    def propose(
        self,
        geometry: Geometry,
        frame: TangentFrame,
        precision: Floats,
        n: int,
        random_state: np.random.RandomState,
    ) -> tuple[Floats, Floats]:
        """Draw points from a distribution that is close to the density.

        Parameters
        ----------
        geometry : Geometry
            Follows, or finds, the geodesics to the points.
        frame : TangentFrame
            Frame at the mean.
        precision : numpy.ndarray, shape=[dim, dim]
            Matrix G in normal coordinates.
        n : int
            Number of draws tried.
        random_state : numpy.random.RandomState
            Source of the draws.

        Returns
        -------
        points : numpy.ndarray, shape=[at most n, n_features]
            Points of the space.
        ratio : numpy.ndarray, shape=[at most n]
            Density relative to that of the draws, scaled to be about 1 at most.
        """

    def spread(self, precision: Floats) -> Floats:
        """Eigenvalues of L' G L: how far a density is from what the nodes were made for.

        Parameters
        ----------
        precision : numpy.ndarray, shape=[dim, dim]
            Matrix G in normal coordinates.

        Returns
        -------
        eigenvalues : numpy.ndarray, shape=[dim]
            In ascending order; all 1 where G is the inverse of L L'.
        """
        return linalg.eigvalsh(self.scale.T @ precision @ self.scale)
