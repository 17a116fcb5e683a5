"""Assembly of the graphs over a latent space: their edges, the lengths and the matrices."""

from __future__ import annotations

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import connected_components, minimum_spanning_tree
from scipy.spatial import cKDTree


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


def graph_of_edges(n_nodes, a, b, length):
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


def grid_directions(dim, reach):
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


def climbing_length(nodes, soft, height, slope, a, b):
    """Length of an edge: what it climbs from node to node, and the rest of the metric.

    Where the two slopes agree, the bulge of a level between the nodes is left out: the way can
    follow the level. Where they oppose each other the edge crosses a ridge or a valley, and the
    cubic through both heights and slopes says how much it climbs.

    Parameters
    ----------
    nodes : array, shape=[n_nodes, dim]
        Latent codes.
    soft : array, shape=[n_nodes, dim, dim]
        Metric matrices there, less that of the climbs.
    height : array, shape=[n_nodes]
        Heights |sigma|.
    slope : array, shape=[n_nodes, dim]
        Their gradients.
    a, b : array of int, shape=[n_edges]
        Nodes that the edges join.

    Returns
    -------
    length : array, shape=[n_edges]
        Lengths.
    """
    step = nodes[b] - nodes[a]
    sides = [np.einsum("nij,ni,nj->n", soft[k], step, step) for k in (a, b)]
    along = 0.5 * sum(np.sqrt(np.maximum(side, 0.0)) for side in sides)
    rise = height[b] - height[a]
    slope_a, slope_b = (slope[a] * step).sum(1), (slope[b] * step).sum(1)
    s = np.linspace(0.0, 1.0, 9)[:, None]
    cubic = (3 * s**2 - 2 * s**3) * rise + (s - 2 * s**2 + s**3) * slope_a + (s**3 - s**2) * slope_b
    variation = np.abs(np.diff(cubic, axis=0)).sum(axis=0)
    norms = np.linalg.norm(slope[a], axis=1) * np.linalg.norm(slope[b], axis=1)
    agreement = (slope[a] * slope[b]).sum(1) / np.maximum(norms, np.finfo(float).tiny)
    crossing = np.clip((0.7 - agreement) / 0.7, 0.0, 1.0)
    climb = np.abs(rise) + crossing * (variation - np.abs(rise))
    return np.sqrt(along**2 + climb**2)


def join_components(nodes, a, b):
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
