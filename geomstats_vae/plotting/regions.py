"""Regions of latent space that a classifier or a clustering tells apart."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from geomstats.geometry.riemannian_metric import RiemannianMetric
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm, ListedColormap
from numpy.typing import NDArray
from scipy.interpolate import RegularGridInterpolator
from sklearn.base import BaseEstimator

from geomstats_vae.plotting.axes import (
    INK,
    PAPER,
    Arrays,
    Floats,
    as_array,
    name_axes,
    select,
)
from geomstats_vae.plotting.codes import class_styles
from geomstats_vae.plotting.reach import check_method, distances_from, has_grid
from geomstats_vae.plotting.window import LatentWindow

# Cells along the longer side at which distances to centres are measured. Distances are continuous,
# so they are interpolated in between.
_COARSE = 64


def regions(
    ax: Axes,
    predict: Callable[[Floats], Arrays] | BaseEstimator,
    window: LatentWindow,
    names: Arrays | None = None,
    *,
    classes: Arrays | None = None,
    n_points: int = 200,
    method: str = "graph",
    alpha: float = 0.3,
) -> list[Artist]:
    """Draw the regions of a window that get different labels, and their edges.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Axes to draw on.
    predict : callable or estimator
        Maps latent points, shape=[n, dim], to labels, shape=[n]; or a fitted estimator with such a
        method. If it has `cluster_centers_` these are drawn, too.
    window : LatentWindow
        Part of the latent space to draw.
    names : sequence, shape=[n_clusters], optional
        Class that each of the labels 0, 1, ... stands for, such as the digit that most codes of a
        cluster show.
    classes : sequence, optional
        All classes, also those without a region: regions get the colours that `latent_scatter`
        gives them. By default those that occur.
    n_points : int
        Cells along the longer side of the window.
    method : str, {'graph', 'exact'}
        How the nearest centre of a cell is found. 'graph', for a `GeodesicKMeans`, takes distances
        on its metric's graph at up to 64 cells a side, and interpolates in between. 'exact' calls
        `predict`, which solves for geodesics. It is also what spaces without a grid, and all other
        estimators, get.
    alpha : float
        Opacity of the colours.

    Returns
    -------
    artists : list of matplotlib.artist.Artist
        The image, whose array holds the numbers of the classes in their order; the edges; and the
        centres if there are any.

    Raises
    ------
    ValueError
        If method is neither, there are fewer names than labels, or a class is missing.
    """
    check_method(method)
    centers = getattr(predict, "cluster_centers_", None)
    metric = getattr(getattr(predict, "space_", None), "metric", None)
    if method == "graph" and centers is not None and has_grid(metric, centers.shape[-1]):
        labels = _nearest(metric, centers, window, n_points)
    else:
        points = window.grid(n_points)
        predicted = getattr(predict, "predict", predict)(points.reshape(-1, points.shape[-1]))
        labels = as_array(predicted).reshape(points.shape[:2])
    if names is not None:
        labels = _named(labels, as_array(names))
    elif classes is None and centers is not None:
        classes = np.arange(len(centers))
    known = np.unique(labels if classes is None else as_array(classes))
    number = np.searchsorted(known, labels)
    if not np.isin(labels, known).all():
        missing = np.setdiff1d(labels, known).tolist()
        raise ValueError(f"Expected all classes of the regions in classes, got none of {missing}.")
    artists = _draw(ax, number, window, len(known), alpha)
    if centers is not None:
        # On top of the codes, but beneath the names that `latent_scatter` writes.
        x, y = select(ax, centers, (0, 1)).T
        style: dict[str, Any] = {"facecolor": PAPER, "edgecolor": INK, "linewidth": 1.0}
        stars = ax.scatter(x, y, s=110.0, marker="*", label="center", zorder=3.5, **style)
        artists.append(stars)
    name_axes(ax)
    return artists


def _nearest(
    metric: RiemannianMetric, centers: Floats, window: LatentWindow, n_points: int
) -> NDArray[np.int64]:
    """Nearest centre of each cell, shape=[n_rows, n_columns]."""
    coarse, fine = window.grid(min(n_points, _COARSE)), window.grid(n_points)
    distances = distances_from(metric, centers, coarse.reshape(-1, coarse.shape[-1]))
    distances = distances.reshape(len(centers), *coarse.shape[:2])
    # The interpolation subtracts values, and infinity minus infinity is NaN.
    distances = np.minimum(distances, np.finfo(float).max ** 0.5)
    if coarse.shape != fine.shape:
        axes = (coarse[:, 0, 1], coarse[0, :, 0])
        # The outermost fine cells lie beyond the middles of the outermost coarse ones.
        low, high = coarse[0, 0, :2], coarse[-1, -1, :2]
        at = np.clip(fine[..., :2], low, high)[..., ::-1]
        distances = np.stack([RegularGridInterpolator(axes, d)(at) for d in distances])
    return distances.argmin(axis=0)


def _named(labels: NDArray[np.int64], names: np.ndarray) -> np.ndarray:
    """Classes that labels stand for."""
    if labels.max() >= len(names):
        raise ValueError(
            f"Expected a name for each of the labels 0 to {labels.max()}, got {len(names)}; pass "
            "one class per cluster."
        )
    return names[labels]


def _draw(
    ax: Axes, labels: NDArray[np.int64], window: LatentWindow, n_classes: int, alpha: float
) -> list[Artist]:
    colors = [color for color, _ in class_styles(n_classes)]
    image = ax.imshow(
        labels,
        extent=window.extent,
        origin="lower",
        cmap=ListedColormap(colors),
        norm=BoundaryNorm(np.arange(n_classes + 1) - 0.5, n_classes),
        alpha=alpha,
        interpolation="nearest",
    )
    artists: list[Artist] = [image]
    points = window.grid(max(labels.shape))
    for k in np.unique(labels)[1:] if min(labels.shape) > 1 else ():
        edges = ax.contour(
            points[0, :, 0],
            points[:, 0, 1],
            (labels == k).astype(float),
            levels=[0.5],
            colors=INK,
            linewidths=0.8,
        )
        artists.append(edges)
    return artists
