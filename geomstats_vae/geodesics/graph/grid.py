"""The grid over a latent space of two or three dimensions, its nodes on round levels of |sigma|.

Walls of the standard deviation make plain grids useless. A curve along a wall keeps to a level of
the norm of sigma, and a grid's nodes are off that level by the slope times the spacing, so every
step seems to change the norm. Here each node is moved, within its cell, onto the roundest level
that its cell holds, a multiple of the highest power of two. Neighbours along a wall then share a
level, and an edge costs what the norm changes from node to node.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import dijkstra
from tqdm import tqdm

from geomstats_vae.geodesics.arrays import Bools, Floats, Ints
from geomstats_vae.geodesics.elements import Evaluator
from geomstats_vae.geodesics.graph.codes import CodeGraph
from geomstats_vae.geodesics.graph.dijkstra import kept_on_disk
from geomstats_vae.geodesics.graph.edges import Edges, symmetric_graph
from geomstats_vae.geodesics.graph.measure import ChordMeasure
from geomstats_vae.geodesics.graph.options import GraphOptions
from geomstats_vae.geodesics.table.metric_table import MetricTable


class Grid:
    """Builds the grid over a box around latent codes.

    Parameters
    ----------
    evaluator : Evaluator
        Evaluates the decoder.
    codes : array, shape=[n_codes, dim]
        Latent codes.
    size : int
        Nodes per side.
    options : GraphOptions
        Margin of the box and reach of the edges.
    progress : tqdm
        Advanced by each point at which the metric is evaluated.
    """

    def __init__(
        self, evaluator: Evaluator, codes: Floats, size: int, options: GraphOptions, progress: tqdm
    ) -> None:
        self._evaluator, self._codes, self._options = evaluator, codes, options
        self._shape, self._progress = (size,) * codes.shape[1], progress

    def build(self) -> tuple[Floats, sparse.csr_matrix, MetricTable | None]:
        """Build the graph.

        Returns
        -------
        nodes : array, shape=[n_nodes, dim]
            Nodes of the grid, each moved within its cell.
        graph : csr_matrix, shape=[n_nodes, n_nodes]
            Symmetric matrix of edge lengths.
        table : MetricTable or None
            A rough table of the metric, if it was of use.
        """
        nodes, spacing = self._regular_nodes()
        table = self._rough_table(nodes)
        if table is not None and table.complete:
            # No walls: nodes stay where they are.
            everywhere = np.ones(len(nodes), dtype=bool)

            def straight(a: Ints, b: Ints) -> Floats:
                return table.segment_lengths(nodes[a], nodes[b])

            self._expect(0)
            graph = symmetric_graph(len(nodes), lambda: self._edges(everywhere), straight)
            return nodes, graph, table
        norm, slope = np.zeros(len(nodes)), np.zeros(nodes.shape)
        usable = np.ones(len(nodes), dtype=bool)
        if self._evaluator.immersion.has_std:
            norm, slope = self._evaluator.std_norms(nodes)
            usable = (norm <= self._highest()) & np.isfinite(slope).all(axis=1)
            kept = np.flatnonzero(usable)
            half = 0.5 * np.linalg.norm(slope[kept] * spacing, axis=1)
            level = _roundest(norm[kept] - half, norm[kept] + half)
            known = norm[kept], slope[kept]
            nodes[kept] = self._onto_levels(nodes[kept], level, spacing, known)
        metric = self._measure(nodes, usable, norm, slope, table)
        usable &= np.logical_and.reduce(np.isfinite(metric), axis=(1, 2)) & np.isfinite(norm)
        soft = metric - slope[:, :, None] * slope[:, None, :]

        def length(a: Ints, b: Ints) -> Floats:
            own = edge_lengths(nodes, soft, norm, slope, a, b)
            if table is None:
                return own
            found = table.segment_lengths(nodes[a], nodes[b])
            with np.errstate(invalid="ignore"):
                return np.where(found <= self._options.bulge * own, found, own)

        graph = symmetric_graph(len(nodes), lambda: self._edges(usable), length)
        return nodes, graph, table

    def _expect(self, n_points: int) -> None:
        """Show how many more points are to be evaluated."""
        self._progress.total = self._progress.n + n_points
        self._progress.refresh()

    def _regular_nodes(self) -> tuple[Floats, Floats]:
        low, high = self._codes.min(axis=0), self._codes.max(axis=0)
        pad = self._options.margin * np.maximum(high - low, 1e-3 * np.abs(high).max() + 1e-12)
        ends = zip(low - pad, high + pad, self._shape, strict=True)
        axes = [np.linspace(a, b, size) for a, b, size in ends]
        spacing = np.array([axis[1] - axis[0] for axis in axes])
        return np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, len(axes)), spacing

    def _rough_table(self, nodes: Floats) -> MetricTable | None:
        """Make a table of the metric that is good enough for the lengths of edges.

        Its box is that of a table for geodesics, which takes over what it knows.
        """
        dim, immersion = nodes.shape[1], self._evaluator.immersion
        if dim not in self._options.tables or immersion.smooth is False:
            return None
        options = self._options.tables[dim]
        options = replace(options, cells=max(4, self._shape[0] // (2 * options.blocks[dim])))

        def metric(points: Floats) -> Floats:
            self._progress.update(len(points))
            return self._evaluator.metrics(points)

        return MetricTable(metric, nodes.min(axis=0), nodes.max(axis=0), options=options, keep=True)

    def _measure(
        self,
        nodes: Floats,
        usable: Bools,
        norm: Floats,
        slope: Floats,
        table: MetricTable | None,
    ) -> Floats:
        """Metric matrices at usable nodes; norms of sigma there and slopes are written."""
        metric, kept = np.zeros((len(nodes), *nodes.shape[1:] * 2)), np.flatnonzero(usable)
        if table is not None:
            metric[kept] = table.metrics(nodes[kept])
            if self._evaluator.immersion.has_std:
                norm[kept], slope[kept] = self._evaluator.std_norms(nodes[kept])
            kept = kept[~np.isfinite(metric[kept]).all(axis=(1, 2))]
        self._expect(len(kept))
        # In a few pieces, so that the progress can be seen.
        for rows in np.array_split(kept, max(1, len(kept) // 4096)):
            parts = self._evaluator.metrics_and_std_norms(nodes[rows])
            metric[rows], norm[rows], slope[rows] = parts
            self._progress.update(len(rows))
        return metric

    def _highest(self) -> float:
        """Norm of sigma that no shortest curve between codes exceeds.

        To climb h above its ends costs a curve 2 h at least, and the curve from code to code over
        one of them is no longer than twice the longest from it.
        """
        some = np.linspace(0, len(self._codes) - 1, self._options.wall_codes).astype(int)
        graph = CodeGraph(ChordMeasure(self._evaluator), self._codes[some], self._options)
        reach = dijkstra(graph.matrix, indices=0).max()
        return self._evaluator.std_norms(self._codes)[0].max() + reach

    def _onto_levels(
        self, nodes: Floats, level: Floats, spacing: Floats, known: tuple[Floats, Floats]
    ) -> Floats:
        """Move nodes to levels of the norm, each near its cell."""
        most, farthest = self._options.stride * spacing, self._options.farthest * spacing

        def move(which: Ints, points: Floats, step: Floats) -> Floats:
            step, center = np.clip(step, -most, most), nodes[which]
            return np.clip(points + step, center - farthest, center + farthest)

        return self._evaluator.onto_levels(nodes, level, move, known)

    def _edges(self, usable: Bools) -> Iterator[Edges]:
        index = np.arange(len(usable)).reshape(self._shape)
        dim = len(self._shape)
        for offset in grid_directions(dim, self._options.reach[dim]):
            sides = list(zip(offset, self._shape, strict=True))
            near = tuple(slice(max(0, -k), n - max(0, k)) for k, n in sides)
            far = tuple(slice(max(0, k), n - max(0, -k)) for k, n in sides)
            a, b = index[near].ravel(), index[far].ravel()
            keep = usable[a] & usable[b]
            yield a[keep], b[keep]


def _roundest(low: Floats, high: Floats) -> Floats:
    """Multiple of the highest power of two within each interval."""
    # A norm is known to its rounding only.
    span = np.maximum(high - low, np.finfo(float).eps * np.maximum(np.abs(high), 1e-290))
    power = np.floor(np.log2(span)) + 1.0
    for _ in range(2):
        none = np.ceil(low / 2.0**power) * 2.0**power > high
        power = power - none
    return np.ceil(low / 2.0**power) * 2.0**power


def grid_directions(dim: int, reach: int) -> list[tuple[int, ...]]:
    """Directions to a grid's neighbours, one of each opposite pair, without multiples.

    Parameters
    ----------
    dim : int
        Dimension.
    reach : int
        Most steps along each axis.

    Returns
    -------
    directions : list of tuple of int
        Steps along the axes.
    """
    steps = np.stack(np.meshgrid(*[np.arange(-reach, reach + 1)] * dim, indexing="ij"), -1)
    steps = steps.reshape(-1, dim)
    primitive = np.gcd.reduce(steps, axis=1) == 1
    leading = np.array([next((k for k in step if k), 0) for step in steps]) > 0
    return [tuple(int(k) for k in step) for step in steps[primitive & leading]]


def edge_lengths(
    nodes: Floats, soft: Floats, norm: Floats, slope: Floats, a: Ints, b: Ints
) -> Floats:
    """Lengths of edges: what the norm of sigma changes, and the rest of the metric.

    Where the two slopes agree, the bulge of a level between the nodes is left out: a curve can
    follow the level. Where they oppose each other the edge crosses a ridge or a valley, and the
    cubic through both norms and slopes says how much they change.

    Parameters
    ----------
    nodes : array, shape=[n_nodes, dim]
        Latent codes.
    soft : array, shape=[n_nodes, dim, dim]
        Metric matrices there, less that of the norm of sigma.
    norm : array, shape=[n_nodes]
        Norms of sigma.
    slope : array, shape=[n_nodes, dim]
        Their gradients.
    a, b : array of int, shape=[n_edges]
        Nodes that the edges join.

    Returns
    -------
    length : array, shape=[n_edges]
        Lengths.
    """
    length = np.empty(len(a))
    _measure_edges(nodes, soft, norm, slope, a, b, length)
    return length


@kept_on_disk
def _measure_edges(
    nodes: Floats, soft: Floats, norm: Floats, slope: Floats, a: Ints, b: Ints, length: Floats
) -> None:
    """Write the lengths of edges; see `edge_lengths`."""
    dim = nodes.shape[1]
    step = np.empty(dim)
    for e in range(len(a)):
        i, j = a[e], b[e]
        rise, first, second = norm[j] - norm[i], 0.0, 0.0
        steep_i, steep_j, both, slope_i, slope_j = 0.0, 0.0, 0.0, 0.0, 0.0
        for k in range(dim):
            step[k] = nodes[j, k] - nodes[i, k]
        for k in range(dim):
            for m in range(dim):
                first += soft[i, k, m] * step[k] * step[m]
                second += soft[j, k, m] * step[k] * step[m]
            steep_i += slope[i, k] ** 2
            steep_j += slope[j, k] ** 2
            both += slope[i, k] * slope[j, k]
            slope_i += slope[i, k] * step[k]
            slope_j += slope[j, k] * step[k]
        along = 0.5 * (np.sqrt(max(first, 0.0)) + np.sqrt(max(second, 0.0)))
        change = abs(rise)
        agreement = both / max(np.sqrt(steep_i * steep_j), 1e-300)
        if not agreement >= 0.7:
            crossing = min(max((0.7 - agreement) / 0.7, 0.0), 1.0)
            variation, last = 0.0, 0.0
            for n in range(1, 9):
                s = n / 8.0
                cubic = (3.0 - 2.0 * s) * s * s * rise
                cubic += (s - 2.0 * s**2 + s**3) * slope_i + (s**3 - s**2) * slope_j
                variation += abs(cubic - last)
                last = cubic
            change += crossing * (variation - change)
        length[e] = np.sqrt(along**2 + change**2)
