"""What the networks of a variational autoencoder look like, and how its decoder is put together."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import nn

from geomstats_vae.immersions.ensemble import EnsembleDecoder
from geomstats_vae.immersions.gaussian import GaussianDecoder
from geomstats_vae.immersions.rbf import RBFPrecision
from geomstats_vae.models.networks import Encoder, StdNetwork, build_decoder, build_encoder


@dataclass(frozen=True)
class Architecture:
    """What the networks look like.

    Attributes
    ----------
    n_features, dim : int
        Dimensions of data and latent space.
    hidden_dims : tuple of int
        Units of the encoder's hidden layers.
    activation : str
        A key of `geomstats_vae.models.networks.ACTIVATIONS`.
    bounded : bool
        Whether the decoder's mean lies between 0 and 1.
    """

    n_features: int
    dim: int
    hidden_dims: tuple[int, ...]
    activation: str
    bounded: bool

    def _sizes(self) -> tuple[int, int, tuple[int, ...], str]:
        return self.n_features, self.dim, self.hidden_dims, self.activation

    def encoder(
        self, dtype: torch.dtype = torch.float64, generator: torch.Generator | None = None
    ) -> Encoder:
        """Build the encoder.

        Parameters
        ----------
        dtype : torch.dtype
            Type of the parameters.
        generator : torch.Generator, optional
            Source of the initial weights; without one they are left on the meta device.

        Returns
        -------
        encoder : Encoder
            The encoder.
        """
        return build_encoder(*self._sizes(), dtype=dtype, generator=generator)

    def mean(
        self, dtype: torch.dtype = torch.float64, generator: torch.Generator | None = None
    ) -> nn.Sequential:
        """Build the decoder's mean.

        Parameters
        ----------
        dtype : torch.dtype
            Type of the parameters.
        generator : torch.Generator, optional
            Source of the initial weights; without one they are left on the meta device.

        Returns
        -------
        mean : torch.nn.Sequential
            The network.
        """
        sizes = self._sizes()
        return build_decoder(*sizes, bounded=self.bounded, dtype=dtype, generator=generator)

    def variance_head(self, generator: torch.Generator | None = None) -> StdNetwork:
        """Build the decoder's own variance head.

        Parameters
        ----------
        generator : torch.Generator, optional
            Source of the initial weights; without one they are left on the meta device.

        Returns
        -------
        head : StdNetwork
            The network.
        """
        network = build_decoder(*self._sizes(), dtype=torch.float64, generator=generator)
        return StdNetwork(network)


def join_decoders(
    means: Iterable[nn.Sequential], precisions: Iterable[RBFPrecision]
) -> GaussianDecoder | EnsembleDecoder:
    """Put the decoder of a model together.

    Parameters
    ----------
    means : iterable of torch.nn.Sequential
        Mean of each decoder.
    precisions : iterable of RBFPrecision
        Precision of each decoder.

    Returns
    -------
    decoder : GaussianDecoder or EnsembleDecoder
        The decoder if there is one, an ensemble if there are several.
    """
    decoders = [GaussianDecoder(*parts) for parts in zip(means, precisions, strict=True)]
    return decoders[0] if len(decoders) == 1 else EnsembleDecoder(decoders)
