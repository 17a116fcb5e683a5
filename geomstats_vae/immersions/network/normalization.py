"""Layers that normalise groups of components: layer norms, group norms, log softmax.

Their Hessians are not diagonal, but those of one group are diagonal plus terms of low rank, so
products with them cost as much as those of element-wise layers.
"""

from __future__ import annotations

import abc

import torch

from geomstats_vae.immersions.network.layers import Intermediates, Layer, combine, cross_gram
from geomstats_vae.immersions.network.linearization import Hessian, Step


class GroupLayer(Layer):
    """A function of groups of components, the same for all; groups stand one after the other.

    A subclass gives the function, its first and its second derivative, of groups on the last axis.

    Parameters
    ----------
    group_size : int
        Number of components of a group.
    """

    def __init__(self, group_size: int) -> None:
        self.group_size = group_size

    @abc.abstractmethod
    def evaluate(self, u: torch.Tensor) -> Intermediates:
        """Evaluate the function of groups; shape=[..., group_size].

        Returns
        -------
        known : tuple of torch.Tensor
            The value first, then what the derivatives need.
        """

    @abc.abstractmethod
    def first(self, known: Intermediates, x: torch.Tensor) -> torch.Tensor:
        """Apply the first derivative to tangents x."""

    @abc.abstractmethod
    def transposed(self, known: Intermediates, q: torch.Tensor) -> torch.Tensor:
        """Apply its transpose to covectors q."""

    @abc.abstractmethod
    def second(self, known: Intermediates, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Apply the second derivative to tangents x and y."""

    @abc.abstractmethod
    def hessian(self, known: Intermediates, q: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """Apply the Hessian of q . value to tangents x."""

    def split(self, rows: torch.Tensor) -> torch.Tensor:
        """Give groups an axis of their own."""
        return rows.unflatten(-1, (-1, self.group_size))

    def value(self, a: torch.Tensor) -> torch.Tensor:
        """See `Layer.value`."""
        return self.evaluate(self.split(a))[0].flatten(-2)

    def push(self, a: torch.Tensor, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """See `Layer.push`."""
        known = self.evaluate(self.split(a))
        return known[0].flatten(-2), self.first(known, self.split(rows)).flatten(-2)

    def jet(
        self,
        a: torch.Tensor,
        rows: torch.Tensor,
        second: torch.Tensor | None,
        v: torch.Tensor | None,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None, Intermediates]:
        """See `Layer.jet`."""
        known, split = self.evaluate(self.split(a)), self.split(rows)
        pushed = self.first(known, split).flatten(-2)
        change = None
        if v is not None:
            change = self.second(known, split, self.split(combine(v, rows)))
            if second is not None:
                change = change + self.first(known, self.split(second))
            change = change.flatten(-2)
        return known[0].flatten(-2), pushed, change, (rows, *known)

    def contract(
        self, covector: torch.Tensor, intermediates: Intermediates
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """See `Layer.contract`."""
        rows, *rest = intermediates
        known, q = tuple(rest), self.split(covector)
        product = self.hessian(known, q, self.split(rows)).flatten(-2)
        return self.transposed(known, q).flatten(-2), cross_gram(rows, product)

    def linearize(
        self, a: torch.Tensor, along: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, Step]:
        """See `Layer.linearize`."""
        known, split = self.evaluate(self.split(a)), self.split(along)
        step = _GroupStep(self, known, split)
        return known[0].flatten(-2), self.first(known, split).flatten(-2), step


class _GroupStep(Step):
    def __init__(self, layer: GroupLayer, known: Intermediates, along: torch.Tensor) -> None:
        self._layer, self._known, self._along = layer, known, along[:, None]
        self._wide = tuple(part[:, None] for part in known)
        # What is known, the direction, the covector, and the tangents in between.
        self.nbytes = (len(known) + 3) * along.numel() * along.element_size()

    def push(self, rows: torch.Tensor) -> torch.Tensor:
        split = self._layer.split(rows)
        pushed = self._layer.first(self._wide, split)
        pushed[:, 1:] += self._layer.second(self._wide, split[:, :1], self._along)
        return pushed.flatten(-2)

    def pull(self, rows: torch.Tensor) -> torch.Tensor:
        # The transpose of x -> d^2 f(x, v) is q -> Hessian of q . f, times v.
        split = self._layer.split(rows)
        pulled = self._layer.transposed(self._wide, split)
        pulled[:, :1] += self._layer.hessian(self._wide, split[:, 1:], self._along)
        return pulled.flatten(-2)

    def pull_covector(self, covector: torch.Tensor) -> torch.Tensor:
        return self._layer.transposed(self._known, self._layer.split(covector)).flatten(-2)

    def hessian(self, covector: torch.Tensor) -> Hessian:
        q = self._layer.split(covector)

        def add(rows: torch.Tensor, tangent: torch.Tensor) -> None:
            product = self._layer.hessian(self._known, q, self._layer.split(tangent))
            rows[:, 0] += product.flatten(-2)

        return add


class Normalization(GroupLayer):
    """y = (u - mean u) / sqrt(var u + eps) of each group, as in layer and group norms.

    With the normalised tangents x' = (x - mean x) / sqrt(var u + eps) and means m over a group,
    dy(x) = x' - m(y x') y and
    d^2 y(x, w) = (3 m(y x') m(y w') - m(x' w')) y - m(y w') x' - m(y x') w'.

    Parameters
    ----------
    group_size : int
        Number of components of a group.
    eps : float
        What is added to the variance.
    """

    def __init__(self, group_size: int, eps: float) -> None:
        super().__init__(group_size)
        self.eps = eps

    def evaluate(self, u: torch.Tensor) -> Intermediates:
        """See `GroupLayer.evaluate`."""
        centered = u - u.mean(-1, keepdim=True)
        scale = torch.rsqrt(_mean(centered, centered) + self.eps)
        return centered * scale, scale

    def first(self, known: Intermediates, x: torch.Tensor) -> torch.Tensor:
        """See `GroupLayer.first`."""
        y, _ = known
        x = self._normalised(known, x)
        return torch.addcmul(x, _mean(y, x), y, value=-1.0)

    def transposed(self, known: Intermediates, q: torch.Tensor) -> torch.Tensor:
        """See `GroupLayer.transposed`."""
        y, _ = known
        return self._normalised(known, torch.addcmul(q, _mean(y, q), y, value=-1.0))

    def second(self, known: Intermediates, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """See `GroupLayer.second`."""
        value, _ = known
        x, w = self._normalised(known, x), self._normalised(known, y)
        along_x, along_w = _mean(value, x), _mean(value, w)
        total = (3.0 * along_x * along_w - _mean(x, w)) * value
        return total - along_w * x - along_x * w

    def hessian(self, known: Intermediates, q: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """See `GroupLayer.hessian`."""
        y, _ = known
        x = self._normalised(known, x)
        along, share = _mean(y, x), _mean(q, y)
        product = (3.0 * along * share - _mean(q, x)) * y - along * q - share * x
        return self._normalised(known, product)

    def _normalised(self, known: Intermediates, x: torch.Tensor) -> torch.Tensor:
        return (x - x.mean(-1, keepdim=True)) * known[1]


class LogSoftmax(GroupLayer):
    """y = u - log sum exp u of each group.

    With p = exp y: dy(x) = x - <p, x> and d^2 y(x, w) = <p, x> <p, w> - <p, x w>, for every
    component.
    """

    def evaluate(self, u: torch.Tensor) -> Intermediates:
        """See `GroupLayer.evaluate`."""
        y = torch.log_softmax(u, dim=-1)
        return y, torch.exp(y)

    def first(self, known: Intermediates, x: torch.Tensor) -> torch.Tensor:
        """See `GroupLayer.first`."""
        return x - _sum(known[1], x)

    def transposed(self, known: Intermediates, q: torch.Tensor) -> torch.Tensor:
        """See `GroupLayer.transposed`."""
        return torch.addcmul(q, known[1], q.sum(-1, keepdim=True), value=-1.0)

    def second(self, known: Intermediates, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """See `GroupLayer.second`."""
        p = known[1]
        change = _sum(p, x) * _sum(p, y) - _sum(p * x, y)
        return change.expand(*change.shape[:-1], self.group_size)

    def hessian(self, known: Intermediates, q: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """See `GroupLayer.hessian`."""
        p = known[1]
        return q.sum(-1, keepdim=True) * p * (_sum(p, x) - x)


def _sum(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return (a * b).sum(-1, keepdim=True)


def _mean(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return (a * b).mean(-1, keepdim=True)
