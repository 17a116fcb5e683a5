"""The graph over latent codes: nearest neighbours, joined where they fall apart."""

from __future__ import annotations

import numpy as np
from scipy import sparse
from scipy.spatial import cKDTree
from tqdm import tqdm

from geomstats_vae.geodesics.arrays import Floats
from geomstats_vae.geodesics.elements import Evaluator
from geomstats_vae.geodesics.graph.edges import graph_of_edges, join_components
from geomstats_vae.geodesics.graph.options import GraphOptions


def code_graph(
    evaluator: Evaluator, codes: Floats, options: GraphOptions, progress: tqdm | None = None
) -> tuple[Floats, sparse.csr_matrix]:
    """Build the graph of nearest neighbours over latent codes.

    Parameters
    ----------
    evaluator : Evaluator
        Measures the edges.
    codes : array, shape=[n_codes, dim]
        Latent codes.
    options : GraphOptions
        Numbers of nodes, neighbours and chords.
    progress : tqdm, optional
        Advanced by each edge that is measured.

    Returns
    -------
    nodes : array, shape=[n_nodes, dim]
        Some of the codes, each once.
    graph : csr_matrix, shape=[n_nodes, n_nodes]
        Symmetric matrix of edge lengths. All nodes hang together.
    """
    nodes = np.unique(codes, axis=0)
    if len(nodes) > options.max_codes:
        nodes = nodes[np.linspace(0, len(nodes) - 1, options.max_codes).astype(int)]
    if len(nodes) == 1:
        return nodes, sparse.csr_matrix((1, 1))
    k = min(options.n_neighbors + 1, len(nodes))
    neighbors = cKDTree(nodes).query(nodes, k=k)[1][:, 1:]
    a, b = np.repeat(np.arange(len(nodes)), neighbors.shape[1]), neighbors.ravel()
    a, b = np.unique(np.stack((np.minimum(a, b), np.maximum(a, b))), axis=1)
    a, b = join_components(nodes, a, b)
    length = np.zeros(len(a))
    if progress is not None:
        progress.reset(total=len(a))
    # In a few pieces, so that the progress can be seen.
    for rows in np.array_split(np.arange(len(a)), max(1, len(a) // 512)):
        ends = nodes[a[rows]], nodes[b[rows]]
        length[rows] = evaluator.segment_lengths(*ends, options.edge_chords)
        if progress is not None:
            progress.update(len(rows))
    length = np.where(np.isfinite(length), length, np.inf)
    return nodes, graph_of_edges(len(nodes), a, b, length)
