"""Measure distances between digits codes on threads, processes and a local dask cluster.

A few distances first, twice, for the time that new workers take to start; then all of them, the
same matrix on each. Every block has one torch thread. dask makes its workers hand memory back to
the system at once, which costs page faults; ``--trim`` leaves that as it is.

Run: ``python benchmarks/scale_out.py [--points 200] [--few 20] [--jobs 2] [--tol 1e-4]
[--method exact] [--trim]``.
"""

import argparse
import time

import dask
import joblib
import numpy as np
import torch
from dask.distributed import Client, LocalCluster
from geomstats.backend import from_numpy, to_numpy

from geomstats_vae import VAE, GeodesicSolver, LatentSpace
from geomstats_vae.datasets import load_digits

ENVIRONMENT = "distributed.nanny.pre-spawn-environ"


def main():
    """Print seconds, how they compare with those of this process, and the largest difference."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, default=200)
    parser.add_argument("--few", type=int, default=20, help="points of the first two calls")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--tol", type=float, default=1e-4)
    parser.add_argument("--method", choices=["exact", "graph"], default="exact")
    parser.add_argument("--trim", action="store_true", help="leave dask's settings of malloc")
    options = parser.parse_args()
    torch.set_num_threads(1)
    vae = VAE(latent_dim=2, random_state=0).fit(load_digits().data)
    codes = vae.transform(load_digits().data)
    solver = GeodesicSolver(tol=options.tol)
    metric = LatentSpace(vae.decoder_, 2, points=from_numpy(codes), solver=solver).metric
    chosen = np.random.default_rng(1).permutation(len(codes))[: options.points]
    points = from_numpy(codes[chosen])

    def measure(points, n_jobs):
        begin = time.perf_counter()
        dist = metric.dist_pairwise(points, n_jobs, method=options.method)
        return time.perf_counter() - begin, to_numpy(dist)

    def compare(name, n_jobs=options.jobs):
        first, second = (measure(points[: options.few], n_jobs)[0] for _ in range(2))
        seconds, dist = measure(points, n_jobs)
        calls = f"{options.few} points {first:.1f} s, then {second:.1f} s"
        print(f"{name}: {calls}; {len(points)} points {seconds:.1f} s", end="", flush=True)
        return seconds, dist

    measure(points[:5], 1)  # what is made once per decoder
    serial, matrix = compare("serial", 1)
    n_pairs = len(points) * (len(points) - 1) // 2
    print(f", {1e3 * serial / n_pairs:.1f} ms per pair", flush=True)

    def against_serial(name):
        seconds, dist = compare(name)
        difference = np.abs(dist - matrix).max() / matrix.max()
        print(f", {serial / seconds:.2f} times as fast, difference {difference:.1e}", flush=True)

    for backend in ("threading", "loky"):
        with joblib.parallel_config(backend):
            against_serial(backend)
    environment = dict(dask.config.get(ENVIRONMENT))
    if not options.trim:
        del environment["MALLOC_TRIM_THRESHOLD_"]
    begin = time.perf_counter()
    workers = {"n_workers": options.jobs, "threads_per_worker": 1, "dashboard_address": None}
    with dask.config.set({ENVIRONMENT: environment}), LocalCluster(**workers) as cluster:
        print(f"cluster of dask: {time.perf_counter() - begin:.1f} s")
        with Client(cluster), joblib.parallel_config("dask"):
            against_serial("dask")


if __name__ == "__main__":
    main()
