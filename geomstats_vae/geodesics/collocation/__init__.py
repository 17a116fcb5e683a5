"""Geodesics between points of any connection, by collocation: for metrics without a decoder."""

from geomstats_vae.geodesics.collocation.connection import Connection, central_differences
from geomstats_vae.geodesics.collocation.newton import NewtonOptions
from geomstats_vae.geodesics.collocation.result import CollocationResult
from geomstats_vae.geodesics.collocation.solver import CollocationSolver

__all__ = [
    "CollocationResult",
    "CollocationSolver",
    "Connection",
    "NewtonOptions",
    "central_differences",
]
