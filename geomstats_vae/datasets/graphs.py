"""Samples of graphs of rotationally symmetric functions over a disc of the plane.

Their geodesics have no closed form. Distances are found by the package's own solver, on the exact
parametrisation. The disc is geodesically convex, which means that shortest paths between its points
stay inside it: circles around the axis grow with their radius.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy.integrate import cumulative_trapezoid
from sklearn.utils import Bunch, check_random_state

from geomstats_vae.datasets.surfaces import Floats, add_noise, check_arguments, surface_bunch
from geomstats_vae.geodesics.solver import GeodesicSolver
from geomstats_vae.manifolds import LatentSpace

_RADIUS = 2.0
_BELL_HEIGHT, _BELL_WIDTH = 1.5, 0.6
# Nodes at which the distribution of the radius is tabulated: its error is below 1e-8.
_N_RADII = 10_001
# Tolerances of the solver. The errors that remain are about 100 times smaller than its bound.
_RTOL, _TOL = 1e-6, 1e-8
# Codes along each side of the square that the solver's graph covers.
_N_CODES = 33


_Array = TypeVar("_Array", Floats, torch.Tensor)


class _Height(Protocol):
    """Height by the squared distance from the axis, of arrays and of tensors."""

    def __call__(self, square: _Array, /) -> _Array: ...

    def __hash__(self) -> int: ...


def make_hyperboloid(
    n_samples: int = 100,
    *,
    noise: float = 0.0,
    random_state: int | np.random.RandomState | None = None,
) -> Bunch:
    """Sample the upper sheet of a hyperboloid, uniformly by area.

    The graph of sqrt(1 + x^2 + y^2) over the disc of radius 2, as a surface in Euclidean space: its
    curvature is positive. (The hyperbolic plane is the same sheet in Minkowski space.)

    Parameters
    ----------
    n_samples : int
        Number of points.
    noise : float
        Standard deviation of normal noise added to every coordinate of the data.
    random_state : int, numpy.random.RandomState or None
        Source of the points and of the noise.

    Returns
    -------
    hyperboloid : sklearn.utils.Bunch
        As of `make_sphere`; ``coordinates`` are x and y, ``target`` is the height. ``distances``
        solves for geodesics, to a relative error below 1e-6; each takes about 20 ms.
    """
    return _make_graph(_hyperboloid_height, _hyperboloid_slope, n_samples, noise, random_state)


def make_bell(
    n_samples: int = 100,
    *,
    noise: float = 0.0,
    random_state: int | np.random.RandomState | None = None,
) -> Bunch:
    """Sample a bell, the graph of a Gaussian function, uniformly by area.

    Its height is 1.5 exp(-(x^2 + y^2) / 0.72), over the disc of radius 2. Its curvature has both
    signs. Geodesics past the bell bend around it, on either side.

    Parameters
    ----------
    n_samples : int
        Number of points.
    noise : float
        Standard deviation of normal noise added to every coordinate of the data.
    random_state : int, numpy.random.RandomState or None
        Source of the points and of the noise.

    Returns
    -------
    bell : sklearn.utils.Bunch
        As of `make_hyperboloid`.
    """
    return _make_graph(_bell_height, _bell_slope, n_samples, noise, random_state)


def _make_graph(
    height: _Height,
    slope: Callable[[Floats], Floats],
    n_samples: int,
    noise: float,
    random_state: int | np.random.RandomState | None,
) -> Bunch:
    check_arguments(n_samples, noise)
    rng = check_random_state(random_state)
    # The area between two radii is the integral of 2 pi r sqrt(1 + f'(r)^2).
    radii = np.linspace(0.0, _RADIUS, _N_RADII)
    area = cumulative_trapezoid(radii * np.sqrt(1.0 + slope(radii) ** 2), radii, initial=0.0)
    radius = np.interp(rng.uniform(0.0, area[-1], size=n_samples), area, radii)
    angle = rng.uniform(-np.pi, np.pi, size=n_samples)
    coordinates = radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    embedding, distances = partial(_embedding, height), partial(_distances, height)
    points = embedding(coordinates)
    data = add_noise(points, noise, rng)
    return surface_bunch(data, coordinates, points[:, 2], embedding, distances)


def _hyperboloid_height(square: _Array) -> _Array:
    return (1.0 + square) ** 0.5


def _hyperboloid_slope(radius: Floats) -> Floats:
    return radius / np.sqrt(1.0 + radius**2)


def _bell_height(square: _Array) -> _Array:
    exponent = -square / (2.0 * _BELL_WIDTH**2)
    return _BELL_HEIGHT * (exponent.exp() if torch.is_tensor(exponent) else np.exp(exponent))


def _bell_slope(radius: Floats) -> Floats:
    return -radius / _BELL_WIDTH**2 * _bell_height(radius**2)


def _embedding(height: _Height, coordinates: ArrayLike) -> Floats:
    coordinates = np.asarray(coordinates, dtype=float)
    square = (coordinates**2).sum(axis=-1, keepdims=True)
    return np.concatenate([coordinates, height(square)], axis=-1)


def _chart(height: _Height, z: torch.Tensor) -> torch.Tensor:
    return torch.cat([z, height((z * z).sum(-1, keepdim=True))], dim=-1)


@lru_cache
def _space(height: _Height) -> LatentSpace:
    side = np.linspace(-_RADIUS, _RADIUS, _N_CODES)
    codes = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)
    solver = GeodesicSolver(tol=_TOL, rtol=_RTOL)
    return LatentSpace(partial(_chart, height), dim=2, points=codes, solver=solver)


def _distances(height: _Height, coordinates_a: ArrayLike, coordinates_b: ArrayLike) -> Floats:
    a, b = np.broadcast_arrays(np.asarray(coordinates_a, float), np.asarray(coordinates_b, float))
    return np.asarray(_space(height).metric.dist(a, b))
