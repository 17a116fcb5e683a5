"""Layers of networks: values, first and second derivatives, written out. All take flat rows."""

from __future__ import annotations

import abc
import functools
from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import nn
from torch.nn import functional

from geomstats_vae.immersions.network.linearization import (
    ElementwiseStep,
    LinearStep,
    Step,
)

# Up to so many tangents, a sum of products is faster than torch's einsum.
_SUMMED_DIRECTIONS = 8

# What `Layer.jet` leaves for `Layer.contract`.
Intermediates: TypeAlias = tuple[torch.Tensor, ...]


class Layer(abc.ABC):
    """One layer of a chain, at some points.

    Tangents are [dim, n_points, width], so that products with slopes of [n_points, width] run
    through memory in order; their n_points is 1 as long as all points have the same.

    Attributes
    ----------
    smooth : bool
        Whether the layer has no kinks.
    """

    smooth: bool = True

    @abc.abstractmethod
    def value(self, a: torch.Tensor) -> torch.Tensor:
        """Evaluate the layer; shape=[n_points, n_inputs] to [n_points, n_outputs]."""

    @abc.abstractmethod
    def push(self, a: torch.Tensor, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Evaluate the layer, and push tangents through it."""

    @abc.abstractmethod
    def jet(
        self,
        a: torch.Tensor,
        rows: torch.Tensor,
        second: torch.Tensor | None,
        v: torch.Tensor | None,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None, Intermediates]:
        """Push a value, tangents and their derivatives along v through the layer.

        Parameters
        ----------
        a : torch.Tensor, shape=[n_points, n_inputs]
            Inputs.
        rows : torch.Tensor, shape=[dim, n_points or 1, n_inputs]
            Their tangents.
        second : torch.Tensor, shape=[dim, n_points, n_inputs], or None
            Derivatives of the tangents along v; None stands for zeros.
        v : torch.Tensor, shape=[n_points, dim], or None
            Latent directions; None if no derivatives along them are wanted.

        Returns
        -------
        value, rows, second : torch.Tensor
            The same of the outputs.
        intermediates : tuple of torch.Tensor
            What `contract` needs.
        """

    @abc.abstractmethod
    def contract(
        self, covector: torch.Tensor, intermediates: Intermediates
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Pull a covector through the layer, and contract its second derivative.

        Parameters
        ----------
        covector : torch.Tensor, shape=[n_points, n_outputs]
            Covector of the outputs.
        intermediates : tuple of torch.Tensor
            What `jet` returned.

        Returns
        -------
        pulled : torch.Tensor, shape=[n_points, n_inputs]
            Covector of the inputs.
        hessian : torch.Tensor, shape=[n_points, dim, dim], or None
            What this layer adds to the Hessian; None where it is linear.
        """

    @abc.abstractmethod
    def linearize(
        self, a: torch.Tensor, along: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, Step]:
        """Evaluate the layer, push one direction, and prepare products.

        Parameters
        ----------
        a, along : torch.Tensor, shape=[n_points, n_inputs]
            Inputs, and a direction at each.

        Returns
        -------
        value, along : torch.Tensor, shape=[n_points, n_outputs]
            The same of the outputs.
        step : Step
            The layer, linearised.
        """


class LinearLayer(Layer):
    """A linear map plus a constant."""

    @abc.abstractmethod
    def tangents(self, rows: torch.Tensor) -> torch.Tensor:
        """Apply the linear map; shape=[..., n_inputs] to [..., n_outputs]."""

    @abc.abstractmethod
    def pull(self, covector: torch.Tensor) -> torch.Tensor:
        """Apply its transpose; shape=[..., n_outputs] to [..., n_inputs]."""

    def push(self, a: torch.Tensor, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """See `Layer.push`."""
        return self.value(a), self.tangents(rows)

    def jet(
        self,
        a: torch.Tensor,
        rows: torch.Tensor,
        second: torch.Tensor | None,
        v: torch.Tensor | None,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None, Intermediates]:
        """See `Layer.jet`."""
        second = None if second is None else self.tangents(second)
        return self.value(a), self.tangents(rows), second, ()

    def contract(
        self, covector: torch.Tensor, intermediates: Intermediates
    ) -> tuple[torch.Tensor, None]:
        """See `Layer.contract`."""
        return self.pull(covector), None

    def linearize(
        self, a: torch.Tensor, along: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, LinearStep]:
        """See `Layer.linearize`."""
        return self.value(a), self.tangents(along), LinearStep(self.tangents, self.pull)


class Affine(LinearLayer):
    """u -> u W' + b.

    Parameters
    ----------
    weight : torch.Tensor, shape=[n_outputs, n_inputs]
        W.
    bias : torch.Tensor, shape=[n_outputs], optional
        b.
    """

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None = None) -> None:
        self.weight = weight.detach()
        self.bias = None if bias is None else bias.detach()

    def value(self, a: torch.Tensor) -> torch.Tensor:
        """See `Layer.value`."""
        return functional.linear(a, self.weight, self.bias)

    def tangents(self, rows: torch.Tensor) -> torch.Tensor:
        """See `LinearLayer.tangents`."""
        return rows @ self.weight.T

    def pull(self, covector: torch.Tensor) -> torch.Tensor:
        """See `LinearLayer.pull`."""
        return covector @ self.weight


class Scale(LinearLayer):
    """u -> s u + b, one by one.

    Parameters
    ----------
    scale, shift : torch.Tensor, shape=[width]
        s and b.
    """

    def __init__(self, scale: torch.Tensor, shift: torch.Tensor) -> None:
        self.scale, self.shift = scale.detach(), shift.detach()

    def value(self, a: torch.Tensor) -> torch.Tensor:
        """See `Layer.value`."""
        return a * self.scale + self.shift

    def tangents(self, rows: torch.Tensor) -> torch.Tensor:
        """See `LinearLayer.tangents`."""
        return rows * self.scale

    def pull(self, covector: torch.Tensor) -> torch.Tensor:
        """See `LinearLayer.pull`."""
        return covector * self.scale


class ElementwiseLayer(Layer):
    """An activation, applied to every component.

    Parameters
    ----------
    module : torch.nn.Module
        One whose type is among `ACTIVATIONS`.
    """

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self._derivatives = functools.partial(ACTIVATIONS[type(module)], module)
        # The slope of an ELU jumps at 0 from alpha to 1.
        elu_kink = isinstance(module, nn.ELU) and module.alpha != 1.0
        self.smooth = not (isinstance(module, (nn.ReLU, nn.LeakyReLU)) or elu_kink)

    def value(self, a: torch.Tensor) -> torch.Tensor:
        """See `Layer.value`."""
        return self._module(a)

    def push(self, a: torch.Tensor, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """See `Layer.push`."""
        value, slope, _ = self._derivatives(a)
        return value, rows * slope

    def jet(
        self,
        a: torch.Tensor,
        rows: torch.Tensor,
        second: torch.Tensor | None,
        v: torch.Tensor | None,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None, Intermediates]:
        """See `Layer.jet`."""
        value, slope, curve = self._derivatives(a)
        curvature = curve()
        if v is not None:
            change = rows * (combine(v, rows) * curvature)
            second = change if second is None else torch.addcmul(change, second, slope)
        return value, rows * slope, second, (rows, slope, curvature)

    def contract(
        self, covector: torch.Tensor, intermediates: Intermediates
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """See `Layer.contract`."""
        rows, slope, curvature = intermediates
        return covector * slope, weighted_gram(rows, covector * curvature)

    def linearize(
        self, a: torch.Tensor, along: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, ElementwiseStep]:
        """See `Layer.linearize`."""
        value, slope, curve = self._derivatives(a)
        return value, along * slope, ElementwiseStep(slope, curve(), along)


# Each activation: (module, u) -> value, first derivative, and a function that evaluates the second
# one, for only jets need it.
Formula: TypeAlias = tuple[torch.Tensor, torch.Tensor, Callable[[], torch.Tensor]]


def _tanh(module: nn.Tanh, u: torch.Tensor) -> Formula:
    y = torch.tanh(u)
    slope = 1.0 - y * y
    return y, slope, lambda: -2.0 * y * slope


def _sigmoid(module: nn.Sigmoid, u: torch.Tensor) -> Formula:
    y = torch.sigmoid(u)
    slope = y * (1.0 - y)
    return y, slope, lambda: slope * (1.0 - 2.0 * y)


def _relu(module: nn.ReLU, u: torch.Tensor) -> Formula:
    slope = (u > 0).to(u.dtype)
    return u * slope, slope, lambda: torch.zeros_like(u)


def _leaky_relu(module: nn.LeakyReLU, u: torch.Tensor) -> Formula:
    slope = torch.where(u > 0, torch.ones_like(u), module.negative_slope)
    return u * slope, slope, lambda: torch.zeros_like(u)


def _elu(module: nn.ELU, u: torch.Tensor) -> Formula:
    tail = module.alpha * torch.exp(torch.clamp(u, max=0.0))
    positive = u > 0
    slope = torch.where(positive, torch.ones_like(u), tail)
    curvature = torch.where(positive, torch.zeros_like(u), tail)
    return functional.elu(u, module.alpha), slope, lambda: curvature


def _softplus(module: nn.Softplus, u: torch.Tensor) -> Formula:
    # Past the threshold torch's value is a line.
    line = module.beta * u > module.threshold
    slope = torch.where(line, 1.0, torch.sigmoid(module.beta * u))
    value = functional.softplus(u, module.beta, module.threshold)
    return value, slope, lambda: module.beta * slope * (1.0 - slope)


def _silu(module: nn.SiLU, u: torch.Tensor) -> Formula:
    s = torch.sigmoid(u)
    slope = s * (1.0 + u * (1.0 - s))
    return u * s, slope, lambda: s * (1.0 - s) * (2.0 + u * (1.0 - 2.0 * s))


ACTIVATIONS: dict[type[nn.Module], Callable[..., Formula]] = {
    nn.Tanh: _tanh,
    nn.Sigmoid: _sigmoid,
    nn.ReLU: _relu,
    nn.LeakyReLU: _leaky_relu,
    nn.ELU: _elu,
    nn.Softplus: _softplus,
    nn.SiLU: _silu,
}


def combine(v: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """Combine tangents, shape=[dim, n_points or 1, width], to those along v."""
    if rows.shape[1] == 1:
        return v @ rows[:, 0]
    if len(rows) > _SUMMED_DIRECTIONS:
        return torch.einsum("kn,knp->np", v.T, rows)
    total = v[:, 0, None] * rows[0]
    for k in range(1, len(rows)):
        total = torch.addcmul(total, v[:, k, None], rows[k])
    return total


def weighted_gram(rows: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Inner products of tangents with a weight for each output, shape=[n_points, dim, dim]."""
    if rows.shape[1] == 1:
        dim = len(rows)
        return (weights @ (rows * rows.transpose(0, 1)).flatten(0, 1).T).view(-1, dim, dim)
    return (rows * weights).transpose(0, 1) @ rows.permute(1, 2, 0)
