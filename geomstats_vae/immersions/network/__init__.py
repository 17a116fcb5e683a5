"""Fast derivatives of plain networks: chains of known layers, and RBF precisions."""

from geomstats_vae.immersions.network.compile import compile_immersion, linear_layer
from geomstats_vae.immersions.network.immersions import ChainImmersion, RBFStdImmersion

__all__ = ["ChainImmersion", "RBFStdImmersion", "compile_immersion", "linear_layer"]
