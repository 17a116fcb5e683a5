"""Lengths of shortest graph paths from points that are no nodes, each joined to those around it."""

from __future__ import annotations

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import dijkstra
from scipy.spatial import cKDTree

from geomstats_vae.geodesics.arrays import Floats, Ints
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
    # Every point is a vertex that paths leave but never pass through.
    indptr = near.shape[1] * np.arange(len(points) + 1)
    leaving = sparse.csr_matrix(
        (links.ravel(), near.ravel(), indptr), (len(points), graph.shape[1])
    )
    joined = sparse.vstack((graph, leaving), format="csr")
    joined.resize((joined.shape[0],) * 2)
    bounding = options.search.bounding
    n_landmarks = min(bounding, len(np.unique(source)) // bounding)
    to_landmarks = _landmark_distances(graph, near, links, n_landmarks)
    length = np.full(len(start), np.inf)
    for vertex in np.unique(source):
        pairs = np.flatnonzero(source == vertex)
        ends = target[pairs]
        around = to_landmarks[:, ends] + to_landmarks[:, vertex, None]
        limit = 1.001 * around.min(axis=0, initial=np.inf).max()
        reached = dijkstra(joined, indices=len(nodes) + vertex, limit=limit)
        length[pairs] = (reached[near[ends]] + links[ends]).min(axis=1)
    return length


def _landmark_distances(
    graph: sparse.csr_matrix, near: Ints, links: Floats, n_landmarks: int
) -> Floats:
    """Distances of points to some nodes, which bound those between points from above."""
    chosen = np.linspace(0, len(near) - 1, n_landmarks).astype(int)
    reached = dijkstra(graph, indices=near[chosen, 0])
    return (reached[:, near] + links).min(axis=2)
