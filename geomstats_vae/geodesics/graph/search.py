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
from geomstats_vae.geodesics.graph.trees import Tree, Trees

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
    repeated : array of int, shape=[n_repeated], optional
        Nodes whose trees are kept: the ends of many paths, most of them between these.
    """

    def __init__(
        self,
        graph: sparse.csr_matrix,
        ends: Ints,
        options: SearchOptions,
        repeated: Ints | None = None,
    ) -> None:
        self.matrix, self.ends, self.options = graph, ends, options
        repeated = np.zeros(0, dtype=int) if repeated is None else repeated
        self._n_aimed, self._trees = 0, Trees(graph, repeated, self.n_kept)

    def __getstate__(self) -> dict[str, object]:
        """State with half of the edges, and without what is known of landmarks and trees."""
        half = sparse.triu(self.matrix, format="csr")
        own = {"ends": self.ends, "options": self.options, "repeated": self._trees.roots}
        return {"graph": half, **own}

    def __setstate__(self, state: dict[str, Any]) -> None:
        graph = state["graph"] + state["graph"].T
        self.__init__(**state | {"graph": graph})  # type: ignore[misc]

    def for_pairs(self, source: Ints, target: Ints, n_jobs: int) -> tuple[GraphSearch, int | None]:
        """Keep the trees of nodes that are ends of many pairs; see `LatentGraph.for_pairs`."""
        n_ends = np.bincount(np.concatenate((source, target)), minlength=self.matrix.shape[0])
        least, tile = n_jobs * self.options.repeated, self.n_kept // 2
        often = n_ends >= least
        n_between, repeated = (often[source] & often[target]).sum(), np.flatnonzero(often)
        if tile < least or 2 * n_between < least * max(1, len(repeated)):
            return self, None
        return self.keeping(repeated), tile if len(repeated) > 2 * tile else None

    def keeping(self, repeated: Ints) -> GraphSearch:
        """Make the same search of the same graph, but keep the trees of some nodes."""
        search = GraphSearch(self.matrix, self.ends, self.options, repeated)
        known = ("_to_landmarks", "_rounding")
        vars(search).update({name: vars(self)[name] for name in known if name in vars(self)})
        return search

    @property
    def n_kept(self) -> int:
        """Number of trees that are held at once, at most; one takes eight bytes for each node."""
        return self.options.trees_bytes // (8 * self.matrix.shape[0])

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
        groups, trees, few = _groups(root), self._trees, self.options.shared
        known = [root[pairs[0]] in trees for pairs in groups]
        together = [self._small or len(pairs) >= few for pairs in groups]
        aims = self._aims(sum(not (a or b) for a, b in zip(known, together, strict=True)))
        dijkstra, beyond = self._dijkstra(aims), -1.0
        if rivals is not None:
            beyond, back = rivals.longer, Dijkstra(self.matrix)
        for pairs, kept, shared in zip(groups, known, together, strict=True):
            alone = aims and not (kept or shared)
            for part in pairs[:, None] if alone else [pairs]:
                node, leaves, most = root[part[0]], leaf[part], limit[part]
                found: Dijkstra | Tree = dijkstra
                if kept:
                    found = trees.of(node)
                elif alone:
                    self._find(dijkstra, aims, node, leaves[0], most[0], beyond=beyond)
                else:
                    dijkstra.search(root[part[:1]], leaves, most.max(), beyond=beyond)
                length[part] = found.lengths(leaves)
                if rivals is not None:
                    rivals.look(found, back, part, leaves, most, trees if kept else None)
                for pair in part[np.isfinite(length[part]) & (length[part] <= most)]:
                    paths[pair] = found.path(leaf[pair])
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
