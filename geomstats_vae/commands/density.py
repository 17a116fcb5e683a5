"""``geomstats-vae density``: a mixture of locally adaptive normal distributions."""

from __future__ import annotations

import argparse
from functools import partial
from typing import Any

from geomstats_vae.commands.cluster import QUICK_ROWS, agreement, choose_parts, with_labels
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
from geomstats_vae.commands.session import Session
from geomstats_vae.estimators import LAND

NAME = "density"


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
        "fit a density to the codes",
        "Fit a mixture of locally adaptive normal distributions (LAND) to the codes. Writes the\n"
        "log density of each row and its most probable component (density.csv), and weights,\n"
        "means and covariances (summary.json). The density is for Riemannian volume: it does not\n"
        "depend on the latent coordinates.",
        "train --sample digits --quick --output digits\n"
        "density digits -k 1 --rows 50 --output digits-density",
    )
    add_rows(add_source(parser, "folder of train, a model, or data as of train"), "all")
    add_trained(add_model(parser))
    work = add_run(
        parser, "density", f"train 20 epochs on at most 1000 rows, take {QUICK_ROWS} rows"
    )
    work.add_argument(
        "-k",
        "--n-components",
        metavar="K",
        type=positive,
        required=True,
        help="number of components",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Fit a density and write it.

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
        work = session.begin(partial(choose_parts, options, options.n_components, "components"))
        codes = work.codes
        land = LAND(
            session.space(work.trained),
            options.n_components,
            random_state=options.seed,
            max_seconds=options.max_seconds,
            verbose=session.verbose,
        )
        with session.stage("density"), told("density"):
            component = land.fit_predict(codes.z)
        with session.stage("densities of the rows"), told("density"):
            log_density = land.score_samples(codes.z)
        columns = [log_density.tolist(), component.tolist()]
        files = {"density.csv": with_labels(codes, ["log_density", "component"], columns)}
        results = {
            "n_components": len(land.weights_),
            "n_rows": len(codes.z),
            "mean_log_density": land.lower_bound_,
            "mean_log_density_std": land.lower_bound_std_,
            "converged": land.converged_,
            "n_iter": land.n_iter_,
            "n_not_converged": land.n_failed_,
            "weights": land.weights_,
            "means": land.means_,
            "covariances": land.covariances_,
            "log_normalizer": land.log_normalizer_,
            **agreement(codes, component),
        }
        return session.write(files, results)
