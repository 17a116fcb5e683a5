r"""Integrals over a tangent space at a scale on which the space is flat.

Where a density is so narrow that the metric does not change within its reach, the change of volume
is 1 and each tangent vector leads to a shortest geodesic. Then the integrals are those of a normal
distribution, log C(G) = (dim log(2 pi) - log det G) / 2, and take no geodesic. Curvature R changes
them by about R times the variance.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import linalg

from geomstats_vae.geometry.protocol import Floats, Geometry
from geomstats_vae.volume.frames import TangentFrame
from geomstats_vae.volume.quadrature import TangentMoments, TangentQuadrature

# Standard deviations within which the metric must be constant, and the shares by which it may
# change there, and its mean over opposite points. Integrals see the square of the former and the
# latter, at one standard deviation: both are then below 3e-4.
_REACH, _CHANGE, _MEAN_CHANGE = 6.0, 0.1, 1e-2
# The largest standard deviation along a coordinate, in ranges of the codes: what changes on a
# smaller scale would not show at the few points that are looked at.
_WIDEST = 2e-3


@dataclass(frozen=True)
class FlatQuadrature(TangentQuadrature):
    """Integrals of normal distributions in closed form.

    Parameters
    ----------
    scale : numpy.ndarray, shape=[dim, dim]
        Scale matrix L: made for densities of covariance about L L'.
    """

    scale: Floats
    n_failed: int = 0

    def moments(self, precision: Floats) -> TangentMoments:
        """Integrals under exp(-w' G w / 2); see `TangentQuadrature.moments`."""
        dim = len(precision)
        log_normalizer = 0.5 * (dim * np.log(2.0 * np.pi) - np.linalg.slogdet(precision)[1])
        return TangentMoments(log_normalizer, 0.0, np.zeros(dim), linalg.inv(precision))

    def covariance_of_squares(self, precision: Floats, directions: Floats) -> Floats:
        """Covariances of quadratic forms; see `TangentQuadrature.covariance_of_squares`.

        That of w' A w and w' B w is 2 tr(A S B S) for the covariance S.
        """
        forms = directions @ linalg.inv(precision)
        return 2.0 * np.einsum("aij,bji->ab", forms, forms)

    def propose(
        self,
        geometry: Geometry,
        frame: TangentFrame,
        precision: Floats,
        n: int,
        random_state: np.random.RandomState,
    ) -> tuple[Floats, Floats]:
        """Follow geodesics along normal vectors; see `TangentQuadrature.propose`."""
        scale = linalg.cholesky(linalg.inv(precision), lower=True)
        coordinates = random_state.standard_normal((n, frame.dim)) @ scale.T
        points = geometry.exps(frame.base, frame.vectors(coordinates))
        reached = np.isfinite(points).all(axis=1)
        return points[reached], np.ones(int(reached.sum()))


def is_flat(geometry: Geometry, frame: TangentFrame, scale: Floats) -> bool:
    """Whether a space is flat within the reach of a density.

    Parameters
    ----------
    geometry : Geometry
        Geometry of a space. Without codes nothing is known of its scale.
    frame : TangentFrame
        Frame at the mean.
    scale : numpy.ndarray, shape=[dim, dim]
        Scale matrix L of the density.

    Returns
    -------
    is_flat : bool
        Whether the standard deviations are a small part of the range of the codes, and the metric
        is constant along the principal axes of the density.
    """
    if geometry.codes is None:
        return False
    axes = (frame.basis @ scale).T
    widths = np.sqrt((axes**2).sum(axis=0))
    if (widths > _WIDEST * np.ptp(geometry.codes, axis=0)).any():
        return False
    metrics = geometry.metrics(frame.base + _REACH * np.concatenate((axes, -axes)))
    change = frame.basis.T @ metrics @ frame.basis - np.eye(frame.dim)
    mean = 0.5 * (change[: frame.dim] + change[frame.dim :])
    return bool(_largest(change) <= _CHANGE and _largest(mean) <= _MEAN_CHANGE)


def _largest(matrices: Floats) -> float:
    return float(np.linalg.norm(matrices, axis=(1, 2)).max())
