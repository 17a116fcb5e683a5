"""Pictures of random walks."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection

from geomstats_vae.plotting.axes import (
    MAP,
    Arrays,
    Floats,
    Plane,
    add_lines,
    as_array,
    name_axes,
    select,
)
from geomstats_vae.plotting.codes import class_styles
from geomstats_vae.plotting.curves import end_points
from geomstats_vae.plotting.data import Walk

# Parts that a walk is cut into, each of one colour, where colours show the time.
_N_PARTS = 64
COLORS = ("walker", "time")


def random_walks(
    ax: Axes,
    paths: Walk | Arrays,
    *,
    color: str = "walker",
    end_time: float | None = None,
    plane: Plane = (0, 1),
    width: float = 0.6,
    alpha: float = 0.8,
    colorbar: bool = True,
) -> list[Artist]:
    """Draw the paths of walkers: a disc where each starts, a square where it ends.

    Parameters
    ----------
    ax : matplotlib.axes.Axes or mpl_toolkits.mplot3d.axes3d.Axes3D
        Axes to draw on; those in three dimensions show the first three coordinates.
    paths : RandomWalk or array-like, shape=[..., n_steps, dim]
        One or many walks, or the points on them. A walk ends before the first point that is not
        finite.
    color : str, {'walker', 'time'}
        What the colours show: 'walker' gives each walk one, and repeats them; 'time' colours the
        parts of each walk by their times.
    end_time : float, optional
        Time of the last point, where the first is at zero. By default that of the walk; steps are
        counted if the walk is an array.
    plane : tuple of int
        The two coordinates that flat axes show.
    width : float
        Width of the lines in points.
    alpha : float
        Opacity of the lines.
    colorbar : bool
        Whether to add a colour bar for the times.

    Returns
    -------
    artists : list of matplotlib.artist.Artist
        The lines, one per walk or one per part of a walk; then the markers of the ends and of the
        starts.

    Raises
    ------
    ValueError
        If color is neither, or there is a walk of which no point is finite.
    """
    if color not in COLORS:
        raise ValueError(
            f"Expected color to be one of {', '.join(map(repr, COLORS))}, got {color!r}."
        )
    times = getattr(paths, "times", None)
    if end_time is None and times is not None:
        end_time = float(as_array(times)[-1])
    drawn: Any = getattr(paths, "points", paths)
    points = select(ax, drawn, plane)
    points = points.reshape(-1, *points.shape[-2:])
    finite = np.asarray(np.isfinite(points).all(axis=-1))
    if not finite[:, 0].all():
        raise ValueError("Expected walks that start at finite points, got NaN or infinity.")
    # Steps up to the first that is not finite.
    n_kept = np.where(finite.all(axis=1), finite.shape[1], np.argmin(finite, axis=1))
    walks = [walk[:n] for walk, n in zip(points, n_kept, strict=True)]
    style: dict[str, Any] = {"linewidths": width, "alpha": alpha, "zorder": 2}
    if color == "walker":
        colors = [name for name, _ in class_styles(min(len(walks), 10))]
        cycle = list(itertools.islice(itertools.cycle(colors), len(walks)))
        lines = add_lines(ax, walks, colors=cycle, **style)
    else:
        last = points.shape[1] - 1
        lines = _by_time(ax, walks, last, last if end_time is None else end_time, style)
        if colorbar:
            label = "step" if end_time is None else "time (squared data distance)"
            ax.figure.colorbar(lines, ax=ax, label=label)
    marked = end_points(
        ax, [walk[0] for walk in walks], [walk[-1] for walk in walks], size=14.0, plane=(0, 1)
    )
    name_axes(ax, plane)
    return [lines, *marked]


def _by_time(
    ax: Axes,
    walks: Sequence[Floats],
    n_steps: int,
    end_time: float,
    style: dict[str, Any],
) -> LineCollection:
    """Draw each walk in parts, coloured by the times of their middles."""
    edges = np.unique(np.linspace(0, n_steps, _N_PARTS + 1).astype(int))
    parts, middles = [], []
    for walk in walks:
        for first, last in itertools.pairwise(edges):
            part = walk[first : last + 1]
            if len(part) > 1:
                parts.append(part)
                middles.append((first + min(last, len(walk) - 1)) / 2)
    times = np.array(middles) * (end_time / max(n_steps, 1))
    lines = add_lines(ax, parts, cmap=MAP, array=times, **style)
    lines.set_clim(0.0, end_time)
    return lines
