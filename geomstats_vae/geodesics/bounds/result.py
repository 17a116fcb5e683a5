"""Bounds of distances, with a status for each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from geomstats_vae.geodesics.status import Status


class BoundStatus(Status):
    """Why the search for a bound ended; `message` says it in a sentence."""

    TIGHT = 0
    OUT_OF_TIME = 1
    TOO_FINE = 2
    OUTSIDE = 3
    CHORD = 4
    INTERRUPTED = 5

    @property
    def message(self) -> str:
        """One sentence."""
        return _MESSAGES[self]


_MESSAGES = {
    BoundStatus.TIGHT: "The bounds differ by at most rtol.",
    BoundStatus.OUT_OF_TIME: "The time was over before the bounds were tight; raise max_seconds.",
    BoundStatus.TOO_FINE: (
        "The mesh had as many triangles as allowed before the bounds were tight: the metric "
        "changes too fast, or jumps."
    ),
    BoundStatus.OUTSIDE: (
        "Curves that lead far outside could be shorter, as far as is known: the metric is small "
        "there."
    ),
    BoundStatus.CHORD: (
        "Lower comes from distances in data space alone: there are not two dimensions, no curve of "
        "finite length was found, or no mesh tells the ends apart."
    ),
    BoundStatus.INTERRUPTED: "The search was interrupted; lower is the best bound until then.",
}


@dataclass(frozen=True)
class DistanceBounds:
    """Bounds of distances between pairs of points.

    Parameters
    ----------
    lower : array-like, shape=[...]
        Lower bounds, in the units of the data.
    upper : array-like, shape=[...]
        Upper bounds: lengths of curves, with the errors of their measurement.
    status : array-like of int, shape=[...]
        Members of `BoundStatus`; 0 where the bounds differ by at most the tolerance.
    n_triangles : array-like of int, shape=[...]
        Triangles of the finest mesh; 0 where there was none.
    """

    lower: Any
    upper: Any
    status: Any
    n_triangles: Any

    @property
    def gap(self) -> Any:
        """Relative gap, 1 - lower / upper, shape=[...]; zero where points coincide."""
        # Where upper is zero, so is lower; tensors and arrays alike.
        zero = self.upper == 0.0
        return 1.0 - (self.lower + zero) / (self.upper + zero)

    @property
    def tight(self) -> Any:
        """Whether the bounds differ by at most the tolerance, shape=[...]."""
        return self.status == int(BoundStatus.TIGHT)

    def map(self, function: Callable[[Any], Any]) -> DistanceBounds:
        """Apply a function to each array."""
        columns = self.lower, self.upper, self.status, self.n_triangles
        return DistanceBounds(*map(function, columns))

    def __str__(self) -> str:
        status = np.asarray(self.status).ravel()
        names = [
            f"{int((status == int(code)).sum())} {code.name}"
            for code in BoundStatus
            if (status == int(code)).any()
        ]
        gap = np.asarray(self.gap, dtype=float).ravel()
        largest = f"{100 * gap.max():.3g} %" if gap.size else "-"
        return f"Bounds of {len(status)} distances, largest gap {largest}: {', '.join(names)}"
