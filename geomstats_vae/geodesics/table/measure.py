"""Measures of curves in a tabulated metric."""

from __future__ import annotations

import numpy as np

from geomstats_vae.geodesics.arrays import Floats
from geomstats_vae.geodesics.curves.chain import Curves, straight
from geomstats_vae.geodesics.curves.reference import reference_element, running_integral
from geomstats_vae.geodesics.table import newton
from geomstats_vae.geodesics.table.element import Element, make_work
from geomstats_vae.geodesics.table.metric_table import MetricTable


def arc_lengths(table: MetricTable, nodes: Floats, degree: int) -> Floats:
    """Lengths from each element's start to its nodes of a degree, [n_elements, degree + 1].

    Parameters
    ----------
    table : MetricTable
        The metric.
    nodes : array, shape=[n_elements, n_nodes, dim]
        Nodes of elements.
    degree : int
        Degree of the element up to whose nodes is measured.

    Returns
    -------
    length : array, shape=[n_elements, degree + 1]
        Lengths; infinite where the metric is not known.
    """
    old = nodes.shape[1] - 1
    element = reference_element(old)
    speed = table.speeds(element.fine_interpolate @ nodes, element.fine_differentiate @ nodes)
    length = speed @ running_integral(old, degree).T
    return np.where(np.isfinite(length), length, np.inf)


def line_lengths(table: MetricTable, start: Floats, end: Floats, n_elements: int = 8) -> Floats:
    """Lengths of straight lines, infinite where the metric is not known.

    Parameters
    ----------
    table : MetricTable
        The metric.
    start, end : array, shape=[n_pairs, dim]
        End points.
    n_elements : int
        Parts of a line, each of which is measured at twelve points.

    Returns
    -------
    length : array, shape=[n_pairs]
        Lengths.
    """
    lines = straight(start, end, n_elements, 5)
    return lines.total(arc_lengths(table, lines.nodes, 1)[:, -1])


def times_of_elements(table: MetricTable, curves: Curves, least: float = 0.01) -> Floats:
    """Give elements times in proportion to their lengths; those of a curve add up to 1.

    Parameters
    ----------
    table : MetricTable
        The metric.
    curves : Curves
        Curves.
    least : float
        Least time of an element, as a share of the mean: none may stand still.

    Returns
    -------
    dt : array, shape=[n_elements]
        Times; equal ones where the metric is not known.
    """
    element = reference_element(curves.degree)
    points = element.interpolate @ curves.nodes, element.differentiate @ curves.nodes
    return even_times(curves, table.speeds(*points) @ element.weights, least)


def even_times(curves: Curves, length: Floats, least: float = 0.01) -> Floats:
    """Give elements times in proportion to lengths that are known; see `times_of_elements`.

    Parameters
    ----------
    curves : Curves
        Curves.
    length : array, shape=[n_elements]
        Lengths of their elements.
    least : float
        Least time of an element, as a share of the mean.

    Returns
    -------
    dt : array, shape=[n_elements]
        Times; equal ones where a length is not known.
    """
    total = curves.total(length)[curves.owner]
    even = 1.0 / curves.counts[curves.owner]
    good = np.isfinite(total) & (total > 0.0)
    share = np.where(good, length / np.where(good, total, 1.0), even)
    share = np.maximum(share, least * even)
    return share / curves.total(share)[curves.owner]


def end_hessians(table: MetricTable, curves: Curves) -> tuple[Floats, Floats]:
    """Second derivatives of half the squared lengths of geodesics by their end points.

    Parameters
    ----------
    table : MetricTable
        The metric.
    curves : Curves
        Geodesics.

    Returns
    -------
    by_start, mixed : array, shape=[n_curves, dim, dim]
        Covariant Hessians by the start, and derivatives by start and end; NaN where nothing can be
        told.
    """
    degree, dim, most = curves.degree, curves.dim, int(curves.counts.max(initial=1))
    dt, element = times_of_elements(table, curves), Element.of(reference_element(degree), dim)
    by_start, mixed = np.empty((2, len(curves), dim, dim))
    newton.end_hessians(
        table.tree,
        element,
        curves.nodes,
        dt,
        curves.offsets,
        by_start,
        mixed,
        make_work(most, element),
    )
    # The derivative by the start is -M v: what it takes to make a Hessian covariant.
    first = curves.offsets[:-1]
    slope = reference_element(degree).differentiate_nodes[0] @ curves.nodes[first]
    velocity = 2.0 / dt[first, None] * slope
    of_metric = table.jets(curves.nodes[first, 0])[1]
    along = np.einsum("nljk,nl->njk", of_metric, velocity)
    across = np.einsum("njkl,nl->njk", of_metric, velocity)
    by_start += 0.5 * (along + along.transpose(0, 2, 1) - across)
    return by_start, mixed
