"""Tables of the report: headers and cells as text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from geomstats_vae.geodesics import GeodesicStatus
from geomstats_vae.report.agreement import Clusters
from geomstats_vae.report.analysis import ClassMean, Pairs
from geomstats_vae.report.findings import percent

Cells: TypeAlias = tuple[list[str], list[list[str]]]


def words(status: GeodesicStatus) -> str:
    """Write a status in words.

    Parameters
    ----------
    status : GeodesicStatus
        What the solver says of a pair.

    Returns
    -------
    words : str
        As in "out of time".
    """
    return status.name.lower().replace("_", " ")


def pairs_numbers(pairs: Pairs, n_asked: int) -> dict[str, Any]:
    """Count geodesics and compare them with straight lines.

    Parameters
    ----------
    pairs : Pairs
        The geodesics.
    n_asked : int
        Pairs that were asked for.

    Returns
    -------
    numbers : dict
        How many there are, by their statuses, too, and ratios to straight lines; None without any.
    """
    length, sigma, any_ = pairs.length_ratio, pairs.sigma_ratio, len(pairs.index) > 0
    return {
        "asked": n_asked,
        "solved": len(pairs.index),
        "certified": int(pairs.converged.sum()),
        "statuses": dict(Counter(words(status) for status in pairs.status)),
        "median_ratio": float(np.median(length)) if any_ else None,
        "shortest_ratio": float(length.min()) if any_ else None,
        "longest_ratio": float(length.max()) if any_ else None,
        "sigma_ratio": float(np.median(sigma)) if any_ else None,
    }


def pairs_summary(pairs: Pairs) -> Cells:
    """List how geodesics compare with straight lines.

    Parameters
    ----------
    pairs : Pairs
        The geodesics, at least one.

    Returns
    -------
    cells : tuple (list of str, list of list of str)
        Header and rows.
    """
    length, n_pairs = pairs.length_ratio, len(pairs.length)
    return (
        ["geodesic against straight line", "value"],
        [
            ["pairs that converged", f"{pairs.converged.sum()} of {n_pairs}"],
            ["pairs whose geodesic is longer", f"{(length > 1.0).sum()} of {n_pairs}"],
            ["length, median ratio", f"{np.median(length):.3f}"],
            ["length, smallest and largest ratio", f"{length.min():.3f} to {length.max():.3f}"],
            ["mean sigma along the curve, median ratio", f"{np.median(pairs.sigma_ratio):.3f}"],
        ],
    )


def pairs_table(pairs: Pairs, drawn: Sequence[int]) -> Cells:
    """List all pairs.

    Parameters
    ----------
    pairs : Pairs
        The geodesics.
    drawn : sequence of int
        Those that are drawn, under the numbers 1, 2, ...

    Returns
    -------
    cells : tuple (list of str, list of list of str)
        Header and rows.
    """
    header = [
        *("on the map", "rows", "geodesic length", "straight length", "ratio"),
        *("geodesic mean sigma", "straight mean sigma", "ratio", "status"),
    ]
    rows = []
    for k, (i, j) in enumerate(pairs.index):
        rows.append(
            [
                str(drawn.index(k) + 1) if k in drawn else "",
                f"{i} to {j}",
                f"{pairs.length[k]:.3f}",
                f"{pairs.straight_length[k]:.3f}",
                f"{pairs.length_ratio[k]:.3f}",
                f"{pairs.sigma[k]:.4f}",
                f"{pairs.straight_sigma[k]:.4f}",
                f"{pairs.sigma_ratio[k]:.3f}",
                words(pairs.status[k]),
            ]
        )
    return header, rows


def distances_table(found: Mapping[str, Any]) -> Cells:
    """List how far geodesic distances agree with others.

    Parameters
    ----------
    found : dict
        Numbers on the distances, of the summary.

    Returns
    -------
    cells : tuple (list of str, list of list of str)
        Header and rows.
    """
    header = ["", "geodesic", "latent", "in the data"]
    ranks, shared, pure = found["rank_correlation"], found["shared_neighbors"], found["purity"]
    rows = [
        [
            "rank correlation with geodesic distance",
            "1",
            f"{ranks['latent']:.3f}",
            f"{ranks['data']:.3f}",
        ]
    ]
    n_near = found["neighbors"]
    near = "nearest row" if n_near == 1 else f"{n_near} nearest rows"
    if shared:
        rows.append(
            [
                f"of the {near} in the data, also nearest",
                percent(shared["geodesic"]),
                percent(shared["latent"]),
                "100 %",
            ]
        )
    if pure:
        kinds = ("geodesic", "latent", "data")
        cells = [percent(pure[kind]) for kind in kinds]
        rows.append([f"of the {near}, of the same class", *cells])
    return header, rows


def clusters_table(clusters: Clusters, labels: np.ndarray | None) -> Cells:
    """List the clusters.

    Parameters
    ----------
    clusters : Clusters
        The clusters.
    labels : numpy.ndarray, shape=[n_samples], optional
        Class of each sample.

    Returns
    -------
    cells : tuple (list of str, list of list of str)
        Header and rows.
    """
    header = ["cluster", "rows", "row in its middle"]
    header += [] if labels is None else ["most frequent class", "its share"]
    rows = []
    for k, medoid in enumerate(clusters.medoids):
        members = clusters.labels == k + 1
        row = [str(k + 1), str(members.sum()), str(medoid)]
        if labels is not None:
            names, numbers = np.unique(labels[members], return_counts=True)
            row += (
                [str(names[numbers.argmax()]), percent(numbers.max() / members.sum())]
                if len(names)
                else ["", ""]
            )
        rows.append(row)
    return header, rows


def means_table(means: Sequence[ClassMean]) -> Cells:
    """List the Frechet means.

    Parameters
    ----------
    means : sequence of ClassMean
        The means.

    Returns
    -------
    cells : tuple (list of str, list of list of str)
        Header and rows.
    """
    header = ["class", "codes", "Frechet mean", "spread", "residual"]
    rows = [
        [
            mean.name,
            str(mean.n_points),
            "(" + ", ".join(f"{x:.3f}" for x in mean.point) + ")",
            f"{mean.spread:.3f}",
            f"{mean.residual:.1e}",
        ]
        for mean in means
    ]
    return header, rows
