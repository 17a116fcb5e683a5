"""Image autoencoders of diffusers."""

from __future__ import annotations

import math
from collections.abc import Sequence
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


class DiffusersDecoder(torch.nn.Module):
    """The decoder of an autoencoder of diffusers, on codes that are rows.

    Parameters
    ----------
    autoencoder : torch.nn.Module
        Autoencoder with ``decode(z).sample``.
    latent_shape : sequence of int
        Shape of one code as the autoencoder takes it, such as [4, 8, 8].
    """

    def __init__(self, autoencoder: torch.nn.Module, latent_shape: Sequence[int]) -> None:
        super().__init__()
        self.autoencoder = autoencoder
        self.latent_shape = tuple(int(size) for size in latent_shape)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        """Decode codes.

        Parameters
        ----------
        z : torch.Tensor, shape=[n_points, dim]
            Latent codes in rows.

        Returns
        -------
        sample : torch.Tensor, shape=[n_points, channels, height, width]
            Images.
        """
        decode: Any = self.autoencoder.decode
        sample: torch.Tensor = decode(z.reshape(z.shape[0], *self.latent_shape)).sample
        return sample


def read_diffusers(
    autoencoder: Any,
    images: Any = None,
    *,
    latent_shape: Sequence[int] | None = None,
    points: Any = None,
    batch_size: int = 16,
) -> LibraryModel:
    """Take the decoder and the codes of images from an autoencoder of diffusers.

    Parameters
    ----------
    autoencoder : diffusers.AutoencoderKL
        Autoencoder with ``encode(images).latent_dist.mean`` and ``decode(z).sample``.
    images : array-like, shape=[n_points, channels, height, width], optional
        Images as the encoder takes them, for most models in [-1, 1].
    latent_shape : sequence of int, optional
        Shape of one code, [channels, height, width]; by default that of the codes. Needed where
        there are no images and the points are rows.
    points : array-like, shape=[n_points, dim] or [n_points, ...], optional
        Codes, in place of images.
    batch_size : int
        Number of images that are encoded at once.

    Returns
    -------
    model : LibraryModel
        Decoder, dimension and codes.

    Raises
    ------
    DecoderError
        If this is no such autoencoder, or it quantises its codes.
    ValueError
        If images, points or latent_shape do not suit the model, or images come with points.
    """
    require(autoencoder, "an autoencoder of diffusers", ("encode", "decode"))
    if not isinstance(autoencoder, torch.nn.Module):
        raise DecoderError(
            f"Expected a torch module as autoencoder, got {type(autoencoder).__name__}; of a "
            "pipeline pass pipeline.vae."
        )
    if hasattr(autoencoder, "quantize"):
        raise DecoderError(
            f"Expected an autoencoder with continuous codes, got {type(autoencoder).__name__}, "
            "which quantises them: its decoder has no derivatives; pass an AutoencoderKL."
        )
    refuse_both(points, images, "images")
    codes = points
    if images is not None:
        codes = encode(
            _Means(evaluation_copy(autoencoder, without=["decoder"])),
            images,
            like=autoencoder,
            batch_size=batch_size,
            name="images",
        )
    shape = _latent_shape(codes, latent_shape, encoded=images is not None)
    dim = math.prod(shape)
    decoder = DiffusersDecoder(_whole_images(autoencoder), shape).eval()
    return LibraryModel(decoder, dim, None if codes is None else check_points(codes, dim))


class _Means:
    """Encodes images to the means of the posterior."""

    def __init__(self, autoencoder: Any) -> None:
        self.autoencoder = autoencoder

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        output = self.autoencoder.encode(images)
        posterior = getattr(output, "latent_dist", None)
        if posterior is None:
            raise DecoderError(
                "Expected encode(images).latent_dist, as of an AutoencoderKL, got "
                f"{type(output).__name__} without; encode the images yourself and pass points."
            )
        mean: torch.Tensor = posterior.mean
        return mean


def _latent_shape(codes: Any, given: Sequence[int] | None, *, encoded: bool) -> tuple[int, ...]:
    """Shape of one code: as given, else as the codes have it."""
    found = None if codes is None else tuple(getattr(codes, "shape", ())[1:])
    if given is not None:
        shape = tuple(int(size) for size in given)
        if encoded and shape != found:
            raise ValueError(
                f"Expected codes of latent_shape={shape}, got {found} from the encoder; leave "
                "latent_shape out where images are given."
            )
        return shape
    if found is None or len(found) < 2:
        raise ValueError(
            "Expected images, points of shape [n_points, channels, height, width] or "
            "latent_shape, got none of them; pass latent_shape=(channels, height, width)."
        )
    return found


def _whole_images(autoencoder: torch.nn.Module) -> torch.nn.Module:
    """Copy of the decoding half, which decodes a batch at once and images as a whole.

    Slices and tiles save memory; tiles also blend images in place, which has no derivative.
    """
    copied = evaluation_copy(autoencoder, without=["encoder", "quant_conv"])
    for name in ("use_slicing", "use_tiling"):
        if hasattr(copied, name):
            setattr(copied, name, False)
    return copied
