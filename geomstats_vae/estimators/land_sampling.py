"""Draws from locally adaptive normal distributions, by rejection: exact, at a cost."""

from __future__ import annotations

import numpy as np

from geomstats_vae.estimators.mixture import Component
from geomstats_vae.geometry.protocol import Floats, Geometry

# Proposals are as dense as the distribution up to a factor that is estimated. Where the estimate
# falls short by more than this, draws are as rare as if it did not.
_HEADROOM = 1.3
_MAX_ROUNDS = 1000


def draw(
    geometry: Geometry, component: Component, n_samples: int, random_state: np.random.RandomState
) -> Floats:
    """Draw points of one component.

    Parameters
    ----------
    geometry : Geometry
        Finds and follows geodesics.
    component : Component
        The distribution.
    n_samples : int
        Number of points.
    random_state : numpy.random.RandomState
        Source of the draws.

    Returns
    -------
    points : numpy.ndarray, shape=[n_samples, n_features]
        Independent points of the space.

    Raises
    ------
    RuntimeError
        If next to no proposal is accepted.
    """
    quadrature, frame, precision = component.quadrature, component.frame, component.precision
    found, n_found, rate = [np.zeros((0, len(frame.base)))], 0, 0.5
    for _ in range(_MAX_ROUNDS):
        missing = n_samples - n_found
        if missing <= 0:
            return np.concatenate(found)[:n_samples]
        n_tries = int(np.ceil(1.1 * missing / rate)) + 8
        points, ratio = quadrature.propose(geometry, frame, precision, n_tries, random_state)
        accepted = random_state.uniform(size=len(points)) < ratio / _HEADROOM
        rate = max(accepted.mean() if len(accepted) else 0.0, 0.05)
        found.append(points[accepted])
        n_found += int(accepted.sum())
    raise RuntimeError(
        f"Expected to draw {n_samples} points, got {n_found} in {_MAX_ROUNDS} rounds; fit with "
        "more n_normalizer_samples."
    )
