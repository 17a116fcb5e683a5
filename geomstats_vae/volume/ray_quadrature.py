r"""Integrals over a tangent space along rays.

In normal coordinates w at the mean, with J the change of Riemannian volume (see `rays`) and D the
tangent vectors of shortest geodesics,

.. math:: C(G) = \int_D \exp(-w' G w / 2) J(w) dw .

In polar coordinates w = s L u, with |u| = 1 and a scale matrix L, the radius is integrated along
each ray by Gauss' rule, up to where the ray stops being shortest, and the directions u by
randomised quasi-Monte-Carlo. One set of rays serves every G that is not far from (L L')^{-1}, and
always with the same random numbers.

References
----------
.. [1] Owen. "Monte Carlo Theory, Methods and Examples." 2013, chapters 8.9 and 17.
.. [2] Monahan, Genz. "Spherical-radial integration rules for Bayesian computation." Journal of the
   American Statistical Association 92 (1997).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy import linalg, special, stats
from scipy.spatial import cKDTree

from geomstats_vae.geometry.protocol import Floats, Geometry
from geomstats_vae.volume.cut_points import CutRadii, cut_radii, graph_test, is_shortest
from geomstats_vae.volume.frames import TangentFrame
from geomstats_vae.volume.quadrature import N_REPLICATES, TangentMoments, TangentQuadrature
from geomstats_vae.volume.rays import RayBundle, follow_rays

# Nodes of Gauss' rule along a ray.
_GAUSS_NODES = 48
# Share of the integral that may lie behind the ends of rays.
_TAIL = 1e-9
# Where volumes grow, rays are made longer by steps of the one factor, up to the other.
_LONGER, _LONGEST = 1.5, 4.0
# Below as many rays for each coefficient, control variates would fit noise.
_RAYS_PER_COEFFICIENT = 8


def sphere_directions(n_rays: int, dim: int, random_state: np.random.RandomState) -> Floats:
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


def _half_sphere(dim: int, log_size: int, seed: int) -> Floats:
    sobol = stats.qmc.Sobol(1 if dim == 2 else dim, scramble=True, seed=seed)
    points = sobol.random_base2(log_size)
    if dim == 2:
        angle = np.pi * points[:, 0]
        return np.stack((np.cos(angle), np.sin(angle)), axis=1)
    normal = special.ndtri(np.clip(points, np.finfo(float).eps, 1.0 - np.finfo(float).eps))
    return normal / np.linalg.norm(normal, axis=1, keepdims=True)


@dataclass(frozen=True)
class RayQuadrature(TangentQuadrature):
    """Quadrature over the tangent vectors of shortest geodesics, by rays.

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

    unit: Floats
    scale: Floats
    ends: Floats
    radii: Floats
    weights: Floats
    n_failed: int

    @property
    def dim(self) -> int:
        """Dimension of the tangent space."""
        return self.unit.shape[-1]

    @cached_property
    def directions(self) -> Floats:
        """Directions L u in normal coordinates, shape=[n_rays, dim]."""
        return self._unit_rows @ self.scale.T

    @property
    def _unit_rows(self) -> Floats:
        return self.unit.reshape(-1, self.dim)

    @cached_property
    def _area(self) -> float:
        return 2.0 * np.pi ** (0.5 * self.dim) / special.gamma(0.5 * self.dim)

    @cached_property
    def control(self) -> tuple[float, Floats]:
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

    def moments(self, precision: Floats) -> TangentMoments:
        """Integrals under exp(-w' G w / 2) J(w); see `TangentQuadrature.moments`.

        The standard error of log C is by the delta method. Control variates are the integrals of
        `control` along each ray, which are known in closed form over a ray and over the whole
        tangent space. Few rays may miss more of it than the integral is; then there is none.
        """
        with np.errstate(divide="ignore", invalid="ignore"):
            moments = self._moments(precision, self.control)
            if np.isfinite(moments.log_normalizer):
                return moments
            return self._moments(precision, (0.0, np.zeros((self.dim, self.dim))))

    def _moments(self, precision: Floats, control: tuple[float, Floats]) -> TangentMoments:
        dim, theta = self.dim, self.directions
        b, kernel = self._kernel(precision)
        volume = self._area * abs(np.linalg.det(self.scale))
        centre, quadratic = control
        q = np.einsum("ni,ij,nj->n", self._unit_rows, quadratic, self._unit_rows)

        def along(power: int) -> Floats:
            """Integrals of s^power along rays, less those of the control."""
            control = centre * _half_normal(dim + power, b) + q * _half_normal(dim + power + 2, b)
            return volume * ((kernel * self.radii**power).sum(axis=1) - control)

        exact, exact_second = self._exact(precision, control)
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

    def covariance_of_squares(self, precision: Floats, directions: Floats) -> Floats:
        """Covariances of quadratic forms; see `TangentQuadrature.covariance_of_squares`."""
        _, kernel = self._kernel(precision)
        forms = np.einsum("ni,aij,nj->na", self.directions, directions, self.directions)
        total = kernel.sum()
        second = (kernel * self.radii**2).sum(axis=1) / total
        fourth = (kernel * self.radii**4).sum(axis=1) / total
        mean = second @ forms
        return (forms * fourth[:, None]).T @ forms - np.outer(mean, mean)

    def propose(
        self,
        geometry: Geometry,
        frame: TangentFrame,
        precision: Floats,
        n: int,
        random_state: np.random.RandomState,
    ) -> tuple[Floats, Floats]:
        """Draw ends of geodesics near the rays; see `TangentQuadrature.propose`.

        Each draw costs a geodesic that is followed, and one that tells whether it is shortest.
        """
        coordinates, ratio = self.draw_vectors(precision, n, random_state)
        points, volume = geometry.volume_changes(frame.base, frame.vectors(coordinates))
        kept = np.isfinite(points).all(axis=1)
        points, along = points[kept], np.linalg.norm(coordinates[kept], axis=1)
        shortest, _ = is_shortest(geometry, frame.base, points, along)
        return points, ratio[kept] * volume[kept] * shortest

    def draw_vectors(
        self, precision: Floats, n: int, random_state: np.random.RandomState
    ) -> tuple[Floats, Floats]:
        """Draw tangent vectors.

        Directions are uniform, thinned by the mass of the nearest ray. Radii come from the
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

    def _kernel(self, precision: Floats) -> tuple[Floats, Floats]:
        b = np.einsum("ni,ij,nj->n", self.directions, precision, self.directions)
        return b, self.weights * np.exp(-0.5 * self.radii**2 * b[:, None])

    def _exact(self, precision: Floats, control: tuple[float, Floats]) -> tuple[float, Floats]:
        """Integrals of a control over the whole tangent space: of 1 and of w w'."""
        centre, quadratic = control
        covariance = linalg.inv(precision)
        inverse = linalg.inv(self.scale)
        c = inverse.T @ quadratic @ inverse
        total = np.sqrt(np.linalg.det(2.0 * np.pi * covariance))
        value = centre + (c * covariance).sum()
        second = value * covariance + 2.0 * covariance @ c @ covariance
        return total * value, total * second


