"""Maps of the decoder's uncertainty and of the metric's volume over a latent window."""

from __future__ import annotations

import numpy as np
from matplotlib.colors import LogNorm

from geomstats_vae.plotting.axes import MAP, name_axes


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


def _map(ax, values, window, norm, label):
    """Draw values on the cells of a window, with a colour bar if it has a label."""
    name_axes(ax)
    image = ax.imshow(
        values, extent=window.extent, origin="lower", cmap=MAP, norm=norm, interpolation="bilinear"
    )
    if label is not None:
        ax.figure.colorbar(image, ax=ax, label=label)
    return image
