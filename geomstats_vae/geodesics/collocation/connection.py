"""Connections by their Christoffel symbols, and derivatives of symbols by differences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch

Function = Callable[[torch.Tensor], torch.Tensor]


class Connection(Protocol):
    """What collocation asks of a connection."""

    def christoffels(self, points: torch.Tensor) -> torch.Tensor:
        """Evaluate Christoffel symbols.

        Parameters
        ----------
        points : torch.Tensor, shape=[n, dim]
            Points.

        Returns
        -------
        symbols : torch.Tensor, shape=[n, dim, dim, dim]
            Symbols Gamma^k_ij, the upper index k first; NaN where there are none.
        """

    def jacobian_christoffels(self, points: torch.Tensor, reach: torch.Tensor) -> torch.Tensor:
        """Differentiate Christoffel symbols.

        Parameters
        ----------
        points : torch.Tensor, shape=[n, dim]
            Points.
        reach : torch.Tensor, shape=[n]
            About how far from each point symbols change, for differences.

        Returns
        -------
        slopes : torch.Tensor, shape=[n, dim, dim, dim, dim]
            Derivatives d_l Gamma^k_ij, the index l last; NaN where there are none.
        """


def central_differences(
    function: Function,
    points: torch.Tensor,
    reach: torch.Tensor,
    *,
    max_shortenings: int = 4,
) -> torch.Tensor:
    """Differentiate a function of points by central differences, all in one call.

    Parameters
    ----------
    function : callable
        Takes points, shape=[n, dim], to values, shape=[n, ...]; NaN where it has none.
    points : torch.Tensor, shape=[n, dim]
        Where to differentiate.
    reach : torch.Tensor, shape=[n]
        About how far from each point the function changes.
    max_shortenings : int
        How often steps are divided by ten where values are missing, as beyond the boundary of a
        domain.

    Returns
    -------
    derivative : torch.Tensor, shape=[n, ..., dim]
        Index of the derivation last; NaN where the function has no value nearby.
    """
    # The cube root of rounding balances rounding against the second-order error.
    step = torch.finfo(points.dtype).eps ** (1 / 3) * reach
    derivative = _differences(function, points, step)
    for _ in range(max_shortenings):
        rows = (~derivative.isfinite()).flatten(1).any(1).nonzero()[:, 0]
        if not len(rows):
            break
        step[rows] *= 0.1
        derivative[rows] = _differences(function, points[rows], step[rows])
    return derivative


def _differences(function: Function, points: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
    n, dim = points.shape
    shift = step[:, None, None] * torch.eye(dim, dtype=points.dtype, device=points.device)
    ahead, behind = points[:, None] + shift, points[:, None] - shift
    values = function(torch.cat((ahead, behind)).flatten(0, 1)).unflatten(0, (2, n, dim))
    # The steps that were really taken, rounding included.
    taken = (ahead - behind).diagonal(dim1=1, dim2=2)
    slopes = values[0] - values[1]
    slopes = slopes / taken.reshape(n, dim, *(1,) * (slopes.ndim - 2))
    return slopes.movedim(1, -1)
