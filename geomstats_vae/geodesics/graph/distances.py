"""Lengths of shortest graph paths from points that are no nodes, each joined to those around it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import sparse
from scipy.spatial import cKDTree

from geomstats_vae.geodesics.arrays import Floats, Ints
from geomstats_vae.geodesics.graph.dijkstra import Dijkstra
from geomstats_vae.geodesics.graph.measure import ChordMeasure, TabulatedMeasure
from geomstats_vae.geodesics.graph.options import GraphOptions


class KnownLinks:
    """Lengths of the links of points that were asked for in bulk before.

    Parameters
    ----------
    fewest : int
        Points of a call that are worth to be kept.
    most : int
        Points that are kept; others make room for more.

    Notes
    -----
    Those who integrate over a grid, or follow rows, ask for the distances of the same points from
    one center after another.
    """

    def __init__(self, fewest: int = 128, most: int = 20_000) -> None:
        self._fewest, self._most = fewest, most
        self._kept: tuple[Floats, Floats] | None = None

    def __call__(self, points: Floats, measure: Callable[[Ints], Floats]) -> Floats:
        """Look up links, and measure the others.

        Parameters
        ----------
        points : array, shape=[n_points, dim]
            Distinct points.
        measure : callable
            Takes indices of points, shape=[n]; returns their links, shape=[n, n_links].

        Returns
        -------
        links : array, shape=[n_points, n_links]
            Lengths of the links of each point.
        """
        kept = self._kept
        if kept is None:
            new = np.arange(len(points))
            links = measure(new)
        else:
            both = np.concatenate((kept[0], points))
            _, first, place = np.unique(both, axis=0, return_index=True, return_inverse=True)
            # Points that are kept come first.
            row = first[place.ravel()[len(kept[0]) :]]
            new = np.flatnonzero(row >= len(kept[0]))
            links = kept[1][np.where(row < len(kept[0]), row, 0)]
            if len(new):
                links[new] = measure(new)
        if len(new) >= self._fewest:
            more = points[new], links[new]
            if kept is not None and len(kept[0]) + len(new) <= self._most:
                more = np.concatenate((kept[0], more[0])), np.concatenate((kept[1], more[1]))
            self._kept = more
        return links


def graph_distances(
    measure: ChordMeasure | TabulatedMeasure,
    tree: cKDTree,
    graph: sparse.csr_matrix,
    options: GraphOptions,
    start: Floats,
    end: Floats,
    known: KnownLinks | None = None,
) -> Floats:
    """Measure shortest graph paths.

    Parameters
    ----------
    measure : ChordMeasure or TabulatedMeasure
        Measures the links from points to nodes.
    tree : cKDTree
        Nodes of the graph.
    graph : csr_matrix, shape=[n_nodes, n_nodes]
        Symmetric matrix of edge lengths.
    options : GraphOptions
        Numbers of nodes that each point is joined to, and of chords.
    start, end : array, shape=[n_pairs, dim]
        End points.
    known : KnownLinks, optional
        Links from points to nodes that were measured before.

    Returns
    -------
    length : array, shape=[n_pairs]
        Lengths, infinite where there is no path. Those of a pair do not depend on the other pairs.
    """
    points, place = np.unique(np.concatenate((start, end)), axis=0, return_inverse=True)
    source, target = place.ravel()[: len(start)], place.ravel()[len(start) :]
    if len(np.unique(target)) < len(np.unique(source)):
        source, target = target, source
    nodes, n_links = tree.data, min(options.n_neighbors, tree.n)
    near = tree.query(points, k=[*range(1, n_links + 1)])[1]

    def measured(rows: Ints) -> Floats:
        to, each = near[rows], np.repeat(points[rows], near.shape[1], axis=0)
        return measure.segment_lengths(each, nodes[to.ravel()], options.edge_chords).reshape(
            to.shape
        )

    links = np.maximum((known or KnownLinks())(points, measured), np.finfo(float).tiny)
    bounding = options.search.bounding
    n_landmarks = min(bounding, len(np.unique(source)) // bounding)
    dijkstra = Dijkstra(graph)
    to_landmarks = _landmark_distances(dijkstra, near, links, n_landmarks)
    length = np.full(len(start), np.inf)
    for vertex in np.unique(source):
        pairs = np.flatnonzero(source == vertex)
        ends = target[pairs]
        around = to_landmarks[:, ends] + to_landmarks[:, vertex, None]
        limit = 1.001 * around.min(axis=0, initial=np.inf).max()
        # Paths leave a point by its links, and never pass through another point.
        dijkstra.search(near[vertex], np.unique(near[ends]), limit, offsets=links[vertex])
        length[pairs] = (dijkstra.lengths(near[ends]) + links[ends]).min(axis=1)
    return length


def _landmark_distances(dijkstra: Dijkstra, near: Ints, links: Floats, n_landmarks: int) -> Floats:
    """Distances of points to some nodes, which bound those between points from above."""
    chosen = np.linspace(0, len(near) - 1, n_landmarks).astype(int)
    length = np.empty((n_landmarks, len(near)))
    for row, node in enumerate(near[chosen, 0]):
        dijkstra.search(np.array([node]), np.unique(near))
        length[row] = (dijkstra.lengths(near) + links).min(axis=1)
    return length
