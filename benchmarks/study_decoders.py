"""Measure how many of the study's own wall-ridden pairs are certified, and their lengths.

Run: ``python benchmarks/study_decoders.py CHECKPOINT.npz [--grid-size 512] [--alone] [--pairs N]``.
The checkpoint holds the arrays of a decoder (W0, b0, ..., rbf_centers, rbf_lambdas, rbf_weights,
zeta), pairs z0, z1, codes, and the best lengths known before.
"""

import argparse
import time

import numpy as np
import torch
from torch import nn

from geomstats_vae.geodesics import GeodesicSolver, GeodesicStatus, LatentGraph
from geomstats_vae.immersions import Decoder, GaussianDecoder, RBFPrecision


def load_checkpoint(path, *, widen=1.0, zeta=None):
    """Build the decoder of a checkpoint; `widen` multiplies the squared widths of the kernels."""
    with np.load(path, allow_pickle=False) as archive:
        arrays = {name: np.asarray(archive[name], dtype=float) for name in archive.files}
    layers = []
    for k, activation in enumerate((nn.Tanh(), nn.Tanh(), nn.Sigmoid())):
        weight, bias = torch.tensor(arrays[f"W{k}"]), torch.tensor(arrays[f"b{k}"])
        layer = nn.Linear(weight.shape[1], weight.shape[0], dtype=torch.float64)
        layer.load_state_dict({"weight": weight, "bias": bias})
        layers += [layer, activation]
    std = RBFPrecision(
        torch.tensor(arrays["rbf_centers"]),
        torch.tensor(arrays["rbf_lambdas"].reshape(-1) / widen),
        torch.tensor(arrays["rbf_weights"]),
        float(arrays["zeta"]) if zeta is None else zeta,
    )
    decoder = GaussianDecoder(nn.Sequential(*layers), std).eval()
    return Decoder(decoder, arrays["z0"].shape[1]), arrays


def independent_length(immersion, path, n_chords):
    """Length of the returned curves by chords of F, on the nodes' polynomials."""
    nodes = path.points.shape[1]
    fine = np.interp(
        np.linspace(0, nodes - 1, n_chords * (nodes - 1) + 1), np.arange(nodes), np.arange(nodes)
    )
    whole = np.floor(fine).astype(int).clip(0, nodes - 2)
    lengths = []
    for k in range(len(path.points)):
        times = path.times[k]
        t = times[whole] + (fine - whole) * (times[whole + 1] - times[whole])
        points = path.map(lambda a, k=k: a[k : k + 1])(np.unique(t))[0]
        value = torch.cat([immersion(z) for z in torch.tensor(points).split(128)])
        lengths.append(float((value[1:] - value[:-1]).norm(dim=1).sum()))
    return np.array(lengths)


def main():
    """Print one line per pair and a summary."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint")
    parser.add_argument("--grid-size", type=int, default=None)
    parser.add_argument("--pairs", type=int, default=None)
    parser.add_argument("--alone", action="store_true", help="one pair per call")
    parser.add_argument("--tol", type=float, default=1e-4)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    decoder, arrays = load_checkpoint(options.checkpoint)
    immersion = decoder.immersion()
    start, end = arrays["z0"][: options.pairs], arrays["z1"][: options.pairs]
    best = arrays["best_known_length"][: options.pairs]
    clock = time.perf_counter()
    cover = np.concatenate((arrays["codes"], arrays["z0"], arrays["z1"]))
    graph = LatentGraph(immersion, cover, grid_size=options.grid_size)
    print(f"graph: {time.perf_counter() - clock:.1f} s, once per decoder")
    solver = GeodesicSolver(tol=options.tol)
    clock, seconds = time.perf_counter(), []
    if options.alone:
        paths = []
        for a, b in zip(start, end, strict=True):
            begin = time.perf_counter()
            paths.append(solver.solve(immersion, a[None], b[None], graph))
            seconds.append(time.perf_counter() - begin)
    else:
        paths = [solver.solve(immersion, start, end, graph)]
    total = time.perf_counter() - clock
    length = np.concatenate([path.length for path in paths])
    status = np.concatenate([path.status for path in paths])
    residual = np.concatenate([path.residual for path in paths])
    n_iter = np.concatenate([path.n_iter for path in paths])
    fine = np.concatenate([independent_length(immersion, path, 20) for path in paths])
    converged = status == GeodesicStatus.CONVERGED
    for k in range(len(start)):
        print(
            f"{k:3d} length {length[k]:9.4f} fine {fine[k]:9.4f} best known {best[k]:8.3f} "
            f"ratio {fine[k] / best[k]:.4f} residual {residual[k]:.1e} steps {n_iter[k]:4d} "
            f"{GeodesicStatus(int(status[k])).name}"
        )
    ratio = (fine / best)[np.isfinite(best)]
    lie = converged & (np.abs(fine - length) > 5e-3 * length)
    print(f"converged {converged.mean():.1%}, called converged but off by > 0.5 %: {lie.sum()}")
    print(
        f"longer than 1.005 x best known: {(ratio > 1.005).sum()} of {len(ratio)}; within 1 %: "
        f"{(ratio <= 1.01).mean():.1%}; median ratio {np.median(ratio):.4f}, best {ratio.min():.4f}"
    )
    print(f"{total / len(start):.2f} s per pair", end="")
    print(f", median alone {np.median(seconds):.2f} s" if seconds else " in the batch")


if __name__ == "__main__":
    main()
