"""The graph over latent codes: nearest neighbours, joined where they fall apart.

An edge's length is that of the straight line between two codes, by several chords of F. A single
chord, from one value of F at each code, is a lower bound. That is all that is measured when the
graph is built; the edges on shortest paths are measured when paths are asked for, see `lazy`.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from scipy import sparse
from scipy.spatial import cKDTree
from tqdm import tqdm

from geomstats_vae.geodesics.arrays import Floats, Ints
from geomstats_vae.geodesics.graph.distances import graph_distances
from geomstats_vae.geodesics.graph.edges import Edges, graph_of_edges, join_components
from geomstats_vae.geodesics.graph.lazy import LazyEdges, edge_pattern, lazy_paths
from geomstats_vae.geodesics.graph.measure import ChordMeasure, chords_between, rounding
from geomstats_vae.geodesics.graph.options import GraphOptions


class CodeGraph:
    """The graph of nearest neighbours over latent codes; its edges are measured as they are needed.

    What was measured is kept, and no answer depends on it.

    Parameters
    ----------
    measure : ChordMeasure
        Measures the edges. Its single precision is used if it tells neighbours well apart.
    codes : array, shape=[n_codes, dim]
        Latent codes.
    options : GraphOptions
        Numbers of nodes, neighbours and chords.
    progress : tqdm, optional
        Advanced by each code at which F is evaluated.

    Attributes
    ----------
    nodes : array, shape=[n_nodes, dim]
        Some of the codes, each once.
    measure : ChordMeasure
        What measures the edges.
    """

    def __init__(
        self,
        measure: ChordMeasure,
        codes: Floats,
        options: GraphOptions,
        progress: tqdm | None = None,
    ) -> None:
        self.nodes, self.options = _distinct(codes, options.max_codes), options
        self._a, self._b = _neighbours(self.nodes, options.n_neighbors)
        self.measure, lower = self._bounds(measure, progress)
        ties = np.random.default_rng(0).random(len(self._a))
        self._edges = LazyEdges(
            self.measure,
            options.edge_chords,
            *(self.nodes, self.nodes, self._a, self._b),
            lower,
            1.0 + options.tie_share * ties,
        )

    def _bounds(self, measure: ChordMeasure, progress: tqdm | None) -> tuple[ChordMeasure, Floats]:
        """Choose the precision, and measure single chords of the edges."""
        options, single = self.options, measure.single
        ends = self.nodes, self._a, self._b, options.memory_limit
        if single is not None:
            lower = chords_between(single, *ends, progress)
            some = np.linspace(0, len(self.nodes) - 1, options.single_probes).astype(int)
            off = rounding(single, measure.exact, self.nodes[np.unique(some)])
            # Both ends of each chord of an edge are off by so much at most.
            most = options.single_rtol * np.median(lower) if len(lower) else np.inf
            if np.isfinite(lower).all() and 2.0 * options.edge_chords * off <= most:
                return measure, lower
        return ChordMeasure(measure.exact), chords_between(measure.exact, *ends, progress)

    def __getstate__(self) -> dict[str, Any]:
        """State without what is quickly built again."""
        return {k: v for k, v in vars(self).items() if k not in ("_tree", "_pattern")}

    @cached_property
    def _tree(self) -> cKDTree:
        return cKDTree(self.nodes)

    @cached_property
    def _pattern(self) -> sparse.csr_matrix:
        number = np.tile(np.arange(len(self._edges)), 2)
        a, b = self._a, self._b
        ends = np.concatenate((a, b)), np.concatenate((b, a))
        return edge_pattern(len(self.nodes), *ends, number)

    @property
    def n_measured(self) -> tuple[int, int]:
        """Number of edges that are measured, and of all."""
        return int(self._edges.measured.sum()), len(self._edges)

    def measure_edges(self, progress: tqdm | None = None) -> None:
        """Measure all edges that were not measured before.

        Parameters
        ----------
        progress : tqdm, optional
            Advanced by each edge.
        """
        if progress is not None:
            progress.reset(int((~self._edges.measured).sum()))
        self._edges.measure(np.arange(len(self._edges)), progress)

    @property
    def matrix(self) -> sparse.csr_matrix:
        """Symmetric matrix of edge lengths, shape=[n_nodes, n_nodes]; measures all edges."""
        self.measure_edges()
        return graph_of_edges(len(self.nodes), self._a, self._b, self._edges.weight)

    def paths(self, source: Ints, target: Ints, limit: Floats) -> tuple[list[Ints], Floats]:
        """Find shortest paths; see `GraphSearch.paths`."""
        if self._many(len(source)):
            self.measure_edges()
        swap = len(np.unique(target)) < len(np.unique(source))
        ends = (target, source) if swap else (source, target)
        paths, length = lazy_paths(self._pattern, [self._edges], *ends, limit)
        return [path[::-1] for path in paths] if swap else paths, length

    def _many(self, n_pairs: int) -> bool:
        """Whether so many paths need most of the edges."""
        return n_pairs * self.options.lazy_edges >= len(self._edges)

    def distances(self, start: Floats, end: Floats) -> Floats:
        """Measure shortest graph paths from points that are no nodes.

        Parameters
        ----------
        start, end : array, shape=[n_pairs, dim]
            End points; each is joined to the nodes around it.

        Returns
        -------
        length : array, shape=[n_pairs]
            Lengths, infinite where there is no path. Those of a pair do not depend on the other
            pairs.
        """
        if self._many(len(start)):
            parts = self.measure, self._tree, self.matrix, self.options
            return graph_distances(*parts, start, end)
        points, place = np.unique(np.concatenate((start, end)), axis=0, return_inverse=True)
        source, target = place.ravel()[: len(start)], place.ravel()[len(start) :]
        if len(np.unique(target)) < len(np.unique(source)):
            source, target = target, source
        links, row, node = self._links(points)
        # Each point is there twice: once paths only leave it, and once they only enter it.
        leaving, n = len(self.nodes), len(points)
        number = len(self._edges) + np.arange(len(links))
        inner = self._pattern.tocoo()
        pattern = edge_pattern(
            leaving + 2 * n,
            np.concatenate((inner.row, leaving + row, node)),
            np.concatenate((inner.col, node, leaving + n + row)),
            np.concatenate((inner.data, number, number)),
        )
        ends, limit = (leaving + source, leaving + n + target), np.full(len(start), np.inf)
        return lazy_paths(pattern, [self._edges, links], *ends, limit)[1]

    def _links(self, points: Floats) -> tuple[LazyEdges, Ints, Ints]:
        """Links from points to the nodes around them, with the points' and the nodes' rows."""
        n_links = min(self.options.n_neighbors, len(self.nodes))
        near = self._tree.query(points, k=[*range(1, n_links + 1)])[1]
        row, node = np.repeat(np.arange(len(points)), n_links), near.ravel()
        used, place = np.unique(node, return_inverse=True)
        both = np.concatenate((points, self.nodes[used]))
        lower = chords_between(
            self.measure.evaluator, both, row, len(points) + place, self.options.memory_limit
        )
        ends = points, self.nodes, row, node
        return LazyEdges(self.measure, self.options.edge_chords, *ends, lower), row, node


def _distinct(codes: Floats, most: int) -> Floats:
    """Choose some of the codes, each once."""
    nodes = np.unique(codes, axis=0)
    if len(nodes) > most:
        nodes = nodes[np.linspace(0, len(nodes) - 1, most).astype(int)]
    return nodes


def _neighbours(nodes: Floats, n_neighbors: int) -> Edges:
    """Join each node to those nearest to it, and all components."""
    if len(nodes) == 1:
        return np.zeros(0, dtype=int), np.zeros(0, dtype=int)
    k = min(n_neighbors + 1, len(nodes))
    near = cKDTree(nodes).query(nodes, k=k)[1][:, 1:]
    a, b = np.repeat(np.arange(len(nodes)), near.shape[1]), near.ravel()
    a, b = np.unique(np.stack((np.minimum(a, b), np.maximum(a, b))), axis=1)
    return join_components(nodes, a, b)
