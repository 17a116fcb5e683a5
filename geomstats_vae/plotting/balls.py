"""Geodesic circles: the edges of balls."""

from __future__ import annotations

import geomstats.backend as gs
import numpy as np
from contourpy import contour_generator

from geomstats_vae.plotting.axes import INK, PAPER, add_lines, as_array, halo, name_axes
from geomstats_vae.plotting.reach import check_method, distances_from, has_grid
from geomstats_vae.plotting.window import LatentWindow

# A geodesic is taken to be shortest unless a curve is found that is shorter by more than this.
_RTOL = 1e-3
# Cells along the longer side of the codes' window at which distances are taken.
_N_CELLS = 96


def geodesic_balls(
    ax, space, center, radii, *, method="graph", n_directions=180, color=PAPER, width=1.4
):
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
        Levels of the distance on the metric's graph, over the window of its codes, or geodesics
        followed from the centre; see the notes. Spaces without such a graph take the second way.
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
    Distances on the graph are too long by about a percent, by several in places, and circles end
    where the codes' window does. Circles by geodesics are exact, the images of the vectors of
    length r under the exponential map; beyond the cut points of the centre the image no longer
    bounds the ball, and is left out. So such a circle ends shortly before the cut locus, and has
    holes where geodesics drift apart; more directions make both smaller.
    """
    check_method(method)
    center, radii = as_array(center).astype(float), np.sort(np.ravel(as_array(radii)))
    if center.shape != (2,):
        raise ValueError(
            f"Expected a centre of shape [2], got {list(center.shape)}; circles are drawn in two "
            "dimensions."
        )
    if not len(radii) or not (radii > 0.0).all():
        raise ValueError(f"Expected positive radii, at least one, got {radii.tolist()}.")
    if method == "graph" and has_grid(space.metric, 2):
        circles = _levels(space.metric, center, radii)
    else:
        circles = _circles(space.metric, center, radii, n_directions)
    artists = []
    for parts in circles:
        style = {"colors": color, "linewidths": width, "label": "_circle", "zorder": 3}
        artists.append(add_lines(ax, parts, widen=not ax.images, **style))
        artists[-1].set_path_effects(halo(width + 1.4, INK))
    style = {"s": 30.0, "marker": "o", "facecolor": color, "edgecolor": INK, "zorder": 5}
    artists.append(ax.scatter(*center, **style))
    for radius, parts in zip(radii, circles, strict=True):
        if parts:
            artists.append(_name(ax, np.concatenate(parts), f"{radius:g}"))
    name_axes(ax)
    return artists


def _levels(metric, center, radii):
    """Lines of each circle, as levels of the distance on the graph."""
    metric_of_codes = getattr(metric, "underlying_metric", metric)
    points = LatentWindow.around(metric_of_codes.points).grid(_N_CELLS)
    distances = distances_from(metric, center[None], points.reshape(-1, 2))
    distances = np.ma.masked_invalid(distances.reshape(points.shape[:2]))
    levels = contour_generator(points[..., 0], points[..., 1], distances)
    return [levels.lines(radius) for radius in radii]


def _circles(metric, center, radii, n_directions):
    """Lines of each circle, along the ends of geodesics that are the shortest ways."""
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


def _parts(points, kept):
    """Parts of a closed curve, shape=[n_points, 2], whose points are kept."""
    if kept.all():
        return [np.concatenate((points, points[:1]))]
    # From a gap on, the parts are runs that do not wrap around.
    first = int(np.argmin(kept))
    points, kept = np.roll(points, -first, axis=0), np.roll(kept, -first)
    edges = np.flatnonzero(np.diff(np.append(kept, False).astype(int)))
    return [points[a + 1 : b + 1] for a, b in zip(edges[::2], edges[1::2], strict=True)]


def _name(ax, points, name):
    """Write a circle's radius at its highest point."""
    x, y = points[np.argmax(points[:, 1])]
    text = ax.text(x, y, name, ha="center", va="center", fontsize="small", zorder=6)
    text.set(color=INK, path_effects=halo(3.0, PAPER), clip_on=True)
    return text
