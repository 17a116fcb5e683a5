"""Global starts: where the short ways are, seen from a graph over the latent space.

In two and three dimensions a grid over the data. Walls of the standard deviation make plain grids
useless: a way along a wall keeps to a level of the height |sigma(z)|, and a grid's nodes are off
that level by the slope times the spacing, so every step seems to climb. Here each node is moved,
within its cell, onto the roundest level that its cell holds (a multiple of the highest power of
two), so that neighbours along a wall share a level and an edge costs what it climbs from node to
node. In more dimensions, a graph of nearest neighbours over the codes.
"""

from __future__ import annotations

import itertools

import numpy as np
import torch
from scipy import sparse
from scipy.interpolate import Akima1DInterpolator
from scipy.sparse.csgraph import dijkstra
from scipy.spatial import cKDTree

from geomstats_vae.geodesics.assembly import (
    climbing_length,
    graph_of_edges,
    grid_directions,
    join_components,
    symmetric_graph,
)
from geomstats_vae.geodesics.elements import cache_sized_chunk, chord_lengths, to_numpy
from geomstats_vae.geodesics.graph import GraphSearch, trace

_GRID_SIZE = {2: 256, 3: 48}
_REACH = {2: 3, 3: 2}
_MARGIN = 0.08
_MAX_CODES = 2000
_N_NEIGHBORS = 12
_EDGE_SAMPLES = 8
# A straight line is measured by the first number of chords and twice that, and by the last if
# these two differ by more than this share.
_LINE_CHORDS, _LINE_RTOL = (64, 512), 3e-3
# Other ways: edges within this share of the box of a way cost this much more.
_NEAR, _DEARER = 0.01, 1.5


