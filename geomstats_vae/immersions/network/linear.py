"""Linear layers beside full affine maps: selections, maps of blocks, and any linear function."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import torch
from torch.func import vjp
from torch.nn import functional

from geomstats_vae.immersions.network.layers import LinearLayer


class Selection(LinearLayer):
    """u -> (u_i for i in index): permuted, repeated, left out or zero.

    Parameters
    ----------
    index : torch.Tensor, shape=[n_outputs]
        Number of the input that each output is; -1 stands for 0.
    n_inputs : int
        Number of inputs.
    """

    def __init__(self, index: torch.Tensor, n_inputs: int) -> None:
        self.index, self.n_inputs = index, n_inputs
        start, n_outputs = int(index[0]), len(index)
        steps = torch.arange(start, start + n_outputs, device=index.device)
        self._range = (start, n_outputs) if start >= 0 and torch.equal(index, steps) else None
        self._padded = bool((index < 0).any())
        counts = torch.bincount(index[index >= 0], minlength=n_inputs)
        self._inverse = None
        if not self._padded and len(torch.unique(counts)) == 1:
            # Every input is used as often as any other: the transpose sums as many outputs.
            self._inverse = torch.argsort(index, stable=True).view(n_inputs, -1)

    def value(self, a: torch.Tensor) -> torch.Tensor:
        """See `Layer.value`."""
        return self.tangents(a)

    def tangents(self, rows: torch.Tensor) -> torch.Tensor:
        """See `LinearLayer.tangents`."""
        if self._range is not None:
            return rows.narrow(-1, *self._range)
        if self._padded:
            rows = functional.pad(rows, (0, 1))
        return rows[..., self.index]

    def pull(self, covector: torch.Tensor) -> torch.Tensor:
        """See `LinearLayer.pull`."""
        if self._range is not None:
            start, n_outputs = self._range
            return functional.pad(covector, (start, self.n_inputs - start - n_outputs))
        if self._inverse is not None:
            return covector[..., self._inverse].sum(-1)
        pulled = covector.new_zeros(*covector.shape[:-1], self.n_inputs + 1)
        index = self.index % (self.n_inputs + 1)
        return pulled.index_add_(-1, index, covector)[..., :-1]


class BlockAffine(LinearLayer):
    """The same affine map of each of some blocks of components.

    Parameters
    ----------
    weight : torch.Tensor, shape=[n_block_outputs, n_block_inputs]
        Matrix.
    bias : torch.Tensor, shape=[n_outputs], optional
        Constant of all blocks.
    """

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None = None) -> None:
        self.weight, self.bias = weight.detach(), None if bias is None else bias.detach()

    def value(self, a: torch.Tensor) -> torch.Tensor:
        """See `Layer.value`."""
        value = self.tangents(a)
        return value if self.bias is None else value + self.bias

    def tangents(self, rows: torch.Tensor) -> torch.Tensor:
        """See `LinearLayer.tangents`."""
        return (rows.unflatten(-1, (-1, self.weight.shape[1])) @ self.weight.T).flatten(-2)

    def pull(self, covector: torch.Tensor) -> torch.Tensor:
        """See `LinearLayer.pull`."""
        return (covector.unflatten(-1, (-1, self.weight.shape[0])) @ self.weight).flatten(-2)


@dataclasses.dataclass(frozen=True)
class TorchOperation:
    """One of torch's operations with its options; it can be pickled.

    Parameters
    ----------
    name : str
        Torch's name, such as ``"mean.dim"``.
    options : tuple
        Its arguments behind the tensor.
    named : dict
        The same, by name.
    """

    name: str
    options: tuple[Any, ...] = ()
    named: dict[str, Any] = dataclasses.field(default_factory=dict)

    def __call__(self, items: torch.Tensor) -> torch.Tensor:
        """Apply the operation to a tensor."""
        name, _, overload = self.name.partition(".")
        function = getattr(getattr(torch.ops.aten, name), overload or "default")
        result: torch.Tensor = function(items, *self.options, **self.named)
        return result


@dataclasses.dataclass(frozen=True, eq=False)
class StackProduct:
    """Products of stacks of matrices with constant ones.

    Parameters
    ----------
    matrices : torch.Tensor, shape=[n_matrices, n_rows, n_columns]
        The constant matrices.
    on_the_right : bool
        Whether they are the second factors.
    """

    matrices: torch.Tensor
    on_the_right: bool

    def __call__(self, stacks: torch.Tensor) -> torch.Tensor:
        """Multiply stacks, shape=[n_items, n_matrices, ...]."""
        return stacks @ self.matrices if self.on_the_right else self.matrices @ stacks


class LinearFunction(LinearLayer):
    """Any linear function of torch; its transpose is torch's.

    Parameters
    ----------
    function : callable
        Maps shape=[n_items, *shape] to shape=[n_items, ...], item by item.
    shape : tuple of int
        Shape of an item.
    n_inputs : int
        Number of components of one point, which may be those of several items.
    n_outputs : int
        Number of components of the result.
    """

    def __init__(
        self,
        function: Callable[[torch.Tensor], torch.Tensor],
        shape: tuple[int, ...],
        n_inputs: int,
        n_outputs: int,
    ) -> None:
        self.function, self.shape = function, tuple(shape)
        self.n_inputs, self.n_outputs = n_inputs, n_outputs

    def value(self, a: torch.Tensor) -> torch.Tensor:
        """See `Layer.value`."""
        return self.tangents(a)

    def tangents(self, rows: torch.Tensor) -> torch.Tensor:
        """See `LinearLayer.tangents`."""
        result = self.function(rows.reshape(-1, *self.shape))
        return result.reshape(*rows.shape[:-1], self.n_outputs)

    def pull(self, covector: torch.Tensor) -> torch.Tensor:
        """See `LinearLayer.pull`."""
        flat = covector.reshape(-1, covector.shape[-1])
        zeros = flat.new_zeros(len(flat), self.n_inputs).view(-1, *self.shape)
        with torch.enable_grad():
            value, transpose, *_ = vjp(self.function, zeros)
            (pulled,) = transpose(flat.reshape(value.shape))
        pulled = pulled if torch.is_grad_enabled() else pulled.detach()
        return pulled.reshape(*covector.shape[:-1], self.n_inputs)
