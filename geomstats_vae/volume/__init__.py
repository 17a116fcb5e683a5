"""Volumes and integrals over tangent spaces: frames, rays, cut points and quadratures."""

from geomstats_vae.volume.frames import TangentFrame, frame_at
from geomstats_vae.volume.injectivity import injectivity_radii
from geomstats_vae.volume.isotropic import isotropic_moments, medoid
from geomstats_vae.volume.quadrature import TangentMoments, TangentQuadrature

__all__ = [
    "TangentFrame",
    "TangentMoments",
    "TangentQuadrature",
    "frame_at",
    "injectivity_radii",
    "isotropic_moments",
    "medoid",
]
