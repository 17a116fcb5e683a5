"""The immersions of a scaled metric: F itself, and F with rounded kinks."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch

from geomstats_vae.geodesics.kinked import kink_codes
from geomstats_vae.geodesics.options import KinkOptions
from geomstats_vae.geometry.protocol import Floats
from geomstats_vae.immersions import Immersion, ScaledImmersion
from geomstats_vae.immersions.decoder import Decoder


@dataclass(frozen=True)
class MetricImmersions:
    """Immersions whose pullback is a decoder's metric times a factor.

    Parameters
    ----------
    decoder : Decoder
        The decoder.
    scale : float
        Factor of the metric.
    kink_width : float
        Width at which kinks are rounded; see `KinkOptions`.
    codes : numpy.ndarray, shape=[n_codes, dim], or None
        Latent codes, over which the inputs of kinks have their spread.
    """

    decoder: Decoder
    scale: float
    kink_width: float
    codes: Floats | None

    def exact(self, device: torch.device | None = None) -> Immersion:
        """Return sqrt(scale) F, on the decoder's device or another one."""
        return self._exact if device is None else self._scaled(device)

    def smooth(self, device: torch.device | None = None) -> Immersion:
        """Return the same, its kinks rounded."""
        return self._smooth if device is None else self._smoothed(self._scaled(device))

    @cached_property
    def _exact(self) -> Immersion:
        return self._scaled(None)

    @cached_property
    def _smooth(self) -> Immersion:
        return self._smoothed(self._exact)

    def _scaled(self, device: torch.device | None) -> Immersion:
        immersion = self.decoder.immersion(device=device)
        return immersion if self.scale == 1.0 else ScaledImmersion(immersion, self.scale**0.5)

    def _smoothed(self, immersion: Immersion) -> Immersion:
        if immersion.smooth is not False:
            return immersion
        codes = kink_codes(immersion, self.codes, KinkOptions())
        return immersion.smoothed(self.kink_width, codes)
