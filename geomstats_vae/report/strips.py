"""Pictures of what is decoded along curves, and at means."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from geomstats_vae.plotting import strip
from geomstats_vae.plotting.axes import DIVERGING
from geomstats_vae.plotting.codes import shortened
from geomstats_vae.report.analysis import ClassMean, Floats, Pairs
from geomstats_vae.report.figures import WIDTH

# Images of a strip, inches beside it for its name, and between two curves.
_N_STRIP, _NAMES, _GAP = 14, 0.95, 0.12
# Points of a strip of columns, and standard deviations that its colours reach to.
_N_COLUMN_STRIP, _REACH = 60, 2.0
# Inches for a column, for one with a name, for all of them, between strips and around them.
_COLUMN, _NAMED, _STRIP_HEIGHTS, _BETWEEN, _PAD = 0.04, 0.1, (0.25, 1.6), 0.18, 0.04
# Names of columns that have room, and their size in points. Inches for a letter of usual size.
_MOST_NAMES, _SMALL, _LETTER = 16, 6.5, 0.1


def strips_figure(
    decode_mean: Callable[[Floats], Floats],
    pairs: Pairs,
    drawn: Sequence[int],
    image_shape: Sequence[int],
) -> Figure:
    """Draw the images decoded along geodesics and straight lines.

    Parameters
    ----------
    decode_mean : callable
        Maps latent points, shape=[..., dim], to means, shape=[..., n_outputs].
    pairs : Pairs
        The geodesics.
    drawn : sequence of int
        Which of them to draw, under the numbers 1, 2, ...
    image_shape : tuple of int
        Shape of an image.

    Returns
    -------
    figure : matplotlib.figure.Figure
        The figure.
    """
    t = np.linspace(0.0, 1.0, _N_STRIP)

    def draw(ax: Axes, points: Floats) -> None:
        strip(ax, decode_mean(points).reshape(_N_STRIP, *image_shape))

    height = (WIDTH - _NAMES) / _N_STRIP * image_shape[0] / image_shape[1]
    return _strips(pairs, drawn, t, height, draw)


def columns_figure(
    decode_mean: Callable[[Floats], Floats],
    X: Floats,
    pairs: Pairs,
    drawn: Sequence[int],
    names: Sequence[str] | None = None,
) -> Figure:
    """Draw the columns decoded along geodesics and straight lines, side by side, as colours.

    Parameters
    ----------
    decode_mean : callable
        Maps latent points, shape=[..., dim], to means, shape=[..., n_outputs].
    X : numpy.ndarray, shape=[n_samples, n_features]
        Samples; their means and standard deviations are the scale.
    pairs : Pairs
        The geodesics.
    drawn : sequence of int
        Which of them to draw, under the numbers 1, 2, ...
    names : sequence of str, optional
        Names of the columns. Of many only some are written.

    Returns
    -------
    figure : matplotlib.figure.Figure
        The figure.
    """
    mean, std = X.mean(axis=0), X.std(axis=0)
    scale = np.where(std > 0.0, std, 1.0)
    t, n_columns = np.linspace(0.0, 1.0, _N_COLUMN_STRIP), X.shape[1]
    height = float(np.clip((_COLUMN if names is None else _NAMED) * n_columns, *_STRIP_HEIGHTS))
    style: dict[str, Any] = {"cmap": DIVERGING, "vmin": -_REACH, "vmax": _REACH}
    size = (WIDTH, len(drawn) * (height + _BETWEEN) + _BETWEEN)
    layout = ConstrainedLayoutEngine(w_pad=_PAD, h_pad=_PAD, hspace=0.0, wspace=0.0)
    figure = Figure(figsize=size, layout=layout)
    grid = figure.subplots(len(drawn), 2, squeeze=False)
    for row, k in enumerate(drawn):
        straight = pairs.start[k] + t[:, None] * (pairs.end[k] - pairs.start[k])
        for ax, points in zip(grid[row], (pairs.at(k, t), straight), strict=True):
            colours = ((decode_mean(points) - mean) / scale).T
            ax.imshow(colours, aspect="auto", interpolation="nearest", **style)
            ax.set(xticks=[], yticks=[])
        if names is not None:
            step = -(-n_columns // _MOST_NAMES)
            shown = range(0, n_columns, step)
            grid[row, 0].set_yticks(shown, [shortened(names[i]) for i in shown])
            grid[row, 0].tick_params(axis="y", labelsize=_SMALL, length=0)
        number = {"rotation": 0, "ha": "right", "va": "center", "fontweight": "bold"}
        grid[row, 0].set_ylabel(str(row + 1), labelpad=8.0, **number)
    for ax, title in zip(grid[0], ("geodesic", "straight line"), strict=True):
        ax.set_title(title, fontsize="medium")
    return figure


def columns_caption(n_columns: int, names: Sequence[str] | None) -> str:
    """Say what `columns_figure` shows.

    Parameters
    ----------
    n_columns : int
        Number of columns.
    names : sequence of str, optional
        Their names.

    Returns
    -------
    caption : str
        A sentence.
    """
    which = f"columns 1 to {n_columns}, from top to bottom,"
    if names is not None:
        which = "columns, of which some are named," if n_columns > _MOST_NAMES else "columns"
    return (
        f"Decoder means of the {which} along the numbered curves of the map from start to end: red "
        f"above the mean of the column, blue below, darkest at {_REACH:g} standard deviations."
    )


def _strips(
    pairs: Pairs,
    drawn: Sequence[int],
    t: Floats,
    height: float,
    draw: Callable[[Axes, Floats], None],
) -> Figure:
    """Draw strips of some height in inches, two and two, beside their names."""
    width, gap = WIDTH - _NAMES, _GAP
    total = len(drawn) * (2 * height + gap)
    figure = Figure(figsize=(WIDTH, total))
    for row, k in enumerate(drawn):
        straight = pairs.start[k] + t[:, None] * (pairs.end[k] - pairs.start[k])
        top = total - row * (2 * height + gap) - gap / 2
        figure.text(0.01, (top - height) / total, str(row + 1), va="center", fontweight="bold")
        for line, (name, points) in enumerate(
            (("geodesic", pairs.at(k, t)), ("straight line", straight))
        ):
            bottom = (top - (line + 1) * height) / total
            ax = figure.add_axes((_NAMES / WIDTH, bottom, width / WIDTH, 0.95 * height / total))
            draw(ax, points)
            ax.set_ylabel(name, rotation=0, ha="right", va="center")
    return figure


def means_figure(
    decode_mean: Callable[[Floats], Floats],
    means: Sequence[ClassMean],
    image_shape: Sequence[int],
) -> Figure:
    """Draw the decoded Frechet means.

    Parameters
    ----------
    decode_mean : callable
        Maps latent points, shape=[..., dim], to means, shape=[..., n_outputs].
    means : list of ClassMean
        The means.
    image_shape : tuple of int
        Shape of an image.

    Returns
    -------
    figure : matplotlib.figure.Figure
        The figure.
    """
    images = decode_mean(np.stack([mean.point for mean in means]))
    each = WIDTH / max(len(means), 4)
    height = each * image_shape[0] / image_shape[1] + 0.35
    figure = Figure(figsize=(WIDTH, height), layout="compressed")
    ax = figure.subplots()
    image = strip(ax, images.reshape(-1, *image_shape))
    width = image.get_size()[1] / len(means)
    ticks = (np.arange(len(means)) + 0.5) * width - 0.5
    room = max(3, int(each / _LETTER))
    ax.set_xticks(ticks, [shortened(mean.name, room) for mean in means])
    ax.tick_params(length=0)
    return figure
