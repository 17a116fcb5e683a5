"""The largest difference of a function whose gradients are bounded: a cone programme."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import splu

from geomstats_vae.geodesics.arrays import Floats, Ints
from geomstats_vae.geodesics.bounds.cone_steps import aim, change, pull, pull_back, push, scale
from geomstats_vae.geodesics.bounds.options import ConeOptions


@dataclass(frozen=True, eq=False)
class ConeProgram:
    """Maximise c'u over functions u with g'Ag <= 1 at some places of each triangle.

    Here g is the gradient of u at a place, A a matrix that is given there, and u vanishes at some
    nodes.

    Parameters
    ----------
    nodes : array of int, shape=[n_triangles, 6]
        Nodes of each triangle; -1 where u vanishes.
    gradients : array, shape=[n_places, 2, 6]
        Gradients of the basis functions by barycentric coordinates.
    root : array, shape=[n_triangles, n_places, 3]
        Upper triangles R of A = R'R in these coordinates: entries 00, 01 and 11.
    objective : array, shape=[n_unknowns]
        The vector c.
    options : ConeOptions
        How it is solved.
    """

    nodes: Ints
    gradients: Floats
    root: Floats
    objective: Floats
    options: ConeOptions = field(default_factory=ConeOptions)

    def solve(self, rtol: float, stop: Callable[[], bool] = lambda: False) -> tuple[Floats, Floats]:
        """Find the function, from u = 0.

        Parameters
        ----------
        rtol : float
            Relative gap between the programme and its dual at which to stop.
        stop : callable
            Says whether to stop at once.

        Returns
        -------
        u : array, shape=[n_unknowns]
            A function within the bounds.
        mass : array, shape=[n_triangles]
            Norms of the dual's flow: where curves run that the bounds do not tell from shortest.
        """
        options, c = self.options, self.objective
        root = np.ascontiguousarray(self.root.reshape(-1, 3))
        n_cones = len(root)
        s, z = np.zeros((2, n_cones, 3))
        s[:, 0], z[:, 0] = 1.0, 1.0 / n_cones
        step = _Step(_Matrix(self.nodes, self.gradients, len(c)), root)
        u = np.zeros(len(c))
        for _ in range(options.max_iter):
            residual = -c - step.pulled(z)
            gap = float((s * z).sum())
            # The rise of u is about one, and at least its own gap away from the optimum.
            done = max(gap, float(np.abs(residual).sum())) <= rtol * float(c @ u)
            if done or stop():
                break
            try:
                scaled = step.scale(s, z)
            except RuntimeError:  # singular in floating point
                break
            _, *most = step.towards(-scaled, residual, s, z)
            a, b = (min(1.0, part) for part in most)
            after = float(((s + a * step.ds) * (z + b * step.dz)).sum())
            center = min(1.0, max(after / gap, 0.0) ** 3)
            right = step.corrected(center * gap / n_cones)
            du, *most = step.towards(right, (1.0 - center) * residual, s, z)
            a, b = (min(1.0, options.stride * part) for part in most)
            if not (max(a, b) > options.smallest and np.isfinite(du).all()):
                break
            u += a * du
            s += a * step.ds
            z += b * step.dz
        mass = -(s[:, 1:] * z[:, 1:]).reshape(len(self.nodes), -1).sum(axis=1)
        return u, mass


class _Step:
    """One step of the interior point method, in arrays that are used again."""

    def __init__(self, matrix: _Matrix, root: Floats) -> None:
        self._matrix, self._root = matrix, root
        n_cones = len(root)
        self._w, self._weights = np.empty((n_cones, 4)), np.empty((n_cones, 2, 2))
        self._scaled, self._right, self.ds, self.dz = np.empty((4, n_cones, 3))
        self._vectors = np.empty((n_cones, 2))

    def pulled(self, z: Floats) -> Floats:
        """Sum of B'R' times the last coordinates of z."""
        pull_back(self._root, z, self._vectors)
        return self._matrix.sums(self._vectors)

    def scale(self, s: Floats, z: Floats) -> Floats:
        """Scale the cones, and factor the matrix."""
        scale(s, z, self._root, self._w, self._scaled, self._weights)
        self._solver = self._matrix.factor(self._weights)
        return self._scaled

    def towards(
        self, right: Floats, residual: Floats, s: Floats, z: Floats
    ) -> tuple[Floats, float, float]:
        """Solve for the step, and say how far it may lead."""
        pull(self._w, self._root, right, self._vectors)
        du = self._solver.solve(self._matrix.sums(self._vectors) - residual)
        push(self._root, self._matrix.slopes(du), self.ds)
        return du, *change(self._w, right, s, self.ds, z, self.dz)

    def corrected(self, target: float) -> Floats:
        """Right sides of the second step."""
        aim(self._w, self._scaled, self.ds, self.dz, target, self._right)
        return self._right


class _Matrix:
    """Gradients B of functions on a mesh by their values, and sums of B'WB over all places."""

    def __init__(self, nodes: Ints, gradients: Floats, n_unknowns: int) -> None:
        n, k = n_unknowns, nodes.shape[1]
        self._nodes, self._gradients, self._n = nodes, gradients.reshape(-1, k), n
        rows, columns = np.repeat(nodes, k, axis=1).ravel(), np.tile(nodes, (1, k)).ravel()
        self._kept = (rows >= 0) & (columns >= 0)
        keys, self._place = np.unique((columns * n + rows)[self._kept], return_inverse=True)
        columns, rows = np.divmod(keys, n)
        self._indices = rows.astype(np.int32)
        self._indptr = np.searchsorted(columns, np.arange(n + 1)).astype(np.int32)
        products = np.einsum("pik,pjl->pijkl", gradients, gradients)
        self._products = products.reshape(-1, k * k)

    def slopes(self, u: Floats) -> Floats:
        """Gradients of u at all places, shape=[n_cones, 2]."""
        values = np.append(u, 0.0)[self._nodes]
        return np.asarray((values @ self._gradients.T).reshape(-1, 2))

    def sums(self, vectors: Floats) -> Floats:
        """Transpose of `slopes`."""
        local = vectors.reshape(len(self._nodes), -1) @ self._gradients
        place = np.where(self._nodes < 0, self._n, self._nodes)
        total = np.bincount(place.ravel(), local.ravel(), self._n + 1)[:-1]
        return np.asarray(total, dtype=float)

    def factor(self, weights: Floats) -> Any:
        """Factor the sum; weights shape=[n_cones, 2, 2]."""
        local = weights.reshape(-1, len(self._products)) @ self._products
        data = np.bincount(self._place, local.ravel()[self._kept], len(self._indices))
        matrix = sparse.csc_matrix((data, self._indices, self._indptr), shape=(self._n,) * 2)
        options = {"SymmetricMode": True}
        return splu(matrix, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options=options)
