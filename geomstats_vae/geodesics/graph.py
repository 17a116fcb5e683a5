"""Shortest ways on a graph between pairs of nodes."""

from __future__ import annotations

from functools import cached_property

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import dijkstra

# A search of the whole graph serves this many pairs with a common node better than one for each.
_SHARED = 6
_SMALL_GRAPH = 5000  # nodes, of a graph that is searched whole at once
_N_LANDMARKS = 16
_FIRST = 3  # landmarks that look at all nodes; the others look at those left
# Lower bounds are kept in single precision.
_SLACK = 1e-5
_UNREACHED = np.float32(1e30)  # stands for infinity, whose differences are not defined


class GraphSearch:
    """Searches for shortest ways on one graph.

    Parameters
    ----------
    graph : csr_matrix, shape=[n_nodes, n_nodes]
        Symmetric matrix of positive edge lengths.
    ends : array of int, shape=[n_ends]
        Nodes near which ways are asked for; the landmarks are some of them.

    Notes
    -----
    By the triangle inequality the distances from some landmarks bound those between any two nodes
    from both sides ([1]_). A node whose bounds to the two ends of a way add up to more than the way
    may take is not on it, and the search for one pair looks at the others only. Each landmark is
    the end farthest from those before it.

    References
    ----------
    .. [1] Goldberg, Harrelson. "Computing the Shortest Path: A* Search Meets Graph Theory."
       SODA 2005, section 4.
    """

    def __init__(self, graph, ends):
        self.graph, self.ends = graph, ends

    @cached_property
    def _to_landmarks(self):
        """Distances between landmarks and nodes, shape=[n_landmarks, n_nodes]."""
        first = np.argmax(self._distances(self.ends[0])[self.ends])
        far = [self._distances(self.ends[first])]
        nearest = far[0][self.ends]
        for _ in range(1, min(_N_LANDMARKS, len(self.ends))):
            far.append(self._distances(self.ends[np.argmax(nearest)]))
            nearest = np.minimum(nearest, far[-1][self.ends])
        return np.stack(far)

    @cached_property
    def _rounding(self):
        """Bound on the rounding of the distances' sums and differences."""
        far = self._to_landmarks
        return 4.0 * np.finfo(far.dtype).eps * far.max(where=far < _UNREACHED, initial=0.0)

    def _distances(self, node):
        distance = dijkstra(self.graph, indices=node).astype(np.float32)
        return np.where(np.isfinite(distance), distance, _UNREACHED)

    def ways(self, source, target, limit):
        """Find shortest ways.

        Parameters
        ----------
        source, target : array of int, shape=[n_pairs]
            End nodes.
        limit : array, shape=[n_pairs]
            Lengths past which no way is wanted.

        Returns
        -------
        ways : list of array of int
            Nodes from source to target; empty where there is no way within the limit.
        cost : array, shape=[n_pairs]
            Lengths; infinite where there is none.
        """
        ways, cost = [np.zeros(0, dtype=int)] * len(source), np.full(len(source), np.inf)
        swap = len(np.unique(target)) < len(np.unique(source))
        root, leaf = (target, source) if swap else (source, target)
        _, place, count = np.unique(root, return_inverse=True, return_counts=True)
        together = (count[place] >= _SHARED) | (self.graph.shape[0] < _SMALL_GRAPH)
        for node in np.unique(root[together]):
            pairs = np.flatnonzero(together & (root == node))
            found = _search(self.graph, node, leaf[pairs], limit[pairs].max())
            for pair, (way, length) in zip(pairs, found, strict=True):
                ways[pair], cost[pair] = way, length
        for pair in np.flatnonzero(~together):
            ways[pair], cost[pair] = self._way(root[pair], leaf[pair], limit[pair])
        for pair in np.flatnonzero(cost > limit):
            ways[pair], cost[pair] = np.zeros(0, dtype=int), np.inf
        return [way[::-1] for way in ways] if swap else ways, cost

    def _way(self, root, leaf, limit):
        """Shortest way of one pair, on the part of the graph that may hold it."""
        far = self._to_landmarks
        limit = min(limit, float((far[:, root] + far[:, leaf]).min())) * (1.0 + _SLACK)
        slack = limit + self._rounding
        apart = np.abs(far[:, root] - far[:, leaf])
        if apart.max() > slack:
            return np.zeros(0, dtype=int), np.inf
        best = np.argsort(-apart, kind="stable")
        nodes = None
        for some in np.split(best, [_FIRST]) if len(best) > _FIRST else [best]:
            bound = _least_distances(far, some, nodes, root)
            bound += _least_distances(far, some, nodes, leaf)
            left = np.flatnonzero(bound <= slack)
            nodes = left if nodes is None else nodes[left]
        ends = np.searchsorted(nodes, (root, leaf))
        ((way, length),) = _search(_part(self.graph, nodes), ends[0], ends[1:], slack)
        return nodes[way], length


def _least_distances(far, landmarks, nodes, node):
    """Lower bounds of the distances of nodes, None of all, from one, by some landmarks."""
    bound = np.float32(0.0)
    for landmark in landmarks:  # one after the other they stay in the processor's cache
        distance = far[landmark] if nodes is None else far[landmark, nodes]
        difference = distance - far[landmark, node]
        bound = np.maximum(bound, np.abs(difference, out=difference), out=difference)
    return bound


def _search(graph, root, leaves, limit):
    """Yield the ways from one node to others, and their lengths."""
    distance, before = dijkstra(graph, indices=root, return_predecessors=True, limit=limit)
    for leaf in leaves:
        reached = np.isfinite(distance[leaf])
        yield trace(before, leaf)[::-1] if reached else np.zeros(0, dtype=int), distance[leaf]


def _part(graph, nodes):
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


def trace(before, node):
    """Nodes of a way from a node back to its source, by the predecessors of a search."""
    way = [int(node)]
    while before[way[-1]] >= 0:
        way.append(int(before[way[-1]]))
    return np.array(way)
