"""How geodesics end: a status for each, and what is raised or warned of if some fail."""

from __future__ import annotations

import enum


class Status(enum.IntEnum):
    """A whole number that prints its name; 0 is success."""

    def __str__(self) -> str:
        return self.name

    __format__ = enum.Enum.__format__


class GeodesicStatus(Status):
    """Why a solve ended; `message` says it in a sentence."""

    CONVERGED = 0
    MAX_ITER = 1
    UNDER_RESOLVED = 2
    STALLED = 3
    NON_FINITE = 4
    OUT_OF_TIME = 5

    @property
    def message(self) -> str:
        """One sentence."""
        return _MESSAGES[self]


_MESSAGES = {
    GeodesicStatus.CONVERGED: (
        "No small change of the curve shortens it, and its length does not change on a finer mesh; "
        "of a decoder with kinks, after these are rounded."
    ),
    GeodesicStatus.MAX_ITER: "Not yet stationary when the steps ran out; raise max_iter.",
    GeodesicStatus.UNDER_RESOLVED: (
        "Finer measures of the curve differ from those that it was found with; raise max_elements."
    ),
    GeodesicStatus.STALLED: (
        "No further step shortens the curve, yet it is not stationary: a kink of the decoder, or "
        "the limit of the floating-point type."
    ),
    GeodesicStatus.NON_FINITE: "The metric is not finite along every curve that was tried.",
    GeodesicStatus.OUT_OF_TIME: (
        "The time was over before the curve was done, or begun: then it has no length; raise "
        "max_seconds."
    ),
}


class GeodesicConvergenceWarning(UserWarning):
    """Some geodesics did not converge; the best curves found were used."""


class GeodesicConvergenceError(RuntimeError):
    """Some geodesics did not converge, and ``on_failure="raise"`` was asked for."""
