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
from numba.extending import register_jitable
from scipy.interpolate import BSpline

from geomstats_vae.geodesics.arrays import Floats, Ints

# Options of compiled functions that make no arrays: they count no references to those they are
# given, which would take longer than the work itself.
CALLED: dict[str, Any] = {
    "cache": True,
    "nogil": True,
    "error_model": "numpy",
    "fastmath": {"reassoc", "contract", "nsz"},
    "_nrt": False,
}
# Those of functions that are compiled into their callers: a call would hand over all arrays of the
# tree, one by one.
INNER: dict[str, Any] = CALLED | {
    "forceinline": True,
    "no_cpython_wrapper": True,
    "no_cfunc_wrapper": True,
}
# Mesh points beyond each side of a leaf, where coefficients are less exact.
PADDING = 2
# Coefficients beyond the mesh points on each side, and conditions there.
BEYOND = 2
_SUPPORT = 6


class SplineTree(NamedTuple):
    """Splines on the leaves of a tree over a box of two or three dimensions.

    Parameters
    ----------
    low : tuple of float
        Lower corner of the box. Compiled functions know the length of a tuple, and so the
        dimension, when they are compiled.
    per_block : tuple of float
        Reciprocal widths of the blocks.
    n_blocks : tuple of int
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
    side : int
        Coefficients of a mesh along each axis.
    error : array, shape=[n_meshes]
        How far the functions are off on each mesh.
    coefficients : array, shape=[n_coefficients]
        Coefficients, mesh after mesh; of a mesh those of all functions at a place together, and
        places in C order.
    """

    low: tuple[float, ...]
    per_block: tuple[float, ...]
    n_blocks: tuple[int, ...]
    child: Ints
    leaf: Ints
    origin: Floats
    per_cell: Floats
    offset: Ints
    side: int
    error: Floats
    coefficients: Floats


@lru_cache(maxsize=16)
def interpolation(n_points: int) -> Floats:
    """Matrix from values at equally spaced points to coefficients, [n_points + 4, n_points].

    The two outermost polynomials at each end are one: the sixth differences of the coefficients
    vanish there, which keeps the order of the splines up to the ends.
    """
    n_coefficients = n_points + 2 * BEYOND
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
    values : array, shape=[n_meshes, n_points_1, ..., n_points_dim, ...]
        Values; axes after those of the mesh are independent.
    dim : int
        Number of axes of the mesh.

    Returns
    -------
    coefficients : array, shape=[n_meshes, n_points_1 + 4, ..., n_points_dim + 4, ...]
        Coefficients.
    """
    for axis in range(1, dim + 1):
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


def _derivatives(basis: Floats) -> Floats:
    """Differentiate polynomials, from the highest power on."""
    powers = np.arange(5.0, 0.0, -1.0)[:, None]
    return np.concatenate((np.zeros((1, basis.shape[1])), powers * basis[:5]))


# The same of the splines, of their first and of their second derivatives; [power, 18].
_JET_BASIS = np.concatenate(
    (_BASIS, _derivatives(_BASIS), _derivatives(_derivatives(_BASIS))), axis=1
)


class JetScratch(NamedTuple):
    """Scratch of `spline_jet`.

    Parameters
    ----------
    weights : array, shape=[dim, 18]
        Splines along each axis, their first and their second derivatives by cells.
    rows, planes : array, shape=[6, 3, n_lanes], [6, n_lanes]
        Sums over the first axis, and over the first two.
    """

    weights: Floats
    rows: Floats
    planes: Floats


@register_jitable
def jet_scratch(dim: int) -> JetScratch:
    """Make the scratch for a number of dimensions, in compiled functions, too."""
    n_lanes = _SUPPORT * (dim * (dim + 1) // 2)
    return JetScratch(np.zeros((dim, 18)), np.zeros((6, 3, n_lanes)), np.zeros((6, n_lanes)))


@njit(**INNER)
def _values(f: float, w: Floats) -> None:
    """Quintic B-splines at a place in a cell; w shape=[6]."""
    for j in range(_SUPPORT):
        w[j] = _BASIS[0, j] * f + _BASIS[1, j]
        for power in range(2, 6):
            w[j] = w[j] * f + _BASIS[power, j]


@njit(**INNER)
def spline_jet(tree: SplineTree, x: Floats, scratch: JetScratch, jet: Floats) -> bool:
    """Values, first and second derivatives of all functions at a point.

    The innermost loops are long and of a length that is known when they are compiled, so that
    several of their turns are done at once.

    Parameters
    ----------
    tree : SplineTree
        The splines.
    x : array, shape=[dim]
        Point.
    scratch : JetScratch
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
    dim, side, first = len(tree.low), tree.side, 0
    for k in range(dim):
        u = (x[k] - tree.origin[mesh, k]) * tree.per_cell[mesh, k]
        cell = min(max(int(u), 0), side - _SUPPORT)
        f = u - cell
        for m in range(18):
            value = _JET_BASIS[0, m]
            for power in range(1, 6):
                value = value * f + _JET_BASIS[power, m]
            scratch.weights[k, m] = value
        first = first * side + cell
    n = dim * (dim + 1) // 2
    base, row = tree.offset[mesh] + first * n, n * side
    if dim == 2:
        _plane_jet(tree.coefficients[base:], row, scratch, jet)
    else:
        _solid_jet(tree.coefficients[base:], row, row * side, scratch, jet)
    pair = 1 + dim
    for k in range(dim):
        for c in range(n):
            jet[1 + k, c] *= tree.per_cell[mesh, k]
        for o in range(k, dim):
            for c in range(n):
                jet[pair, c] *= tree.per_cell[mesh, k] * tree.per_cell[mesh, o]
            pair += 1
    return True


