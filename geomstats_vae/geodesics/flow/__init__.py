"""Geodesics followed from a point: exponential map, Jacobi fields, parallel transport."""

from geomstats_vae.geodesics.flow.exponential import ExponentialResult, ExponentialSolver
from geomstats_vae.geodesics.flow.integrator import ExponentialStatus, StepControl
from geomstats_vae.geodesics.flow.jacobi import JacobiSystem
from geomstats_vae.geodesics.flow.transport import TransportSystem, nearest_isometry

__all__ = [
    "ExponentialResult",
    "ExponentialSolver",
    "ExponentialStatus",
    "JacobiSystem",
    "StepControl",
    "TransportSystem",
    "nearest_isometry",
]
