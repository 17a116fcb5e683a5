"""The latent space of a decoder, as a geomstats manifold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import geomstats.backend as gs
import numpy as np
from geomstats.geometry.base import VectorSpaceOpenSet
from geomstats.geometry.euclidean import Euclidean

from geomstats_vae.geodesics.deadline import check_seconds
from geomstats_vae.geometry.diagnosis import Diagnosis, diagnose
from geomstats_vae.immersions.errors import DecoderError
from geomstats_vae.manifolds import decoding, display, files, verbs
from geomstats_vae.manifolds.arrays import (
    Array,
    enter,
    enter_tensors,
    outside_inference_mode,
    to_array,
    to_backend,
    to_tensor,
)
from geomstats_vae.manifolds.dimension import READ_OFF, resolve_dim
from geomstats_vae.manifolds.libraries import (
    LibraryModel,
    read_diffusers,
    read_pythae,
    read_scvi,
)
from geomstats_vae.manifolds.metric import PullbackDecoderMetric


class LatentSpace(VectorSpaceOpenSet):
    """Latent space R^dim with the pullback metric of a decoder.

    Parameters
    ----------
    decoder : callable
        Maps latent codes to data; see `PullbackDecoderMetric`.
    dim : int, optional
        Dimension of the latent space. By default it is that of the points, of ``latent_shape``, or
        the number of inputs of the decoder's first linear layer.
    points : array-like, shape=[n_points, dim], optional
        Latent codes of the data, for global starts of geodesics and for `random_point`.
    output : callable, optional
        Reads what the decoder returns.
    **metric_options : dict
        Further options of `PullbackDecoderMetric`: ``likelihood``, ``latent_shape``,
        ``graph``, ``table``, ``solver``, ``exponential``, ``on_failure``.

    Attributes
    ----------
    metric : PullbackDecoderMetric
        The metric.
    codes : array-like, shape=[n_points, dim], or None
        A copy of the latent codes of the data.

    Raises
    ------
    TypeError
        If nothing tells the dimension, or dim is no whole number.

    Examples
    --------
    >>> space = LatentSpace(decoder, points=codes)
    >>> space.dist(codes[:10], codes[10:20])
    >>> codes, decoded, path = space.interpolate(codes[0], codes[1], 10)
    """

    def __init__(
        self,
        decoder: Any,
        dim: int | None = None,
        points: Any = None,
        *,
        output: Any = None,
        **metric_options: Any,
    ) -> None:
        latent_shape = metric_options.get("latent_shape")
        dim, read_off = resolve_dim(decoder, dim, points, latent_shape)
        super().__init__(dim=dim, embedding_space=Euclidean(dim=dim, equip=False), equip=False)
        options = {"decoder": decoder, "output": output, "points": points, **metric_options}
        try:
            self.equip_with_metric(PullbackDecoderMetric, **options)
        except DecoderError as error:
            if not read_off:
                raise
            raise DecoderError(f"{error} ({READ_OFF.format(dim)}.)") from error

    __repr__ = display.one_line_of_space
    _repr_html_ = display.table_of_space

    codes = property(verbs.codes)
    decode, interpolate = decoding.decode, decoding.interpolate
    dist, plot, to = verbs.dist, verbs.plot, verbs.to
    save, load = files.save, classmethod(files.load)

    @classmethod
    def from_pythae(
        cls,
        model: Any,
        data: Any = None,
        *,
        points: Any = None,
        batch_size: int = 256,
        **metric_options: Any,
    ) -> LatentSpace:
        """Latent space of a trained autoencoder of pythae.

        Parameters
        ----------
        model : pythae.models.BaseAE
            Trained autoencoder, such as a VAE. Its decoder is copied, frozen and put in
            evaluation mode; the model is not touched. The metric is that of ``.reconstruction``.
        data : array-like, shape=[n_points, ...], optional
            Data in the shape that the encoder takes. Their codes, the means of the posterior, are
            the points of the space.
        points : array-like, shape=[n_points, dim], optional
            Latent codes, in place of data.
        batch_size : int
            Number of data that are encoded at once.
        **metric_options : dict
            Options of `PullbackDecoderMetric`.

        Returns
        -------
        space : LatentSpace
            The space; ``space.metric.points`` are the codes.

        Raises
        ------
        DecoderError
            If this is no autoencoder of pythae, or its codes are quantised, on a sphere or in a
            ball; if data are given and a flow stands between encoder and decoder.
        ValueError
            If data or points do not suit the model, or both are given.

        Examples
        --------
        >>> space = LatentSpace.from_pythae(model, X)
        >>> space.metric.dist(space.metric.points[0], space.metric.points[1])
        """
        found = read_pythae(model, data, points=points, batch_size=batch_size)
        return cls._of_library(found, metric_options)

    @classmethod
    def from_scvi(
        cls,
        model: Any,
        adata: Any = None,
        *,
        library: float | None = None,
        batch: Any = None,
        covariates: Mapping[str, Any] | None = None,
        indices: Sequence[int] | None = None,
        points: Any = None,
        **metric_options: Any,
    ) -> LatentSpace:
        """Latent space of a trained model of scvi-tools.

        Codes are decoded to the distribution of counts of a cell of one size, in one batch. The
        model, its mode and its device are not touched.

        Parameters
        ----------
        model : scvi.model.SCVI
            Trained model, an SCVI or one with the same ``module.generative``, such as SCANVI.
        adata : anndata.AnnData, optional
            Cells; by default those that the model was trained on. Their codes, the means of the
            posterior, are the points of the space.
        library : float, optional
            Counts per cell, a number of molecules and not its logarithm; by default the median of
            the cells'. For a model that was set up with a size factor, the size factor.
        batch : str or int, optional
            Batch: its name, or its index where no batch has that name; by default the batch of
            most cells.
        covariates : mapping, optional
            For each covariate that the model was set up with its value, one of its categories or
            a number. A model with a dispersion for each label needs the label, too.
        indices : sequence of int, optional
            Which cells to take; by default all. The graph of global starts covers 2,000 of them.
        points : array-like, shape=[n_points, dim], optional
            Latent codes, in place of those of the cells.
        **metric_options : dict
            Options of `PullbackDecoderMetric`. Unless ``likelihood`` says so, the distributions
            are compared by the embedding that is registered for them.

        Returns
        -------
        space : LatentSpace
            The space; ``space.metric.points`` are the codes.

        Raises
        ------
        DecoderError
            If this is no such model, it is not trained, or its codes lie on a simplex.
        ValueError
            If library, batch, covariates or points do not suit the model.

        Examples
        --------
        >>> space = LatentSpace.from_scvi(model, library=1e4, batch="donor 1")
        >>> space.metric.dist(space.metric.points[0], space.metric.points[1])
        """
        found = read_scvi(
            model,
            adata,
            library=library,
            batch=batch,
            covariates=covariates,
            indices=indices,
            points=points,
        )
        return cls._of_library(found, metric_options)

    @classmethod
    def from_diffusers(
        cls,
        autoencoder: Any,
        images: Any = None,
        *,
        latent_shape: Sequence[int] | None = None,
        points: Any = None,
        batch_size: int = 16,
        **metric_options: Any,
    ) -> LatentSpace:
        """Latent space of an autoencoder of diffusers.

        Parameters
        ----------
        autoencoder : diffusers.AutoencoderKL
            Autoencoder, ``pipeline.vae`` of a pipeline. Its decoder is copied, frozen and put in
            evaluation mode; it decodes whole images, without tiles. The caller's is not touched.
        images : array-like, shape=[n_points, channels, height, width], optional
            Images as the encoder takes them, for most models in [-1, 1]. Their codes, the means
            of the posterior, are the points of the space.
        latent_shape : sequence of int, optional
            Shape of one code, [channels, height, width]; by default that of the codes. Needed
            where there are neither images nor points of that shape.
        points : array-like, shape=[n_points, dim] or [n_points, channels, height, width], optional
            Latent codes, in place of images.
        batch_size : int
            Number of images that are encoded at once.
        **metric_options : dict
            Options of `PullbackDecoderMetric`.

        Returns
        -------
        space : LatentSpace
            The space of codes in rows, dim = channels * height * width.

        Raises
        ------
        DecoderError
            If this is no such autoencoder, or it quantises its codes.
        ValueError
            If images, points or latent_shape do not suit the model, or images come with points.

        Notes
        -----
        Codes are those of ``encode`` and ``decode``. The latents of a pipeline are scaled: they are
        (codes - shift_factor) * scaling_factor, with the factors of ``autoencoder.config`` and no
        shift where that is None. Pass points=latents / scaling_factor + shift_factor.

        Examples
        --------
        >>> space = LatentSpace.from_diffusers(pipeline.vae, images)
        >>> space.metric.dist(space.metric.points[0], space.metric.points[1])
        """
        found = read_diffusers(
            autoencoder, images, latent_shape=latent_shape, points=points, batch_size=batch_size
        )
        return cls._of_library(found, metric_options)

    @classmethod
    def _of_library(cls, model: LibraryModel, options: dict[str, Any]) -> LatentSpace:
        return cls(model.decoder, model.dim, model.points, **options)

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
        (rows,), origin = enter_tensors(self.dim, points=point)
        return origin.give(rows)

    def regularize(self, point: Array) -> Array:
        """Return a copy of points, shape=[..., dim]: every latent code is regular."""
        return super().regularize(to_backend(point, "points"))

    def is_tangent(self, vector: Array, base_point: Array = None, atol: float = gs.atol) -> Array:
        """Whether vectors are of the shape [..., dim]; the base point does not matter."""
        return super().is_tangent(to_backend(vector, "vectors"), atol=atol)

    def to_tangent(self, vector: Array, base_point: Array = None) -> Array:
        """Return a copy of vectors, shape=[..., dim]: all are tangent to a latent space."""
        base = None if base_point is None else to_backend(base_point, "base_points")
        return super().to_tangent(to_backend(vector, "vectors"), base)

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
        data: Array = None,
        n_pairs: int = 50,
        lines: bool = True,
        sensitivity: bool = True,
        max_seconds: float | None = 30.0,
        random_state: Any = 0,
        verbose: bool = True,
    ) -> Diagnosis:
        """Ask whether geometry matters here, look for faults, and give advice.

        Parameters
        ----------
        points : array-like, shape=[n_points, dim], optional
            Latent codes to look at, by default those that the space was given; 2,000 evenly
            spaced ones if there are more.
        data : array-like, shape=[n_points, n_features], optional
            The data that the points are codes of, in the same order. With them the report says
            whether the codes tear neighbors in the data apart.
        n_pairs : int
            Pairs of codes whose distances are compared: geodesic with straight ones, and those
            for other widths (a) and numbers (K) of the kernels of the precision.
        lines : bool
            Whether to compare geodesics with straight lines; takes the time of n_pairs geodesics.
        sensitivity : bool
            Whether to compare distances for other a and K; takes most of the time.
        max_seconds : float, optional
            Limit of time for the geodesics; pairs that there was no time for have the lengths of
            paths on the graph of global starts. After as long again no further a or K is tried.
            None is no limit; a report that ran out of time does not repeat.
        random_state : int, numpy.random.RandomState or None
            Source of the pairs and of the refits; a number makes the report repeat.
        verbose : bool
            Print the report.

        Returns
        -------
        diagnosis : Diagnosis
            What was measured, a ``verdict`` of one sentence, and ``advice``; `str` makes a report
            of it.

        Raises
        ------
        ValueError
            If there are no codes, or they, n_pairs or max_seconds are not as described.

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
        if data is not None:
            data = np.asarray(data, dtype=float)
            if data.ndim != 2 or len(data) != len(rows):
                raise ValueError(
                    f"Expected data of shape [{len(rows)}, n_features], got {[*data.shape]}; pass "
                    "one row per point, in their order."
                )
        check_seconds(max_seconds)
        options = {"data": data, "n_pairs": n_pairs, "lines": lines, "sensitivity": sensitivity}
        options |= {"max_seconds": max_seconds, "random_state": random_state}
        with outside_inference_mode():
            diagnosis = diagnose(self.metric.geometry, rows, **options)
        if verbose:
            print(diagnosis)
        return diagnosis
