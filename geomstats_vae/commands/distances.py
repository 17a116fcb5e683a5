"""``geomstats-vae distances``: the matrix of geodesic distances between rows."""

from __future__ import annotations

import argparse
import io
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geomstats_vae.commands import codes as codes_file
from geomstats_vae.commands.codes import Codes, table
from geomstats_vae.commands.errors import told
from geomstats_vae.commands.geodesic import warn_of_failures
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
from geomstats_vae.geodesics import GeodesicStatus
from geomstats_vae.report.errors import ReportError

NAME = "distances"
_N_ROWS, _QUICK_ROWS = 200, 30


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
        "measure the geodesic distances between rows",
        "Measure the geodesic distances between all pairs of some rows. Writes the symmetric\n"
        "matrix (distances.npy), the codes of its rows in the same order, with their numbers in\n"
        "the data and their labels (codes.csv), and summary.json. Distances are in the units of\n"
        "the data; after --standardize, in standard deviations.",
        "train --sample digits --quick --output digits\n"
        "distances digits --rows 20 --output digits-distances",
    )
    add_rows(
        add_source(parser, "folder of train, a model, or data as of train"),
        f"{_N_ROWS}",
    )
    add_trained(add_model(parser))
    work = add_run(
        parser, "distances", f"train 20 epochs on at most 1000 rows, take {_QUICK_ROWS} rows"
    )
    work.add_argument(
        "--method",
        choices=("exact", "graph"),
        default="exact",
        help="solve for geodesics, or take shortest paths on the graph of the codes, which are "
        "some percent longer and take far less time (%(default)s)",
    )
    work.add_argument(
        "--list-pairs",
        action="store_true",
        help="write pairs.csv, too: a line per pair with distance and status",
    )
    work.add_argument(
        "--n-jobs", metavar="N", type=positive, default=1, help="processes (%(default)s)"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Measure distances and write them.

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
        work = session.begin(partial(_choose, options))
        codes, n_rows = work.codes, len(work.everything.rows)
        if len(codes.z) < n_rows:
            session.note(f"{len(codes.z)} of {n_rows} rows; --rows all takes all")
        geometry = session.space(work.trained).metric.geometry
        geometry = geometry.working(verbose=session.verbose, n_jobs=options.n_jobs)
        first, second = np.triu_indices(len(codes.z), 1)
        with session.stage("distances"), told("distances"):
            length, status = _measure(geometry, codes, first, second, options.method)
        pairs = np.stack([codes.rows[first], codes.rows[second]], axis=1)
        codes_of_status = [GeodesicStatus(int(code)) for code in status]
        warn_of_failures(session, pairs, codes_of_status)
        files = {
            "distances.npy": _matrix(length, first, second, len(codes.z)),
            codes_file.FILE: codes.to_csv(),
        }
        if options.list_pairs:
            names = [code.name for code in codes_of_status]
            converged = [code == GeodesicStatus.CONVERGED for code in codes_of_status]
            rows = zip(*pairs.T.tolist(), length.tolist(), converged, names, strict=True)
            files["pairs.csv"] = table(["i", "j", "distance", "converged", "status"], rows)
        known = length[np.isfinite(length)]
        results = {
            "method": options.method,
            "n_rows": len(codes.z),
            "n_pairs": len(length),
            "n_not_converged": int(np.count_nonzero(status)),
            "n_infinite": len(length) - len(known),
            "median_distance": float(np.median(known)) if len(known) else None,
            "largest_distance": float(known.max()) if len(known) else None,
        }
        return session.write(files, results)


def _choose(options: argparse.Namespace, source: Source) -> NDArray[np.int64]:
    places = choose_rows(options, source, _N_ROWS, _QUICK_ROWS)
    if len(places) < 2:
        raise ReportError(f"Expected at least two rows, got {len(places)}; pass --rows all.")
    return places


def _measure(
    geometry: Any, codes: Codes, first: np.ndarray, second: np.ndarray, method: str
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    start, end = codes.z[first], codes.z[second]
    if method == "graph":
        length = geometry.graph_lengths(start, end)
        lost = np.where(np.isfinite(length), 0, int(GeodesicStatus.NON_FINITE))
        return length, lost
    ends = geometry.for_lengths(len(start)).ends(start, end)
    return ends.known_length, ends.status


def _matrix(length: np.ndarray, first: np.ndarray, second: np.ndarray, n_rows: int) -> bytes:
    distances = np.zeros((n_rows, n_rows))
    distances[first, second] = distances[second, first] = length
    buffer = io.BytesIO()
    np.save(buffer, distances)
    return buffer.getvalue()
