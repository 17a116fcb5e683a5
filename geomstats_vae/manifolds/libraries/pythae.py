"""Autoencoders of pythae."""

from __future__ import annotations

from typing import Any

import torch

from geomstats_vae.immersions.errors import DecoderError
from geomstats_vae.manifolds.libraries.model import (
    LibraryModel,
    check_points,
    encode,
    evaluation_copy,
    refuse_both,
    require,
)

# By the model's name in pythae: why its latent space is no R^dim with the decoder's metric.
_NOT_EUCLIDEAN = {
    "VQVAE": "its codes are quantised, so the decoder has no derivatives",
    "HRQVAE": "its codes are quantised, so the decoder has no derivatives",
    "SVAE": "its codes lie on a sphere",
    "PoincareVAE": "its codes lie in a Poincare ball",
}
# The decoder of these takes codes that a normalising flow moved away from the encoder's means.
_WITH_FLOWS = ("VAE_IAF", "VAE_LinNF")


class PythaeDecoder(torch.nn.Module):
    """The reconstruction of a decoder of pythae.

    Parameters
    ----------
    decoder : torch.nn.Module
        Decoder whose output has a ``.reconstruction``.
    """

    def __init__(self, decoder: torch.nn.Module) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        """Decode codes.

        Parameters
        ----------
        z : torch.Tensor, shape=[n_points, dim]
            Latent codes.

        Returns
        -------
        reconstruction : torch.Tensor, shape=[n_points, ...]
            Data.
        """
        reconstruction: torch.Tensor = self.decoder(z).reconstruction
        return reconstruction


def read_pythae(
    model: Any, data: Any = None, *, points: Any = None, batch_size: int = 256
) -> LibraryModel:
    """Take the decoder and the codes of data from a model of pythae.

    Parameters
    ----------
    model : pythae.models.BaseAE
        Trained autoencoder with ``.encoder`` and ``.decoder``.
    data : array-like, shape=[n_points, ...], optional
        Data as the encoder takes them; their codes are the means of the posterior.
    points : array-like, shape=[n_points, dim], optional
        Codes, in place of data.
    batch_size : int
        Number of data that are encoded at once.

    Returns
    -------
    model : LibraryModel
        Decoder, dimension and codes.

    Raises
    ------
    DecoderError
        If this is no autoencoder of pythae, or its latent space is no vector space.
    ValueError
        If data or points do not suit the model, or both are given.
    """
    require(model, "an autoencoder of pythae", ("encoder", "decoder", "latent_dim"))
    name = getattr(model, "model_name", type(model).__name__)
    if name in _NOT_EUCLIDEAN:
        raise DecoderError(
            f"Expected a model whose latent space is a vector space, got {name}: "
            f"{_NOT_EUCLIDEAN[name]}; train a VAE."
        )
    refuse_both(points, data, "data")
    dim = int(model.latent_dim)
    decoder = PythaeDecoder(evaluation_copy(model.decoder)).eval()
    if data is None:
        codes = None if points is None else check_points(points, dim)
        return LibraryModel(decoder, dim, codes)
    if name in _WITH_FLOWS:
        raise DecoderError(
            f"Expected points for a {name}, got data: its decoder takes codes that a flow has "
            "moved from the encoder's means; pass points=model.embed(data)."
        )
    encoder = evaluation_copy(model.encoder)
    found = encode(
        lambda batch: encoder(batch).embedding,
        data,
        like=encoder,
        batch_size=batch_size,
        name="data",
    )
    return LibraryModel(decoder, dim, check_points(found, dim))