@njit(**INNER)
def _plane_jet(a: Floats, row: int, scratch: JetScratch, jet: Floats) -> None:
    """Jets of the functions of two variables, by cells; `a` begins with the first coefficient."""
    step = np.uint64(row)
    _sums_along_first(a, step, scratch.weights[0], 18, scratch.rows[0])
    w = scratch.weights[1]
    r0, r1, r2 = scratch.rows[0, 0], scratch.rows[0, 1], scratch.rows[0, 2]
    for c in range(3):
        j0 = j1 = j2 = j3 = j4 = j5 = 0.0
        for k in range(_SUPPORT):
            s0, s1, s2 = r0[3 * k + c], r1[3 * k + c], r2[3 * k + c]
            j0 += w[k] * s0
            j1 += w[k] * s1
            j2 += w[6 + k] * s0
            j3 += w[k] * s2
            j4 += w[6 + k] * s1
            j5 += w[12 + k] * s0
        jet[0, c], jet[1, c], jet[2, c], jet[3, c], jet[4, c], jet[5, c] = j0, j1, j2, j3, j4, j5


@njit(**INNER)
def _sums_along_first(a: Floats, step: int, w: Floats, n_lanes: int, sums: Floats) -> None:
    """Sum along the first axis, weighted by splines and their derivatives, side by side.

    Indices are unsigned: what may be negative is looked at twice, and not several at once.
    """
    s0, s1, s2 = sums[0], sums[1], sums[2]
    for m in range(np.uint64(n_lanes)):
        t0 = t1 = t2 = 0.0
        for i in range(np.uint64(_SUPPORT)):
            value = a[i * step + m]
            t0 += w[i] * value
            t1 += w[6 + i] * value
            t2 += w[12 + i] * value
        s0[m], s1[m], s2[m] = t0, t1, t2


@njit(**INNER)
def _sum_along_first(a: Floats, step: int, w: Floats, n_lanes: int, sums: Floats) -> None:
    """Sum along the first axis, weighted by splines; see `_sums_along_first`."""
    for m in range(np.uint64(n_lanes)):
        total = 0.0
        for i in range(np.uint64(_SUPPORT)):
            total += w[i] * a[i * step + m]
        sums[m] = total


