"""A record of the report's stages: how long each took, and what it warned of."""

from __future__ import annotations

import logging
import sys
import threading
import time
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from tqdm import tqdm

_Item = TypeVar("_Item")
# Seconds between two looks at the clock.
_TICK = 0.5


class Journal:
    """Times, warnings and progress of a report's stages.

    Parameters
    ----------
    quiet : bool
        Whether to show no progress bars.

    Attributes
    ----------
    times : dict of str to float
        Seconds that each stage took.
    warnings : collections.Counter
        How often each warning, a tuple (stage, category, message), was met.
    """

    def __init__(self, quiet: bool = False) -> None:
        self.quiet = quiet
        self.times: dict[str, float] = {}
        self.warnings: Counter[tuple[str, str, str]] = Counter()

    @contextmanager
    def stage(self, name: str, *, ticks: bool = False) -> Iterator[None]:
        """Time a stage and record its warnings and logged warnings instead of printing them.

        Parameters
        ----------
        name : str
            The stage's name in the report.
        ticks : bool
            Whether to show the seconds that have passed, of a stage that has no bar of its own.

        Yields
        ------
        None
            Nothing; the stage is the body of the ``with`` statement.
        """
        self.write(f"{name} ...")
        start = time.perf_counter()
        with warnings.catch_warnings(record=True) as caught, _logged() as records:
            warnings.simplefilter("always")
            with _clock(disable=self.quiet or not ticks):
                yield
        self.times[name] = time.perf_counter() - start
        self.warnings.update(
            (name, w.category.__name__, str(w.message))
            for w in caught
            # These are for those who write programs.
            if not issubclass(w.category, DeprecationWarning | PendingDeprecationWarning)
        )
        self.warnings.update((name, f"logged by {r.name}", r.getMessage()) for r in records)

    def progress(self, items: Iterable[_Item], description: str) -> Iterable[_Item]:
        """Iterate with a progress bar on standard error.

        Parameters
        ----------
        items : iterable
            What to iterate over.
        description : str
            Text before the bar.

        Returns
        -------
        items : tqdm.tqdm
            The same items.
        """
        return tqdm(items, desc=f"  {description}", disable=self.quiet, leave=False)

    def write(self, text: str) -> None:
        """Print a line on standard error unless quiet.

        Parameters
        ----------
        text : str
            The line.
        """
        if not self.quiet:
            tqdm.write(text, file=sys.stderr)


class _Records(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@contextmanager
def _logged() -> Iterator[list[logging.LogRecord]]:
    """Collect what reaches the root logger; geomstats reports unfinished means there."""
    handler = _Records()
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        yield handler.records
    finally:
        root.removeHandler(handler)


@contextmanager
def _clock(disable: bool) -> Iterator[None]:
    """Show the seconds that have passed, from another thread."""
    if disable:
        yield
        return
    over = threading.Event()
    with tqdm(desc="  working", bar_format="{desc} {elapsed}", leave=False) as bar:

        def tick() -> None:
            while not over.wait(_TICK):
                bar.refresh()

        thread = threading.Thread(target=tick, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()
