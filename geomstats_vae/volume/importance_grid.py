"""Grids over a latent space, to draw the points of an importance quadrature from.

The best distribution to draw from is the density itself. It is guessed on a grid: volumes of the
cells are computed, distances to their centres are lengths of graph paths, and the directions of
the geodesics to them are interpolated between points whose logarithms are known. Next to the cut
locus nothing can be interpolated: there the directions of all points nearby are taken in turn.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.interpolate import (
    LinearNDInterpolator,
    NearestNDInterpolator,
    RegularGridInterpolator,
)
from scipy.spatial import QhullError, cKDTree

from geomstats_vae.geometry.decoder import DecoderGeometry
from geomstats_vae.geometry.protocol import Floats, Geometry
from geomstats_vae.volume.frames import TangentFrame

# Grids of more dimensions are too coarse to draw from.
MAX_DIM = 3
# Cells along each axis that lengths are measured to, and how many finer cells each is divided into.
_COARSE, _FINER = {1: 256, 2: 48, 3: 12}, 4
# Margins of the grid beyond the codes that are tried in turn, in ranges of the codes, and the share
# of the integral that cells at the edge may bear: with more of it, there is more outside.
_MARGINS, _EDGE = (0.25, 0.5, 1.0, 2.0), 2e-5
# A density whose standard deviations have a product of less than this many cells gets a grid of its
# own, of so many standard deviations to each side.
_LEAST_EXTENT, _FLAT_REACH = 0.05, 6.0
# Arrays of lengths that are kept.
_KEPT = 32
# Distances relative to lengths of graph paths: see `PullbackDecoderMetric.dist_pairwise`.
_SHORTER, _LONGER = 0.97, 1.07
# Points are drawn from a density that decays more slowly than guessed, by this in squared distance.
_FLATTER = 0.9
# Shares of points that are drawn from a density of twice the covariance, from one that decays with
# the distance alone, at the lowest rate in any direction, and from the mean of those by the
# directions of so many logarithms nearby, for directions are guessed.
_WIDER, _ROUND, _NEARBY, _N_NEARBY = 0.05, 0.05, 0.4, 16


@dataclass(frozen=True)
class GridDistribution:
    """A distribution that is uniform within the cells of a grid.

    Parameters
    ----------
    edges : numpy.ndarray, shape=[dim, n_cells + 1]
        Edges of the cells along each axis, equally spaced.
    mass : numpy.ndarray, shape=[n_cells, ...]
        Masses of the cells, of sum 1.
    """

    edges: Floats
    mass: Floats

    def draw(self, uniform: Floats) -> tuple[Floats, Floats]:
        """Map uniform points to points of the distribution.

        Parameters
        ----------
        uniform : numpy.ndarray, shape=[n_points, dim]
            Points of the unit cube.

        Returns
        -------
        points : numpy.ndarray, shape=[n_points, dim]
            Points, by the inverse distribution functions of each axis given those before it.
        log_density : numpy.ndarray, shape=[n_points]
            Logarithm of the density there.
        """
        n_points, dim = uniform.shape
        points = np.empty_like(uniform)
        widths = np.diff(self.edges, axis=1)[:, 0]
        log_density = np.full(n_points, -np.log(widths).sum())
        given = np.broadcast_to(self.mass, (1, *self.mass.shape))
        row = np.zeros(n_points, dtype=int)
        for axis in range(dim):
            marginal = given.reshape(*given.shape[:2], -1).sum(axis=2)
            # Where there is no mass, no point is drawn.
            total = marginal.sum(axis=1, keepdims=True)
            share = marginal / np.where(total > 0.0, total, 1.0)
            ladder = np.cumsum(share, axis=1)[row]
            cell = np.minimum((ladder < uniform[:, axis, None]).sum(axis=1), share.shape[1] - 1)
            chosen = share[row, cell]
            below = ladder[np.arange(n_points), cell] - chosen
            inside = np.clip((uniform[:, axis] - below) / chosen, 0.0, 1.0)
            points[:, axis] = self.edges[axis, cell] + inside * widths[axis]
            log_density += np.log(chosen)
            row = row * share.shape[1] + cell
            given = given.reshape(-1, *given.shape[2:])
        return points, log_density


class ImportanceGrid:
    """Grid over a latent space: volumes of cells, and lengths of graph paths to their centres.

    Parameters
    ----------
    geometry : Geometry
        Geometry that `ImportanceGrid.serves`.

    Notes
    -----
    Volumes are computed once for each of the nested grids, and serve all means. Lengths vary less
    and are interpolated between coarser cells.
    """

    def __init__(self, geometry: Geometry) -> None:
        bounds, codes = geometry.bounds, geometry.codes
        if bounds is None or codes is None or geometry.dim > MAX_DIM:
            raise ValueError(
                f"Expected a geometry of at most {MAX_DIM} dimensions with a graph over codes, got "
                f"one of {geometry.dim} {'without' if codes is None else 'with'} codes; integrate "
                "along rays there."
            )
        self._geometry, self._bounds, self._dim = geometry, bounds, geometry.dim
        self._low, self._high = codes.min(axis=0), codes.max(axis=0)
        self._volumes: dict[float, tuple[Floats, Floats]] = {}
        self._lengths: dict[tuple[bytes, float], Floats] = {}

    @staticmethod
    def within_table(geometry: Geometry) -> Geometry:
        """Let the table of a decoder's metric, where it is in use, reach as far as the points.

        In three dimensions it could not be as fine where the codes are.
        """
        if isinstance(geometry, DecoderGeometry) and geometry.tabulated and geometry.dim <= 2:
            return geometry.reaching(_MARGINS[-1])
        return geometry

    @staticmethod
    def serves(geometry: Geometry) -> bool:
        """Whether points can be drawn: in few dimensions, with a graph over codes."""
        return geometry.codes is not None and geometry.dim <= MAX_DIM

    def edges(self, margin: float) -> Floats:
        """Edges of the cells along each axis, shape=[dim, n_cells + 1]."""
        width = np.maximum(self._high - self._low, np.finfo(float).tiny)
        low, high = self._low - margin * width, self._high + margin * width
        return np.linspace(low, high, _COARSE[self._dim] * _FINER + 1, axis=1)

    def distribution(
        self, frame: TangentFrame, rows: Floats, coordinates: Floats, precision: Floats
    ) -> GridDistribution:
        """Guess at a locally adaptive normal distribution.

        Parameters
        ----------
        frame : TangentFrame
            Frame at the mean.
        rows : numpy.ndarray, shape=[n_rows, dim]
            Points whose logarithms are known.
        coordinates : numpy.ndarray, shape=[n_rows, dim]
            Normal coordinates of these logarithms, which tell the directions of others.
        precision : numpy.ndarray, shape=[dim, dim]
            Matrix G of the distribution.

        Returns
        -------
        distribution : GridDistribution
            Masses of a grid at whose edge there is next to none, which fall a little more slowly
            than those of the normal distribution.
        """
        if self._is_narrow(frame, precision):
            return _flat_distribution(frame, precision)
        guess = _log_interpolant(rows, coordinates)
        for margin in _MARGINS:
            centres, volume = self._cells(margin)
            lengths = self._graph_lengths(frame.base, margin)
            squares = _squares(guess(centres), lengths, precision).reshape(volume.shape)
            squares = squares - squares.min()
            mass = volume * np.exp(-0.5 * _FLATTER * squares)
            mass /= mass.sum()
            inner = mass[(slice(1, -1),) * mass.ndim].sum()
            if 1.0 - inner < _EDGE:
                break
        lowest = np.linalg.eigvalsh(precision)[0]
        wider = volume * np.exp(-0.25 * squares)
        from_base = lengths.reshape(volume.shape) ** 2
        around = volume * np.exp(-0.5 * lowest * (from_base - from_base.min()))
        rates = self._rates_nearby(rows, coordinates, precision, margin)
        nearby = volume * _mean_decay(0.5 * _FLATTER * rates, from_base)
        mass = (1.0 - _WIDER - _ROUND - _NEARBY) * mass + _WIDER * wider / wider.sum()
        mass += _ROUND * around / around.sum() + _NEARBY * nearby / nearby.sum()
        return GridDistribution(self.edges(margin), mass)

    def _rates_nearby(
        self, rows: Floats, coordinates: Floats, precision: Floats, margin: float
    ) -> Floats:
        """Rates, as of `_rates`, by the logarithms nearby, shape=[n_nearby, n_cells, ...].

        Those are next to the coarse cell of each fine one.
        """
        width = np.maximum(self._high - self._low, np.finfo(float).tiny)
        _, centres = _centres(self.edges(margin)[:, ::_FINER])
        some = np.arange(1, min(_N_NEARBY, len(rows)) + 1)
        _, near = cKDTree(rows / width).query(centres / width, k=some)
        rates = np.moveaxis(_rates(coordinates, precision)[near], -1, 0)
        for axis in range(1, self._dim + 1):
            rates = rates.repeat(_FINER, axis=axis)
        return rates

    def _is_narrow(self, frame: TangentFrame, precision: Floats) -> bool:
        """Whether most draws from the cells of the smallest grid would miss a distribution."""
        cell = np.prod(np.diff(self.edges(_MARGINS[0])[:, :2], axis=1))
        extent = abs(np.linalg.det(frame.basis)) / np.sqrt(np.linalg.det(precision))
        return bool(extent < _LEAST_EXTENT * cell)

    def _graph_lengths(self, base: Floats, margin: float) -> Floats:
        """Lengths to the centres; kept, for a mean asks again as its covariance changes."""
        key = base.tobytes(), margin
        if key not in self._lengths:
            while len(self._lengths) >= _KEPT:
                del self._lengths[next(iter(self._lengths))]
            middles, coarse = _centres(self.edges(margin)[:, ::_FINER])
            lengths = self._bounds.graph_lengths(coarse.reshape(-1, self._dim), base[None])
            lengths = _filled(coarse.reshape(-1, self._dim), lengths[:, 0])
            between = RegularGridInterpolator(
                tuple(middles),
                lengths.reshape(coarse.shape[:-1]),
                bounds_error=False,
                fill_value=None,
            )
            self._lengths[key] = np.maximum(between(self._cells(margin)[0]), 0.0)
        return self._lengths[key]

    def _cells(self, margin: float) -> tuple[Floats, Floats]:
        """Centres of the cells, one after another, and volume densities there on the grid."""
        if margin not in self._volumes:
            _, centres = _centres(self.edges(margin))
            flat = centres.reshape(-1, self._dim)
            volume = self._geometry.volume_densities(flat)
            # Nothing is drawn where the decoder is not finite.
            volume = np.where(np.isfinite(volume), volume, 0.0)
            self._volumes[margin] = flat, volume.reshape(centres.shape[:-1])
        return self._volumes[margin]


def _filled(points: Floats, lengths: Floats) -> Floats:
    """Lengths; those that are infinite are replaced by that of the nearest point that has one."""
    known = np.isfinite(lengths)
    if known.all() or not known.any():
        return np.where(known, lengths, 0.0)
    return np.where(known, lengths, NearestNDInterpolator(points[known], lengths[known])(points))


def _flat_distribution(frame: TangentFrame, precision: Floats) -> GridDistribution:
    """Guess at a distribution so narrow that the metric hardly changes, on a grid of its own."""
    covariance = frame.basis @ np.linalg.inv(precision) @ frame.basis.T
    reach = _FLAT_REACH * np.sqrt(np.diagonal(covariance))
    n_cells = _COARSE[frame.dim] * _FINER
    edges = np.linspace(frame.base - reach, frame.base + reach, n_cells + 1, axis=1)
    _, centres = _centres(edges)
    w = frame.coordinates(centres - frame.base)
    squares = np.einsum("...i,ij,...j->...", w, precision, w)
    mass, wider = np.exp(-0.5 * _FLATTER * squares), np.exp(-0.25 * squares)
    mass = (1.0 - _WIDER) * mass / mass.sum() + _WIDER * wider / wider.sum()
    return GridDistribution(edges, mass)


def _centres(edges: Floats) -> tuple[Floats, Floats]:
    """Middles between edges along each axis, and the centres of all cells, shape=[..., dim]."""
    middles = 0.5 * (edges[:, 1:] + edges[:, :-1])
    return middles, np.stack(np.meshgrid(*middles, indexing="ij"), axis=-1)


def _log_interpolant(rows: Floats, coordinates: Floats) -> Callable[[Floats], Floats]:
    """Guess at logarithms: linear between rows, that of the nearest row outside of them."""
    if rows.shape[1] == 1:
        places, first = np.unique(rows[:, 0], return_index=True)
        values = coordinates[first, 0]
        return lambda points: np.interp(points[:, 0], places, values)[:, None]
    nearest = NearestNDInterpolator(rows, coordinates)
    try:
        linear = LinearNDInterpolator(rows, coordinates)
    except (QhullError, ValueError):  # too few rows, or all on a line
        return nearest

    def guess(points: Floats) -> Floats:
        inside = linear(points)
        return np.where(np.isfinite(inside), inside, nearest(points))

    return guess


def _squares(guess: Floats, lengths: Floats, precision: Floats) -> Floats:
    """Guess at w' G w, by the guess at the direction of w and what the graph knows of its norm."""
    norms = np.linalg.norm(guess, axis=1)
    scaled = np.clip(norms, _SHORTER * lengths, _LONGER * lengths)
    return _rates(guess, precision) * scaled**2


def _rates(coordinates: Floats, precision: Floats) -> Floats:
    """Rates w' G w / |w|^2, shape=[n_points]; the lowest of all directions where w is zero."""
    norms = np.linalg.norm(coordinates, axis=1)
    squares = np.einsum("ni,ij,nj->n", coordinates, precision, coordinates)
    lowest = np.linalg.eigvalsh(precision)[0]
    # Divided by one norm at a time: a small norm's square may be zero.
    divisor = np.where(norms > 0.0, norms, 1.0)
    return np.where(norms > 0.0, squares / divisor / divisor, lowest)


def _mean_decay(rates: Floats, squares: Floats) -> Floats:
    """Mean of exp(-rate * square) over the rates, shape=[n_rates, ...], but for a factor."""
    exponents = rates * squares
    return np.exp(exponents.min() - exponents).mean(axis=0)
