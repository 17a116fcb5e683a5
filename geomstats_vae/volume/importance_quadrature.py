r"""Integrals over a tangent space, taken in the latent space of a decoder.

Where a decoder's metric is rough, geodesics from one point focus and scatter: after one standard
deviation most rays are no longer shortest, and few of the others carry most of the volume. The
same integral in latent coordinates is gentle. With z = Exp(v), dM = sqrt(det M(z)) dz and each
point counted once, by its shortest geodesic,

.. math:: C(G) = \int \exp(-w(z)' G w(z) / 2) \sqrt{\det M(z)} dz ,

where w(z) are the normal coordinates of Log z. Points z are drawn by randomised quasi-Monte-Carlo
from a density on a grid that lengths on the metric's graph suggest (importance sampling, [1]_,
chapter 9), and each costs a geodesic.

References
----------
.. [1] Owen. "Monte Carlo Theory, Methods and Examples." 2013.
"""

from __future__ import annotations

from dataclasses import dataclass

import geomstats.backend as gs
import numpy as np
from scipy import linalg, stats
from scipy.interpolate import (
    LinearNDInterpolator,
    NearestNDInterpolator,
    RegularGridInterpolator,
)
from scipy.spatial import QhullError

from geomstats_vae.manifolds.rows import decoder_metric
from geomstats_vae.volume.cut_points import graph_lengths
from geomstats_vae.volume.ray_quadrature import N_REPLICATES, TangentMoments

MAX_DIM = 3  # grids of more dimensions are too coarse to draw from
_COARSE = {1: 256, 2: 48, 3: 12}  # cells along each axis that lengths are measured to
_FINER = 4  # cells that each of these is divided into
_MARGINS = (0.25, 0.5, 1.0, 2.0)  # of the grid beyond the codes, in their ranges
_EDGE = 2e-5  # share of the integral that cells at the edge of the grid may bear; more is behind
_KEPT = 32  # arrays of lengths
# Lengths relative to those on the graph: see PullbackDecoderMetric.dist_pairwise.
_SHORTER, _LONGER = 0.97, 1.07
_FLATTER = 0.9  # points are drawn from a density that decays more slowly, in squared distance
# Shares of points that are drawn from one of twice the covariance, and from one that decays with
# the distance alone, at the lowest rate in any direction: directions are guessed.
_WIDER, _ROUND = 0.05, 0.05


@dataclass(frozen=True)
class LatentCloud:
    """Quadrature over tangent vectors by their end points.

    Parameters
    ----------
    points : numpy.ndarray, shape=[n_points, dim]
        Points, replicate after replicate.
    coordinates : numpy.ndarray, shape=[n_points, dim]
        Their normal coordinates w.
    log_weights : numpy.ndarray, shape=[n_points]
        Logarithms of weights whose mean integrates over Riemannian volume.
    scale : numpy.ndarray, shape=[dim, dim]
        Scale matrix L: the points were drawn for densities of covariance about L L'.
    law : tuple of numpy.ndarray
        Edges and masses of the grid that the points were drawn from.
    n_failed : int
        Geodesics to them that did not converge.
    """

    points: np.ndarray
    coordinates: np.ndarray
    log_weights: np.ndarray
    scale: np.ndarray
    law: tuple
    n_failed: int

    def _kernel(self, precision):
        """Log of the mean, and the terms relative to it."""
        squares = np.einsum("ni,ij,nj->n", self.coordinates, precision, self.coordinates)
        exponents = self.log_weights - 0.5 * squares
        largest = exponents.max()
        kernel = np.exp(exponents - largest)
        mean = kernel.mean()
        return largest + np.log(mean), kernel / mean

    def moments(self, precision):
        """Integrals under exp(-w' G w / 2), over Riemannian volume.

        Parameters
        ----------
        precision : numpy.ndarray, shape=[dim, dim]
            Matrix G in normal coordinates, positive definite.

        Returns
        -------
        moments : TangentMoments
            Normaliser, its standard error between replicates, and moments.
        """
        log_normalizer, kernel = self._kernel(precision)
        means = kernel.reshape(N_REPLICATES, -1).mean(axis=1)
        error = means.std(ddof=1) / np.sqrt(N_REPLICATES)
        first = (kernel[:, None] * self.coordinates).mean(axis=0)
        second = (self.coordinates.T * kernel) @ self.coordinates / len(kernel)
        return TangentMoments(log_normalizer, error, first, second)

    def largest_ratio(self, precision):
        """Largest density among the points, relative to the law that they were drawn from.

        Parameters
        ----------
        precision : numpy.ndarray, shape=[dim, dim]
            Matrix G in normal coordinates.

        Returns
        -------
        ratio : float
            Both densities being of integral 1.
        """
        return self._kernel(precision)[1].max()

    def covariance_of_squares(self, precision, directions):
        """Covariances of quadratic forms under the density: the curvature of log C.

        Parameters
        ----------
        precision : numpy.ndarray, shape=[dim, dim]
            Matrix G in normal coordinates.
        directions : numpy.ndarray, shape=[n_forms, dim, dim]
            Matrices T_a of the forms w' T_a w.

        Returns
        -------
        covariance : numpy.ndarray, shape=[n_forms, n_forms]
            Their covariance matrix.
        """
        _, kernel = self._kernel(precision)
        forms = np.einsum("ni,aij,nj->na", self.coordinates, directions, self.coordinates)
        mean = kernel @ forms / len(kernel)
        return (forms.T * kernel) @ forms / len(kernel) - np.outer(mean, mean)

    def spread(self, precision):
        """Eigenvalues of L' G L: how far a density is from what the points were drawn for.

        Parameters
        ----------
        precision : numpy.ndarray, shape=[dim, dim]
            Matrix G in normal coordinates.

        Returns
        -------
        eigenvalues : numpy.ndarray, shape=[dim]
            In ascending order.
        """
        return linalg.eigvalsh(self.scale.T @ precision @ self.scale)


