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
    known : Samples, optional
        What is known of the same metric on another lattice. Where its places are on this one,
        nothing is evaluated.
    piece : int
        Points at once.
    """

    def __init__(
        self,
        metric: Metric,
        origin: Floats,
        spacing: Floats,
        show: Callable[[int], object],
        known: Samples | None = None,
        piece: int = 4096,
    ) -> None:
        self._metric, self._origin, self._spacing = metric, origin, spacing
        self._show, self._piece, self._upper = show, piece, np.triu_indices(len(origin))
        self._keys = np.zeros(0, dtype=np.int64)
        self._values = np.zeros((0, len(self._upper[0])))
        self._known = self._keys, self._values
        if known is not None:
            self._know(known)

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
        keys, places = keys[new], places[first[new]]
        values, open_ = self._recalled(keys)
        points = self._origin + self._spacing * places[open_]
        for begin in range(0, len(points), self._piece):
            part = slice(begin, begin + self._piece)
            values[open_[part]] = self._metric(points[part])[:, self._upper[0], self._upper[1]]
            self._show(len(points[part]))
        keys = np.concatenate((self._keys, keys))
        # Two sorted runs: stable sorting merges them.
        order = np.argsort(keys, kind="stable")
        self._keys, self._values = keys[order], np.concatenate((self._values, values))[order]

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

    def _know(self, other: Samples) -> None:
        """Keep what is known on a coarser lattice, if its places are on this one."""
        times = np.rint(other._spacing / self._spacing)
        same = np.allclose(times * self._spacing, other._spacing, rtol=1e-12, atol=0.0)
        if same and (times >= 1.0).all() and (self._origin == other._origin).all():
            keys = self._key(other._places() * times.astype(np.int64))
            order = np.argsort(keys)
            self._known = keys[order], other._values[order]

    def _recalled(self, keys: Ints) -> tuple[Floats, Ints]:
        """Values at keys, as far as they are known, and the rows of which they are not."""
        known, values = self._known
        found = np.empty((len(keys), values.shape[1]))
        if not len(known):
            return found, np.arange(len(keys))
        at = np.minimum(np.searchsorted(known, keys), len(known) - 1)
        hit = known[at] == keys
        found[hit] = values[at[hit]]
        return found, np.flatnonzero(~hit)

    @property
    def _bits(self) -> int:
        return 62 // len(self._origin)

    def _key(self, places: Ints) -> Ints:
        # Places may be a little negative.
        key = np.zeros(places.shape[:-1], dtype=np.int64)
        for axis in range(places.shape[-1]):
            key = (key << self._bits) + places[..., axis]
        return key

    def _places(self) -> Ints:
        """Places of all keys, shape=[n_places, dim]."""
        key, half, places = self._keys, 1 << (self._bits - 1), []
        for _ in self._origin:
            last = ((key + half) & (2 * half - 1)) - half
            places.append(last)
            key = (key - last) >> self._bits
        return np.stack(places[::-1], axis=-1)
