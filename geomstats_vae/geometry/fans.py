"""Fans of curves from means to points: where they begin, how they descend, what is kept of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeGuard

import numpy as np
import torch
from numpy.typing import NDArray

from geomstats_vae.geodesics import GeodesicSolver
from geomstats_vae.geodesics.curves.path import SolvedCurves
from geomstats_vae.geodesics.descent import (
    SineCurves,
    descend,
    first_descent,
    moved_sines,
    sine_curves,
)
from geomstats_vae.geodesics.kinked import kink_codes
from geomstats_vae.geodesics.options import DescentOptions, KinkOptions
from geomstats_vae.geodesics.search import first_polylines
from geomstats_vae.geometry.decoder import DecoderGeometry
from geomstats_vae.geometry.mean_descent import Fans, Stage, descend_to_means
from geomstats_vae.geometry.protocol import Floats, Geometry, KeptCurves, no_curves
from geomstats_vae.geometry.solved import CURVES_BYTES, unpack_curves
from geomstats_vae.geometry.time_limit import check_time
from geomstats_vae.immersions import Immersion

# Few chords first: they are cheap, and lead near the mean. At the end lengths are right to about a
# thousandth.
FIRST_STAGE, ROUGH_STAGE = Stage(8, 6, 1e-3), Stage(16, 12, 1e-3)
LAST_STAGES = Stage(16, 12, 1e-4), Stage(32, 24, 1e-4)
# Fewest dimensions in which curves descend by chords before anything else.
_FEWEST_DIMENSIONS = 6
# Most waves that curves of a guess have.
_MODES = 24
# A graph path is tried where it is at most this many times as long as the curve. Graph paths are
# several percent longer than geodesics.
_WORTH = 1.02
# A curve gives way to one that is shorter by this share.
_MARGIN = 1e-3


def descends_first(geometry: Geometry) -> TypeGuard[DecoderGeometry]:
    """Tell whether rough curves cost far less than geodesics, as in many dimensions.

    Parameters
    ----------
    geometry : Geometry
        A geometry.

    Returns
    -------
    descends_first : bool
        Whether it is that of a decoder of 6 dimensions or more.
    """
    return isinstance(geometry, DecoderGeometry) and geometry.dim >= _FEWEST_DIMENSIONS


def fans_of(
    X: Floats, labels: NDArray[np.integer], means: Floats, guess: KeptCurves | None = None
) -> Fans:
    """Begin with straight lines, or with curves of earlier means.

    Parameters
    ----------
    X : numpy.ndarray, shape=[n_samples, dim]
        Points.
    labels : numpy.ndarray of int, shape=[n_samples]
        Groups of the points.
    means : numpy.ndarray, shape=[n_groups, dim]
        Means.
    guess : numpy.ndarray of object, shape=[n_samples], optional
        Column `curves` of `Logs`, from points near the means.

    Returns
    -------
    fans : Fans
        First curves, whose lengths are not known.
    """
    start, n_modes = means[labels], _MODES
    curves = SineCurves(start, X, np.zeros((len(X), n_modes, X.shape[1])))
    known = None if guess is None else unpack_curves(guess)
    if known is not None:
        rows = np.array([k for k, nodes in enumerate(known.nodes) if nodes is not None], dtype=int)
        nodes = [known.nodes[k] for k in rows]
        ends = start[rows] - known.start[rows], X[rows] - known.end[rows]
        curves = curves.put(rows, moved_sines(nodes, *ends, n_modes))
    return Fans(means, curves, np.full(len(X), np.nan))


def descend_fans(
    geometry: DecoderGeometry,
    fans: Fans,
    labels: NDArray[np.integer],
    weights: Floats,
    stages: Sequence[Stage],
) -> Fans:
    """Let means and curves descend together, from few chords to many.

    Parameters
    ----------
    geometry : DecoderGeometry
        Geometry of a latent space.
    fans : Fans
        Where they are.
    labels : numpy.ndarray of int, shape=[n_samples]
        Groups of the points.
    weights : numpy.ndarray, shape=[n_samples]
        Nonnegative weights.
    stages : sequence of Stage
        One after the other.

    Returns
    -------
    fans : Fans
        Where they came to.

    Raises
    ------
    OutOfTimeError
        If the geometry's deadline passes.
    """
    immersion, blocks = rough_immersion(geometry), geometry.blocks
    for stage in stages:
        means, curves, _ = fans
        fans = descend_to_means(
            immersion, curves, labels, weights, means, stage, deadline=blocks.deadline
        )
        check_time(blocks.deadline)
    return fans


def look_around(geometry: DecoderGeometry, fans: Fans, stage: Stage) -> Fans:
    """Take graph paths for curves that are not much shorter, if shorter curves lie there.

    Parameters
    ----------
    geometry : DecoderGeometry
        Geometry of a latent space.
    fans : Fans
        Curves that have descended.
    stage : Stage
        How fine graph paths become.

    Returns
    -------
    fans : Fans
        Curves of the same ends, none longer.
    """
    graph = geometry.build_graph()
    if graph is None:
        return fans
    start, end = fans.curves.start, fans.curves.end
    length = np.where(np.isfinite(fans.length), fans.length, np.inf)
    with torch.no_grad():
        far = (start != end).any(axis=1)
        cost = np.full(len(start), np.inf)
        cost[far] = graph.distances(start[far], end[far])
        rows = np.flatnonzero(np.isfinite(cost) & (cost <= _WORTH * length))
        if not len(rows):
            return fans
        paths, _ = graph.paths(start[rows], end[rows])
        options = DescentOptions(chords=stage.chords, modes=stage.modes, rtol=stage.rtol)
        first = sine_curves(paths, stage.modes)
        deadline = geometry.blocks.deadline
        found = descend(rough_immersion(geometry), first, options, deadline)
    better = found.length < (1.0 - _MARGIN) * length[rows]
    taken, length = rows[better], fans.length.copy()
    if not len(taken):
        return fans
    n_modes = fans.curves.amplitudes.shape[1]
    curves = found.curves.finer(n_modes).take(np.flatnonzero(better))
    length[taken] = found.length[better]
    return Fans(fans.means, fans.curves.put(taken, curves), length)


def rough_curves(
    geometry: DecoderGeometry, start: Floats, end: Floats, stage: Stage
) -> tuple[SineCurves, Floats]:
    """Shorten curves between points, from straight lines and graph paths.

    Parameters
    ----------
    geometry : DecoderGeometry
        Geometry of a latent space.
    start, end : numpy.ndarray, shape=[n_pairs, dim]
        End points.
    stage : Stage
        How fine curves are.

    Returns
    -------
    curves : SineCurves
        The shorter one of each pair.
    length : numpy.ndarray, shape=[n_pairs]
        Lengths by chords; infinite where F is not finite.

    Raises
    ------
    OutOfTimeError
        If the geometry's deadline passes.
    """
    options = DescentOptions(
        chords=stage.chords, modes=stage.modes, rtol=stage.rtol, coarse_chords=0
    )
    deadline = geometry.blocks.deadline
    with torch.no_grad():
        lines, owner = first_polylines(geometry.build_graph(), start, end, _WORTH)
        found = first_descent(rough_immersion(geometry), lines, owner, options, deadline)
    check_time(deadline)
    return found.curves, np.where(np.isfinite(found.length), found.length, np.inf)


def keep_fans(geometry: DecoderGeometry, fans: Fans) -> KeptCurves:
    """Make curves a guess for geodesics.

    Parameters
    ----------
    geometry : DecoderGeometry
        Geometry of a latent space.
    fans : Fans
        Curves that have descended.

    Returns
    -------
    guess : numpy.ndarray of object, shape=[n_samples]
        As of `Geometry.logs`. Nothing where F is not finite, or has kinks: geodesics of such
        decoders are found on smoother ones first.
    """
    kept, solver = no_curves(len(fans.length)), geometry.solver
    immersion = geometry.immersion()
    if not isinstance(solver, GeodesicSolver) or not immersion.smooth or immersion.curvature_jumps:
        return kept
    curves = fans.curves
    n_elements, degree = solver.descent.alone_elements, solver.start.line_degree
    nodes = curves.elements(n_elements, degree).nodes
    nodes = nodes.reshape(len(curves), n_elements, degree + 1, -1)
    usable = np.isfinite(fans.length) & np.isfinite(nodes).all(axis=(1, 2, 3))
    usable &= (curves.start != curves.end).any(axis=1)
    if nodes[:1].nbytes * len(nodes) > CURVES_BYTES:
        return kept
    one = {"converged": np.ones(1, dtype=bool), "width": np.zeros(1), "length_error": np.ones(1)}
    # Nothing is known of the graph, and nothing is certain: they are looked at anew.
    one |= {"drift": np.full(1, np.inf), "graph_length": np.full(1, np.nan)}
    for k in np.flatnonzero(usable):
        ends: dict[str, Any] = {"start": curves.start[k : k + 1], "end": curves.end[k : k + 1]}
        length = fans.length[k : k + 1]
        kept[k] = SolvedCurves(nodes=[nodes[k].copy()], length=length, **ends, **one)
    return kept


def rough_immersion(geometry: DecoderGeometry) -> Immersion:
    """Give F in single precision if that is exact enough, its kinks rounded.

    Parameters
    ----------
    geometry : DecoderGeometry
        Geometry of a latent space.

    Returns
    -------
    immersion : Immersion
        The immersion.
    """
    graph = geometry.build_graph()
    exact = geometry.immersion()
    immersion = exact if graph is None or graph.single is None else graph.single
    if exact.smooth is False:
        codes = kink_codes(exact, geometry.codes, KinkOptions())
        immersion = immersion.smoothed(geometry.kink_width, codes)
    return immersion.condensed()
