r"""Integrals over a tangent space: normaliser and moments of the density exp(-w' G w / 2) J(w).

In normal coordinates w at the mean, with J the change of Riemannian volume (see `fan`) and D the
tangent vectors of shortest geodesics,

.. math:: C(G) = \int_D \exp(-w' G w / 2) J(w) dw .

In polar coordinates w = s L u, with |u| = 1 and a scale matrix L, the radius is integrated along
each ray by Gauss' rule, up to where the ray stops being shortest, and the directions u by
randomised quasi-Monte-Carlo. All that costs geometry is independent of G: one set of rays serves
every G that is not far from (L L')^{-1}, and always with the same random numbers.

References
----------
.. [1] Owen. "Monte Carlo Theory, Methods and Examples." 2013, chapters 8.9 and 17.
.. [2] Monahan, Genz. "Spherical-radial integration rules for Bayesian computation." Journal of the
   American Statistical Association 92 (1997).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from scipy import linalg, special, stats
from scipy.spatial import cKDTree

from geomstats_vae.volume.cut_points import cut_radii, graph_filter
from geomstats_vae.volume.rays import spread_fan, volumes_along

N_REPLICATES = 8  # independent scrambles, which the standard error is estimated from
_GAUSS_NODES = 48
_TAIL = 1e-9  # share of the integral that may lie behind the ends of rays
_LONGEST = 4.0  # rays are made at most this many times longer where volumes grow
_RAYS_PER_COEFFICIENT = 8  # below this, control variates would fit noise


class TangentMoments(NamedTuple):
    """Integrals under a density on a tangent space, in normal coordinates.

    Parameters
    ----------
    log_normalizer : float
        log C.
    log_normalizer_std : float
        Its standard error.
    mean : numpy.ndarray, shape=[dim]
        E[w].
    second : numpy.ndarray, shape=[dim, dim]
        E[w w'].
    """

    log_normalizer: float
    log_normalizer_std: float
    mean: np.ndarray
    second: np.ndarray


def sphere_directions(n_rays, dim, random_state):
    """Quasi-random directions, in independent replicates one after another.

    Parameters
    ----------
    n_rays : int
        Number of directions; rounded up to replicates of a power of two.
    dim : int
        Dimension.
    random_state : numpy.random.RandomState
        Scrambles Sobol's sequence.

    Returns
    -------
    directions : numpy.ndarray, shape=[n_replicates, n_each, dim]
        Unit vectors, each with its opposite (antithetic sampling): what is odd cancels. In one
        dimension the two that there are.
    """
    if dim == 1:
        return np.array([[[1.0], [-1.0]]])
    log_size = max(0, int(np.ceil(np.log2(n_rays / (2 * N_REPLICATES)))))
    seeds = random_state.randint(np.iinfo(np.int32).max, size=N_REPLICATES)
    half = np.array([_half_sphere(dim, log_size, int(seed)) for seed in seeds])
    return np.concatenate((half, -half), axis=1)


def _half_sphere(dim, log_size, seed):
    sobol = stats.qmc.Sobol(1 if dim == 2 else dim, scramble=True, seed=seed)
    points = sobol.random_base2(log_size)
    if dim == 2:
        angle = np.pi * points[:, 0]
        return np.stack((np.cos(angle), np.sin(angle)), axis=1)
    normal = special.ndtri(np.clip(points, np.finfo(float).eps, 1.0 - np.finfo(float).eps))
    return normal / np.linalg.norm(normal, axis=1, keepdims=True)


@dataclass(frozen=True)
class TangentQuadrature:
    """Quadrature over the tangent vectors of shortest geodesics.

    Parameters
    ----------
    unit : numpy.ndarray, shape=[n_replicates, n_each, dim]
        Directions u.
    scale : numpy.ndarray, shape=[dim, dim]
        Scale matrix L.
    ends : numpy.ndarray, shape=[n_rays]
        Scaled radii up to which rays are shortest.
    radii : numpy.ndarray, shape=[n_rays, n_radii]
        Nodes s of Gauss' rule.
    weights : numpy.ndarray, shape=[n_rays, n_radii]
        Weights of the integrals in s, with s^(dim - 1) J in them; their mean over rays times the
        area of the unit sphere and det L integrates over D.
    n_failed : int
        Rays that could not be followed to their ends, and geodesics that did not converge.
    """

    unit: np.ndarray
    scale: np.ndarray
    ends: np.ndarray
    radii: np.ndarray
    weights: np.ndarray
    n_failed: int

    @property
    def dim(self):
        """Dimension of the tangent space."""
        return self.unit.shape[-1]

    @cached_property
    def directions(self):
        """Directions L u in normal coordinates, shape=[n_rays, dim]."""
        return self._unit_rows @ self.scale.T

    @property
    def _unit_rows(self):
        return self.unit.reshape(-1, self.dim)

    @cached_property
    def _area(self):
        return 2.0 * np.pi ** (0.5 * self.dim) / special.gamma(0.5 * self.dim)

    @cached_property
    def control(self):
        """Quadratic c_0 + u' c_2 u s^2 that stands for J in the control variates.

        It is the one whose integrals along rays are nearest to those of J, by least squares.
        """
        rows = self._unit_rows
        dim = self.dim
        integrals = (self.weights * np.exp(-0.5 * self.radii**2)).sum(axis=1)
        constant, quadratic = _half_normal(dim, 1.0), _half_normal(dim + 2, 1.0)
        upper = np.triu_indices(dim)
        harmonics = rows[:, upper[0]] * rows[:, upper[1]]
        harmonics = (harmonics - (upper[0] == upper[1]) / dim)[:, :-1]
        centre = integrals.mean() / constant
        if dim == 1 or len(rows) < _RAYS_PER_COEFFICIENT * harmonics.shape[1]:
            return centre, np.zeros((dim, dim))
        design = np.column_stack((np.full(len(rows), constant), quadratic * harmonics))
        centre, *rest = np.linalg.lstsq(design, integrals, rcond=None)[0]
        matrix = np.zeros((dim, dim))
        matrix[upper[0][:-1], upper[1][:-1]] = rest
        matrix = 0.5 * (matrix + matrix.T)
        return centre, matrix - np.trace(matrix) / dim * np.eye(dim)

    def moments(self, precision):
        """Integrals under exp(-w' G w / 2) J(w).

        Parameters
        ----------
        precision : numpy.ndarray, shape=[dim, dim]
            Matrix G in normal coordinates, positive definite.

        Returns
        -------
        moments : TangentMoments
            Normaliser, its standard error, and moments.

        Notes
        -----
        The standard error is that between the replicates, for log C by the delta method. Control
        variates are the integrals of `control` along each ray, which are known in closed form over
        a ray and over the whole tangent space.
        """
        dim, theta = self.dim, self.directions
        b, kernel = self._kernel(precision)
        volume = self._area * abs(np.linalg.det(self.scale))
        centre, quadratic = self.control
        q = np.einsum("ni,ij,nj->n", self._unit_rows, quadratic, self._unit_rows)

        def along(power):
            """Integrals of s^power along rays, less those of the control."""
            control = centre * _half_normal(dim + power, b) + q * _half_normal(dim + power + 2, b)
            return volume * ((kernel * self.radii**power).sum(axis=1) - control)

        exact, exact_second = self._exact(precision)
        each = along(0) + exact
        normalizer = each.mean()
        error = 0.0
        if len(self.unit) > 1:
            means = each.reshape(len(self.unit), -1).mean(axis=1)
            error = means.std(ddof=1) / np.sqrt(len(means))
        first = (along(1)[:, None] * theta).mean(axis=0)
        second = np.einsum("n,ni,nj->ij", along(2), theta, theta) / len(theta) + exact_second
        return TangentMoments(
            np.log(normalizer), error / normalizer, first / normalizer, second / normalizer
        )

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
        forms = np.einsum("ni,aij,nj->na", self.directions, directions, self.directions)
        total = kernel.sum()
        second = (kernel * self.radii**2).sum(axis=1) / total
        fourth = (kernel * self.radii**4).sum(axis=1) / total
        mean = second @ forms
        return (forms * fourth[:, None]).T @ forms - np.outer(mean, mean)

    def propose(self, precision, n, random_state):
        """Draw tangent vectors from a law that is close to the density.

        Directions are uniform, thinned by the mass of the nearest ray; radii come from the
        histogram of that ray's masses between the nodes of Gauss' rule.

        Parameters
        ----------
        precision : numpy.ndarray, shape=[dim, dim]
            Matrix G in normal coordinates.
        n : int
            Number of directions tried.
        random_state : numpy.random.RandomState
            Source of the draws.

        Returns
        -------
        coordinates : numpy.ndarray, shape=[at most n, dim]
            Normal coordinates w.
        ratio : numpy.ndarray, shape=[at most n]
            Density at w without its factor J, relative to that of the draws with its own.
        """
        _, kernel = self._kernel(precision)
        mass = kernel.sum(axis=1)
        normal = random_state.standard_normal((n, self.dim))
        unit = normal / np.linalg.norm(normal, axis=1, keepdims=True)
        ray = cKDTree(self._unit_rows).query(unit)[1]
        kept = random_state.uniform(size=n) * mass.max() < mass[ray]
        unit, ray = unit[kept], ray[kept]
        # Gauss' weights tile the ray: each node stands for an interval as long as its weight.
        widths = 0.5 * np.polynomial.legendre.leggauss(_GAUSS_NODES)[1]
        ladder = np.cumsum(kernel[ray], axis=1)
        level = random_state.uniform(size=len(ray)) * ladder[:, -1]
        node = np.minimum((ladder < level[:, None]).sum(axis=1), _GAUSS_NODES - 1)
        start = np.concatenate(([0.0], np.cumsum(widths)))[node]
        width = self.ends[ray] * widths[node]
        s = self.ends[ray] * start + width * random_state.uniform(size=len(ray))
        w = s[:, None] * unit @ self.scale.T
        target = s ** (self.dim - 1) * np.exp(-0.5 * np.einsum("ni,ij,nj->n", w, precision, w))
        return w, target * width / kernel[ray, node]

    def spread(self, precision):
        """Eigenvalues of L' G L: how far a density is from what the rays were made for.

        Parameters
        ----------
        precision : numpy.ndarray, shape=[dim, dim]
            Matrix G in normal coordinates.

        Returns
        -------
        eigenvalues : numpy.ndarray, shape=[dim]
            In ascending order; all 1 where G is the inverse of L L'.
        """
        return linalg.eigvalsh(self.scale.T @ precision @ self.scale)

    def _kernel(self, precision):
        b = np.einsum("ni,ij,nj->n", self.directions, precision, self.directions)
        return b, self.weights * np.exp(-0.5 * self.radii**2 * b[:, None])

    def _exact(self, precision):
        """Integrals of the control over the whole tangent space: of 1 and of w w'."""
        centre, quadratic = self.control
        covariance = linalg.inv(precision)
        inverse = linalg.inv(self.scale)
        c = inverse.T @ quadratic @ inverse
        total = np.sqrt(np.linalg.det(2.0 * np.pi * covariance))
        value = centre + (c * covariance).sum()
        second = value * covariance + 2.0 * covariance @ c @ covariance
        return total * value, total * second


def _half_normal(n, b):
    """Integral of s^(n - 1) exp(-b s^2 / 2) over s > 0."""
    return 0.5 * (2.0 / b) ** (0.5 * n) * special.gamma(0.5 * n)


def build_quadrature(geometry, frame, scale, unit):
    """Follow rays from a mean and make a quadrature of them.

    Parameters
    ----------
    geometry : RowGeometry
        Space with its geodesics.
    frame : TangentFrame
        Frame at the mean.
    scale : numpy.ndarray, shape=[dim, dim]
        Scale matrix L: about the covariance of the densities to be integrated is L L'.
    unit : numpy.ndarray, shape=[n_replicates, n_each, dim]
        Directions u.

    Returns
    -------
    quadrature : TangentQuadrature
        The quadrature.
    """
    dim = frame.dim
    directions = unit.reshape(-1, dim) @ scale.T
    fan, cut = _rays_with_tails(geometry, frame, directions)
    x, gauss = np.polynomial.legendre.leggauss(_GAUSS_NODES)
    radii = 0.5 * cut.radii[:, None] * (1.0 + x)
    weights = 0.5 * cut.radii[:, None] * gauss * radii ** (dim - 1)
    weights *= volumes_along(geometry, frame, fan, radii)
    lost = fan.failed & (cut.radii >= fan.ends())
    return TangentQuadrature(unit, scale, cut.radii, radii, weights, cut.n_failed + int(lost.sum()))


def _rays_with_tails(geometry, frame, directions):
    """Rays so long that nothing counts behind their ends, unless they are cut before."""
    length = shortest = np.sqrt(stats.chi2.isf(_TAIL, frame.dim))
    if geometry.solves:
        fan = spread_fan(
            geometry, frame, directions, length, graph_filter(geometry.space, frame.base)
        )
        return fan, cut_radii(geometry, frame, fan)
    while True:
        fan = spread_fan(geometry, frame, directions, length)
        cut = cut_radii(geometry, frame, fan)
        if length >= _LONGEST * shortest or not _has_tail(fan, cut.radii):
            return fan, cut
        length *= 1.5


def _has_tail(fan, ends):
    """Whether the integrand at the ends of rays that are still shortest is not negligible."""
    nodes = fan.step * np.arange(fan.volume.shape[1])
    dim = fan.directions.shape[1]
    integrand = np.abs(fan.volume) * nodes ** (dim - 1) * np.exp(-0.5 * nodes**2)
    whole = (ends >= nodes[-1]) & (fan.n_valid == len(nodes))
    return bool((integrand[whole, -1] > _TAIL * integrand.max(axis=1)[whole]).any())
