"""Places in a triangle at which a metric is looked at, and quadratic functions there."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from geomstats_vae.geodesics.arrays import Floats, Ints


@dataclass(frozen=True, eq=False)
class Lattice:
    """Evenly spaced places in a triangle, and some between them.

    Places are given by barycentric coordinates 1 and 2.

    Parameters
    ----------
    order : int
        Intervals along each side, even.
    """

    order: int = 4

    @cached_property
    def places(self) -> Floats:
        """Those of the lattice, and then the others, shape=[n_places, 2]."""
        # The others are farthest from the lattice's: in the middle of its triangles.
        end = 1.0 / (3 * self.order)
        others = [[1 / 3, 1 / 3], [end, end], [1 - 2 * end, end], [end, 1 - 2 * end]]
        return np.concatenate([np.array(self._pairs) / self.order, others])

    @property
    def n_even(self) -> int:
        """Number of places of the lattice."""
        return len(self._pairs)

    @cached_property
    def gradients(self) -> Floats:
        """Gradients of the quadratic basis functions at all places, shape=[n_places, 2, 6]."""
        return quadratic_gradients(self.places)

    @cached_property
    def coarse(self) -> Ints:
        """Indices of corners and middles of edges, shape=[6]."""
        half = self.order // 2
        return np.array([k for k, (i, j) in enumerate(self._pairs) if not (i % half or j % half)])

    @cached_property
    def triples(self) -> Ints:
        """Places of the lattice in a row, one step from each other, shape=[n_triples, 3]."""
        index = {pair: k for k, pair in enumerate(self._pairs)}
        found = [
            (index.get((i - di, j - dj), -1), k, index.get((i + di, j + dj), -1))
            for (i, j), k in index.items()
            for di, dj in ((1, 0), (0, 1), (1, -1))
        ]
        return np.array([triple for triple in found if min(triple) >= 0])

    @cached_property
    def _pairs(self) -> list[tuple[int, int]]:
        n = self.order
        return [(i, j) for i in range(n + 1) for j in range(n + 1 - i)]


def quadratic_gradients(places: Floats) -> Floats:
    """Differentiate the six quadratic basis functions of a triangle.

    They belong to the corners 0, 1 and 2 and to the middles of the edges from corner 0 to 1, 1 to
    2 and 2 to 0.

    Parameters
    ----------
    places : array, shape=[n_places, 2]
        Barycentric coordinates 1 and 2.

    Returns
    -------
    gradients : array, shape=[n_places, 2, 6]
        Derivatives by these coordinates.
    """
    y, z = places.T
    x, zero = 1.0 - y - z, 0.0 * y
    by_y = [1 - 4 * x, 4 * y - 1, zero, 4 * (x - y), 4 * z, -4 * z]
    by_z = [1 - 4 * x, zero, 4 * z - 1, -4 * y, 4 * y, 4 * (x - z)]
    return np.stack([np.stack(by_y, axis=-1), np.stack(by_z, axis=-1)], axis=1)
