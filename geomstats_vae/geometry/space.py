"""The latent space of a decoder, as a geomstats manifold."""

from __future__ import annotations

import geomstats.backend as gs
from geomstats.geometry.base import VectorSpaceOpenSet
from geomstats.geometry.euclidean import Euclidean

from geomstats_vae.geometry.arrays import enter, to_array, to_tensor
from geomstats_vae.geometry.metric import PullbackDecoderMetric


class LatentSpace(VectorSpaceOpenSet):
    """Latent space R^dim with the pullback metric of a decoder.

    Parameters
    ----------
    decoder : callable
        Maps latent codes to data; see `PullbackDecoderMetric`.
    dim : int
        Dimension of the latent space.
    points : array-like, shape=[n_points, dim], optional
        Latent codes of the data, for global starts of geodesics and for `random_point`.
    output : callable, optional
        Reads what the decoder returns.
    **metric_options : dict
        Further options of `PullbackDecoderMetric`: ``solver``, ``exponential``, ``on_failure``.

    Attributes
    ----------
    metric : PullbackDecoderMetric
        The metric.

    Examples
    --------
    >>> space = LatentSpace(decoder, dim=2, points=codes)
    >>> space.metric.dist(codes[:10], codes[10:20])
    """

    def __init__(self, decoder, dim, points=None, *, output=None, **metric_options):
        super().__init__(dim=dim, embedding_space=Euclidean(dim=dim, equip=False), equip=False)
        self.equip_with_metric(
            PullbackDecoderMetric, decoder=decoder, output=output, points=points, **metric_options
        )

    def __sklearn_clone__(self):
        """Share the space among clones of an estimator: copying it would copy the decoder."""
        return self

    def belongs(self, point, atol=gs.atol):
        """Whether points are latent codes: of the right shape, and finite.

        Parameters
        ----------
        point : array-like, shape=[..., dim]
            Points.
        atol : float
            Not used: the space has no boundary.

        Returns
        -------
        belongs : array-like of bool, shape=[...]
            True for latent codes.
        """
        finite = to_tensor(point, "points").isfinite()
        if finite.shape[-1:] != (self.dim,):
            return to_array(finite.new_zeros(finite.shape[:-1]))
        return to_array(finite.all(dim=-1))

    def projection(self, point):
        """Project points to the space: every finite code belongs to it.

        Parameters
        ----------
        point : array-like, shape=[..., dim]
            Points.

        Returns
        -------
        point : array-like, shape=[..., dim]
            A copy.

        Raises
        ------
        ValueError
            If the last dimension is not dim, or values are not finite.
        """
        (rows,), origin = enter(self.dim, points=point)
        return origin.give(rows)

    def random_point(self, n_samples=1, bound=1.0):
        """Draw random codes: codes of the data with noise, or standard normal without such.

        Parameters
        ----------
        n_samples : int
            Number of codes.
        bound : float
            Scale of the noise: times Scott's bandwidth, one standard deviation of the codes times
            n_points^(-1 / (dim + 4)); without codes, the standard deviation.

        Returns
        -------
        point : array-like, shape=[n_samples, dim], or [dim] for one sample
            Codes, drawn by the backend's generator.
        """
        noise = bound * gs.random.normal(size=(n_samples, self.dim))
        codes = getattr(self.metric, "points", None)
        if codes is not None:
            rows = gs.to_numpy(gs.random.randint(0, len(codes), (n_samples,)))
            width = codes.std(axis=0) * len(codes) ** (-1.0 / (self.dim + 4))
            noise = gs.from_numpy(codes[rows]) + gs.from_numpy(width) * noise
        return noise[0] if n_samples == 1 else noise
