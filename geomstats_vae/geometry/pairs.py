"""TEMP."""

from geomstats_vae.geometry.bounds import graph_lengths

__all__ = ["graph_lengths"]
