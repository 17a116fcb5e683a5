"""Balls around points and integrals over them: functions of a decoder's metric, its methods."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from geomstats_vae.manifolds.arrays import Array, outside_inference_mode, to_backend, to_host
from geomstats_vae.volume.injectivity import injectivity_radii
from geomstats_vae.volume.isotropic import RayStatus, isotropic_moments, medoid


def injectivity_radius(
    metric: Any,
    base_point: Array,
    *,
    n_directions: int | None = None,
    max_radius: float | None = None,
) -> Array:
    """Estimate the radius up to which `exp` is one to one; see `volume.injectivity_radii`.

    Parameters
    ----------
    base_point : array-like, shape=[..., dim]
        Points in latent space.
    n_directions : int, optional
        Geodesics followed from each point; by default 16, or 4 dim if that is more.
    max_radius : float, optional
        Radius up to which cut points are looked for; by default that of the data.

    Returns
    -------
    radius : array-like, shape=[...]
        Estimates, and no bounds: infinity where every geodesic followed is shortest up to the
        largest radius, NaN where the metric is singular.
    """
    (base,), origin = metric._enter(points=base_point)
    with origin.recording():
        radii = injectivity_radii(
            metric.geometry, base, n_directions=n_directions, max_radius=max_radius
        )
    return replace(origin, requires_grad=False).give(radii)


def normalization_factor(metric: Any, variances: Array, base_point: Array = None) -> Array:
    r"""Normalise isotropic normal distributions, for geomstats' mixture of Gaussians.

    Parameters
    ----------
    variances : array-like, shape=[n_variances]
        Standard deviations sigma, in units of distance; geomstats calls them variances.
    base_point : array-like, shape=[dim], optional
        Mean of the distributions. By default the medoid of the codes, in distances on the
        graph; without codes, the origin. geomstats asks for one factor at all means, as is
        right on homogeneous spaces; `LAND` takes into account that it depends on the mean.

    Returns
    -------
    factor : array-like, shape=[n_variances]
        :math:`\zeta(\sigma) = \int \exp(-d(m, x)^2 / (2 \sigma^2)) dx`, over the
        Riemannian volume.
    """
    return metric.norm_factor_gradient(variances, base_point)[0]


def norm_factor_gradient(
    metric: Any, variances: Array, base_point: Array = None
) -> tuple[Array, Array]:
    r"""Differentiate the logarithm of `normalization_factor`; parameters as there.

    Returns
    -------
    factor : array-like, shape=[n_variances]
        :math:`\zeta(\sigma)`.
    gradient : array-like, shape=[n_variances]
        :math:`d \log \zeta / d \sigma = E[d(m, x)^2] / \sigma^3`.
    """
    sigma = to_host(to_backend(variances, "variances"))
    if sigma.ndim != 1 or not (np.isfinite(sigma) & (sigma > 0.0)).all():
        raise ValueError(
            "Expected positive and finite variances of shape [n_variances], got "
            f"{sigma if sigma.ndim == 1 else list(sigma.shape)}."
        )
    with outside_inference_mode():
        base = medoid(metric.geometry) if base_point is None else base_point
    (base,), origin = metric._enter(points=base)
    with origin.recording():
        factor, square, status = isotropic_moments(metric.geometry, base[0], sigma)
    metric._report(status, RayStatus, "rays")
    origin = replace(origin, batch_shape=sigma.shape, requires_grad=False)
    return origin.give(factor), origin.give(square / sigma**3)
