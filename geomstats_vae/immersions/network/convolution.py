"""Convolutions as linear layers of a chain, on flattened images."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional

from geomstats_vae.immersions.network.layers import LinearLayer


class Convolution(LinearLayer):
    """A convolution, or a transposed one, of flattened images.

    Parameters
    ----------
    module : torch.nn.Conv2d or torch.nn.ConvTranspose2d
        With zero padding of a given size.
    shape : tuple of int
        Channels, height and width of the images it takes.
    """

    def __init__(self, module: nn.Conv2d | nn.ConvTranspose2d, shape: tuple[int, ...]) -> None:
        self.weight = module.weight.detach()
        self.input_shape = tuple(shape)
        self._options: dict[str, Any] = {
            "stride": module.stride,
            "padding": module.padding,
            "dilation": module.dilation,
            "groups": module.groups,
        }
        self._transposed = isinstance(module, nn.ConvTranspose2d)
        self._padding = module.output_padding if self._transposed else (0, 0)
        probe = torch.zeros(1, *shape, dtype=self.weight.dtype, device=self.weight.device)
        self.output_shape = tuple(self._apply(probe).shape[1:])
        if not self._transposed:
            # A stride may round the size down; the transpose has to be told of what is lost.
            back = functional.conv_transpose2d(self._apply(probe), self.weight, **self._options)
            self._padding = tuple(a - b for a, b in zip(shape[1:], back.shape[2:], strict=True))
        bias = module.bias
        pixels = self.output_shape[1] * self.output_shape[2]
        self._bias = None if bias is None else bias.detach().repeat_interleave(pixels)

    def _apply(self, images: torch.Tensor) -> torch.Tensor:
        if self._transposed:
            return self._upsample(images)
        return functional.conv2d(images, self.weight, **self._options)

    def _upsample(self, images: torch.Tensor) -> torch.Tensor:
        return functional.conv_transpose2d(
            images, self.weight, output_padding=self._padding, **self._options
        )

    def value(self, a: torch.Tensor) -> torch.Tensor:
        """See `Layer.value`."""
        value = self.tangents(a)
        return value if self._bias is None else value + self._bias

    def tangents(self, rows: torch.Tensor) -> torch.Tensor:
        """See `LinearLayer.tangents`."""
        images = self._apply(rows.reshape(-1, *self.input_shape))
        return images.reshape(*rows.shape[:-1], -1)

    def pull(self, covector: torch.Tensor) -> torch.Tensor:
        """See `LinearLayer.pull`."""
        images = covector.reshape(-1, *self.output_shape)
        if self._transposed:
            images = functional.conv2d(images, self.weight, **self._options)
            # Output padding may leave room for another step of the kernel.
            images = images[..., : self.input_shape[1], : self.input_shape[2]]
        else:
            images = self._upsample(images)
        return images.reshape(*covector.shape[:-1], -1)
