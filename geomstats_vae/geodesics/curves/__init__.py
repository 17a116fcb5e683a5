"""Curves as chains of polynomial elements, and what a geodesic solve returns."""

from geomstats_vae.geodesics.curves.path import (
    GeodesicConvergenceError,
    GeodesicConvergenceWarning,
    GeodesicPath,
    GeodesicStatus,
)

__all__ = [
    "GeodesicConvergenceError",
    "GeodesicConvergenceWarning",
    "GeodesicPath",
    "GeodesicStatus",
]
