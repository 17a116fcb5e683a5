"""Geodesics and straight lines on a map."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.legend import Legend
from mpl_toolkits.mplot3d import Axes3D

from geomstats_vae.plotting.axes import (
    INK,
    PAPER,
    Arrays,
    Floats,
    Plane,
    add_lines,
    as_array,
    halo,
    select,
)
from geomstats_vae.plotting.data import Curve


def geodesics(
    ax: Axes,
    path: Curve | Arrays,
    converged: Arrays | None = None,
    *,
    plane: Plane = (0, 1),
    color: str = PAPER,
    width: float = 1.8,
) -> list[LineCollection]:
    """Draw geodesics as solid lines, those that did not converge as dash-dotted ones.

    Parameters
    ----------
    ax : matplotlib.axes.Axes or mpl_toolkits.mplot3d.axes3d.Axes3D
        Axes to draw on; those in three dimensions show the first three coordinates.
    path : GeodesicPath or array-like, shape=[..., n_points, dim]
        One or many paths, or the points on them.
    converged : array-like of bool, shape=[...], optional
        Which paths converged. By default the ``converged`` of the path; all, if it is an array.
    plane : tuple of int
        The two coordinates that flat axes show.
    color : str
        Colour of the lines; they get an outline in black.
    width : float
        Width of the lines in points.

    Returns
    -------
    artists : list of matplotlib.collections.LineCollection
        The converged paths, then, if there are any, the others.
    """
    drawn: Any = getattr(path, "points", path)
    points = select(ax, drawn, plane)
    if converged is None:
        converged = getattr(path, "converged", True)
    curves = points.reshape(-1, *points.shape[-2:])
    certain = np.broadcast_to(np.ravel(as_array(converged)), len(curves))
    artists = []
    for chosen, style, label in (
        (certain, "solid", "geodesic"),
        (~certain, "dashdot", "not converged"),
    ):
        if chosen.any():
            artists.append(_lines(ax, curves[chosen], color, width, style, label))
    return artists


def straight_lines(
    ax: Axes,
    start: Arrays,
    end: Arrays,
    *,
    plane: Plane = (0, 1),
    color: str = PAPER,
    width: float = 1.2,
) -> LineCollection:
    """Draw the straight segments between latent points as dashed lines.

    Parameters
    ----------
    ax : matplotlib.axes.Axes or mpl_toolkits.mplot3d.axes3d.Axes3D
        Axes to draw on; those in three dimensions show the first three coordinates.
    start, end : array-like, shape=[..., dim]
        End points of the segments.
    plane : tuple of int
        The two coordinates that flat axes show.
    color : str
        Colour of the lines; they get an outline in black.
    width : float
        Width of the lines in points.

    Returns
    -------
    artist : matplotlib.collections.LineCollection
        The segments.
    """
    ends = np.broadcast_arrays(*(select(ax, z, plane) for z in (start, end)))
    segments = np.stack(ends, axis=-2).reshape(-1, 2, ends[0].shape[-1])
    return _lines(ax, segments, color, width, (0, (4, 2.5)), "straight line")


def end_points(
    ax: Axes,
    start: Arrays,
    end: Arrays,
    names: Sequence[str] | None = None,
    *,
    plane: Plane = (0, 1),
    size: float = 22.0,
) -> list[Artist]:
    """Mark the end points of curves: a disc where one starts, a square where it ends.

    Parameters
    ----------
    ax : matplotlib.axes.Axes or mpl_toolkits.mplot3d.axes3d.Axes3D
        Axes to draw on; those in three dimensions show the first three coordinates.
    start, end : array-like, shape=[n_curves, dim]
        End points.
    names : sequence of str, optional
        Name of each curve, one or two characters, written on its disc.
    plane : tuple of int
        The two coordinates that flat axes show.
    size : float
        Area of a marker in square points; discs with a name are four times as large.

    Returns
    -------
    artists : list of matplotlib.artist.Artist
        The two collections of markers and the names.
    """
    starts, ends = (np.atleast_2d(select(ax, z, plane)) for z in (start, end))
    style = {"facecolor": PAPER, "edgecolor": INK, "linewidth": 1.0}
    disc = size if names is None else 4.0 * size
    square: dict[str, Any] = {"s": size, "marker": "s", "zorder": 5, **style}
    round_: dict[str, Any] = {"s": disc, "marker": "o", "zorder": 6, **style}
    artists: list[Artist] = [ax.scatter(*ends.T, **square), ax.scatter(*starts.T, **round_)]
    for name, place in zip(names or (), starts, strict=False):
        named: list[Any] = [*place, name]
        text = ax.text(*named, ha="center", va="center_baseline", zorder=7)
        text.set(color=INK, fontsize="small", fontweight="bold")
        artists.append(text)
    if isinstance(ax, Axes3D):
        # The markers may have widened the view.
        ax.set_aspect("equal")
    return artists


def curve_legend(ax: Axes, **options: Any) -> Legend:
    """Add a legend of the curves above the axes.

    Its background is dark, because the lines are light.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Axes that `geodesics` and `straight_lines` drew on.
    **options
        Options of `matplotlib.axes.Axes.legend` to override.

    Returns
    -------
    legend : matplotlib.legend.Legend
        The legend.
    """
    curves = [
        c
        for c in ax.collections
        if isinstance(c, LineCollection) and not str(c.get_label()).startswith("_")
    ]
    layout = {"loc": "lower center", "bbox_to_anchor": (0.5, 1.0), "ncols": len(curves)}
    style: dict[str, Any] = {
        "facecolor": "0.3",
        "labelcolor": PAPER,
        "framealpha": 1.0,
        "handlelength": 3.0,
    }
    return ax.legend(handles=curves, **{**layout, **style, **options})


def _lines(
    ax: Axes,
    curves: Iterable[Floats],
    color: str,
    width: float,
    style: str | tuple[float, tuple[float, ...]],
    label: str,
) -> LineCollection:
    """Draw curves, shape=[n_curves, n_points, 2 or 3], in one colour with a black outline."""
    lines = add_lines(
        ax, curves, colors=color, linewidths=width, linestyles=[style], label=label, zorder=3
    )
    lines.set_path_effects(halo(width + 1.6, INK))
    return lines