def _half_normal(n: int, b: Floats | float) -> Floats:
    """Integral of s^(n - 1) exp(-b s^2 / 2) over s > 0."""
    return np.asarray(0.5 * (2.0 / b) ** (0.5 * n) * special.gamma(0.5 * n))


def build_ray_quadrature(
    geometry: Geometry, frame: TangentFrame, scale: Floats, unit: Floats
) -> RayQuadrature:
    """Follow rays from a mean and make a quadrature of them.

    Parameters
    ----------
    geometry : Geometry
        Geometry of a space whose points are vectors.
    frame : TangentFrame
        Frame at the mean.
    scale : numpy.ndarray, shape=[dim, dim]
        Scale matrix L: about the covariance of the densities to be integrated is L L'.
    unit : numpy.ndarray, shape=[n_replicates, n_each, dim]
        Directions u.

    Returns
    -------
    quadrature : RayQuadrature
        The quadrature.
    """
    dim = frame.dim
    directions = unit.reshape(-1, dim) @ scale.T
    bundle, cut = _rays_with_tails(geometry, frame, directions)
    x, gauss = np.polynomial.legendre.leggauss(_GAUSS_NODES)
    radii = 0.5 * cut.radii[:, None] * (1.0 + x)
    weights = 0.5 * cut.radii[:, None] * gauss * radii ** (dim - 1)
    weights *= bundle.volumes_at(radii)
    lost = bundle.failed & (cut.radii >= bundle.ends())
    return RayQuadrature(unit, scale, cut.radii, radii, weights, cut.n_failed + int(lost.sum()))


def _rays_with_tails(
    geometry: Geometry, frame: TangentFrame, directions: Floats
) -> tuple[RayBundle, CutRadii]:
    """Rays so long that nothing counts behind their ends, unless they are cut before."""
    length = shortest = np.sqrt(stats.chi2.isf(_TAIL, frame.dim))
    test = graph_test(geometry, frame.base)
    while True:
        bundle = follow_rays(geometry, frame, directions, length, test)
        cut = cut_radii(bundle)
        # Costly rays are not followed anew.
        longest = geometry.bounds is not None or length >= _LONGEST * shortest
        if longest or not _has_tail(bundle, cut.radii):
            return bundle, cut
        length *= _LONGER


def _has_tail(bundle: RayBundle, ends: Floats) -> bool:
    """Whether the integrand at the ends of rays that are still shortest is not negligible."""
    nodes = bundle.step * np.arange(bundle.volume.shape[1])
    dim = bundle.frame.dim
    integrand = np.abs(bundle.volume) * nodes ** (dim - 1) * np.exp(-0.5 * nodes**2)
    whole = (ends >= nodes[-1]) & (bundle.n_valid == len(nodes))
    return bool((integrand[whole, -1] > _TAIL * integrand.max(axis=1)[whole]).any())
