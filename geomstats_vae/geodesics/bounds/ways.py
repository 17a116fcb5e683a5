"""Where a shorter curve may run: a way along the edges of a mesh that was refined around it."""

from __future__ import annotations

import numpy as np
from scipy import sparse
from scipy.sparse.csgraph import dijkstra

from geomstats_vae.geodesics.arrays import Bools, Floats, Ints
from geomstats_vae.geodesics.bounds.mesh import Mesh


def short_way(
    mesh: Mesh, a: Floats, ends: Ints, light: Bools, detour: float
) -> tuple[Floats, float]:
    """Find the shortest way along edges, those of light triangles made dearer.

    Parameters
    ----------
    mesh : Mesh
        The mesh.
    a : array, shape=[n_triangles, 3]
        Entries 00, 01 and 11 of an inverse metric, in barycentric coordinates.
    ends : array of int, shape=[2]
        Vertices.
    light : array of bool, shape=[n_triangles]
        Triangles in which no short curve is expected.
    detour : float
        Factor of the lengths there.

    Returns
    -------
    points : array, shape=[n_points, 2]
        Vertices on the way, from end to end.
    length : float
        About its length.
    """
    edges, sides = mesh.edges
    det = a[:, 0] * a[:, 2] - a[:, 1] ** 2
    x, y, z = a[:, 2] / det, -a[:, 1] / det, a[:, 0] / det
    length = np.sqrt(np.maximum(np.stack([x, x - 2.0 * y + z, z], axis=1), np.finfo(float).tiny))
    length *= np.where(light, detour, 1.0)[:, None]
    weight = np.full(len(edges), np.inf)
    np.minimum.at(weight, sides.ravel(), length.ravel())
    graph = sparse.csr_matrix((weight, edges.T), shape=(len(mesh.vertices),) * 2)
    distance, before = dijkstra(graph, directed=False, indices=ends[0], return_predecessors=True)
    way = [ends[1]]
    while way[-1] != ends[0]:
        way.append(before[way[-1]])
    return mesh.vertices[way[::-1]], float(distance[ends[1]])
