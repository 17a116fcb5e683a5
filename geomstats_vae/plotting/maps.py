"""Maps over a window: the decoder's uncertainty, the metric's volume and curvature, densities."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import numpy as np
from geomstats.geometry.manifold import Manifold
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.image import AxesImage
from sklearn.base import BaseEstimator

from geomstats_vae.plotting.axes import (
    DIVERGING,
    INK,
    MAP,
    PAPER,
    Arrays,
    Floats,
    as_array,
    name_axes,
    select,
)
from geomstats_vae.plotting.window import LatentWindow

# Percentile of the curvature's magnitude at which its colours end.
_CLIPPED = 95
MEASURES = ("riemannian", "lebesgue")
_Function: TypeAlias = Callable[[Floats], Arrays]


def log_sigma(
    ax: Axes,
    std: _Function,
    window: LatentWindow,
    *,
    n_points: int = 200,
    norm: Normalize | None = None,
    colorbar: bool = True,
) -> AxesImage:
    """Draw the logarithm of the sum of the decoder's standard deviations.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Axes to draw on.
    std : callable
        Maps latent points, shape=[n, dim], to standard deviations, shape=[n, n_outputs].
    window : LatentWindow
        Part of the latent space to draw.
    n_points : int
        Cells along the longer side of the window.
    norm : matplotlib.colors.Normalize, optional
        Scale of the colours, to share between maps.
    colorbar : bool
        Whether to add a colour bar.

    Returns
    -------
    image : matplotlib.image.AxesImage
        The map; its array holds log sum_j sigma_j(z).
    """
    points = window.grid(n_points)
    sigma = as_array(std(points.reshape(-1, points.shape[-1])))
    values = np.log(sigma.sum(axis=-1)).reshape(points.shape[:2])
    return _map(ax, values, window, norm, r"$\log\,\sum_j \sigma_j(z)$" if colorbar else None)


def volume_density(
    ax: Axes,
    space: Manifold,
    window: LatentWindow,
    *,
    n_points: int = 200,
    norm: Normalize | None = None,
    colorbar: bool = True,
) -> AxesImage:
    """Draw the volume density sqrt(det M(z)) on a logarithmic scale.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Axes to draw on.
    space : LatentSpace
        Latent space, or any space whose metric has `volume_density`.
    window : LatentWindow
        Part of the latent space to draw.
    n_points : int
        Cells along the longer side of the window.
    norm : matplotlib.colors.Normalize, optional
        Scale of the colours; a logarithmic one over the values by default.
    colorbar : bool
        Whether to add a colour bar.

    Returns
    -------
    image : matplotlib.image.AxesImage
        The map; its array holds the density, in data volume per latent volume.
    """
    points = window.grid(n_points)
    flat = points.reshape(-1, points.shape[-1])
    values = as_array(space.metric.volume_density(flat)).reshape(points.shape[:2])
    # A density may vanish where the decoder is flat. A logarithmic scale has no colour for zero.
    values = np.ma.masked_less_equal(values, 0.0)
    unit = "area per latent area" if points.shape[-1] == 2 else "volume per latent volume"
    label = f"volume density $(\\det M(z))^{{1/2}}$\n(data {unit})"
    return _map(ax, values, window, norm or LogNorm(), label if colorbar else None)


def gaussian_curvature(
    ax: Axes,
    space: Manifold,
    window: LatentWindow,
    *,
    n_points: int = 200,
    norm: Normalize | None = None,
    colorbar: bool = True,
) -> AxesImage:
    """Draw the Gaussian curvature of a two-dimensional latent space, red where it is positive.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Axes to draw on.
    space : LatentSpace
        Latent space, or any space whose metric has `gaussian_curvature`.
    window : LatentWindow
        Part of the latent space to draw.
    n_points : int
        Cells along the longer side of the window.
    norm : matplotlib.colors.Normalize, optional
        Scale of the colours. By default linear on both sides of zero, ending at the 95th percentile
        of the magnitudes: curvature grows without bound at walls, and a few cells would leave no
        colours for the others.
    colorbar : bool
        Whether to add a colour bar.

    Returns
    -------
    image : matplotlib.image.AxesImage
        The map; its array holds the curvature, masked where the metric is singular.
    """
    points = window.grid(n_points)
    flat = points.reshape(-1, points.shape[-1])
    values = as_array(space.metric.gaussian_curvature(flat)).reshape(points.shape[:2])
    values = np.ma.masked_invalid(values)
    if norm is None:
        magnitudes = np.abs(values.compressed())
        largest = np.percentile(magnitudes, _CLIPPED) if len(magnitudes) else 0.0
        # On a flat space all magnitudes are zero, and the scale is set to 1.
        largest = largest if largest > 0.0 else 1.0
        norm = Normalize(vmin=-largest, vmax=largest)
    label = "Gaussian curvature (1 / squared data distance)" if colorbar else None
    return _map(ax, values, window, norm, label, cmap=DIVERGING, extend="both")


def density(
    ax: Axes,
    log_density: _Function | BaseEstimator,
    window: LatentWindow,
    samples: Arrays | None = None,
    *,
    measure: str = "lebesgue",
    n_points: int = 40,
    norm: Normalize | None = None,
    colorbar: bool = True,
) -> list[Artist]:
    """Draw a probability density, with samples on top.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Axes to draw on.
    log_density : callable or estimator
        Maps latent points, shape=[n, dim], to logarithms of the density, shape=[n]; or a fitted
        estimator with a method `score_samples`. `LAND` is asked for the measure.
    window : LatentWindow
        Part of the latent space to draw.
    samples : array-like, shape=[n_samples, dim], optional
        Latent points to draw on the map.
    measure : str, {'lebesgue', 'riemannian'}
        Measure that the density is for, and integrates to one over: latent coordinates, or
        Riemannian volume; they differ by the factor sqrt(det M(z)). The colour bar says which.
    n_points : int
        Cells along the longer side of the window. A `LAND` solves for a geodesic from each mean to
        each cell.
    norm : matplotlib.colors.Normalize, optional
        Scale of the colours, to share between maps; linear from zero by default.
    colorbar : bool
        Whether to add a colour bar.

    Returns
    -------
    artists : list of matplotlib.artist.Artist
        The map, whose array holds the density, and the samples if there are any.

    Raises
    ------
    ValueError
        If measure is neither.
    """
    if measure not in MEASURES:
        raise ValueError(
            f"Expected measure to be one of {', '.join(map(repr, MEASURES))}, got {measure!r}."
        )
    points = window.grid(n_points)
    flat = points.reshape(-1, points.shape[-1])
    if not hasattr(log_density, "score_samples"):
        logs = log_density(flat)
    elif hasattr(log_density, "space_"):
        logs = log_density.score_samples(flat, measure=measure)
    else:
        logs = log_density.score_samples(flat)
    values = np.exp(as_array(logs)).reshape(points.shape[:2])
    size = "area" if points.shape[-1] == 2 else "volume"
    unit = f"latent {size}" if measure == "lebesgue" else f"Riemannian {size}, in data units"
    norm = Normalize(vmin=0.0) if norm is None else norm
    label = f"probability density (1 / {unit})" if colorbar else None
    artists: list[Artist] = [_map(ax, values, window, norm, label)]
    if samples is not None:
        x, y = select(ax, samples, (0, 1)).T
        style: dict[str, Any] = {"facecolor": PAPER, "edgecolor": INK, "linewidth": 0.4}
        artists.append(ax.scatter(x, y, s=8.0, zorder=3, **style))
    return artists


def _map(
    ax: Axes,
    values: Floats,
    window: LatentWindow,
    norm: Normalize | None,
    label: str | None,
    cmap: str = MAP,
    extend: Literal["neither", "both"] = "neither",
) -> AxesImage:
    """Draw values on the cells of a window, with a colour bar if it has a label."""
    name_axes(ax)
    image = ax.imshow(
        values, extent=window.extent, origin="lower", cmap=cmap, norm=norm, interpolation="bilinear"
    )
    if label is not None:
        ax.figure.colorbar(image, ax=ax, label=label, extend=extend)
    return image
