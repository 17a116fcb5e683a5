"""Bars go on while work takes long."""

import threading

from geomstats_vae.geometry import bars
from geomstats_vae.geometry.bars import progress_bar


def test_bar_is_redrawn_without_being_moved(monkeypatch):
    monkeypatch.setattr(bars, "_INTERVAL", 1e-3)
    drawn = threading.Event()
    n_threads = threading.active_count()
    with progress_bar(total=3) as bar:
        refresh, n_calls = bar.refresh, []

        def counted(*args, **options):
            n_calls.append(1)
            if len(n_calls) > 3:
                drawn.set()
            return refresh(*args, **options)

        bar.refresh = counted
        assert drawn.wait(30.0)
        assert bar.n == 0
    assert threading.active_count() <= n_threads + 1  # tqdm's own


def test_disabled_bar_has_no_thread(capsys):
    n_threads = threading.active_count()
    with progress_bar(total=3, disable=True) as bar:
        assert threading.active_count() == n_threads
        bar.update(1)
    assert capsys.readouterr().err == ""
