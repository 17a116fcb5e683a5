"""Figures of the report, each composed of pictures of `geomstats_vae.plotting`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from geomstats_vae import plotting
from geomstats_vae.manifolds import LatentSpace
from geomstats_vae.plotting import LatentWindow
from geomstats_vae.report.analysis import Pairs
from geomstats_vae.report.page import PictureAxes

Floats: TypeAlias = NDArray[np.float64]

# Settings for the report's own figures only, entered with matplotlib.rc_context.
STYLE: dict[Any, Any] = {
    "font.size": 9.0,
    "font.family": "sans-serif",
    "axes.titlesize": 10.0,
    "axes.linewidth": 0.7,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "image.interpolation": "nearest",
    "legend.fontsize": 8.0,
}
_N_GRID = 20
_N_DRAWN = 6
# All figures are as wide as the page's column, in inches: so their text has one size. A map leaves
# room for a colour bar or a legend, and for the names of the axes.
WIDTH, _BESIDE, _BELOW = 5.6, 1.3, 0.9
_LEAST_HEIGHT, _MOST_HEIGHT = 2.4, 7.0
# Space around a curve as a share of the window. The flattest window, and what is a flat one.
_EDGE = 0.06
_MARGIN, _FLATTEST, _FLAT = 0.04, 0.4, 0.7


def window_around(codes: Floats, curves: Floats) -> LatentWindow:
    """Return the window of a report's maps: around all codes, and around curves that are near.

    Parameters
    ----------
    codes : numpy.ndarray, shape=[n_samples, dim]
        Codes of all samples.
    curves : numpy.ndarray, shape=[n_curves, n_points, dim]
        Curves.

    Returns
    -------
    window : LatentWindow
        Its shorter side is at least two fifths of the longer one, so that a map can be read.
    """
    window = LatentWindow.around(codes)
    width = window.high - window.low
    points = curves[..., :2].reshape(-1, 2)
    margin = _MARGIN * width
    low = np.vstack([window.low, points - margin]).min(axis=0)
    high = np.vstack([window.high, points + margin]).max(axis=0)
    low, high = np.maximum(low, window.low - width), np.minimum(high, window.high + width)
    short = np.maximum(_FLATTEST * (high - low).max() - (high - low), 0.0)
    return LatentWindow(low - 0.5 * short, high + 0.5 * short, window.rest)


def codes_figure(codes: Floats, labels: np.ndarray | None, window: LatentWindow) -> Figure:
    """Draw the latent codes.

    Parameters
    ----------
    codes : numpy.ndarray, shape=[n_samples, dim]
        Codes of all samples.
    labels : numpy.ndarray, shape=[n_samples], optional
        Class of each sample.
    window : LatentWindow
        Part of the latent space to draw.

    Returns
    -------
    figure : matplotlib.figure.Figure
        The figure.
    """
    figure = _figure(window, beside=0.9 if labels is not None else 0.6)
    ax = figure.subplots()
    plotting.latent_scatter(ax, codes, labels, size=9.0)
    _show(ax, window)
    return figure


def _show(ax: Axes, window: LatentWindow) -> None:
    left, right, bottom, top = window.extent
    ax.set(xlim=(left, right), ylim=(bottom, top))


def _figure(window: LatentWindow, beside: float = _BESIDE) -> Figure:
    """Make a figure for one map, high enough for its window."""
    width, height = window.high - window.low
    map_height = (WIDTH - beside) * height / width
    total = np.clip(map_height + _BELOW, _LEAST_HEIGHT, _MOST_HEIGHT)
    return Figure(figsize=(WIDTH, float(total)), layout="compressed")


def trim(figure: Figure) -> None:
    """Take the empty space above and below the axes of a figure away.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        The figure; one without a layout engine stays as it is.
    """
    if figure.get_layout_engine() is None:
        return
    figure.draw_without_rendering()
    box = figure.get_tightbbox()
    figure.set_size_inches(WIDTH, box.height + 2.0 * _EDGE)


def picture_axes(figure: Figure, *, curves: bool = False, grid: bool = False) -> PictureAxes:
    """Tell where the first axes of a figure lie, and what they show.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        The figure.
    curves : bool
        Whether the numbered curves are drawn there.
    grid : bool
        Whether it is the map of which values are known.

    Returns
    -------
    axes : PictureAxes
        The place.
    """
    figure.draw_without_rendering()
    ax = figure.axes[0]
    place = ax.get_position()
    left, right = ax.get_xlim()
    bottom, top = ax.get_ylim()
    return PictureAxes(
        box=(place.x0, 1.0 - place.y1, place.width, place.height),
        extent=(left, right, bottom, top),
        curves=curves,
        grid=grid,
    )


def images_figure(
    decode_mean: Callable[[Floats], Floats], window: LatentWindow, image_shape: Sequence[int]
) -> Figure:
    """Draw decoded images over the latent window.

    Parameters
    ----------
    decode_mean : callable
        Maps latent points, shape=[..., dim], to means, shape=[..., n_outputs].
    window : LatentWindow
        Part of the latent space to draw.
    image_shape : tuple of int
        Shape of an image.

    Returns
    -------
    figure : matplotlib.figure.Figure
        The figure.
    """
    figure = _figure(window, beside=0.6)
    points = window.grid(_N_GRID)
    images = decode_mean(points).reshape(*points.shape[:2], *image_shape)
    plotting.image_grid(figure.subplots(), images, window.extent)
    return figure


def sigma_figure(
    heads: Mapping[str, Callable[[Floats], Floats]],
    window: LatentWindow,
    codes: Floats,
    n_cells: int,
) -> Figure:
    """Draw log sum sigma of several variance networks on one colour scale.

    Parameters
    ----------
    heads : dict of str to callable
        Titles, and maps from latent points to standard deviations.
    window : LatentWindow
        Part of the latent space to draw.
    codes : numpy.ndarray, shape=[n_samples, dim]
        Codes of all samples, drawn as faint points.
    n_cells : int
        Cells of the maps along the longer side.

    Returns
    -------
    figure : matplotlib.figure.Figure
        The figure.
    """
    width, height = window.high - window.low
    # Flat maps are stacked.
    n_rows, n_columns = (len(heads), 1) if height < _FLAT * width else (1, len(heads))
    panel = (WIDTH - _BESIDE) / n_columns * height / width
    total = float(np.clip(n_rows * panel + 0.3 * n_rows + _BELOW, _LEAST_HEIGHT, _MOST_HEIGHT))
    figure = Figure(figsize=(WIDTH, total), layout="compressed")
    grid = figure.subplots(n_rows, n_columns, squeeze=False, sharex=True, sharey=True)
    panels = grid.ravel()
    maps = []
    for ax, (title, std) in zip(panels, heads.items(), strict=True):
        maps.append(plotting.log_sigma(ax, std, window, n_points=n_cells, colorbar=False))
        ax.scatter(codes[:, 0], codes[:, 1], s=1.0, color="white", alpha=0.5, lw=0)
        ax.set_title(title)
        ax.label_outer()
    values = np.concatenate([np.ma.asarray(image.get_array()).ravel() for image in maps])
    norm = Normalize(values.min(), values.max())
    for image in maps:
        image.set_norm(norm)
    figure.colorbar(maps[0], ax=panels, label=r"$\log\;\sum_j\,\sigma_j(z)$")
    return figure


def volume_figure(
    space: LatentSpace,
    window: LatentWindow,
    codes: Floats,
    pairs: Pairs,
    drawn: Sequence[int],
    n_cells: int,
) -> tuple[Figure, Floats]:
    """Draw geodesics and straight lines over the volume density and the codes.

    Parameters
    ----------
    space : LatentSpace
        The latent space.
    window : LatentWindow
        Part of the latent space to draw.
    codes : numpy.ndarray, shape=[n_samples, dim]
        Codes of all samples, drawn as faint points.
    pairs : Pairs
        The geodesics.
    drawn : sequence of int
        Which of them to draw.
    n_cells : int
        Cells of the map along its longer side.

    Returns
    -------
    figure : matplotlib.figure.Figure
        The figure.
    density : numpy.ndarray, shape=[n_rows, n_columns]
        The density in the cells of the map; NaN where there is none.
    """
    figure = _figure(window)
    ax = figure.subplots()
    image = plotting.volume_density(ax, space, window, n_points=n_cells)
    ax.scatter(codes[:, 0], codes[:, 1], s=2.5, color="white", alpha=0.55, lw=0, zorder=2)
    start, end = pairs.start[drawn], pairs.end[drawn]
    names = [str(k + 1) for k in range(len(drawn))]
    if len(drawn):
        plotting.straight_lines(ax, start, end)
        plotting.geodesics(ax, pairs.curves[drawn], pairs.converged[drawn])
        plotting.end_points(ax, start, end, names)
    if len(drawn):
        plotting.curve_legend(ax)
    _show(ax, window)
    density = np.ma.filled(np.ma.asarray(image.get_array()).astype(float), np.nan)
    return figure, density


def pairs_to_draw(pairs: Pairs) -> list[int]:
    """Choose pairs whose end points lie far apart from each other, for a legible picture.

    Parameters
    ----------
    pairs : Pairs
        The geodesics.

    Returns
    -------
    drawn : list of int
        Numbers of the pairs, six at most.
    """
    ends = np.stack([pairs.start, pairs.end], axis=1)[..., :2]
    if not len(ends):
        return []
    span = np.linalg.norm(ends[:, 0] - ends[:, 1], axis=-1)
    drawn = [int(np.argmax(span))]
    while len(drawn) < min(_N_DRAWN, len(ends)):
        taken = ends[drawn].reshape(-1, 2)
        # The nearest end point drawn already, for the worse of a pair's two ends.
        gap = np.linalg.norm(ends[:, :, None] - taken, axis=-1).min(axis=(1, 2))
        gap[drawn] = -1.0
        drawn.append(int(np.argmax(np.minimum(gap, span))))
    return drawn
