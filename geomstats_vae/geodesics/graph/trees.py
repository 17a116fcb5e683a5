"""Shortest-path trees of nodes where many paths end, kept while pairs are worked on.

Where each of some points is paired with many others, as in a matrix of distances, the tree of each
point is found once, and both trees of a pair tell its shortest path and the second ones.

A tree is found by Dial's algorithm ([1]_): nodes wait in buckets of a fixed range of distances, and
no heap keeps them in order. The buckets are as wide as short edges, so few nodes are visited twice.

References
----------
.. [1] Dial. "Algorithm 360: Shortest-Path Forest with Topological Ordering." Communications of the
   ACM 12 (11), 1969.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from functools import cached_property
from threading import Lock
from typing import Any, ClassVar

import numpy as np
from scipy import sparse

from geomstats_vae.geodesics.arrays import Floats, Ints
from geomstats_vae.geodesics.graph.dijkstra import Arrays, Dijkstra, kept_on_disk, trace


@dataclass(frozen=True)
class Tree:
    """Shortest paths from one node to all.

    Parameters
    ----------
    before : array of int32, shape=[n_nodes]
        The node before each on its path; -1 of the root, and of nodes without a path.
    single_distances : array of float32, shape=[n_nodes]
        Lengths of the paths; infinite where there is none.
    least : array of float32, shape=[ceil(n_nodes / 64)]
        The least length of every 64 nodes.
    """

    together: ClassVar[int] = 64

    before: np.ndarray
    single_distances: np.ndarray
    least: np.ndarray

    @classmethod
    def of(cls, before: np.ndarray, distance: Floats) -> Tree:
        """Make a tree of the nodes before each, and lengths in double precision."""
        single = distance.astype(np.float32)
        least = np.minimum.reduceat(single, np.arange(0, len(single), cls.together))
        return cls(before, single, least)

    def lengths(self, nodes: Ints) -> Floats:
        """Lengths of the paths to some nodes, shape=[n]."""
        return self.single_distances[nodes].astype(float)

    def path(self, node: int) -> Ints:
        """Path to a node, from the root on; empty where there is none."""
        if not np.isfinite(self.single_distances[node]):
            return np.zeros(0, dtype=int)
        vertices = np.empty(len(self.before), dtype=np.int32)
        return vertices[: trace(self.before, int(node), vertices)][::-1].astype(int)

    def between(self, other: Tree, most: float) -> tuple[np.ndarray, Floats]:
        """Find nodes between two roots.

        Parameters
        ----------
        other : Tree
            The tree of the other root.
        most : float
            Length of a path from root to root.

        Returns
        -------
        nodes : array of int32, shape=[n]
            Nodes through which a path is no longer, up to single precision.
        total : array, shape=[n]
            Lengths of these paths.
        """
        n_nodes = len(self.before)
        nodes, total = np.empty(n_nodes, dtype=np.int32), np.empty(n_nodes)
        one, two = (self.single_distances, self.least), (other.single_distances, other.least)
        n_between = _between(*one, *two, self.together, most, nodes, total)
        return nodes[:n_between], total[:n_between]


class Trees:
    """Trees of some nodes of one graph, each found when it is first asked for.

    Parameters
    ----------
    graph : csr_matrix, shape=[n_nodes, n_nodes]
        Symmetric matrix of positive edge lengths.
    roots : array of int, shape=[n_roots]
        The nodes.
    most : int
        Largest number of trees that are held; those asked for least recently are dropped.

    Notes
    -----
    Several threads can share the trees. A pickle holds none of them. A bucket is half as wide as
    the shortest edge of a typical node. Where edges differ more than the largest number of buckets
    can tell, a heap orders the nodes.
    """

    width: ClassVar[float] = 0.5
    most_buckets: ClassVar[int] = 2**14

    def __init__(self, graph: sparse.csr_matrix, roots: Ints, most: int) -> None:
        self.graph, self.roots, self.most = graph, roots, most
        self._held: OrderedDict[int, Tree] = OrderedDict()
        self._known, self._lock = frozenset(roots.tolist()), Lock()

    @cached_property
    def _edges(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """First edge of each node and the end, other nodes, and lengths."""
        indptr, indices = self.graph.indptr.astype(np.int32), self.graph.indices.astype(np.int32)
        return indptr, indices, self.graph.data

    @cached_property
    def _buckets(self) -> tuple[int, float]:
        """Number of buckets, none where a heap is to order the nodes, and their width."""
        indptr, _, length = self._edges
        if not len(length):
            return 0, 0.0
        shortest = np.minimum.reduceat(length, indptr[:-1][np.diff(indptr) > 0])
        width = self.width * float(np.median(shortest))
        if not length.max() < self.most_buckets * width:
            return 0, width
        return 2 ** int(np.ceil(np.log2(length.max() / width + 2.0))), width

    def __contains__(self, node: Any) -> bool:
        return int(node) in self._known

    def of(self, root: int) -> Tree:
        """Give the tree of one of the roots."""
        root = int(root)
        with self._lock:
            if root in self._held:
                self._held.move_to_end(root)
                return self._held[root]
        tree = self._found(root)
        with self._lock:
            self._held[root] = tree
            while len(self._held) > self.most:
                self._held.popitem(last=False)
        return tree

    def _found(self, root: int) -> Tree:
        n_nodes, (n_buckets, width) = self.graph.shape[0], self._buckets
        if not n_buckets:
            dijkstra = Dijkstra(self.graph)
            dijkstra.search(np.array([root]), np.zeros(0, dtype=int))
            return Tree.of(dijkstra.before, dijkstra.distance)
        before, distance = np.full(n_nodes, -1, dtype=np.int32), np.full(n_nodes, np.inf)
        links = np.full((3, n_nodes), -1, dtype=np.int32)
        first = np.full(n_buckets, -1, dtype=np.int32)
        _grow(self._edges, root, width, before, distance, links, first)
        return Tree.of(before, distance)


@kept_on_disk
def _grow(
    graph: Arrays,
    root: int,
    width: float,
    before: np.ndarray,
    distance: np.ndarray,
    links: np.ndarray,
    first: np.ndarray,
) -> None:
    """Find the tree of a root.

    Buckets are in a ring that is as long as the longest edge. The nodes of each are a list: the
    first one, and for each node the next and the last before it, and its bucket or -1.
    """
    indptr, indices, weight = graph
    after, ahead, place = links[0], links[1], links[2]
    distance[root], first[0], place[root] = 0.0, root, 0
    n_waiting, bucket = 1, 0
    while n_waiting > 0:
        while first[bucket] >= 0:
            node = first[bucket]
            second = after[node]
            first[bucket] = second
            if second >= 0:
                ahead[second] = -1
            place[node] = -1
            n_waiting -= 1
            for edge in range(indptr[node], indptr[node + 1]):
                other, length = indices[edge], distance[node] + weight[edge]
                if not length < distance[other]:  # no shorter path, or an edge whose length is NaN
                    continue
                distance[other], before[other] = length, node
                old, new = place[other], int(length / width) % len(first)
                if old == new:
                    continue
                if old < 0:
                    n_waiting += 1
                else:
                    left, right = ahead[other], after[other]
                    if left >= 0:
                        after[left] = right
                    else:
                        first[old] = right
                    if right >= 0:
                        ahead[right] = left
                second = first[new]
                after[other], ahead[other], place[other] = second, -1, new
                if second >= 0:
                    ahead[second] = other
                first[new] = other
        bucket = (bucket + 1) % len(first)


@kept_on_disk
def _between(
    one: np.ndarray,
    least: np.ndarray,
    other: np.ndarray,
    least_other: np.ndarray,
    together: int,
    most: float,
    nodes: np.ndarray,
    total: np.ndarray,
) -> int:
    """Write the nodes between two roots, see `Tree.between`, and return their number."""
    n_between = 0
    for part in range(len(least)):
        if not least[part] + least_other[part] <= most:
            continue
        for node in range(part * together, min((part + 1) * together, len(one))):
            length = one[node] + other[node]
            if length <= most:
                nodes[n_between], total[n_between] = node, length
                n_between += 1
    return n_between
