"""What ``space.plot`` and ``path.plot`` draw: a latent space, or a curve, at a glance."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from geomstats_vae.plotting.axes import OKABE_ITO, PAPER, Arrays, Floats, Plane, as_array, name_axes
from geomstats_vae.plotting.codes import latent_scatter
from geomstats_vae.plotting.current import new_axes
from geomstats_vae.plotting.curves import end_points, geodesics
from geomstats_vae.plotting.maps import volume_density
from geomstats_vae.plotting.window import LatentWindow

# Cells along the longer side of the map, and along a line.
_CELLS, _CELLS_OF_MANY_DIMENSIONS, _CELLS_OF_A_LINE = 120, 40, 400
# Part that is drawn of a space without codes: that of a standard normal prior.
_REACH = 3.0


def glance(
    volume: Callable[[Floats], Arrays] | None,
    codes: Arrays | None,
    dim: int,
    labels: Arrays | None = None,
    ax: Axes | None = None,
    *,
    plane: Plane = (0, 1),
) -> Axes:
    """Draw a latent space: a map of its volume, with the codes on it.

    Parameters
    ----------
    volume : callable or None
        Maps latent points, shape=[n, dim], to the volume density, shape=[n]; None draws no map.
    codes : array-like, shape=[n_points, dim], or None
        Latent codes; without them the map is that of coordinates up to 3.
    dim : int
        Dimension of the space.
    labels : array-like, shape=[n_points], optional
        Class of each code.
    ax : matplotlib.axes.Axes, optional
        Axes to draw on; by default those of a new figure of pyplot's.
    plane : tuple of int
        The two coordinates that are drawn where there are more; the others stay at their median
        over the codes on the map, and codes are projected.

    Returns
    -------
    ax : matplotlib.axes.Axes
        The axes.

    Raises
    ------
    ValueError
        If there are labels and no codes, or not one for each, or no such plane.
    """
    points = None if codes is None else as_array(codes).astype(float)
    if labels is not None:
        _check_labels(labels, points)
    if dim == 1:
        return _line(volume, points, labels, _axes(ax))
    _check_plane(plane, dim)
    ax = _axes(ax)
    order = [*plane, *(k for k in range(dim) if k not in plane)]
    around = _reach(dim) if points is None else points[:, order]
    if volume is not None:
        # The window's first two coordinates are those of the plane.
        metric = SimpleNamespace(volume_density=lambda z: volume(z[:, np.argsort(order)]))
        n_points = _CELLS if dim <= 3 else _CELLS_OF_MANY_DIMENSIONS
        window = LatentWindow.around(around)
        volume_density(ax, SimpleNamespace(metric=metric), window, n_points=n_points)
    if points is not None:
        artists = latent_scatter(
            ax, points, labels, plane=plane, legend=labels is not None and volume is None
        )
        if labels is None and volume is not None:
            artists[0].set(color=PAPER, alpha=0.6)
    name_axes(ax, plane)
    if dim > 2:
        where = "" if volume is None else "; map: the others at their median"
        title = f"coordinates {plane[0] + 1} and {plane[1] + 1} of {dim}{where}"
        ax.set_title(title, size="medium")
    return ax


def curve_glance(path: Any, ax: Axes | None = None, *, plane: Plane = (0, 1)) -> Axes:
    """Draw curves with their ends: a disc where one starts, a square where it ends.

    Parameters
    ----------
    path : GeodesicPath
        One or many paths. Those that did not converge are dash-dotted.
    ax : matplotlib.axes.Axes, optional
        Axes to draw on, such as those of ``space.plot``; by default those of a new figure.
    plane : tuple of int
        The two coordinates that are drawn where there are more.

    Returns
    -------
    ax : matplotlib.axes.Axes
        The axes.

    Raises
    ------
    ValueError
        If there is no such plane.
    """
    points = as_array(path.points).astype(float)
    if points.shape[-1] > 1:
        _check_plane(plane, points.shape[-1])
    # On a map light lines stand out, on paper dark ones.
    color, ax = OKABE_ITO[0] if ax is None else PAPER, _axes(ax)
    curves = points.reshape(-1, *points.shape[-2:])
    if points.shape[-1] == 1:
        times = as_array(path.times).reshape(len(curves), -1)
        for curve, t in zip(curves, times, strict=True):
            ax.plot(curve[:, 0], t, color=OKABE_ITO[0])
        ax.set(xlabel="$z_1$", ylabel="time")
        return ax
    geodesics(ax, path, plane=plane, color=color)
    end_points(ax, curves[:, 0], curves[:, -1], plane=plane)
    if not ax.images:
        ax.autoscale_view()
        name_axes(ax, plane)
    return ax


def _line(
    volume: Callable[[Floats], Arrays] | None,
    points: Floats | None,
    labels: Arrays | None,
    ax: Axes,
) -> Axes:
    """Draw a space of one dimension: the volume density as a curve, the codes below it."""
    around = _reach(1) if points is None else points
    low, high = around.min(), around.max()
    margin = 0.08 * (high - low or 1.0)
    z = np.linspace(low - margin, high + margin, _CELLS_OF_A_LINE)
    lowest = 0.0
    if volume is not None:
        density = as_array(volume(z[:, None]))
        ax.semilogy(z, density, color="black")
        lowest = density[density > 0].min(initial=np.inf)
    if points is not None:
        at = np.column_stack((points[:, 0], np.full(len(points), lowest)))
        latent_scatter(ax, at, labels)
    ax.set(xlabel="$z_1$", ylabel="volume density (data length per latent length)", aspect="auto")
    return ax


def _reach(dim: int) -> Floats:
    return _REACH * np.array([[-1.0], [1.0]]) * np.ones(dim)


def _check_labels(labels: Arrays, points: Floats | None) -> None:
    if points is None:
        raise ValueError(
            "Expected latent codes for these labels, got a space without; make it with "
            "LatentSpace(decoder, points=codes)."
        )
    n_labels = as_array(labels).shape
    if n_labels != (len(points),):
        raise ValueError(
            f"Expected labels of shape [{len(points)}], one for each code of the space, got "
            f"{list(n_labels)}; pass one class per code."
        )


def _axes(ax: Axes | None) -> Axes:
    if ax is None:
        return new_axes()
    if not isinstance(ax, Axes):
        raise TypeError(
            f"Expected axes of matplotlib as ax, got {type(ax).__name__}; make them with "
            "figure, ax = plt.subplots()."
        )
    return ax


def _check_plane(plane: Plane, dim: int) -> None:
    given = list(plane) if isinstance(plane, Sequence) else []
    if len(given) != 2 or given[0] == given[1] or not all(k in range(dim) for k in given):
        raise ValueError(
            f"Expected two different coordinates from 0 to {dim - 1} as plane, got {plane!r}; "
            "pass plane=(0, 1), for instance."
        )
