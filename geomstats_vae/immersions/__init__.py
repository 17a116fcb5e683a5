"""Decoders and their immersions: z -> distribution -> F(z), with derivatives."""

from geomstats_vae.immersions.autodiff import AutodiffImmersion
from geomstats_vae.immersions.composed import ConcatenatedImmersion, ScaledImmersion
from geomstats_vae.immersions.decoder import Decoder
from geomstats_vae.immersions.ensemble import EnsembleDecoder
from geomstats_vae.immersions.errors import DecoderError, DecoderWarning
from geomstats_vae.immersions.gaussian import GaussianDecoder
from geomstats_vae.immersions.immersion import Immersion, Jet, gram
from geomstats_vae.immersions.likelihoods import constant, embedding, mean_std
from geomstats_vae.immersions.linearization import Linearization
from geomstats_vae.immersions.network import compile_immersion
from geomstats_vae.immersions.rbf import RBFPrecision

__all__ = [
    "AutodiffImmersion",
    "ConcatenatedImmersion",
    "Decoder",
    "DecoderError",
    "DecoderWarning",
    "EnsembleDecoder",
    "GaussianDecoder",
    "Immersion",
    "Jet",
    "Linearization",
    "RBFPrecision",
    "ScaledImmersion",
    "compile_immersion",
    "constant",
    "embedding",
    "gram",
    "mean_std",
]
