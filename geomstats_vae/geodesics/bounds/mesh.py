"""Meshes of triangles that are refined by bisection."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from geomstats_vae.geodesics.arrays import Bools, Floats, Ints


@dataclass(frozen=True, eq=False)
class Mesh:
    """Triangles that fill a rectangle.

    A quadratic function on a triangle is given by its values at three corners and at the middles
    of the edges behind corners 0, 1 and 2. Edge k runs from corner k to corner k + 1.

    Parameters
    ----------
    vertices : array, shape=[n_vertices, 2]
        Corners of the triangles.
    triangles : array of int, shape=[n_triangles, 3]
        Their corners, counterclockwise. A triangle is bisected at edge 0.
    """

    vertices: Floats
    triangles: Ints

    def __len__(self) -> int:
        return len(self.triangles)

    @classmethod
    def square(cls, n_cells: int, *, falling: bool = False) -> Mesh:
        """Divide each of n_cells x n_cells parts of the unit square into two triangles.

        Parameters
        ----------
        n_cells : int
            Parts along each side.
        falling : bool
            Whether diagonals fall from left to right; else they rise.

        Returns
        -------
        mesh : Mesh
            The mesh.
        """
        axis = np.linspace(0.0, 1.0, n_cells + 1)
        vertices = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)
        index = np.arange(len(vertices)).reshape(n_cells + 1, n_cells + 1)
        a, b = index[:-1, :-1].ravel(), index[1:, :-1].ravel()
        c, d = index[1:, 1:].ravel(), index[:-1, 1:].ravel()
        # The diagonal, the longest edge, comes first.
        halves = [(b, d, a), (d, b, c)] if falling else [(c, a, b), (a, c, d)]
        return cls(vertices, np.concatenate([np.stack(half, axis=1) for half in halves]))

    @cached_property
    def corners(self) -> Floats:
        """Corners of each triangle, shape=[n_triangles, 3, 2]."""
        return self.vertices[self.triangles]

    @cached_property
    def edges(self) -> tuple[Ints, Ints]:
        """Edges, shape=[n_edges, 2], and the three of each triangle."""
        sides = np.stack([self.triangles, np.roll(self.triangles, -1, axis=1)], axis=-1)
        sides = np.sort(sides.reshape(-1, 2), axis=1)
        keys, place = np.unique(sides[:, 0] * len(self.vertices) + sides[:, 1], return_inverse=True)
        edges = np.stack(np.divmod(keys, len(self.vertices)), axis=1)
        return edges, place.reshape(-1, 3)

    @cached_property
    def nodes(self) -> Ints:
        """Numbers of the six nodes of each triangle, shape=[n_triangles, 6]."""
        return np.concatenate([self.triangles, len(self.vertices) + self.edges[1]], axis=1)

    @property
    def n_nodes(self) -> int:
        """Vertices and edges."""
        return len(self.vertices) + len(self.edges[0])

    @cached_property
    def on_boundary(self) -> Bools:
        """Whether each node lies on the rectangle's boundary, shape=[n_nodes]."""
        edges, sides = self.edges
        outer = np.flatnonzero(np.bincount(sides.ravel(), minlength=len(edges)) == 1)
        outside = np.zeros(self.n_nodes, dtype=bool)
        outside[len(self.vertices) + outer] = True
        outside[edges[outer]] = True
        return outside

    @cached_property
    def inverses(self) -> Floats:
        """Gradients of barycentric coordinates 1 and 2 in each triangle, in rows."""
        sides = self.corners[:, 1:] - self.corners[:, :1]
        return np.asarray(np.linalg.inv(sides).transpose(0, 2, 1), dtype=float)

    def moved(self, vertex: int, point: Floats) -> Mesh:
        """Move a vertex to a point that is near; no triangle may turn over."""
        vertices = self.vertices.copy()
        vertices[vertex] = point
        return Mesh(vertices, self.triangles)

    def refined(self, marked: Bools) -> tuple[Mesh, Ints]:
        """Cut triangles into four, and others in parts so that no vertex lies on an edge.

        Newest vertex bisection of Funken, Praetorius and Wissgott ("Efficient implementation of
        adaptive P1-FEM in Matlab", Comput. Methods Appl. Math. 11, 2011).

        Parameters
        ----------
        marked : array of bool, shape=[n_triangles]
            The triangles.

        Returns
        -------
        mesh : Mesh
            The finer mesh.
        parent : array of int, shape=[n_finer]
            The triangle that each finer one is a part of.
        """
        edges, sides = self.edges
        cut = np.zeros(len(edges), dtype=bool)
        cut[sides[marked]] = True
        while True:
            needs = cut[sides].any(axis=1) & ~cut[sides[:, 0]]
            if not needs.any():
                break
            cut[sides[needs, 0]] = True
        number = np.full(len(edges), -1)
        number[cut] = len(self.vertices) + np.arange(cut.sum())
        vertices = np.concatenate([self.vertices, self.vertices[edges[cut]].mean(axis=1)])
        (a, b, c), (p, q, r) = self.triangles.T, number[sides].T
        whole, second, third = p < 0, q >= 0, r >= 0
        halves = ~whole
        parts = [
            (whole, (a, b, c)),
            (halves & ~third, (c, a, p)),
            (halves & third, (p, c, r)),
            (halves & third, (a, p, r)),
            (halves & ~second, (b, c, p)),
            (halves & second, (p, b, q)),
            (halves & second, (c, p, q)),
        ]
        triangles = np.concatenate([np.stack(part, axis=1)[rows] for rows, part in parts])
        parent = np.concatenate([np.flatnonzero(rows) for rows, _ in parts])
        return Mesh(vertices, triangles), parent
