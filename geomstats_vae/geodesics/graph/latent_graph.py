"""A graph over the latent space: its shortest paths show where to start.

In two and three dimensions the graph is a grid over the data, with its nodes on round levels of
the norm of sigma; in more dimensions it is over the codes. A search for the path between two nodes
looks at a small part of the graph: by the triangle inequality the distances from some landmarks
bound those between any two nodes from both sides ([1]_). A node whose bounds to the two ends of a
path add up to more than the path may take is not on it.

References
----------
.. [1] Goldberg, Harrelson. "Computing the Shortest Path: A* Search Meets Graph Theory."
   SODA 2005, section 4.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import dijkstra
from scipy.spatial import cKDTree
from tqdm import tqdm

from geomstats_vae.geodesics.arrays import Floats, Ints
from geomstats_vae.geodesics.curves.chain import smooth_elements
from geomstats_vae.geodesics.curves.reference import ReferenceElement
from geomstats_vae.geodesics.elements import Evaluator, cache_sized_chunk
from geomstats_vae.geodesics.graph.codes import code_graph
from geomstats_vae.geodesics.graph.distances import graph_distances
from geomstats_vae.geodesics.graph.grid import Grid
from geomstats_vae.geodesics.graph.options import GraphOptions, SearchOptions
from geomstats_vae.immersions.immersion import Immersion

# Stands for infinity, whose differences are not defined, in bounds of single precision.
_UNREACHED = np.float32(1e30)


class LatentGraph:
    """A graph over the latent space of an immersion, for global starts.

    Parameters
    ----------
    immersion : Immersion
        The decoder's F.
    codes : array, shape=[n_codes, dim]
        Latent codes the graph is to cover.
    grid_size : int, optional
        Nodes per side of the grid in two and three dimensions.
    chunk_size : int, optional
        Points evaluated at once; by default as many as fit a processor's cache.
    verbose : bool
        Show a progress bar while the graph is built.
    options : GraphOptions, optional
        Numbers of nodes, neighbours and chords.

    Attributes
    ----------
    nodes : array, shape=[n_nodes, dim]
        Nodes, points of latent space.
    factor : float
        What `scaled` multiplied lengths by.
    """

    def __init__(
        self,
        immersion: Immersion,
        codes: Floats,
        *,
        grid_size: int | None = None,
        chunk_size: int | None = None,
        verbose: bool = False,
        options: GraphOptions | None = None,
    ) -> None:
        self.options = GraphOptions() if options is None else options
        self.immersion, self.codes = immersion, np.asarray(codes, dtype=float)
        self.factor = 1.0
        self._evaluator = Evaluator(immersion, chunk_size or cache_sized_chunk(immersion))
        self.grid_size = grid_size or self.options.grid_sizes.get(self.dim)
        with tqdm(desc="Graph", disable=not verbose) as progress:
            parts = self._evaluator, self.codes
            if self.grid_size is None:
                self.nodes, graph = code_graph(*parts, self.options, progress)
            else:
                self.nodes, graph = Grid(*parts, self.grid_size, self.options, progress).build()
        ends = np.unique(self._tree.query(self.codes)[1])
        self._search = GraphSearch(graph, ends, self.options.search)

    @property
    def dim(self) -> int:
        """Dimension of the latent space."""
        return self.codes.shape[1]

    @property
    def on_grid(self) -> bool:
        """Whether the nodes are those of a grid; else they are codes."""
        return self.grid_size is not None

    @property
    def matrix(self) -> sparse.csr_matrix:
        """Symmetric matrix of the edges' lengths, shape=[n_nodes, n_nodes]."""
        graph = self._search.graph
        return graph if self.factor == 1.0 else graph * self.factor

    def scaled(self, factor: float) -> LatentGraph:
        """Take lengths times a factor.

        Parameters
        ----------
        factor : float
            Positive.

        Returns
        -------
        graph : LatentGraph
            The graph of factor * F. It shares nodes and edges with this one.
        """
        graph = copy.copy(self)
        graph.factor = factor * self.factor
        return graph

    def __getstate__(self) -> dict[str, object]:
        """State without the tree, which is quickly built again."""
        return {name: value for name, value in vars(self).items() if name != "_tree"}

    @cached_property
    def _tree(self) -> cKDTree:
        return cKDTree(self.nodes)

    @cached_property
    def _size(self) -> float:
        """Longest side of the nodes' box."""
        return float(np.ptp(self.nodes, axis=0).max())

    # -- straight lines ---------------------------------------------------------------------------

    def chord_lengths(self, start: Floats, end: Floats, n_chords: int) -> Floats:
        """Lengths of straight lines, by chords of F.

        Parameters
        ----------
        start, end : array, shape=[n_lines, dim]
            End points.
        n_chords : int
            Chords per line.

        Returns
        -------
        length : array, shape=[n_lines]
            Lengths; infinite where the decoder is not finite.
        """
        length = self.factor * self._evaluator.segment_lengths(start, end, n_chords)
        return np.where(np.isfinite(length), length, np.inf)

    def line_lengths(self, start: Floats, end: Floats) -> Floats:
        """Lengths of straight lines, by as many chords as they need.

        Parameters
        ----------
        start, end : array, shape=[n_lines, dim]
            End points.

        Returns
        -------
        length : array, shape=[n_lines]
            Lengths; infinite where the decoder is not finite.
        """
        options = self.options
        length = self.chord_lengths(start, end, options.line_chords)
        twice = self.chord_lengths(start, end, 2 * options.line_chords)
        with np.errstate(invalid="ignore"):
            rough = ~(twice - length <= options.line_rtol * twice)
        twice[rough] = self.chord_lengths(start[rough], end[rough], options.line_chords_max)
        return twice

    # -- graph paths ------------------------------------------------------------------------------

    def paths(
        self, start: Floats, end: Floats, limit: Floats | None = None
    ) -> tuple[list[Floats], Floats]:
        """Find shortest paths on the graph.

        Parameters
        ----------
        start, end : array, shape=[n_pairs, dim]
            End points.
        limit : array, shape=[n_pairs], optional
            Lengths past which no path is of use, such as those of the straight lines.

        Returns
        -------
        paths : list of array, shape=[n_vertices, dim]
            Vertices from start to end.
        length : array, shape=[n_pairs]
            Lengths on the graph, a few percent from the geodesic's; infinite where the graph has
            no path.
        """
        first, last = self._tree.query(start)[1], self._tree.query(end)[1]
        limit = np.full(len(start), np.inf) if limit is None else limit
        found, length = self._search.paths(first, last, limit / self.factor)
        paths = [
            np.concatenate((a[None], self.nodes[vertices[1:-1]], b[None]))
            for vertices, a, b in zip(found, start, end, strict=True)
        ]
        return paths, self.factor * length

    def alternative_paths(self, paths: list[Floats]) -> tuple[list[Floats], Floats]:
        """Find the shortest paths once the edges near given paths are made dearer.

        Parameters
        ----------
        paths : list of array, shape=[n_vertices, dim]
            Vertices from start to end.

        Returns
        -------
        others : list of array, shape=[n_vertices, dim]
            Paths with the same ends; partly or wholly the given ones where nothing is nearly as
            short.
        length : array, shape=[n_paths]
            Their lengths on the graph as it is; infinite where there is none.
        """
        graph = self._search.graph
        rows = np.repeat(np.arange(len(self.nodes)), np.diff(graph.indptr))
        others, length = [], np.full(len(paths), np.inf)
        for k, path in enumerate(paths):
            ends = self._tree.query(path[[0, -1]])[1]
            near = self._tree.query_ball_point(path, self.options.alternative_reach * self._size)
            factor = np.ones(len(self.nodes))
            factor[np.unique(np.concatenate(near)).astype(int)] = self.options.alternative_factor
            weights = graph.data * np.sqrt(factor[rows] * factor[graph.indices])
            dear = sparse.csr_matrix((weights, graph.indices, graph.indptr), graph.shape)
            distance, before = dijkstra(dear, indices=ends[0], return_predecessors=True)
            if not np.isfinite(distance[ends[1]]):
                others.append(path)
                continue
            vertices = trace(before, ends[1])[::-1]
            length[k] = sum(graph[a, b] for a, b in itertools.pairwise(vertices))
            middle = self.nodes[vertices][1:-1]
            others.append(np.concatenate((path[:1], middle, path[-1:])))
        return others, self.factor * length

    def distances(self, start: Floats, end: Floats) -> Floats:
        """Lengths of the shortest paths on the graph, from the points themselves.

        Parameters
        ----------
        start, end : array, shape=[n_pairs, dim]
            End points; each is joined to the nodes around it.

        Returns
        -------
        length : array, shape=[n_pairs]
            Lengths on the graph, infinite where it has no path. Those of a pair do not depend on
            the other pairs.
        """
        return self.factor * graph_distances(
            self._evaluator, self._tree, self._search.graph, self.options, start, end
        )

    # -- curves on graph paths --------------------------------------------------------------------

    def place(self, paths: list[Floats], element: ReferenceElement, per_side: int) -> list[Floats]:
        """Put polynomial elements along graph paths, on the levels that the paths keep.

        Parameters
        ----------
        paths : list of array, shape=[n_vertices, dim]
            Vertices.
        element : ReferenceElement
            The element.
        per_side : int
            Elements across the box of the nodes.

        Returns
        -------
        nodes : list of array, shape=[n_elements, degree + 1, dim]
            Nodes of the elements of each path.
        """
        size = self._size / per_side
        pieces = [smooth_elements(path, element, size) for path in paths]
        if not self.immersion.has_std:
            return [nodes for nodes, _, _ in pieces]
        cuts = np.cumsum([len(path) for path in paths])[:-1]
        norms = np.split(self._evaluator.std_norms(np.concatenate(paths))[0], cuts)
        levels = [
            np.interp(where, knots, norm[inner])
            for (_, where, (knots, inner)), norm in zip(pieces, norms, strict=True)
        ]
        cuts = np.cumsum([len(piece[0]) for piece in pieces])[:-1]
        nodes = np.concatenate([piece[0] for piece in pieces])

        def move(points: Floats, step: Floats) -> Floats:
            length = np.maximum(np.linalg.norm(step, axis=1), np.finfo(float).tiny)
            step = step * np.minimum(1.0, self.options.level_stride * size / length)[:, None]
            return points + np.where(np.isfinite(step), step, 0.0)

        flat = nodes.reshape(-1, self.dim)
        flat = self._evaluator.onto_levels(flat, np.concatenate(levels).ravel(), move)
        placed = np.split(flat.reshape(nodes.shape), cuts)
        for piece, path in zip(placed, paths, strict=True):
            piece[0, 0], piece[-1, -1] = path[0], path[-1]
        return placed


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
        self.graph, self.ends, self.options = graph, ends, options

    def __getstate__(self) -> dict[str, object]:
        """State with half of the edges, and without what is known of landmarks."""
        half = sparse.triu(self.graph, format="csr")
        return {"half": half, "ends": self.ends, "options": self.options}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.graph = state["half"] + state["half"].T
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
        distance = dijkstra(self.graph, indices=node).astype(np.float32)
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
        together |= self.graph.shape[0] < self.options.small_graph
        for node in np.unique(root[together]):
            pairs = np.flatnonzero(together & (root == node))
            found = _search(self.graph, node, leaf[pairs], limit[pairs].max())
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
        ((path, length),) = _search(_part(self.graph, nodes), ends[0], ends[1:], slack)
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


def _search(
    graph: sparse.csr_matrix, root: int, leaves: Ints, limit: float
) -> Iterator[tuple[Ints, float]]:
    """Yield the paths from one node to others, and their lengths."""
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
    """Nodes of a path from a node back to its source, by the predecessors of a search."""
    path = [int(node)]
    while before[path[-1]] >= 0:
        path.append(int(before[path[-1]]))
    return np.array(path)
