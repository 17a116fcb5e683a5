"""Layers of networks: values, first and second derivatives, written out. All take flat rows."""

from __future__ import annotations

import abc
from typing import TypeAlias

import torch
from torch.nn import functional

from geomstats_vae.immersions.kinks import spread_over_codes
from geomstats_vae.immersions.network.kinks import Activation, Kinked
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
    curvature_jumps : bool
        Whether its second derivatives jump somewhere.
    """

    smooth: bool = True
    curvature_jumps: bool = False

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

    def smoothed(self, width: float, a: torch.Tensor) -> Layer:
        """Round the kinks of the layer; see `Immersion.smoothed`.

        Parameters
        ----------
        width : float
            Positive; in units of the standard deviation of each input.
        a : torch.Tensor, shape=[n_codes, n_inputs]
            Inputs at the codes.

        Returns
        -------
        layer : Layer
            A layer with ``smooth`` true; this one if it has no kinks.
        """
        return self


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
    activation : Activation
        The function and its derivatives.
    """

    def __init__(self, activation: Activation) -> None:
        self.activation = activation
        self.smooth = activation.smooth
        self.curvature_jumps = activation.curvature_jumps

    def value(self, a: torch.Tensor) -> torch.Tensor:
        """See `Layer.value`."""
        return self.activation.value(a)

    def push(self, a: torch.Tensor, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """See `Layer.push`."""
        value, slope, _ = self.activation.derivatives(a)
        return value, rows * slope

    def jet(
        self,
        a: torch.Tensor,
        rows: torch.Tensor,
        second: torch.Tensor | None,
        v: torch.Tensor | None,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None, Intermediates]:
        """See `Layer.jet`."""
        value, slope, curve = self.activation.derivatives(a)
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
        value, slope, curve = self.activation.derivatives(a)
        return value, along * slope, ElementwiseStep(slope, curve(), along)

    def smoothed(self, width: float, a: torch.Tensor) -> ElementwiseLayer:
        """See `Layer.smoothed`."""
        if not isinstance(self.activation, Kinked):
            return self
        if self.activation.is_guard and not _reached(self.activation, a):
            smooth = ElementwiseLayer(self.activation)
            smooth.smooth = True
            return smooth
        spread = spread_over_codes(a, len(a))
        return ElementwiseLayer(self.activation.rounded(width * spread))


def _reached(activation: Kinked, a: torch.Tensor) -> bool:
    """Whether inputs lie on both sides of a corner, or beyond one that they should not pass."""
    left = [bool((a <= position).any()) for position, jump in activation.corners if jump > 0]
    right = [bool((a >= position).any()) for position, jump in activation.corners if jump < 0]
    return any(left) or any(right)


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


def cross_gram(rows: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """Inner products of tangents with others, both shape=[dim, n_points or 1, width].

    Returns
    -------
    gram : torch.Tensor, shape=[n_points or 1, dim, dim]
        Matrices of the products.
    """
    return rows.transpose(0, 1) @ others.permute(1, 2, 0)
