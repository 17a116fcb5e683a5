"""Polygons that are shortened within bands around them, by dynamic programming, compiled.

Along a wall of a metric lie narrow and curved valleys, in which Newton's method takes hundreds of
short steps. Here each vertex of a polygon has candidates across it, some near and some far, and the
shortest polygon through one candidate of each is found ([1]_, section 2). That asks for no
derivatives, and looks past what is no more than a bump in the way. The candidates move to where the
polygon went, come closer where it stays, and the vertices become more.

References
----------
.. [1] Amini, Weymouth, Jain. "Using dynamic programming for solving variational problems in
   vision." IEEE Transactions on Pattern Analysis and Machine Intelligence 12, 1990.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from scipy.interpolate import CubicSpline

from geomstats_vae.geodesics.arrays import Floats, Ints
from geomstats_vae.geodesics.table.metric_table import MetricTable
from geomstats_vae.geodesics.table.splines import SplineTree, jet_scratch, spline_jet

_TINY = np.finfo(float).tiny


@dataclass(frozen=True)
class BandOptions:
    """How polygons are shortened within bands.

    Parameters
    ----------
    segments : tuple of int
        Segments of the polygon, coarse to fine.
    enough : float
        There are no more segments where twice as many made it shorter by no more than this share.
    rings : int
        Distances at which a vertex has candidates; each is `ratio` times the next.
    ratio : float
        Ratio of these distances.
    directions : int
        Candidates at each distance, in three dimensions; in two there are two.
    behind, apart : float
        Of several polygons those that are longer than the shortest by more than this share go no
        further, nor do those that are nowhere farther from a shorter one than this, in widths of
        the box.
    compared : int
        Points at which that is seen.
    widen, shrink, settle : float
        Factors of the distances where the outermost ring is chosen, where the vertex stays or goes
        to the innermost ring, and where it goes to the next.
    even : float
        Share of a segment's weight that is its length in latent space, not in the metric.
    most_rounds : int
        Rounds with as many segments.
    patience : int
        Rounds after which it must have become shorter.
    gain : float
        By this share.
    samples : int
        Points of a segment at which lengths are measured and corners rounded.
    """

    segments: tuple[int, ...] = (100, 200, 400, 800)
    enough: float = 3e-3
    rings: int = 4
    ratio: float = 0.5
    directions: int = 6
    behind: float = 0.05
    apart: float = 0.005
    compared: int = 100
    widen: float = 2.0
    shrink: float = 0.35
    settle: float = 0.6
    even: float = 0.3
    most_rounds: int = 8
    patience: int = 3
    gain: float = 2e-3
    samples: int = 4


def shorten_in_bands(
    table: MetricTable, paths: list[Floats], widths: tuple[float, ...], options: BandOptions
) -> list[tuple[Floats, float]]:
    """Shorten polygons with the same ends in a tabulated metric, each in bands of several widths.

    All have become of so many segments before one is of more. Those that are much longer than the
    shortest then go no further, nor do those that came to where a shorter one is.

    Parameters
    ----------
    table : MetricTable
        The metric.
    paths : list of array, shape=[n_vertices, dim]
        Vertices.
    widths : tuple of float
        Largest distances of candidates at first, as shares of the box's diagonal.
    options : BandOptions
        Steps.

    Returns
    -------
    shortened : list of (array, float)
        Points of the shortest smooth curves that were seen, shape=[n_samples, dim], and their
        lengths, the shortest first; infinite where the table knows none.
    """
    tracks = [_Track(table, path, width, options) for path in paths for width in widths]
    for n_segments in options.segments:
        for track in tracks:
            track.advance(n_segments)
        tracks = _leading(tracks, options)
    return [(track.best, track.length) for track in tracks]


def _leading(tracks: list[_Track], options: BandOptions) -> list[_Track]:
    """Leave out polygons that are much longer than the shortest, or lie where a shorter one is."""
    kept: list[_Track] = []
    for track in sorted(tracks, key=lambda track: track.length):
        behind = kept and not track.length <= kept[0].length * (1.0 + options.behind)
        if not behind and all(track.apart(other) for other in kept):
            kept.append(track)
    return kept


class _Track:
    """A polygon that is shortened in a band.

    Parameters
    ----------
    table : MetricTable
        The metric.
    path : array, shape=[n_vertices, dim]
        Vertices.
    width : float
        Largest distance of candidates at first.
    options : BandOptions
        Steps.
    """

    def __init__(
        self, table: MetricTable, path: Floats, width: float, options: BandOptions
    ) -> None:
        self.best, self.length = path, np.inf
        self._table, self._options = table, options
        self._scale = table.high - table.low  # coordinates may have very different scales
        self._path, self._width = path, np.full(len(path), width * np.sqrt(table.dim))
        self._begun = self._done = False

    def advance(self, n_segments: int) -> None:
        """Shorten the polygon in rounds, of so many segments, unless more are of no use."""
        if self._done:
            return
        table, options, scale = self._table, self._options, self._scale
        offsets = _offsets(table.dim, options)
        path, width, _, _ = _respaced(table, self._path, self._width, n_segments, options)
        if self._begun:
            # Corners were cut: candidates must reach as far.
            bend = np.zeros(len(path))
            bend[1:-1] = np.linalg.norm((path[2:] - 2.0 * path[1:-1] + path[:-2]) / scale, axis=1)
            width = np.maximum(width, 0.5 * _highest_around(bend))
        seen, coarser = list[float](), self.length
        for _ in range(options.most_rounds):
            chosen = _best_in_band(table, path, width, offsets, scale)
            if chosen is None:
                self._done = True
                return
            ring = _highest_around(np.linalg.norm(offsets[chosen], axis=1))
            across = np.einsum("nk,nki->ni", offsets[chosen], _normals(path / scale))
            path = path + scale * width[:, None] * across
            width = width * _factors(ring, options)
            path, width, smooth, length = _respaced(table, path, width, n_segments, options)
            if length < self.length:
                self.best, self.length = smooth, length
            seen.append(length)
            past = len(seen) - 1 - options.patience
            if past >= 0 and not min(seen[past + 1 :]) < seen[past] * (1.0 - options.gain):
                break
        self._done = self._begun and not self.length < coarser * (1.0 - options.enough)
        self._path, self._width, self._begun = path, width, True

    def apart(self, other: _Track) -> bool:
        """Tell whether this polygon lies apart from another."""
        if not np.isfinite(self.length):
            return False
        options, both = self._options, (self.best / self._scale, other.best / self._scale)
        here, there = (_evenly(path, options.compared) for path in both)
        return bool(np.linalg.norm(here - there, axis=1).max() > options.apart)


def _evenly(path: Floats, n_points: int) -> Floats:
    """Take points of a polygon at equal distances."""
    step = np.linalg.norm(np.diff(path, axis=0), axis=1)
    at = np.concatenate(([0.0], np.cumsum(step)))
    place = np.linspace(0.0, at[-1], n_points)
    return np.stack([np.interp(place, at, column) for column in path.T], axis=1)


def _offsets(dim: int, options: BandOptions) -> Floats:
    """Places of candidates across a vertex, shape=[n_candidates, dim - 1]; the first is its own."""
    radii = options.ratio ** np.arange(options.rings)
    if dim == 2:
        rings = [np.array([[radius], [-radius]]) for radius in radii]
    else:
        turn = 2.0 * np.pi / options.directions
        rings = []
        for k, radius in enumerate(radii):
            angle = turn * (np.arange(options.directions) + 0.5 * (k % 2))
            rings.append(radius * np.stack((np.cos(angle), np.sin(angle)), axis=1))
    return np.concatenate([np.zeros((1, dim - 1)), *rings])


def _factors(ring: Floats, options: BandOptions) -> Floats:
    """By how much the candidates move apart or closer, from the rings that were chosen."""
    innermost = options.ratio ** (options.rings - 1)
    factor = np.ones(len(ring))
    factor[ring > 0.99] = options.widen
    factor[ring < 1.01 * innermost / options.ratio] = options.settle
    factor[ring < 1.01 * innermost] = options.shrink
    return factor


def _highest_around(values: Floats) -> Floats:
    """Highest of each value and its neighbours."""
    padded = np.concatenate((values[:1], values, values[-1:]))
    return np.maximum.reduce([padded[:-2], padded[1:-1], padded[2:]])


def _normals(path: Floats) -> Floats:
    """Give unit vectors across a polygon, shape=[n_vertices, dim - 1, dim]."""
    tangent = np.gradient(path, axis=0)
    tangent /= np.maximum(np.linalg.norm(tangent, axis=1), _TINY)[:, None]
    if path.shape[1] == 2:
        return np.stack((-tangent[:, 1], tangent[:, 0]), axis=1)[:, None]
    least = np.eye(3)[np.abs(tangent).argmin(axis=1)]
    one = np.cross(tangent, least)
    one /= np.maximum(np.linalg.norm(one, axis=1), _TINY)[:, None]
    return np.stack((one, np.cross(tangent, one)), axis=1)


def _best_in_band(
    table: MetricTable, path: Floats, width: Floats, offsets: Floats, scale: Floats
) -> Ints | None:
    """Candidates that the shortest polygon passes, shape=[n_vertices]; None if none is known."""
    n_vertices, n_candidates, dim = len(path), len(offsets), table.dim
    across = np.einsum("ck,nki->nci", offsets, _normals(path / scale))
    candidates = path[:, None] + scale * width[:, None, None] * across
    candidates[0], candidates[-1] = path[0], path[-1]
    back = np.zeros((n_vertices, n_candidates), dtype=np.int64)
    cost = np.empty((2, n_candidates))
    metrics = np.empty((2, n_candidates, dim * (dim + 1) // 2))
    length = _shortest(table.tree, candidates, back, cost, metrics)
    if not length < np.inf:
        return None
    chosen = np.zeros(n_vertices, dtype=int)
    for k in range(n_vertices - 1, 0, -1):
        chosen[k - 1] = back[k, chosen[k]]
    return chosen


def _respaced(
    table: MetricTable, path: Floats, width: Floats, n_segments: int, options: BandOptions
) -> tuple[Floats, Floats, Floats, float]:
    """Place vertices anew along a smooth curve through them; with it and its length."""
    scale = table.high - table.low
    step = np.linalg.norm(np.diff(path / scale, axis=0), axis=1)
    step = np.maximum(step, 1e-12 * step.sum() + _TINY)
    at = np.concatenate(([0.0], np.cumsum(step)))
    share = np.arange(options.samples) / options.samples
    t = np.append((at[:-1, None] + share * step[:, None]).ravel(), at[-1])
    smooth = CubicSpline(at, path)(t)
    smooth[0], smooth[-1] = path[0], path[-1]
    chord = np.diff(smooth, axis=0)
    length = table.speeds(0.5 * (smooth[1:] + smooth[:-1]), chord)
    total, even = float(length.sum()), np.linalg.norm(chord / scale, axis=1)
    known = np.isfinite(length)
    weight = np.where(known, length, 0.0) / max(length[known].sum(), _TINY)
    weight = (1.0 - options.even) * weight + options.even * even / max(even.sum(), _TINY)
    along = np.concatenate(([0.0], np.cumsum(weight)))
    place = np.interp(np.linspace(0.0, along[-1], n_segments + 1), along, t)
    vertices = np.stack([np.interp(place, t, column) for column in smooth.T], axis=1)
    vertices[0], vertices[-1] = path[0], path[-1]
    return (
        vertices,
        np.interp(place, at, width),
        smooth,
        total if np.isfinite(total) else np.inf,
    )


@njit(cache=True, nogil=True)
def _shortest(
    tree: SplineTree, candidates: Floats, back: Ints, cost: Floats, metrics: Floats
) -> float:
    """Length of the shortest polygon through one candidate of each vertex.

    Segments are measured by Simpson's rule.

    Parameters
    ----------
    tree : SplineTree
        The metric.
    candidates : array, shape=[n_vertices, n_candidates, dim]
        Places; the first of the first and of the last vertex are where the polygon ends.
    back : array of int, shape=[n_vertices, n_candidates]
        Written: the candidate of the vertex before, on the shortest way to each.
    cost : array, shape=[2, n_candidates]
        Scratch.
    metrics : array, shape=[2, n_candidates, n_functions]
        Scratch.

    Returns
    -------
    length : float
        The length; infinite where the table knows none.
    """
    (n_vertices, n_candidates, _), dim = candidates.shape, len(tree.low)
    n_functions = dim * (dim + 1) // 2
    scratch = jet_scratch(dim)
    jet = np.empty((1 + dim + dim * (dim + 1) // 2, n_functions))
    middle = np.empty(dim)
    old, new = cost[0], cost[1]
    before, after = metrics[0], metrics[1]
    for v in range(n_vertices):
        last = v == n_vertices - 1
        count = 1 if v == 0 or last else n_candidates
        for k in range(count):
            new[k] = np.inf
            back[v, k] = 0
            known = spline_jet(tree, candidates[v, k], scratch, jet)
            for c in range(n_functions):
                after[k, c] = jet[0, c]
            if v == 0:
                new[k] = 0.0
                continue
            if not known:
                continue
            for o in range(1 if v == 1 else n_candidates):
                if not old[o] < new[k]:
                    continue
                for i in range(dim):
                    middle[i] = 0.5 * (candidates[v, k, i] + candidates[v - 1, o, i])
                if not spline_jet(tree, middle, scratch, jet):
                    continue
                one = two = three = 0.0
                c = 0
                for i in range(dim):
                    step = candidates[v, k, i] - candidates[v - 1, o, i]
                    for j in range(i, dim):
                        form = step * (candidates[v, k, j] - candidates[v - 1, o, j])
                        if i != j:
                            form *= 2.0
                        one += form * before[o, c]
                        two += form * jet[0, c]
                        three += form * after[k, c]
                        c += 1
                length = np.sqrt(max(one, 0.0)) + np.sqrt(max(three, 0.0))
                length = (length + 4.0 * np.sqrt(max(two, 0.0))) / 6.0
                if old[o] + length < new[k]:
                    new[k], back[v, k] = old[o] + length, o
        old, new = new, old
        before, after = after, before
    return old[0]
