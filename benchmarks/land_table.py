"""Where does LAND win against a Gaussian mixture? Held-out log likelihoods and BIC, set by set.

Rings, moons and arcs are curved strips in the plane. Their metric is learnt from the training rows
alone, as in the paper: the identity as the decoder's mean, and an `RBFPrecision` that is high at
the rows and low elsewhere. Rotations of a digit and cells are codes of a `VAE` at its defaults.
Training rows fit the metric and the mixtures; test rows chose nothing.

The strips' noise, the walls' height and the number of centers were chosen on seed 7 of one arc.

LAND is a density for Riemannian volume. To compare it with a `GaussianMixture`, log sqrt(det M) is
added: both are then densities for dz. With full covariances the two have as many parameters for as
many components. The third column is the Gaussian mixture whose number of components, up to ten,
has the lowest BIC on the training rows: it may use more parameters. The metric's own parameters
count for no one, which favours LAND in BIC, not on test rows.

Run: ``OMP_NUM_THREADS=1 python benchmarks/land_table.py [--quick] [--rows moons ...]
[--lines FILE]``. Every line is kept as soon as it is done, and is not done again.
"""

import argparse
import json
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.datasets import make_circles
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import train_test_split

from geomstats_vae import LAND, VAE, GaussianDecoder, LatentSpace, RBFPrecision
from geomstats_vae.datasets import load_pbmc68k, make_moons, make_rotated_digit

N_ROWS, TEST_SHARE, MOST_COMPONENTS = 480, 0.5, 10
# Noise of the strips, and what the precision is learnt from; standard deviation far from the rows.
NOISE, WALL = 0.08, 3.0
N_CENTERS = 12
N_NORMALIZER_SAMPLES = 64


@dataclass(frozen=True)
class Sample:
    """A data set, and how many components suit it."""

    make: Callable[[int], np.ndarray]
    n_components: int
    encoded: bool = False


def rings(seed: int) -> np.ndarray:
    """Two circles with one centre."""
    return 2.0 * make_circles(N_ROWS, noise=NOISE / 2.0, factor=0.45, random_state=seed)[0]


def arcs(seed: int) -> np.ndarray:
    """Three arcs of 200 degrees side by side, every second one upside down."""
    generator = np.random.default_rng(seed)
    angle, which = np.radians(generator.uniform(-10, 190, N_ROWS)), np.arange(N_ROWS) % 3
    sign = np.where(which == 1, -1.0, 1.0)
    X = np.stack([np.cos(angle) + 1.5 * which, sign * (np.sin(angle) - 0.3)], axis=1)
    return X + NOISE * generator.standard_normal(X.shape)


SAMPLES = {
    "one arc": Sample(lambda seed: arcs(seed)[::3], 1),
    "arcs": Sample(arcs, 3),
    "moons": Sample(lambda seed: make_moons(N_ROWS, noise=NOISE, random_state=seed).data, 2),
    "rings": Sample(rings, 2),
    "rotated 4": Sample(lambda seed: make_rotated_digit(600, random_state=seed).data, 1, True),
    "cells": Sample(lambda seed: load_pbmc68k().data, 4, True),
}


def planar_space(X, n_centers: int) -> LatentSpace:
    """Plane with a metric that is small along the rows and large elsewhere."""
    precision = RBFPrecision.fit(
        X, np.full_like(X, NOISE**2), n_centers=n_centers, zeta=WALL**-2, random_state=0
    )
    return LatentSpace(GaussianDecoder(torch.nn.Identity(), precision), X.shape[1], points=X)


def coordinates(sample: Sample, seed: int, n_centers: int):
    """Space, and codes of training and of test rows."""
    train, test = train_test_split(sample.make(seed), test_size=TEST_SHARE, random_state=seed)
    if not sample.encoded:
        return planar_space(train, n_centers), train, test
    vae = VAE(random_state=seed).fit(train)
    return vae.latent_space_, vae.transform(train), vae.transform(test)


def best_by_bic(X, seed: int) -> GaussianMixture:
    """Gaussian mixture of the number of components with the lowest BIC."""
    fits = [gaussian(X, k, seed) for k in range(1, MOST_COMPONENTS + 1)]
    return min(fits, key=lambda fit: fit.bic(X))


