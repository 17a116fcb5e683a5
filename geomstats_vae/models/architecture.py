"""What the networks of a variational autoencoder look like, and how its decoder is put together."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from numbers import Integral

import numpy as np
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

    Raises
    ------
    ValueError
        If hidden_dims are not positive integers.
    """

    n_features: int
    dim: int
    hidden_dims: tuple[int, ...]
    activation: str
    bounded: bool

    def __post_init__(self) -> None:
        if not all(isinstance(n, Integral) and n > 0 for n in self.hidden_dims):
            raise ValueError(
                f"Expected hidden_dims to be positive integers, got {self.hidden_dims!r}; "
                "pass the units of every hidden layer, such as (64, 32)."
            )

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


def resolve_activation(output_activation: str, X: np.ndarray) -> str:
    """Choose the activation of the decoder's mean.

    Parameters
    ----------
    output_activation : str, {'auto', 'identity', 'sigmoid'}
        What was asked for.
    X : numpy.ndarray, shape=[n_samples, n_features]
        Data.

    Returns
    -------
    output_activation : str
        'identity' or 'sigmoid'; for 'auto' the latter if the data lie in [0, 1] and span at least
        half of it.

    Raises
    ------
    ValueError
        If the data leave [0, 1] with 'sigmoid'.
    """
    low, high = float(X.min()), float(X.max())
    in_unit_interval = low >= 0.0 and high <= 1.0
    if output_activation == "sigmoid" and not in_unit_interval:
        raise ValueError(
            f"Expected data in [0, 1] for output_activation='sigmoid', got data in "
            f"[{low:.6g}, {high:.6g}]; rescale the data or use output_activation='auto'."
        )
    if output_activation == "auto":
        return "sigmoid" if in_unit_interval and high - low >= 0.5 else "identity"
    return output_activation
