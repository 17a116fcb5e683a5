"""Where a report comes from: the program, its version, the command and the date."""

from __future__ import annotations

import shlex
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import geomstats_vae

# How the program can be started from a command line.
_SCRIPT, _MODULE = "geomstats-vae", "geomstats_vae"


def command_line(arguments: list[str] | None = None) -> str | None:
    """Return the command that this process was started by.

    Parameters
    ----------
    arguments : list of str, optional
        Its parts, `sys.argv` by default.

    Returns
    -------
    command : str or None
        The command; None if the process is another program that calls this package.
    """
    program, *rest = sys.argv if arguments is None else arguments
    path = Path(program)
    if path.stem == _SCRIPT:
        return shlex.join([_SCRIPT, *rest])
    if path.name == "__main__.py" and path.parent.name == _MODULE:
        return shlex.join(["python", "-m", _MODULE, *rest])
    return None


def now() -> str:
    """Return the date and the time, to the minute, with the difference from UTC.

    Returns
    -------
    date : str
        As in "2026-01-31 09:05 +0100".
    """
    return datetime.now().astimezone().strftime("%Y-%m-%d %H:%M %z")


def made(seed: int, n_pairs: int) -> dict[str, Any]:
    """Collect what a report is made by.

    Parameters
    ----------
    seed : int
        Seed of the training and of all random choices.
    n_pairs : int
        Random pairs that were asked for.

    Returns
    -------
    made : dict
        These, and version, date and command.
    """
    return {
        "version": geomstats_vae.__version__,
        "date": now(),
        "command": command_line(),
        "seed": seed,
        "n_pairs": n_pairs,
    }
