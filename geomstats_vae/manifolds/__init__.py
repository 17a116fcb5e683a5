"""The geomstats side: a latent space and its metric, on the numpy and pytorch backends."""

from geomstats_vae.manifolds.decoding import Interpolation
from geomstats_vae.manifolds.metric import PullbackDecoderMetric
from geomstats_vae.manifolds.solvers import AdaptiveExpSolver, CollocationLogSolver
from geomstats_vae.manifolds.space import LatentSpace

__all__ = [
    "AdaptiveExpSolver",
    "CollocationLogSolver",
    "Interpolation",
    "LatentSpace",
    "PullbackDecoderMetric",
]
