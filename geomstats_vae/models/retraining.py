"""How far distances change when a model is trained again, and intervals for them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import t as student_t
from sklearn.base import clone
from sklearn.utils import check_random_state
from tqdm import tqdm

from geomstats_vae.models.base import LatentVariableModel
from geomstats_vae.models.validation import check_rows


def distances_over_trainings(
    model: LatentVariableModel,
    X: ArrayLike,
    start: Sequence[int],
    end: Sequence[int],
    *,
    n_trainings: int = 5,
    random_state: int | np.random.RandomState | None = None,
    verbose: bool = False,
) -> NDArray[np.float64]:
    """Train a model again and again, and measure the same pairs of rows each time.

    Members of a `VAE` with several decoders share one encoder. So they know little of how far a
    distance changes under a new training, which places all codes anew. Trainings from scratch do.

    Parameters
    ----------
    model : VAE
        Its parameters are used; it is not changed, and need not be fitted.
    X : array-like, shape=[n_samples, n_features]
        Data.
    start, end : sequence of int, shape=[n_pairs]
        Numbers of the rows of `X` between which distances are measured.
    n_trainings : int
        Number of trainings.
    random_state : int, numpy.random.RandomState or None
        Source of the seeds of the trainings.
    verbose : bool
        Show a progress bar, in trainings, and the model's own.

    Returns
    -------
    distances : numpy.ndarray, shape=[n_pairs, n_trainings]
        Geodesic distances between the codes, in the units of the data.

    Raises
    ------
    ValueError
        If rows are not numbers of rows of `X`, or there is no training.

    Examples
    --------
    >>> distances = distances_over_trainings(VAE(), X, [0, 1], [2, 3], n_trainings=5)
    >>> low, high = prediction_interval(distances)
    """
    X = check_rows(X, dtype=[np.float64, np.float32])
    first, second = (_check_numbers(rows, len(X)) for rows in (start, end))
    if first.shape != second.shape:
        raise ValueError(
            f"Expected as many starts as ends, got {len(first)} and {len(second)}; pass pairs."
        )
    if n_trainings < 1:
        raise ValueError(f"Expected n_trainings of at least 1, got {n_trainings}.")
    generator = check_random_state(random_state)
    found = []
    for _ in tqdm(range(n_trainings), desc="trainings", disable=not verbose):
        again = clone(model).set_params(
            random_state=int(generator.randint(2**31 - 1)), verbose=verbose
        )
        codes = again.fit(X).transform(X)
        found.append(again.latent_space_.metric.dist(codes[first], codes[second]))
    return np.stack([np.asarray(part, dtype=np.float64) for part in found], axis=1)


def prediction_interval(
    distances: ArrayLike, level: float = 0.9
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Interval for a distance under one more training.

    Logarithms of a distance are taken for normal: with their mean m and standard deviation s over
    n trainings the interval is exp(m -+ t s sqrt(1 + 1 / n)), t a quantile of Student's
    distribution with n - 1 degrees of freedom.

    Parameters
    ----------
    distances : array-like, shape=[..., n_trainings]
        Distances in each training, such as `distances_over_trainings` returns. Of
        `PullbackDecoderMetric.dist_members` the interval is for one more decoder on the same
        encoder, and far too narrow for a new training.
    level : float
        Probability that the distance lies in the interval.

    Returns
    -------
    low, high : numpy.ndarray, shape=[...]
        Ends of the intervals.

    Raises
    ------
    ValueError
        If there are fewer than two trainings, distances that are not positive, or the level is not
        between 0 and 1.
    """
    values = np.asarray(distances, dtype=np.float64)
    n = values.shape[-1] if values.ndim else 0
    if n < 2:
        raise ValueError(
            f"Expected distances of at least two trainings, got {n}; raise n_trainings."
        )
    if not 0.0 < level < 1.0:
        raise ValueError(f"Expected a level between 0 and 1, got {level}.")
    if not (np.isfinite(values).all() and (values > 0.0).all()):
        raise ValueError(
            "Expected finite distances above zero, got others; leave out pairs of equal codes "
            "and geodesics that were not found."
        )
    logs = np.log(values)
    middle, spread = logs.mean(axis=-1), logs.std(axis=-1, ddof=1)
    half = student_t.ppf(0.5 * (1.0 + level), n - 1) * spread * np.sqrt(1.0 + 1.0 / n)
    return np.exp(middle - half), np.exp(middle + half)


def _check_numbers(rows: Sequence[int], n_rows: int) -> NDArray[np.intp]:
    """Check numbers of rows."""
    numbers = np.atleast_1d(np.asarray(rows))
    if numbers.dtype.kind not in "iu" or numbers.ndim != 1:
        raise ValueError(
            f"Expected numbers of rows, a list of int, got type {numbers.dtype} and shape "
            f"{numbers.shape}; pass indices of X, not codes."
        )
    if len(numbers) and not (numbers.min() >= 0 and numbers.max() < n_rows):
        raise ValueError(
            f"Expected numbers of rows from 0 to {n_rows - 1}, got {numbers.min()} to "
            f"{numbers.max()}."
        )
    return numbers.astype(np.intp)
