"""Searches for shortest paths on a graph whose edges are all measured.

The path of one pair is found by A*, which looks at a small part of the graph. For a node that many
paths share, one search by Dijkstra's algorithm finds all of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import Any

import numpy as np
from scipy import sparse

from geomstats_vae.geodesics.arrays import Floats, Ints
from geomstats_vae.geodesics.graph.dijkstra import Dijkstra
from geomstats_vae.geodesics.graph.options import SearchOptions
from geomstats_vae.geodesics.graph.rivals import Rivals

# Stands for infinity, whose differences are not defined, in bounds of single precision.
_UNREACHED = np.float32(1e30)


class GraphSearch:
    """Searches for shortest paths on one graph.

    Parameters
    ----------
    graph : csr_matrix, shape=[n_nodes, n_nodes]
        Symmetric matrix of positive edge lengths.
    ends : array of int, shape=[n_ends]
        Nodes near which paths are asked for. The landmarks are some of them, each the one that is
        farthest from those before it.
    options : SearchOptions
        How paths are searched.
    """

    def __init__(self, graph: sparse.csr_matrix, ends: Ints, options: SearchOptions) -> None:
        self.matrix, self.ends, self.options = graph, ends, options
        self._n_aimed = 0

    def __getstate__(self) -> dict[str, object]:
        """State with half of the edges, and without what is known of landmarks."""
        half = sparse.triu(self.matrix, format="csr")
        return {"half": half, "ends": self.ends, "options": self.options}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.matrix = state["half"] + state["half"].T
        self.ends, self.options = state["ends"], state["options"]
        self._n_aimed = 0

    @cached_property
    def _to_landmarks(self) -> np.ndarray:
        """Distances from nodes to landmarks, shape=[n_nodes, n_landmarks]."""
        every, dijkstra = np.arange(self.matrix.shape[0]), Dijkstra(self.matrix)

        def distances(node: int) -> np.ndarray:
            dijkstra.search(np.array([node]), np.zeros(0, dtype=int))
            distance = dijkstra.lengths(every).astype(np.float32)
            return np.where(np.isfinite(distance), distance, _UNREACHED)

        first = np.argmax(distances(self.ends[0])[self.ends])
        far = [distances(self.ends[first])]
        nearest = far[0][self.ends]
        for _ in range(1, min(self.options.n_landmarks, len(self.ends))):
            far.append(distances(self.ends[np.argmax(nearest)]))
            nearest = np.minimum(nearest, far[-1][self.ends])
        return np.stack(far, axis=1)

    @cached_property
    def _rounding(self) -> float:
        """Bound on the rounding of the distances' sums and differences."""
        far = self._to_landmarks
        return 4.0 * np.finfo(far.dtype).eps * far.max(where=far < _UNREACHED, initial=0.0)

    @property
    def _small(self) -> bool:
        return self.matrix.shape[0] < self.options.small_graph

    def _aims(self, n_searches: int) -> bool:
        """Whether to make so many more searches by A*: landmarks take a few of the others."""
        self._n_aimed += n_searches
        return not self._small and self._n_aimed > self.options.unaimed

    def _dijkstra(self, aims: bool) -> Dijkstra:
        """Arrays of the searches of one call: calls in several threads do not share them."""
        if not aims:
            return Dijkstra(self.matrix)
        return Dijkstra(self.matrix, self._to_landmarks, self._rounding)

    def paths(
        self, source: Ints, target: Ints, limit: Floats, rivals: Rivals | None = None
    ) -> tuple[list[Ints], Floats]:
        """Find shortest paths.

        Parameters
        ----------
        source, target : array of int, shape=[n_pairs]
            End nodes.
        limit : array, shape=[n_pairs]
            Lengths past which no path is wanted.
        rivals : Rivals, optional
            Collects second paths.

        Returns
        -------
        paths : list of array of int
            Nodes from source to target; empty where there is no path within the limit.
        length : array, shape=[n_pairs]
            Lengths; infinite where there is none.
        """
        paths, length = [np.zeros(0, dtype=int)] * len(source), np.full(len(source), np.inf)
        swap = len(np.unique(target)) < len(np.unique(source))
        root, leaf = (target, source) if swap else (source, target)
        groups = _groups(root)
        together = [self._small or len(pairs) >= self.options.shared for pairs in groups]
        aims = self._aims(together.count(False))
        dijkstra, beyond = self._dijkstra(aims), -1.0
        if rivals is not None:
            beyond, back = rivals.longer, Dijkstra(self.matrix)
        for pairs, shared in zip(groups, together, strict=True):
            if shared or not aims:
                node = root[pairs[:1]]
                dijkstra.search(node, leaf[pairs], limit[pairs].max(), beyond=beyond)
                length[pairs] = dijkstra.lengths(leaf[pairs])
                if rivals is not None:
                    rivals.look(dijkstra, back, pairs, leaf[pairs], limit[pairs])
            for pair in pairs:
                if aims and not shared:
                    ends = root[pair], leaf[pair], limit[pair]
                    self._find(dijkstra, aims, *ends, beyond=beyond)
                    length[pair] = dijkstra.lengths(leaf[pair])
                    if rivals is not None:
                        row = np.array([pair])
                        rivals.look(dijkstra, back, row, leaf[row], limit[row])
                if length[pair] <= limit[pair] and np.isfinite(length[pair]):
                    paths[pair] = dijkstra.path(leaf[pair])
        length[length > limit] = np.inf
        if swap and rivals is not None:
            rivals.found = [(pair, path[::-1]) for pair, path in rivals.found]
        return [path[::-1] for path in paths] if swap else paths, length

    def paths_around(
        self, source: Ints, target: Ints, limit: Floats, near: Iterable[Ints], factor: float
    ) -> tuple[list[Ints], Floats]:
        """Find shortest paths, each once the edges at some nodes are made dearer.

        Parameters
        ----------
        source, target : array of int, shape=[n_pairs]
            End nodes.
        limit : array, shape=[n_pairs]
            Lengths past which no path is wanted, on the graph with the dearer edges.
        near : iterable of array of int
            For each pair the nodes whose edges are dearer.
        factor : float
            Factor of edges between two of these nodes, at least one. That of edges from one of
            them to another node is its root.

        Returns
        -------
        paths : list of array of int
            Nodes from source to target; empty where there is no path within the limit.
        length : array, shape=[n_pairs]
            Lengths on the graph as it is; infinite where there is none.
        """
        aims = self._aims(len(source))
        dijkstra, length = self._dijkstra(aims), np.full(len(source), np.inf)
        paths, toll = [], np.ones(self.matrix.shape[0])
        for k, nodes in enumerate(near):
            toll[nodes] = np.sqrt(factor)
            self._find(dijkstra, aims, source[k], target[k], limit[k], toll, factor)
            toll[nodes] = 1.0
            path = dijkstra.path(target[k])
            if len(path):
                length[k] = self.matrix[path[:-1], path[1:]].sum()
            paths.append(path)
        return paths, length

    def _find(
        self,
        dijkstra: Dijkstra,
        aims: bool,
        root: int,
        leaf: int,
        limit: float,
        toll: Floats | None = None,
        dearest: float = 1.0,
        beyond: float = -1.0,
    ) -> None:
        """Search for the path of one pair, by A* if it aims."""
        ends = np.array([root]), np.array([leaf])
        if not aims:
            dijkstra.search(*ends, limit, beyond=beyond, factor=toll)
            return
        far = self._to_landmarks
        longest = dearest * float((far[root] + far[leaf]).min())
        apart = np.abs(far[root] - far[leaf]).max()
        if longest < _UNREACHED:
            longest *= 1.0 + max(beyond, 0.0)
            limit = min(limit, longest * (1.0 + self.options.slack) + self._rounding)
        if apart - self._rounding > limit or apart > 0.5 * _UNREACHED:
            limit = -1.0  # there is no path
        dijkstra.search(*ends, limit, aim=leaf, beyond=beyond, factor=toll)


def _groups(values: Ints) -> list[Ints]:
    """Rows of equal values, for each value."""
    order = np.argsort(values, kind="stable")
    cuts = np.flatnonzero(np.diff(values[order])) + 1
    return np.split(order, cuts) if len(values) else []
