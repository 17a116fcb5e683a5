"""Linear layers of networks: values, tangents and their pullback, on flat rows."""

from __future__ import annotations

import abc

import torch
from torch import nn
from torch.nn import functional


class LinearLayer(abc.ABC):
    """A linear map plus a constant; all rows are flat, shape=[..., width]."""

    @abc.abstractmethod
    def tangents(self, rows):
        """Apply the linear map."""

    @abc.abstractmethod
    def pull(self, covector):
        """Apply its transpose."""

    @abc.abstractmethod
    def value(self, a):
        """Apply the map with its constant; a of shape=[n_points, width]."""

    def push(self, rows):
        """Apply the linear map; see `linearization.Bend.push`."""
        return self.tangents(rows)

    def pull_covector(self, covector):
        """Apply the transpose; see `linearization.Bend.pull_covector`."""
        return self.pull(covector)


class Affine(LinearLayer):
    """u -> u W' + b.

    Parameters
    ----------
    weight : torch.Tensor, shape=[n_outputs, n_inputs]
        W.
    bias : torch.Tensor, shape=[n_outputs], optional
        b.
    """

    def __init__(self, weight, bias=None):
        self.weight = weight.detach()
        self.bias = None if bias is None else bias.detach()

    def value(self, a):
        """See `LinearLayer.value`."""
        return functional.linear(a, self.weight, self.bias)

    def tangents(self, rows):
        """See `LinearLayer.tangents`."""
        return rows @ self.weight.T

    def pull(self, covector):
        """See `LinearLayer.pull`."""
        return covector @ self.weight


class Scale(LinearLayer):
    """u -> s u + b, one by one.

    Parameters
    ----------
    scale, shift : torch.Tensor, shape=[width]
        s and b.
    """

    def __init__(self, scale, shift):
        self.scale, self.shift = scale.detach(), shift.detach()

    def value(self, a):
        """See `LinearLayer.value`."""
        return a * self.scale + self.shift

    def tangents(self, rows):
        """See `LinearLayer.tangents`."""
        return rows * self.scale

    def pull(self, covector):
        """See `LinearLayer.pull`."""
        return covector * self.scale


class Convolution(LinearLayer):
    """A convolution, or a transposed one, of flattened images.

    Parameters
    ----------
    module : torch.nn.Conv2d or torch.nn.ConvTranspose2d
        With zero padding of a given size.
    shape : tuple of int
        Channels, height and width of the images it takes.
    """

    def __init__(self, module, shape):
        self.weight = module.weight.detach()
        self.input_shape = tuple(shape)
        self._options = {
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
            # What rounding down loses of the image, its transpose has to be told.
            back = functional.conv_transpose2d(self._apply(probe), self.weight, **self._options)
            self._padding = tuple(a - b for a, b in zip(shape[1:], back.shape[2:], strict=True))
        bias = module.bias
        pixels = self.output_shape[1] * self.output_shape[2]
        self._bias = None if bias is None else bias.detach().repeat_interleave(pixels)

    def _apply(self, images):
        if self._transposed:
            return self._up(images)
        return functional.conv2d(images, self.weight, **self._options)

    def _up(self, images):
        return functional.conv_transpose2d(
            images, self.weight, output_padding=self._padding, **self._options
        )

    def value(self, a):
        """See `LinearLayer.value`."""
        value = self.tangents(a)
        return value if self._bias is None else value + self._bias

    def tangents(self, rows):
        """See `LinearLayer.tangents`."""
        images = self._apply(rows.reshape(-1, *self.input_shape))
        return images.reshape(*rows.shape[:-1], -1)

    def pull(self, covector):
        """See `LinearLayer.pull`."""
        images = covector.reshape(-1, *self.output_shape)
        if self._transposed:
            images = functional.conv2d(images, self.weight, **self._options)
            # Output padding may leave room for another step of the kernel.
            images = images[..., : self.input_shape[1], : self.input_shape[2]]
        else:
            images = self._up(images)
        return images.reshape(*covector.shape[:-1], -1)


def linear_layer(module, shape):
    """Translate a linear layer.

    Parameters
    ----------
    module : torch.nn.Module
        The layer, in evaluation mode.
    shape : tuple of int, or None
        Channels, height and width of the images it gets; None for flat rows.

    Returns
    -------
    layer : LinearLayer or None
        None for layers that are not known.
    shape : tuple of int, or None
        Shape of what it returns.
    """
    if type(module) is nn.Linear and shape is None:
        return Affine(module.weight, module.bias), None
    convolution = type(module) in (nn.Conv2d, nn.ConvTranspose2d) and shape is not None
    if convolution and module.padding_mode == "zeros" and not isinstance(module.padding, str):
        layer = Convolution(module, shape)
        return layer, layer.output_shape
    channels = 1 if shape is None else shape[1] * shape[2]
    if type(module) is (nn.BatchNorm1d if shape is None else nn.BatchNorm2d):
        return _batch_norm(module, channels), shape
    return None, shape


def _batch_norm(module, pixels):
    if module.running_mean is None or module.training:
        return None
    scale = torch.rsqrt(module.running_var + module.eps)
    scale = scale if module.weight is None else scale * module.weight
    shift = -module.running_mean * scale
    shift = shift if module.bias is None else shift + module.bias
    return Scale(scale.repeat_interleave(pixels), shift.repeat_interleave(pixels))
