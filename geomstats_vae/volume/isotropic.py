"""Normalisers of isotropic normal distributions, as geomstats' mixtures of Gaussians ask for."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_random_state

from geomstats_vae.geodesics.status import Status
from geomstats_vae.geometry.protocol import Floats, Geometry
from geomstats_vae.volume.frames import frame_at
from geomstats_vae.volume.ray_quadrature import build_ray_quadrature, sphere_directions

# Rays: at least so many, and as many for each dimension.
_N_RAYS, _RAYS_PER_DIMENSION = 128, 64
# Tolerance of lengths; errors of many rays average.
_TOL = 1e-3
# One set of rays serves distributions down to this share of the widest.
_NARROWEST = 0.2
# Codes that the medoid is chosen from.
_MEDOID_CODES = 64


class RayStatus(Status):
    """Whether rays were followed to their ends; `message` says it in a sentence."""

    FOLLOWED = 0
    LOST = 1

    @property
    def message(self) -> str:
        """One sentence."""
        return _MESSAGES[self]


_MESSAGES = {
    RayStatus.FOLLOWED: "The geodesic was followed as far as it is shortest, or counts.",
    RayStatus.LOST: (
        "What lies behind the point where a geodesic was lost is missing from the normaliser; it "
        "counts little unless the distribution is much wider than the data."
    ),
}


def isotropic_moments(
    geometry: Geometry, base: Floats, deviations: Floats
) -> tuple[Floats, Floats, NDArray[np.int64]]:
    r"""Normalisers and mean squared radii of exp(-d(m, x)^2 / (2 sigma^2)).

    Parameters
    ----------
    geometry : Geometry
        Geometry of a space whose points are vectors.
    base : numpy.ndarray, shape=[n_features]
        Centre m.
    deviations : numpy.ndarray, shape=[n_deviations]
        Standard deviations sigma, in units of distance.

    Returns
    -------
    normalizer : numpy.ndarray, shape=[n_deviations]
        :math:`\zeta(\sigma) = \int \exp(-d^2 / (2 \sigma^2))` over the Riemannian volume.
    square : numpy.ndarray, shape=[n_deviations]
        Means of d^2 under the distributions.
    status : numpy.ndarray of int, shape=[n_rays]
        Codes of `RayStatus`: rays from the centre that could not be followed to their ends, and
        geodesics that did not converge.
    """
    geometry = geometry.with_tol(_TOL)
    frame = frame_at(geometry, base)
    n_rays = max(_N_RAYS, _RAYS_PER_DIMENSION * frame.dim)
    unit = sphere_directions(n_rays, frame.dim, check_random_state(0))
    normalizer, square = np.empty(len(deviations)), np.empty(len(deviations))
    left, n_failed, n_total = np.argsort(deviations)[::-1], 0, 0
    while len(left):
        widest = deviations[left[0]]
        quadrature = build_ray_quadrature(geometry, frame, widest * np.eye(frame.dim), unit)
        n_failed, n_total = n_failed + quadrature.n_failed, n_total + len(quadrature.ends)
        served = deviations[left] >= _NARROWEST * widest
        for k in left[served]:
            moments = quadrature.moments(np.eye(frame.dim) / deviations[k] ** 2)
            normalizer[k] = np.exp(moments.log_normalizer)
            square[k] = np.trace(moments.second)
        left = left[~served]
    n_failed = min(n_failed, n_total)
    return normalizer, square, np.repeat(list(RayStatus), [n_total - n_failed, n_failed])


def medoid(geometry: Geometry) -> Floats:
    """Code of least total distance to others, in lengths of graph paths.

    Parameters
    ----------
    geometry : Geometry
        Geometry of a latent space.

    Returns
    -------
    point : numpy.ndarray, shape=[n_features]
        One of at most 64 codes spread over all; the origin of the coordinates without codes.
    """
    bounds, codes = geometry.bounds, geometry.codes
    if bounds is None or codes is None:
        return np.zeros(geometry.n_features)
    some = np.linspace(0, len(codes) - 1, min(_MEDOID_CODES, len(codes))).astype(int)
    lengths = bounds.graph_lengths(codes[some], codes[some])
    return codes[some[np.argmin(lengths.sum(axis=0))]]
