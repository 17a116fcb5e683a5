"""Draws from locally adaptive normal laws, by rejection: exact, at the price of geodesics."""

from __future__ import annotations

import geomstats.backend as gs
import numpy as np

from geomstats_vae.estimators.mixture import log_density
from geomstats_vae.volume.cut_points import is_shortest
from geomstats_vae.volume.importance_quadrature import LatentCloud, draw_from_grid
from geomstats_vae.volume.rays import volume_at

# Proposals are as dense as the law up to a factor that is estimated; where the estimate falls
# short by more than this, draws are as rare as if it did not.
_HEADROOM = 1.3
_MAX_ROUNDS = 1000


def draw(geometry, component, n_samples, random_state):
    """Draw points of one component.

    Parameters
    ----------
    geometry : RowGeometry
        Space with its geodesics.
    component : Component
        The law.
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
    propose = _from_cloud if isinstance(component.quadrature, LatentCloud) else _from_rays
    found, n_found, rate = [], 0, 0.5
    for _ in range(_MAX_ROUNDS):
        missing = n_samples - n_found
        if missing <= 0:
            return np.concatenate([np.zeros((0, len(component.frame.base))), *found])[:n_samples]
        n_tries = int(np.ceil(1.1 * missing / rate)) + 8
        points, acceptance = propose(geometry, component, n_tries, random_state)
        accepted = random_state.uniform(size=len(points)) < acceptance
        rate = max(accepted.mean() if len(accepted) else 0.0, 0.05)
        found.append(points[accepted])
        n_found += int(accepted.sum())
    raise RuntimeError(
        f"Expected to draw {n_samples} points, got {n_found} in {_MAX_ROUNDS} rounds; fit with "
        "more n_normalizer_samples."
    )


def _from_cloud(geometry, component, n_tries, random_state):
    """Points of the grid's law, and how much denser the component is there."""
    quadrature, frame = component.quadrature, component.frame
    uniform = random_state.uniform(size=(n_tries, frame.dim))
    points, log_proposal = draw_from_grid(uniform, *quadrature.law)
    geodesics = geometry.connect(frame.base, points)
    coordinates = frame.coordinates(geodesics.velocity)
    volume = gs.to_numpy(geometry.space.metric.volume_density(gs.from_numpy(points)))
    logs = log_density(
        coordinates, np.isfinite(geodesics.length), component.precision, component.moments
    )
    with np.errstate(divide="ignore"):
        logs = logs + np.log(volume) - log_proposal
    return points, np.exp(logs) / (_HEADROOM * quadrature.largest_ratio(component.precision))


def _from_rays(geometry, component, n_tries, random_state):
    """Points of rays near those of the quadrature, and how much denser the component is there."""
    frame = component.frame
    coordinates, ratio = component.quadrature.propose(component.precision, n_tries, random_state)
    points, volume = volume_at(geometry, frame, coordinates)
    kept = np.isfinite(points).all(axis=1)
    points, coordinates = points[kept], coordinates[kept]
    ratio = ratio[kept] * volume[kept] / _HEADROOM
    shortest, _ = is_shortest(geometry, frame, points, np.linalg.norm(coordinates, axis=1))
    return points, ratio * shortest
