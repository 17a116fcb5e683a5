"""Dijkstra's algorithm and A*, compiled.

Dijkstra's algorithm visits nodes in the order of their distances from a root. A* adds to each
distance a lower bound of what is left to the node where the path ends, and so visits few nodes off
the path. Here the bounds come from landmarks: by the triangle inequality, two nodes are at least
as far apart as their distances to a landmark differ ([1]_).

The code is compiled by numba when it is first called, and the result is kept on disk. Every kernel
is called with arrays of the same types, so that it is compiled once.

References
----------
.. [1] Goldberg, Harrelson. "Computing the Shortest Path: A* Search Meets Graph Theory."
   SODA 2005, section 4.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit
from scipy import sparse

from geomstats_vae.geodesics.arrays import Floats, Ints

_NO_LANDMARKS = np.zeros((1, 0), dtype=np.float32)
_NO_FACTOR = np.zeros(0)

Arrays = tuple[np.ndarray, ...]


def kept_on_disk(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function at its first call, and keep the result where a folder can be written."""
    try:
        return njit(cache=True, nogil=True)(function)
    except RuntimeError:  # neither the package's folder nor the user's cache can be written
        return njit(nogil=True)(function)


class Dijkstra:
    """Searches on one graph, one after the other in the same arrays.

    A search takes time for the nodes that it reaches only, not for those of the whole graph. An
    object serves one thread; objects in several threads can share a graph.

    Parameters
    ----------
    graph : csr_matrix, shape=[n_nodes, n_nodes]
        Positive edge lengths, from rows to columns.
    landmarks : array of float32, shape=[n_nodes, n_landmarks], optional
        Distances from nodes to landmarks, for searches by A*; the graph is symmetric then.
    rounding : float
        Bound on the rounding of these distances' differences.
    """

    def __init__(
        self,
        graph: sparse.csr_matrix,
        landmarks: np.ndarray | None = None,
        rounding: float = 0.0,
    ) -> None:
        n_nodes = graph.shape[0]
        self.graph: Arrays = (
            np.ascontiguousarray(graph.indptr, dtype=np.int32),
            np.ascontiguousarray(graph.indices, dtype=np.int32),
            np.ascontiguousarray(graph.data, dtype=np.float64),
        )
        self._landmarks, self._rounding = landmarks, float(rounding)
        self._distance, self._bound = np.full(n_nodes, np.inf), np.empty(n_nodes, np.float32)
        self._wanted = np.zeros(n_nodes, dtype=np.uint8)
        # Which nodes have a distance, the node before each on its path, and the heap's arrays.
        self._before = np.full(n_nodes, -1, dtype=np.int32)
        self._reached, place, heap = np.empty((3, n_nodes), dtype=np.int32)
        self._heap = np.empty(n_nodes), heap, place
        self._limit, self._n_reached = np.inf, 0
        self._single: np.ndarray | None = None

    @property
    def before(self) -> np.ndarray:
        """Of the last search the node before each; -1 of roots, and of nodes not reached."""
        return self._before

    @property
    def distance(self) -> np.ndarray:
        """Distances of the last search, infinite of nodes not reached."""
        return self._distance

    @property
    def reached(self) -> np.ndarray:
        """Nodes that the last search reached."""
        return self._reached[: self._n_reached]

    @property
    def single_distances(self) -> np.ndarray:
        """Distances of the last search in single precision, infinite of nodes not reached."""
        if self._single is None:
            self._single = self._distance.astype(np.float32)
        return self._single

    @property
    def n_reached(self) -> int:
        """Number of nodes that the last search reached."""
        return self._n_reached

    def search(
        self,
        roots: Ints,
        leaves: Ints,
        limit: float = np.inf,
        *,
        offsets: Floats | None = None,
        aim: int | None = None,
        left: np.ndarray | None = None,
        beyond: float = -1.0,
        factor: Floats | None = None,
    ) -> None:
        """Search from some nodes until others are reached; `lengths` and `path` tell the result.

        Parameters
        ----------
        roots : array of int, shape=[n_roots]
            Where paths start.
        leaves : array of int, shape=[n_leaves]
            Where paths end. If there are none, they end everywhere.
        limit : float
            Length past which no path is wanted.
        offsets : array, shape=[n_roots], optional
            Lengths of the paths up to the roots; by default zero.
        aim : int, optional
            The only leaf; A* is used, with the bounds of the landmarks.
        left : array of float32, shape=[n_nodes], optional
            Distances from the only leaf; A* is used, with these in place of bounds. Nodes that they
            are infinite of are not visited.
        beyond : float
            The search goes on until it has reached all nodes that are farther than the last leaf by
            no more than this share; by A* those through which a path to the leaf is no longer.
        factor : array, shape=[n_nodes], optional
            The length of an edge is multiplied by the factors of both of its nodes, which are at
            least one.

        Raises
        ------
        IndexError
            If a root or a leaf is no node of the graph.
        """
        landmarks = _NO_LANDMARKS if self._landmarks is None else self._landmarks
        towards, rounding = landmarks[0, :0] if aim is None else landmarks[aim], self._rounding
        if left is not None:
            # The leaf is the landmark.
            landmarks, towards = left[:, None], np.zeros(1, dtype=left.dtype)
            rounding = 4.0 * float(np.finfo(left.dtype).eps) * limit
        self._limit, self._single = float(limit), None
        self._n_reached = _search(
            self.graph,
            _NO_FACTOR if factor is None else factor,
            (landmarks, towards, rounding),
            np.ascontiguousarray(roots, dtype=np.int64),
            np.zeros(len(roots)) if offsets is None else np.ascontiguousarray(offsets),
            np.ascontiguousarray(leaves, dtype=np.int64),
            (self._limit, beyond),
            (self._distance, self._before, self._bound),
            self._wanted,
            self._reached,
            self._n_reached,
            self._heap,
        )

    def lengths(self, nodes: Ints) -> Floats:
        """Lengths of the paths that the last search found.

        Parameters
        ----------
        nodes : array of int, shape=[n]
            Some of its leaves.

        Returns
        -------
        length : array, shape=[n]
            Lengths; infinite where there is no path within the limit.
        """
        length = self._distance[nodes]
        return np.where(length <= self._limit, length, np.inf)

    def path(self, node: int) -> Ints:
        """Path that the last search found.

        Parameters
        ----------
        node : int
            One of its leaves.

        Returns
        -------
        path : array of int, shape=[n_vertices]
            Nodes from a root to that one; empty where there is no path within the limit.
        """
        if np.isinf(self._distance[node]) or self._distance[node] > self._limit:
            return np.zeros(0, dtype=int)
        vertices = self._heap[1]  # not in use between two searches
        n_vertices = trace(self._before, int(node), vertices)
        return vertices[:n_vertices][::-1].astype(int)


