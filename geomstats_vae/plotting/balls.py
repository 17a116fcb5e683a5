"""Geodesic circles: the edges of balls."""

from __future__ import annotations

import geomstats.backend as gs
import numpy as np

from geomstats_vae.plotting.axes import INK, PAPER, add_lines, as_array, halo, name_axes
from geomstats_vae.plotting.reach import check_method, distances_from

# A geodesic is taken to be shortest unless a way is known that is shorter by more than this: the
# chords by which edges of a graph are measured undercut them by less.
_RTOL = 2e-3


def geodesic_balls(
    ax, space, center, radii, *, n_directions=360, method="graph", color=PAPER, width=1.4
):
    """Draw geodesic circles about a point, where the geodesics from it are the shortest ways.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Axes to draw on.
    space : LatentSpace
        Latent space of two dimensions, or any space of two coordinates with a metric.
    center : array-like, shape=[2]
        Common centre.
    radii : array-like, shape=[n_radii]
        Radii, in the units of the data. They are written on the circles.
    n_directions : int
        Geodesics that are followed from the centre.
    method : str, {'graph', 'exact'}
        How to tell where a geodesic has ceased to be the shortest way: from distances on the
        metric's graph, which are too long by about half a percent, or by solving for the geodesics
        between the centre and all points drawn. Spaces without such a graph take the second way.
    color : str
        Colour of the circles; they get an outline in black.
    width : float
        Width of the circles in points.

    Returns
    -------
    artists : list of matplotlib.artist.Artist
        A collection of lines for each radius, from the least, with as many lines as the circle has
        parts; the centre; then the names of the circles that have points.

    Raises
    ------
    ValueError
        If the centre has not two coordinates, a radius is not positive, or method is neither.

    Notes
    -----
    A circle of radius r is the image under the exponential map of the vectors of length r. Beyond
    the cut points of the centre the image no longer bounds the ball, and is left out: circles end
    there, on the cut locus, as they do where a geodesic could not be followed. On a map the view
    stays that of the map.
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
    points = circle_points(space.metric, center, radii, n_directions)
    flat = points.reshape(-1, 2)
    reached = np.isfinite(flat).all(axis=1)
    distances = np.zeros(len(flat))
    distances[reached] = distances_from(space.metric, center[None], flat[reached], method)[0]
    shortest = distances.reshape(points.shape[:2]) >= (1.0 - _RTOL) * radii[:, None]
    artists = [
        _circle(ax, curve, kept, color, width) for curve, kept in zip(points, shortest, strict=True)
    ]
    style = {"s": 30.0, "marker": "o", "facecolor": color, "edgecolor": INK, "zorder": 5}
    artists.append(ax.scatter(*center, **style))
    for radius, curve, kept in zip(radii, points, shortest, strict=True):
        if kept.any():
            artists.append(_name(ax, curve[kept], f"{radius:g}"))
    name_axes(ax)
    return artists


def circle_points(metric, center, radii, n_directions):
    """Points at given distances along the geodesics from a point, in all directions.

    Parameters
    ----------
    metric : geomstats.geometry.riemannian_metric.RiemannianMetric
        Metric.
    center : numpy.ndarray, shape=[2]
        The point.
    radii : numpy.ndarray, shape=[n_radii]
        The distances, in increasing order.
    n_directions : int
        Number of directions, equally spaced in an orthonormal frame.

    Returns
    -------
    points : numpy.ndarray, shape=[n_radii, n_directions, 2]
        The points.
    """
    angle = 2.0 * np.pi * np.arange(n_directions) / n_directions
    unit = np.stack((np.cos(angle), np.sin(angle)))
    # With M = L L' the columns of L'^-1 are orthonormal.
    factor = np.linalg.cholesky(as_array(metric.metric_matrix(gs.from_numpy(center))))
    vectors = radii[-1] * np.linalg.solve(factor.T, unit).T
    follow = metric.geodesic(
        initial_point=gs.from_numpy(np.tile(center, (n_directions, 1))),
        initial_tangent_vec=gs.from_numpy(vectors),
    )
    return as_array(follow(gs.from_numpy(radii / radii[-1]))).swapaxes(0, 1)


def _circle(ax, points, kept, color, width):
    """Draw the parts of a closed curve, shape=[n_points, 2], whose points are kept."""
    if kept.all():
        parts = [np.concatenate((points, points[:1]))]
    else:
        # From a gap on, the parts are runs that do not wrap around.
        first = int(np.argmin(kept))
        points, kept = np.roll(points, -first, axis=0), np.roll(kept, -first)
        edges = np.flatnonzero(np.diff(np.append(kept, False).astype(int)))
        parts = [points[a + 1 : b + 1] for a, b in zip(edges[::2], edges[1::2], strict=True)]
    style = {"colors": color, "linewidths": width, "label": "_circle", "zorder": 3}
    lines = add_lines(ax, parts, widen=not ax.images, **style)
    lines.set_path_effects(halo(width + 1.4, INK))
    return lines


def _name(ax, points, name):
    """Write a circle's radius at its highest point."""
    x, y = points[np.argmax(points[:, 1])]
    text = ax.text(x, y, name, ha="center", va="center", fontsize="small", zorder=6)
    text.set(color=INK, path_effects=halo(3.0, PAPER), clip_on=True)
    return text
