"""Lower bounds of distances, with what is known of them."""

from geomstats_vae.geodesics.bounds.options import ConeOptions, DomainOptions, StretchOptions
from geomstats_vae.geodesics.bounds.result import BoundStatus, DistanceBounds
from geomstats_vae.geodesics.bounds.stretch import StretchBound

__all__ = [
    "BoundStatus",
    "ConeOptions",
    "DistanceBounds",
    "DomainOptions",
    "StretchBound",
    "StretchOptions",
]
