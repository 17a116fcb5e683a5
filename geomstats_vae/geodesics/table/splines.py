"""Quintic splines on leaves of a tree, with their derivatives, compiled.

A box is cut into equal blocks, and blocks into halves along each axis where a function needs a
finer mesh. Every leaf holds the coefficients of tensor products of quintic B-splines on an equally
spaced mesh of its own ([1]_, chapter 9). On each leaf the functions are four times differentiable;
from leaf to leaf they jump by as much as the splines are off.

References
----------
.. [1] de Boor. "A Practical Guide to Splines." Springer 2001.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from scipy.interpolate import BSpline

from geomstats_vae.geodesics.arrays import Floats, Ints

# Options of functions that are compiled into their callers: a call would hand over all arrays of
# the tree, one by one.
INNER: dict[str, Any] = {
    "cache": True,
    "nogil": True,
    "forceinline": True,
    "no_cpython_wrapper": True,
    "no_cfunc_wrapper": True,
    "fastmath": {"reassoc", "contract", "nsz"},
}
# Mesh points beyond each side of a leaf, where coefficients are less exact.
PADDING = 2
# Coefficients beyond the mesh points on each side, and conditions there.
_BEYOND = 2
_SUPPORT = 6


class SplineTree(NamedTuple):
    """Splines on the leaves of a tree over a box of two or three dimensions.

    Parameters
    ----------
    low : array, shape=[dim]
        Lower corner of the box.
    per_block : array, shape=[dim]
        Reciprocal widths of the blocks.
    n_blocks : array of int, shape=[dim]
        Number of blocks along each axis.
    child : array of int, shape=[n_nodes, 2**dim]
        Children of each node of the tree, the first `prod(n_blocks)` of which are the blocks in
        C order; -1 in leaves. Bit k of a child's place says on which side of axis k it lies.
    leaf : array of int, shape=[n_nodes]
        Mesh of each leaf; -1 where the functions are not known, and in inner nodes.
    origin, per_cell : array, shape=[n_meshes, dim]
        First mesh points, and reciprocal spacings.
    offset : array of int, shape=[n_meshes]
        First of a mesh's coefficients.
    shape : array of int, shape=[n_meshes, dim]
        Coefficients along each axis.
    error : array, shape=[n_meshes]
        How far the functions are off on each mesh.
    coefficients : array, shape=[n_coefficients]
        Coefficients, mesh after mesh; of a mesh those of all functions at a place together, and
        places in C order.
    n_functions : int
        Number of functions.
    """

    low: Floats
    per_block: Floats
    n_blocks: Ints
    child: Ints
    leaf: Ints
    origin: Floats
    per_cell: Floats
    offset: Ints
    shape: Ints
    error: Floats
    coefficients: Floats
    n_functions: int


@lru_cache(maxsize=16)
def interpolation(n_points: int) -> Floats:
    """Matrix from values at equally spaced points to coefficients, [n_points + 4, n_points].

    The two outermost polynomials at each end are one: the sixth differences of the coefficients
    vanish there, which keeps the order of the splines up to the ends.
    """
    n_coefficients = n_points + 2 * _BEYOND
    matrix = np.zeros((n_coefficients, n_coefficients))
    spline = BSpline(np.arange(n_coefficients + 6) - 5.0, np.eye(n_coefficients), 5)
    matrix[:n_points] = spline(np.arange(n_points, dtype=float))
    sixth = np.array([1.0, -6.0, 15.0, -20.0, 15.0, -6.0, 1.0])
    for k, first in enumerate((0, 1, n_coefficients - 8, n_coefficients - 7)):
        matrix[n_points + k, first : first + 7] = sixth
    right = np.eye(n_coefficients, n_points)
    return np.asarray(np.linalg.solve(matrix, right), dtype=np.float64)


def spline_coefficients(values: Floats, dim: int) -> Floats:
    """Interpolate values on meshes.

    Parameters
    ----------
    values : array, shape=[n_points_1, ..., n_points_dim, ...]
        Values; axes after the first `dim` are independent.
    dim : int
        Number of axes of the mesh.

    Returns
    -------
    coefficients : array, shape=[n_points_1 + 4, ..., n_points_dim + 4, ...]
        Coefficients.
    """
    for axis in range(dim):
        matrix = interpolation(values.shape[axis])
        product = np.asarray(np.tensordot(matrix, values, axes=(1, axis)), dtype=np.float64)
        values = np.moveaxis(product, 0, axis)
    return np.ascontiguousarray(values)


@njit(**INNER)
def find_mesh(tree: SplineTree, x: Floats) -> int:
    """Find the mesh of the leaf that holds a point; -1 where there is none."""
    dim, node = len(tree.low), 0
    for k in range(dim):
        u = (x[k] - tree.low[k]) * tree.per_block[k]
        # Written so that what is no number is outside.
        if not (u >= 0.0 and u <= tree.n_blocks[k]):
            return -1
        node = node * tree.n_blocks[k] + min(int(u), tree.n_blocks[k] - 1)
    scale = 1
    while tree.child[node, 0] >= 0:
        scale, place = 2 * scale, 0
        for k in range(dim):
            # The side is the parity of the cell among those of this size.
            cell = int((x[k] - tree.low[k]) * tree.per_block[k] * scale)
            place += (min(cell, tree.n_blocks[k] * scale - 1) & 1) << k
        node = tree.child[node, place]
    return tree.leaf[node]


# Polynomials of the quintic B-splines on one cell, from the highest power on; [power, spline].
_BASIS = np.stack(
    [
        BSpline(np.arange(-5.0, 7.0), np.eye(6), 5)(0.0, k) / math.factorial(k)
        for k in range(5, -1, -1)
    ]
)


# Their first and second derivatives.
_FIRST = _BASIS[:5] * np.arange(5.0, 0.0, -1.0)[:, None]
_SECOND = _FIRST[:4] * np.arange(4.0, 0.0, -1.0)[:, None]


@njit(**INNER)
def _values(f: float, w: Floats) -> None:
    """Quintic B-splines at a place in a cell; w shape=[6]."""
    for j in range(_SUPPORT):
        w[j] = _BASIS[0, j] * f + _BASIS[1, j]
        for power in range(2, 6):
            w[j] = w[j] * f + _BASIS[power, j]


@njit(**INNER)
def _weights(f: float, per_cell: float, w: Floats) -> None:
    """Quintic B-splines at a place in a cell, and their derivatives; w shape=[3, 6]."""
    square = per_cell * per_cell
    for j in range(_SUPPORT):
        value, first = _BASIS[0, j] * f + _BASIS[1, j], _FIRST[0, j] * f + _FIRST[1, j]
        second = _SECOND[0, j] * f + _SECOND[1, j]
        value, first = value * f + _BASIS[2, j], first * f + _FIRST[2, j]
        second = second * f + _SECOND[2, j]
        value, first = value * f + _BASIS[3, j], first * f + _FIRST[3, j]
        w[2, j] = (second * f + _SECOND[3, j]) * square
        w[1, j] = (first * f + _FIRST[4, j]) * per_cell
        w[0, j] = (value * f + _BASIS[4, j]) * f + _BASIS[5, j]


@njit(**INNER)
def spline_jet(tree: SplineTree, x: Floats, w: Floats, jet: Floats) -> bool:
    """Values, first and second derivatives of all functions at a point.

    Parameters
    ----------
    tree : SplineTree
        The splines.
    x : array, shape=[dim]
        Point.
    w : array, shape=[3, 3, 6]
        Scratch.
    jet : array, shape=[1 + dim + dim (dim + 1) / 2, n_functions]
        Written: values, derivatives by each coordinate, and by pairs of them in the order of
        `numpy.triu_indices`.

    Returns
    -------
    known : bool
        Whether the functions are known there.
    """
    mesh = find_mesh(tree, x)
    if mesh < 0:
        return False
    dim, shape = len(tree.low), tree.shape[mesh]
    first = 0
    for k in range(dim):
        u = (x[k] - tree.origin[mesh, k]) * tree.per_cell[mesh, k]
        cell = min(max(int(np.floor(u)), 0), shape[k] - _SUPPORT)
        _weights(u - cell, tree.per_cell[mesh, k], w[k])
        first = first * shape[k] + cell
    n = tree.n_functions
    base = tree.offset[mesh] + first * n
    for c in range(n):
        if dim == 2:
            _plane_jet(tree.coefficients, base + c, n, n * shape[1], w, jet, c)
        else:
            row = n * shape[2]
            _solid_jet(tree.coefficients, base + c, n, row, row * shape[1], w, jet, c)
    return True


@njit(**INNER)
def _plane_value(a: Floats, place: int, stride: int, row: int, w: Floats) -> float:
    """Value of a function of two variables; place is that of its first coefficient."""
    value = 0.0
    for i in range(_SUPPORT):
        along = 0.0
        for k in range(_SUPPORT):
            along += w[1, k] * a[place + k * stride]
        value += w[0, i] * along
        place += row
    return value


@njit(**INNER)
def _plane_jet(
    a: Floats, place: int, stride: int, row: int, w: Floats, jet: Floats, c: int
) -> None:
    """Jet of a function of two variables; place is that of its first coefficient."""
    j0 = j1 = j2 = j3 = j4 = j5 = 0.0
    for i in range(_SUPPORT):
        s0 = s1 = s2 = 0.0
        for k in range(_SUPPORT):
            value = a[place + k * stride]
            s0 += w[1, 0, k] * value
            s1 += w[1, 1, k] * value
            s2 += w[1, 2, k] * value
        j0 += w[0, 0, i] * s0
        j1 += w[0, 1, i] * s0
        j2 += w[0, 0, i] * s1
        j3 += w[0, 2, i] * s0
        j4 += w[0, 1, i] * s1
        j5 += w[0, 0, i] * s2
        place += row
    jet[0, c], jet[1, c], jet[2, c], jet[3, c], jet[4, c], jet[5, c] = j0, j1, j2, j3, j4, j5


@njit(**INNER)
def _solid_jet(
    a: Floats, place: int, stride: int, row: int, plane: int, w: Floats, jet: Floats, c: int
) -> None:
    """Jet of a function of three variables; place is that of its first coefficient."""
    for n in range(10):
        jet[n, c] = 0.0
    for i in range(_SUPPORT):
        b00 = b10 = b20 = b01 = b11 = b02 = 0.0
        for j in range(_SUPPORT):
            s0 = s1 = s2 = 0.0
            for k in range(_SUPPORT):
                value = a[place + j * row + k * stride]
                s0 += w[2, 0, k] * value
                s1 += w[2, 1, k] * value
                s2 += w[2, 2, k] * value
            b00 += w[1, 0, j] * s0
            b10 += w[1, 1, j] * s0
            b20 += w[1, 2, j] * s0
            b01 += w[1, 0, j] * s1
            b11 += w[1, 1, j] * s1
            b02 += w[1, 0, j] * s2
        w0, w1, w2 = w[0, 0, i], w[0, 1, i], w[0, 2, i]
        jet[0, c] += w0 * b00
        jet[1, c] += w1 * b00
        jet[2, c] += w0 * b10
        jet[3, c] += w0 * b01
        jet[4, c] += w2 * b00
        jet[5, c] += w1 * b10
        jet[6, c] += w1 * b01
        jet[7, c] += w0 * b20
        jet[8, c] += w0 * b11
        jet[9, c] += w0 * b02
        place += plane


@njit(cache=True, nogil=True)
def spline_jets(tree: SplineTree, points: Floats, jets: Floats) -> None:
    """Values and derivatives at many points; NaN where they are not known.

    Parameters
    ----------
    tree : SplineTree
        The splines.
    points : array, shape=[n_points, dim]
        Points.
    jets : array, shape=[n_points, 1 + dim + dim (dim + 1) / 2, n_functions]
        Written; see `spline_jet`.
    """
    w = np.empty((3, 3, _SUPPORT))
    for n in range(len(points)):
        if not spline_jet(tree, points[n], w, jets[n]):
            for k in range(jets.shape[1]):
                for c in range(jets.shape[2]):
                    jets[n, k, c] = np.nan


@njit(cache=True, nogil=True)
def spline_speeds(
    tree: SplineTree, points: Floats, velocities: Floats, speed: Floats, error: Floats
) -> None:
    """Norms of vectors, of functions that are the components of a metric above its diagonal.

    Parameters
    ----------
    tree : SplineTree
        The splines.
    points, velocities : array, shape=[n_points, dim]
        Points and vectors there.
    speed, error : array, shape=[n_points]
        Written: norms, and the errors of the meshes; NaN where the functions are not known.
    """
    w = np.empty((3, _SUPPORT))
    dim = len(tree.low)
    for n in range(len(points)):
        mesh = find_mesh(tree, points[n])
        if mesh < 0:
            speed[n] = error[n] = np.nan
            continue
        place, shape = 0, tree.shape[mesh]
        for k in range(dim):
            u = (points[n, k] - tree.origin[mesh, k]) * tree.per_cell[mesh, k]
            cell = min(max(int(np.floor(u)), 0), shape[k] - _SUPPORT)
            _values(u - cell, w[k])
            place = place * shape[k] + cell
        place = tree.offset[mesh] + place * tree.n_functions
        row = tree.n_functions * shape[dim - 1]
        square, c = 0.0, 0
        for i in range(dim):
            for j in range(i, dim):
                value = 0.0
                if dim == 2:
                    value = _plane_value(tree.coefficients, place + c, tree.n_functions, row, w)
                else:
                    for k in range(_SUPPORT):
                        first = place + c + k * row * shape[1]
                        value += w[0, k] * _plane_value(
                            tree.coefficients, first, tree.n_functions, row, w[1:]
                        )
                square += (1.0 if i == j else 2.0) * value * velocities[n, i] * velocities[n, j]
                c += 1
        speed[n] = np.sqrt(max(square, 0.0))
        error[n] = tree.error[mesh]
