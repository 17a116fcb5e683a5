"""``geomstats-vae cluster``: k-means by geodesic distances."""

from __future__ import annotations

import argparse
import math
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import normalized_mutual_info_score
from sklearn.metrics.cluster import contingency_matrix

from geomstats_vae.commands.codes import Codes, table
from geomstats_vae.commands.errors import told
from geomstats_vae.commands.options import (
    add_model,
    add_rows,
    add_run,
    add_source,
    add_trained,
    new_command,
    positive,
)
from geomstats_vae.commands.selection import choose_rows
from geomstats_vae.commands.session import Session
from geomstats_vae.commands.source import Source
from geomstats_vae.estimators import GeodesicKMeans
from geomstats_vae.report.errors import ReportError

NAME = "cluster"
QUICK_ROWS = 200


def add(commands: Any) -> None:
    """Add the command to the others.

    Parameters
    ----------
    commands : argparse action
        Where commands are added.
    """
    parser = new_command(
        commands,
        NAME,
        "find clusters by geodesic distances",
        "k-means by geodesic distances, with Frechet means as centres. Writes the cluster of each\n"
        "row and its distance to the centre (clusters.csv), the centres (centres.csv) and\n"
        "summary.json, with the agreement with the labels, if there are any.",
        "train --sample digits --quick --output digits\n"
        "cluster digits -k 3 --rows 100 --output digits-clusters",
    )
    add_rows(add_source(parser, "folder of train, a model, or data as of train"), "all")
    add_trained(add_model(parser))
    work = add_run(
        parser, "clusters", f"train 20 epochs on at most 1000 rows, take {QUICK_ROWS} rows"
    )
    work.add_argument(
        "-k",
        "--n-clusters",
        metavar="K",
        type=positive,
        required=True,
        help="number of clusters",
    )
    work.add_argument(
        "--n-jobs", metavar="N", type=positive, default=1, help="processes (%(default)s)"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Find clusters and write them.

    Parameters
    ----------
    options : argparse.Namespace
        Options of the command.

    Returns
    -------
    status : int
        Exit code.
    """
    with Session(options) as session:
        work = session.begin(partial(choose_parts, options, options.n_clusters, "clusters"))
        codes = work.codes
        kmeans = GeodesicKMeans(
            session.space(work.trained),
            options.n_clusters,
            random_state=options.seed,
            max_seconds=options.max_seconds,
            verbose=session.verbose,
            n_jobs=options.n_jobs,
        )
        with session.stage("clusters"), told("clusters"):
            kmeans.fit(codes.z)
            distance = _distances(session, kmeans, codes)
        labels, centers = kmeans.labels_.tolist(), kmeans.cluster_centers_
        sizes = np.bincount(kmeans.labels_[kmeans.labels_ >= 0], minlength=len(centers))
        names = [f"z{k + 1}" for k in range(centers.shape[1])]
        lines = zip(range(len(centers)), sizes.tolist(), *centers.T.tolist(), strict=True)
        files = {
            "clusters.csv": with_labels(codes, ["cluster", "distance"], [labels, distance]),
            "centres.csv": table(["cluster", "n_rows", *names], lines),
        }
        results = {
            "n_clusters": len(centers),
            "n_rows": len(codes.z),
            "inertia": kmeans.inertia_,
            "n_iter": kmeans.n_iter_,
            "n_not_converged": kmeans.n_failed_,
            "sizes": sizes,
            **agreement(codes, kmeans.labels_),
        }
        return session.write(files, results)


def choose_parts(
    options: argparse.Namespace, n_parts: int, what: str, source: Source
) -> NDArray[np.int64]:
    """Choose rows, and check that there is one for every cluster or component.

    Parameters
    ----------
    options : argparse.Namespace
        Options of the command.
    n_parts : int
        Number of clusters or components.
    what : str
        What they are, for the message.
    source : Source
        The rows that there are.

    Returns
    -------
    places : numpy.ndarray of int, shape=[n_chosen]
        Places of the rows in the source.

    Raises
    ------
    ReportError
        If there are fewer rows, or fewer than two.
    """
    places = choose_rows(options, source, math.inf, QUICK_ROWS)
    if len(places) < max(2, n_parts):
        raise ReportError(
            f"Expected at least {max(2, n_parts)} rows for {n_parts} {what}, got {len(places)}; "
            "pass a smaller -k or more rows."
        )
    return places


def _distances(session: Session, kmeans: GeodesicKMeans, codes: Codes) -> list[float]:
    """Distances to the centres, infinite where no centre reaches."""
    reached = kmeans.labels_ >= 0
    geometry = kmeans.space_.metric.geometry
    geometry = geometry.working(verbose=session.verbose, n_jobs=session.options.n_jobs)
    distance = np.full(len(codes.z), np.inf)
    if reached.any():
        centers = kmeans.cluster_centers_[kmeans.labels_[reached]]
        distance[reached] = geometry.lengths(centers, codes.z[reached]).length
    return distance.tolist()


def with_labels(codes: Codes, names: list[str], columns: list[list[Any]]) -> bytes:
    """Write columns between the numbers of the rows and their labels, if there are any.

    Parameters
    ----------
    codes : Codes
        Rows and labels.
    names : list of str
        Names of the columns.
    columns : list of list
        One entry per row.

    Returns
    -------
    content : bytes
        The table as CSV.
    """
    if codes.labels is not None:
        names, columns = [*names, "label"], [*columns, codes.labels.tolist()]
    return table(["row", *names], zip(codes.rows.tolist(), *columns, strict=True))


def agreement(codes: Codes, found: np.ndarray) -> dict[str, float]:
    """Compare clusters with labels.

    Parameters
    ----------
    codes : Codes
        Labels, if there are any.
    found : numpy.ndarray of int, shape=[n_rows]
        Clusters.

    Returns
    -------
    scores : dict of str to float
        Normalised mutual information, and the share of rows whose label is the most frequent one
        of their cluster; nothing without labels.
    """
    if codes.labels is None:
        return {}
    table_of_both = contingency_matrix(codes.labels, found)
    return {
        "nmi": float(normalized_mutual_info_score(codes.labels, found)),
        "purity": float(table_of_both.max(axis=0).sum() / table_of_both.sum()),
    }
