"""Measure how the time and memory of a geodesic grow with the dimension of the latent space.

Run: ``OMP_NUM_THREADS=1 python benchmarks/scaling.py [--dims 1 2 3 8 32 128] [--pairs 32]``.

The decoders are made up: chains dim-hidden-hidden-784 with tanh and random weights, and with
``--conv`` one of transposed convolutions from 32 dimensions to 3 x 64 x 64 outputs. Chains with
more dimensions than hidden units have a singular metric; ``--hidden 256`` makes it regular again.
Codes and ends of the geodesics are standard normal. Each decoder has a process of its own, so that
its peak of memory is its own: that of the process less what it held before the graph was made.
"Curved" are the pairs whose geodesic is shorter than the straight line by a thousandth; "residual"
is the largest.
"""

import argparse
import math
import multiprocessing
import resource
import sys
import time

import numpy as np
import torch
from torch import nn

from geomstats_vae import GeodesicSolver
from geomstats_vae.geodesics import LatentGraph
from geomstats_vae.immersions import Decoder

_CONV_DIM = 32
_N_CODES = 500
_COLUMNS = (
    *("decoder", "graph s", "ms per pair", "certified", "curved", "residual"),
    *("elements", "steps", "MiB"),
)


def dense_decoder(dim, hidden=64, gain=1.5, sigmoid=False):
    """Build a chain with tanh, random weights, and a linear or logistic output."""
    layers = [nn.Linear(dim, hidden), nn.Tanh(), nn.Linear(hidden, hidden), nn.Tanh()]
    return _randomize(
        nn.Sequential(*layers, nn.Linear(hidden, 784), *([nn.Sigmoid()] if sigmoid else [])), gain
    )


def conv_decoder(gain=1.5):
    """Build transposed convolutions from 32 dimensions to 3 x 64 x 64 outputs in [0, 1]."""
    layers = [nn.Unflatten(1, (_CONV_DIM, 1, 1)), nn.ConvTranspose2d(_CONV_DIM, 32, 4)]
    for inner, outer in ((32, 16), (16, 8), (8, 8), (8, 3)):
        layers += [nn.Tanh(), nn.ConvTranspose2d(inner, outer, 4, stride=2, padding=1)]
    return _randomize(nn.Sequential(*layers, nn.Sigmoid(), nn.Flatten()), gain)


def _randomize(module, gain):
    """Draw weights that give each unit a standard deviation of `gain`, and biases of 0.3."""
    generator = torch.Generator().manual_seed(0)
    for layer in module:
        if isinstance(layer, nn.Linear):
            fan_in = layer.in_features
        elif isinstance(layer, nn.ConvTranspose2d):
            # Kernels of 4 overlap twice along each side where the stride is 2.
            overlap = 1 if layer.stride == (1, 1) else 4
            fan_in = layer.in_channels * overlap
        else:
            continue
        nn.init.normal_(layer.weight, std=gain / math.sqrt(fan_in), generator=generator)
        nn.init.normal_(layer.bias, std=0.3, generator=generator)
    return module.double().eval()


def _peak():
    """Find the most memory that this process ever held, in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


def measure(case):
    """Solve the pairs of one decoder; returns a row of the table."""
    dim, options = case
    torch.set_num_threads(options.threads)
    conv = dim is None
    dim = _CONV_DIM if conv else dim
    module = conv_decoder() if conv else dense_decoder(dim, options.hidden, sigmoid=options.sigmoid)
    immersion = Decoder(module, dim).immersion()
    generator = np.random.default_rng(0)
    codes = generator.standard_normal((_N_CODES, dim))
    start, end = generator.standard_normal((2, options.pairs, dim))
    before = _peak()
    begin = time.perf_counter()
    graph = LatentGraph(immersion, codes)
    building = time.perf_counter() - begin
    begin = time.perf_counter()
    path = GeodesicSolver(tol=options.tol).solve(immersion, start, end, graph)
    seconds = time.perf_counter() - begin
    memory = _peak() - before
    lines = graph.chord_lengths(start, end, 512)
    elements = (np.diff(path.times, axis=1) > 0.0).sum(axis=1) / path.degree
    return (
        f"conv {dim}" if conv else f"dense {dim}",
        f"{building:.2f}",
        f"{1e3 * seconds / options.pairs:.1f}",
        f"{path.converged.mean():.0%}",
        f"{(path.length < 0.999 * lines).mean():.0%}",
        f"{path.residual.max():.0e}",
        f"{elements.mean():.1f}",
        f"{path.n_iter.mean():.1f}",
        f"{memory:.0f}",
    )


def main():
    """Print one row per decoder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dims", type=int, nargs="*", default=[1, 2, 3, 8, 32, 128])
    parser.add_argument("--pairs", type=int, default=32)
    parser.add_argument("--conv", action="store_true")
    parser.add_argument("--sigmoid", action="store_true")
    parser.add_argument("--hidden", type=int, default=64)
    parser.add_argument("--tol", type=float, default=GeodesicSolver().tol)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    cases = [(dim, options) for dim in (*options.dims, *([None] if options.conv else []))]
    print("".join(name.rjust(13) for name in _COLUMNS), flush=True)
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        for row in pool.imap(measure, cases):
            print("".join(entry.rjust(13) for entry in row), flush=True)


if __name__ == "__main__":
    main()
