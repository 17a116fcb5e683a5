"""Geodesics of immersions: pure torch and numpy, no geomstats."""

from geomstats_vae.geodesics.curves.path import GeodesicPath
from geomstats_vae.geodesics.element_model import ElementModel
from geomstats_vae.geodesics.graph.latent_graph import LatentGraph
from geomstats_vae.geodesics.model import CurveModel
from geomstats_vae.geodesics.options import DescentOptions, KinkOptions
from geomstats_vae.geodesics.polish import polish_velocities
from geomstats_vae.geodesics.solver import GeodesicSolver, Solver
from geomstats_vae.geodesics.stability import local_minima
from geomstats_vae.geodesics.status import (
    GeodesicConvergenceError,
    GeodesicConvergenceWarning,
    GeodesicStatus,
)

__all__ = [
    "CurveModel",
    "DescentOptions",
    "ElementModel",
    "GeodesicConvergenceError",
    "GeodesicConvergenceWarning",
    "GeodesicPath",
    "GeodesicSolver",
    "GeodesicStatus",
    "KinkOptions",
    "LatentGraph",
    "Solver",
    "local_minima",
    "polish_velocities",
]
