"""What the estimators on a space share: the space, its geometry, and how failures are told."""

from __future__ import annotations

import copy
import warnings
from enum import Enum
from typing import Any

from sklearn.base import BaseEstimator

from geomstats_vae.geodesics import GeodesicConvergenceError, GeodesicConvergenceWarning
from geomstats_vae.geodesics.deadline import NO_LIMIT, Deadline
from geomstats_vae.geometry.decoder import DecoderGeometry
from geomstats_vae.geometry.protocol import Bools, Geometry
from geomstats_vae.manifolds.closed import ClosedGeometry
from geomstats_vae.manifolds.failures import caller_level
from geomstats_vae.manifolds.geometries import geometry_of

# Tolerance of geodesics to rows of data. Lengths are right to a tenth of it and logarithms to about
# as much, far below what another row would change.
ROW_TOL = 1e-4
# The same in more dimensions than Newton's method has assembled matrices for: there the tenth of a
# percent is the descent's alone, and each digit more takes ten times as long.
_MANY_DIMENSIONS, _ROW_TOL_OF_MANY = 6, 1e-3
# Geodesics of a fit for each row and center, about: what decides on a table of the metric.
ROUNDS = 3
# Fewer pairs take less time than to send the geometry and its graph to other processes.
_FEWEST_FOR_JOBS = 32


class Ending(Enum):
    """Why a fit ended; `words` says it of one that did not go on to the end."""

    DONE = 0
    INTERRUPTED = 1
    OUT_OF_TIME = 2

    @classmethod
    def of(cls, stop: BaseException) -> Ending:
        """Tell an interrupt by the keyboard from the end of the time."""
        return cls.INTERRUPTED if isinstance(stop, KeyboardInterrupt) else cls.OUT_OF_TIME

    def words(self, max_seconds: float | None) -> str:
        """Return the predicate of a sentence about the fit."""
        if self is Ending.INTERRUPTED:
            return "was interrupted"
        return f"was stopped by max_seconds={max_seconds:g}"


class SharesSpace(BaseEstimator):
    """Base of estimators on a space: clones share it, for a copy would copy its decoder."""

    def __sklearn_clone__(self) -> Any:
        """Clone all parameters but the space."""
        bare = copy.copy(self)
        bare.space = None
        clone = super(SharesSpace, bare).__sklearn_clone__()
        clone.space = self.space
        return clone


def space_geometry(
    space: Any,
    n_jobs: int | None = None,
    progress: Any = None,
    deadline: Deadline = NO_LIMIT,
    n_pairs: int = 1,
) -> DecoderGeometry | ClosedGeometry:
    """Take the geometry of a space, at the tolerance of its own solver.

    Parameters
    ----------
    space : geomstats.geometry.manifold.Manifold
        Equipped space whose points are vectors.
    n_jobs : int, optional
        Blocks of pairs solved at a time, as joblib understands it.
    progress : tqdm.tqdm, optional
        Bar that is moved by the number of pairs.
    deadline : Deadline
        When work that is not done ends with `OutOfTimeError`.
    n_pairs : int
        About how many geodesics will be asked for. A table of the metric pays for many.

    Returns
    -------
    geometry : DecoderGeometry or ClosedGeometry
        The geometry.
    """
    geometry = geometry_of(
        space,
        n_jobs=n_jobs,
        progress=progress,
        deadline=deadline,
        fewest_for_jobs=_FEWEST_FOR_JOBS,
    )
    return geometry.for_many(n_pairs) if isinstance(geometry, DecoderGeometry) else geometry


def with_row_tol(geometry: Geometry) -> Geometry:
    """Take the tolerance of geodesics to rows of data.

    Parameters
    ----------
    geometry : Geometry
        The geometry.

    Returns
    -------
    geometry : Geometry
        With `ROW_TOL`, or 1e-3 in 6 dimensions and more.
    """
    many = geometry.dim >= _MANY_DIMENSIONS
    return geometry.with_tol(_ROW_TOL_OF_MANY if many else ROW_TOL)


def between_steps(geometry: Geometry) -> Geometry:
    """Ask for less of what the steps of an iteration need than of what it ends with.

    Parameters
    ----------
    geometry : Geometry
        The geometry.

    Returns
    -------
    geometry : Geometry
        Where a table is in use, curves are not measured on the decoder.
    """
    return geometry.for_steps() if isinstance(geometry, DecoderGeometry) else geometry


def valleys_move(geometry: Geometry) -> bool:
    """Whether geodesics that are taken along as points move may no longer be the shortest.

    Parameters
    ----------
    geometry : Geometry
        The geometry.

    Returns
    -------
    valleys_move : bool
        With a graph on a grid such curves are held to their proportion to graph paths; a curve
        through another valley may be shorter by what these are off, a few percent.
    """
    graph = geometry.build_graph() if isinstance(geometry, DecoderGeometry) else None
    return graph is not None and graph.on_grid


_REMEDY = (
    "space.metric.solve_geodesic says why, pair by pair; a solver with a larger max_iter or "
    "max_elements may help."
)


def report_failures(space: Any, message: str, consequence: str, remedy: str = _REMEDY) -> None:
    """Report geodesics that did not converge, as the metric of a space is told to.

    Parameters
    ----------
    space : geomstats.geometry.manifold.Manifold
        Equipped space.
    message : str
        What did not converge.
    consequence : str
        What was done instead; part of the warning.
    remedy : str
        What may help.

    Raises
    ------
    GeodesicConvergenceError
        If the metric's `on_failure` is 'raise'.

    Warns
    -----
    GeodesicConvergenceWarning
        If it is 'warn', or the metric has no such policy.
    """
    policy = getattr(space.metric, "on_failure", "warn")
    if policy == "ignore":
        return
    message = f"{message} {remedy}"
    if policy == "raise":
        raise GeodesicConvergenceError(message)
    message = f"{message} {consequence}"
    warnings.warn(message, GeodesicConvergenceWarning, stacklevel=caller_level())


def report_rows(space: Any, converged: Bools, reached: Bools) -> int:
    """Report geodesics that did not converge, as the metric is told to; their number.

    Also the points that no center reaches.

    Parameters
    ----------
    space : Any
        The space, whose metric has the policy.
    converged : array of bool, shape=[n_geodesics]
        Whether geodesics between points and centers converged.
    reached : array of bool, shape=[n_points]
        Whether some center reaches the points.

    Returns
    -------
    n_failed : int
        Number of geodesics that did not converge.
    """
    n_failed, n_lost = int((~converged).sum()), int((~reached).sum())
    pairs = f"{n_failed} of {converged.size} geodesics between points and centers"
    message = f"{pairs} did not converge."
    consequence = "The lengths of the best curves found were used."
    if n_lost:
        message += f" No center reaches {n_lost} of {len(reached)} points."
        consequence += (
            " Points out of reach have the label -1 and infinite distances, and no part in "
            "centers and inertia."
        )
    if n_failed:
        report_failures(space, message, consequence)
    return n_failed
