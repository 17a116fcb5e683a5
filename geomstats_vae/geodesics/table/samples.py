"""Values of a metric on the points of a lattice, each of which is evaluated once."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from geomstats_vae.geodesics.arrays import Floats, Ints

Metric = Callable[[Floats], Floats]


class Samples:
    """Evaluates a metric on a lattice, and keeps what it was.

    Meshes of neighbours overlap, and finer meshes hold points of the coarser.

    Parameters
    ----------
    metric : callable
        Takes points, shape=[n_points, dim]; returns matrices, shape=[n_points, dim, dim].
    origin, spacing : array, shape=[dim]
        The lattice's point of place 0, and what it is from point to point.
    show : callable
        Takes numbers of points that were evaluated.
    piece : int
        Points at once.
    """

    def __init__(
        self,
        metric: Metric,
        origin: Floats,
        spacing: Floats,
        show: Callable[[int], object],
        piece: int = 4096,
    ) -> None:
        self._metric, self._origin, self._spacing = metric, origin, spacing
        self._show, self._piece, self._upper = show, piece, np.triu_indices(len(origin))
        self._keys = np.zeros(0, dtype=np.int64)
        self._values = np.zeros((0, len(self._upper[0])))

    def __len__(self) -> int:
        return len(self._keys)

    def evaluate(self, places: Ints) -> None:
        """Evaluate the metric at places where it was not.

        Parameters
        ----------
        places : array of int, shape=[n_places, dim]
            Places on the lattice.
        """
        keys, first = np.unique(self._key(places), return_index=True)
        at = np.minimum(np.searchsorted(self._keys, keys), max(len(self._keys) - 1, 0))
        new = self._keys[at] != keys if len(self._keys) else np.ones(len(keys), dtype=bool)
        keys, points = keys[new], self._origin + self._spacing * places[first[new]]
        values = [self._values]
        for part in np.split(points, np.arange(self._piece, len(points), self._piece)):
            values.append(self._metric(part)[:, self._upper[0], self._upper[1]])
            self._show(len(part))
        keys = np.concatenate((self._keys, keys))
        # Two sorted runs: stable sorting merges them.
        order = np.argsort(keys, kind="stable")
        self._keys, self._values = keys[order], np.concatenate(values)[order]

    def values(self, places: Ints) -> Floats:
        """Components on and above the diagonal at places that were evaluated.

        Parameters
        ----------
        places : array of int, shape=[..., dim]
            Places on the lattice.

        Returns
        -------
        values : array, shape=[..., dim * (dim + 1) / 2]
            Components.
        """
        return self._values[np.searchsorted(self._keys, self._key(places))]

    def _key(self, places: Ints) -> Ints:
        # Places may be a little negative.
        bits, key = 62 // len(self._origin), np.zeros(places.shape[:-1], dtype=np.int64)
        for axis in range(places.shape[-1]):
            key = (key << bits) + places[..., axis]
        return key
