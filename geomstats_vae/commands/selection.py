"""Which rows and which pairs of rows a command takes."""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from geomstats_vae.commands.codes import places_of
from geomstats_vae.commands.errors import UsageError
from geomstats_vae.commands.source import Source
from geomstats_vae.report.analysis import random_pairs
from geomstats_vae.report.errors import ReportError, first_line


def choose_rows(
    options: argparse.Namespace, source: Source, default: float, quick: int
) -> NDArray[np.int64]:
    """Choose rows as --rows, --first and --quick say.

    Parameters
    ----------
    options : argparse.Namespace
        Options of `add_rows` and `add_run`.
    source : Source
        The rows that there are.
    default, quick : float
        How many are drawn by default, and for a first look; infinity for all.

    Returns
    -------
    places : numpy.ndarray of int, shape=[n_chosen]
        Places of the rows in the source, in order.
    """
    n_rows = len(source.rows)
    if options.first is not None:
        return np.arange(min(options.first, n_rows))
    wanted = options.rows or (quick if options.quick else default)
    if wanted >= n_rows:
        return np.arange(n_rows)
    rng = np.random.default_rng(options.seed)
    return np.sort(rng.choice(n_rows, int(wanted), replace=False))


def choose_pairs(
    options: argparse.Namespace, source: Source, default: int, quick: int
) -> NDArray[np.int64]:
    """Choose pairs of rows as --from and --to, --pairs, --random and --quick say.

    Parameters
    ----------
    options : argparse.Namespace
        Options of the command.
    source : Source
        The rows that there are.
    default, quick : int
        How many are drawn by default, and for a first look.

    Returns
    -------
    places : numpy.ndarray of int, shape=[n_pairs, 2]
        Places of the rows in the source.

    Raises
    ------
    UsageError
        If the options do not go together.
    ReportError
        If a row is not there, or the file of pairs cannot be read.
    """
    starts, ends = options.start or [], options.end or []
    if len(starts) != len(ends):
        raise UsageError(
            f"Expected as many --to as --from, got {len(ends)} and {len(starts)}; each pair takes "
            "one of both."
        )
    named = [bool(starts), options.pairs is not None, options.random is not None]
    if sum(named) > 1:
        raise UsageError(
            "Expected pairs by --from and --to, by --pairs or by --random, got several of these; "
            "leave all but one out."
        )
    if starts:
        return _places(list(zip(starts, ends, strict=True)), source)
    if options.pairs is not None:
        return _places(_read_pairs(Path(options.pairs)), source)
    n_rows = len(source.rows)
    if n_rows < 2:
        raise ReportError(f"Expected at least two rows to draw pairs of, got {n_rows}.")
    n_pairs = options.random or (quick if options.quick else default)
    return random_pairs(n_rows, n_pairs, np.random.default_rng(options.seed))


def _places(pairs: list[tuple[int, int]], source: Source) -> NDArray[np.int64]:
    flat = [row for pair in pairs for row in pair]
    return places_of(flat, source.rows).reshape(-1, 2)


def _read_pairs(path: Path) -> list[tuple[int, int]]:
    """Read pairs of numbers of rows from the first two columns of a table, with or without head."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = [line for line in csv.reader(file) if line]
        if lines and not lines[0][0].strip().isdigit():
            lines = lines[1:]
        pairs = [(int(line[0]), int(line[1])) for line in lines]
    except (IndexError, OSError, ValueError) as error:
        raise ReportError(
            f"Expected two numbers of rows, separated by a comma, in each line of {path}, got a "
            f"file that cannot be read so ({first_line(error)}); write the columns i,j."
        ) from error
    if not pairs:
        raise ReportError(f"Expected pairs of rows in {path}, got none; write lines such as 0,7.")
    return pairs
