"""A decoder's metric times a constant."""

from __future__ import annotations

import math
from dataclasses import replace

from geomstats.geometry.scalar_product_metric import ScalarProductMetric


class ScaledDecoderMetric(ScalarProductMetric):
    """The metric of a space times a constant, lengths by its square root.

    geomstats' wrapper scales the methods that it knows; volumes and geodesic paths are scaled here.

    Parameters
    ----------
    space : Manifold
        Space that is equipped with a `PullbackDecoderMetric`, possibly scaled.
    scale : float
        Positive factor of the metric tensor.
    """

    def __init__(self, space, scale):
        super().__init__(space, scale)
        # geomstats puts the methods that it does not know on the instance, unscaled, in front of
        # those of this class.
        for name in vars(type(self)):
            if not name.startswith("_"):
                self.__dict__.pop(name, None)

    def volume_density(self, base_point):
        """Volume density sqrt(det M), scale^(dim / 2) times that of the metric that is scaled.

        Parameters
        ----------
        base_point : array-like, shape=[..., dim]
            Points in latent space.

        Returns
        -------
        density : array-like, shape=[...]
            Riemannian volume per unit of latent volume.
        """
        factor = self.scale ** (0.5 * self._space.dim)
        return factor * self.underlying_metric.volume_density(base_point)

    def solve_geodesic(self, start, end, **options):
        """Solve for geodesics between pairs of points; see `PullbackDecoderMetric.solve_geodesic`.

        Parameters
        ----------
        start, end : array-like, shape=[..., dim]
            End points in latent space.
        **options : dict
            Options of `PullbackDecoderMetric.solve_geodesic`.

        Returns
        -------
        path : GeodesicPath
            Geodesics, lengths and energies in the scaled metric.
        """
        path = self.underlying_metric.solve_geodesic(start, end, **options)
        length = math.sqrt(self.scale) * path.length
        return replace(path, length=length, energy=self.scale * path.energy)

    def gaussian_curvature(self, base_point):
        """Gaussian curvature, that of the metric that is scaled over the scale.

        Parameters
        ----------
        base_point : array-like, shape=[..., 2]
            Points in latent space.

        Returns
        -------
        curvature : array-like, shape=[...]
            Curvature.
        """
        return self.underlying_metric.gaussian_curvature(base_point) / self.scale

    def injectivity_radius(self, base_point, *, n_directions=None, max_radius=None):
        """Estimate the injectivity radius; see `PullbackDecoderMetric.injectivity_radius`.

        Parameters
        ----------
        base_point : array-like, shape=[..., dim]
            Points in latent space.
        n_directions : int, optional
            Geodesics followed from each point.
        max_radius : float, optional
            Radius up to which cut points are looked for, in the scaled metric.

        Returns
        -------
        radius : array-like, shape=[...]
            Estimates.
        """
        root = math.sqrt(self.scale)
        if max_radius is not None:
            max_radius = max_radius / root
        options = {"n_directions": n_directions, "max_radius": max_radius}
        return root * self.underlying_metric.injectivity_radius(base_point, **options)

    def normalization_factor(self, variances, base_point=None):
        """Normalise isotropic normal laws; see `PullbackDecoderMetric.normalization_factor`.

        Parameters
        ----------
        variances : array-like, shape=[n_variances]
            Standard deviations, in units of the scaled distance.
        base_point : array-like, shape=[dim], optional
            Mean of the laws.

        Returns
        -------
        factor : array-like, shape=[n_variances]
            Normalisers over the scaled volume.
        """
        return self.norm_factor_gradient(variances, base_point)[0]

    def norm_factor_gradient(self, variances, base_point=None):
        """Differentiate the logarithm of `normalization_factor`.

        Parameters
        ----------
        variances : array-like, shape=[n_variances]
            Standard deviations, in units of the scaled distance.
        base_point : array-like, shape=[dim], optional
            Mean of the laws.

        Returns
        -------
        factor : array-like, shape=[n_variances]
            Normalisers.
        gradient : array-like, shape=[n_variances]
            Derivatives of their logarithms.
        """
        root = math.sqrt(self.scale)
        metric = self.underlying_metric
        factor, gradient = metric.norm_factor_gradient(variances / root, base_point)
        return root**self._space.dim * factor, gradient / root

    def __mul__(self, scalar):
        return scale_metric(self, scalar)

    def __rmul__(self, scalar):
        return scale_metric(self, scalar)


def scale_metric(metric, scalar):
    """Multiply a metric tensor by a constant.

    Parameters
    ----------
    metric : PullbackDecoderMetric or ScaledDecoderMetric
        Metric that its space is equipped with.
    scalar : float
        Positive factor.

    Returns
    -------
    scaled : ScaledDecoderMetric or NotImplemented
        The scaled metric; NotImplemented if scalar is not a float.

    Raises
    ------
    ValueError
        If the space is equipped with another metric.
    """
    if not isinstance(scalar, float):
        return NotImplemented
    if metric is not metric._space.metric:
        raise ValueError(
            "Expected the metric that its space is equipped with, got another; call "
            "space.equip_with_metric before it is scaled."
        )
    return ScaledDecoderMetric(metric._space, scalar)