def serves(space):
    """Whether points can be drawn for a space.

    Parameters
    ----------
    space : geomstats.geometry.manifold.Manifold
        Space.

    Returns
    -------
    serves : bool
        True for a decoder's space of few dimensions whose metric knows codes of the data.
    """
    metric, _ = decoder_metric(space.metric)
    return metric is not None and metric.points is not None and space.dim <= MAX_DIM


def uniform_points(n_points, dim, random_state):
    """Quasi-random points of the unit cube, in independent replicates one after another.

    Parameters
    ----------
    n_points : int
        Number of points; rounded up to replicates of a power of two.
    dim : int
        Dimension.
    random_state : numpy.random.RandomState
        Scrambles Sobol's sequence.

    Returns
    -------
    points : numpy.ndarray, shape=[n_points, dim]
        Points.
    """
    log_size = max(0, int(np.ceil(np.log2(n_points / N_REPLICATES))))
    seeds = random_state.randint(np.iinfo(np.int32).max, size=N_REPLICATES)
    return np.concatenate(
        [stats.qmc.Sobol(dim, seed=int(seed)).random_base2(log_size) for seed in seeds]
    )


class LatentGrid:
    """Grid over a latent space: volumes of cells, and lengths on the graph to their centres.

    Parameters
    ----------
    space : geomstats.geometry.manifold.Manifold
        Space of a decoder, of few dimensions, whose metric knows codes of the data.

    Notes
    -----
    Volumes are computed once for each of the nested grids, and serve all means. Lengths vary less
    and are interpolated between coarser cells.
    """

    def __init__(self, space):
        self.space = space
        metric, _ = decoder_metric(space.metric)
        self._low, self._high = metric.points.min(axis=0), metric.points.max(axis=0)
        self._volumes: dict = {}
        self._lengths: dict = {}

    def edges(self, margin):
        """Edges of the cells along each axis, shape=[dim, n_cells + 1]."""
        width = np.maximum(self._high - self._low, np.finfo(float).tiny)
        low, high = self._low - margin * width, self._high + margin * width
        n_cells = _COARSE[self.space.dim] * _FINER
        return np.linspace(low, high, n_cells + 1, axis=1)

    def law(self, frame, rows, coordinates, precision):
        """Masses of cells under a guess at a locally adaptive normal law.

        Parameters
        ----------
        frame : TangentFrame
            Frame at the mean.
        rows : numpy.ndarray, shape=[n_rows, dim]
            Points whose logarithms are known.
        coordinates : numpy.ndarray, shape=[n_rows, dim]
            Normal coordinates of these logarithms, which tell the directions of others.
        precision : numpy.ndarray, shape=[dim, dim]
            Matrix G of the law.

        Returns
        -------
        edges : numpy.ndarray, shape=[dim, n_cells + 1]
            Edges of the cells along each axis, of a grid at whose edge there is next to no mass.
        mass : numpy.ndarray, shape=[n_cells, ...]
            Masses, of sum 1, that fall a little more slowly than those of the law.
        """
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
        around = volume * np.exp(-0.5 * lowest * lengths.reshape(volume.shape) ** 2)
        mass = (1.0 - _WIDER - _ROUND) * mass + _WIDER * wider / wider.sum()
        return self.edges(margin), mass + _ROUND * around / around.sum()

    def _graph_lengths(self, base, margin):
        """Lengths to the centres; kept, for a mean asks again as its covariance changes."""
        key = base.tobytes(), margin
        if key not in self._lengths:
            while len(self._lengths) >= _KEPT:
                del self._lengths[next(iter(self._lengths))]
            edges = self.edges(margin)[:, ::_FINER]
            middles = 0.5 * (edges[:, 1:] + edges[:, :-1])
            coarse = np.stack(np.meshgrid(*middles, indexing="ij"), axis=-1)
            lengths = graph_lengths(self.space, base)(coarse.reshape(-1, self.space.dim))
            between = RegularGridInterpolator(
                tuple(middles),
                lengths.reshape(coarse.shape[:-1]),
                bounds_error=False,
                fill_value=None,
            )
            self._lengths[key] = np.maximum(between(self._cells(margin)[0]), 0.0)
        return self._lengths[key]

    def _cells(self, margin):
        if margin not in self._volumes:
            edges = self.edges(margin)
            middles = 0.5 * (edges[:, 1:] + edges[:, :-1])
            centres = np.stack(np.meshgrid(*middles, indexing="ij"), axis=-1)
            flat = centres.reshape(-1, self.space.dim)
            volume = gs.to_numpy(self.space.metric.volume_density(gs.from_numpy(flat)))
            self._volumes[margin] = flat, volume.reshape(centres.shape[:-1])
        return self._volumes[margin]


