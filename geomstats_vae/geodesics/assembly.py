"""Assembly of large symmetric graphs in little more memory than they take."""

from __future__ import annotations

import numpy as np
from scipy import sparse


def symmetric_graph(n_nodes, groups, length):
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
    kind = np.int32 if max(indptr[-1], n_nodes) < np.iinfo(np.int32).max else np.int64
    indices, weights = np.empty(indptr[-1], dtype=kind), np.empty(indptr[-1])
    free = indptr[:-1].copy()
    for a, b in groups():
        # Zero weights would read as missing edges.
        weight = np.maximum(length(a, b), np.finfo(float).tiny)
        for near, far in ((a, b), (b, a)):
            place = free[near]
            indices[place], weights[place] = far, weight
            free[near] += 1
    graph = sparse.csr_matrix((weights, indices, indptr.astype(kind)), (n_nodes,) * 2)
    graph.sort_indices()
    return graph
