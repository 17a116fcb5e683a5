"""Time the graph over codes and its share in the first answers, in many dimensions.

Run: ``python benchmarks/code_graph.py [--dim 16] [--pairs 32] [--solve 4]``. Decoders are trained
briefly on scikit-learn's digits at 28 x 28 pixels: a chain of linear layers with SiLU, and
transposed convolutions with batch normalisation and ReLU. The graph is timed with all of its edges
measured at once, as before edges were measured lazily, and lazily in double and in single
precision; then a first answer is timed, graph and all (``--solve 0`` leaves it out).
Seconds are those of one thread's processor.
"""

import argparse
import time

import torch
from sklearn.datasets import load_digits
from torch import nn

from geomstats_vae import GeodesicSolver
from geomstats_vae.geodesics import LatentGraph
from geomstats_vae.geometry import DecoderGeometry, GraphOnDemand
from geomstats_vae.immersions import Decoder

SIDE = 28


def chain(dim):
    """Make a chain of linear layers."""
    layers = [nn.Linear(dim, 128), nn.SiLU(), nn.Linear(128, 256), nn.SiLU()]
    return nn.Sequential(*layers, nn.Linear(256, SIDE**2), nn.Sigmoid())


def convolutions(dim):
    """Make a decoder of transposed convolutions."""
    layers = [nn.Linear(dim, 64 * 49), nn.Unflatten(1, (64, 7, 7)), nn.BatchNorm2d(64), nn.ReLU()]
    for n_in, n_out in ((64, 32), (32, 16)):
        up = nn.ConvTranspose2d(n_in, n_out, 4, stride=2, padding=1)
        layers += [up, nn.BatchNorm2d(n_out), nn.ReLU()]
    return nn.Sequential(*layers, nn.Conv2d(16, 1, 3, padding=1), nn.Sigmoid(), nn.Flatten(1))


def train(decoder, dim, epochs, batch_size=64):
    """Train a VAE, and return its codes of the images."""
    images = torch.tensor(load_digits().images[:, None] / 16.0, dtype=torch.float32)
    images = nn.functional.interpolate(images, size=SIDE, mode="bilinear").flatten(1)
    encoder = nn.Sequential(nn.Linear(SIDE**2, 256), nn.SiLU(), nn.Linear(256, 2 * dim))
    optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], 1e-3)
    for _ in range(epochs):
        for rows in torch.randperm(len(images)).split(batch_size):
            mean, log_var = encoder(images[rows]).chunk(2, dim=1)
            decoded = decoder(mean + torch.randn_like(mean) * torch.exp(0.5 * log_var))
            loss = nn.functional.binary_cross_entropy(decoded, images[rows], reduction="sum")
            loss = loss - 0.5 * (1.0 + log_var - mean**2 - log_var.exp()).sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    decoder.eval()
    with torch.no_grad():
        return encoder(images)[:, :dim].double().numpy()


def timed(function, *args, **kwargs):
    """Call a function; return what it returns, and seconds."""
    begin = time.process_time()
    with torch.no_grad():
        result = function(*args, **kwargs)
    return result, time.process_time() - begin


def row(name, decoder, codes, ends, single, *, all_edges=False):
    """Print the seconds that a graph takes, part by part."""
    immersion = decoder.immersion()
    graph, build = timed(LatentGraph, immersion, codes, single=single)
    edges = timed(graph.measure_edges)[1] if all_edges else 0.0
    line, lines = timed(graph.line_lengths, *ends)
    (_, length), paths = timed(graph.paths, *ends, GeodesicSolver().start.graph_limit * line)
    measured, total = graph.n_measured
    distances = timed(graph.distances, *ends)[1]
    print(
        f"{name}: graph {build + edges:.2f}, lines {lines:.2f}, paths {paths:.2f}, distances "
        f"{distances:.2f} s; {measured} of {total} edges measured for paths; "
        f"{(length < line).mean():.0%} of the paths shorter than the line",
        flush=True,
    )


def main():
    """Print one table for each decoder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dim", type=int, default=16)
    parser.add_argument("--codes", type=int, default=300)
    parser.add_argument("--pairs", type=int, default=32)
    parser.add_argument("--solve", type=int, default=4)
    options = parser.parse_args()
    torch.set_num_threads(1)
    for name, make, epochs in (("chain", chain, 30), ("convolutions", convolutions, 8)):
        torch.manual_seed(0)
        module = make(options.dim)
        codes = train(module, options.dim, epochs)[: options.codes]
        ends = codes[: options.pairs], codes[options.pairs : 2 * options.pairs]
        decoder = Decoder(module, options.dim)
        single = decoder.in_single_precision()
        timed(decoder.immersion(), torch.zeros(2, options.dim, dtype=torch.float64))
        timed(single, torch.zeros(2, options.dim))
        row(f"{name}, all edges", decoder, codes, ends, None, all_edges=True)
        row(f"{name}, lazy", decoder, codes, ends, None)
        row(f"{name}, lazy, single", decoder, codes, ends, single)
        if not options.solve:
            continue
        geometry = DecoderGeometry(decoder, GraphOnDemand(codes), GeodesicSolver(tol=1e-4))
        some = [side[: options.solve] for side in ends]
        build = timed(geometry.build_graph)[1]
        line, starts = timed(geometry.build_graph().line_lengths, *some)
        starts += timed(geometry.build_graph().paths, *some, line)[1]
        path, seconds = timed(geometry.paths, *some)
        print(
            f"{name}, first answer of {options.solve} pairs: graph {build:.2f}, lines and paths "
            f"{starts:.2f}, all {build + seconds:.2f} s; {path.converged.mean():.0%} converged",
            flush=True,
        )


if __name__ == "__main__":
    main()