@njit(**INNER)
def _solid_jet(a: Floats, row: int, plane: int, scratch: JetScratch, jet: Floats) -> None:
    """Jets of the functions of three variables, by cells; see `_plane_jet`."""
    planes, step = scratch.planes, np.uint64(plane)
    for j in range(_SUPPORT):
        _sums_along_first(a[j * row :], step, scratch.weights[0], 36, scratch.rows[j])
    w = scratch.weights[1]
    rows = scratch.rows
    p0, p1, p2, p3, p4, p5 = planes[0], planes[1], planes[2], planes[3], planes[4], planes[5]
    for m in range(6 * _SUPPORT):
        b00 = b10 = b20 = b01 = b11 = b02 = 0.0
        for j in range(_SUPPORT):
            s0, s1, s2 = rows[j, 0, m], rows[j, 1, m], rows[j, 2, m]
            b00 += w[j] * s0
            b10 += w[j] * s1
            b20 += w[j] * s2
            b01 += w[6 + j] * s0
            b11 += w[6 + j] * s1
            b02 += w[12 + j] * s0
        p0[m], p1[m], p2[m], p3[m], p4[m], p5[m] = b00, b10, b20, b01, b11, b02
    w = scratch.weights[2]
    for c in range(6):
        j0 = j1 = j2 = j3 = j4 = j5 = j6 = j7 = j8 = j9 = 0.0
        for k in range(_SUPPORT):
            w0, w1, w2, m = w[k], w[6 + k], w[12 + k], 6 * k + c
            j0 += w0 * p0[m]
            j1 += w0 * p1[m]
            j2 += w0 * p3[m]
            j3 += w1 * p0[m]
            j4 += w0 * p2[m]
            j5 += w0 * p4[m]
            j6 += w1 * p1[m]
            j7 += w0 * p5[m]
            j8 += w1 * p3[m]
            j9 += w2 * p0[m]
        jet[0, c], jet[1, c], jet[2, c], jet[3, c], jet[4, c] = j0, j1, j2, j3, j4
        jet[5, c], jet[6, c], jet[7, c], jet[8, c], jet[9, c] = j5, j6, j7, j8, j9


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
    scratch = jet_scratch(len(tree.low))
    for n in range(len(points)):
        if not spline_jet(tree, points[n], scratch, jets[n]):
            for k in range(jets.shape[1]):
                for c in range(jets.shape[2]):
                    jets[n, k, c] = np.nan


@njit(**INNER)
def speed_on_mesh(
    tree: SplineTree, mesh: int, x: Floats, velocity: Floats, scratch: JetScratch
) -> float:
    """Norm of a vector at a point of a mesh; see `find_mesh` and `spline_speeds`."""
    dim, side, place = len(tree.low), tree.side, 0
    for k in range(dim):
        u = (x[k] - tree.origin[mesh, k]) * tree.per_cell[mesh, k]
        cell = min(max(int(u), 0), side - _SUPPORT)
        _values(u - cell, scratch.weights[k])
        place = place * side + cell
    n_functions = dim * (dim + 1) // 2
    a, row = tree.coefficients[tree.offset[mesh] + place * n_functions :], n_functions * side
    w, sums = scratch.weights, scratch.planes[0]
    if dim == 2:
        _sum_along_first(a, np.uint64(row), w[0], 18, sums)
    else:
        for j in range(_SUPPORT):
            _sum_along_first(a[j * row :], np.uint64(row * side), w[0], 36, scratch.rows[j, 0])
        for m in range(36):
            total = 0.0
            for j in range(_SUPPORT):
                total += w[1, j] * scratch.rows[j, 0, m]
            sums[m] = total
    square, c = 0.0, 0
    for i in range(dim):
        for j in range(i, dim):
            value = 0.0
            for k in range(_SUPPORT):
                value += w[dim - 1, k] * sums[n_functions * k + c]
            square += (1.0 if i == j else 2.0) * value * velocity[i] * velocity[j]
            c += 1
    return np.sqrt(max(square, 0.0))


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
    scratch = jet_scratch(len(tree.low))
    for n in range(len(points)):
        mesh = find_mesh(tree, points[n])
        if mesh < 0:
            speed[n] = error[n] = np.nan
            continue
        speed[n] = speed_on_mesh(tree, mesh, points[n], velocities[n], scratch)
        error[n] = tree.error[mesh]