def gaussian(X, n_components: int, seed: int) -> GaussianMixture:
    """Gaussian mixture of full covariances, the best of ten starts."""
    return GaussianMixture(n_components, n_init=10, random_state=seed).fit(X)


def line(name: str, seed: int, n_centers: int = N_CENTERS) -> dict[str, Any]:
    """Fit and score everything on one sample."""
    sample = SAMPLES[name]
    space, train, test = coordinates(sample, seed, n_centers)
    begin = time.process_time()
    land = LAND(
        space, sample.n_components, n_normalizer_samples=N_NORMALIZER_SAMPLES, random_state=seed
    ).fit(train)
    seconds = time.process_time() - begin
    same = gaussian(train, sample.n_components, seed)
    best = best_by_bic(train, seed)
    gains = land.score_samples(test, "lebesgue") - same.score_samples(test)
    return {
        "sample": name,
        "seed": seed,
        "test": [land.score(test, measure="lebesgue"), same.score(test), best.score(test)],
        "bic": [land.bic(train, "lebesgue"), same.bic(train), best.bic(train)],
        "n_components": [sample.n_components, sample.n_components, best.n_components],
        "error": float(gains.std(ddof=1) / np.sqrt(len(gains))),
        "weights": land.weights_.tolist(),
        "converged": bool(land.converged_),
        "n_failed": int(land.n_failed_),
        "bound_std": land.lower_bound_std_,
        "seconds": seconds,
    }


def spread(values, digits: int) -> str:
    """Mean and deviation."""
    deviation = np.std(values, ddof=1) if len(values) > 1 else np.nan
    return f"{np.mean(values):.{digits}f} ± {deviation:.{digits}f}"


def report(lines: list[dict]) -> None:
    """Print the table."""
    print("\n| data, components | seeds | test: LAND | mixture | LAND less mixture | wins ", end="")
    print("| mixture by BIC, components | LAND less that | BIC: LAND, mixture, by BIC | s |")
    print("|---" * 10 + "|")
    for name, sample in SAMPLES.items():
        own = [each for each in lines if each["sample"] == name]
        if not own:
            continue
        test = np.array([each["test"] for each in own])
        bic = np.array([each["bic"] for each in own]).mean(axis=0)
        gain, rest = test[:, 0] - test[:, 1], test[:, 0] - test[:, 2]
        chosen = ", ".join(str(each["n_components"][2]) for each in own)
        seconds = np.mean([each["seconds"] for each in own])
        words = [f"{name}, {sample.n_components}", len(own), spread(test[:, 0], 3)]
        words += [spread(test[:, 1], 3), spread(gain, 3), f"{(gain > 0).sum()} of {len(own)}"]
        words += [f"{spread(test[:, 2], 3)} ({chosen})", spread(rest, 3)]
        words += [", ".join(f"{value:.0f}" for value in bic), f"{seconds:.0f}"]
        print(f"| {' | '.join(map(str, words))} |")


def main() -> None:
    """Do what is not done yet, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lines", type=Path, default=Path("build/land_table.jsonl"))
    parser.add_argument("--rows", nargs="*", choices=SAMPLES, default=list(SAMPLES))
    parser.add_argument("--seeds", nargs="*", type=int, default=range(300, 303))
    parser.add_argument("--centers", type=int, default=N_CENTERS, help="of the planar metrics")
    parser.add_argument("--report", action="store_true", help="print only what is there")
    parser.add_argument("--quick", action="store_true", help="one arc and moons, one seed")
    options = parser.parse_args()
    if options.quick:
        options.rows, options.seeds = ["one arc", "moons"], [300]
    # What does not converge is counted; torn codes are part of the table.
    warnings.simplefilter("ignore")
    known = options.lines.read_text().splitlines() if options.lines.exists() else []
    lines = [json.loads(each) for each in known]
    done = {(each["sample"], each["seed"]) for each in lines}
    if not options.report:
        options.lines.parent.mkdir(parents=True, exist_ok=True)
    for seed in [] if options.report else options.seeds:
        for name in options.rows:
            if (name, seed) not in done:
                lines.append(line(name, seed, options.centers))
                with options.lines.open("a") as file:
                    file.write(json.dumps(lines[-1]) + "\n")
                print(json.dumps(lines[-1]), flush=True)
    report(lines)


if __name__ == "__main__":
    main()
