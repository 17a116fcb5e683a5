"""Shortest paths on graphs whose edges are measured only where a search needs their lengths.

Each edge has a lower bound of its length from the start. The shortest path by the bounds is
searched, its edges are measured, and it is searched again, until all edges of the path are
measured. It is then a shortest path by the lengths, too: any other path is no shorter by bounds,
and so not by lengths ([1]_, algorithm 1, with all edges of a path evaluated at once).

References
----------
.. [1] Dellin, Srinivasa. "A Unifying Formalism for Shortest Path Problems with Expensive Edge
   Evaluations via Lazy Best-First Search over Paths with Edge Selectors." ICAPS 2016.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from scipy import sparse
from tqdm import tqdm

from geomstats_vae.geodesics.arrays import Floats, Ints
from geomstats_vae.geodesics.graph.dijkstra import Dijkstra
from geomstats_vae.geodesics.graph.measure import ChordMeasure

# Of sums of a path's lengths in another order.
_ROUNDING = 1e3 * np.finfo(float).eps


class LazyEdges:
    """Lengths of edges: lower bounds at first, then the lengths of those that were measured.

    Parameters
    ----------
    measure : ChordMeasure
        Measures edges.
    n_chords : int
        Chords per edge.
    starts, ends : array, shape=[n, dim]
        Points of latent space.
    a, b : array of int, shape=[n_edges]
        Rows of the points in ``starts`` and ``ends`` that the edges join.
    lower : array, shape=[n_edges]
        Lower bounds, such as single chords; infinite where there is no length.
    factor : float or array, shape=[n_edges]
        Multiplies bounds and lengths.

    Attributes
    ----------
    weight : array, shape=[n_edges]
        Positive: the lengths of measured edges, and the bounds of others.
    measured : array of bool, shape=[n_edges]
        Whether the length is known.
    """

    def __init__(
        self,
        measure: ChordMeasure,
        n_chords: int,
        starts: Floats,
        ends: Floats,
        a: Ints,
        b: Ints,
        lower: Floats,
        factor: float | Floats = 1.0,
    ) -> None:
        self._measure, self._n_chords = measure, n_chords
        self._starts, self._ends, self._a, self._b = starts, ends, a, b
        self._factor = np.broadcast_to(np.asarray(factor, dtype=float), lower.shape)
        # Zero weights would read as missing edges.
        self.weight = np.maximum(self._factor * lower, np.finfo(float).tiny)
        self.measured = ~np.isfinite(lower)

    def __len__(self) -> int:
        return len(self.weight)

    def measure(self, which: Ints, progress: tqdm | None = None) -> None:
        """Measure edges that were not measured before.

        Parameters
        ----------
        which : array of int, shape=[n]
            Edges, each at most once.
        progress : tqdm, optional
            Advanced by each edge that is measured.
        """
        which = which[~self.measured[which]]
        size = self._measure.evaluator.chunk_size
        # In a few pieces, so that the progress can be seen.
        for rows in np.split(which, range(size, len(which), size)):
            ends = self._starts[self._a[rows]], self._ends[self._b[rows]]
            length = self._measure.segment_lengths(*ends, self._n_chords)
            # Longer than a single chord, but for rounding.
            self.weight[rows] = np.maximum(self._factor[rows] * length, self.weight[rows])
            self.measured[rows] = True
            if progress is not None:
                progress.update(len(rows))


def edge_pattern(n_vertices: int, rows: Ints, columns: Ints, number: Ints) -> sparse.csr_matrix:
    """Assemble where the edges of a graph are.

    Parameters
    ----------
    n_vertices : int
        Number of vertices.
    rows, columns : array of int, shape=[n]
        Vertices that edges lead from and to, each pair once.
    number : array of int, shape=[n]
        Numbers of the edges; one that leads to both sides is there twice.

    Returns
    -------
    pattern : csr_matrix of int, shape=[n_vertices, n_vertices]
        The numbers, with sorted indices.
    """
    pattern = sparse.csr_matrix((number, (rows, columns)), (n_vertices,) * 2)
    pattern.sort_indices()
    return pattern


def lazy_paths(
    pattern: sparse.csr_matrix,
    parts: Sequence[LazyEdges],
    source: Ints,
    target: Ints,
    limit: Floats,
) -> tuple[list[Ints], Floats]:
    """Find shortest paths, and measure the edges that this needs.

    Parameters
    ----------
    pattern : csr_matrix of int, shape=[n_vertices, n_vertices]
        Numbers of the edges, from row to column.
    parts : sequence of LazyEdges
        The edges, numbered one part after the other.
    source, target : array of int, shape=[n_pairs]
        End vertices.
    limit : array, shape=[n_pairs]
        Lengths past which no path is wanted.

    Returns
    -------
    paths : list of array of int
        Vertices from source to target; empty where there is no path within the limit.
    length : array, shape=[n_pairs]
        Lengths; infinite where there is none.
    """
    paths, length = [np.zeros(0, dtype=int)] * len(source), np.full(len(source), np.inf)
    # No path is longer than the shortest that was measured.
    bound, unsure = limit.copy(), np.arange(len(source))
    while len(unsure):
        weight = np.concatenate([part.weight for part in parts])
        measured = np.concatenate([part.measured for part in parts])
        index = pattern.data, pattern.indices, pattern.indptr
        graph = sparse.csr_matrix((weight[index[0]], *index[1:]), pattern.shape)
        dijkstra, edges = Dijkstra(graph), dict[int, Ints]()
        for vertex in np.unique(source[unsure]):
            pairs = unsure[source[unsure] == vertex]
            dijkstra.search(np.array([vertex]), target[pairs], bound[pairs].max())
            found = dijkstra.lengths(target[pairs])
            for pair, total in zip(pairs, found, strict=True):
                if not total <= limit[pair] or np.isinf(total):
                    continue
                path = dijkstra.path(target[pair])
                numbers = _numbers(pattern, path)
                if measured[numbers].all():
                    paths[pair], length[pair] = path, total
                else:
                    edges[int(pair)] = numbers
        _measure(parts, np.unique(np.concatenate([*edges.values(), np.zeros(0, dtype=int)])))
        weight = np.concatenate([part.weight for part in parts])
        unsure = np.array(sorted(edges), dtype=int)
        for pair, numbers in edges.items():
            bound[pair] = min(bound[pair], weight[numbers].sum() * (1.0 + _ROUNDING))
    return paths, length


def _numbers(pattern: sparse.csr_matrix, path: Ints) -> Ints:
    """Numbers of a path's edges, shape=[n_vertices - 1]."""
    number = np.zeros(len(path) - 1, dtype=int)
    for k, (tail, head) in enumerate(itertools.pairwise(path)):
        begin, end = pattern.indptr[tail : tail + 2]
        number[k] = pattern.data[begin + np.searchsorted(pattern.indices[begin:end], head)]
    return number


def _measure(parts: Sequence[LazyEdges], numbers: Ints) -> None:
    first = 0
    for part in parts:
        inside = (numbers >= first) & (numbers < first + len(part))
        part.measure(numbers[inside] - first)
        first += len(part)
