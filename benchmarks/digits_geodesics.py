"""Measure the time and the certificate of geodesics on the digits, all in one batch.

Run: ``python benchmarks/digits_geodesics.py [--pairs 64] [--alone 60] [--tol 1e-4] [--threads 1]``.
"""

import argparse
import time

import numpy as np
import torch

from geomstats_vae import VAE, GeodesicSolver
from geomstats_vae.datasets import load_digits
from geomstats_vae.geodesics import LatentGraph
from geomstats_vae.immersions import Decoder


def main():
    """Print the cost of the graph, and per pair time, steps and status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=64)
    parser.add_argument("--alone", type=int, default=0, help="pairs that are solved alone, too")
    parser.add_argument("--tol", type=float, default=1e-4)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    X = load_digits().data
    vae = VAE(latent_dim=2, random_state=0).fit(X)
    codes = vae.transform(X)
    immersion = Decoder(vae.decoder_, 2).immersion()
    begin = time.perf_counter()
    graph = LatentGraph(immersion, codes)
    print(f"graph {time.perf_counter() - begin:.2f} s, once per decoder")
    generator = np.random.default_rng(1)
    start, end = codes[generator.integers(len(codes), size=(2, options.pairs))]
    distinct = (start != end).any(axis=1)
    start, end = start[distinct], end[distinct]
    solver = GeodesicSolver(tol=options.tol)
    solver.solve(immersion, start[:2], end[:2], graph)  # what is made once per decoder
    begin = time.perf_counter()
    path = solver.solve(immersion, start, end, graph)
    seconds = time.perf_counter() - begin
    reference = GeodesicSolver(tol=1e-8).solve(immersion, start, end, graph)
    same = np.abs(path.length / reference.length - 1.0)
    print(f"{1e3 * seconds / len(start):.1f} ms per pair, {path.converged.mean():.1%} converged")
    alone = []
    for k in range(options.alone):
        begin = time.perf_counter()
        solver.solve(immersion, start[k : k + 1], end[k : k + 1], graph)
        alone.append(time.perf_counter() - begin)
    if alone:
        print(f"alone: median {1e3 * np.median(alone):.1f} ms, mean {1e3 * np.mean(alone):.1f}")
    print(f"length against tol = 1e-8: median {np.median(same):.1e}, largest {same.max():.1e}")


if __name__ == "__main__":
    main()
