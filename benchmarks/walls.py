"""What do walls of uncertainty cost? Geodesics by a table and by the exact engine, in one run.

Run: ``python benchmarks/walls.py [--pairs 60] [--exact 20] [--fashion FOLDER]
[--checkpoint FILE ...]``. A VAE at its defaults is trained on images of one rotating digit. FOLDER
holds the files of Fashion-MNIST: a VAE with the paper's network and walls (tanh, 64 and 32 units,
zeta = 1e-6) is trained on 1,500 images of three kinds, in two and three dimensions. Checkpoints are
those of `study_decoders.py`. Times are processor time for a pair in a batch; graph and table are
apart.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from keeping_to_data import clothes
from study_decoders import load_checkpoint

from geomstats_vae import VAE, LatentSpace
from geomstats_vae.datasets import make_rotated_digit


def rotating_digit(n_pairs):
    """Fit a VAE at its defaults to a whole turn of one digit; decoder, codes, pairs of codes."""
    data = make_rotated_digit(1200, max_angle=360.0, random_state=0).data
    vae = VAE(random_state=0).fit(data)
    codes = np.asarray(vae.codes_)
    start, end = codes[np.random.default_rng(5).integers(len(codes), size=(2, n_pairs))]
    return vae.decoder_, codes, start, end


def fashion(folder, dim, n_pairs):
    """Fit a VAE with the paper's network and walls to Fashion-MNIST; as `rotating_digit`."""
    paper = {"hidden_dims": (64, 32), "activation": "tanh", "a": 1.25, "zeta": 1e-6}
    vae = VAE(dim, n_centers=64, random_state=0, **paper).fit(clothes(folder, seed=0))
    codes = np.asarray(vae.codes_)
    start, end = codes[np.random.default_rng(5).integers(len(codes), size=(2, n_pairs))]
    return vae.decoder_, codes, start, end


def study_decoder(path, n_pairs):
    """Load decoder, codes and pairs of a checkpoint."""
    decoder, arrays = load_checkpoint(path)
    start, end = arrays["z0"][:n_pairs], arrays["z1"][:n_pairs]
    return (
        decoder.immersion(),
        np.concatenate((arrays["codes"], arrays["z0"], arrays["z1"])),
        start,
        end,
    )


def clocked(function, *args):
    """Return what a function returns, and its seconds of processor time."""
    begun = time.process_time()
    return function(*args), time.process_time() - begun


def row(name, decoder, codes, start, end, args):
    """Print one row."""
    space = LatentSpace(decoder, codes.shape[1], points=codes, table=True)
    geometry = space.metric.geometry.with_tol(args.tol)
    geometry.build_graph()
    tabulated = geometry.for_many()
    table, building = clocked(lambda: tabulated.metric_table)
    tabulated.paths(start[:1], end[:1])  # compiles
    path, by_table = clocked(tabulated.paths, start, end)
    cells = f"| {name} | {building:.0f} s, {table.n_points:,} points | "
    cells += f"{by_table / len(start):.3f} s, {path.converged.mean():.0%} | "
    n = min(args.exact, len(start))
    if n:
        plain = LatentSpace(decoder, codes.shape[1], points=codes, table=False).metric.geometry
        plain = plain.with_tol(args.tol)
        plain.build_graph()
        exact, seconds = clocked(plain.paths, start[:n], end[:n])
        ratio = path.length[:n] / exact.length - 1.0
        cells += f"{seconds / n:.3f} s, {exact.converged.mean():.0%} | "
        cells += f"{ratio.max():+.1e}, {np.median(ratio):+.1e}, {ratio.min():+.1e} |"
    print(cells, flush=True)


def main():
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=60)
    parser.add_argument("--exact", type=int, default=20, help="pairs of the exact engine")
    parser.add_argument("--tol", type=float, default=1e-4)
    parser.add_argument("--fashion", type=Path, help="folder of Fashion-MNIST")
    parser.add_argument("--checkpoint", nargs="*", default=[])
    args = parser.parse_args()
    torch.set_num_threads(1)
    print("| decoder | table | a pair by the table | exact | table over exact, less 1 |")
    print("|---|---|---|---|---|")
    row("rotating digit, default VAE", *rotating_digit(args.pairs), args)
    for dim in (2, 3) if args.fashion else ():
        name = f"Fashion 0, 1, 7, the paper's network and walls, d = {dim}"
        row(name, *fashion(args.fashion, dim, args.pairs), args)
    for path in args.checkpoint:
        row(path.rsplit("/", 1)[-1], *study_decoder(path, args.pairs), args)


if __name__ == "__main__":
    main()
