"""The variational autoencoder."""

from geomstats_vae.models.faults import LatentCollapseWarning, TornLatentSpaceWarning
from geomstats_vae.models.retraining import distances_over_trainings, prediction_interval
from geomstats_vae.models.vae import VAE

__all__ = [
    "VAE",
    "LatentCollapseWarning",
    "TornLatentSpaceWarning",
    "distances_over_trainings",
    "prediction_interval",
]
