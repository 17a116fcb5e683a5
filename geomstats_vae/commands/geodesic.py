"""``geomstats-vae geodesic``: curves between pairs of rows."""

from __future__ import annotations

import argparse
import io
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from geomstats_vae.commands.codes import table
from geomstats_vae.commands.errors import told
from geomstats_vae.commands.model import Trained
from geomstats_vae.commands.options import (
    add_model,
    add_run,
    add_source,
    add_trained,
    natural,
    new_command,
    positive,
)
from geomstats_vae.commands.selection import choose_pairs
from geomstats_vae.commands.session import Session
from geomstats_vae.geodesics import GeodesicStatus
from geomstats_vae.immersions import Immersion

NAME = "geodesic"
_N_PAIRS, _QUICK_PAIRS = 20, 5
_N_POINTS = 50
# Chords of a straight line, and points that are decoded at once.
_N_CHORDS, _CHUNK = 2000, 4096
# Pairs that a warning names.
_N_SHOWN = 5


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
        "solve for geodesics between rows, and decode the points along them",
        "Solve for geodesics between the codes of pairs of rows. Writes a line per pair with its\n"
        "length and the straight line's (pairs.csv), codes and decoded points along each curve\n"
        "(geodesics.npz with pairs, t, codes, decoded) and summary.json. Rows are counted from 0,\n"
        "without the header. Lengths are in the units of the data; after --standardize, in\n"
        "standard deviations.",
        "train --sample digits --quick --output digits\n"
        "geodesic digits --from 0 --to 10 --from 3 --to 17 --output curves",
    )
    add_source(parser, "folder of train, a model, or data as of train")
    add_trained(add_model(parser))
    work = add_run(
        parser, "geodesics", f"train 20 epochs on at most 1000 rows, take {_QUICK_PAIRS} pairs"
    )
    add_pair = work.add_argument
    add_pair(
        "--from",
        dest="start",
        metavar="I",
        type=natural,
        action="append",
        help="row that a geodesic starts at; once for each pair",
    )
    add_pair(
        "--to",
        dest="end",
        metavar="J",
        type=natural,
        action="append",
        help="row that it ends at",
    )
    add_pair("--pairs", metavar="FILE", help="pairs of rows: a .csv file with the columns i,j")
    add_pair("--random", metavar="N", type=positive, help=f"draw so many pairs ({_N_PAIRS})")
    add_pair(
        "--n-points",
        metavar="N",
        type=positive,
        default=_N_POINTS,
        help="points along each curve, at equal steps of length (%(default)s)",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Solve for geodesics and write them.

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
        choose = partial(choose_pairs, options, default=_N_PAIRS, quick=_QUICK_PAIRS)
        work = session.begin(choose)
        trained, codes, places = work.trained, work.everything, work.places
        start, end = codes.z[places[:, 0]], codes.z[places[:, 1]]
        geometry = session.space(trained).metric.geometry
        with session.stage("geodesics"), told("geodesics"):
            path = geometry.working(verbose=session.verbose).paths(start, end)
            lines = line_lengths(geometry.immersion(), start, end)
        pairs, status = codes.rows[places], [GeodesicStatus(int(code)) for code in path.status]
        warn_of_failures(session, pairs, status)
        t = np.linspace(0.0, 1.0, options.n_points)
        with session.stage("decoding"):
            curves = path(t)
            decoded = _decoded(trained, curves)
        rows = zip(
            *pairs.T.tolist(),
            path.length.tolist(),
            lines.tolist(),
            path.converged.tolist(),
            [code.name for code in status],
            strict=True,
        )
        header = ["i", "j", "length", "line_length", "converged", "status"]
        files = {
            "pairs.csv": table(header, rows),
            "geodesics.npz": _archive(pairs=pairs, t=t, codes=curves, decoded=decoded),
        }
        ratio = np.divide(path.length, lines, out=np.ones_like(lines), where=lines > 0.0)
        results = {
            "n_pairs": len(pairs),
            "n_not_converged": int(np.count_nonzero(path.status)),
            "median_length": float(np.median(path.length)),
            "median_ratio_to_line": float(np.median(ratio)),
        }
        return session.write(files, results)


def line_lengths(
    immersion: Immersion, start: NDArray[np.float64], end: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Measure straight lines between codes in the metric, by 2000 chords each.

    Parameters
    ----------
    immersion : Immersion
        The immersion whose pullback is the metric.
    start, end : numpy.ndarray, shape=[n_pairs, dim]
        End points.

    Returns
    -------
    length : numpy.ndarray, shape=[n_pairs]
        Lengths, in the units of the data.
    """
    t = np.linspace(0.0, 1.0, _N_CHORDS + 1)[:, None]
    lengths = []
    for a, b in zip(start, end, strict=True):
        z = torch.as_tensor(a + t * (b - a), dtype=immersion.dtype, device=immersion.device)
        with torch.no_grad():
            values = torch.cat([immersion(part) for part in z.split(_CHUNK)])
        lengths.append(float(values.diff(dim=0).norm(dim=1).sum()))
    return np.array(lengths)


def warn_of_failures(
    session: Session, pairs: NDArray[np.int64], status: Sequence[GeodesicStatus]
) -> None:
    """Say which geodesics did not converge, and why.

    Parameters
    ----------
    session : Session
        Says it.
    pairs : numpy.ndarray of int, shape=[n_pairs, 2]
        Numbers of their rows.
    status : sequence of GeodesicStatus
        What the solver says of each.
    """
    failed = [k for k, code in enumerate(status) if code != GeodesicStatus.CONVERGED]
    if not failed:
        return
    named = ", ".join(
        f"{pairs[k][0]} to {pairs[k][1]} ({status[k].name})" for k in failed[:_N_SHOWN]
    )
    more = ", ..." if len(failed) > _N_SHOWN else ""
    remedies = " ".join(
        f"{code.name}: {code.message}" for code in sorted({status[k] for k in failed})
    )
    session.warn(
        f"{len(failed)} of {len(status)} geodesics did not converge, between rows {named}{more}. "
        f"Their lengths are those of the best curves found. {remedies}"
    )


def _decoded(trained: Trained, curves: NDArray[np.float64]) -> NDArray[np.float64]:
    """Decode curves, NaN where there is none."""
    known = np.isfinite(curves).all(axis=(1, 2))
    decoded = np.full((*curves.shape[:2], trained.vae.n_features_in_), np.nan)
    if known.any():
        decoded[known] = trained.decode(curves[known])
    return decoded


def _archive(**arrays: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    return buffer.getvalue()
