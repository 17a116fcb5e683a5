"""Graphs over a latent space, whose shortest paths show where to start."""

from geomstats_vae.geodesics.graph.latent_graph import LatentGraph

__all__ = ["LatentGraph"]
