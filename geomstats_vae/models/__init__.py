"""The variational autoencoder."""

from geomstats_vae.models.vae import VAE, LatentCollapseWarning

__all__ = ["VAE", "LatentCollapseWarning"]
