"""What a space and its metric say of themselves: one line, and a small table in a notebook."""

from __future__ import annotations

import functools
import types
from typing import Any

from geomstats_vae.display import html_table
from geomstats_vae.immersions.decoder import Decoder


def decoder_name(decoder: Decoder) -> str:
    """Name the kind of a decoder.

    Parameters
    ----------
    decoder : Decoder
        Decoder.

    Returns
    -------
    name : str
        Class of a module or immersion, name of a function, kinds of the members of an ensemble.
    """
    if decoder.members:
        names = dict.fromkeys(decoder_name(member) for member in decoder.members)
        return f"EnsembleDecoder of {len(decoder.members)} {'/'.join(names)}"
    source: Any = decoder.source
    while isinstance(source, functools.partial):
        source = source.func
    if isinstance(source, types.MethodType):
        return f"{type(source.__self__).__name__}.{source.__name__}"
    return getattr(source, "__name__", type(source).__name__)


def one_line(metric: Any) -> str:
    """Write a metric in one line: its dimension, its decoder and its codes."""
    scale = metric.geometry.scale
    factor = "" if scale == 1.0 else f"{scale:.4g} * "
    return f"{factor}{type(metric).__name__}({_inside(metric)})"


def one_line_of_space(space: Any) -> str:
    """Write a space in one line: its dimension, its decoder and its codes."""
    metric = getattr(space, "metric", None)
    if hasattr(metric, "geometry"):
        return f"{type(space).__name__}({_inside(metric)})"
    return f"{type(space).__name__}(dim={space.dim}, {type(metric).__name__})"


def table(metric: Any) -> str:
    """Write a metric as a table of HTML."""
    return html_table(type(metric).__name__, _rows(metric))


def table_of_space(space: Any) -> str:
    """Write a space as a table of HTML."""
    metric = getattr(space, "metric", None)
    known = hasattr(metric, "geometry")
    rows = _rows(metric) if known else [("dimension", space.dim), ("metric", type(metric).__name__)]
    return html_table(type(space).__name__, rows)


def _inside(metric: Any) -> str:
    return f"dim={metric.geometry.dim}, decoder={decoder_name(metric.decoder)}, {_codes(metric)}"


def _codes(metric: Any) -> str:
    return "no codes" if metric.points is None else f"{len(metric.points)} codes"


def _rows(metric: Any) -> list[tuple[str, object]]:
    geometry = metric.geometry
    rows: list[tuple[str, object]] = [
        ("dimension", geometry.dim),
        ("decoder", decoder_name(metric.decoder)),
        ("codes", _codes(metric)),
        ("device", metric.decoder.device),
        ("solver", type(metric.solver).__name__),
        ("on failure", metric.on_failure),
    ]
    return rows if geometry.scale == 1.0 else [*rows, ("scaled by", f"{geometry.scale:.4g}")]
