"""Failures of some items of a batch: one warning per call, an error, or silence.

Geodesics, exponentials, rays and walkers report here, so that a warning has one form, and names the
line of the user's code that made the call.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike

from geomstats_vae.geodesics.status import GeodesicConvergenceError, GeodesicConvergenceWarning

POLICIES = ("warn", "raise", "ignore")
# Items that a message names by their index.
_N_SHOWN = 5
# A user's call may come through these; warnings name the line before them.
_BETWEEN = frozenset({"contextlib", "geomstats", "geomstats_vae", "joblib", "sklearn", "torch"})


class Status(Protocol):
    """A member of an enum of statuses; 0 is success."""

    @property
    def name(self) -> str:
        """Name."""

    @property
    def message(self) -> str:
        """One sentence, with the remedy."""


def check_policy(on_failure: str) -> None:
    """Check what is to be done about failures.

    Parameters
    ----------
    on_failure : str
        Policy.

    Raises
    ------
    ValueError
        If it is not one of 'warn', 'raise' and 'ignore'.
    """
    if on_failure not in POLICIES:
        raise ValueError(
            f"Expected on_failure to be one of {', '.join(map(repr, POLICIES))}, "
            f"got {on_failure!r}."
        )


def report(
    on_failure: str,
    status: ArrayLike,
    kind: Callable[[int], Status],
    what: str,
    *,
    happened: str = "did not converge",
    returned: str = (
        "The best results found are returned; solve_geodesic gives the status of each pair, and "
        "on_failure='raise' or 'ignore' changes this warning."
    ),
    warning: type[Warning] = GeodesicConvergenceWarning,
    error: type[Exception] = GeodesicConvergenceError,
) -> None:
    """Report the failures of one call.

    Parameters
    ----------
    on_failure : str, {'warn', 'raise', 'ignore'}
        What to do.
    status : array-like of int, shape=[n]
        Status of each item; 0 is success.
    kind : type
        Enum of the statuses; its members have a ``message``.
    what : str
        What the items are, in the plural.
    happened : str
        What happened to those that failed.
    returned : str
        What is returned nevertheless, and where more is known; for warnings.
    warning, error : type
        Category of the warning, and class of the error.

    Raises
    ------
    GeodesicConvergenceError
        Or ``error``: if some item failed and on_failure is 'raise'.

    Warns
    -----
    GeodesicConvergenceWarning
        Or ``warning``: if some item failed and on_failure is 'warn'.
    """
    status = np.asarray(status)
    failed = status[status != 0]
    if on_failure == "ignore" or not len(failed):
        return
    values, counts = np.unique(failed, return_counts=True)
    members = [kind(int(value)) for value in values]
    reasons = " ".join(
        f"{count} {member.name}: {member.message}"
        for member, count in zip(members, counts, strict=True)
    )
    message = f"{len(failed)} of {len(status)} {what} {happened}{_places(status)}. {reasons}"
    if on_failure == "raise":
        raise error(message)
    warnings.warn(f"{message} {returned}", warning, stacklevel=caller_level())


def _places(status: np.ndarray) -> str:
    """Name the first of several items that failed, by their index."""
    if status.size == 1:
        return ""
    places = np.flatnonzero(status)
    more = ", ..." if len(places) > _N_SHOWN else ""
    return f" (at index {', '.join(map(str, places[:_N_SHOWN]))}{more})"


def warn_far(on_failure: str, n_far: int, n_pairs: int) -> None:
    """Warn of pairs of points that lie far outside the codes.

    Parameters
    ----------
    on_failure : str, {'warn', 'raise', 'ignore'}
        Not if this is 'ignore'.
    n_far : int
        Number of such pairs.
    n_pairs : int
        Number of all.

    Warns
    -----
    UserWarning
        Unless on_failure is 'ignore'.
    """
    if on_failure != "ignore":
        warnings.warn(
            f"Expected points near the space's codes, got {n_far} of {n_pairs} pairs with a point "
            "farther outside them than they are wide. No data tell what the decoder does there, "
            "and geodesics may take long; give the solver max_seconds, or leave such points out.",
            UserWarning,
            stacklevel=caller_level(),
        )


def caller_level() -> int:
    """Stack level, for the function that calls this one, of the first frame that is the user's.

    Frames of geomstats stand between where its own methods call the metric, and frames of
    scikit-learn around the methods of estimators.

    Returns
    -------
    level : int
        Argument ``stacklevel`` of `warnings.warn`.
    """
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and _is_between(frame.f_globals.get("__name__", "")):
        frame = frame.f_back
        level += 1
    return level


def _is_between(module: str) -> bool:
    return module.partition(".")[0] in _BETWEEN
