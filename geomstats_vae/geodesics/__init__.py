"""Geodesics of immersions: pure torch and numpy, no geomstats."""

from geomstats_vae.geodesics.landscape import Landscape
from geomstats_vae.geodesics.path import (
    GeodesicConvergenceError,
    GeodesicConvergenceWarning,
    GeodesicPath,
    GeodesicStatus,
)
from geomstats_vae.geodesics.solver import GeodesicSolver

__all__ = [
    "GeodesicConvergenceError",
    "GeodesicConvergenceWarning",
    "GeodesicPath",
    "GeodesicSolver",
    "GeodesicStatus",
    "Landscape",
]
