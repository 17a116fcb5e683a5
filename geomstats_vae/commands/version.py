"""``geomstats-vae version``: what is installed."""

from __future__ import annotations

import argparse
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import torch

import geomstats_vae
from geomstats_vae.commands.errors import DONE
from geomstats_vae.commands.options import new_command

NAME = "version"


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
        "print the versions of the package and of what it stands on",
        "Print the versions of the package, geomstats, torch, numpy and Python.",
        "version",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print a line per package.

    Parameters
    ----------
    options : argparse.Namespace
        Not used.

    Returns
    -------
    status : int
        Exit code.
    """
    for name, number in versions().items():
        print(f"{name} {number}")
    return DONE


def versions() -> dict[str, str]:
    """Return the versions that matter for a result.

    Returns
    -------
    versions : dict of str to str
        Versions by the names of the packages.
    """
    try:
        geomstats = version("geomstats")
    except PackageNotFoundError:  # a copy that was not installed
        geomstats = "unknown"
    return {
        "geomstats_vae": geomstats_vae.__version__,
        "geomstats": geomstats,
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }
