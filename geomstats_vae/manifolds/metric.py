"""The pullback metric of a decoder, for geomstats."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import torch

from geomstats_vae.geometry import local
from geomstats_vae.geometry.cut_locus import cut_distances, directions
from geomstats_vae.geometry.pairs import graph_lengths, solve_ends
from geomstats_vae.manifolds import failures
from geomstats_vae.manifolds.arrays import to_host, to_tensor
from geomstats_vae.manifolds.distances import DistanceMetric
from geomstats_vae.manifolds.scaled import scale_metric

# Norms of a unit step in latent space, where no codes say how far data go.
_FAR = 64.0
_MEDOID_CODES = 64
# Rays of `injectivity_radius`: errors far below what a cut point is told by. A ray that takes more
# steps is on its way out of the data.
_RAY_RTOL, _RAY_TOL, _RAY_STEPS = 1e-6, 1e-4, 200


class PullbackDecoderMetric(DistanceMetric):
    """Expected pullback metric of a stochastic decoder, M = J_mu' J_mu + J_sigma' J_sigma.

    That is the pullback of the Euclidean metric by F: z -> (mu(z), sigma(z)) ([1]_, Theorem 1);
    for a deterministic decoder, by its mean alone.

    Parameters
    ----------
    space : Manifold
        Latent space, an open set of a vector space; equip it by ``equip_with_metric``.
    decoder : callable or Immersion
        Maps latent codes, tensors of shape=[n_points, dim], to a tensor, a pair (mean, std), a
        `torch.distributions.Distribution`, or an object with ``.reconstruction``, ``.sample`` or
        ``.mean``. A module is copied and frozen; it must be in evaluation mode. An immersion is
        used as it is.
    output : callable, optional
        Reads what the decoder returns, instead of the rules above.
    likelihood : callable, optional
        Maps what the decoder returns to its embedding, instead of `immersions.embedding`.
    points : array-like, shape=[n_points, dim], optional
        Latent codes of the data: they show where geodesics may run, for global starts. Without
        them every geodesic starts from the straight line.
    solver : GeodesicSolver, optional
        Solves for geodesics between points.
    exponential : ExponentialSolver, optional
        Follows geodesics from a point along a velocity.
    on_failure : str, {'warn', 'raise', 'ignore'}
        What `exp`, `log`, `geodesic` and the distances do if some items did not converge: a
        `GeodesicConvergenceWarning` once per call, a `GeodesicConvergenceError`, or nothing. The
        best results found are returned; `solve_geodesic` returns the status of each instead.

    Attributes
    ----------
    decoder : Decoder
        The frozen copy.
    exp_solver, log_solver : geomstats.numerics.geodesic.ExpSolver, LogSolver
        What `exp`, `log` and `geodesic` use: the solvers above, unless others are assigned.
        Distances are always the lengths of curves that ``solver`` finds.

    Raises
    ------
    DecoderError
        A ValueError: if the decoder is random, in training mode, or cannot be read.
    ValueError
        If points or options are not as described.

    Notes
    -----
    Points and tangent vectors live in latent space and broadcast against each other. Computed in
    float64, results come in the type and on the device of the input under the pytorch backend,
    where `metric_matrix` and the other local methods, `exp`, `log`, `dist`, `squared_dist` and
    `dist_pairwise` are differentiable; paths are not. A distance is the length of the curve found:
    stationary where it converged, not proved to be the shortest. A logarithm of the same points as
    in the last call starts from that call's curves, if these are still the shortest; results agree
    within the solver's tolerance.

    References
    ----------
    .. [1] Arvanitidis, Hansen, Hauberg. "Latent Space Oddity: on the Curvature of Deep Generative
       Models." ICLR 2018. arXiv:1710.11379.
    """

    def __init__(
        self,
        space,
        decoder,
        *,
        output=None,
        likelihood=None,
        points=None,
        solver=None,
        exponential=None,
        on_failure="warn",
    ):
        super().__init__(
            space,
            decoder,
            output=output,
            likelihood=likelihood,
            points=points,
            solver=solver,
            exponential=exponential,
            on_failure=on_failure,
        )
        self._last_laws = None

    def __mul__(self, scalar):
        """Scale the metric tensor; lengths scale by the square root.

        Parameters
        ----------
        scalar : float
            Positive factor.

        Returns
        -------
        metric : ScaledDecoderMetric
            The scaled metric; the space is not equipped with it.
        """
        return scale_metric(self, scalar)

    @torch.no_grad()
    def injectivity_radius(self, base_point, *, n_directions=None, max_radius=None):
        """Estimate the radius up to which `exp` is one to one, from geodesics in some directions.

        Parameters
        ----------
        base_point : array-like, shape=[..., dim]
            Points in latent space.
        n_directions : int, optional
            Geodesics followed from each point, equally spaced or random; by default 16, or 4 dim
            if that is more.
        max_radius : float, optional
            Radius up to which cut points are looked for. By default the largest distance to one
            of the codes on the graph; without codes, 64 times the norm of a unit step in latent
            space.

        Returns
        -------
        radius : array-like, shape=[...]
            Estimates; infinity where every geodesic followed is shortest up to the largest radius,
            NaN where the metric is singular.

        Raises
        ------
        ValueError
            If n_directions or max_radius is not positive.

        Notes
        -----
        The radius is where the first of the geodesics meets a cut point: where a curve of the same
        ends is found that is shorter, or where it cannot be followed farther. It is found to 1 %,
        down to 1/64 of the largest. An estimate and no bound: nearer cut points in directions
        between are missed, and those whose shorter curve the solver does not find. A bound would
        ask for curvatures everywhere.
        """
        for name, value in (("n_directions", n_directions), ("max_radius", max_radius)):
            if value is not None and not value > 0:
                raise ValueError(f"Expected {name} > 0, got {value}.")
        (z,), origin = self._enter(points=base_point)
        immersion = self._immersion(z)
        metric = local.evaluate(local.metric_matrix, immersion, z)
        if max_radius is not None:
            largest = z.new_full((len(z),), max_radius)
        else:
            largest = self._reach(z, metric)

        exponential = replace(self.exponential, rtol=_RAY_RTOL, max_steps=_RAY_STEPS)
        loose = copy.copy(self)
        loose.solver = replace(self.solver, tol=max(self.solver.tol, _RAY_TOL))

        def follow(base, velocity, times):
            return exponential.solve_dense(immersion, base, velocity, times)[0]

        def dist(start, end):
            return solve_ends(loose._solve, start, end).length

        unit = directions(self._space.dim, n_directions)
        return origin.give(cut_distances(follow, dist, metric, z, unit, largest))

    def _reach(self, z, metric):
        """Radii within which all data lie, or some for lack of data."""
        landscape = self._start_landscape()
        if landscape is None or not len(z):
            squares = metric.diagonal(dim1=1, dim2=2).mean(dim=1)
            return _FAR * squares.sqrt()
        codes = torch.as_tensor(self.points).to(z)
        start = z.repeat_interleave(len(codes), dim=0)
        lengths = graph_lengths(landscape, start, codes.repeat(len(z), 1)).reshape(len(z), -1)
        largest = np.where(np.isfinite(lengths), lengths, 0.0).max(axis=1)
        return torch.as_tensor(largest).to(z)

    def normalization_factor(self, variances, base_point=None):
        r"""Normalise isotropic normal laws, for `geomstats.learning.expectation_maximization`.

        Parameters
        ----------
        variances : array-like, shape=[n_variances]
            Standard deviations sigma, in units of distance; geomstats calls them variances.
        base_point : array-like, shape=[dim], optional
            Mean of the laws. By default the medoid of the codes, in distances on the graph; without
            codes, the origin.

        Returns
        -------
        factor : array-like, shape=[n_variances]
            :math:`\zeta(\sigma) = \int \exp(-d(m, x)^2 / (2 \sigma^2)) dx`, over the
            Riemannian volume.

        Raises
        ------
        ValueError
            If sigma is not positive and finite, or the metric is singular at the mean.

        Notes
        -----
        geomstats asks for one factor at all means, as is right on homogeneous spaces. On others it
        depends on the mean, and `LAND` is the mixture that takes this into account.
        """
        return self._isotropic(variances, base_point)[0]

    def norm_factor_gradient(self, variances, base_point=None):
        r"""Differentiate the logarithm of `normalization_factor`.

        Parameters
        ----------
        variances : array-like, shape=[n_variances]
            Standard deviations sigma, in units of distance.
        base_point : array-like, shape=[dim], optional
            Mean of the laws, as of `normalization_factor`.

        Returns
        -------
        factor : array-like, shape=[n_variances]
            :math:`\zeta(\sigma)`.
        gradient : array-like, shape=[n_variances]
            :math:`d \log \zeta / d \sigma = E[d(m, x)^2] / \sigma^3`.
        """
        return self._isotropic(variances, base_point)

    @torch.no_grad()
    def _isotropic(self, variances, base_point):
        from geomstats_vae.volume.isotropic import RayStatus, isotropic_moments

        sigma = to_host(to_tensor(variances, "variances"))
        if sigma.ndim != 1 or not (np.isfinite(sigma) & (sigma > 0.0)).all():
            raise ValueError(
                "Expected positive and finite variances of shape [n_variances], got "
                f"{sigma if sigma.ndim == 1 else list(sigma.shape)}."
            )
        base = self._medoid() if base_point is None else base_point
        (base,), origin = self._enter(points=base)
        key = sigma.tobytes(), to_host(base).tobytes()
        if self._last_laws is None or self._last_laws[0] != key:  # geomstats asks for both in turn
            space = copy.copy(self._space)
            space.metric = self  # which may be part of a scaled one
            self._last_laws = key, isotropic_moments(space, to_host(base)[0], sigma)
        factor, square, status = self._last_laws[1]
        failures.report(self.on_failure, status, RayStatus, "rays")
        origin = replace(origin, batch_shape=sigma.shape, requires_grad=False)
        return origin.give(factor), origin.give(square / sigma**3)

    def _medoid(self):
        """Code of least total distance to others on the graph, or the origin without codes."""
        landscape = self._start_landscape()
        if landscape is None:
            return np.zeros(self._space.dim)
        chosen = np.linspace(0, len(self.points) - 1, min(_MEDOID_CODES, len(self.points)))
        codes = torch.as_tensor(self.points[chosen.astype(int)])
        n = len(codes)
        lengths = graph_lengths(landscape, codes.repeat_interleave(n, 0), codes.repeat(n, 1))
        return codes[int(np.argmin(lengths.reshape(n, n).sum(axis=1)))].numpy()
