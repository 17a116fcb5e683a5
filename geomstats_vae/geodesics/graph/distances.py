"""Lengths of shortest graph paths from points that are no nodes, each joined to those around it."""

from __future__ import annotations

import numpy as np
from scipy import sparse
from scipy.spatial import cKDTree

from geomstats_vae.geodesics.arrays import Floats, Ints
from geomstats_vae.geodesics.graph.dijkstra import Dijkstra
from geomstats_vae.geodesics.graph.measure import ChordMeasure
from geomstats_vae.geodesics.graph.options import GraphOptions


def graph_distances(
    measure: ChordMeasure,
    tree: cKDTree,
    graph: sparse.csr_matrix,
    options: GraphOptions,
    start: Floats,
    end: Floats,
) -> Floats:
    """Measure shortest graph paths.

    Parameters
    ----------
    measure : ChordMeasure
        Measures the links from points to nodes.
    tree : cKDTree
        Nodes of the graph.
    graph : csr_matrix, shape=[n_nodes, n_nodes]
        Symmetric matrix of edge lengths.
    options : GraphOptions
        Numbers of nodes that each point is joined to, and of chords.
    start, end : array, shape=[n_pairs, dim]
        End points.

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
    links = measure.segment_lengths(
        np.repeat(points, near.shape[1], axis=0), nodes[near.ravel()], options.edge_chords
    )
    links = np.maximum(links, np.finfo(float).tiny).reshape(near.shape)
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
