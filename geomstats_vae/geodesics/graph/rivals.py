"""Second paths to nodes between valleys, read off the search for the first ones.

Where two valleys lead to a point at nearly the same cost, the graph, whose lengths are a few
percent off, may take the longer one. Then there are nodes near that point whose paths come through
the other valley.
"""

from __future__ import annotations

import numpy as np

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
    options : RivalOptions
        Which paths are second ones.

    Attributes
    ----------
    found : list of (int, array of int)
        Pairs, and the nodes of a second path of each, from the root to near the leaf.
    """

    def __init__(self, nodes: Floats, size: int, options: RivalOptions) -> None:
        self._nodes, self._shape, self._options = nodes, (size,) * nodes.shape[1], options
        reach = options.reach[nodes.shape[1]]
        self._apart = options.apart * reach * float(np.ptp(nodes, axis=0).max()) / (size - 1)
        steps = np.stack(np.meshgrid(*[np.arange(-1, 2)] * nodes.shape[1], indexing="ij"), -1)
        steps = steps.reshape(-1, nodes.shape[1])
        self._steps = steps[(steps != 0).any(axis=1)]
        # About a sphere: diagonal neighbours are as far as the others.
        self._times = np.maximum(np.rint(reach / np.linalg.norm(self._steps, axis=1)), 1.0)
        self.found: list[tuple[int, Ints]] = []

    @property
    def longer(self) -> float:
        """Share by which second paths may be longer, and so how far searches go on."""
        return self._options.longer

    def begin(self, leaves: Ints) -> None:
        """Begin searches for paths to leaves, one of each pair, shape=[n_pairs]."""
        self._leaves = leaves.astype(np.int64)
        self._around = self._moved(leaves, self._times[:, None] * self._steps)
        self._beside = self._moved(leaves, self._steps)
        self._shares = np.array(self._options.shares)

    def look(self, dijkstra: Dijkstra, pairs: Ints, limit: Floats) -> None:
        """Look for second paths of pairs after a search from one root.

        Parameters
        ----------
        dijkstra : Dijkstra
            Has searched for paths to the leaves, and `longer` beyond them.
        pairs : array of int, shape=[n]
            Pairs that share this root.
        limit : array, shape=[n]
            Lengths past which no path is wanted.
        """
        chosen = np.full(len(pairs), -1)
        _choose(
            dijkstra.graph,
            dijkstra.tree,
            self._leaves[pairs],
            limit,
            self._around[pairs],
            self._beside[pairs],
            self._times,
            self._nodes,
            self._shares,
            (1.0 + self._options.longer, self._apart),
            chosen,
        )
        for k in np.flatnonzero(chosen >= 0):
            self.found.append((int(pairs[k]), dijkstra.path(int(chosen[k]))))

    def _moved(self, nodes: Ints, steps: Floats | Ints) -> Ints:
        """Nodes some steps from others, [n_nodes, n_directions]; -1 where the grid has ended."""
        place = np.stack(np.unravel_index(nodes, self._shape), axis=-1)[:, None]
        place = place + steps.astype(np.int64)
        inside = ((place >= 0) & (place < self._shape[0])).all(axis=2)
        index = np.ravel_multi_index(tuple(np.moveaxis(place, 2, 0)), self._shape, mode="clip")
        return np.where(inside, index, -1)


@kept_on_disk
def _choose(
    graph: Arrays,
    tree: tuple[Ints, Floats],
    leaves: Ints,
    limit: Floats,
    around: Ints,
    beside: Ints,
    times: Floats,
    nodes: Floats,
    shares: Floats,
    limits: tuple[float, float],
    chosen: Ints,
) -> None:
    """Choose for each leaf the node around it with the cheapest path that comes another way."""
    indptr, indices, weight = graph
    before, distance = tree
    longer, apart = limits
    dim = nodes.shape[1]
    for k in range(len(leaves)):
        leaf = leaves[k]
        most = min(longer * distance[leaf], limit[k])
        if not (0.0 < distance[leaf] <= limit[k]):
            continue
        for m in range(around.shape[1]):
            over, neighbour = around[k, m], beside[k, m]
            if over < 0 or not distance[over] <= most:
                continue
            cost = np.inf
            for edge in range(indptr[leaf], indptr[leaf + 1]):
                if indices[edge] == neighbour:
                    cost = distance[over] + times[m] * weight[edge]
            if not cost <= most:
                continue
            # Both paths at the same shares of their lengths, from their ends on.
            a, b, off = leaf, over, 0.0
            for s in range(len(shares)):
                while before[a] >= 0 and distance[a] > shares[s] * distance[leaf]:
                    a = before[a]
                while before[b] >= 0 and distance[b] > shares[s] * distance[over]:
                    b = before[b]
                square = 0.0
                for j in range(dim):
                    square += (nodes[a, j] - nodes[b, j]) ** 2
                off = max(off, np.sqrt(square))
            if off > apart:
                most, chosen[k] = cost, over
