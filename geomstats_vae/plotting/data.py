"""What pictures read of curves and walks: arrays by their names, whatever holds them."""

from __future__ import annotations

from typing import Any, Protocol


class Curve(Protocol):
    """Curves that can be evaluated, such as a `GeodesicPath`."""

    points: Any

    def __call__(self, t: Any) -> Any:
        """Evaluate at times in [0, 1], shape=[n_times]; returns shape=[..., n_times, dim]."""


class Walk(Protocol):
    """Random walks, such as a `RandomWalk`."""

    points: Any
    status: Any
