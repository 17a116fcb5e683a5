"""Sparse matrices of edge lengths, assembled without holding all edges twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import connected_components, minimum_spanning_tree
from scipy.spatial import cKDTree

from geomstats_vae.geodesics.arrays import Floats, Ints
from geomstats_vae.geodesics.graph.dijkstra import kept_on_disk

Edges = tuple[Ints, Ints]


def symmetric_graph(
    n_nodes: int,
    groups: Callable[[], Iterator[Edges]],
    length: Callable[[Ints, Ints], Floats],
) -> sparse.csr_matrix:
    """Assemble the matrix of a graph's edge lengths.

    Parameters
    ----------
    n_nodes : int
        Number of nodes.
    groups : callable
        Returns an iterator over groups of edges, each a pair of arrays of int, shape=[n_edges]:
        the edges' ends, of which no node is twice at the same side of a group.
    length : callable
        Maps the ends of a group of edges to their positive lengths, shape=[n_edges].

    Returns
    -------
    graph : csr_matrix, shape=[n_nodes, n_nodes]
        Symmetric, with sorted indices. Beside it only single groups are held: triplets, their
        conversion and a sum with the transpose would take many times its memory.
    """
    degree = np.zeros(n_nodes, dtype=np.int64)
    for a, b in groups():
        degree[a] += 1
        degree[b] += 1
    indptr = np.concatenate(([0], np.cumsum(degree)))
    small = max(indptr[-1], n_nodes) < np.iinfo(np.int32).max
    kind: type = np.int32 if small else np.int64
    indices, weights = np.empty(indptr[-1], dtype=kind), np.empty(indptr[-1])
    free = indptr[:-1].copy()
    for a, b in groups():
        # Zero weights would read as missing edges.
        weight = np.maximum(length(a, b), np.finfo(float).tiny)
        _put(a, b, weight, free, indices, weights)
    graph = sparse.csr_matrix((weights, indices, indptr.astype(kind)), (n_nodes,) * 2)
    graph.sort_indices()
    return graph


@kept_on_disk
def _put(a: Ints, b: Ints, weight: Floats, free: Ints, indices: Ints, weights: Floats) -> None:
    """Write edges to the first free places of both their ends."""
    for e in range(len(a)):
        i, j = a[e], b[e]
        indices[free[i]], indices[free[j]] = j, i
        weights[free[i]] = weights[free[j]] = weight[e]
        free[i] += 1
        free[j] += 1


def graph_of_edges(n_nodes: int, a: Ints, b: Ints, length: Floats) -> sparse.csr_matrix:
    """Assemble the matrix of a small graph's edge lengths.

    Parameters
    ----------
    n_nodes : int
        Number of nodes.
    a, b : array of int, shape=[n_edges]
        Nodes that the edges join, each pair once.
    length : array, shape=[n_edges]
        Lengths.

    Returns
    -------
    graph : csr_matrix, shape=[n_nodes, n_nodes]
        Symmetric.
    """
    # Zero weights would read as missing edges.
    weights = np.maximum(length, np.finfo(float).tiny)
    half = sparse.csr_matrix((weights, (a, b)), shape=(n_nodes, n_nodes))
    return half + half.T


def join_components(nodes: Floats, a: Ints, b: Ints) -> Edges:
    """Join the components of a graph by the shortest links of a tree over them.

    Parameters
    ----------
    nodes : array, shape=[n_nodes, dim]
        Latent codes.
    a, b : array of int, shape=[n_edges]
        Nodes that the edges join.

    Returns
    -------
    a, b : array of int, shape=[n_edges + n_links]
        The same, with the links.
    """
    graph = sparse.csr_matrix((np.ones(len(a)), (a, b)), shape=(len(nodes),) * 2)
    n_components, label = connected_components(graph, directed=False)
    if n_components == 1:
        return a, b
    members = [np.flatnonzero(label == k) for k in range(n_components)]
    trees = [cKDTree(nodes[member]) for member in members]
    links = {}
    gaps = np.zeros((n_components, n_components))
    for i in range(n_components):
        for j in range(i + 1, n_components):
            distance, nearest = trees[i].query(nodes[members[j]])
            k = int(np.argmin(distance))
            links[i, j] = (members[i][nearest[k]], members[j][k])
            gaps[i, j] = max(distance[k], np.finfo(float).tiny)
    tree = minimum_spanning_tree(sparse.csr_matrix(gaps)).tocoo()
    extra = np.array([links[i, j] for i, j in zip(tree.row, tree.col, strict=True)])
    return np.concatenate((a, extra[:, 0])), np.concatenate((b, extra[:, 1]))
