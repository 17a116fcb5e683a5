"""Samples of the plane with a gap: in two groups, or around a notch."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import pairwise

import numpy as np
import sklearn.datasets
from numpy.typing import ArrayLike
from sklearn.utils import Bunch, check_random_state

from geomstats_vae.datasets.surfaces import (
    Floats,
    add_noise,
    check_arguments,
    surface_bunch,
    with_and_without_noise,
)

_CENTERS = np.array([[-2.0, 0.0], [2.0, 0.0]])
_STD = 0.6
# The strip's half length and half width; half the length of its gap, and the gap's lower edge.
_LENGTH, _WIDTH = 2.0, 1.0
_GAP, _EDGE = 1.0, -0.6
_ROUNDING = 1e-12


def make_moons(
    n_samples: int = 100,
    *,
    noise: float = 0.0,
    random_state: int | np.random.RandomState | None = None,
) -> Bunch:
    """Sample two interleaving half circles.

    The data are those of `sklearn.datasets.make_moons` for the same arguments.

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
    moons : sklearn.utils.Bunch
        With ``data``, shape=[n_samples, 2]; ``coordinates``, shape=[n_samples, 2], the data before
        noise; ``target``, shape=[n_samples], 0 or 1, the number of the moon; ``embedding``, the
        identity; and ``distances``, None: the moons are not a surface.
    """
    generate = partial(sklearn.datasets.make_moons, n_samples)
    data, points, target = with_and_without_noise(generate, noise, random_state)
    return surface_bunch(data, points, target, _identity, None)


def make_two_gaussians(
    n_samples: int = 100,
    *,
    noise: float = 0.0,
    random_state: int | np.random.RandomState | None = None,
) -> Bunch:
    """Sample two normal distributions in the plane that hardly overlap.

    Their means are (-2, 0) and (2, 0), the standard deviation of both is 0.6 in every direction.

    Parameters
    ----------
    n_samples : int
        Number of points; an odd one goes to the second distribution.
    noise : float
        Standard deviation of normal noise added to every coordinate of the data.
    random_state : int, numpy.random.RandomState or None
        Source of the points and of the noise.

    Returns
    -------
    gaussians : sklearn.utils.Bunch
        As of `make_moons`; ``target`` is 0 or 1, the number of the distribution.
    """
    check_arguments(n_samples, noise)
    rng = check_random_state(random_state)
    target = rng.permutation(np.arange(n_samples) >= n_samples // 2).astype(int)
    points = _CENTERS[target] + _STD * rng.standard_normal((n_samples, 2))
    data = add_noise(points, noise, rng)
    return surface_bunch(data, points, target, _identity, None)


def make_strip_with_gap(
    n_samples: int = 100,
    *,
    noise: float = 0.0,
    random_state: int | np.random.RandomState | None = None,
) -> Bunch:
    """Sample a strip of the plane with a gap in it, uniformly: a narrow line passes the gap.

    It is the rectangle [-2, 2] x [-1, 1] without the notch [-1, 1] x [-0.6, 1]. Shortest paths
    from one end to the other bend around the corners of the notch, where the straight line would
    cross it.

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
    strip : sklearn.utils.Bunch
        As of `make_moons`; ``target`` is the first coordinate. ``distances`` maps two arrays of
        coordinates, shape=[..., 2], to lengths of shortest paths in the strip, shape=[...].
    """
    check_arguments(n_samples, noise)
    rng = check_random_state(random_state)
    points = np.empty((0, 2))
    while len(points) < n_samples:
        drawn = rng.uniform((-_LENGTH, -_WIDTH), (_LENGTH, _WIDTH), size=(n_samples, 2))
        outside = (np.abs(drawn[:, 0]) >= _GAP) | (drawn[:, 1] <= _EDGE)
        points = np.concatenate((points, drawn[outside]))[:n_samples]
    data = add_noise(points, noise, rng)
    return surface_bunch(data, points, points[:, 0], _identity, _around_the_gap)


def _around_the_gap(coordinates_a: ArrayLike, coordinates_b: ArrayLike) -> Floats:
    """Lengths of shortest paths: straight, or by one corner of the notch, or by both."""
    ends = np.broadcast_arrays(np.asarray(coordinates_a, float), np.asarray(coordinates_b, float))
    # From left to right.
    swap = ends[0][..., :1] > ends[1][..., :1]
    a, b = np.where(swap, ends[1], ends[0]), np.where(swap, ends[0], ends[1])
    left, right = np.array([-_GAP, _EDGE]), np.array([_GAP, _EDGE])
    paths = ((a, b), (a, left, b), (a, right, b), (a, left, right, b))
    return np.min([_length(path) for path in paths], axis=0)


def _length(path: Sequence[Floats]) -> Floats:
    total = np.zeros(())
    for a, b in pairwise(path):
        total = total + _if_free(a, b)
    return total


def _if_free(a: Floats, b: Floats) -> Floats:
    """Lengths of segments that do not cross the notch, infinity for others."""
    step = b - a
    run = np.where(step[..., 0] == 0.0, _ROUNDING, step[..., 0])
    # The part of a segment whose first coordinate is between those of the notch.
    cuts = np.sort([(edge - a[..., 0]) / run for edge in (-_GAP, _GAP)], axis=0).clip(0.0, 1.0)
    height = a[..., 1] + cuts * step[..., 1]
    above = (cuts[1] > cuts[0]) & (height.max(axis=0) > _EDGE + _ROUNDING)
    return np.where(above, np.inf, np.linalg.norm(step, axis=-1))


def _identity(coordinates: ArrayLike) -> Floats:
    return np.asarray(coordinates, dtype=float)
