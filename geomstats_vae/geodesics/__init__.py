"""Geodesics of immersions: pure torch and numpy, no geomstats."""

from geomstats_vae.geodesics.landscape import Landscape
from geomstats_vae.geodesics.path import (
    GeodesicConvergenceError,
    GeodesicConvergenceWarning,
    GeodesicPath,
    GeodesicStatus,
)
from geomstats_vae.geodesics.polish import polish_velocities
from geomstats_vae.geodesics.solver import GeodesicSolver
from geomstats_vae.geodesics.stability import local_minima

__all__ = [
    "GeodesicConvergenceError",
    "GeodesicConvergenceWarning",
    "GeodesicPath",
    "GeodesicSolver",
    "GeodesicStatus",
    "Landscape",
    "local_minima",
    "polish_velocities",
]