def _log_interpolant(rows, coordinates):
    """Guess at logarithms: linear between rows, that of the nearest row outside of them."""
    nearest = NearestNDInterpolator(rows, coordinates)
    try:
        linear = LinearNDInterpolator(rows, coordinates)
    except (QhullError, ValueError):  # too few rows, or all on a line
        return nearest

    def guess(points):
        inside = linear(points)
        return np.where(np.isfinite(inside), inside, nearest(points))

    return guess


def _squares(guess, lengths, precision):
    """Guess at w' G w, by the guess at the direction of w and what the graph knows of its norm."""
    norms = np.linalg.norm(guess, axis=1)
    squares = np.einsum("ni,ij,nj->n", guess, precision, guess)
    scaled = np.clip(norms, _SHORTER * lengths, _LONGER * lengths)
    lowest = np.linalg.eigvalsh(precision)[0]
    # Divided by one norm at a time: a small norm's square may be zero.
    divisor = np.where(norms > 0.0, norms, 1.0)
    return np.where(norms > 0.0, squares / divisor / divisor, lowest) * scaled**2


def draw_from_grid(uniform, edges, mass):
    """Map uniform points to points of a law that is uniform within cells.

    Parameters
    ----------
    uniform : numpy.ndarray, shape=[n_points, dim]
        Points of the unit cube.
    edges : numpy.ndarray, shape=[dim, n_cells + 1]
        Edges of the cells along each axis.
    mass : numpy.ndarray, shape=[n_cells, ...]
        Masses of the cells, of sum 1.

    Returns
    -------
    points : numpy.ndarray, shape=[n_points, dim]
        Points, by the inverse distribution functions of each axis given those before it.
    log_density : numpy.ndarray, shape=[n_points]
        Logarithm of the law's density there.
    """
    n_points, dim = uniform.shape
    points = np.empty_like(uniform)
    widths = np.diff(edges, axis=1)[:, 0]
    log_density = np.full(n_points, -np.log(widths).sum())
    given = np.broadcast_to(mass, (1, *mass.shape))
    row = np.zeros(n_points, dtype=int)
    for axis in range(dim):
        marginal = given.reshape(*given.shape[:2], -1).sum(axis=2)
        share = marginal / marginal.sum(axis=1, keepdims=True)
        ladder = np.cumsum(share, axis=1)[row]
        cell = np.minimum((ladder < uniform[:, axis, None]).sum(axis=1), share.shape[1] - 1)
        chosen = share[row, cell]
        below = ladder[np.arange(n_points), cell] - chosen
        inside = np.clip((uniform[:, axis] - below) / chosen, 0.0, 1.0)
        points[:, axis] = edges[axis, cell] + inside * widths[axis]
        log_density += np.log(chosen)
        row = row * share.shape[1] + cell
        given = given.reshape(-1, *given.shape[2:])
    return points, log_density


def build_cloud(geometry, grid, frame, rows, coordinates, scale, uniform):
    """Draw points for a mean and solve for the geodesics to them.

    Parameters
    ----------
    geometry : RowGeometry
        Space with its geodesics.
    grid : LatentGrid
        Grid over the space.
    frame : TangentFrame
        Frame at the mean.
    rows : numpy.ndarray, shape=[n_rows, dim]
        Points whose logarithms are known.
    coordinates : numpy.ndarray, shape=[n_rows, dim]
        Normal coordinates of these logarithms.
    scale : numpy.ndarray, shape=[dim, dim]
        Scale matrix L: about the covariance of the densities to be integrated is L L'.
    uniform : numpy.ndarray, shape=[n_points, dim]
        Points of the unit cube.

    Returns
    -------
    cloud : LatentCloud
        The quadrature.
    """
    law = grid.law(frame, rows, coordinates, linalg.inv(scale @ scale.T))
    points, log_density = draw_from_grid(uniform, *law)
    geodesics = geometry.connect(frame.base, points)
    volume = gs.to_numpy(geometry.space.metric.volume_density(gs.from_numpy(points)))
    with np.errstate(divide="ignore"):
        log_weights = np.log(volume) - log_density
    log_weights = np.where(np.isfinite(geodesics.length), log_weights, -np.inf)
    n_failed = int((~geodesics.converged).sum())
    coordinates = frame.coordinates(geodesics.velocity)
    return LatentCloud(points, coordinates, log_weights, scale, law, n_failed)
