"""Samples of the plane in two groups, with a gap between them that no data fill."""

from __future__ import annotations

from functools import partial

import numpy as np
import sklearn.datasets
from sklearn.utils import check_random_state

from geomstats_vae.datasets.surfaces import (
    add_noise,
    check_arguments,
    surface_bunch,
    with_and_without_noise,
)

_CENTERS = np.array([[-2.0, 0.0], [2.0, 0.0]])
_STD = 0.6


def make_moons(n_samples=100, *, noise=0.0, random_state=None):
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
        noise; ``target``, shape=[n_samples], 0 or 1, which moon; ``embedding``, the identity; and
        ``distances``, None: the moons are no surface.
    """
    generate = partial(sklearn.datasets.make_moons, n_samples)
    data, points, target = with_and_without_noise(generate, noise, random_state)
    return surface_bunch(data, points, target, _identity, None)


def make_two_gaussians(n_samples=100, *, noise=0.0, random_state=None):
    """Sample two normal distributions in the plane, which hardly overlap.

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
        As of `make_moons`; ``target`` is 0 or 1, which distribution.
    """
    check_arguments(n_samples, noise)
    random_state = check_random_state(random_state)
    target = random_state.permutation(np.arange(n_samples) >= n_samples // 2).astype(int)
    points = _CENTERS[target] + _STD * random_state.standard_normal((n_samples, 2))
    data = add_noise(points, noise, random_state)
    return surface_bunch(data, points, target, _identity, None)


def _identity(coordinates):
    return np.asarray(coordinates, dtype=float)
