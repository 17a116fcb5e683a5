"""Layers of several inputs: sums, products, and results side by side.

They have the methods of `Layer`, with tuples for inputs, one member for each.
"""

from __future__ import annotations

import abc
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import torch

from geomstats_vae.immersions.network.layers import Intermediates, combine, cross_gram
from geomstats_vae.immersions.network.linearization import Hessian, Step

Parts: TypeAlias = tuple[torch.Tensor, ...]
# Derivatives of tangents, where None stands for zeros.
Seconds: TypeAlias = tuple[torch.Tensor | None, ...]


class Joint(abc.ABC):
    """A layer of several inputs; see `Layer` for its methods."""

    smooth = True
    curvature_jumps = False

    @abc.abstractmethod
    def value(self, a: Parts) -> torch.Tensor:
        """Evaluate; see `Layer.value`."""

    @abc.abstractmethod
    def push(self, a: Parts, rows: Parts) -> tuple[torch.Tensor, torch.Tensor]:
        """Push tangents; see `Layer.push`."""

    @abc.abstractmethod
    def jet(
        self, a: Parts, rows: Parts, second: Seconds, v: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None, Intermediates]:
        """Push a value, tangents and their derivatives; see `Layer.jet`."""

    @abc.abstractmethod
    def contract(
        self, covector: torch.Tensor, intermediates: Intermediates
    ) -> tuple[Parts, torch.Tensor | None]:
        """Pull a covector, contract the second derivative; see `Layer.contract`."""

    @abc.abstractmethod
    def linearize(self, a: Parts, along: Parts) -> tuple[torch.Tensor, torch.Tensor, Step]:
        """Prepare products; see `Layer.linearize`."""

    def smoothed(self, width: float, a: Parts) -> Joint:
        """Round kinks; see `Layer.smoothed`. Joints have none."""
        return self


class LinearJoint(Joint):
    """A linear function of several inputs, which is its own derivative."""

    @abc.abstractmethod
    def tangents(self, rows: Parts) -> torch.Tensor:
        """Apply the map to tangents; shape=[..., n_inputs] each to [..., n_outputs]."""

    @abc.abstractmethod
    def pull(self, covector: torch.Tensor) -> Parts:
        """Apply its transpose; shape=[..., n_outputs] to [..., n_inputs] each."""

    def value(self, a: Parts) -> torch.Tensor:
        """See `Joint.value`."""
        return self.tangents(a)

    def push(self, a: Parts, rows: Parts) -> tuple[torch.Tensor, torch.Tensor]:
        """See `Joint.push`."""
        return self.tangents(a), self.tangents(rows)

    def jet(
        self, a: Parts, rows: Parts, second: Seconds, v: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None, Intermediates]:
        """See `Joint.jet`."""
        total = None
        if any(part is not None for part in second):
            pairs = zip(rows, second, strict=True)
            filled = (torch.zeros_like(row) if part is None else part for row, part in pairs)
            total = self.tangents(tuple(filled))
        return self.tangents(a), self.tangents(rows), total, ()

    def contract(self, covector: torch.Tensor, intermediates: Intermediates) -> tuple[Parts, None]:
        """See `Joint.contract`."""
        return self.pull(covector), None

    def linearize(self, a: Parts, along: Parts) -> tuple[torch.Tensor, torch.Tensor, Step]:
        """See `Joint.linearize`."""
        return self.tangents(a), self.tangents(along), _LinearJointStep(self)


class _LinearJointStep(Step):
    def __init__(self, joint: LinearJoint) -> None:
        self._joint = joint

    def push(self, rows: Parts) -> torch.Tensor:  # type: ignore[override]
        return self._joint.tangents(rows)

    def pull(self, rows: torch.Tensor) -> Parts:  # type: ignore[override]
        return self._joint.pull(rows)

    def pull_covector(self, covector: torch.Tensor) -> Parts:  # type: ignore[override]
        return self._joint.pull(covector)


class Sum(LinearJoint):
    """f_1 a_1 + ... + f_K a_K.

    Parameters
    ----------
    factors : sequence of float
        f_1 to f_K.
    """

    def __init__(self, factors: Sequence[float]) -> None:
        self.factors = tuple(factors)

    def tangents(self, rows: Parts) -> torch.Tensor:
        """See `LinearJoint.tangents`."""
        first, *others = self.factors
        total = rows[0] if first == 1.0 else first * rows[0]
        for factor, part in zip(others, rows[1:], strict=True):
            total = torch.add(total, part, alpha=factor)
        return total

    def pull(self, covector: torch.Tensor) -> Parts:
        """See `LinearJoint.pull`."""
        return tuple(covector if f == 1.0 else f * covector for f in self.factors)


class Concatenation(LinearJoint):
    """Inputs side by side.

    Parameters
    ----------
    widths : sequence of int
        Numbers of components.
    """

    def __init__(self, widths: Sequence[int]) -> None:
        self.widths = list(widths)

    def tangents(self, rows: Parts) -> torch.Tensor:
        """See `LinearJoint.tangents`."""
        shapes = {part.shape[:-1] for part in rows}
        if len(shapes) > 1:
            # Tangents that are the same at all points stand beside others that are not. The
            # function of torch for shapes takes as long as all the rest.
            shape = np.broadcast_shapes(*shapes)
            rows = tuple(part.expand(*shape, -1) for part in rows)
        return torch.cat(rows, dim=-1)

    def pull(self, covector: torch.Tensor) -> Parts:
        """See `LinearJoint.pull`."""
        return tuple(covector.split(self.widths, dim=-1))


