"""Geodesic circles: the edges of balls."""

from __future__ import annotations

from typing import cast

import geomstats.backend as gs
import numpy as np
from contourpy import contour_generator
from geomstats.geometry.manifold import Manifold
from geomstats.geometry.riemannian_metric import RiemannianMetric
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.text import Text
from numpy.typing import NDArray

from geomstats_vae.plotting.axes import (
    INK,
    PAPER,
    Arrays,
    Floats,
    add_lines,
    as_array,
    halo,
    name_axes,
)
from geomstats_vae.plotting.reach import check_method, distances_from, has_grid
from geomstats_vae.plotting.window import LatentWindow

# A geodesic counts as shortest unless a curve is found that is shorter by more than this share.
_RTOL = 1e-3
# Cells along the longer side of the codes' window at which distances are taken.
_N_CELLS = 96


def geodesic_balls(
    ax: Axes,
    space: Manifold,
    center: Arrays,
    radii: Arrays,
    *,
    method: str = "graph",
    n_directions: int = 180,
    color: str = PAPER,
    width: float = 1.4,
) -> list[Artist]:
    """Draw geodesic circles about a point: the points at given distances from it.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Axes to draw on. The view of a map stays as it is.
    space : LatentSpace
        Latent space of two dimensions, or any space of two coordinates with a metric.
    center : array-like, shape=[2]
        Common centre.
    radii : array-like, shape=[n_radii]
        Radii, in the units of the data. They are written on the circles.
    method : str, {'graph', 'exact'}
        'graph' draws levels of the distance on the metric's graph, over the window of its codes.
        'exact' follows geodesics from the centre; see the notes. It is also what spaces without
        such a graph get.
    n_directions : int
        Geodesics that are followed from the centre.
    color : str
        Colour of the circles; they get an outline in black.
    width : float
        Width of the circles in points.

    Returns
    -------
    artists : list of matplotlib.artist.Artist
        A collection of lines for each radius, from the least; the centre; then the names of the
        circles that have points.

    Raises
    ------
    ValueError
        If the centre has not two coordinates, a radius is not positive, or method is neither.

    Notes
    -----
    Distances on the graph are too long by about a percent, in places by several. Circles end at
    the edge of the codes' window.

    Circles by geodesics are exact: they are the image of the vectors of length r under the
    exponential map. Beyond the cut points of the centre this image no longer bounds the ball, so
    it is left out there. Such a circle ends shortly before the cut locus, and it has gaps where
    geodesics drift apart. More directions make both gaps smaller.
    """
    check_method(method)
    middle, sizes = as_array(center).astype(float), np.sort(np.ravel(as_array(radii)))
    if middle.shape != (2,):
        raise ValueError(
            f"Expected a centre of shape [2], got {list(middle.shape)}; circles are drawn in two "
            "dimensions."
        )
    if not len(sizes) or not (sizes > 0.0).all():
        raise ValueError(f"Expected positive radii, at least one, got {sizes.tolist()}.")
    if method == "graph" and has_grid(space.metric, 2):
        circles = _levels(space.metric, middle, sizes)
    else:
        circles = _circles(space.metric, middle, sizes, n_directions)
    artists: list[Artist] = []
    line = {"colors": color, "linewidths": width, "label": "_circle", "zorder": 3}
    for parts in circles:
        lines = add_lines(ax, parts, widen=not ax.images, **line)
        lines.set_path_effects(halo(width + 1.4, INK))
        artists.append(lines)
    x, y = middle
    artists.append(ax.scatter(x, y, s=30.0, marker="o", facecolor=color, edgecolor=INK, zorder=5))
    for radius, parts in zip(sizes, circles, strict=True):
        if parts:
            artists.append(_name(ax, np.concatenate(parts), f"{radius:g}"))
    name_axes(ax)
    return artists


def _levels(metric: RiemannianMetric, center: Floats, radii: Floats) -> list[list[Floats]]:
    """Lines of each circle, as levels of the distance on the graph."""
    metric_of_codes = getattr(metric, "underlying_metric", metric)
    points = LatentWindow.around(metric_of_codes.points).grid(_N_CELLS)
    distances = distances_from(metric, center[None], points.reshape(-1, 2))
    distances = np.ma.masked_invalid(distances.reshape(points.shape[:2]))
    levels = contour_generator(points[..., 0], points[..., 1], distances)
    # One array per line is what the generator returns by default.
    return [cast("list[Floats]", levels.lines(radius)) for radius in radii]


def _circles(
    metric: RiemannianMetric, center: Floats, radii: Floats, n_directions: int
) -> list[list[Floats]]:
    """Lines of each circle, along the ends of geodesics that are shortest paths."""
    angle = 2.0 * np.pi * np.arange(n_directions) / n_directions
    unit = np.stack((np.cos(angle), np.sin(angle)))
    # With M = L L' the columns of L'^-1 are orthonormal.
    factor = np.linalg.cholesky(as_array(metric.metric_matrix(gs.from_numpy(center))))
    vectors = radii[-1] * np.linalg.solve(factor.T, unit).T
    path = metric.geodesic(
        initial_point=gs.from_numpy(np.tile(center, (n_directions, 1))),
        initial_tangent_vec=gs.from_numpy(vectors),
    )
    points = as_array(path(gs.from_numpy(radii / radii[-1]))).swapaxes(0, 1)
    flat = points.reshape(-1, 2)
    reached = np.isfinite(flat).all(axis=1)
    distances = np.zeros(len(flat))
    distances[reached] = distances_from(metric, center[None], flat[reached], "exact")[0]
    shortest = distances.reshape(points.shape[:2]) >= (1.0 - _RTOL) * radii[:, None]
    return [_parts(curve, kept) for curve, kept in zip(points, shortest, strict=True)]


def _parts(points: Floats, kept: NDArray[np.bool_]) -> list[Floats]:
    """Parts of a closed curve, shape=[n_points, 2], whose points are kept."""
    if kept.all():
        return [np.concatenate((points, points[:1]))]
    # From a gap on, the parts are runs that do not wrap around.
    first = int(np.argmin(kept))
    points, kept = np.roll(points, -first, axis=0), np.roll(kept, -first)
    edges = np.flatnonzero(np.diff(np.append(kept, False).astype(int)))
    return [points[a + 1 : b + 1] for a, b in zip(edges[::2], edges[1::2], strict=True)]


def _name(ax: Axes, points: Floats, name: str) -> Text:
    """Write a circle's radius at its highest point."""
    x, y = points[np.argmax(points[:, 1])]
    text = ax.text(x, y, name, ha="center", va="center", fontsize="small", zorder=6)
    text.set(color=INK, path_effects=halo(3.0, PAPER), clip_on=True)
    return text
