"""Distances in the metrics of the decoders of an ensemble, one by one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from geomstats_vae.geodesics import LatentGraph
from geomstats_vae.geometry.decoder import DecoderGeometry
from geomstats_vae.geometry.graphs import GraphOnDemand
from geomstats_vae.geometry.protocol import Floats, Ints


def member_graphs(geometry: DecoderGeometry) -> tuple[LatentGraph | GraphOnDemand | None, ...]:
    """Graphs of global starts for the members of an ensemble, over the codes of the ensemble's.

    Parameters
    ----------
    geometry : DecoderGeometry
        Geometry of an ensemble.

    Returns
    -------
    graphs : tuple of LatentGraph, GraphOnDemand or None
        One for each member: built with the options of the ensemble's graph if that was given, or
        when it is first needed. None without a graph.

    Raises
    ------
    ValueError
        If the decoder is no ensemble.
    """
    members, graph = geometry.decoder.members, geometry.graph
    if not members:
        raise ValueError(
            "Expected the metric of an ensemble of decoders, got that of "
            f"{_name(geometry.decoder.source)}, which has no members; pass "
            "EnsembleDecoder([first, second, ...]) as the decoder, or train VAE(n_decoders=...)."
        )
    if isinstance(graph, LatentGraph):
        immersions = [member.immersion() for member in members]
        return tuple(
            LatentGraph(part, graph.codes, grid_size=graph.grid_size, options=graph.options)
            for part in immersions
        )
    return tuple(None if graph is None else GraphOnDemand(graph.codes) for _ in members)


def member_geometries(
    geometry: DecoderGeometry, graphs: Sequence[LatentGraph | GraphOnDemand | None]
) -> tuple[DecoderGeometry, ...]:
    """Geometries of the members of an ensemble.

    Parameters
    ----------
    geometry : DecoderGeometry
        Geometry of the ensemble.
    graphs : sequence of LatentGraph, GraphOnDemand or None
        What `member_graphs` returned.

    Returns
    -------
    geometries : tuple of DecoderGeometry
        One for each member, with the ensemble's solvers, scale and blocks.
    """
    pairs = zip(geometry.decoder.members, graphs, strict=True)
    return tuple(replace(geometry, decoder=decoder, graph=graph) for decoder, graph in pairs)


def member_lengths(
    geometries: Sequence[DecoderGeometry], start: Floats, end: Floats
) -> tuple[Floats, Ints]:
    """Measure distances in several metrics.

    Parameters
    ----------
    geometries : sequence of DecoderGeometry
        What `member_geometries` returned.
    start, end : numpy.ndarray, shape=[n_pairs, dim]
        End points.

    Returns
    -------
    length : numpy.ndarray, shape=[n_pairs, n_members]
        Lengths of the geodesics that were found in each metric.
    status : numpy.ndarray of int, shape=[n_pairs, n_members]
        Codes of `GeodesicStatus`.
    """
    ends = [geometry.ends(start, end) for geometry in geometries]
    length = np.stack([part.length for part in ends], axis=1)
    return length, np.stack([part.status for part in ends], axis=1)


def _name(source: object) -> str:
    return getattr(source, "__name__", type(source).__name__)
