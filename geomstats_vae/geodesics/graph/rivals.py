"""Second paths through other valleys, where the trees of both ends agree.

Where two valleys lead around a hill at nearly the same cost, the graph, whose lengths are a few
percent off, may take the longer one. Along the floor of the other valley the shortest paths from
both ends run on the same edges: such a stretch is a plateau, and the path along it from end to end
is a second path ([1]_, section 4).

References
----------
.. [1] Abraham, Delling, Goldberg, Werneck. "Alternative Routes in Road Networks." ACM Journal of
   Experimental Algorithmics 18, 2013, article 1.3.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from geomstats_vae.geodesics.arrays import Floats, Ints
from geomstats_vae.geodesics.graph.dijkstra import Dijkstra, kept_on_disk
from geomstats_vae.geodesics.graph.options import RivalOptions
from geomstats_vae.geodesics.graph.trees import Tree, Trees


class Rivals:
    """Collects second paths on a grid, search by search.

    Parameters
    ----------
    nodes : array, shape=[n_nodes, dim]
        Nodes of the grid.
    spacing : float
        Largest distance of neighbours.
    options : RivalOptions
        Which paths are second ones.

    Attributes
    ----------
    found : list of (int, array of int)
        Pairs, and the nodes of a second path of each, from the root to the leaf.
    """

    def __init__(self, nodes: Floats, spacing: float, options: RivalOptions) -> None:
        self._nodes, self._options = nodes, options
        self._apart, self._marked = options.apart * spacing, np.zeros(len(nodes), dtype=bool)
        self.found: list[tuple[int, Ints]] = []

    @property
    def longer(self) -> float:
        """Share by which second paths may be longer, and so how far searches go on."""
        return self._options.longer

    def look(
        self,
        found: Dijkstra | Tree,
        back: Dijkstra,
        pairs: Ints,
        leaves: Ints,
        limit: Floats,
        trees: Trees | None = None,
    ) -> None:
        """Look for second paths of pairs that share a root.

        Parameters
        ----------
        found : Dijkstra or Tree
            Has searched for paths to the leaves, and `longer` beyond them.
        back : Dijkstra
            Searches the same graph from leaves to the root.
        pairs : array of int, shape=[n]
            The pairs.
        leaves : array of int, shape=[n]
            Where their paths end.
        limit : array, shape=[n]
            Lengths past which no path is wanted.
        trees : Trees, optional
            Known trees; of leaves that have one there is no search.
        """
        options, length = self._options, found.lengths(leaves)
        if options.longer < 0.0:
            return
        chosen, one = np.empty(options.most, dtype=np.int64), found.single_distances
        for pair, leaf, cost, most in zip(pairs, leaves, length, limit, strict=True):
            most = min((1.0 + options.longer) * cost, most)
            if not 0.0 < cost <= most < np.inf:
                continue
            first = found.path(leaf)
            other: Dijkstra | Tree = back
            if trees is not None and leaf in trees and isinstance(found, Tree):
                other = trees.of(leaf)
                between, total = found.between(other, most)
            else:
                back.search(np.array([leaf]), first[:1], most, left=one, beyond=options.longer)
                between, total = back.reached, one[back.reached] + back.distance[back.reached]
            n = _choose(
                found.before,
                other.before,
                between,
                total,
                first,
                self._nodes,
                self._marked,
                (most, self._apart**2, options.share),
                options.shortest,
                chosen,
            )
            for begin in chosen[:n]:
                nodes = found.path(begin)[:-1], other.path(begin)[::-1]
                self.found.append((int(pair), np.concatenate(nodes)))


@njit(nogil=True)
def _lies_apart(nodes: Floats, path: Ints, node: int, after: Ints, n: int, most: float) -> bool:
    """Whether one of the n nodes of a plateau, from the first on, is farther from a path."""
    dim = nodes.shape[1]
    for _ in range(n):
        least = np.inf
        for k in range(len(path) - 1):
            a, b = path[k], path[k + 1]
            along, length = 0.0, 0.0
            for axis in range(dim):
                step = nodes[b, axis] - nodes[a, axis]
                along += (nodes[node, axis] - nodes[a, axis]) * step
                length += step**2
            share, square = min(max(along / max(length, 1e-300), 0.0), 1.0), 0.0
            for axis in range(dim):
                at = nodes[a, axis] + share * (nodes[b, axis] - nodes[a, axis])
                square += (nodes[node, axis] - at) ** 2
            least = min(least, square)
            if least <= most:
                break
        if least > most:
            return True
        node = after[node]
    return False


@njit(nogil=True)
def _whole(before: Ints, after: Ints, node: int) -> Ints:
    """Nodes of the path from end to end through a node of a plateau."""
    n, up, down = 0, node, after[node]
    while up >= 0:
        up = before[up]
        n += 1
    m = n
    while down >= 0:
        down = after[down]
        m += 1
    path = np.empty(m, dtype=np.int64)
    up, down = node, after[node]
    for j in range(n - 1, -1, -1):
        path[j] = up
        up = before[up]
    for j in range(n, m):
        path[j] = down
        down = after[down]
    return path


@kept_on_disk
def _choose(
    before: Ints,
    after: Ints,
    between: Ints,
    total: Floats,
    first: Ints,
    nodes: Floats,
    marked: np.ndarray,
    limits: tuple[float, float, float],
    shortest: int,
    chosen: Ints,
) -> int:
    """Choose the cheapest plateaus that lie apart from the first path and from each other.

    A plateau is a run of nodes each of which follows upon the one before in both trees, those of
    the root and of the leaf. Looked at are nodes between these, with the lengths of the paths
    through them. Written are the first nodes of plateaus; returned is their number.
    """
    most, apart, share = limits
    # First nodes, and numbers of nodes.
    found, cost, n_found = np.empty((len(between), 2), dtype=np.int64), np.empty(len(between)), 0
    for k, node in enumerate(between):
        if not total[k] <= most:
            continue
        up = before[node]
        if up >= 0 and after[up] == node:
            continue  # no first node
        last, n = node, 1
        while after[last] >= 0 and before[after[last]] == last:
            last = after[last]
            n += 1
        if n >= shortest:
            found[n_found, 0], found[n_found, 1], cost[n_found] = node, n, total[k]
            n_found += 1
    n_chosen = 0
    marked[first] = True
    for c in np.argsort(cost[:n_found]):
        begin, n = found[c]
        other = _lies_apart(nodes, first, begin, after, n, apart)
        if other:
            n_off = 0
            for node in _whole(before, after, begin):
                n_off += not marked[node]
            other = n >= share * n_off
        for k in range(n_chosen):
            if other:
                path = _whole(before, after, chosen[k])
                other = _lies_apart(nodes, path, begin, after, n, apart)
        if other:
            chosen[n_chosen] = begin
            n_chosen += 1
            if n_chosen == len(chosen):
                break
    marked[first] = False
    return n_chosen
