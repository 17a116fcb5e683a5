"""Bounds of a decoder's distances from both sides."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from geomstats_vae.geodesics import GeodesicPath, LatentGraph
from geomstats_vae.geodesics.bounds import BoundStatus, DistanceBounds, StretchBound, StretchOptions
from geomstats_vae.geodesics.deadline import Deadline
from geomstats_vae.geodesics.elements import Evaluator, cache_sized_chunk
from geomstats_vae.geodesics.solver import within
from geomstats_vae.geometry.bounds import DecoderBounds
from geomstats_vae.geometry.protocol import Floats
from geomstats_vae.geometry.rows import rows
from geomstats_vae.geometry.time_limit import earlier

# Rows of as many numbers as F has outputs that are held for a point while M is evaluated.
_ROWS_PER_POINT = 4
# Nodes per side of the grid around a way on which others beside it are looked for.
_WAY_GRID = 32
# Chords of an interval. In one dimension there is no other way than through it.
_CHORDS = 4096


def distance_bounds(
    geometry: Any,
    start: Floats,
    end: Floats,
    *,
    rtol: float = 1e-2,
    max_seconds: float | None = 60.0,
    verbose: bool = False,
    options: StretchOptions | None = None,
) -> DistanceBounds:
    """Bound distances between pairs of points from both sides.

    Parameters
    ----------
    geometry : DecoderGeometry
        Geometry of the latent space.
    start, end : numpy.ndarray, shape=[n_pairs, dim]
        End points.
    rtol : float
        Relative gap at which a bound is good enough.
    max_seconds : float, optional
        Limit of time for all pairs; None is no limit. Each pair may take an equal share of what
        is left when it is begun.
    verbose : bool
        Show a progress bar, in pairs.
    options : StretchOptions, optional
        How lower bounds are found in two dimensions.

    Returns
    -------
    bounds : DistanceBounds
        Arrays with one entry per pair.

    Raises
    ------
    ValueError
        If rtol is not between 0 and 1.

    Notes
    -----
    Lower bounds are those of `StretchBound` in two dimensions; in one dimension sums of chords of
    the interval, in more the distance in data space.
    """
    if not 0.0 < rtol < 1.0:
        raise ValueError(
            f"Expected rtol between 0 and 1, got {rtol!r}; pass a relative gap such as 1e-2."
        )
    start, end = rows(start, end)
    deadline = Deadline.after(max_seconds)
    search = _Search(geometry, rtol, options)
    apart = np.flatnonzero((start != end).any(axis=1))
    n_pairs = len(start)
    lower, upper, status = np.zeros(n_pairs), np.zeros(n_pairs), np.zeros(n_pairs, dtype=int)
    n_triangles = np.zeros(n_pairs, dtype=int)
    with torch.no_grad():
        path = _paths(geometry, start[apart], end[apart], deadline, verbose)
        upper[apart] = _lengths(path)
        lower[apart] = np.minimum(search.chords(start[apart], end[apart]), upper[apart])
        tight = lower >= (1.0 - rtol) * upper
        status[~tight] = int(BoundStatus.CHORD)
        if deadline.passed:
            status[~np.isfinite(upper)] = int(BoundStatus.OUT_OF_TIME)
        open_ = (~tight & np.isfinite(upper))[apart] & (geometry.dim == 2)
        status[apart[open_]] = int(BoundStatus.OUT_OF_TIME)
        with tqdm(desc="Bounds", unit="pair", total=int(open_.sum()), disable=not verbose) as bar:
            for number, k in enumerate(np.flatnonzero(open_)):
                if deadline.passed:
                    break
                share = deadline.remaining
                if share is not None:
                    share /= int(open_.sum()) - number
                pair = apart[k]
                curve = path.points[k].copy()
                curve[0], curve[-1] = start[pair], end[pair]
                found = search.stretch(curve, upper[pair], Deadline.after(share))
                try:
                    status[pair] = int(found.run(rtol, _shown(bar)))
                except KeyboardInterrupt:
                    status[apart[open_][number:]] = int(BoundStatus.INTERRUPTED)
                upper[pair] = found.length
                lower[pair] = min(max(lower[pair], found.lower), upper[pair])
                n_triangles[pair] = found.n_triangles
                bar.update()
                if status[pair] == int(BoundStatus.INTERRUPTED):
                    break
    return DistanceBounds(lower, upper, status, n_triangles)


def _paths(
    geometry: Any, start: Floats, end: Floats, deadline: Deadline, verbose: bool
) -> GeodesicPath:
    """Find geodesics, in at most the time that is left."""
    own = Deadline.after(getattr(geometry.solver, "max_seconds", None))
    solver = within(geometry.solver, earlier(own, deadline).remaining)
    limited = replace(geometry, solver=solver)
    path: GeodesicPath = (limited.working(verbose=True) if verbose else limited).paths(start, end)
    return path


def _lengths(path: GeodesicPath) -> Floats:
    """Lengths of curves, with the error of their measurement; infinite where there is none."""
    with np.errstate(invalid="ignore"):
        length = path.length * (1.0 + path.length_error)
    return np.where(np.isfinite(length), length, np.inf)


def _shown(bar: tqdm) -> Any:
    def show(gap: float, n_triangles: int) -> None:
        bar.set_postfix(gap=f"{100 * gap:.3g} %", triangles=n_triangles)

    return show


class _Search:
    """Lower bounds of a geometry's distances."""

    def __init__(self, geometry: Any, rtol: float, options: StretchOptions | None) -> None:
        self._bounds: DecoderBounds = geometry.bounds
        self._immersion = geometry.immersion()
        self._dim, self._options, self._solver = geometry.dim, options, geometry.solver

    def chords(self, start: Floats, end: Floats) -> Floats:
        """Add chords of F along lines, one but in one dimension; zero where F is not finite."""
        n_chords = _CHORDS if self._dim == 1 else 1
        share = np.linspace(0.0, 1.0, n_chords + 1)[:, None]
        length = np.zeros(len(start))
        per_block = max(1, 2**13 // (n_chords + 1))
        for begin in range(0, len(start), per_block):
            part = slice(begin, begin + per_block)
            points = (1.0 - share) * start[part, None] + share * end[part, None]
            flat = points.reshape(-1, self._dim)
            embedding = torch.cat([values for _, values in self._bounds.embeddings(flat)])
            chords = embedding.view(len(points), n_chords + 1, -1).diff(dim=1).norm(dim=2)
            length[part] = chords.sum(dim=1).cpu().numpy()
        return np.where(np.isfinite(length), length, 0.0)

    def stretch(self, curve: Floats, length: float, deadline: Deadline) -> StretchBound:
        """Begin a search for a bound in two dimensions."""
        immersion = self._immersion.condensed()
        evaluator = Evaluator(immersion, cache_sized_chunk(immersion, _ROWS_PER_POINT))
        return StretchBound(
            evaluator.metrics,
            curve,
            length,
            kinked=self._immersion.smooth is not True,
            options=self._options,
            deadline=deadline,
            shorten=partial(self._shortened, curve[:1], curve[-1:], deadline),
        )

    def _shortened(
        self, start: Floats, end: Floats, deadline: Deadline, way: Floats, length: float
    ) -> float:
        """Length of the geodesic that is found from a way, or from one beside it."""
        graph = LatentGraph(self._immersion, way, grid_size=_WAY_GRID)
        given: Any = _GivenWay(graph, way, length)
        solver = within(self._solver, deadline.remaining)
        path = solver.solve(self._immersion, start, end, given)
        return float(_lengths(path)[0])


class _GivenWay:
    """A graph that knows one path from the beginning."""

    def __init__(self, graph: LatentGraph, way: Floats, length: float) -> None:
        self._graph, self._way, self._length = graph, way, length

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["_graph"], name)

    def paths(
        self, start: Floats, end: Floats, limit: Floats | None = None
    ) -> tuple[list[Floats], Floats]:
        """Return the path of the only pair."""
        return [self._way], np.array([self._length])
