"""Do geodesics keep to the data where straight lines leave them? VAEs at their defaults.

Run: ``OMP_NUM_THREADS=1 python benchmarks/keeping_to_data.py [--data FASHION] [--rows moons ...]``

FASHION is a folder with the files of Fashion-MNIST, images and labels, as gzipped IDX; without it
that row is left out. No default of `VAE` was chosen on these samples and seeds. 100 random pairs of
codes are looked at for each VAE. A place is outside the data if the norm of sigma is above its 95th
percentile at the codes, and a line leaves the data if more than a tenth of it is outside. Of the
pairs whose line leaves, the first 24 are joined by geodesics, and compared with their lines:

- inside: share of the curve's latent length at places that are not outside, in the mean over pairs;
- low: the same for places at which sigma is at most twice that percentile;
- distance: mean distance along the curve to the nearest code, both in latent space, that of the
  geodesic over that of the line, in the median over pairs.
"""

import argparse
import gzip
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import sklearn.datasets
import torch
from scipy.spatial import cKDTree

from geomstats_vae import VAE
from geomstats_vae.datasets import load_pbmc68k, make_moons, make_rotated_digit, make_s_curve
from geomstats_vae.geodesics import GeodesicConvergenceWarning
from geomstats_vae.manifolds import LatentSpace

SEEDS = (101, 102)
N_PAIRS, N_SOLVED, N_STEPS, CHUNK = 100, 24, 400, 4096
TOL = 1e-3
# Percentile of sigma at the codes, and share of a line outside, from which on it leaves the data.
PERCENTILE, LEAVES = 95.0, 0.1
# Sigma is still low up to this many times the percentile: walls are a hundred times as high.
LOW = 2.0
# Aims: share of the geodesics inside, and their distance over that of lines.
INSIDE, CLOSER = 0.9, 0.5
CLOTHES, N_CLOTHES = (0, 1, 7), 1500