@kept_on_disk
def _search(
    graph: Arrays,
    factor: np.ndarray,
    bounds: tuple[np.ndarray, np.ndarray, float],
    roots: np.ndarray,
    offsets: np.ndarray,
    leaves: np.ndarray,
    ending: tuple[float, float],
    paths: Arrays,
    wanted: np.ndarray,
    reached: np.ndarray,
    n_reached: int,
    heap: Arrays,
) -> int:
    """Search a graph, and return the number of nodes reached.

    The heap holds keys and nodes, and the place of each node or -1. A key is the distance from the
    roots plus the bound of what is left. Bounds are rounded, so a node may be reached on a shorter
    path after it was visited; then it is visited again.
    """
    indptr, indices, weight = graph
    landmarks, towards, rounding = bounds
    limit, beyond = ending
    distance, before, bound = paths
    places = heap[2]
    for nodes in (roots, leaves):
        for node in nodes:
            if not 0 <= node < len(distance):
                raise IndexError("Expected nodes of the graph, got a number that is none.")
    for k in range(n_reached):
        distance[reached[k]], before[reached[k]] = np.inf, -1
    n_reached = size = left = 0
    for node in leaves:
        left += 1 - wanted[node]
        wanted[node] = 1
    for k in range(len(roots)):
        node = roots[k]
        if offsets[k] < distance[node] and offsets[k] <= limit:
            if distance[node] == np.inf:
                reached[n_reached] = node
                n_reached += 1
                places[node] = size
                size += 1
            distance[node], before[node], bound[node] = offsets[k], -1, 0.0
            _rise(heap, places[node], offsets[k], node)
    while size > 0 and heap[0][0] <= limit:
        node = heap[1][0]
        size -= 1
        _remove_first(heap, size)
        if wanted[node]:
            left -= 1
            wanted[node] = 0
            if left == 0:
                limit = min(limit, (1.0 + beyond) * distance[node])
        for edge in range(indptr[node], indptr[node + 1]):
            other = indices[edge]
            length = weight[edge]
            if len(factor) > 0:
                length *= factor[node] * factor[other]
            length += distance[node]
            if not length < distance[other]:  # no shorter path, or an edge whose length is NaN
                continue
            if distance[other] == np.inf:
                reached[n_reached] = other
                n_reached += 1
                places[other] = -1
                apart = 0.0
                for k in range(len(towards)):
                    apart = max(apart, abs(landmarks[other, k] - towards[k]))
                bound[other] = max(apart - rounding, 0.0)
            distance[other], before[other] = length, node
            key = length + bound[other]
            if key <= limit:
                place = places[other]
                if place < 0:
                    place = size
                    size += 1
                _rise(heap, place, key, other)
    for node in leaves:
        wanted[node] = 0
    return n_reached


@njit(nogil=True)
def _rise(heap: Arrays, place: int, key: float, node: int) -> None:
    """Put a node into the heap, from a place up; each place has four below."""
    keys, nodes, places = heap
    while place > 0:
        above = (place - 1) >> 2
        if keys[above] <= key:
            break
        keys[place], nodes[place] = keys[above], nodes[above]
        places[nodes[place]] = place
        place = above
    keys[place], nodes[place], places[node] = key, node, place


@njit(nogil=True)
def _remove_first(heap: Arrays, size: int) -> None:
    """Take the first node from the heap, and put the last one from its place down."""
    keys, nodes, places = heap
    places[nodes[0]] = -1
    if size == 0:
        return
    key, node, place = keys[size], nodes[size], 0
    while 4 * place + 1 < size:
        least = 4 * place + 1
        for below in range(least + 1, min(least + 4, size)):
            if keys[below] < keys[least]:
                least = below
        if keys[least] >= key:
            break
        keys[place], nodes[place] = keys[least], nodes[least]
        places[nodes[place]] = place
        place = least
    keys[place], nodes[place], places[node] = key, node, place


@kept_on_disk
def trace(before: np.ndarray, node: int, path: np.ndarray) -> int:
    """Follow a path from a node back to its root, and return the number of its vertices."""
    n_vertices = 0
    while node >= 0:
        path[n_vertices] = node
        node = before[node]
        n_vertices += 1
    return n_vertices
