"""``geomstats-vae report``: a latent space on one page."""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import Any

from geomstats_vae.commands.errors import DONE, INTERRUPTED, UsageError
from geomstats_vae.commands.model import new_model, training_rows
from geomstats_vae.commands.options import (
    add_model,
    add_run,
    add_source,
    add_trained,
    new_command,
    positive,
)
from geomstats_vae.commands.session import Session
from geomstats_vae.commands.source import read_source
from geomstats_vae.report import Inputs, ReportOptions, build_report

NAME = "report"
_N_PAIRS, _QUICK_PAIRS = 50, 10
_SCALED = (
    "Every column is brought to mean 0 and standard deviation 1: errors and lengths are in "
    "standard deviations."
)
_QUICK = ReportOptions(
    n_matrix=20, n_mean=8, mean_max_iter=4, n_sensitivity=16, n_cells=80, dpi=100
)


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
        "measure a latent space and write an HTML report",
        "Train a VAE or load one, measure its latent space and write an HTML report. Without\n"
        "arguments it runs on scikit-learn's digits.",
        "report --quick --output digits-report",
    )
    data = add_source(
        parser,
        "table (.csv, .tsv, .txt, .parquet) or array (.npy, .npz), one sample per row, or a folder "
        "of images",
        images=True,
    )
    data.add_argument("--data", metavar="FILE", help="the FILE, as an option")
    add_trained(add_model(parser))
    work = add_run(parser, "report", "20 epochs on at most 1000 rows, fewer geodesics and pixels")
    work.add_argument(
        "--n-pairs", metavar="N", type=positive, help=f"random pairs to join ({_N_PAIRS})"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Write a report.

    Parameters
    ----------
    options : argparse.Namespace
        Options of the command.

    Returns
    -------
    status : int
        Exit code.
    """
    _set_source(options)
    with Session(options) as session:
        source = read_source(options)
        if source.inputs is None:
            raise UsageError(
                f"Expected data, got the model {options.file!r}; pass the FILE of its data, and "
                "the model by --model."
            )
        for warning in source.warnings:
            session.warn(warning)
        trained = source.trained
        inputs = _thinned(source.inputs, options)
        if source.scaling is not None:
            inputs = replace(inputs, assumptions=(*inputs.assumptions, _SCALED))
        page = build_report(
            inputs,
            options.output,
            model=None if trained is None else trained.path,
            vae=new_model(options, len(inputs.X)) if trained is None else None,
            n_pairs=options.n_pairs or (_QUICK_PAIRS if options.quick else _N_PAIRS),
            seed=options.seed,
            quiet=options.quiet,
            command=session.command,
            **({"options": _QUICK} if options.quick else {}),
        )
        if session.verbose:
            print(page)
        return INTERRUPTED if session.interrupted else DONE


def _thinned(inputs: Inputs, options: argparse.Namespace) -> Inputs:
    """Take some of the rows for a first look."""
    rows = training_rows(options, len(inputs.X))
    if len(rows) == len(inputs.X):
        return inputs
    labels = None if inputs.labels is None else inputs.labels[rows]
    note = f"--quick takes {len(rows)} of {len(inputs.X)} rows, evenly spaced."
    assumptions = (*inputs.assumptions, note)
    return replace(inputs, X=inputs.X[rows], labels=labels, assumptions=assumptions)


def _set_source(options: argparse.Namespace) -> None:
    """Let --data stand for FILE, and the digits for neither."""
    if options.latent_dim == 1:
        raise UsageError("Expected --latent-dim 2 or more, got 1; there is nothing to draw in one.")
    if options.data is not None:
        if options.file is not None:
            raise UsageError(
                f"Expected one file of data, got {options.file!r} and --data {options.data!r}; "
                "leave one out."
            )
        options.file = options.data
    given = (options.labels, options.labels_column, options.image_shape)
    if options.file is None and options.sample is None:
        if any(part is not None for part in given):
            raise UsageError(
                "Expected a FILE of data (or --data) with --labels, --labels-column or "
                "--image-shape, got none; the digits bring theirs."
            )
        options.sample = "digits"
