"""Logarithms to full precision, by Newton's method on ever finer meshes.

The length is stationary at a geodesic: a curve whose length is right to 1e-6 may start at a
velocity that is right to 1e-3 only. From such a curve Newton's method on the geodesic equation,
in its weak form on polynomial elements, converges quadratically, and the velocities at the ends
converge spectrally as the elements are halved. Unlike shooting, which magnifies errors as the
Jacobi fields grow along the geodesic, this stays well-conditioned on long ways and along walls.
"""

from __future__ import annotations

import enum
from dataclasses import replace

import numpy as np

from geomstats_vae.geodesics.certificate import end_velocities
from geomstats_vae.geodesics.curves import Curves
from geomstats_vae.geodesics.krylov import evaluator_for
from geomstats_vae.geodesics.path import GeodesicStatus
from geomstats_vae.geodesics.relaxation import end_metrics
from geomstats_vae.geodesics.stability import MAX_HALVINGS, blocks_of_curves, solve_variation

_TOL = 1e-9  # relative change of the velocities, by the last halving, at which a pair is done
_ACCEPT = 1e-6  # largest such change of velocities that are taken
_MOST_HALVINGS = 5
_STEPS = 2  # of Newton's method on a mesh


class PolishStatus(enum.IntEnum):
    """Whether velocities were polished; `message` says it in a sentence."""

    CONVERGED = 0
    UNPOLISHED = 1

    @property
    def message(self):
        """One sentence."""
        return _MESSAGES[self]


_MESSAGES = {
    PolishStatus.CONVERGED: "The velocity no longer changes as the mesh is refined.",
    PolishStatus.UNPOLISHED: (
        "The velocity still changes as the mesh is refined: a decoder that is not smooth, or a "
        "geodesic with conjugate points."
    ),
}


def polish_velocities(immersion, path, rtol=1e-3):
    """Replace velocities, lengths and energies by those of the exact geodesics.

    Parameters
    ----------
    immersion : Immersion
        The decoder's F, twice differentiable.
    path : GeodesicPath
        Geodesics as numpy arrays, of batch shape [n_pairs].
    rtol : float
        Largest relative change of a length: past it another geodesic was found.

    Returns
    -------
    path : GeodesicPath
        The same curves, with ``velocity_error``. Pairs that did not converge, whose polish failed
        or came to another geodesic, and geodesics with conjugate points keep what they had.
    """
    columns = {
        "initial_velocity": path.initial_velocity.copy(),
        "final_velocity": path.final_velocity.copy(),
        "length": path.length.copy(),
        "velocity_error": np.where(path.length == 0.0, 0.0, np.nan),
    }
    evaluator = evaluator_for(immersion.condensed(), path.degree)
    tried = (path.status == GeodesicStatus.CONVERGED) & (path.length > 0.0)
    for rows, curves in blocks_of_curves(path, np.flatnonzero(tried)):
        velocity, length, error = _converge(evaluator, curves)
        good = (error <= _ACCEPT) & (np.abs(length - path.length[rows]) <= rtol * path.length[rows])
        rows = rows[good]
        columns["initial_velocity"][rows] = velocity[good, 0]
        columns["final_velocity"][rows] = velocity[good, 1]
        columns["length"][rows], columns["velocity_error"][rows] = length[good], error[good]
    return replace(path, energy=0.5 * columns["length"] ** 2, **columns)


def _converge(evaluator, curves):
    """End velocities and lengths, and how much the velocities changed by the last halving."""
    n_curves = len(curves)
    velocity, length = np.full((n_curves, 2, curves.dim), np.nan), np.full(n_curves, np.nan)
    error, left = np.full(n_curves, np.inf), np.arange(n_curves)
    metric = end_metrics(evaluator, curves)
    for halving in range(_MOST_HALVINGS + 1):
        curves, system, sound = _newton(evaluator, curves)
        total = curves.total(system.length)
        new = end_velocities(curves, system.gradient, total, metric[left])
        with np.errstate(invalid="ignore"):
            change = _norm(metric[left], new - velocity[left]).max(axis=1) / total
        # The first meshes may be too coarse; later, what does not shrink is not smooth.
        going = sound & (change > _TOL) & (change < 0.5 * error[left])
        going |= (halving == 0) | (~sound & (halving < MAX_HALVINGS))
        velocity[left], length[left] = new, total
        error[left] = np.where(np.isfinite(change) & sound, change, np.inf)
        left, curves = left[going], curves.take(np.flatnonzero(going))
        if not len(left):
            break
        curves = curves.split(np.ones(len(curves.nodes), dtype=bool))
    return velocity, length, error


def _newton(evaluator, curves):
    """Full Newton steps; the curves, their system, and whether they all were steps to a minimum."""
    sound = np.ones(len(curves), dtype=bool)
    system = evaluator.system(curves.nodes)
    for _ in range(_STEPS):
        step, _, definite = solve_variation(evaluator, curves, system)
        sound &= definite
        curves = Curves(curves.nodes + step, curves.counts)
        system = evaluator.system(curves.nodes)
    return curves, system, sound


def _norm(metric, vector):
    """Norms of vectors, shape=[n, 2, dim] -> [n, 2]."""
    return np.sqrt(np.einsum("ceij,cei,cej->ce", metric, vector, vector))
