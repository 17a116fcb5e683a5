"""Maps of the decoder's uncertainty, the metric's volume and its curvature over a window."""

from __future__ import annotations

import numpy as np
from matplotlib.colors import LogNorm, SymLogNorm

from geomstats_vae.plotting.axes import DIVERGING, MAP, name_axes


def log_sigma(ax, std, window, *, n_points=200, norm=None, colorbar=True):
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
    sigma = np.asarray(std(points.reshape(-1, points.shape[-1])))
    values = np.log(sigma.sum(axis=-1)).reshape(points.shape[:2])
    return _map(ax, values, window, norm, r"$\log\,\sum_j \sigma_j(z)$" if colorbar else None)


def volume_density(ax, space, window, *, n_points=200, norm=None, colorbar=True):
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
    values = np.asarray(space.metric.volume_density(flat)).reshape(points.shape[:2])
    # A density may vanish where the decoder is flat; the logarithm has no colour for that.
    values = np.ma.masked_less_equal(values, 0.0)
    unit = "area per latent area" if points.shape[-1] == 2 else "volume per latent volume"
    label = rf"volume density $(\det M(z))^{{1/2}}$ (data {unit})"
    return _map(ax, values, window, norm or LogNorm(), label if colorbar else None)


def gaussian_curvature(ax, space, window, *, n_points=200, norm=None, colorbar=True):
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
        Scale of the colours. By default logarithmic on both sides of zero, linear up to the
        median of the magnitudes and ending at their 99th percentile.
    colorbar : bool
        Whether to add a colour bar.

    Returns
    -------
    image : matplotlib.image.AxesImage
        The map; its array holds the curvature, masked where the metric is singular.
    """
    points = window.grid(n_points)
    flat = points.reshape(-1, points.shape[-1])
    values = np.asarray(space.metric.gaussian_curvature(flat)).reshape(points.shape[:2])
    values = np.ma.masked_invalid(values)
    if norm is None:
        # A flat space has one colour, and its scale is 1 for lack of another.
        middle, largest = (
            np.percentile(np.abs(values.compressed()), [50, 99]) if values.count() else (0, 0)
        )
        largest = largest if largest > 0.0 else 1.0
        norm = SymLogNorm(max(middle, 1e-3 * largest), vmin=-largest, vmax=largest)
    label = "Gaussian curvature (1 / squared data distance)" if colorbar else None
    return _map(ax, values, window, norm, label, cmap=DIVERGING)


def _map(ax, values, window, norm, label, cmap=MAP):
    """Draw values on the cells of a window, with a colour bar if it has a label."""
    name_axes(ax)
    image = ax.imshow(
        values, extent=window.extent, origin="lower", cmap=cmap, norm=norm, interpolation="bilinear"
    )
    if label is not None:
        ax.figure.colorbar(image, ax=ax, label=label)
    return image
