"""Riemannian geometry in the latent space of a variational autoencoder.

An extension of geomstats: `PullbackDecoderMetric` gives the latent space of any torch decoder the
expected metric of "Latent Space Oddity" (Arvanitidis, Hansen and Hauberg, ICLR 2018), and with it
geodesics, distances, means and everything else that geomstats builds on a metric; clusters,
densities and random walks.
"""

from geomstats_vae.estimators import LAND, FrechetMean, GeodesicKMeans, TangentPCA
from geomstats_vae.geodesics import (
    GeodesicConvergenceError,
    GeodesicConvergenceWarning,
    GeodesicPath,
    GeodesicSolver,
    GeodesicStatus,
)
from geomstats_vae.geodesics.bounds import BoundStatus, DistanceBounds
from geomstats_vae.geometry import OutOfTimeError
from geomstats_vae.immersions import (
    DecoderError,
    EnsembleDecoder,
    GaussianDecoder,
    RBFPrecision,
)
from geomstats_vae.manifolds import (
    AdaptiveExpSolver,
    CollocationLogSolver,
    LatentSpace,
    PullbackDecoderMetric,
)
from geomstats_vae.models import VAE, LatentCollapseWarning, TornLatentSpaceWarning
from geomstats_vae.sampling import (
    BrownianMotion,
    LangevinDynamics,
    RandomWalk,
    RandomWalkError,
    RandomWalkWarning,
    WalkStatus,
)

__version__ = "0.2.0"

__all__ = [
    "LAND",
    "VAE",
    "AdaptiveExpSolver",
    "BoundStatus",
    "BrownianMotion",
    "CollocationLogSolver",
    "DecoderError",
    "DistanceBounds",
    "EnsembleDecoder",
    "FrechetMean",
    "GaussianDecoder",
    "GeodesicConvergenceError",
    "GeodesicConvergenceWarning",
    "GeodesicKMeans",
    "GeodesicPath",
    "GeodesicSolver",
    "GeodesicStatus",
    "LangevinDynamics",
    "LatentCollapseWarning",
    "LatentSpace",
    "OutOfTimeError",
    "PullbackDecoderMetric",
    "RBFPrecision",
    "RandomWalk",
    "RandomWalkError",
    "RandomWalkWarning",
    "TangentPCA",
    "TornLatentSpaceWarning",
    "WalkStatus",
]
