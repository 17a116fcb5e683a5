"""Decoders and their immersions: z -> distribution -> F(z), with derivatives."""

from geomstats_vae.decoders.decoder import Decoder
from geomstats_vae.decoders.gaussian import GaussianDecoder
from geomstats_vae.decoders.immersion import AutodiffImmersion, Immersion, Jet, gram
from geomstats_vae.decoders.layers import NetworkImmersion, compile_immersion
from geomstats_vae.decoders.protocol import DecoderError
from geomstats_vae.decoders.rbf import RBFPrecision

__all__ = [
    "AutodiffImmersion",
    "Decoder",
    "DecoderError",
    "GaussianDecoder",
    "Immersion",
    "Jet",
    "NetworkImmersion",
    "RBFPrecision",
    "compile_immersion",
    "gram",
]
