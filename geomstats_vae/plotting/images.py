"""Pictures of decoded images."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.image import AxesImage
from numpy.typing import ArrayLike, NDArray

from geomstats_vae.plotting.axes import name_axes

# Margin around every image, as a fraction of its larger side.
_MARGIN = 0.05


def image_grid(
    ax: Axes, images: ArrayLike, extent: tuple[float, float, float, float] | None = None
) -> AxesImage:
    """Draw decoded images where their codes lie.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Axes to draw on.
    images : array-like, shape=[n_rows, n_columns, height, width] or [..., 3]
        Images of the points of `LatentWindow.grid`, the lowest row first.
    extent : tuple of float, optional
        Left, right, bottom and top of the window in latent coordinates.

    Returns
    -------
    image : matplotlib.image.AxesImage
        All images as one.
    """
    mosaic = _mosaic(np.asarray(images)[::-1])
    if extent is None:
        ax.set_axis_off()
    else:
        name_axes(ax)
    return ax.imshow(mosaic, extent=extent, cmap="gray_r", interpolation="nearest")


def strip(ax: Axes, images: ArrayLike) -> AxesImage:
    """Draw images side by side, such as those decoded along a curve.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Axes to draw on; its ticks and frame are removed.
    images : array-like, shape=[n_images, height, width] or [..., 3]
        Images from the start of the curve to its end.

    Returns
    -------
    image : matplotlib.image.AxesImage
        All images as one.
    """
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
    return ax.imshow(_mosaic(np.asarray(images)[None]), cmap="gray_r", interpolation="nearest")


def _mosaic(images: np.ndarray) -> NDArray[np.float64]:
    """Join images, shape=[n_rows, n_columns, height, width, ...], each with a margin around it."""
    n_rows, n_columns, height, width, *channels = images.shape
    margin = max(1, round(_MARGIN * max(height, width)))
    padding = [(0, 0), (0, 0), (margin, margin), (margin, margin), *((0, 0) for _ in channels)]
    # NaN is not drawn, so the margins keep the colour of the paper.
    cells = np.pad(images.astype(float), padding, constant_values=np.nan).swapaxes(1, 2)
    return cells.reshape(n_rows * cells.shape[1], n_columns * cells.shape[3], *channels)