class Bilinear(Joint):
    """A function B(a, b) that is linear in each of two inputs."""

    @abc.abstractmethod
    def times(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """Evaluate B; leading axes are broadcast."""

    @abc.abstractmethod
    def pull_first(self, covector: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """Apply the transpose of a -> B(a, b)."""

    @abc.abstractmethod
    def pull_second(self, covector: torch.Tensor, a: torch.Tensor) -> torch.Tensor:
        """Apply the transpose of b -> B(a, b)."""

    def value(self, a: Parts) -> torch.Tensor:
        """See `Joint.value`."""
        return self.times(a[0], a[1])

    def push(self, a: Parts, rows: Parts) -> tuple[torch.Tensor, torch.Tensor]:
        """See `Joint.push`."""
        return self.times(a[0], a[1]), self.times(rows[0], a[1]) + self.times(a[0], rows[1])

    def jet(
        self, a: Parts, rows: Parts, second: Seconds, v: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None, Intermediates]:
        """See `Joint.jet`."""
        value, pushed = self.push(a, rows)
        total = None
        if v is not None:
            total = self.times(rows[0], combine(v, rows[1])) + self.times(
                combine(v, rows[0]), rows[1]
            )
            total = total if second[0] is None else total + self.times(second[0], a[1])
            total = total if second[1] is None else total + self.times(a[0], second[1])
        return value, pushed, total, (*a, *rows)

    def contract(
        self, covector: torch.Tensor, intermediates: Intermediates
    ) -> tuple[Parts, torch.Tensor]:
        """See `Joint.contract`."""
        a, b, rows, others = intermediates
        half = cross_gram(rows, self.pull_first(covector, others))
        pulled = self.pull_first(covector, b), self.pull_second(covector, a)
        return pulled, half + half.transpose(1, 2)

    def linearize(self, a: Parts, along: Parts) -> tuple[torch.Tensor, torch.Tensor, Step]:
        """See `Joint.linearize`."""
        value, pushed = self.push(a, along)
        return value, pushed, _BilinearStep(self, a, along)


class _BilinearStep(Step):
    def __init__(self, joint: Bilinear, a: Parts, along: Parts) -> None:
        self._joint = joint
        self._a, self._along = [tuple(part[:, None] for part in parts) for parts in (a, along)]
        # Inputs and directions, the covector, and the tangents in between.
        self.nbytes = 5 * sum(part.numel() * part.element_size() for part in a)

    def push(self, rows: Parts) -> torch.Tensor:  # type: ignore[override]
        (a, b), (da, db), times = self._a, self._along, self._joint.times
        pushed = times(rows[0], b) + times(a, rows[1])
        pushed[:, 1:] += times(rows[0][:, :1], db) + times(da, rows[1][:, :1])
        return pushed

    def pull(self, rows: torch.Tensor) -> Parts:  # type: ignore[override]
        (a, b), (da, db), joint = self._a, self._along, self._joint
        first, second = joint.pull_first(rows, b), joint.pull_second(rows, a)
        first[:, :1] += joint.pull_first(rows[:, 1:], db)
        second[:, :1] += joint.pull_second(rows[:, 1:], da)
        return first, second

    def pull_covector(self, covector: torch.Tensor) -> Parts:  # type: ignore[override]
        (a, b), joint = self._a, self._joint
        return joint.pull_first(covector, b[:, 0]), joint.pull_second(covector, a[:, 0])

    def hessian(self, covector: torch.Tensor) -> Hessian:
        def add(rows: Parts, tangents: Parts) -> None:
            rows[0][:, 0] += self._joint.pull_first(covector, tangents[1])
            rows[1][:, 0] += self._joint.pull_second(covector, tangents[0])

        return add


class Product(Bilinear):
    """a b, component by component."""

    def times(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """See `Bilinear.times`."""
        return a * b

    def pull_first(self, covector: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """See `Bilinear.pull_first`."""
        return covector * b

    def pull_second(self, covector: torch.Tensor, a: torch.Tensor) -> torch.Tensor:
        """See `Bilinear.pull_second`."""
        return covector * a


class MatrixProduct(Bilinear):
    """A B of stacks of matrices, flattened.

    Parameters
    ----------
    first, second : tuple of int
        Shapes of A and B of one point: [n_matrices, n_rows, n_inner] and
        [n_matrices, n_inner, n_columns].
    """

    def __init__(self, first: tuple[int, ...], second: tuple[int, ...]) -> None:
        self.first, self.second = first, second
        self.result = (first[0], first[1], second[2])

    def times(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """See `Bilinear.times`."""
        return (a.unflatten(-1, self.first) @ b.unflatten(-1, self.second)).flatten(-3)

    def pull_first(self, covector: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """See `Bilinear.pull_first`."""
        b = b.unflatten(-1, self.second).transpose(-1, -2)
        return (covector.unflatten(-1, self.result) @ b).flatten(-3)

    def pull_second(self, covector: torch.Tensor, a: torch.Tensor) -> torch.Tensor:
        """See `Bilinear.pull_second`."""
        a = a.unflatten(-1, self.first).transpose(-1, -2)
        return (a @ covector.unflatten(-1, self.result)).flatten(-3)
