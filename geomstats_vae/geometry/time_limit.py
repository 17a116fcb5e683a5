"""Limits of time of calls that solve for many geodesics, one after the other."""

from __future__ import annotations

import math

from geomstats_vae.geodesics.deadline import Deadline


class OutOfTimeError(TimeoutError):
    """The time of a call was over before there was an answer, or a state of it that could be kept.

    A `GeodesicSolver` with ``max_seconds`` does not raise: it returns the curves that it has. This
    error ends calls that need all of their geodesics, as an interrupt by the keyboard would. Those
    who iterate catch it, and keep the best state that they have.
    """


def check_time(deadline: Deadline) -> None:
    """Go on only if there is time.

    Parameters
    ----------
    deadline : Deadline
        When it is over.

    Raises
    ------
    OutOfTimeError
        If the deadline has passed.
    """
    if deadline.passed:
        raise OutOfTimeError(
            "Expected the call to end within max_seconds, got to that time before; allow more."
        )


def earlier(a: Deadline, b: Deadline) -> Deadline:
    """Take the deadline that passes first.

    Parameters
    ----------
    a, b : Deadline
        Two of them.

    Returns
    -------
    deadline : Deadline
        One of them.
    """
    left = [math.inf if limit.remaining is None else limit.remaining for limit in (a, b)]
    return a if left[0] <= left[1] else b
