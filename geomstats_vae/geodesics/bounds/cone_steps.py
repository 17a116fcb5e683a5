"""Steps of an interior point method in circular cones, compiled.

A member of the cone is (x0, x1, x2) with x0 >= hypot(x1, x2). Formulas are those of Vandenberghe
([1]_, section 5) for cones of this kind, scaled as Nesterov and Todd do.

References
----------
.. [1] Vandenberghe. "The CVXOPT linear and quadratic cone program solvers." 2010.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

from geomstats_vae.geodesics.arrays import Floats

_OPTIONS: dict[str, Any] = {"cache": True, "nogil": True, "error_model": "numpy"}


@njit(**_OPTIONS)
def scale(s: Floats, z: Floats, root: Floats, w: Floats, scaled: Floats, weights: Floats) -> None:
    """Scale the cones so that both members become the same.

    Parameters
    ----------
    s, z : array, shape=[n_cones, 3]
        Members of the cones, in the interior.
    root : array, shape=[n_cones, 3]
        Upper triangles R of A = R'R: entries 00, 01 and 11.
    w : array, shape=[n_cones, 4]
        Filled with the scalings W: a member of the cone of determinant one, and a factor.
    scaled : array, shape=[n_cones, 3]
        Filled with W z, which is W^-1 s.
    weights : array, shape=[n_cones, 2, 2]
        Filled with R' V R, V what W^-2 is on the last two coordinates.
    """
    for n in range(len(s)):
        ds = _det(s[n, 0], s[n, 1], s[n, 2])
        dz = _det(z[n, 0], z[n, 1], z[n, 2])
        a, b = 1.0 / math.sqrt(ds), 1.0 / math.sqrt(dz)
        dot = s[n, 0] * z[n, 0] + s[n, 1] * z[n, 1] + s[n, 2] * z[n, 2]
        half = 0.5 / math.sqrt(0.5 * (1.0 + a * b * dot))
        w0 = half * (a * s[n, 0] + b * z[n, 0])
        w1 = half * (a * s[n, 1] - b * z[n, 1])
        w2 = half * (a * s[n, 2] - b * z[n, 2])
        beta = (ds / dz) ** 0.25
        w[n, 0], w[n, 1], w[n, 2], w[n, 3] = w0, w1, w2, beta
        x0, x1, x2 = _times(w0, w1, w2, z[n, 0], z[n, 1], z[n, 2])
        scaled[n, 0], scaled[n, 1], scaled[n, 2] = beta * x0, beta * x1, beta * x2
        f = 1.0 / (beta * beta)
        v00, v01, v11 = f * (2.0 * w1 * w1 + 1.0), f * 2.0 * w1 * w2, f * (2.0 * w2 * w2 + 1.0)
        r00, r01, r11 = root[n, 0], root[n, 1], root[n, 2]
        weights[n, 0, 0] = r00 * r00 * v00
        weights[n, 0, 1] = r00 * (v00 * r01 + v01 * r11)
        weights[n, 1, 0] = weights[n, 0, 1]
        weights[n, 1, 1] = r01 * (v00 * r01 + 2.0 * v01 * r11) + r11 * r11 * v11


@njit(**_OPTIONS)
def pull(w: Floats, root: Floats, q: Floats, vectors: Floats) -> None:
    """Fill vectors, shape=[n_cones, 2], with R' times the last two coordinates of W^-1 q."""
    for n in range(len(w)):
        _, x1, x2 = _times(w[n, 0], -w[n, 1], -w[n, 2], q[n, 0], q[n, 1], q[n, 2])
        x1, x2 = x1 / w[n, 3], x2 / w[n, 3]
        vectors[n, 0] = root[n, 0] * x1
        vectors[n, 1] = root[n, 1] * x1 + root[n, 2] * x2


@njit(**_OPTIONS)
def pull_back(root: Floats, z: Floats, vectors: Floats) -> None:
    """Fill vectors, shape=[n_cones, 2], with R' times the last two coordinates of z."""
    for n in range(len(z)):
        vectors[n, 0] = root[n, 0] * z[n, 1]
        vectors[n, 1] = root[n, 1] * z[n, 1] + root[n, 2] * z[n, 2]


@njit(**_OPTIONS)
def push(root: Floats, slopes: Floats, ds: Floats) -> None:
    """Fill ds with (0, R slopes); slopes shape=[n_cones, 2]."""
    for n in range(len(ds)):
        ds[n, 0] = 0.0
        ds[n, 1] = root[n, 0] * slopes[n, 0] + root[n, 1] * slopes[n, 1]
        ds[n, 2] = root[n, 2] * slopes[n, 1]


