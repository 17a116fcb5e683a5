"""What a path says of itself: one line at a prompt, a small table in a notebook."""

from __future__ import annotations

from typing import Any

import numpy as np

from geomstats_vae.display import html_table
from geomstats_vae.geodesics.curves.timed import host
from geomstats_vae.geodesics.status import GeodesicStatus


def status_names(status: Any) -> Any:
    """Names of statuses.

    Parameters
    ----------
    status : array-like of int, shape=[...]
        Members of `GeodesicStatus`.

    Returns
    -------
    names : numpy.ndarray of str, shape=[...]
        Their names; one string of a single status.
    """
    return np.array([member.name for member in GeodesicStatus])[np.asarray(host(status), dtype=int)]


def one_line(path: Any) -> str:
    """Write a path in one line.

    Parameters
    ----------
    path : GeodesicPath
        The path.

    Returns
    -------
    line : str
        How many pairs there are and how they ended, their lengths, and the size of a curve.
    """
    n_points, dim = path.points.shape[-2:]
    batch, statuses = tuple(path.length.shape), _statuses(path)
    begin = f"{_pairs(batch)}, {statuses}" if batch else statuses
    lengths = _lengths(path)
    middle = f", length {lengths}" if lengths else ""
    return f"GeodesicPath({begin}{middle}, {n_points} points in {dim} dimensions)"


def table(path: Any) -> str:
    """Write a path as a table of HTML.

    Parameters
    ----------
    path : GeodesicPath
        The path.

    Returns
    -------
    html : str
        The table.
    """
    n_points, dim = path.points.shape[-2:]
    batch = tuple(path.length.shape)
    rows: list[tuple[str, object]] = [("pairs", _pairs(batch))] if batch else []
    rows += [("status", _statuses(path)), ("length", _lengths(path) or "none")]
    rows += [("points of a curve", n_points), ("dimension", dim)]
    return html_table("GeodesicPath", rows)


def _pairs(batch: tuple[int, ...]) -> str:
    return " x ".join(map(str, batch)) + (" pair" if batch == (1,) else " pairs")


def _statuses(path: Any) -> str:
    if not path.length.shape:
        return str(status_names(path.status))
    names, counts = np.unique(status_names(path.status), return_counts=True)
    return ", ".join(f"{n} {name}" for name, n in zip(names, counts, strict=True)) or "no status"


def _lengths(path: Any) -> str:
    lengths = host(path.length).astype(float).ravel()
    lengths = lengths[np.isfinite(lengths)]
    if not len(lengths):
        return ""
    low, high = (f"{value:.4g}" for value in (lengths.min(), lengths.max()))
    return low if low == high else f"{low} to {high}"
