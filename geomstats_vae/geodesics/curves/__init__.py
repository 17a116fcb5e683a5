"""Curves as chains of polynomial elements, and what a geodesic solve returns."""

from geomstats_vae.geodesics.curves.path import GeodesicPath
from geomstats_vae.geodesics.status import (
    GeodesicConvergenceError,
    GeodesicConvergenceWarning,
    GeodesicStatus,
)

__all__ = [
    "GeodesicConvergenceError",
    "GeodesicConvergenceWarning",
    "GeodesicPath",
    "GeodesicStatus",
]
