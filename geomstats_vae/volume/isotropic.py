"""Normalisers of isotropic normal laws, as geomstats' mixtures of Gaussians ask for them."""

from __future__ import annotations

import enum

import numpy as np
from sklearn.utils import check_random_state

from geomstats_vae.manifolds.rows import RowGeometry
from geomstats_vae.volume.frames import frame_at
from geomstats_vae.volume.ray_quadrature import build_quadrature, sphere_directions

_N_RAYS, _RAYS_PER_DIMENSION = 128, 64
_RTOL = 1e-3  # of lengths; errors of many rays average
# One set of rays serves laws down to this share of the widest.
_NARROWEST = 0.2


class RayStatus(enum.IntEnum):
    """Whether rays were followed to their ends; `message` says it in a sentence."""

    FOLLOWED = 0
    LOST = 1

    @property
    def message(self):
        """One sentence."""
        return _MESSAGES[self]


_MESSAGES = {
    RayStatus.FOLLOWED: "The geodesic was followed as far as it is shortest, or counts.",
    RayStatus.LOST: (
        "What lies behind the point where a geodesic was lost is missing from the normaliser; it "
        "counts little unless the law is much wider than the data."
    ),
}


def isotropic_moments(space, base, deviations):
    r"""Normalisers and mean squared radii of exp(-d(m, x)^2 / (2 sigma^2)).

    Parameters
    ----------
    space : geomstats.geometry.manifold.Manifold
        Equipped space whose points are vectors.
    base : numpy.ndarray, shape=[n_features]
        Centre m.
    deviations : numpy.ndarray, shape=[n_deviations]
        Standard deviations sigma, in units of distance.

    Returns
    -------
    normalizer : numpy.ndarray, shape=[n_deviations]
        :math:`\zeta(\sigma) = \int \exp(-d^2 / (2 \sigma^2))` over the Riemannian volume.
    square : numpy.ndarray, shape=[n_deviations]
        Means of d^2 under the laws.
    status : numpy.ndarray of int, shape=[n_rays]
        Of `RayStatus`: rays from the centre that could not be followed to their ends, and geodesics
        that did not converge.
    """
    geometry = RowGeometry(space).loosened(_RTOL)
    frame = frame_at(space, base)
    n_rays = max(_N_RAYS, _RAYS_PER_DIMENSION * frame.dim)
    unit = sphere_directions(n_rays, frame.dim, check_random_state(0))
    normalizer, square = np.empty(len(deviations)), np.empty(len(deviations))
    left, n_failed, n_total = np.argsort(deviations)[::-1], 0, 0
    while len(left):
        widest = deviations[left[0]]
        quadrature = build_quadrature(geometry, frame, widest * np.eye(frame.dim), unit)
        n_failed, n_total = n_failed + quadrature.n_failed, n_total + len(quadrature.ends)
        served = deviations[left] >= _NARROWEST * widest
        for k in left[served]:
            moments = quadrature.moments(np.eye(frame.dim) / deviations[k] ** 2)
            normalizer[k] = np.exp(moments.log_normalizer)
            square[k] = np.trace(moments.second)
        left = left[~served]
    n_failed = min(n_failed, n_total)
    return normalizer, square, np.repeat(list(RayStatus), [n_total - n_failed, n_failed])
