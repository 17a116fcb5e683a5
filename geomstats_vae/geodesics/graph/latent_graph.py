"""A graph over the latent space: its shortest paths show where to start.

In two and three dimensions the graph is a grid over the data, with its nodes on round levels of
the norm of sigma; in more dimensions it is over the codes.
"""

from __future__ import annotations

import copy
from functools import cached_property

import numpy as np
from scipy import sparse
from scipy.spatial import cKDTree
from tqdm import tqdm

from geomstats_vae.geodesics.arrays import Floats, Ints
from geomstats_vae.geodesics.curves.chain import smooth_elements
from geomstats_vae.geodesics.curves.reference import ReferenceElement
from geomstats_vae.geodesics.elements import Evaluator, cache_sized_chunk
from geomstats_vae.geodesics.graph.codes import CodeGraph
from geomstats_vae.geodesics.graph.distances import KnownLinks, graph_distances
from geomstats_vae.geodesics.graph.grid import Grid
from geomstats_vae.geodesics.graph.measure import ChordMeasure, TabulatedMeasure
from geomstats_vae.geodesics.graph.options import GraphOptions
from geomstats_vae.geodesics.graph.rivals import Rivals
from geomstats_vae.geodesics.graph.search import GraphSearch
from geomstats_vae.geodesics.table.metric_table import MetricTable
from geomstats_vae.geodesics.table.samples import Samples
from geomstats_vae.immersions.composed import ScaledImmersion
from geomstats_vae.immersions.immersion import Immersion

