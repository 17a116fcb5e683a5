"""Measure distances between digits codes on threads, processes and a local dask cluster.

The decoder is the packaged one, and pairs are worked on as a user's call does it: in blocks through
joblib, with a table of the metric from 500 pairs on. This process first works on a part of the
pairs alone. Then each backend works on a few distances, twice, for the time that new workers take
to start, and on all. Every block has one torch thread.

For dask the bytes are counted that each process writes to its sockets. Scheduler and client are in
this process. dask makes its workers hand memory back to the system at once, which costs page
faults; ``--trim`` leaves that as it is.

Run: ``python benchmarks/scale_out.py [--points 1000] [--backends dask] [--jobs 2]``; dask comes by
``pip install distributed``. 1,000 points are 499,500 pairs: fewer points tell the time per pair,
and a line tells what that makes of 1,000.
"""

import argparse
import logging
import pickle
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import joblib
import numpy as np
import torch
from geomstats.backend import from_numpy, to_numpy

from geomstats_vae import GeodesicSolver, LatentSpace
from geomstats_vae.datasets import load_digits_vae
from geomstats_vae.geometry import blocks
from geomstats_vae.geometry.tasks import Columns, PairFunction, Task

ENVIRONMENT = "distributed.nanny.pre-spawn-environ"
TABLES = {"auto": "auto", "true": True, "false": False}
FULL = 1000  # points that times are extrapolated to


# -- bytes -------------------------------------------------------------------------------------


class MeasuredTask(Task):
    """A task that remembers how large its pickle is, as `Blocks` makes one for each call."""

    last_nbytes = 0

    def __init__(self, function: PairFunction) -> None:
        super().__init__(function)
        MeasuredTask.last_nbytes = self._pickled[1].nbytes


def count_written_bytes() -> None:
    """Count from now on what this process writes to dask's sockets."""
    from distributed.comm.tcp import TCP

    write = TCP.write

    async def counted(self: Any, message: Any, *arguments: Any, **options: Any) -> int:
        n_bytes = await write(self, message, *arguments, **options)
        TCP.n_written = getattr(TCP, "n_written", 0) + n_bytes
        return n_bytes

    TCP.write = counted


def written_bytes() -> int:
    """Tell what this process has written to dask's sockets."""
    from distributed.comm.tcp import TCP

    return getattr(TCP, "n_written", 0)


def size_of_result(n_pairs: int) -> int:
    """Pickled size of the answer to a block: lengths and statuses."""
    columns: Columns = np.zeros(n_pairs), np.zeros(n_pairs, dtype=np.int64)
    return len(pickle.dumps(columns))


# -- time --------------------------------------------------------------------------------------


@dataclass
class Measured:
    """Distances, with the time of the call, and of the processors of its workers."""

    dist: np.ndarray
    seconds: float
    processor: float


def n_pairs(points: Any) -> int:
    """Count the pairs of points."""
    return len(points) * (len(points) - 1) // 2


@contextmanager
def cluster_of_dask(n_workers: int, trim: bool) -> Iterator[Any]:
    """Start workers of one thread, whose client joblib is configured with."""
    import dask
    from distributed import Client, LocalCluster

    logging.getLogger("distributed").setLevel(logging.ERROR)
    environment = dict(dask.config.get(ENVIRONMENT))
    if not trim:
        environment.pop("MALLOC_TRIM_THRESHOLD_", None)
    options = {"n_workers": n_workers, "threads_per_worker": 1, "dashboard_address": None}
    begin = time.perf_counter()
    with dask.config.set({ENVIRONMENT: environment}), LocalCluster(**options) as cluster:
        print(f"cluster of dask: {time.perf_counter() - begin:.1f} s")
        with Client(cluster) as client, joblib.parallel_config("dask"):
            yield client


