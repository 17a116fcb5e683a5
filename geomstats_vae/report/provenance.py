"""Where results come from: the version of the package, the command, the date and the seed."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import geomstats_vae

# How the program is called on a command line.
SCRIPT = "geomstats-vae"


def command_line(typed: Sequence[str]) -> str:
    """Write a command as a shell takes it.

    Parameters
    ----------
    typed : sequence of str
        What was typed after the program's name.

    Returns
    -------
    command : str
        The command with quotes where they are needed, as in "geomstats-vae report 'my table.csv'".
    """
    return shlex.join([SCRIPT, *typed])


def made(seed: int, command: str | None = None) -> dict[str, Any]:
    """Collect what results are made by.

    Parameters
    ----------
    seed : int
        Seed of all random choices.
    command : str, optional
        Command that was typed; None if the package was called from Python.

    Returns
    -------
    made : dict
        These, the version, and the date and time with its difference from UTC, as in
        "2026-01-31 09:05:00+01:00".
    """
    return {
        "command": command,
        "version": geomstats_vae.__version__,
        "date": datetime.now().astimezone().isoformat(sep=" ", timespec="seconds"),
        "seed": seed,
    }
