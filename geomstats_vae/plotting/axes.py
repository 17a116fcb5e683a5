"""Colours, outlines and coordinates that all pictures share."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeAlias

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.patheffects import AbstractPathEffect, withStroke
from mpl_toolkits.mplot3d import Axes3D
from mpl_toolkits.mplot3d.art3d import Line3DCollection
from numpy.typing import ArrayLike, NDArray

Floats: TypeAlias = NDArray[np.float64]
# Arrays of either backend of geomstats.
Arrays: TypeAlias = ArrayLike | torch.Tensor
Plane: TypeAlias = tuple[int, int]

MAP, DIVERGING = "viridis", "RdBu_r"
INK = "black"
PAPER = "white"
# Okabe and Ito (2008), without black, which is kept for text and lines.
OKABE_ITO = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#F0E442")


def as_array(values: Arrays) -> np.ndarray:
    """Convert an array of either backend.

    Parameters
    ----------
    values : array-like
        Array, tensor on any device, or nested lists.

    Returns
    -------
    array : numpy.ndarray
        Its values; shared with the caller where that is possible, so not to be written into.
    """
    return values.detach().cpu().numpy() if isinstance(values, torch.Tensor) else np.asarray(values)


def shown(ax: Axes, plane: Plane) -> list[int]:
    """Return the latent coordinates that axes show.

    Parameters
    ----------
    ax : matplotlib.axes.Axes or mpl_toolkits.mplot3d.axes3d.Axes3D
        Axes of a picture in latent space.
    plane : tuple of int
        The two coordinates of flat axes.

    Returns
    -------
    coordinates : list of int
        Those two, or the first three on axes in three dimensions.
    """
    return [0, 1, 2] if isinstance(ax, Axes3D) else list(plane)


def select(ax: Axes, points: Arrays, plane: Plane) -> Floats:
    """Take from points the coordinates that axes show.

    Parameters
    ----------
    ax : matplotlib.axes.Axes or mpl_toolkits.mplot3d.axes3d.Axes3D
        Axes of a picture in latent space.
    points : array-like, shape=[..., dim]
        Points.
    plane : tuple of int
        The two coordinates of flat axes.

    Returns
    -------
    points : numpy.ndarray, shape=[..., 2] or [..., 3]
        Their coordinates on the axes, in double precision.

    Raises
    ------
    ValueError
        If the points lack one of the coordinates.
    """
    rows = as_array(points).astype(float)
    coordinates = shown(ax, plane)
    if rows.ndim == 0 or rows.shape[-1] <= max(coordinates):
        raise ValueError(
            f"Expected points of at least {max(coordinates) + 1} coordinates, got shape "
            f"{list(rows.shape)}; draw them on flat axes, in a plane of their coordinates."
        )
    return rows[..., coordinates]


def name_axes(ax: Axes, plane: Plane = (0, 1)) -> None:
    """Name the latent coordinates and give them equal units.

    Parameters
    ----------
    ax : matplotlib.axes.Axes or mpl_toolkits.mplot3d.axes3d.Axes3D
        Axes of a picture in latent space.
    plane : tuple of int
        The two coordinates of flat axes.
    """
    for side, coordinate in zip("xyz", shown(ax, plane), strict=False):
        ax.set(**{f"{side}label": f"$z_{coordinate + 1}$"})
    ax.set(aspect="equal")


def halo(width: float, color: str) -> list[AbstractPathEffect]:
    """Return the effect that outlines a line or a text.

    Parameters
    ----------
    width : float
        Width of the stroke in points, the line's own included.
    color : str
        Colour of the stroke.

    Returns
    -------
    effects : list of matplotlib.patheffects.AbstractPathEffect
        What `set_path_effects` takes.
    """
    return [withStroke(linewidth=width, foreground=color)]


def add_lines(
    ax: Axes, curves: Iterable[Floats], *, widen: bool = True, **style: Any
) -> LineCollection:
    """Add curves to flat axes or to axes in three dimensions.

    Parameters
    ----------
    ax : matplotlib.axes.Axes or mpl_toolkits.mplot3d.axes3d.Axes3D
        Axes to draw on.
    curves : sequence of array, shape=[n_points, 2] or [n_points, 3]
        The curves.
    widen : bool
        Whether to widen the view so that it shows all of them.
    **style
        Options of `matplotlib.collections.LineCollection`.

    Returns
    -------
    lines : matplotlib.collections.LineCollection
        The curves.
    """
    curves = list(curves)
    if not isinstance(ax, Axes3D):
        lines = LineCollection(curves, **style)
        ax.add_collection(lines, autolim=widen)
        if widen:
            ax.autoscale_view()
        return lines
    lines, had_data = Line3DCollection(curves, **style), ax.has_data()
    ax.add_collection3d(lines)
    if curves and widen:
        points = np.concatenate(curves)
        ax.auto_scale_xyz(*points[np.isfinite(points).all(axis=1)].T, had_data=had_data)
    # In three dimensions equal units are those of the present view: this comes last.
    ax.set_aspect("equal")
    return lines
