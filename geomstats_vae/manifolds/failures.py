"""Numerical failures of a batch: one warning per call, an error, or silence."""

from __future__ import annotations

import sys
import warnings

import numpy as np

from geomstats_vae.geodesics.curves.path import GeodesicConvergenceError, GeodesicConvergenceWarning

POLICIES = ("warn", "raise", "ignore")


def check_policy(on_failure):
    """Raise ValueError if on_failure is none of the policies."""
    if on_failure not in POLICIES:
        raise ValueError(
            f"Expected on_failure to be one of {', '.join(map(repr, POLICIES))}, "
            f"got {on_failure!r}."
        )


def report(on_failure, status, kind, what):
    """Report the failures of one call.

    Parameters
    ----------
    on_failure : str, {'warn', 'raise', 'ignore'}
        What to do.
    status : array-like of int, shape=[n]
        Status of each item; 0 is success.
    kind : type
        Enum of the statuses, with a sentence each.
    what : str
        What the items are, in the plural.

    Raises
    ------
    GeodesicConvergenceError
        If some item failed and on_failure is 'raise'.

    Warns
    -----
    GeodesicConvergenceWarning
        If some item failed and on_failure is 'warn'.
    """
    status = np.asarray(status)
    failed = status[status != 0]
    if on_failure == "ignore" or not len(failed):
        return
    values, counts = np.unique(failed, return_counts=True)
    reasons = " ".join(
        f"{count} {kind(int(value)).name}: {kind(int(value)).message}"
        for value, count in zip(values, counts, strict=True)
    )
    message = f"{len(failed)} of {len(status)} {what} did not converge. {reasons}"
    if on_failure == "raise":
        raise GeodesicConvergenceError(message)
    message += (
        " The best results found are returned; solve_geodesic gives the status of each pair, and "
        "on_failure='raise' or 'ignore' changes this warning."
    )
    warnings.warn(message, GeodesicConvergenceWarning, stacklevel=caller_level())


def caller_level() -> int:
    """Stack level, for the function that calls this one, of the first frame that is the user's.

    Frames of geomstats stand between where its own methods call the metric, and frames of
    scikit-learn around the methods of estimators.
    """
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and _is_ours(frame.f_globals.get("__name__", "")):
        frame = frame.f_back
        level += 1
    return level


def _is_ours(module: str) -> bool:
    return module.split(".")[0] in ("geomstats", "geomstats_vae", "sklearn", "torch", "contextlib")
