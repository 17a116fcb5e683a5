"""Second paths through other valleys, read off the search for the first ones.

Where two valleys lead around a hill at nearly the same cost, the graph, whose lengths are a few
percent off, may take the longer one. Somewhere on the shortest path there is then a node beside it
whose own shortest path comes through the other valley, and is hardly longer. The search has found
that path already.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from geomstats_vae.geodesics.arrays import Floats, Ints
from geomstats_vae.geodesics.graph.dijkstra import Arrays, Dijkstra, kept_on_disk
from geomstats_vae.geodesics.graph.options import RivalOptions


class Rivals:
    """Collects second paths on a grid, search by search.

    Parameters
    ----------
    nodes : array, shape=[n_nodes, dim]
        Nodes of the grid, in C order.
    size : int
        Nodes per side.
    spacing : float
        Largest distance of neighbours.
    options : RivalOptions
        Which paths are second ones.

    Attributes
    ----------
    found : list of (int, array of int)
        Pairs, and the nodes of a second path of each, from the root to the leaf.
    """

    def __init__(self, nodes: Floats, size: int, spacing: float, options: RivalOptions) -> None:
        self._nodes, self._options = nodes, options
        dim = nodes.shape[1]
        reach = options.reach[dim]
        self._apart = options.apart * reach * spacing
        self._size = (size,) * dim
        steps = np.stack(np.meshgrid(*[np.arange(-1, 2)] * dim, indexing="ij"), -1)
        steps = steps.reshape(-1, dim)
        self._steps = steps[(steps != 0).any(axis=1)].astype(np.int64)
        # About a sphere: diagonal neighbours are as far as the others.
        times = np.rint(reach / np.linalg.norm(self._steps, axis=1))
        self._times = np.maximum(times, 1.0).astype(np.int64)
        self.found: list[tuple[int, Ints]] = []

    @property
    def longer(self) -> float:
        """Share by which second paths may be longer, and so how far searches go on."""
        return self._options.longer

    def look(self, dijkstra: Dijkstra, pairs: Ints, leaves: Ints, limit: Floats) -> None:
        """Look for second paths of pairs after a search from one root.

        Parameters
        ----------
        dijkstra : Dijkstra
            Has searched for paths to the leaves, and `longer` beyond them.
        pairs : array of int, shape=[n]
            Pairs that share this root.
        leaves : array of int, shape=[n]
            Where their paths end.
        limit : array, shape=[n]
            Lengths past which no path is wanted.
        """
        options, most = self._options, self._options.most
        chosen = np.full((len(pairs), most, 3), -1)
        _choose(
            dijkstra.graph,
            dijkstra.tree,
            leaves.astype(np.int64),
            np.minimum(limit, np.finfo(float).max),
            (self._steps, self._times, np.array(self._size)),
            self._nodes,
            (1.0 + options.longer, self._apart, options.overlap),
            (options.stride, options.shortest, options.window),
            chosen,
        )
        for k, slot in zip(*np.nonzero(chosen[:, :, 0] >= 0), strict=True):
            node, place, direction = chosen[k, slot]
            # From the second path over to the first, node by node.
            over = np.arange(1, self._times[direction]) * self._offset(direction)
            first = dijkstra.path(int(leaves[k]))
            rest = first[len(first) - 1 - place :]
            self.found.append(
                (int(pairs[k]), np.concatenate((dijkstra.path(node), node - over, rest)))
            )

    def _offset(self, direction: int) -> int:
        """How far apart the numbers of two neighbours are."""
        strides = np.cumprod((1, *self._size[:0:-1]))[::-1]
        return int(self._steps[direction] @ strides)


@njit(nogil=True)
def _square_from(nodes: Floats, path: Ints, n: int, node: int, place: int, window: int) -> float:
    """Squared distance of a node from the part of a path around a place."""
    dim, least = nodes.shape[1], np.inf
    for k in range(max(place - window, 0), min(place + window, n - 1)):
        a, b = path[k], path[k + 1]
        along, length = 0.0, 0.0
        for axis in range(dim):
            step = nodes[b, axis] - nodes[a, axis]
            along += (nodes[node, axis] - nodes[a, axis]) * step
            length += step**2
        share, square = min(max(along / length, 0.0), 1.0), 0.0
        for axis in range(dim):
            at = nodes[a, axis] + share * (nodes[b, axis] - nodes[a, axis])
            square += (nodes[node, axis] - at) ** 2
        least = min(least, square)
    return least


@kept_on_disk
def _choose(
    graph: Arrays,
    tree: tuple[Ints, Floats],
    leaves: Ints,
    limit: Floats,
    directions: tuple[Ints, Ints, Ints],
    nodes: Floats,
    limits: tuple[float, float, float],
    numbers: tuple[int, int, int],
    chosen: Ints,
) -> None:
    """Choose for each leaf the cheapest paths that come another way.

    Written are, for each leaf, some nodes beside its path, the places on the path beside which they
    lie, counted from the leaf, and the directions in which they lie.
    """
    indptr, indices, weight = graph
    before, distance = tree
    steps, times, size = directions
    longer, apart, overlap = limits
    stride, shortest, window = numbers
    dim, n_directions = nodes.shape[1], len(steps)
    for k in range(len(leaves)):
        leaf = leaves[k]
        if not (0.0 < distance[leaf] <= limit[k]):
            continue
        most, n = min(longer * distance[leaf], limit[k]), 0
        node = leaf
        while node >= 0:
            n += 1
            node = before[node]
        path, node = np.empty(n, dtype=np.int64), leaf
        for j in range(n):
            path[j] = node
            node = before[node]
        # Candidates: node, place, direction, and the place where its path joins the first one.
        found = np.empty((n_directions * (n // stride + 1), 4), dtype=np.int64)
        cost, n_found = np.empty(len(found)), 0
        for j in range(0, n - 1, stride):
            rest = distance[leaf] - distance[path[j]]
            for m in range(n_directions):
                inside, left, offset = True, path[j], 0
                scale = 1
                for i in range(dim - 1, -1, -1):
                    place = left % size[i] + times[m] * steps[m, i]
                    inside &= 0 <= place < size[i]
                    left //= size[i]
                    offset += scale * steps[m, i]
                    scale *= size[i]
                node = path[j] + times[m] * offset
                if not inside or not distance[node] + rest <= most:
                    continue
                total, a = distance[node] + rest, path[j]
                for _ in range(times[m]):
                    link = np.inf
                    for edge in range(indptr[a], indptr[a + 1]):
                        if indices[edge] == a + offset:
                            link = weight[edge]
                    total += link
                    a += offset
                if not total <= most:
                    continue
                # Both paths at the same lengths, until they join.
                i, b, square = j, node, 0.0
                while b >= 0:
                    while i < n - 1 and distance[path[i]] > distance[b]:
                        i += 1
                    if path[i] == b:
                        break
                    if square <= apart**2:
                        square = max(square, _square_from(nodes, path, n, b, i, window))
                    b = before[b]
                if square > apart**2 and i - j >= shortest:
                    found[n_found, 0], found[n_found, 1] = node, j
                    found[n_found, 2], found[n_found, 3] = m, i
                    cost[n_found] = total
                    n_found += 1
        n_chosen = 0
        while n_chosen < chosen.shape[1]:
            best = -1
            for c in range(n_found):
                if cost[c] < np.inf and (best < 0 or cost[c] < cost[best]):
                    best = c
            if best < 0:
                break
            for axis in range(3):
                chosen[k, n_chosen, axis] = found[best, axis]
            n_chosen += 1
            low, high = found[best, 1], found[best, 3]
            # Others along nearly the same part of the first path lead through the same valley.
            for c in range(n_found):
                both = min(found[c, 3], high) - max(found[c, 1], low)
                either = max(found[c, 3], high) - min(found[c, 1], low)
                if both > overlap * either or c == best:
                    cost[c] = np.inf
