"""Measure distances for long while workers are killed.

Distances between pairs of codes of the packaged VAE of the digits, in calls of some pairs each, on
loky's workers. A worker is killed by SIGKILL every minute. Some pairs are done again in this
process, to show that results are the same. Memory is that of this process, from Linux's ``/proc``.

Run: ``python benchmarks/soak.py [--pairs 100000] [--call 2000] [--jobs 2] [--tol 1e-3]
[--every 60] [--seconds 600]``.
"""

import argparse
import os
import signal
import threading
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from geomstats.backend import from_numpy, to_numpy

from geomstats_vae import GeodesicConvergenceWarning, GeodesicSolver, LatentSpace
from geomstats_vae.datasets import load_digits_vae


def memory():
    """Resident memory of this process, in MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) / 1024


def workers():
    """List the processes of loky that this one started, oldest first."""
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    return [
        int(child)
        for child in children
        if b"loky.backend.popen_loky_posix" in Path(f"/proc/{child}/cmdline").read_bytes()
    ]


class Killer(threading.Thread):
    """Kills the oldest worker every so many seconds."""

    def __init__(self, seconds):
        super().__init__(daemon=True)
        self.seconds, self.n_killed, self.over = seconds, 0, threading.Event()

    def run(self):
        """Kill until it is over."""
        while not self.over.wait(self.seconds):
            for process in workers()[:1]:
                os.kill(process, signal.SIGKILL)
                self.n_killed += 1


def main():
    """Print pairs, errors, seconds and memory, in ten lines."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=100_000)
    parser.add_argument("--call", type=int, default=2_000, help="pairs of one call")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--tol", type=float, default=1e-3)
    parser.add_argument("--every", type=float, default=60.0, help="seconds between kills")
    parser.add_argument("--seconds", type=float, default=np.inf, help="end after so many")
    options = parser.parse_args()
    torch.set_num_threads(1)
    vae = load_digits_vae()
    solver = GeodesicSolver(tol=options.tol)
    metric = LatentSpace(vae.decoder_, 2, points=from_numpy(vae.codes_), solver=solver).metric
    metric.build_graph()
    generator = np.random.default_rng(0)
    n_calls = -(-options.pairs // options.call)
    n_answered = n_failed = n_errors = n_lost = 0
    killer, begin, said = Killer(options.every), time.perf_counter(), 0

    def distances(a, b, n_jobs):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            found = to_numpy(metric.dist_broadcast(from_numpy(a), from_numpy(b), n_jobs))
        messages = [w for w in caught if issubclass(w.category, GeodesicConvergenceWarning)]
        failed = sum(int(str(w.message).split()[0]) for w in messages)
        return found, failed, len(caught) - len(messages)

    def say(share):
        print(
            f"{share:4.0%}: {n_answered} pairs answered, {n_failed} not converged, {n_errors} "
            f"errors; {killer.n_killed} workers killed, {n_lost} calls went on without one; "
            f"{time.perf_counter() - begin:.0f} s, {memory():.0f} MiB",
            flush=True,
        )

    print(f"{memory():.0f} MiB before the first call", flush=True)
    killer.start()
    for call in range(n_calls):
        rows = generator.integers(len(vae.codes_), size=(2, options.call))
        try:
            found, failed, lost = distances(*vae.codes_[rows], options.jobs)
            a, b = vae.codes_[rows]
        except RuntimeError as error:
            n_errors += 1
            print(error, flush=True)
            continue
        n_answered += int(np.isfinite(found).sum())
        n_failed, n_lost = n_failed + failed, n_lost + lost
        seconds = time.perf_counter() - begin
        share = max((call + 1) / n_calls, seconds / options.seconds)
        if share * 10 >= said + 1:
            said = int(share * 10)
            say(min(share, 1.0))
        if share >= 1.0:
            break
    killer.over.set()
    if not n_answered:
        raise SystemExit("no pair was answered")
    alone = distances(a[:100], b[:100], 1)[0]
    print(
        f"largest difference from this process alone, 100 pairs: {abs(alone - found[:100]).max()}"
    )


if __name__ == "__main__":
    main()
