"""Figures of the report, each composed of pictures of `geomstats_vae.plotting`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

from geomstats_vae import plotting
from geomstats_vae.manifolds import LatentSpace
from geomstats_vae.plotting import LatentWindow
from geomstats_vae.report.analysis import ClassMean, Pairs

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
    "figure.constrained_layout.h_pad": 0.08,
}
_N_GRID = 20
_N_STRIP = 14
_N_STRIP_PAIRS = 4
_N_DRAWN = 6


def codes_figure(codes: Floats, labels: np.ndarray | None) -> Figure:
    """Draw the latent codes.

    Parameters
    ----------
    codes : numpy.ndarray, shape=[n_samples, dim]
        Codes of all samples.
    labels : numpy.ndarray, shape=[n_samples], optional
        Class of each sample.

    Returns
    -------
    figure : matplotlib.figure.Figure
        The figure.
    """
    figure = Figure(figsize=(6.5, 5.2), layout="constrained")
    plotting.latent_scatter(figure.subplots(), codes, labels, size=12.0)
    return figure


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
    figure = Figure(figsize=(6.5, 6.5), layout="constrained")
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
    figure = Figure(figsize=(4.0 * len(heads) + 0.8, 3.9), layout="constrained")
    panels = figure.subplots(1, len(heads), squeeze=False)[0]
    maps = []
    for ax, (title, std) in zip(panels, heads.items(), strict=True):
        maps.append(plotting.log_sigma(ax, std, window, n_points=n_cells, colorbar=False))
        ax.scatter(codes[:, 0], codes[:, 1], s=1.0, color="white", alpha=0.5, lw=0)
        ax.set_title(title)
    values = np.concatenate([np.ma.asarray(image.get_array()).ravel() for image in maps])
    norm = Normalize(values.min(), values.max())
    for image in maps:
        image.set_norm(norm)
    figure.colorbar(maps[0], ax=panels, label=r"$\log\;\sum_j\,\sigma_j(z)$")
    return figure


def volume_figure(
    space: LatentSpace,
    window: LatentWindow,
    pairs: Pairs,
    drawn: Sequence[int],
    n_cells: int,
) -> Figure:
    """Draw geodesics and straight lines over the volume density.

    Parameters
    ----------
    space : LatentSpace
        The latent space.
    window : LatentWindow
        Part of the latent space to draw.
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
    """
    figure = Figure(figsize=(6.5, 5.6), layout="constrained")
    ax = figure.subplots()
    plotting.volume_density(ax, space, window, n_points=n_cells)
    start, end = pairs.start[drawn], pairs.end[drawn]
    names = [str(k + 1) for k in range(len(drawn))]
    plotting.straight_lines(ax, start, end)
    plotting.geodesics(ax, pairs.curves[drawn], pairs.converged[drawn])
    plotting.end_points(ax, start, end, names)
    plotting.curve_legend(ax)
    return figure


def curvature_figure(
    space: LatentSpace, window: LatentWindow, codes: Floats, n_cells: int
) -> Figure:
    """Draw the Gaussian curvature, with the codes.

    Parameters
    ----------
    space : LatentSpace
        Latent space of two dimensions.
    window : LatentWindow
        Part of the latent space to draw.
    codes : array, shape=[n_codes, 2]
        Latent codes.
    n_cells : int
        Cells of the map along its longer side.

    Returns
    -------
    figure : matplotlib.figure.Figure
        The figure.
    """
    figure = Figure(figsize=(6.5, 5.6), layout="constrained")
    ax = figure.subplots()
    plotting.gaussian_curvature(ax, space, window, n_points=n_cells)
    ax.plot(*codes.T, ".", color="black", markersize=1.5, alpha=0.5)
    return figure


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
    drawn = drawn[:_N_STRIP_PAIRS]
    t = np.linspace(0.0, 1.0, _N_STRIP)
    # Inches: a column of names, then strips as high as their images are wide, two and two.
    names, width, gap = 1.1, 6.1, 0.12
    height = width / _N_STRIP * image_shape[0] / image_shape[1]
    total = len(drawn) * (2 * height + gap)
    figure = Figure(figsize=(names + width, total))
    for row, k in enumerate(drawn):
        straight = pairs.start[k] + t[:, None] * (pairs.end[k] - pairs.start[k])
        top = total - row * (2 * height + gap) - gap / 2
        figure.text(0.01, (top - height) / total, str(row + 1), va="center", fontweight="bold")
        for line, (name, points) in enumerate(
            (("geodesic", pairs.at(k, t)), ("straight line", straight))
        ):
            bottom = (top - (line + 1) * height) / total
            box = (names / (names + width), bottom, width / (names + width), height / total)
            ax = figure.add_axes(box)
            plotting.strip(ax, decode_mean(points).reshape(_N_STRIP, *image_shape))
            ax.set_ylabel(name, rotation=0, ha="right", va="center")
    return figure


def distances_figure(geodesic: Floats, euclidean: Floats, labels: np.ndarray | None) -> Figure:
    """Draw the geodesic distances of some codes beside the Euclidean ones.

    Parameters
    ----------
    geodesic, euclidean : numpy.ndarray, shape=[n_points, n_points]
        Distances under the metric and in latent coordinates.
    labels : numpy.ndarray, shape=[n_points], optional
        Class of each code.

    Returns
    -------
    figure : matplotlib.figure.Figure
        The figure.
    """
    figure = Figure(figsize=(8.8, 3.9), layout="constrained")
    left, right = figure.subplots(1, 2)
    plotting.distance_matrix(left, geodesic, labels, label="length in data space")
    left.set_title("geodesic distance")
    plotting.distance_matrix(right, euclidean, labels, label="length in latent space")
    right.set_title("Euclidean distance of the codes")
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
    figure = Figure(figsize=(7.2, 7.2 / len(means) * image_shape[0] / image_shape[1] + 0.3))
    figure.set_layout_engine("constrained")
    ax = figure.subplots()
    image = plotting.strip(ax, images.reshape(-1, *image_shape))
    width = image.get_size()[1] / len(means)
    ticks = (np.arange(len(means)) + 0.5) * width - 0.5
    ax.set_xticks(ticks, [mean.name for mean in means])
    ax.tick_params(length=0)
    return figure


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
    span = np.linalg.norm(ends[:, 0] - ends[:, 1], axis=-1)
    drawn = [int(np.argmax(span))]
    while len(drawn) < min(_N_DRAWN, len(ends)):
        taken = ends[drawn].reshape(-1, 2)
        # The nearest end point drawn already, for the worse of a pair's two ends.
        gap = np.linalg.norm(ends[:, :, None] - taken, axis=-1).min(axis=(1, 2))
        gap[drawn] = -1.0
        drawn.append(int(np.argmax(np.minimum(gap, span))))
    return drawn