# Rows of as many numbers as F has outputs that are held for a point while F is evaluated.
_ROWS_PER_POINT = 16


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
    single : Immersion, optional
        The same F in single precision. It measures straight lines and the edges between codes, if
        its rounding allows it. A grid needs none.

    Attributes
    ----------
    nodes : array, shape=[n_nodes, dim]
        Nodes, points of latent space.
    factor : float
        What `scaled` multiplied lengths by.

    Notes
    -----
    Edges between codes are measured when a search needs them, and then kept, by the scaled graphs
    as well. No answer depends on what was asked before, except for the rounding of F.
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
        single: Immersion | None = None,
    ) -> None:
        self.options = GraphOptions() if options is None else options
        self.immersion, self.codes = immersion, np.asarray(codes, dtype=float)
        self.factor = 1.0
        self._evaluator = Evaluator(immersion, chunk_size or cache_sized_chunk(immersion))
        self.grid_size = grid_size or self.options.grid_sizes.get(self.dim)
        self._search: GraphSearch | CodeGraph
        self._measure: Evaluator | ChordMeasure
        self._links: ChordMeasure | TabulatedMeasure
        with tqdm(desc="Graph", disable=not verbose) as progress:
            if self.grid_size is None:
                measure = _chord_measure(immersion, single, chunk_size)
                self._search = CodeGraph(measure, self.codes, self.options, progress)
                self.nodes, self._measure = self._search.nodes, self._search.measure
                return
            parts = self._evaluator, self.codes, self.grid_size, self.options, progress
            self.nodes, graph, table = Grid(*parts).build()
        self._measure = self._evaluator
        chords = ChordMeasure(self._evaluator)
        self._links = chords if table is None else TabulatedMeasure(table, chords)
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
    def spacing(self) -> float:
        """Largest distance of a grid's neighbours before they were moved."""
        return self._size / ((self.grid_size or 2) - 1)

    @property
    def single(self) -> Immersion | None:
        """F in single precision; None where it is not exact enough."""
        if not isinstance(self._measure, ChordMeasure) or self._measure.single is None:
            return None
        single = self._measure.single.immersion
        return single if self.factor == 1.0 else ScaledImmersion(single, self.factor)

    @property
    def matrix(self) -> sparse.csr_matrix:
        """Symmetric matrix of the edges' lengths, shape=[n_nodes, n_nodes]; measures all edges."""
        graph = self._search.matrix
        return graph if self.factor == 1.0 else graph * self.factor

    @property
    def n_measured(self) -> tuple[int, int]:
        """Number of edges that are measured, and of all; those of a grid are all measured."""
        if isinstance(self._search, CodeGraph):
            return self._search.n_measured
        n_edges = self._search.matrix.nnz // 2
        return n_edges, n_edges

    @property
    def samples(self) -> Samples | None:
        """Values of the metric that a grid was made of; None where none are kept."""
        table = self._links.table if isinstance(self._links, TabulatedMeasure) else None
        return table.samples if isinstance(table, MetricTable) and self.factor == 1.0 else None

    def measure_edges(self, *, verbose: bool = False) -> None:
        """Measure all edges that were not measured before, as many searches would.

        Parameters
        ----------
        verbose : bool
            Show a progress bar, in edges.
        """
        if isinstance(self._search, CodeGraph):
            with tqdm(desc="Edges", unit="edge", disable=not verbose) as progress:
                self._search.measure_edges(progress)

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

    def for_pairs(self, start: Floats, end: Floats, n_jobs: int) -> tuple[LatentGraph, int | None]:
        """Make a graph that keeps the shortest-path trees of points which many pairs share.

        Parameters
        ----------
        start, end : array, shape=[n_pairs, dim]
            End points of the pairs that will be asked for.
        n_jobs : int
            Processes that will work on them, each with trees of its own.

        Returns
        -------
        graph : LatentGraph
            It shares nodes and edges with this one; this one itself where trees are not worth it.
        tile : int or None
            Where not all trees are held at once, those of two times so many points are.
        """
        if isinstance(self._search, CodeGraph) or not len(start):
            return self, None
        ends = self._tree.query(start)[1], self._tree.query(end)[1]
        search, tile = self._search.for_pairs(*ends, n_jobs)
        if search is self._search:
            return self, None
        graph = copy.copy(self)
        graph._search = search
        return graph, tile

    def __getstate__(self) -> dict[str, object]:
        """State without what is quickly built again."""
        again = ("_tree", "_known_links")
        return {name: value for name, value in vars(self).items() if name not in again}

    @cached_property
    def _known_links(self) -> KnownLinks:
        return KnownLinks()

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
        length = self.factor * self._measure.segment_lengths(start, end, n_chords)
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
        options, length = self.options, np.full(len(start), np.inf)
        numbers = [options.line_chords]
        if not (self.on_grid or self.immersion.has_std):
            numbers.insert(0, options.few_line_chords)
        rows = np.arange(len(start))
        for n_chords in numbers:
            half, whole = self._measure.nested_lengths(start[rows], end[rows], 2 * n_chords)
            length[rows] = self.factor * whole
            with np.errstate(invalid="ignore"):
                rows = rows[~(whole - half <= options.line_rtol * whole)]
        if len(rows):
            length[rows] = self.chord_lengths(start[rows], end[rows], options.line_chords_max)
        return np.where(np.isfinite(length), length, np.inf)

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
        return self._between(found, start, end), self.factor * length

    def paths_and_rivals(
        self, start: Floats, end: Floats, limit: Floats
    ) -> tuple[list[Floats], Floats, list[Floats], Ints]:
        """Find shortest paths on a grid, and second ones through other valleys.

        Parameters
        ----------
        start, end : array, shape=[n_pairs, dim]
            End points.
        limit : array, shape=[n_pairs]
            As of `paths`.

        Returns
        -------
        paths, length
            As of `paths`.
        rivals : list of array, shape=[n_vertices, dim]
            Second paths.
        owner : array of int, shape=[n_rivals]
            The pairs that they belong to.
        """
        assert isinstance(self._search, GraphSearch)
        first, last = self._tree.query(start)[1], self._tree.query(end)[1]
        rivals = Rivals(self.nodes, self.spacing, self.options.rivals)
        found, length = self._search.paths(first, last, limit / self.factor, rivals)
        paths = self._between(found, start, end)
        owner = np.array([pair for pair, _ in rivals.found], dtype=int)
        others = self._between([path for _, path in rivals.found], start[owner], end[owner])
        return paths, self.factor * length, others, owner

    def _between(self, paths: list[Ints], start: Floats, end: Floats) -> list[Floats]:
        """Vertices of paths whose first and last nodes are replaced by points."""
        return [
            np.concatenate((a[None], self.nodes[vertices[1:-1]], b[None]))
            for vertices, a, b in zip(paths, start, end, strict=True)
        ]

    def alternative_paths(
        self, paths: list[Floats], limit: Floats | None = None
    ) -> tuple[list[Floats], Floats]:
        """Find the shortest paths once the edges near given paths are made dearer.

        Parameters
        ----------
        paths : list of array, shape=[n_vertices, dim]
            Vertices from start to end.
        limit : array, shape=[n_paths], optional
            Lengths on the graph as it is past which no path is of use.

        Returns
        -------
        others : list of array, shape=[n_vertices, dim]
            Paths with the same ends; partly or wholly the given ones where nothing is nearly as
            short.
        length : array, shape=[n_paths]
            Their lengths on the graph as it is; infinite where there is none within the limit.
        """
        limit = np.full(len(paths), np.inf) if limit is None else limit
        if not paths:
            return [], limit
        options, search = self.options, self._search
        if isinstance(search, CodeGraph):
            search = GraphSearch(search.matrix, np.arange(len(self.nodes)), options.search)
        first, last = self._tree.query(np.stack([path[[0, -1]] for path in paths]))[1].T
        reach = options.alternative_reach * self._size
        balls = (self._tree.query_ball_point(path, reach) for path in paths)
        near = (np.concatenate(ball).astype(int) for ball in balls)
        # No edge is dearer than by the whole factor: a path beyond that is too long as it is.
        farthest = options.alternative_factor * limit / self.factor
        found, length = search.paths_around(first, last, farthest, near, options.alternative_factor)
        others = [
            np.concatenate((path[:1], self.nodes[vertices[1:-1]], path[-1:]))
            if len(vertices)
            else path
            for path, vertices in zip(paths, found, strict=True)
        ]
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
        if isinstance(self._search, CodeGraph):
            return self.factor * self._search.distances(start, end)
        parts = self._links, self._tree, self._search.matrix, self.options
        return self.factor * graph_distances(*parts, start, end, self._known_links)

    # -- curves on graph paths --------------------------------------------------------------------

    def place(
        self, paths: list[Floats], element: ReferenceElement, per_side: int, most: int
    ) -> list[Floats]:
        """Put polynomial elements along graph paths, on the levels that the paths keep.

        Parameters
        ----------
        paths : list of array, shape=[n_vertices, dim]
            Vertices.
        element : ReferenceElement
            The element.
        per_side : int
            Elements across the box of the nodes.
        most : int
            Elements of a path; those of paths that lead far out of the box are longer.

        Returns
        -------
        nodes : list of array, shape=[n_elements, degree + 1, dim]
            Nodes of the elements of each path.
        """
        size = self._size / per_side
        pieces = [smooth_elements(path, element, size, most) for path in paths]
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

        def move(which: Ints, points: Floats, step: Floats) -> Floats:
            length = np.maximum(np.linalg.norm(step, axis=1), np.finfo(float).tiny)
            step = step * np.minimum(1.0, self.options.level_stride * size / length)[:, None]
            return points + np.where(np.isfinite(step), step, 0.0)

        flat = nodes.reshape(-1, self.dim)
        flat = self._evaluator.onto_levels(flat, np.concatenate(levels).ravel(), move)
        placed = np.split(flat.reshape(nodes.shape), cuts)
        for piece, path in zip(placed, paths, strict=True):
            piece[0, 0], piece[-1, -1] = path[0], path[-1]
        return placed


def _chord_measure(
    immersion: Immersion, single: Immersion | None, chunk_size: int | None
) -> ChordMeasure:
    """Evaluate F alone, in larger chunks than its derivatives."""
    chunk = chunk_size or cache_sized_chunk(immersion, _ROWS_PER_POINT)
    exact = Evaluator(immersion, chunk)
    if single is None:
        return ChordMeasure(exact)
    # Numbers of half the size.
    return ChordMeasure(exact, Evaluator(single, chunk_size or 2 * chunk))
