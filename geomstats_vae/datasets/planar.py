"""Samples of the plane in two groups, with a gap between them."""

from __future__ import annotations

from functools import partial

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


def _identity(coordinates: ArrayLike) -> Floats:
    return np.asarray(coordinates, dtype=float)
