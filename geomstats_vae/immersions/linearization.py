"""How the velocity dF(v) of a moving point changes, without a Jacobian.

A variation (dz, dv) of a point and a direction changes dF(v) by J dv + d^2F(v, dz). Gradients and
second variations of lengths and energies consist of this map and its transpose. Points are rows,
and independent.
"""

from __future__ import annotations

import abc
import threading
from collections.abc import Callable
from typing import Any, TypeAlias

import torch
from torch.func import grad, jvp, vjp

Function: TypeAlias = Callable[[torch.Tensor], torch.Tensor]
# Maps (dz, dv), both of shape=[n_points, dim], to two tensors of that shape.
Product: TypeAlias = Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]

# torch counts the levels of its forward mode for all threads together: one that leaves its level
# takes the derivatives of the others away. So threads take turns.
_FORWARD_MODE = threading.RLock()
_GRAPH_BYTES = 50  # of graphs of all derivatives per byte of the output: measured on convolutions


class Linearization(abc.ABC):
    """The derivative of (z, v) -> dF(z)(v) at some points and directions.

    Attributes
    ----------
    pushed : torch.Tensor, shape=[n_points, n_outputs]
        dF(v).
    """

    pushed: torch.Tensor

    @property
    @abc.abstractmethod
    def nbytes(self) -> int:
        """Memory that this holds and that products take, about; in bytes."""

    @abc.abstractmethod
    def pull(self, covector: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Apply the transpose of the derivative.

        Parameters
        ----------
        covector : torch.Tensor, shape=[n_points, n_outputs]
            Covector q at each point.

        Returns
        -------
        dz, dv : torch.Tensor, shape=[n_points, dim]
            d^2F(v, .)' q and J' q: the derivatives of <q, dF(v)>.
        """

    @abc.abstractmethod
    def quadratic(self, weight: torch.Tensor, covector: torch.Tensor | None = None) -> Product:
        """Prepare products with a second variation.

        Parameters
        ----------
        weight : torch.Tensor, shape=[n_points]
            Weight w of the Gauss-Newton part.
        covector : torch.Tensor, shape=[n_points, n_outputs], or None
            Covector q of the curvature part; None leaves it out.

        Returns
        -------
        product : callable
            Maps (dz, dv) to the derivatives by dz and dv of
            w / 2 |J dv + d^2F(v, dz)|^2 + 1/2 <q, d^2F(dz, dz)>.
        """


class AutodiffLinearization(Linearization):
    """Linearization of any torch function, by reverse passes over graphs that are kept.

    Parameters
    ----------
    function : callable
        Maps shape=[n_points, dim] to shape=[n_points, n_outputs], row by row.
    z, v : torch.Tensor, shape=[n_points, dim]
        Points and directions.
    forward_mode : bool
        Use forward-mode derivatives; False replaces each by two reverse passes.
    """

    def __init__(
        self,
        function: Function,
        z: torch.Tensor,
        v: torch.Tensor,
        *,
        forward_mode: bool = True,
    ) -> None:
        self.function, self.z = function, z
        with torch.enable_grad():
            pushed, self._pull = _pullback(
                lambda z, v: pushforward(function, z, v, forward_mode=forward_mode)[1], z, v
            )
        self.pushed = pushed.detach()

    @property
    def nbytes(self) -> int:
        """Memory; see `Linearization.nbytes`. What graphs hold can only be guessed."""
        return _GRAPH_BYTES * self.pushed.numel() * self.pushed.element_size()

    def pull(self, covector: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Apply the transpose; see `Linearization.pull`."""
        dz, dv = self._pull(covector)
        return dz.detach(), dv.detach()

    def quadratic(self, weight: torch.Tensor, covector: torch.Tensor | None = None) -> Product:
        """Prepare products; see `Linearization.quadratic`."""
        hessian = None if covector is None else self._hessian(covector)
        # The pullback is linear in its covector: its own pullback is the pushforward.
        with torch.enable_grad():
            push = _pullback(self._pull, torch.zeros_like(self.pushed))[1]

        def product(dz: torch.Tensor, dv: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            (change,) = push((dz, dv))
            gz, gv = self.pull(weight[:, None] * change.detach())
            return (gz if hessian is None else gz + hessian(dz)[0].detach()), gv

        return product

    def _hessian(self, covector: torch.Tensor) -> Callable[[torch.Tensor], tuple[torch.Tensor]]:
        def contracted(y: torch.Tensor) -> torch.Tensor:
            return (self.function(y) * covector).sum()

        with torch.enable_grad():
            return _pullback(grad(contracted), self.z)[1]


def pushforward(
    function: Function, z: torch.Tensor, v: torch.Tensor, *, forward_mode: bool
) -> tuple[torch.Tensor, torch.Tensor]:
    """Evaluate a function and its derivative along a direction, by torch.

    Parameters
    ----------
    function : callable
        Maps shape=[n_points, dim] to shape=[n_points, n_outputs], row by row.
    z, v : torch.Tensor, shape=[n_points, dim]
        Points and directions.
    forward_mode : bool
        Use forward mode; False replaces it by two reverse passes.

    Returns
    -------
    value, pushed : torch.Tensor, shape=[n_points, n_outputs]
        Values and derivatives.
    """
    if forward_mode:
        with _FORWARD_MODE:
            result = jvp(function, (z,), (v,))
        return result[0], result[1]
    # The pullback is linear in its covector: its own pullback is the pushforward.
    value, pull = _pullback(function, z)

    def pull_one(covector: torch.Tensor) -> torch.Tensor:
        return pull(covector)[0]

    return value, _pullback(pull_one, torch.zeros_like(value))[1](v)[0]


def _pullback(
    function: Callable[..., Any], *inputs: torch.Tensor
) -> tuple[Any, Callable[..., Any]]:
    """Value of a function, and what applies the transpose of its derivative."""
    result = vjp(function, *inputs)
    return result[0], result[1]
