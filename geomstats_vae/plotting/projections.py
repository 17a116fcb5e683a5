"""Latent spaces of three dimensions, in the three planes of their coordinates."""

from __future__ import annotations

from collections.abc import Iterable

from matplotlib.artist import Artist
from matplotlib.axes import Axes

from geomstats_vae.plotting.axes import Arrays, Plane
from geomstats_vae.plotting.codes import latent_scatter
from geomstats_vae.plotting.curves import geodesics
from geomstats_vae.plotting.data import Curve

PLANES: tuple[Plane, ...] = ((0, 1), (0, 2), (1, 2))


def projections(
    axes: Iterable[Axes],
    codes: Arrays,
    labels: Arrays | None = None,
    path: Curve | Arrays | None = None,
    *,
    size: float = 9.0,
    color: str = "white",
    width: float = 1.8,
) -> list[list[Artist]]:
    """Draw codes, and curves if there are any, in each of the three planes of the coordinates.

    Parameters
    ----------
    axes : sequence of matplotlib.axes.Axes, shape=[3]
        Axes for the coordinates 1 and 2, 1 and 3, and 2 and 3.
    codes : array-like, shape=[n_points, dim]
        Latent codes, dim at least three; the first three coordinates are drawn.
    labels : array-like, shape=[n_points], optional
        Class of each code.
    path : GeodesicPath or array-like, shape=[..., n_points, dim], optional
        Curves, as of `geodesics`.
    size : float
        Area of a code's marker in square points.
    color : str
        Colour of the curves; they get an outline in black.
    width : float
        Width of the curves in points.

    Returns
    -------
    artists : list of list of matplotlib.artist.Artist
        For each of the axes the classes, as of `latent_scatter`, then the curves.

    Raises
    ------
    ValueError
        If there are not three axes, or fewer than three coordinates.
    """
    panels = list(axes)
    if len(panels) != len(PLANES):
        raise ValueError(f"Expected three axes, one for each plane, got {len(panels)}.")
    artists: list[list[Artist]] = []
    for ax, plane in zip(panels, PLANES, strict=True):
        # One legend serves all three.
        legend = labels is not None and ax is panels[-1]
        drawn: list[Artist] = []
        drawn += latent_scatter(ax, codes, labels, plane=plane, size=size, legend=legend)
        if path is not None:
            drawn += geodesics(ax, path, plane=plane, color=color, width=width)
        artists.append(drawn)
    return artists
