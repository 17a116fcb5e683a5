"""Decoders and their immersions: z -> distribution -> F(z), with derivatives."""

from geomstats_vae.immersions.composed import ScaledImmersion
from geomstats_vae.immersions.decoder import Decoder
from geomstats_vae.immersions.gaussian import GaussianDecoder
from geomstats_vae.immersions.immersion import AutodiffImmersion, Immersion, Jet, gram
from geomstats_vae.immersions.layers import NetworkImmersion, compile_immersion
from geomstats_vae.immersions.protocol import DecoderError
from geomstats_vae.immersions.rbf import RBFPrecision

__all__ = [
    "AutodiffImmersion",
    "Decoder",
    "DecoderError",
    "GaussianDecoder",
    "Immersion",
    "Jet",
    "NetworkImmersion",
    "RBFPrecision",
    "ScaledImmersion",
    "compile_immersion",
    "gram",
]