class Runner:
    """Asks for distances of points, and prints what they took.

    Parameters
    ----------
    metric : PullbackDecoderMetric
        The metric.
    points : array-like, shape=[n_points, dim]
        Latent codes.
    n_serial : int
        Number of points whose distances this process finds alone.
    n_few : int
        Number of points of the first two calls.
    n_jobs : int
        Number of workers.
    """

    def __init__(self, metric: Any, points: Any, n_serial: int, n_few: int, n_jobs: int) -> None:
        self.metric, self.points, self.n_jobs = metric, points, n_jobs
        self.n_serial, self.n_few = min(n_serial, len(points)), n_few
        self.serial: Measured | None = None
        self.written: Callable[[], np.ndarray] = lambda: np.zeros(2)

    def measure(self, points: Any, n_jobs: int, clock: Callable[[], float]) -> Measured:
        """Ask for the distances between all pairs of points."""
        begin, spent = time.perf_counter(), clock()
        dist = to_numpy(self.metric.dist_pairwise(points, n_jobs))
        return Measured(dist, time.perf_counter() - begin, clock() - spent)

    def run_alone(self) -> None:
        """Work in this process."""
        some = self.points[: self.n_serial]
        first = self.measure(some, 1, time.process_time).processor  # builds graph and table
        self.serial = self.measure(some, 1, time.process_time)
        each = 1e3 * self.serial.processor / n_pairs(some)
        print(
            f"this process: {n_pairs(some):,} pairs, {self.serial.seconds:.0f} s, {each:.2f} ms of "
            f"processor time a pair; graph, table and compiling {first - self.serial.processor:.0f}"
            " s before",
            flush=True,
        )

    def run(self, name: str, clock: Callable[[], float]) -> None:
        """Work through the backend that joblib is configured with.

        Parameters
        ----------
        name : str
            What to call it.
        clock : callable
            Tells the seconds of the workers' processors so far; NaN where that is not known.
        """
        few = self.points[: self.n_few]
        first, second = (self.measure(few, self.n_jobs, clock).seconds for _ in range(2))
        before = self.written()
        result = self.measure(self.points, self.n_jobs, clock)
        here, workers = (self.written() - before) / 1e6
        some, total = self.n_serial, n_pairs(self.points)
        difference = np.abs(result.dist[:some, :some] - self.serial.dist).max()
        alone = self.serial.seconds / n_pairs(self.serial.dist) * total
        print(
            f"{name}: {n_pairs(few):,} pairs {first:.1f} s, then {second:.1f} s; {total:,} pairs "
            f"{result.seconds:.0f} s, {alone / result.seconds:.2f} times as fast as this process, "
            f"processors {1e3 * result.processor / total:.2f} ms a pair, largest difference "
            f"{difference / self.serial.dist.max():.1e}",
            flush=True,
        )
        hours = result.seconds / total * (FULL * (FULL - 1) // 2) / 3600
        print(f"  {FULL:,} points would take {hours:.2f} hours at this rate", flush=True)
        if here:
            self.print_bytes(here, workers)

    def run_dask(self, client: Any) -> None:
        """Work on a cluster of dask, and count bytes."""
        count_written_bytes()
        client.run(count_written_bytes)
        self.written = lambda: np.array([written_bytes(), sum(client.run(written_bytes).values())])
        self.run("dask", lambda: sum(client.run(time.process_time).values()))

    def print_bytes(self, here: float, workers: float) -> None:
        """Print megabytes written by this process and by the workers, and what they are made of."""
        total, each = n_pairs(self.points), blocks.Blocks()
        size = min(each.size, -(-total // (each.blocks_per_job * self.n_jobs)))
        codes = 2 * self.points[:1].nbytes * size
        print(
            f"  task {MeasuredTask.last_nbytes / 1e6:.2f} MB; {-(-total // size)} blocks of "
            f"{size} pairs, {codes / 1e3:.1f} kB of codes there and "
            f"{size_of_result(size) / 1e3:.1f} kB back each; written by this process {here:.1f} "
            f"MB, by the workers {workers:.1f} MB"
        )


def main() -> None:
    """Print seconds, how they compare with those of this process, and the largest difference."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, default=300)
    parser.add_argument("--serial-points", type=int, default=80, help="for this process alone")
    parser.add_argument("--few", type=int, default=34, help="points of the first two calls")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--tol", type=float, default=1e-6)
    parser.add_argument("--table", choices=TABLES, default="auto")
    names = ["threading", "loky", "dask"]
    parser.add_argument("--backends", nargs="+", choices=names, default=names)
    parser.add_argument("--trim", action="store_true", help="leave dask's settings of malloc")
    options = parser.parse_args()
    torch.set_num_threads(1)
    blocks.Task = MeasuredTask
    vae = load_digits_vae()
    codes, solver = vae.codes_, GeodesicSolver(tol=options.tol)
    parts = {"points": codes, "solver": solver, "table": TABLES[options.table]}
    metric = LatentSpace(vae.decoder_, 2, **parts).metric
    chosen = np.random.default_rng(1).permutation(len(codes))[: options.points]
    points = from_numpy(codes[chosen])
    runner = Runner(metric, points, options.serial_points, options.few, options.jobs)
    runner.run_alone()
    for backend in options.backends:
        if backend == "dask":
            with cluster_of_dask(options.jobs, options.trim) as client:
                runner.run_dask(client)
        else:
            with joblib.parallel_config(backend):
                runner.run(backend, lambda: float("nan"))


if __name__ == "__main__":
    main()
