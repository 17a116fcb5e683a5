"""Fast derivatives of networks, written out layer by layer; RBF precisions.

A decoder is run once, and what torch does is recorded (`trace`). Each operation becomes a layer
(`translate`), linear layers are merged (`folding`), and the layers form a `ChainImmersion`.
"""

from geomstats_vae.immersions.network.compile import compile_immersion
from geomstats_vae.immersions.network.immersions import ChainImmersion, RBFStdImmersion

__all__ = ["ChainImmersion", "RBFStdImmersion", "compile_immersion"]
