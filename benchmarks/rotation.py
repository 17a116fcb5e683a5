"""Do geodesics know the angle of a rotating digit? VAEs at their defaults, digit by digit.

Run: ``OMP_NUM_THREADS=1 python benchmarks/rotation.py [--digits 5 3 4 9] [--seeds 100 101 ...]
[--max-angle 360] [--lines FILE]``. Every line is kept as soon as it is done, and is not done again.

One digit of scikit-learn's is turned by 0 to 300 degrees, a thousand images of 24 x 24 pixels. The
true distance of two images is the angle between them. Distances of 40 random codes from each other
are compared with it by Spearman's rank correlation: geodesics, straight lines in latent space,
pixels, and paths on the graph of the ten nearest codes.

The arc of the codes is broken where it jumps: means of the codes over two degrees each are ordered
by angle, and a step is a jump if it is longer than a fifth of the codes' extent. "Torn" is what
`VAE` itself reports: the share of nearest neighbours in the data that are far apart in the codes.
No default was chosen on these seeds.
"""

import argparse
import json
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from scipy.sparse.csgraph import dijkstra
from scipy.stats import spearmanr
from sklearn.neighbors import kneighbors_graph

from geomstats_vae import VAE
from geomstats_vae.datasets import make_rotated_digit
from geomstats_vae.geodesics import GeodesicConvergenceWarning

SEEDS, N_CODES = tuple(range(100, 110)), 40
# Degrees whose codes are averaged, and the share of the extent from which on a step is a jump.
BIN, JUMP = 2.0, 0.2


def n_jumps(codes: np.ndarray, angles: np.ndarray, closed: bool) -> int:
    """Count the places where codes, in the order of their angles, jump."""
    number = np.floor(angles / BIN).astype(int)
    means = np.array([codes[number == k].mean(axis=0) for k in np.unique(number)])
    if closed:
        means = np.concatenate((means, means[:1]))
    step = np.linalg.norm(np.diff(means, axis=0), axis=1)
    return int((step > JUMP * np.ptp(codes, axis=0).max()).sum())


def line(digit: int, seed: int, max_angle: float) -> dict:
    """Train a VAE, and compare distances with the angles."""
    begin = time.process_time()
    rotations = make_rotated_digit(digit=digit, max_angle=max_angle, random_state=seed)
    vae = VAE(random_state=seed).fit(rotations.data)
    codes, trained = np.asarray(vae.codes_), time.process_time() - begin
    some = np.random.default_rng(seed).choice(len(codes), N_CODES, replace=False)
    i, j = np.triu_indices(N_CODES, 1)
    angles = rotations.angles[some]
    true = rotations.distances(angles[i], angles[j])
    begin = time.process_time()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", GeodesicConvergenceWarning)
        geodesic = np.asarray(vae.latent_space_.metric.dist_pairwise(codes[some]))[i, j]
    graph = kneighbors_graph(codes, 10, mode="distance")
    x, data = codes[some], rotations.data[some]
    distances = {
        "geodesic": geodesic,
        "line": np.linalg.norm(x[i] - x[j], axis=1),
        "pixels": np.linalg.norm(data[i] - data[j], axis=1),
        "graph": dijkstra(graph, directed=False, indices=some)[i, some[j]],
    }
    return {
        "digit": digit,
        "seed": seed,
        "max_angle": max_angle,
        "jumps": n_jumps(codes, rotations.target, closed=max_angle == 360.0),
        "torn": vae.torn_share_,
        "zeta": vae.zeta_,
        "rank": {name: float(spearmanr(d, true).statistic) for name, d in distances.items()},
        "warned": len(caught),
        "seconds": [trained, time.process_time() - begin],
    }


def report(lines: list[dict]) -> None:
    """Print a table, a row for each digit."""
    print("| digit, VAEs | unbroken | geodesics | straight lines | pixels | graph of codes |")
    print("|---|---|---|---|---|---|")
    for digit in sorted({one["digit"] for one in lines}):
        mine = [one for one in lines if one["digit"] == digit]
        cells = [f"{digit}, {len(mine)}", f"{sum(not one['jumps'] for one in mine)}"]
        for name in ("geodesic", "line", "pixels", "graph"):
            low, middle, high = np.nanquantile([one["rank"][name] for one in mine], [0.0, 0.5, 1.0])
            cells.append(f"{middle:.3f} ({low:.3f} to {high:.3f})")
        print(f"| {' | '.join(cells)} |")


def main() -> None:
    """Train and measure what is not there yet, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--digits", nargs="*", type=int, default=[5, 3, 4, 9])
    parser.add_argument("--seeds", nargs="*", type=int, default=SEEDS)
    parser.add_argument("--max-angle", type=float, default=300.0, help="360 is a closed circle")
    parser.add_argument("--lines", type=Path, default=Path("build/rotation.jsonl"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    options.lines.parent.mkdir(exist_ok=True)
    kept = options.lines.read_text().splitlines() if options.lines.exists() else []
    lines = [json.loads(text) for text in kept]
    for seed in options.seeds:
        for digit in options.digits:
            asked = digit, seed, options.max_angle
            if not any((one["digit"], one["seed"], one["max_angle"]) == asked for one in lines):
                lines.append(line(*asked))
                with options.lines.open("a") as file:
                    print(json.dumps(lines[-1]), file=file, flush=True)
    report([one for one in lines if one["max_angle"] == options.max_angle])


if __name__ == "__main__":
    main()
