"""Random walks on a space: Brownian motion, and Langevin dynamics that sample a density."""

from geomstats_vae.sampling.brownian import BrownianMotion
from geomstats_vae.sampling.langevin import LangevinDynamics
from geomstats_vae.sampling.walk import RandomWalk, RandomWalkError, RandomWalkWarning, WalkStatus

__all__ = [
    "BrownianMotion",
    "LangevinDynamics",
    "RandomWalk",
    "RandomWalkError",
    "RandomWalkWarning",
    "WalkStatus",
]
