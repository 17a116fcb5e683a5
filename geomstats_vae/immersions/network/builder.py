"""A network under construction: layers and the wires between them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch

from geomstats_vae.immersions.network.activations import find_activation
from geomstats_vae.immersions.network.joints import Concatenation, Joint
from geomstats_vae.immersions.network.layers import ElementwiseLayer, Layer, Scale
from geomstats_vae.immersions.network.linear import LinearFunction, Selection
from geomstats_vae.immersions.network.trace import TraceError, Variable


@dataclasses.dataclass(frozen=True)
class Wire:
    """A result of a layer, and the tensor that it stands for in the recording.

    Parameters
    ----------
    number : int
        Number of the result, as in `Wiring`.
    shape : tuple of int
        Shape of the tensor. Points are outermost in its memory, and flat rows are one point each.
    """

    number: int
    shape: tuple[int, ...]


class Builder:
    """Layers that were translated so far.

    Parameters
    ----------
    codes : torch.Tensor, shape=[n_points, dim]
        Latent codes of the recording.
    """

    def __init__(self, codes: torch.Tensor) -> None:
        self.n_points = len(codes)
        self.dtype, self.device = codes.dtype, codes.device
        self.layers: list[Layer | Joint] = []
        self.inputs: list[tuple[int, ...]] = []
        self._wires = {0: Wire(0, tuple(codes.shape))}

    def wire(self, part: Any) -> Wire:
        """Find the wire of a tensor that depends on the codes.

        Parameters
        ----------
        part : Variable
            The tensor.

        Returns
        -------
        wire : Wire
            Its wire.

        Raises
        ------
        TraceError
            If it is no such tensor, or a result that is not translated.
        """
        if not isinstance(part, Variable) or part.number not in self._wires:
            raise TraceError("an argument is constant, or a result that is not known")
        return self._wires[part.number]

    def set(self, result: Variable, wire: Wire) -> None:
        """Say which wire a result of the recording is on."""
        self._wires[result.number] = wire

    def add(self, layer: Layer | Joint, inputs: Sequence[Wire], shape: Sequence[int]) -> Wire:
        """Append a layer.

        Parameters
        ----------
        layer : Layer or Joint
            The layer.
        inputs : sequence of Wire
            What it takes.
        shape : sequence of int
            Shape of its result in the recording.

        Returns
        -------
        wire : Wire
            Its result.
        """
        self.layers.append(layer)
        self.inputs.append(tuple(wire.number for wire in inputs))
        return Wire(len(self.layers), tuple(shape))

    def width(self, wire: Wire) -> int:
        """Count the components of one point."""
        return math.prod(wire.shape) // self.n_points

    def point_shape(self, wire: Wire) -> tuple[int, ...]:
        """Shape of one point, whose first axis may be a part of the first one of the tensor.

        Raises
        ------
        TraceError
            If points do not lie along the first axis.
        """
        first = wire.shape[0] if wire.shape else 0
        if not first or first % self.n_points:
            raise TraceError("points do not lie along the first axis")
        return (first // self.n_points, *wire.shape[1:])

    def rows(self, constant: torch.Tensor | float, shape: Sequence[int]) -> torch.Tensor:
        """Broadcast a constant to a shape, and take what it is at every point.

        Raises
        ------
        TraceError
            If it is not the same at all points.
        """
        tensor = torch.as_tensor(constant, dtype=self.dtype, device=self.device)
        rows = tensor.detach().expand(tuple(shape)).reshape(self.n_points, -1)
        if not torch.equal(rows, rows[:1].expand_as(rows)):
            raise TraceError("a constant differs from point to point")
        return rows[0].contiguous()

    def expanded(self, wire: Wire, shape: Sequence[int]) -> Wire:
        """Repeat components, as torch does to broadcast."""
        if wire.shape == tuple(shape):
            return wire
        return self.rearranged(lambda part: part.expand(tuple(shape)), [wire])

    def applied(self, name: str, wire: Wire, *options: Any) -> Wire:
        """Append an activation, by torch's name of it; see `find_activation`."""
        activation = find_activation(name, *options)
        if activation is None:
            raise TraceError(f"{name} is not known")
        return self.add(ElementwiseLayer(activation), [wire], wire.shape)

    def scaled(self, wire: Wire, scale: Any, shift: Any, shape: Sequence[int]) -> Wire:
        """Append the product with a constant plus a constant, broadcast to a shape."""
        wire = self.expanded(wire, shape)
        layer = Scale(self.rows(scale, shape), self.rows(shift, shape))
        return self.add(layer, [wire], shape)

    def mapped(
        self,
        function: Callable[[torch.Tensor], torch.Tensor],
        wire: Wire,
        shape: Sequence[int],
        items: Sequence[int] | None = None,
    ) -> Wire:
        """Append a linear function of the items along the first axis.

        Parameters
        ----------
        function : callable
            As of `LinearFunction`.
        wire : Wire
            What it takes.
        shape : sequence of int
            Shape of its result in the recording.
        items : sequence of int, optional
            Shape of an item; by default that of an item along the first axis of the wire's tensor.

        Returns
        -------
        wire : Wire
            Its result.
        """
        own = wire.shape[1:] if items is None else tuple(items)
        n_outputs = math.prod(shape) // self.n_points
        layer = LinearFunction(function, own, self.width(wire), n_outputs)
        return self.add(layer, [wire], shape)

    def rearranged(self, move: Callable[..., torch.Tensor], inputs: Sequence[Wire]) -> Wire:
        """Append what moves, repeats, leaves out or joins components.

        Which component goes where is found by moving their numbers.

        Parameters
        ----------
        move : callable
            Maps tensors of the shapes of the inputs to one tensor.
        inputs : sequence of Wire
            What it takes.

        Returns
        -------
        wire : Wire
            Its result.

        Raises
        ------
        TraceError
            If components of one point go to another, or points are treated differently.
        """
        widths = [self.width(wire) for wire in inputs]
        total, tensors, first = sum(widths), [], 1  # 0 stands for constants
        points = torch.arange(self.n_points, dtype=torch.float64, device=self.device)[:, None]
        for wire, width in zip(inputs, widths, strict=True):
            numbers = torch.arange(first, first + width, dtype=points.dtype, device=self.device)
            tensors.append((numbers + total * points).reshape(wire.shape))
            first += width
        constants = move(*(torch.zeros_like(tensor) for tensor in tensors))
        numbers = move(*tensors) - constants
        if numbers.numel() % self.n_points:
            raise TraceError("points do not lie along the first axis")
        rows = numbers.reshape(self.n_points, -1)
        moved = rows[:1] + total * points
        if not torch.equal(rows, torch.where(rows[:1] > 0, moved, 0.0)):
            raise TraceError("components of one point go to another")
        index, shape = rows[0].long() - 1, numbers.shape
        wire = inputs[0]
        if len(inputs) > 1:
            wire = self.add(Concatenation(widths), inputs, (self.n_points, total))
        if not torch.equal(index, torch.arange(total, device=self.device)):
            wire = self.add(Selection(index, total), [wire], shape)
        if constants.any():
            shift = self.rows(constants, shape)
            wire = self.add(Scale(torch.ones_like(shift), shift), [wire], shape)
        return Wire(wire.number, tuple(shape))


def require_constants(*parts: Any) -> None:
    """Raise unless no argument of an operation depends on the codes.

    Parameters
    ----------
    *parts : Any
        Arguments, such as weights.

    Raises
    ------
    TraceError
        If one depends on the codes.
    """
    if any(isinstance(part, Variable) for part in parts):
        raise TraceError("a weight depends on the codes")
