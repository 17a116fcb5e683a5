"""A limit of time: what is not done by then comes back as it is, with a status that says so."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass


@dataclass(frozen=True)
class Deadline:
    """A time after which searches return the best that they have.

    Parameters
    ----------
    time : float
        Seconds since the epoch, so that other processes read the same clock.
    """

    time: float = math.inf

    @classmethod
    def after(cls, seconds: float | None) -> Deadline:
        """Begin to count.

        Parameters
        ----------
        seconds : float or None
            Seconds from now; None is no limit.

        Returns
        -------
        deadline : Deadline
            The time then.
        """
        return cls() if seconds is None else cls(time.time() + seconds)

    @property
    def passed(self) -> bool:
        """Whether it is too late."""
        return self.time < math.inf and time.time() >= self.time

    @property
    def remaining(self) -> float | None:
        """Seconds that are left, at least zero; None without a limit."""
        return None if self.time == math.inf else max(0.0, self.time - time.time())


NO_LIMIT = Deadline()


def check_seconds(max_seconds: float | None) -> None:
    """Refuse a limit that is none.

    Parameters
    ----------
    max_seconds : float or None
        Limit.

    Raises
    ------
    ValueError
        If it is negative or NaN.
    """
    if max_seconds is not None and not max_seconds >= 0.0:
        raise ValueError(
            f"Expected max_seconds to be a number of seconds, or None for no limit, got "
            f"{max_seconds!r}."
        )
