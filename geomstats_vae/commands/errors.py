"""Errors of the command line, which end it with one line and an exit code."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from geomstats_vae.geodesics import GeodesicConvergenceError
from geomstats_vae.geometry import OutOfTimeError
from geomstats_vae.report.errors import ReportError, first_line

DONE, BAD_INPUT, BAD_USAGE = 0, 1, 2
INTERRUPTED = 130  # 128 + SIGINT, as shells have it


class UsageError(ReportError):
    """Options that do not exist, or do not go together."""


@contextmanager
def told(doing: str) -> Iterator[None]:
    """Turn errors of the package about the user's data into errors of one line.

    Parameters
    ----------
    doing : str
        What was done, for the message.

    Yields
    ------
    None
        Nothing; the body of the ``with`` statement does it.

    Raises
    ------
    ReportError
        If the body raises a ValueError, or ran out of time or of numbers.
    """
    try:
        yield
    except ReportError:
        raise
    except (
        ArithmeticError,
        GeodesicConvergenceError,
        OSError,
        OutOfTimeError,
        ValueError,
    ) as error:
        raise ReportError(f"{doing}: {first_line(error)}") from error
