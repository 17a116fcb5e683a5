"""Logarithms to full precision, by Newton's method on ever finer meshes.

The length is stationary at a geodesic: a curve whose length is right to 1e-6 may start at a
velocity that is right to 1e-3 only. From such a curve Newton's method on the geodesic equation,
in its weak form on polynomial elements, converges quadratically, and the velocities at the ends
converge spectrally as the elements are halved. Unlike shooting, which magnifies errors as the
Jacobi fields grow along the geodesic, this stays well-conditioned on long curves and along walls.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace

import numpy as np

from geomstats_vae.geodesics.arrays import Bools, Floats
from geomstats_vae.geodesics.curves.chain import Curves
from geomstats_vae.geodesics.curves.path import GeodesicPath
from geomstats_vae.geodesics.ends import end_metrics, velocities
from geomstats_vae.geodesics.model import CurveModel, ModelFactory
from geomstats_vae.geodesics.solver import GeodesicSolver
from geomstats_vae.geodesics.stability import blocks_of_curves
from geomstats_vae.geodesics.status import GeodesicStatus
from geomstats_vae.immersions.immersion import Immersion


@dataclass(frozen=True)
class PolishOptions:
    """Newton's method to full precision on ever finer meshes.

    Parameters
    ----------
    tol : float
        A pair is done when its velocities change by at most this share by a halving.
    accept : float
        Largest such change of velocities that are taken.
    max_halvings : int
        Halvings of all elements.
    steps : int
        Newton steps on a mesh.
    coarse_halvings : int
        Halvings before a second variation that is not positive definite is believed. On coarse
        meshes it need not be.
    """

    tol: float = 1e-9
    accept: float = 1e-6
    max_halvings: int = 5
    steps: int = 2
    coarse_halvings: int = 3


# What logarithms ask for by themselves: most take a step on their elements, on halves and quarters.
QUICK_POLISH = PolishOptions(max_halvings=3, steps=1, tol=1e-8, accept=1e-5)


class PolishStatus(enum.IntEnum):
    """Whether velocities were polished; `message` says it in a sentence."""

    CONVERGED = 0
    UNPOLISHED = 1

    @property
    def message(self) -> str:
        """One sentence."""
        return _MESSAGES[self]


_MESSAGES = {
    PolishStatus.CONVERGED: "The velocity no longer changes as the mesh is refined.",
    PolishStatus.UNPOLISHED: (
        "The velocity still changes as the mesh is refined: a decoder that is not smooth, or a "
        "geodesic with conjugate points."
    ),
}


def polish_velocities(
    immersion: Immersion,
    path: GeodesicPath,
    rtol: float = 1e-3,
    *,
    model: ModelFactory | None = None,
    options: PolishOptions | None = None,
) -> GeodesicPath:
    """Replace velocities, lengths and energies by those of the exact geodesics.

    Parameters
    ----------
    immersion : Immersion
        The decoder's F, twice differentiable.
    path : GeodesicPath
        Geodesics as numpy arrays, of batch shape [n_pairs].
    rtol : float
        Largest relative change of a length: past it another geodesic was found.
    model : callable, optional
        Makes the `CurveModel`; see `GeodesicSolver`.
    options : PolishOptions, optional
        Tolerances and numbers of steps.

    Returns
    -------
    path : GeodesicPath
        The same curves, with ``velocity_error``. Pairs that did not converge, whose polish failed
        or came to another geodesic, and geodesics with conjugate points keep what they had.
    """
    options = PolishOptions() if options is None else options
    columns = {
        "initial_velocity": path.initial_velocity.copy(),
        "final_velocity": path.final_velocity.copy(),
        "length": path.length.copy(),
        "velocity_error": np.where(path.length == 0.0, 0.0, np.nan),
    }
    curve_model = (model or GeodesicSolver().curve_model)(immersion.condensed(), path.degree, None)
    tried = (path.status == GeodesicStatus.CONVERGED) & (path.length > 0.0)
    for rows, curves in blocks_of_curves(path, np.flatnonzero(tried)):
        velocity, length, error = _converge(curve_model, curves, options)
        good = error <= options.accept
        good &= np.abs(length - path.length[rows]) <= rtol * path.length[rows]
        rows = rows[good]
        columns["initial_velocity"][rows] = velocity[good, 0]
        columns["final_velocity"][rows] = velocity[good, 1]
        columns["length"][rows], columns["velocity_error"][rows] = length[good], error[good]
    return replace(path, energy=0.5 * columns["length"] ** 2, **columns)


def _converge(
    model: CurveModel, curves: Curves, options: PolishOptions
) -> tuple[Floats, Floats, Floats]:
    """End velocities and lengths, and how much the velocities changed by the last halving."""
    n_curves = len(curves)
    velocity, length = np.full((n_curves, 2, curves.dim), np.nan), np.full(n_curves, np.nan)
    error, left = np.full(n_curves, np.inf), np.arange(n_curves)
    metric = end_metrics(model, curves)
    for halving in range(options.max_halvings + 1):
        curves, total, sound = _newton(model, curves, options.steps)
        new = velocities(model, curves, 0.0, total, metric[left])
        with np.errstate(invalid="ignore"):
            change = _norms(metric[left], new - velocity[left]).max(axis=1) / total
        # The first meshes may be too coarse; later, what does not shrink is not smooth.
        going = sound & (change > options.tol) & (change < 0.5 * error[left])
        going |= (halving == 0) | (~sound & (halving < options.coarse_halvings))
        velocity[left], length[left] = new, total
        error[left] = np.where(np.isfinite(change) & sound, change, np.inf)
        left, curves = left[going], curves.take(np.flatnonzero(going))
        if not len(left):
            break
        curves = curves.halved()
    return velocity, length, error


def _newton(model: CurveModel, curves: Curves, n_steps: int) -> tuple[Curves, Floats, Bools]:
    """Full Newton steps; the curves, lengths, and whether all were steps to a minimum.

    Lengths are those before the last step, which changes them by the square of itself.
    """
    sound, length = np.ones(len(curves), dtype=bool), np.zeros(len(curves))
    for _ in range(n_steps):
        variation = model.variation(curves.nodes)
        length = curves.total(variation.length)
        step, _, definite = model.newton_step(curves, variation)
        sound &= definite
        curves = Curves(curves.nodes + step, curves.counts)
    return curves, length, sound


def _norms(metric: Floats, vector: Floats) -> Floats:
    """Norms of vectors, shape=[n, 2, dim] -> [n, 2]."""
    return np.sqrt(np.einsum("ceij,cei,cej->ce", metric, vector, vector))
