"""The latent space of a decoder, as a geomstats manifold."""

from __future__ import annotations

from typing import Any

import geomstats.backend as gs
from geomstats.geometry.base import VectorSpaceOpenSet
from geomstats.geometry.euclidean import Euclidean

from geomstats_vae.geometry.diagnosis import Diagnosis, diagnose
from geomstats_vae.manifolds.arrays import Array, enter, to_array, to_tensor
from geomstats_vae.manifolds.metric import PullbackDecoderMetric


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
        Further options of `PullbackDecoderMetric`: ``likelihood``, ``latent_shape``,
        ``graph``, ``solver``, ``exponential``, ``on_failure``.

    Attributes
    ----------
    metric : PullbackDecoderMetric
        The metric.

    Examples
    --------
    >>> space = LatentSpace(decoder, dim=2, points=codes)
    >>> space.metric.dist(codes[:10], codes[10:20])
    """

    def __init__(
        self,
        decoder: Any,
        dim: int,
        points: Any = None,
        *,
        output: Any = None,
        **metric_options: Any,
    ) -> None:
        super().__init__(dim=dim, embedding_space=Euclidean(dim=dim, equip=False), equip=False)
        self.equip_with_metric(
            PullbackDecoderMetric, decoder=decoder, output=output, points=points, **metric_options
        )

    def __sklearn_clone__(self) -> LatentSpace:
        """Share the space among clones of an estimator: copying it would copy the decoder."""
        return self

    def belongs(self, point: Array, atol: float = gs.atol) -> Array:
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

    def projection(self, point: Array) -> Array:
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

    def random_point(self, n_samples: int = 1, bound: float = 1.0) -> Array:
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

    def diagnose(
        self,
        points: Array = None,
        *,
        n_pairs: int = 80,
        sensitivity: bool = True,
        random_state: Any = 0,
        verbose: bool = True,
    ) -> Diagnosis:
        """Look for what makes distances worthless, or slow to find, and give advice.

        Parameters
        ----------
        points : array-like, shape=[n_points, dim], optional
            Latent codes to look at, by default those that the space was given; 2,000 evenly
            spaced ones if there are more.
        n_pairs : int
            Pairs of codes whose distances are compared for other widths (a) and numbers (K) of
            the kernels of the precision.
        sensitivity : bool
            Whether to compare these distances; takes most of the time.
        random_state : int, numpy.random.RandomState or None
            Source of the pairs and of the refits; a number makes the report repeat.
        verbose : bool
            Print the report.

        Returns
        -------
        diagnosis : Diagnosis
            What was measured, and ``advice``; `str` makes a report of it.

        Raises
        ------
        ValueError
            If there are no codes, or they or n_pairs are not as described.

        Notes
        -----
        Whatever a metric is scaled by, the unscaled one is looked at. For the sensitivity the
        weights of the precision are learnt again, with the present variances at the codes in
        place of squared residuals, and distances are those of graph paths. With the real
        residuals the precision may change by more.
        """
        codes = getattr(self.metric, "points", None) if points is None else points
        if codes is None:
            raise ValueError(
                "Expected latent codes to look at, got a space without; pass points, those of the "
                "data."
            )
        if n_pairs < 2:
            raise ValueError(f"Expected n_pairs >= 2, got {n_pairs}; pass some dozens.")
        (rows,), origin = enter(self.dim, points=codes)
        if len(origin.batch_shape) != 1 or not len(rows):
            raise ValueError(
                f"Expected points of shape [n_points > 0, {self.dim}], got "
                f"{[*origin.batch_shape, self.dim]}; pass one row per code."
            )
        options = {"n_pairs": n_pairs, "sensitivity": sensitivity, "random_state": random_state}
        diagnosis = diagnose(self.metric.decoder, rows, **options)
        if verbose:
            print(diagnosis)
        return diagnosis