@njit(**_OPTIONS)
def change(
    w: Floats, q: Floats, s: Floats, ds: Floats, z: Floats, dz: Floats
) -> tuple[float, float]:
    """Find how z changes with s, and how far both can go.

    Parameters
    ----------
    w : array, shape=[n_cones, 4]
        Scalings.
    q : array, shape=[n_cones, 3]
        Right sides: W dz + W^-1 ds.
    s, ds, z : array, shape=[n_cones, 3]
        Members of the cones and the change of one.
    dz : array, shape=[n_cones, 3]
        Filled with the change of the other.

    Returns
    -------
    most_s, most_z : float
        Largest steps that stay in the cones.
    """
    most_s, most_z = np.inf, np.inf
    for n in range(len(w)):
        w0, w1, w2, beta = w[n, 0], -w[n, 1], -w[n, 2], w[n, 3]
        x0, x1, x2 = _times(w0, w1, w2, ds[n, 0], ds[n, 1], ds[n, 2])
        x0, x1, x2 = q[n, 0] - x0 / beta, q[n, 1] - x1 / beta, q[n, 2] - x2 / beta
        x0, x1, x2 = _times(w0, w1, w2, x0, x1, x2)
        dz[n, 0], dz[n, 1], dz[n, 2] = x0 / beta, x1 / beta, x2 / beta
        most_s = min(most_s, _most(s[n], ds[n]))
        most_z = min(most_z, _most(z[n], dz[n]))
    return most_s, most_z


@njit(**_OPTIONS)
def aim(w: Floats, scaled: Floats, ds: Floats, dz: Floats, target: float, q: Floats) -> None:
    """Fill q with the right sides that lead to the central path, corrected to second order.

    Parameters
    ----------
    w : array, shape=[n_cones, 4]
        Scalings.
    scaled : array, shape=[n_cones, 3]
        What `scale` says.
    ds, dz : array, shape=[n_cones, 3]
        The step without a correction.
    target : float
        Where on the path.
    q : array, shape=[n_cones, 3]
        Filled.
    """
    for n in range(len(w)):
        w0, w1, w2, beta = w[n, 0], w[n, 1], w[n, 2], w[n, 3]
        a0, a1, a2 = _times(w0, -w1, -w2, ds[n, 0], ds[n, 1], ds[n, 2])
        b0, b1, b2 = _times(w0, w1, w2, dz[n, 0], dz[n, 1], dz[n, 2])
        a0, a1, a2, b0, b1, b2 = a0 / beta, a1 / beta, a2 / beta, beta * b0, beta * b1, beta * b2
        x0, x1, x2 = scaled[n, 0], scaled[n, 1], scaled[n, 2]
        d0 = target - (a0 * b0 + a1 * b1 + a2 * b2) - (x0 * x0 + x1 * x1 + x2 * x2)
        d1 = -(a0 * b1 + b0 * a1) - 2.0 * x0 * x1
        d2 = -(a0 * b2 + b0 * a2) - 2.0 * x0 * x2
        q0 = (x0 * d0 - x1 * d1 - x2 * d2) / _det(x0, x1, x2)
        q[n, 0], q[n, 1], q[n, 2] = q0, (d1 - q0 * x1) / x0, (d2 - q0 * x2) / x0


@njit(inline="always")
def _det(x0: float, x1: float, x2: float) -> float:
    r = math.hypot(x1, x2)
    return max((x0 - r) * (x0 + r), 1e-300)


@njit(inline="always")
def _times(
    w0: float, w1: float, w2: float, x0: float, x1: float, x2: float
) -> tuple[float, float, float]:
    """Scale by a member of determinant one."""
    dot = w1 * x1 + w2 * x2
    k = x0 + dot / (1.0 + w0)
    return w0 * x0 + dot, x1 + k * w1, x2 + k * w2


@njit(inline="always")
def _most(x: Floats, dx: Floats) -> float:
    """Largest step along dx that stays in the cone."""
    a = dx[0] * dx[0] - dx[1] * dx[1] - dx[2] * dx[2]
    b = x[0] * dx[0] - x[1] * dx[1] - x[2] * dx[2]
    c = _det(x[0], x[1], x[2])
    under = b * b - a * c
    most = np.inf
    if b < 0.0 and under >= 0.0:
        most = c / (math.sqrt(under) - b)
    elif b >= 0.0 and a < 0.0:
        most = (b + math.sqrt(under)) / -a
    if dx[0] < 0.0:
        most = min(most, -x[0] / dx[0])
    return most
