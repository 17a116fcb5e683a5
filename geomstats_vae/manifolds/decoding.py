"""From codes to data: functions of a latent space that are its methods."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import torch

from geomstats_vae.geodesics import GeodesicPath, GeodesicStatus
from geomstats_vae.geodesics.curves.timed import equal_steps
from geomstats_vae.geometry.local import CHUNK_SIZE
from geomstats_vae.manifolds.arrays import Array, enter_tensors


class Interpolation(NamedTuple):
    """Codes at equal steps of length along geodesics, and what they decode to.

    Attributes
    ----------
    codes : array-like, shape=[..., n_points, dim]
        Latent codes, from end to end.
    decoded : array-like, shape=[..., n_points, data_shape]
        Means of the decoder at the codes.
    path : GeodesicPath
        The geodesics, with what is known of their accuracy.
    """

    codes: Array
    decoded: Array
    path: GeodesicPath

    def __repr__(self) -> str:
        shapes = (f"{name} {list(getattr(self, name).shape)}" for name in ("codes", "decoded"))
        return f"Interpolation({', '.join(shapes)}, {self.path!r})"


def decode(space: Any, point: Array) -> Array:
    """Decode latent codes to the means of the data.

    Parameters
    ----------
    point : array-like, shape=[..., dim]
        Latent codes.

    Returns
    -------
    decoded : array-like, shape=[..., data_shape]
        Means of the decoder, in units of the data, whatever they are embedded by: of Bernoulli
        outputs the probabilities, of categorical ones those of all classes, of an ensemble the
        means over its members. Under pytorch they are differentiable in the codes.

    Raises
    ------
    DecoderError
        If the space was made of an immersion, or of distributions without a mean.
    ValueError
        If the last dimension is not dim, or codes are not finite.

    Examples
    --------
    >>> images = space.decode(space.codes[:5])
    """
    return decode_by(space.metric, point)


def decode_by(metric: Any, point: Array) -> Array:
    """Decode latent codes by the decoder of a metric, as of a space."""
    (z,), origin = enter_tensors(metric._space.dim, metric.decoder.device, points=point)
    with origin.recording():
        means = [metric.decoder.mean(part) for part in z.split(CHUNK_SIZE)]
        return origin.give(torch.cat(means))


def interpolate(
    space: Any, point_a: Array, point_b: Array, n_points: int = 10, *, verbose: bool = False
) -> Interpolation:
    """Go from some codes to others along geodesics, in equal steps of length.

    Parameters
    ----------
    point_a, point_b : array-like, shape=[..., dim]
        Latent codes to start from and to end at; their batch shapes broadcast.
    n_points : int
        Number of codes, both ends among them.
    verbose : bool
        Show a progress bar, in pairs.

    Returns
    -------
    interpolation : Interpolation
        ``codes``, shape=[..., n_points, dim]; ``decoded``, shape=[..., n_points, data_shape]; and
        the ``path`` that they lie on. It unpacks as these three.

    Raises
    ------
    ValueError
        If the last dimension is not dim, codes are not finite, or n_points is below 2.

    Warns
    -----
    GeodesicConvergenceWarning
        If some geodesics did not converge; the metric's ``on_failure`` changes that.

    Examples
    --------
    >>> codes, images, path = space.interpolate(z[0], z[1], 8)
    """
    times = equal_steps(n_points)
    path = space.metric.solve_geodesic(point_a, point_b, verbose=verbose)
    space.metric._report(path.status.reshape(-1), GeodesicStatus, "geodesics")
    codes = path(times)
    return Interpolation(codes, decode(space, codes), path)


def decoder_of(metric: Any) -> Any:
    """Return what a path of a metric decodes by."""
    return partial(decode_by, metric)
