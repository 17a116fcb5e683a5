"""Solvers, one file each: add yours as ``solvers/NAME.py``.

A file defines ``settings(problem)``, a list of `geodesic_bench.problem.Setting`, the one to be
tried first at the front: the quick set takes the first `QUICK` of each solver that work alone, and
of each that work in batches. It raises ImportError if a library is missing, and
`NotSuited` if the solver cannot take this decoder. Nothing else has to be told of the file.
"""

from __future__ import annotations

import importlib
from pathlib import Path

from geodesic_bench.problem import Problem, Setting

QUICK = 2


class NotSuited(Exception):
    """The solver cannot take this decoder."""


def names() -> list[str]:
    """Names of the files here, ours first."""
    found = sorted(path.stem for path in Path(__file__).parent.glob("[a-z]*.py"))
    return sorted(found, key=lambda name: name != "ours")


def settings(problem: Problem, name: str, *, quick: bool = False) -> list[Setting]:
    """List the settings of one solver.

    Parameters
    ----------
    problem : Problem
        Decoder and pairs.
    name : str
        Name of a file here, such as "ours".
    quick : bool
        Whether to take the first few only.

    Returns
    -------
    chosen : list of Setting
        The settings.

    Raises
    ------
    ImportError
        If a library is missing.
    NotSuited
        If the solver cannot take this decoder.
    """
    module = importlib.import_module(f"geodesic_bench.solvers.{name}")
    every: list[Setting] = module.settings(problem)
    if not quick:
        return every
    kinds = dict.fromkeys(setting.name for setting in every)
    first = [[s for s in every if s.name == name][:QUICK] for name in kinds]
    return [setting for few in first for setting in few]


def in_turn(found: list[Setting]) -> list[Setting]:
    """Put the first settings of all solvers before the second ones, and batches after these.

    Parameters
    ----------
    found : list of Setting
        Settings, those of a solver in its order.

    Returns
    -------
    ordered : list of Setting
        So, if the time is over, each solver has had its turn.
    """
    seen: dict[str, int] = {}
    turns = []
    for setting in found:
        turns.append(seen.setdefault(setting.name, 0))
        seen[setting.name] += 1
    order = sorted(range(len(found)), key=lambda k: (turns[k], found[k].batch))
    return [found[k] for k in order]
