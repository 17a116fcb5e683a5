"""Measure how often random other starts lead to a shorter curve than the solver's own.

Run: ``python benchmarks/global_starts.py [--pairs 500] [--starts 10] [--study CHECKPOINT.npz]``,
on the digits, or on a decoder of the study with its kernels widened (``--widen 36 --zeta 1e-3``)
or as it is (``--widen 1``). A random start is the graph path through a random code.
"""

import argparse
import time

import numpy as np
import torch
from study_decoders import load_checkpoint

from geomstats_vae import VAE, GeodesicSolver
from geomstats_vae.datasets import load_digits
from geomstats_vae.geodesics import LatentGraph
from geomstats_vae.immersions import Decoder


class Detours:
    """A graph whose paths go through given codes."""

    def __init__(self, graph, via):
        self.graph, self.via, self.on_grid = graph, via, graph.on_grid
        self.line_lengths, self.place = graph.line_lengths, graph.place

    def paths(self, start, end, limit=None):
        """Find the paths there and on, and call them short enough to be tried."""
        del limit
        via = self.via[: len(start)]
        there, _ = self.graph.paths(start, via)
        on, _ = self.graph.paths(via, end)
        paths = [np.concatenate((a, b[1:])) for a, b in zip(there, on, strict=True)]
        return paths, self.line_lengths(start, end) / 1.5

    def alternative_paths(self, paths, limit=None):
        """Find none."""
        del limit
        return paths, np.full(len(paths), np.inf)


def main():
    """Print how many answers are longer than the best of the random starts, and by how much."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=500)
    parser.add_argument("--starts", type=int, default=10)
    parser.add_argument("--study")
    parser.add_argument("--widen", type=float, default=36.0)
    parser.add_argument("--zeta", type=float, default=None)
    parser.add_argument("--tol", type=float, default=1e-4)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.study:
        decoder, arrays = load_checkpoint(options.study, widen=options.widen, zeta=options.zeta)
        codes = arrays["codes"]
    else:
        X = load_digits().data
        vae = VAE(latent_dim=2, random_state=0).fit(X)
        decoder, codes = Decoder(vae.decoder_, 2), vae.transform(X)
    immersion = decoder.immersion()
    graph = LatentGraph(immersion, codes)
    generator = np.random.default_rng(0)
    start, end = codes[generator.integers(len(codes), size=(2, options.pairs))]
    distinct = (start != end).any(axis=1)
    start, end = start[distinct], end[distinct]
    solver = GeodesicSolver(tol=options.tol)
    begin = time.process_time()
    own = solver.solve(immersion, start, end, graph)
    seconds = time.process_time() - begin
    print(f"{1e3 * seconds / len(start):.1f} ms per pair; {own.converged.mean():.1%} converged")
    best = own.length.copy()
    for _ in range(options.starts):
        via = codes[generator.integers(len(codes), size=len(start))]
        best = np.minimum(best, solver.solve(immersion, start, end, Detours(graph, via)).length)
        excess = own.length / best - 1.0
        print(
            f"longer by > 1 %: {(excess > 1e-2).mean():.2%}, by > 0.1 %: "
            f"{(excess > 1e-3).mean():.2%}, most {excess.max():.2%}",
            flush=True,
        )


if __name__ == "__main__":
    main()
