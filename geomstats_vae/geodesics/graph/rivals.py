"""Second paths to nodes between valleys, read off one search for many paths.

Where two valleys lead to a point at nearly the same cost, the graph, whose lengths are a few
percent off, may take the longer one. Then there are nodes near that point whose paths come through
the other valley.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from geomstats_vae.geodesics.arrays import Floats, Ints
from geomstats_vae.geodesics.graph.dijkstra import Dijkstra
from geomstats_vae.geodesics.graph.options import RivalOptions

# Takes the starts and the ends of straight segments, and returns their lengths.
Measure = Callable[[Floats, Floats], Floats]


class Rivals:
    """Collects second paths, search by search.

    Parameters
    ----------
    nodes : array, shape=[n_nodes, dim]
        Nodes of a grid, in C order.
    size : int
        Nodes of the grid per side.
    measure : callable
        Takes the starts and the ends of short straight segments, and returns their lengths.
    options : RivalOptions
        Which paths are second ones.

    Attributes
    ----------
    found : list of (int, array of int)
        Pairs, and the nodes of a second path of each, from the root to near the leaf.
    """

    def __init__(self, nodes: Floats, size: int, measure: Measure, options: RivalOptions) -> None:
        self._nodes, self._shape, self._measure = nodes, (size,) * nodes.shape[1], measure
        self._options = options
        low, high = nodes.min(axis=0), nodes.max(axis=0)
        reach = options.reach[nodes.shape[1]]
        self._apart = options.apart * reach * float((high - low).max()) / (size - 1)
        steps = np.stack(np.meshgrid(*[np.arange(-1, 2)] * nodes.shape[1], indexing="ij"), -1)
        steps = steps.reshape(-1, nodes.shape[1])
        steps = steps[(steps != 0).any(axis=1)]
        # About a sphere: diagonal neighbours are as far as the others.
        scale = reach / np.linalg.norm(steps, axis=1)
        self._around = np.rint(steps * scale[:, None]).astype(int)
        self.found: list[tuple[int, Ints]] = []

    def look(self, dijkstra: Dijkstra, leaves: Ints, pairs: Ints) -> None:
        """Look for second paths of pairs after a search from one root.

        Parameters
        ----------
        dijkstra : Dijkstra
            Has searched for paths to the leaves.
        leaves, pairs : array of int, shape=[n_pairs]
            End nodes, and the pairs that they belong to.
        """
        options = self._options
        cost = dijkstra.lengths(leaves)
        some = np.flatnonzero(np.isfinite(cost) & (cost > 0.0))
        leaves, pairs, cost = leaves[some], pairs[some], cost[some]
        place = np.stack(np.unravel_index(leaves, self._shape), axis=-1)[:, None] + self._around
        inside = ((place >= 0) & (place < self._shape[0])).all(axis=2)
        near = np.ravel_multi_index(tuple(np.moveaxis(place, 2, 0)), self._shape, mode="clip")
        far = dijkstra.lengths(near.ravel()).reshape(near.shape)
        which, ring = np.nonzero(inside & (far <= (1.0 + options.longer) * cost[:, None]))
        over = near[which, ring]
        length = far[which, ring]
        length = length + self._measure(self._nodes[over], self._nodes[leaves[which]])
        good = length <= (1.0 + options.longer) * cost[which]
        which, over, length = which[good], over[good], length[good]
        known, place = np.unique(np.concatenate((leaves[which], over)), return_inverse=True)
        along = self._nodes[dijkstra.ancestors(known, np.array(options.shares))][place]
        off = np.linalg.norm(along[: len(which)] - along[len(which) :], axis=2).max(axis=1)
        apart = np.flatnonzero(off > self._apart)
        order = apart[np.lexsort((length[apart], which[apart]))]
        for k in order[np.unique(which[order], return_index=True)[1]]:
            self.found.append((int(pairs[which[k]]), dijkstra.path(over[k])))
