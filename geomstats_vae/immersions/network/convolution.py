"""Convolutions as linear layers of a network, on flattened signals, images or volumes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch.nn import functional

from geomstats_vae.immersions.network.layers import LinearLayer

# By the number of spatial axes.
_FORWARD: dict[int, Any] = {
    1: functional.conv1d,
    2: functional.conv2d,
    3: functional.conv3d,
}
_TRANSPOSED: dict[int, Any] = {
    1: functional.conv_transpose1d,
    2: functional.conv_transpose2d,
    3: functional.conv_transpose3d,
}


class Convolution(LinearLayer):
    """A convolution, or a transposed one, of flattened images.

    Parameters
    ----------
    weight : torch.Tensor
        Kernels, as torch has them.
    bias : torch.Tensor, shape=[n_outputs], or None
        Constant of every flattened output.
    shape : tuple of int
        Channels, height and width of the images it takes; or as many spatial axes as there are.
    transposed : bool
        Whether it is a transposed one.
    output_padding : sequence of int
        Rows and columns that a transposed one adds.
    **options : Any
        Its stride, padding, dilation and groups, as of `torch.nn.functional.conv2d`.
    """

    def __init__(
        self,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        shape: tuple[int, ...],
        *,
        transposed: bool,
        output_padding: Sequence[int],
        **options: Any,
    ) -> None:
        self.weight, self.bias = weight.detach(), None if bias is None else bias.detach()
        self.input_shape, self.transposed = tuple(shape), transposed
        self._options, self._padding = options, tuple(output_padding)
        self._axes = len(shape) - 1
        probe = torch.zeros(1, *shape, dtype=weight.dtype, device=weight.device)
        self.output_shape = tuple(self._apply(probe).shape[1:])
        if not transposed:
            # A stride may round the size down; the transpose has to be told of what is lost.
            back = self._upsample(self._apply(probe), (0,) * self._axes)
            self._padding = tuple(a - b for a, b in zip(shape[1:], back.shape[2:], strict=True))

    def scaled(self, scale: torch.Tensor, shift: torch.Tensor) -> Convolution | None:
        """Find the convolution that is this one, scaled and shifted.

        Parameters
        ----------
        scale, shift : torch.Tensor, shape=[n_outputs]
            Factor and constant of every output.

        Returns
        -------
        layer : Convolution or None
            None if the factors of some channel are not all the same.
        """
        factors = scale.view(self.output_shape[0], -1)
        if not torch.equal(factors, factors[:, :1].expand_as(factors)):
            return None
        factor = factors[:, 0]
        if self.transposed:  # weights are [in, out / groups, ...]; groups are blocks of inputs
            by_group = factor.view(self._options["groups"], 1, -1)
            per_group = self.weight.shape[0] // self._options["groups"]
            factor = by_group.expand(-1, per_group, -1).reshape(*self.weight.shape[:2])
        weight = self.weight * factor.view(*factor.shape, *[1] * (self.weight.ndim - factor.ndim))
        return Convolution(
            weight,
            shift if self.bias is None else self.bias * scale + shift,
            self.input_shape,
            transposed=self.transposed,
            output_padding=self._padding if self.transposed else (0,) * self._axes,
            **self._options,
        )

    def _apply(self, images: torch.Tensor) -> torch.Tensor:
        if self.transposed:
            return self._upsample(images, self._padding)
        return _FORWARD[self._axes](images, self.weight, **self._options)

    def _upsample(self, images: torch.Tensor, padding: tuple[int, ...]) -> torch.Tensor:
        return _TRANSPOSED[self._axes](images, self.weight, output_padding=padding, **self._options)

    def value(self, a: torch.Tensor) -> torch.Tensor:
        """See `Layer.value`."""
        value = self.tangents(a)
        return value if self.bias is None else value + self.bias

    def tangents(self, rows: torch.Tensor) -> torch.Tensor:
        """See `LinearLayer.tangents`."""
        images = self._apply(rows.reshape(-1, *self.input_shape))
        return images.reshape(*rows.shape[:-1], math.prod(self.output_shape))

    def pull(self, covector: torch.Tensor) -> torch.Tensor:
        """See `LinearLayer.pull`."""
        images = covector.reshape(-1, *self.output_shape)
        if self.transposed:
            images = _FORWARD[self._axes](images, self.weight, **self._options)
            # Output padding may leave room for another step of the kernel.
            inside = (..., *(slice(size) for size in self.input_shape[1:]))
            images = images[inside]
        else:
            images = self._upsample(images, self._padding)
        return images.reshape(*covector.shape[:-1], math.prod(self.input_shape))
