"""Regions of latent space that a classifier or a clustering tells apart."""

from __future__ import annotations

import numpy as np
from matplotlib.colors import BoundaryNorm, ListedColormap
from scipy.interpolate import RegularGridInterpolator

from geomstats_vae.plotting.axes import INK, PAPER, as_array, name_axes, select
from geomstats_vae.plotting.codes import class_styles
from geomstats_vae.plotting.reach import check_method, distances_from, has_grid

# Cells along the longer side at which distances to centres are measured; these are continuous, and
# between the cells they are interpolated.
_COARSE = 64


def regions(
    ax, predict, window, names=None, *, classes=None, n_points=200, method="graph", alpha=0.3
):
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
        How a `GeodesicKMeans` finds the nearest centre of a cell: from distances on its metric's
        graph, taken at up to 64 cells a side and interpolated in between, or by its `predict`,
        which solves for geodesics. Spaces without a grid, and all else, take the second way.
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
        labels = getattr(predict, "predict", predict)(points.reshape(-1, points.shape[-1]))
        labels = as_array(labels).reshape(points.shape[:2])
    if names is not None:
        labels = _named(labels, as_array(names))
    elif classes is None and centers is not None:
        classes = np.arange(len(centers))
    classes = np.unique(labels if classes is None else as_array(classes))
    number = np.searchsorted(classes, labels)
    if not np.isin(labels, classes).all():
        missing = np.setdiff1d(labels, classes).tolist()
        raise ValueError(f"Expected all classes of the regions in classes, got none of {missing}.")
    artists = _draw(ax, number, window, len(classes), alpha)
    if centers is not None:
        # Above codes, below the names that `latent_scatter` writes.
        style = {"facecolor": PAPER, "edgecolor": INK, "linewidth": 1.0, "zorder": 3.5}
        x, y = select(ax, centers, (0, 1)).T
        artists.append(ax.scatter(x, y, s=110.0, marker="*", label="center", **style))
    name_axes(ax)
    return artists


def _nearest(metric, centers, window, n_points):
    """Nearest centre of each cell, shape=[n_rows, n_columns]."""
    coarse, fine = window.grid(min(n_points, _COARSE)), window.grid(n_points)
    distances = distances_from(metric, centers, coarse.reshape(-1, coarse.shape[-1]))
    distances = distances.reshape(len(centers), *coarse.shape[:2])
    # Infinity minus infinity is no number.
    distances = np.minimum(distances, np.finfo(float).max ** 0.5)
    if coarse.shape != fine.shape:
        axes = (coarse[:, 0, 1], coarse[0, :, 0])
        # The outermost cells reach beyond the middles of the coarse ones.
        low, high = coarse[0, 0, :2], coarse[-1, -1, :2]
        at = np.clip(fine[..., :2], low, high)[..., ::-1]
        distances = np.stack([RegularGridInterpolator(axes, d)(at) for d in distances])
    return distances.argmin(axis=0)


def _named(labels, names):
    """Classes that labels stand for."""
    if labels.max() >= len(names):
        raise ValueError(
            f"Expected a name for each of the labels 0 to {labels.max()}, got {len(names)}; pass "
            "one class per cluster."
        )
    return names[labels]


def _draw(ax, labels, window, n_classes, alpha):
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
    artists = [image]
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
