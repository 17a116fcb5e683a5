"""Samples of surfaces on which distances are known in closed form."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeAlias

import numpy as np
import sklearn.datasets
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import Bunch, check_random_state

Floats: TypeAlias = NDArray[np.float64]
Embedding: TypeAlias = Callable[[ArrayLike], Floats]
Distances: TypeAlias = Callable[[ArrayLike, ArrayLike], Floats]


def make_sphere(
    n_samples: int = 100,
    *,
    noise: float = 0.0,
    random_state: int | np.random.RandomState | None = None,
    max_colatitude: float = np.pi / 2,
) -> Bunch:
    """Sample a cap of the unit sphere, uniformly by area.

    The default cap is the upper hemisphere. It is convex: it holds a shortest path between any
    two of its points.

    Parameters
    ----------
    n_samples : int
        Number of points.
    noise : float
        Standard deviation of normal noise added to every coordinate of the data.
    random_state : int, numpy.random.RandomState or None
        Source of the points and of the noise.
    max_colatitude : float
        Angle in radians between the north pole and the cap's edge; pi for the whole sphere.

    Returns
    -------
    sphere : sklearn.utils.Bunch
        With ``data``, shape=[n_samples, 3]; ``coordinates``, shape=[n_samples, 2], colatitude and
        longitude in radians; ``target``, shape=[n_samples], the colatitude; ``embedding``, a
        function that maps coordinates, shape=[..., 2], to points of the surface, shape=[..., 3];
        and ``distances``, a function that maps two arrays of coordinates, shape=[..., 2], to the
        distances on the surface, shape=[...]: lengths of arcs of great circles.

    Raises
    ------
    ValueError
        If an argument is out of range.

    Examples
    --------
    >>> sphere = make_sphere(50, random_state=0)
    >>> z = sphere.coordinates
    >>> sphere.distances(z[:, None], z[None]).shape
    (50, 50)
    """
    check_arguments(n_samples, noise)
    if not 0.0 < max_colatitude <= np.pi:
        raise ValueError(
            f"Expected 0 < max_colatitude <= pi, got {max_colatitude}; pass an angle in radians."
        )
    rng = check_random_state(random_state)
    # Archimedes: slices of equal height have equal areas.
    height = rng.uniform(np.cos(max_colatitude), 1.0, size=n_samples)
    longitude = rng.uniform(-np.pi, np.pi, size=n_samples)
    coordinates = np.stack([np.arccos(height), longitude], axis=1)
    data = add_noise(_sphere(coordinates), noise, rng)
    return surface_bunch(data, coordinates, coordinates[:, 0], _sphere, _great_circle)


def make_s_curve(
    n_samples: int = 100,
    *,
    noise: float = 0.0,
    random_state: int | np.random.RandomState | None = None,
) -> Bunch:
    """Sample the S curve, uniformly by area.

    The data are those of `sklearn.datasets.make_s_curve` for the same arguments.

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
    s_curve : sklearn.utils.Bunch
        As of `make_sphere`; ``coordinates`` are the arc length along the curve, in
        [-3 pi / 2, 3 pi / 2], and the position across it, in [0, 2]; ``target`` is the first. The
        surface is flat, and these coordinates are isometric.
    """
    generate = partial(sklearn.datasets.make_s_curve, n_samples)
    data, points, t = with_and_without_noise(generate, noise, random_state)
    coordinates = np.stack([t, points[:, 1]], axis=1)
    return surface_bunch(data, coordinates, t, _s_curve, _flat)


def make_swiss_roll(
    n_samples: int = 100,
    *,
    noise: float = 0.0,
    random_state: int | np.random.RandomState | None = None,
) -> Bunch:
    """Sample the swiss roll, uniformly in angle and height: denser by area towards the centre.

    The data are those of `sklearn.datasets.make_swiss_roll` for the same arguments.

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
    swiss_roll : sklearn.utils.Bunch
        As of `make_sphere`; ``coordinates`` are the angle t of the spiral, in [3 pi / 2, 9 pi / 2],
        and the height, in [0, 21]; ``target`` is the first. The surface is flat: with the arc
        length (t sqrt(1 + t^2) + arsinh t) / 2 in place of t, coordinates are isometric.
    """
    generate = partial(sklearn.datasets.make_swiss_roll, n_samples)
    data, points, t = with_and_without_noise(generate, noise, random_state)
    coordinates = np.stack([t, points[:, 1]], axis=1)
    return surface_bunch(data, coordinates, t, _swiss_roll, _unrolled)


def surface_bunch(
    data: Floats,
    coordinates: Floats,
    target: np.ndarray,
    embedding: Embedding,
    distances: Distances | None,
) -> Bunch:
    """Put together what a generator of points on a surface returns.

    Parameters
    ----------
    data : numpy.ndarray, shape=[n_samples, 3]
        Points with noise.
    coordinates : numpy.ndarray, shape=[n_samples, 2]
        Their coordinates on the surface, before noise.
    target : numpy.ndarray, shape=[n_samples]
        The value that colours the points in a picture.
    embedding, distances : callable
        Functions of coordinates.

    Returns
    -------
    surface : sklearn.utils.Bunch
        The arguments as attributes.
    """
    return Bunch(
        data=data,
        coordinates=coordinates,
        target=target,
        embedding=embedding,
        distances=distances,
    )


def check_arguments(n_samples: int, noise: float) -> None:
    """Check the arguments that all generators share.

    Parameters
    ----------
    n_samples : int
        Number of points.
    noise : float
        Standard deviation.

    Raises
    ------
    ValueError
        If there are no points, or the noise is negative or not finite.
    """
    if not n_samples >= 1:
        raise ValueError(f"Expected n_samples >= 1, got {n_samples}; ask for one or more.")
    if not 0.0 <= noise < np.inf:
        raise ValueError(f"Expected 0 <= noise < inf, got {noise}; pass a standard deviation.")


def add_noise(points: Floats, noise: float, random_state: np.random.RandomState) -> Floats:
    """Add normal noise to every coordinate.

    Parameters
    ----------
    points : numpy.ndarray
        Points.
    noise : float
        Standard deviation.
    random_state : numpy.random.RandomState
        Source of the noise.

    Returns
    -------
    points : numpy.ndarray
        Points with noise.
    """
    return points + noise * random_state.standard_normal(points.shape)


def with_and_without_noise(
    generate: Callable[..., tuple[Floats, np.ndarray]],
    noise: float,
    random_state: int | np.random.RandomState | None,
) -> tuple[Floats, Floats, np.ndarray]:
    """Sample points with and without noise by a generator of scikit-learn.

    The generator is called twice from the same random state.

    Parameters
    ----------
    generate : callable
        The generator, a function of ``noise`` and ``random_state`` only.
    noise : float
        Standard deviation of the noise.
    random_state : int, numpy.random.RandomState or None
        Source of the points and of the noise.

    Returns
    -------
    data, points : numpy.ndarray, shape=[n_samples, n_features]
        The same points with noise and without.
    target : numpy.ndarray, shape=[n_samples]
        The second value that the generator returns.
    """
    rng = check_random_state(random_state)
    state = rng.get_state()
    points, target = generate(noise=0.0, random_state=rng)
    rng.set_state(state)
    data, _ = generate(noise=noise, random_state=rng)
    return data, points, target


def _sphere(coordinates: ArrayLike) -> Floats:
    colatitude, longitude = np.moveaxis(np.asarray(coordinates, dtype=float), -1, 0)
    ring = np.sin(colatitude)
    return np.stack(
        [ring * np.cos(longitude), ring * np.sin(longitude), np.cos(colatitude)], axis=-1
    )


def _great_circle(coordinates_a: ArrayLike, coordinates_b: ArrayLike) -> Floats:
    x, y = _sphere(coordinates_a), _sphere(coordinates_b)
    # By half angles: inverse sine and cosine lose digits where they are steep.
    return 2.0 * np.arctan2(np.linalg.norm(x - y, axis=-1), np.linalg.norm(x + y, axis=-1))


def _s_curve(coordinates: ArrayLike) -> Floats:
    t, width = np.moveaxis(np.asarray(coordinates, dtype=float), -1, 0)
    return np.stack([np.sin(t), width, np.sign(t) * (np.cos(t) - 1.0)], axis=-1)


def _swiss_roll(coordinates: ArrayLike) -> Floats:
    t, height = np.moveaxis(np.asarray(coordinates, dtype=float), -1, 0)
    return np.stack([t * np.cos(t), height, t * np.sin(t)], axis=-1)


def _flat(coordinates_a: ArrayLike, coordinates_b: ArrayLike) -> Floats:
    difference = np.asarray(coordinates_a, dtype=float) - np.asarray(coordinates_b, dtype=float)
    return np.linalg.norm(difference, axis=-1)


def _unrolled(coordinates_a: ArrayLike, coordinates_b: ArrayLike) -> Floats:
    return _flat(_arc_length(coordinates_a), _arc_length(coordinates_b))


def _arc_length(coordinates: ArrayLike) -> Floats:
    """Replace the angle along a spiral of Archimedes by the arc length from its centre."""
    t, height = np.moveaxis(np.asarray(coordinates, dtype=float), -1, 0)
    return np.stack([0.5 * (t * np.sqrt(1.0 + t**2) + np.arcsinh(t)), height], axis=-1)
