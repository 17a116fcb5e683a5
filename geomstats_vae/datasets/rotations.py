"""Images of which the true distances are known: rotations of one digit, and of two."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import sklearn.datasets
from numpy.typing import ArrayLike
from scipy import ndimage
from sklearn.utils import Bunch, check_random_state

from geomstats_vae.datasets.surfaces import Floats, add_noise, check_arguments

# Width of the picture in pixels of the digit: a digit of 8 x 8 pixels lies, with the centres of its
# corners, inside a circle of radius 5.
_WIDTH = 10
# Pixels of white around the digit.
_MARGIN = 3


def make_rotated_digit(
    n_samples: int = 1000,
    *,
    digit: int = 4,
    max_angle: float = 300.0,
    size: int = 24,
    noise: float = 0.02,
    random_state: int | np.random.RandomState | None = None,
) -> Bunch:
    """Rotate one handwritten digit by random angles.

    All images lie on one curve, and they move along it at the same speed at all angles. So the
    distance of two images along the data is the difference of their angles. The curve is an arc
    with two ends, or a closed circle at 360 degrees.

    Parameters
    ----------
    n_samples : int
        Number of images.
    digit : int
        Which digit, 0 to 9: the first one of its kind in scikit-learn's set.
    max_angle : float
        Angles are uniform between 0 and this, in degrees, at most 360.
    size : int
        Height and width of the images in pixels.
    noise : float
        Standard deviation of normal noise added to every pixel; black is 1 and white is 0.
    random_state : int, numpy.random.RandomState or None
        Source of the angles and of the noise.

    Returns
    -------
    rotations : sklearn.utils.Bunch
        With ``data``, shape=[n_samples, size * size]; ``angles``, shape=[n_samples, 1], in degrees;
        ``target``, shape=[n_samples], the angle; ``image_shape``, (size, size); ``embedding``, a
        function that maps angles, shape=[..., 1], to images without noise, shape=[...,
        size * size]; and ``distances``, a function that maps two arrays of angles, shape=[..., 1],
        to distances along the curve in degrees, shape=[...].

    Raises
    ------
    ValueError
        If an argument is out of range.

    Notes
    -----
    The digit is a cubic spline through its 8 x 8 pixels, which is turned before it is sampled, so
    each image is interpolated once. It is small enough that no rotation cuts it. The speed is the
    same at all angles to within one per cent.

    Examples
    --------
    >>> rotations = make_rotated_digit(50, random_state=0)
    >>> rotations.data.shape, rotations.angles.shape
    ((50, 576), (50, 1))
    >>> rotations.distances([[10.0]], [[250.0]])
    array([240.])
    """
    check_arguments(n_samples, noise)
    _check_angle(max_angle)
    embedding = partial(_pictures, (_image(digit),), size)
    return _sample(
        n_samples, embedding, 1, max_angle, noise, random_state, image_shape=(size, size)
    )


def make_rotated_pair(
    n_samples: int = 1000,
    *,
    digits: tuple[int, int] = (4, 7),
    max_angle: float = 360.0,
    size: int = 24,
    noise: float = 0.02,
    random_state: int | np.random.RandomState | None = None,
) -> Bunch:
    """Rotate two handwritten digits, side by side, by two random angles.

    The images lie on a torus, which does not fit into the plane: it needs a latent space of three
    dimensions. With smaller `max_angle` they lie on a rectangle.

    Parameters
    ----------
    n_samples : int
        Number of images.
    digits : tuple of int
        The digits on the left and on the right, each 0 to 9.
    max_angle : float
        Both angles are uniform between 0 and this, in degrees, at most 360.
    size : int
        Height of the images in pixels; their width is twice this.
    noise : float
        Standard deviation of normal noise added to every pixel; black is 1 and white is 0.
    random_state : int, numpy.random.RandomState or None
        Source of the angles and of the noise.

    Returns
    -------
    rotations : sklearn.utils.Bunch
        As of `make_rotated_digit`, with ``angles`` of shape=[n_samples, 2]; ``target`` is the
        first of them. ``distances`` are in degrees of the left digit: its images move by
        sqrt(d_1^2 + r^2 d_2^2) where the angles change by d_1 and d_2, and r is the speed of the
        right digit over that of the left.

    Raises
    ------
    ValueError
        If an argument is out of range.

    Examples
    --------
    >>> rotations = make_rotated_pair(50, random_state=0)
    >>> rotations.data.shape, rotations.image_shape
    ((50, 1152), (24, 48))
    """
    check_arguments(n_samples, noise)
    _check_angle(max_angle)
    embedding = partial(_pictures, tuple(map(_image, digits)), size)
    shape = (size, 2 * size)
    return _sample(n_samples, embedding, 2, max_angle, noise, random_state, image_shape=shape)


def _sample(
    n_samples: int,
    embedding: Callable[[ArrayLike], Floats],
    n_angles: int,
    max_angle: float,
    noise: float,
    random_state: int | np.random.RandomState | None,
    image_shape: tuple[int, int],
) -> Bunch:
    rng = check_random_state(random_state)
    angles = rng.uniform(0.0, max_angle, size=(n_samples, n_angles))
    scale = _speeds(embedding, n_angles)
    return Bunch(
        data=add_noise(embedding(angles), noise, rng),
        angles=angles,
        target=angles[:, 0],
        image_shape=image_shape,
        embedding=embedding,
        distances=partial(_distances, scale / scale[0], max_angle == 360.0),
    )


def _check_angle(max_angle: float) -> None:
    if not 0.0 < max_angle <= 360.0:
        raise ValueError(f"Expected 0 < max_angle <= 360, got {max_angle}; pass degrees.")


def _image(digit: int) -> Floats:
    """Return the first image of a digit, with a white margin."""
    digits = sklearn.datasets.load_digits()
    if digit not in range(10):
        raise ValueError(f"Expected a digit from 0 to 9, got {digit!r}.")
    return np.pad(digits.images[digits.target == digit][0] / 16.0, _MARGIN)


def _pictures(images: tuple[Floats, ...], size: int, angles: ArrayLike) -> Floats:
    """Rotate every image by its angle and put them side by side, shape=[..., n_pixels]."""
    angles = np.asarray(angles, dtype=float)
    parts = [_rotate(image, size, angles[..., k]) for k, image in enumerate(images)]
    return np.concatenate(parts, axis=-1).reshape(*angles.shape[:-1], -1)


def _rotate(image: Floats, size: int, angles: Floats) -> Floats:
    """Turn an image, anticlockwise by degrees; shape=[..., size, size]."""
    offsets = (np.arange(size) - (size - 1) / 2.0) * (_WIDTH / size)
    row, column = np.meshgrid(offsets, offsets, indexing="ij")
    turn = np.radians(angles)[..., None, None]
    where = np.stack(
        [
            np.cos(turn) * row + np.sin(turn) * column,
            np.cos(turn) * column - np.sin(turn) * row,
        ]
    )
    center = (len(image) - 1) / 2.0
    # A spline overshoots at edges. Clipping commutes with the rotation.
    return ndimage.map_coordinates(image, center + where, order=3).clip(0.0, 1.0)


def _speeds(embedding: Callable[[ArrayLike], Floats], n_angles: int) -> Floats:
    """How far the picture moves for each angle, per degree, in the mean over a turn."""
    turn = np.arange(0.0, 360.0)
    speeds = []
    for k in range(n_angles):
        angles = np.zeros((len(turn), n_angles))
        angles[:, k] = turn
        steps = np.diff(embedding(angles), axis=0)
        speeds.append(np.linalg.norm(steps, axis=1).mean())
    return np.array(speeds)


def _distances(scale: Floats, closed: bool, angles_a: ArrayLike, angles_b: ArrayLike) -> Floats:
    turn = np.abs(np.asarray(angles_a, dtype=float) - np.asarray(angles_b, dtype=float))
    if closed:
        turn = np.minimum(turn % 360.0, -turn % 360.0)
    return np.asarray(np.linalg.norm(scale * turn, axis=-1))