def main() -> None:
    """Print a row for each data set and seed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder of Fashion-MNIST")
    parser.add_argument("--rows", nargs="*", help="data sets, by default all")
    parser.add_argument("--seeds", nargs="*", type=int, default=SEEDS)
    parser.add_argument("--max-seconds", type=float, default=100.0, help="for geodesics")
    arguments = parser.parse_args()
    print("| data, seed | lines that leave | inside: geodesic, line | low: geodesic, line ", end="")
    print("| distance | a, zeta, torn | certified | s: training, geodesics |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    for name, load in data_sets(arguments.data):
        if arguments.rows and name not in arguments.rows:
            continue
        for seed in arguments.seeds:
            try:
                X = load(seed)
            except ImportError as error:
                print(f"{name} is left out: {error}")
                break
            print(row(name, seed, X, arguments.max_seconds), flush=True)


def data_sets(fashion: Path | None) -> Iterator[tuple[str, Callable[[int], np.ndarray]]]:
    """Yield names, and functions that make data from a seed."""
    for digit in (5, 9):
        make = partial(make_rotated_digit, digit=digit)
        yield f"rotated {digit}", lambda seed, make=make: make(random_state=seed).data
    yield "moons", lambda seed: make_moons(1000, noise=0.05, random_state=seed).data
    yield "S curve", lambda seed: make_s_curve(1000, random_state=seed).data
    if fashion is None:
        print("Fashion-MNIST is left out: pass its folder by --data.")
    else:
        yield "Fashion 0, 1, 7", partial(clothes, fashion)
    yield "cells", lambda seed: load_pbmc68k().data
    yield "digits", lambda seed: sklearn.datasets.load_digits().data


def clothes(folder: Path, seed: int) -> np.ndarray:
    """Draw images of three kinds from the test set."""
    with gzip.open(folder / "t10k-images-idx3-ubyte.gz") as file:
        images = np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 784) / 255.0
    with gzip.open(folder / "t10k-labels-idx1-ubyte.gz") as file:
        labels = np.frombuffer(file.read(), np.uint8, offset=8)
    rows = np.flatnonzero(np.isin(labels, CLOTHES))
    return images[np.random.default_rng(seed).choice(rows, N_CLOTHES, replace=False)]


def row(name: str, seed: int, X: np.ndarray, max_seconds: float) -> str:
    """Train a VAE, join pairs of codes and measure the curves; a row of the table."""
    begin = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        vae = VAE(random_state=seed).fit(X)
    trained = time.perf_counter()
    codes, space = vae.transform(X), vae.latent_space_
    first, second = random_pairs(len(codes), seed)
    steps = np.linspace(0.0, 1.0, N_STEPS + 1)
    lines = codes[first, None] + steps[:, None] * (codes[second] - codes[first])[:, None]
    measure = Measure.at_codes(space, codes)
    leaves = np.flatnonzero(measure.of(lines).inside < 1.0 - LEAVES)
    words = [
        f"{name}, {seed}",
        f"{len(leaves)} %",
        *compared(space, measure, lines[leaves[:N_SOLVED]], max_seconds),
    ]
    words.insert(5, f"{vae.a_:g}, {vae.zeta_:.2g}, {vae.torn_share_:.2%}")
    solved = time.perf_counter()
    return f"| {' | '.join(words)} | {trained - begin:.0f}, {solved - trained:.0f} |"


def compared(
    space: LatentSpace, measure: "Measure", lines: np.ndarray, max_seconds: float
) -> list[str]:
    """Join the ends of lines by geodesics, and compare these with the lines; cells of the table."""
    if not len(lines):
        return ["-"] * 4
    space.metric.solver = replace(space.metric.solver.with_tol(TOL), max_seconds=max_seconds)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", GeodesicConvergenceWarning)
        path = space.metric.solve_geodesic(lines[:, 0], lines[:, -1])
    known = np.isfinite(path.length)
    curves = path(np.linspace(0.0, 1.0, N_STEPS + 1))
    geodesic, line = measure.of(curves[known]), measure.of(lines[known])
    closer, inside = np.median(geodesic.distance / line.distance), geodesic.inside.mean()
    return [
        f"{inside:.2f}{missed(inside < INSIDE)}, {line.inside.mean():.2f}",
        f"{geodesic.low.mean():.2f}, {line.low.mean():.2f}",
        f"{closer:.2f}{missed(closer > CLOSER)}",
        f"{path.converged.sum()} of {len(lines)}",
    ]


def missed(is_missed: bool) -> str:
    """Mark what misses its aim."""
    return " (missed)" if is_missed else ""


def random_pairs(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw pairs of different rows."""
    rng = np.random.default_rng(seed)
    first = rng.integers(n, size=N_PAIRS)
    return first, (first + rng.integers(1, n, size=N_PAIRS)) % n


@dataclass(frozen=True)
class Along:
    """What was measured along curves, shape=[n_curves] each; the module says what it is."""

    inside: np.ndarray
    low: np.ndarray
    distance: np.ndarray


@dataclass(frozen=True)
class Measure:
    """Codes, and the sigma up to which places are inside."""

    space: LatentSpace
    tree: cKDTree
    most: float

    @classmethod
    def at_codes(cls, space: LatentSpace, codes: np.ndarray) -> "Measure":
        """Take the percentile of sigma at codes."""
        sigma = sigma_norm(space, codes)
        return cls(space, cKDTree(codes), float(np.percentile(sigma, PERCENTILE)))

    def of(self, curves: np.ndarray) -> Along:
        """Measure along curves, shape=[n_curves, n_steps + 1, dim]."""
        middle = 0.5 * (curves[:, 1:] + curves[:, :-1])
        shape, flat = middle.shape[:2], middle.reshape(-1, curves.shape[-1])
        sigma = sigma_norm(self.space, flat).reshape(shape)
        nearest = self.tree.query(flat)[0].reshape(shape)
        length = np.linalg.norm(np.diff(curves, axis=1), axis=2)
        weight = length / length.sum(axis=1, keepdims=True)
        parts = (sigma <= self.most, sigma <= LOW * self.most, nearest)
        return Along(*((part * weight).sum(axis=1) for part in parts))


@torch.no_grad()
def sigma_norm(space: LatentSpace, codes: np.ndarray) -> np.ndarray:
    """Norm of the decoder's standard deviation at codes."""
    immersion = space.metric.decoder.immersion()
    parts = torch.as_tensor(codes).split(CHUNK)
    values = [immersion.split_outputs(immersion(z))[1].norm(dim=1).numpy() for z in parts]
    return np.concatenate(values)


if __name__ == "__main__":
    main()
