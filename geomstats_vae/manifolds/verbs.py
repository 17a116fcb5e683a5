"""What one does with a latent space first: functions of a space that are its methods."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import torch

from geomstats_vae.geometry.graphs import GraphOnDemand
from geomstats_vae.geometry.tables import TableOnDemand
from geomstats_vae.immersions.devices import check_device, moved
from geomstats_vae.manifolds.arrays import Array, enter

# Of spaces of more dimensions there is no map of the volume: a determinant of M costs too much.
_MAPPED_DIMENSIONS = 16


def dist(space: Any, point_a: Array, point_b: Array, *, verbose: bool = False) -> Array:
    """Geodesic distance, in the units of the data; as of `PullbackDecoderMetric`.

    Parameters
    ----------
    point_a, point_b : array-like, shape=[..., dim]
        Latent codes; their batch shapes broadcast.
    verbose : bool
        Show a progress bar, in pairs.

    Returns
    -------
    dist : array-like, shape=[...]
        Distances.
    """
    return space.metric.dist(point_a, point_b, verbose=verbose)


def codes(space: Any) -> Array | None:
    """Return a copy of the latent codes of the data, shape=[n_points, dim]; None without any."""
    points = getattr(space.metric, "points", None)
    if points is None:
        return None
    (rows,), origin = enter(space.dim, points=points)
    return origin.give(rows)


def plot(space: Any, labels: Any = None, ax: Any = None, *, plane: tuple[int, int] = (0, 1)) -> Any:
    """Draw the codes of the space on a map of its volume density.

    Parameters
    ----------
    labels : array-like, shape=[n_points], optional
        Class of each code, for its color.
    ax : matplotlib.axes.Axes, optional
        Axes to draw on; by default those of a new figure of pyplot's, so that ``plt.show()`` shows
        it.
    plane : tuple of int
        The two coordinates to draw in more than two dimensions. Codes are projected; on the map
        the other coordinates are the medians over the codes.

    Returns
    -------
    ax : matplotlib.axes.Axes
        The axes.

    Raises
    ------
    ValueError
        If there is not one label for each code, or no such plane.

    Notes
    -----
    The map is sqrt(det M), the volume of data per volume of codes: it is large where the decoder
    is uncertain. Of a space of one dimension it is a curve. There is none in more than 16
    dimensions.

    Examples
    --------
    >>> ax = space.plot(labels)
    >>> space.metric.solve_geodesic(z[0], z[1]).plot(ax)
    """
    # matplotlib is loaded by the first picture.
    from geomstats_vae.plotting.glance import glance

    volume = space.metric.volume_density if space.dim <= _MAPPED_DIMENSIONS else None
    return glance(volume, codes(space), space.dim, labels, ax, plane=plane)


def to(space: Any, device: torch.device | str) -> Any:
    """Copy the space to a device; distances are computed there.

    Parameters
    ----------
    device : torch.device or str
        Device, such as 'cuda'.

    Returns
    -------
    space : LatentSpace
        A new space; this one is not touched. What was computed, such as the graph of global
        starts, is computed anew; a graph that was given is shared.

    Raises
    ------
    DecoderError
        A ValueError: if the decoder is a function or an immersion, which cannot be moved.
    ValueError
        If there is no such device.
    """
    device = check_device(device)
    metric, other = copy.copy(space.metric), copy.copy(space)
    geometry = metric.geometry
    parts: dict[str, Any] = {"decoder": moved(metric.decoder, device)}
    for name in ("graph", "table"):
        part = getattr(geometry, name)
        # Copies are without what was built.
        parts[name] = copy.copy(part) if isinstance(part, (GraphOnDemand, TableOnDemand)) else part
    metric.__dict__.pop("_member_graphs", None)
    metric.geometry, metric._space, other.metric = replace(geometry, **parts), other, metric
    return other