class Landscape:
    """A graph over the latent space of an immersion, for global starts.

    Parameters
    ----------
    immersion : Immersion
        The decoder's F.
    points : array, shape=[n_points, dim]
        Latent codes the graph is to cover.
    grid_size : int, optional
        Nodes per side of the grid in two and three dimensions.
    chunk_size : int, optional
        Points evaluated at once; by default as many as fit a processor's cache.
    """

    def __init__(self, immersion, points, *, grid_size=None, chunk_size=None):
        self.immersion, self.n_mean = immersion, immersion.n_mean
        self.chunk_size = chunk_size or cache_sized_chunk(immersion)
        self.points = np.asarray(points, dtype=float)
        self.dim = self.points.shape[1]
        self.grid_size = grid_size or _GRID_SIZE.get(self.dim)
        self.nodes, self.graph = self._grid() if self.grid_size else self._code_graph(self.points)
        self._tree, self._size = cKDTree(self.nodes), np.ptp(self.nodes, axis=0).max()
        self._search = GraphSearch(self.graph, np.unique(self._tree.query(self.points)[1]))

    def scaled(self, factor):
        import copy
        from geomstats_vae.immersions import ScaledImmersion
        o = copy.copy(self)
        o.graph = factor * self.graph
        o.immersion = ScaledImmersion(self.immersion, factor)
        o._search = GraphSearch(o.graph, np.unique(o._tree.query(o.points)[1]))
        return o

    def _tensor(self, array):
        return torch.as_tensor(array, dtype=self.immersion.dtype, device=self.immersion.device)

    def _each_chunk(self, function, points):
        columns, begin = None, 0
        for part in self._tensor(points).split(self.chunk_size):
            values = [to_numpy(value) for value in function(part)]
            # Written to its place at once: small results kept between large temporaries would
            # leave the memory of all of them in pieces.
            if columns is None:
                columns = [np.empty((len(points), *value.shape[1:])) for value in values]
            for column, value in zip(columns, values, strict=True):
                column[begin : begin + len(part)] = value
            begin += len(part)
        return columns

    def _metric_and_slope(self, z):
        value, tangents = self.immersion.jacobian(z)
        metric = tangents @ tangents.transpose(1, 2)
        if self.n_mean is None:
            return metric, z.new_zeros(len(z)), torch.zeros_like(z)
        return metric, *_height(value, tangents, self.n_mean)

    def height(self, points):
        """Norm of the standard deviation, and its gradient.

        Parameters
        ----------
        points : array, shape=[n_points, dim]
            Latent codes.

        Returns
        -------
        height : array, shape=[n_points]
            Norm of sigma.
        slope : array, shape=[n_points, dim]
            Its gradient.
        """
        return self._each_chunk(self.immersion.height, points)

    # -- grids ------------------------------------------------------------------------------

    def _grid(self):
        low, high = self.points.min(axis=0), self.points.max(axis=0)
        pad = _MARGIN * np.maximum(high - low, 1e-3 * np.abs(high).max() + 1e-12)
        axes = [
            np.linspace(a, b, self.grid_size) for a, b in zip(low - pad, high + pad, strict=True)
        ]
        spacing = np.array([axis[1] - axis[0] for axis in axes])
        nodes = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, self.dim)
        metric, height, slope = self._each_chunk(self._metric_and_slope, nodes)
        usable = np.isfinite(metric).all(axis=(1, 2))
        if self.n_mean is not None:
            usable &= height <= self._highest()
            kept = np.flatnonzero(usable)
            nodes[kept] = self._snap(nodes[kept], spacing, height[kept], slope[kept])
            metric[kept], height[kept], slope[kept] = self._each_chunk(
                self._metric_and_slope, nodes[kept]
            )
        return nodes, self._grid_graph(nodes, metric, height, slope, usable)

    def _highest(self):
        """Height that no shortest way between codes exceeds.

        To climb h above its ends costs a way 2 h at least, and the way from code to code over one
        of them is no longer than twice the longest from it.
        """
        codes = self.points[np.linspace(0, len(self.points) - 1, 200).astype(int)]
        _, graph = self._code_graph(codes)
        reach = dijkstra(graph, indices=0).max()
        return self.height(self.points)[0].max() + reach

    def _snap(self, nodes, spacing, height, slope):
        """Move each node to the roundest level of the height within its cell."""
        half = 0.5 * np.linalg.norm(slope * spacing, axis=1)
        target = _roundest(height - half, height + half)
        home = nodes
        for _ in range(3):
            step = _step_to_level(target - height, slope)
            nodes = np.clip(
                nodes + np.clip(step, -0.6 * spacing, 0.6 * spacing),
                home - 0.7 * spacing,
                home + 0.7 * spacing,
            )
            height, slope = self.height(nodes)
        return nodes

    def _grid_graph(self, nodes, metric, height, slope, usable):
        shape = (self.grid_size,) * self.dim
        index = np.arange(len(nodes)).reshape(shape)
        soft = metric - slope[:, :, None] * slope[:, None, :]

        def edges():
            for offset in grid_directions(self.dim, _REACH[self.dim]):
                near = tuple(
                    slice(max(0, -k), n - max(0, k)) for k, n in zip(offset, shape, strict=True)
                )
                far = tuple(
                    slice(max(0, k), n - max(0, -k)) for k, n in zip(offset, shape, strict=True)
                )
                a, b = index[near].ravel(), index[far].ravel()
                keep = usable[a] & usable[b]
                yield a[keep], b[keep]

        return symmetric_graph(
            len(nodes), edges, lambda a, b: climbing_length(nodes, soft, height, slope, a, b)
        )

    # -- codes ------------------------------------------------------------------------------

    def _code_graph(self, codes):
        nodes = np.unique(codes, axis=0)
        if len(nodes) > _MAX_CODES:
            nodes = nodes[np.linspace(0, len(nodes) - 1, _MAX_CODES).astype(int)]
        if len(nodes) == 1:
            return nodes, sparse.csr_matrix((1, 1))
        tree = cKDTree(nodes)
        k = min(_N_NEIGHBORS + 1, len(nodes))
        neighbors = tree.query(nodes, k=k)[1][:, 1:]
        a = np.repeat(np.arange(len(nodes)), neighbors.shape[1])
        b = neighbors.ravel()
        a, b = np.minimum(a, b), np.maximum(a, b)
        a, b = np.unique(np.stack((a, b)), axis=1)
        a, b = join_components(nodes, a, b)
        return nodes, graph_of_edges(len(nodes), a, b, self.chord_length(nodes[a], nodes[b]))

    def chord_length(self, start, end, n_samples=_EDGE_SAMPLES):
        """Length of straight segments, by chords of F.

        Parameters
        ----------
        start, end : array, shape=[n_segments, dim]
            End points.
        n_samples : int
            Chords per segment.

        Returns
        -------
        length : array, shape=[n_segments]
            Lengths; infinite where the decoder is not finite.
        """
        s = self._tensor(np.linspace(0.0, 1.0, n_samples + 1)[:, None])

        def measure(pair):
            a, b = pair[:, : self.dim], pair[:, self.dim :]
            z = a[:, None] + (b - a)[:, None] * s
            return chord_lengths(self.immersion, z, self.chunk_size)

        pairs = self._tensor(np.concatenate((start, end), axis=1))
        step = max(1, self.chunk_size // n_samples)
        # Written in place: results kept one by one would hold the heap's top where it was.
        length = np.zeros(len(pairs))
        for k in range(0, len(pairs), step):
            length[k : k + step] = to_numpy(measure(pairs[k : k + step]))
        return np.where(np.isfinite(length), length, np.inf)

    def line_length(self, start, end):
        """Length of straight lines, by as many chords as they need, at most 512.

        Parameters
        ----------
        start, end : array, shape=[n_lines, dim]
            End points.

        Returns
        -------
        length : array, shape=[n_lines]
            Lengths; infinite where the decoder is not finite.
        """
        few, many = _LINE_CHORDS
        length = self.chord_length(start, end, few)
        twice = self.chord_length(start, end, 2 * few)
        with np.errstate(invalid="ignore"):
            rough = ~(twice - length <= _LINE_RTOL * twice)
        twice[rough] = self.chord_length(start[rough], end[rough], many)
        return twice

    # -- ways -------------------------------------------------------------------------------

    def ways(self, start, end, limit=None):
        """Shortest ways on the graph.

        Parameters
        ----------
        start, end : array, shape=[n_pairs, dim]
            End points.
        limit : array, shape=[n_pairs], optional
            Lengths past which no way is of use, such as those of the straight lines.

        Returns
        -------
        ways : list of array, shape=[n_vertices, dim]
            Vertices from start to end.
        cost : array, shape=[n_pairs]
            Lengths on the graph, a few percent from the geodesic's; infinite where the graph has
            no way.
        """
        first, last = self._tree.query(start)[1], self._tree.query(end)[1]
        limit = np.full(len(start), np.inf) if limit is None else limit
        found, cost = self._search.ways(first, last, limit)
        ways = [
            np.concatenate((a[None], self.nodes[way[1:-1]], b[None]))
            for way, a, b in zip(found, start, end, strict=True)
        ]
        return ways, cost

    def other_ways(self, ways):
        """Find the shortest ways once those near given ways are made dearer.

        Parameters
        ----------
        ways : list of array, shape=[n_vertices, dim]
            Vertices from start to end.

        Returns
        -------
        others : list of array, shape=[n_vertices, dim]
            Ways with the same ends; partly or wholly the given ones where nothing is nearly as
            short.
        cost : array, shape=[n_ways]
            Their lengths on the graph as it is; infinite where there is none.
        """
        others, cost = [], np.full(len(ways), np.inf)
        if ways:
            rows = np.repeat(np.arange(len(self.nodes)), np.diff(self.graph.indptr))
        for k, way in enumerate(ways):
            ends = self._tree.query(way[[0, -1]])[1]
            near = self._tree.query_ball_point(way, _NEAR * self._size)
            factor = np.ones(len(self.nodes))
            factor[np.unique(np.concatenate(near)).astype(int)] = _DEARER
            weights = self.graph.data * np.sqrt(factor[rows] * factor[self.graph.indices])
            dear = sparse.csr_matrix(
                (weights, self.graph.indices, self.graph.indptr), self.graph.shape
            )
            distance, before = dijkstra(dear, indices=ends[0], return_predecessors=True)
            if not np.isfinite(distance[ends[1]]):
                others.append(way)
                continue
            vertices = trace(before, ends[1])[::-1]
            cost[k] = sum(self.graph[a, b] for a, b in itertools.pairwise(vertices))
            middle = self.nodes[vertices][1:-1]
            others.append(np.concatenate((way[:1], middle, way[-1:])))
        return others, cost

    def distances(self, start, end):
        """Lengths of the shortest ways on the graph, from the points themselves.

        Parameters
        ----------
        start, end : array, shape=[n_pairs, dim]
            End points; each is joined to the nodes around it.

        Returns
        -------
        cost : array, shape=[n_pairs]
            Lengths on the graph, infinite where it has no way. Those of a pair do not depend on
            the other pairs.
        """
        points, place = np.unique(np.concatenate((start, end)), axis=0, return_inverse=True)
        source, target = place.ravel()[: len(start)], place.ravel()[len(start) :]
        if len(np.unique(target)) < len(np.unique(source)):
            source, target = target, source
        near = self._tree.query(points, k=[*range(1, min(_N_NEIGHBORS, len(self.nodes)) + 1)])[1]
        links = self.chord_length(
            np.repeat(points, near.shape[1], axis=0), self.nodes[near.ravel()]
        )
        links = np.maximum(links, np.finfo(float).tiny).reshape(near.shape)
        # Every point is a vertex that ways leave but never pass through.
        indptr = near.shape[1] * np.arange(len(points) + 1)
        leaving = sparse.csr_matrix(
            (links.ravel(), near.ravel(), indptr), (len(points), self.graph.shape[1])
        )
        graph = sparse.vstack((self.graph, leaving), format="csr")
        graph.resize((graph.shape[0],) * 2)
        to_landmarks = self._landmark_distances(near, links, len(np.unique(source)) // 8)
        cost = np.full(len(start), np.inf)
        for vertex in np.unique(source):
            pairs = np.flatnonzero(source == vertex)
            ends = target[pairs]
            around = (to_landmarks[:, ends] + to_landmarks[:, vertex, None]).min(
                axis=0, initial=np.inf
            )
            reached = dijkstra(graph, indices=len(self.nodes) + vertex, limit=1.001 * around.max())
            cost[pairs] = (reached[near[ends]] + links[ends]).min(axis=1)
        return cost

    def _landmark_distances(self, near, links, n_landmarks):
        """Distances of points to some nodes, which bound those between points from above."""
        chosen = np.linspace(0, len(near) - 1, min(n_landmarks, 8)).astype(int)
        reached = dijkstra(self.graph, indices=near[chosen, 0])
        return (reached[:, near] + links).min(axis=2)

    def elements(self, ways, element, per_side=85):
        """Put polynomial elements along ways, on the levels that the ways keep.

        Parameters
        ----------
        ways : list of array, shape=[n_vertices, dim]
            Vertices.
        element : ReferenceElement
            The element.
        per_side : int
            Elements across the box of the nodes.

        Returns
        -------
        nodes : list of array, shape=[n_elements, degree + 1, dim]
            Nodes of the elements of each way.
        """
        size = self._size / per_side
        pieces = [_smooth_elements(way, element, size) for way in ways]
        if self.n_mean is None:
            return [nodes for nodes, _, _ in pieces]
        heights = np.split(
            self.height(np.concatenate(ways))[0], np.cumsum([len(way) for way in ways])[:-1]
        )
        levels = [
            np.interp(where, knots, height[inner])
            for (_, where, (knots, inner)), height in zip(pieces, heights, strict=True)
        ]
        nodes = np.concatenate([piece[0] for piece in pieces])
        nodes = self._to_levels(nodes, np.concatenate(levels), 0.1 * size)
        nodes = np.split(nodes, np.cumsum([len(piece[0]) for piece in pieces])[:-1])
        for piece, way in zip(nodes, ways, strict=True):
            piece[0, 0], piece[-1, -1] = way[0], way[-1]
        return nodes

    def _to_levels(self, nodes, level, max_step):
        shape = nodes.shape
        flat, level = nodes.reshape(-1, self.dim), level.ravel()
        for _ in range(3):
            height, slope = self.height(flat)
            step = _step_to_level(level - height, slope)
            size = np.linalg.norm(step, axis=1)
            step *= np.minimum(1.0, max_step / np.maximum(size, np.finfo(float).tiny))[:, None]
            flat = flat + np.where(np.isfinite(step), step, 0.0)
        return flat.reshape(shape)


def _height(value, tangents, n_mean):
    sigma = value[:, n_mean:]
    height = sigma.norm(dim=1)
    slope = (tangents[:, :, n_mean:] @ sigma[:, :, None])[:, :, 0] / height[:, None]
    return height, slope


def _step_to_level(rise, slope):
    """Step up the slope that should rise by as much; none where there is no slope."""
    square = (slope**2).sum(axis=1)
    flat = ~(square > 1e-20 * np.nanmax(square, initial=0.0))
    return slope * np.where(flat, 0.0, rise / np.where(flat, 1.0, square))[:, None]


def _roundest(low, high):
    """Multiple of the highest power of two within each interval."""
    # A level height is known to its rounding only.
    span = np.maximum(high - low, np.finfo(float).eps * np.maximum(np.abs(high), 1e-290))
    power = np.floor(np.log2(span)) + 1.0
    for _ in range(2):
        none = np.ceil(low / 2.0**power) * 2.0**power > high
        power = power - none
    return np.ceil(low / 2.0**power) * 2.0**power


def _smooth_elements(way, element, size):
    """Elements of about equal size through the vertices of a way, with their parameters."""
    gaps = np.linalg.norm(np.diff(way, axis=0), axis=1)
    usual = np.median(gaps)
    knots = np.concatenate(([0.0], np.cumsum(gaps)))
    inner = (knots > 0.4 * usual) & (knots < knots[-1] - 0.4 * usual)
    inner[[0, -1]] = True
    inner[1:] &= np.diff(knots) > 0.0
    inner[-1] = True
    vertices, knots = way[inner], knots[inner]
    n_elements = max(4, int(np.ceil(knots[-1] / size)))
    reference = 0.5 * (element.nodes + 1.0)
    where = (np.arange(n_elements)[:, None] + reference) / n_elements * knots[-1]
    if len(vertices) > 4:
        nodes = Akima1DInterpolator(knots, vertices, axis=0)(np.minimum(where, knots[-1]))
    else:
        nodes = np.stack([np.interp(where, knots, column) for column in vertices.T], axis=-1)
    return nodes, where, (knots, inner)
