"""``geomstats-vae train``: a model, and the codes of its data."""

from __future__ import annotations

import argparse
from typing import Any

from geomstats_vae.commands.errors import UsageError
from geomstats_vae.commands.options import add_model, add_run, add_source, new_command
from geomstats_vae.commands.session import Session

NAME = "train"


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
        "train a VAE and write it with the codes of its data",
        "Train a VAE on the rows of a table, an array or a folder of images. Writes the model\n"
        "(model.safetensors), the codes of all rows (codes.csv), what the features were\n"
        "standardised by (scaling.csv), and parameters and quality (summary.json). The other\n"
        "commands take the folder in the place of data.",
        "train --sample digits --quick --output digits",
    )
    add_source(
        parser,
        "table (.csv, .tsv, .txt, .parquet) or array (.npy, .npz), one sample per row, or a folder "
        "of images (.png, .jpg), one folder in it per class",
    )
    add_model(parser)
    add_run(parser, "model", "20 epochs on at most 1000 rows")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Train a model and write it.

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
        source = session.read()
        if source.trained is not None:
            raise UsageError(
                f"Expected data to train on, got the model {options.file!r}; pass a FILE of data."
            )
        _, codes = session.model(source)
        return session.write({}, {"n_codes": len(codes.z)})
