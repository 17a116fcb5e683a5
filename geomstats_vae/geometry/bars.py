"""Progress bars whose clock goes on while a block of work takes long."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tqdm import tqdm

# Seconds between redraws.
_INTERVAL = 1.0


@contextmanager
def progress_bar(**options: Any) -> Iterator[Any]:
    """Show a bar that is drawn anew every second, whether it was moved or not.

    Parameters
    ----------
    **options : dict
        Of `tqdm.tqdm`.

    Yields
    ------
    bar : tqdm.tqdm
        The bar; a thread redraws it, unless it is disabled.
    """
    with tqdm(**options) as bar:
        if bar.disable:
            yield bar
            return
        over = threading.Event()

        def redraw() -> None:
            while not over.wait(_INTERVAL):
                bar.refresh()

        thread = threading.Thread(target=redraw, name="progress", daemon=True)
        thread.start()
        try:
            yield bar
        finally:
            over.set()
            thread.join()
