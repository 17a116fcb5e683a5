"""Pictures of codes and of the distances between them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.colors import Normalize
from matplotlib.font_manager import FontProperties
from matplotlib.image import AxesImage
from mpl_toolkits.mplot3d import Axes3D

from geomstats_vae.plotting.axes import (
    MAP,
    OKABE_ITO,
    PAPER,
    Arrays,
    Floats,
    Plane,
    as_array,
    halo,
    name_axes,
    select,
)
from geomstats_vae.plotting.window import as_codes

# Petroff (2021), arXiv:2107.02270: ten colours told apart under the common colour deficiencies.
_PETROFF = (
    *("#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6"),
    *("#a96b59", "#e76300", "#b9ac70", "#717581", "#92dadd"),
)
_MARKERS = "osDv^P<X>p*h"
# Width of a letter and height of a line, in sizes of the font, with some space around. Names are
# moved by this share of their overlap at a time, and not if there are too many to find a place.
_LETTER, _LINE = 0.8, 1.15
_PUSH, _ROUNDS, _MOST_NAMES, _ROOM = 0.55, 60, 40, 0.65
# Letters of a name that stands on a map or at a tick.
_MOST_LETTERS = 12


def class_styles(n_classes: int) -> list[tuple[str, str]]:
    """Return a colour and a marker for each class, no two classes alike in both.

    Parameters
    ----------
    n_classes : int
        Number of classes.

    Returns
    -------
    styles : list of tuple (str, str)
        Colour and marker of each class. Up to seven classes get the colours of Okabe and Ito, more
        get Petroff's ten; beyond ten colours repeat with other markers.
    """
    colors = OKABE_ITO if n_classes <= len(OKABE_ITO) else _PETROFF
    # Shifting the markers by one per round of colours keeps the pairs distinct.
    return [
        (colors[k % len(colors)], _MARKERS[(k + k // len(colors)) % len(_MARKERS)])
        for k in range(n_classes)
    ]


def shortened(name: str, most: int = 18) -> str:
    """Shorten a name for a picture, in its middle: both its ends stay.

    Parameters
    ----------
    name : str
        A name.
    most : int
        Letters that there is room for, at least three.

    Returns
    -------
    name : str
        The same name, or one with an ellipsis, as in "Cytotoxic\u2026cell".

    Examples
    --------
    >>> shortened("cytotoxic memory cell", 12)
    'cytotox\u2026cell'
    """
    if len(name) <= most:
        return name
    tail = (most - 1) // 3
    return f"{name[: most - 1 - tail]}\u2026{name[len(name) - tail :]}"


def latent_scatter(
    ax: Axes,
    codes: Arrays,
    labels: Arrays | None = None,
    *,
    plane: Plane = (0, 1),
    size: float = 9.0,
    legend: bool = True,
) -> list[PathCollection]:
    """Draw latent codes, each class in its own colour and marker, named at its median.

    On flat axes names that would cover each other are moved apart. Long names are shortened.

    Parameters
    ----------
    ax : matplotlib.axes.Axes or mpl_toolkits.mplot3d.axes3d.Axes3D
        Axes to draw on; those in three dimensions show the first three coordinates.
    codes : array-like, shape=[n_points, dim]
        Latent codes.
    labels : array-like, shape=[n_points], optional
        Class of each code. Without it all codes look alike.
    plane : tuple of int
        The two coordinates that flat axes show.
    size : float
        Area of a marker in square points.
    legend : bool
        Whether to add a legend to the right of the axes.

    Returns
    -------
    artists : list of matplotlib.collections.PathCollection
        One per class.
    """
    points = select(ax, as_codes(codes), plane)
    style: dict[str, Any] = {"s": size, "lw": 0}
    if labels is None:
        style |= {"color": OKABE_ITO[0], "alpha": 0.6}
        artists = [ax.scatter(*points.T, **style)]
        name_axes(ax, plane)
        return artists
    classes = _as_labels(labels, len(points))
    names = np.unique(classes)
    on_map = [shortened(str(name), _MOST_LETTERS) for name in names]
    medians = np.array([np.median(points[classes == name], axis=0) for name in names])
    places = _apart(ax, points, medians, on_map)
    artists = []
    styles = zip(names, on_map, places, class_styles(len(names)), strict=True)
    for name, short, place, (color, marker) in styles:
        chosen = points[classes == name]
        style |= {"color": color, "marker": marker, "alpha": 0.75, "label": shortened(str(name))}
        artists.append(ax.scatter(*chosen.T, **style))
        named: list[Any] = [*place, short]
        text = ax.text(*named, ha="center", va="center", zorder=4)
        text.set(fontweight="bold", fontsize="large", path_effects=halo(3.0, PAPER))
    name_axes(ax, plane)
    if legend:
        ax.legend(title="class", loc="center left", bbox_to_anchor=(1.01, 0.5), markerscale=2)
    return artists


def _apart(ax: Axes, points: Floats, places: Floats, names: Sequence[str]) -> Floats:
    """Move places of names, shape=[n_names, 2], until none covers another."""
    if isinstance(ax, Axes3D) or len(names) > _MOST_NAMES:
        return places
    box = ax.get_window_extent()
    shown = np.ptp(points, axis=0)
    if not shown.any():
        return places
    # Points per latent unit, the same along both axes. The layout will take some of the room.
    room = np.array([box.width, box.height])[shown > 0.0]
    scale = _ROOM * (room / shown[shown > 0.0]).min() * 72.0 / ax.figure.dpi
    size = FontProperties(size="large").get_size_in_points() / scale
    half = 0.5 * size * np.array([[_LETTER * len(name), _LINE] for name in names])
    # No name leaves the codes, unless it is longer than they are wide.
    low, high = points.min(axis=0) + half, points.max(axis=0) - half
    low, high = np.minimum(low, places), np.maximum(high, places)
    for _ in range(_ROUNDS):
        gap = places[:, None] - places
        overlap = half[:, None] + half - np.abs(gap)
        covers = (overlap > 0.0).all(axis=-1) & ~np.eye(len(names), dtype=bool)
        if not covers.any():
            break
        # Along the axis of the smaller overlap; of equal places the later one goes up.
        later = np.tri(len(names))[..., None] - 0.5
        direction = np.where(gap == 0.0, np.sign(later), np.sign(gap))
        least = overlap == overlap.min(axis=-1, keepdims=True)
        push = np.where(covers[..., None] & least, _PUSH * overlap * direction, 0.0)
        places = np.clip(places + push.sum(axis=1), low, high)
    return places


def distance_matrix(
    ax: Axes,
    distances: Arrays,
    labels: Arrays | None = None,
    *,
    norm: Normalize | None = None,
    label: str = "distance",
    colorbar: bool = True,
) -> AxesImage:
    """Draw a matrix of distances, its rows and columns ordered by class.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Axes to draw on.
    distances : array-like, shape=[n_points, n_points]
        Distances.
    labels : array-like, shape=[n_points], optional
        Class of each point; without it the order is kept.
    norm : matplotlib.colors.Normalize, optional
        Scale of the colours.
    label : str
        What the colour bar shows.
    colorbar : bool
        Whether to add a colour bar.

    Returns
    -------
    image : matplotlib.image.AxesImage
        The matrix as drawn.
    """
    matrix = as_array(distances)
    n_points = len(matrix)
    if labels is None:
        ax.set(xlabel="code", ylabel="code")
    else:
        classes = _as_labels(labels, n_points)
        order = np.argsort(classes, kind="stable")
        matrix = matrix[np.ix_(order, order)]
        names, first = np.unique(classes[order], return_index=True)
        edges = np.append(first, n_points)
        middles = (edges[:-1] + edges[1:] - 1) / 2
        shown = [shortened(str(name), _MOST_LETTERS) for name in names]
        ax.set_xticks(middles, shown)
        ax.set_yticks(middles, shown)
        ax.tick_params(length=0)
        ax.set(xlabel="class", ylabel="class")
        for edge in first[1:] - 0.5:
            ax.axhline(edge, color=PAPER, lw=0.8)
            ax.axvline(edge, color=PAPER, lw=0.8)
    image = ax.imshow(matrix, cmap=MAP, norm=norm, interpolation="nearest")
    if colorbar:
        ax.figure.colorbar(image, ax=ax, label=label)
    return image


def _as_labels(labels: Arrays, n_points: int) -> np.ndarray:
    labels = as_array(labels)
    if labels.shape != (n_points,):
        raise ValueError(
            f"Expected labels of shape [{n_points}], one per point, got {list(labels.shape)}; "
            "pass one class per row."
        )
    return labels
