"""What a decoder's metric is at single points: matrices, connection, curvature, volume."""

from __future__ import annotations

from geomstats.geometry.riemannian_metric import RiemannianMetric

from geomstats_vae.geometry import local
from geomstats_vae.immersions.decoder import Decoder
from geomstats_vae.manifolds.arrays import enter


class PointwiseMetric(RiemannianMetric):
    """Local geometry of the immersion that a decoder defines, in arrays of the backend.

    Parameters
    ----------
    space : Manifold
        Latent space.
    decoder : callable
        Decoder; see `PullbackDecoderMetric`.
    output : callable, optional
        Reads what the decoder returns.
    likelihood : callable, optional
        Maps what the decoder returns to its embedding.
    """

    def __init__(self, space, decoder, *, output=None, likelihood=None):
        super().__init__(space)
        self.decoder = Decoder(decoder, space.dim, output=output, likelihood=likelihood)

    def _enter(self, **arrays):
        return enter(self._space.dim, self.decoder.device, **arrays)

    def _immersion(self, z):
        return self.decoder.immersion(device=z.device)

    def _local(self, function, base_point):
        (z,), origin = self._enter(points=base_point)
        with origin.recording():
            return origin.give(local.evaluate(function, self._immersion(z), z))

    def metric_matrix(self, base_point):
        """Metric matrix M.

        Parameters
        ----------
        base_point : array-like, shape=[..., dim]
            Points in latent space.

        Returns
        -------
        matrix : array-like, shape=[..., dim, dim]
            Symmetric, positive semi-definite.
        """
        return self._local(local.metric_matrix, base_point)

    def cometric_matrix(self, base_point):
        """Inverse of the metric matrix.

        Parameters
        ----------
        base_point : array-like, shape=[..., dim]
            Points in latent space.

        Returns
        -------
        matrix : array-like, shape=[..., dim, dim]
            Inverse matrices; NaN where the metric is singular.
        """
        return self._local(local.cometric_matrix, base_point)

    def inner_product_derivative_matrix(self, base_point):
        """Differentiate the metric matrix.

        Parameters
        ----------
        base_point : array-like, shape=[..., dim]
            Points in latent space.

        Returns
        -------
        derivative : array-like, shape=[..., dim, dim, dim]
            d_k M_ij, the index k of the derivation last.
        """
        return self._local(local.metric_derivative, base_point)

    def christoffels(self, base_point):
        """Christoffel symbols of the second kind.

        Parameters
        ----------
        base_point : array-like, shape=[..., dim]
            Points in latent space.

        Returns
        -------
        christoffels : array-like, shape=[..., dim, dim, dim]
            Gamma^k_ij, the upper index k first; NaN where the metric is singular.
        """
        return self._local(local.christoffels, base_point)

    def jacobian_christoffels(self, base_point):
        """Differentiate the Christoffel symbols.

        Parameters
        ----------
        base_point : array-like, shape=[..., dim]
            Points in latent space.

        Returns
        -------
        derivative : array-like, shape=[..., dim, dim, dim, dim]
            d_l Gamma^k_ij, the upper index k first and that of the derivation last; NaN where
            the metric is singular.
        """
        return self._local(local.christoffel_derivative, base_point)

    def riemann_tensor(self, base_point):
        """Curvature tensor, by Gauss' equation; the other curvatures of geomstats follow from it.

        Parameters
        ----------
        base_point : array-like, shape=[..., dim]
            Points in latent space.

        Returns
        -------
        curvature : array-like, shape=[..., dim, dim, dim, dim]
            R_ijk^l with R(e_j, e_k) e_i = R_ijk^l e_l; NaN where the metric is singular.
        """
        return self._local(local.riemann_tensor, base_point)

    def curvature_derivative(
        self, tangent_vec_a, tangent_vec_b, tangent_vec_c, tangent_vec_d, base_point
    ):
        r"""Covariant derivative of the curvature.

        Parameters
        ----------
        tangent_vec_a : array-like, shape=[..., dim]
            Tangent vectors H along which the curvature is differentiated.
        tangent_vec_b, tangent_vec_c, tangent_vec_d : array-like, shape=[..., dim]
            Tangent vectors X, Y and Z.
        base_point : array-like, shape=[..., dim]
            Points in latent space.

        Returns
        -------
        curvature_derivative : array-like, shape=[..., dim]
            Tangent vectors :math:`(\nabla_H R)(X, Y) Z`; NaN where the metric is singular.
        """
        (z, *vectors), origin = self._enter(
            points=base_point,
            first_vectors=tangent_vec_a,
            second_vectors=tangent_vec_b,
            third_vectors=tangent_vec_c,
            fourth_vectors=tangent_vec_d,
        )
        with origin.recording():
            immersion = self._immersion(z)
            return origin.give(local.curvature_derivative(immersion, z, *vectors))

    def gaussian_curvature(self, base_point):
        """Gaussian curvature of a two-dimensional latent space, by Gauss' equation.

        Parameters
        ----------
        base_point : array-like, shape=[..., 2]
            Points in latent space.

        Returns
        -------
        curvature : array-like, shape=[...]
            Curvature, the sectional one of the only plane there is, in units of one over squared
            data distance; NaN where the metric is singular.

        Raises
        ------
        ValueError
            If the latent space has another dimension.
        """
        if self._space.dim != 2:
            raise ValueError(
                "Expected a latent space of dimension 2 for the Gaussian curvature, got dimension "
                f"{self._space.dim}; sectional_curvature and scalar_curvature have any."
            )
        return self._local(local.gaussian_curvature, base_point)

    def volume_density(self, base_point):
        """Volume density sqrt(det M).

        Parameters
        ----------
        base_point : array-like, shape=[..., dim]
            Points in latent space.

        Returns
        -------
        density : array-like, shape=[...]
            Riemannian volume per unit of latent volume.
        """
        return self._local(local.volume_density, base_point)
