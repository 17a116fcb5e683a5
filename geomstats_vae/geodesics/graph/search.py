"""Searches for shortest paths on a graph whose edges are all measured.

A search for the path between two nodes looks at a small part of the graph: by the triangle
inequality the distances from some landmarks bound those between any two nodes from both sides
([1]_). A node whose bounds to the two ends of a path add up to more than the path may take is not
on it.

References
----------
.. [1] Goldberg, Harrelson. "Computing the Shortest Path: A* Search Meets Graph Theory."
   SODA 2005, section 4.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import dijkstra

from geomstats_vae.geodesics.arrays import Floats, Ints
from geomstats_vae.geodesics.graph.options import SearchOptions

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

    def __getstate__(self) -> dict[str, object]:
        """State with half of the edges, and without what is known of landmarks."""
        half = sparse.triu(self.matrix, format="csr")
        return {"half": half, "ends": self.ends, "options": self.options}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.matrix = state["half"] + state["half"].T
        self.ends, self.options = state["ends"], state["options"]

    @cached_property
    def _to_landmarks(self) -> np.ndarray:
        """Distances between landmarks and nodes, shape=[n_landmarks, n_nodes]."""
        first = np.argmax(self._distances(self.ends[0])[self.ends])
        far = [self._distances(self.ends[first])]
        nearest = far[0][self.ends]
        for _ in range(1, min(self.options.n_landmarks, len(self.ends))):
            far.append(self._distances(self.ends[np.argmax(nearest)]))
            nearest = np.minimum(nearest, far[-1][self.ends])
        return np.stack(far)

    @cached_property
    def _rounding(self) -> float:
        """Bound on the rounding of the distances' sums and differences."""
        far = self._to_landmarks
        return 4.0 * np.finfo(far.dtype).eps * far.max(where=far < _UNREACHED, initial=0.0)

    def _distances(self, node: int) -> np.ndarray:
        distance = dijkstra(self.matrix, indices=node).astype(np.float32)
        return np.where(np.isfinite(distance), distance, _UNREACHED)

    def paths(self, source: Ints, target: Ints, limit: Floats) -> tuple[list[Ints], Floats]:
        """Find shortest paths.

        Parameters
        ----------
        source, target : array of int, shape=[n_pairs]
            End nodes.
        limit : array, shape=[n_pairs]
            Lengths past which no path is wanted.

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
        _, place, count = np.unique(root, return_inverse=True, return_counts=True)
        together = count[place] >= self.options.shared
        together |= self.matrix.shape[0] < self.options.small_graph
        for node in np.unique(root[together]):
            pairs = np.flatnonzero(together & (root == node))
            found = paths_from(self.matrix, node, leaf[pairs], limit[pairs].max())
            for pair, (path, total) in zip(pairs, found, strict=True):
                paths[pair], length[pair] = path, total
        for pair in np.flatnonzero(~together):
            paths[pair], length[pair] = self._path(root[pair], leaf[pair], limit[pair])
        for pair in np.flatnonzero(length > limit):
            paths[pair], length[pair] = np.zeros(0, dtype=int), np.inf
        return [path[::-1] for path in paths] if swap else paths, length

    def _path(self, root: int, leaf: int, limit: float) -> tuple[Ints, float]:
        """Shortest path of one pair, on the part of the graph that may hold it."""
        far = self._to_landmarks
        limit = min(limit, float((far[:, root] + far[:, leaf]).min()))
        slack = limit * (1.0 + self.options.slack) + self._rounding
        apart = np.abs(far[:, root] - far[:, leaf])
        if apart.max() > slack:
            return np.zeros(0, dtype=int), np.inf
        best, first = np.argsort(-apart, kind="stable"), self.options.first_landmarks
        nodes: Ints = np.arange(far.shape[1])
        for some in np.split(best, [first]) if len(best) > first else [best]:
            bound = _least_distances(far, some, nodes, root)
            bound += _least_distances(far, some, nodes, leaf)
            nodes = nodes[bound <= slack]
        ends = np.searchsorted(nodes, (root, leaf))
        ((path, length),) = paths_from(_part(self.matrix, nodes), ends[0], ends[1:], slack)
        return nodes[path], length


def _least_distances(far: np.ndarray, landmarks: Ints, nodes: Ints, node: int) -> np.ndarray:
    """Lower bounds of the distances of nodes from one, by some landmarks."""
    everywhere = len(nodes) == far.shape[1]
    bound = np.zeros(1, dtype=far.dtype)
    for landmark in landmarks:  # one after the other they stay in the processor's cache
        distance = far[landmark] if everywhere else far[landmark, nodes]
        difference = distance - far[landmark, node]
        bound = np.maximum(bound, np.abs(difference, out=difference), out=difference)
    return bound


def paths_from(
    graph: sparse.csr_matrix, root: int, leaves: Ints, limit: float
) -> Iterator[tuple[Ints, float]]:
    """Find the shortest paths from one node to others.

    Parameters
    ----------
    graph : csr_matrix, shape=[n_nodes, n_nodes]
        Positive edge lengths, from rows to columns.
    root : int
        The node.
    leaves : array of int, shape=[n_leaves]
        The others.
    limit : float
        Length past which no path is wanted.

    Yields
    ------
    path : array of int
        Nodes from the root to a leaf; empty where there is no path.
    length : float
        Its length; infinite where there is none.
    """
    distance, before = dijkstra(graph, indices=root, return_predecessors=True, limit=limit)
    for leaf in leaves:
        reached = np.isfinite(distance[leaf])
        yield trace(before, leaf)[::-1] if reached else np.zeros(0, dtype=int), distance[leaf]


def _part(graph: sparse.csr_matrix, nodes: Ints) -> sparse.csr_matrix:
    """Part of a graph, shape=[n_kept, n_kept]: some of its nodes and the edges among them."""
    first, count = graph.indptr[nodes], graph.indptr[nodes + 1] - graph.indptr[nodes]
    edges = np.repeat(first - np.cumsum(count) + count, count) + np.arange(count.sum())
    number = np.full(graph.shape[0], -1, dtype=np.int32)
    number[nodes] = np.arange(len(nodes))
    columns = number[graph.indices[edges]]
    kept = columns >= 0
    before = np.concatenate(([0], np.cumsum(kept)))
    indptr = before[np.concatenate(([0], np.cumsum(count)))]
    weights = graph.data[edges[kept]]
    return sparse.csr_matrix((weights, columns[kept], indptr), (len(nodes),) * 2)


def trace(before: Ints, node: int) -> Ints:
    """Follow a path from a node back to its source.

    Parameters
    ----------
    before : array of int, shape=[n_nodes]
        Predecessor of each node in a search; negative at the source.
    node : int
        Where the path ends.

    Returns
    -------
    path : array of int, shape=[n_vertices]
        Nodes from that one to the source.
    """
    path = [int(node)]
    while before[path[-1]] >= 0:
        path.append(int(before[path[-1]]))
    return np.array(path)
