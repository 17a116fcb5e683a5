"""Do geodesics know distances on a torus, and around a gap? VAEs at their defaults.

Run: ``OMP_NUM_THREADS=1 python benchmarks/torus_and_gap.py [--seeds 100 101 102]``.

Two digits turned side by side lie on a torus, in data of 1,152 pixels; the VAE has three latent
dimensions. Points of a plane strip with a gap have shortest paths that bend around the corners; the
VAE has two. Distances of random codes from each other are compared with the true ones by
Spearman's rank correlation, as in `rotation.py`. No default was chosen on these data.
"""

import argparse
import time
import warnings

import numpy as np
import torch
from scipy.sparse.csgraph import dijkstra
from scipy.stats import spearmanr
from sklearn.neighbors import kneighbors_graph

from geomstats_vae import VAE
from geomstats_vae.datasets import make_rotated_pair, make_strip_with_gap
from geomstats_vae.geodesics import GeodesicConvergenceWarning

# Of each set of data: how it is made, latent dimensions, and codes that are compared.
DATA = {
    "torus": (lambda seed: make_rotated_pair(1000, random_state=seed), 3, 20),
    "gap": (lambda seed: make_strip_with_gap(1000, noise=0.02, random_state=seed), 2, 40),
}


def ranks(name: str, seed: int) -> tuple[dict[str, float], float, list[float]]:
    """Rank correlations of distances with the true ones, share of torn neighbours, and seconds."""
    make, dim, n_codes = DATA[name]
    begin, data = time.process_time(), make(seed)
    vae = VAE(dim, random_state=seed).fit(data.data)
    codes, trained = np.asarray(vae.codes_), time.process_time() - begin
    some = np.random.default_rng(seed).choice(len(codes), n_codes, replace=False)
    i, j = np.triu_indices(n_codes, 1)
    place = data.angles if name == "torus" else data.coordinates
    true = data.distances(place[some[i]], place[some[j]])
    begin, x, images = time.process_time(), codes[some], data.data[some]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", GeodesicConvergenceWarning)
        geodesic = np.asarray(vae.latent_space_.metric.dist_pairwise(x))[i, j]
    graph = kneighbors_graph(codes, 10, mode="distance")
    distances = {
        "geodesic": geodesic,
        "line": np.linalg.norm(x[i] - x[j], axis=1),
        "data": np.linalg.norm(images[i] - images[j], axis=1),
        "graph": dijkstra(graph, directed=False, indices=some)[i, some[j]],
    }
    found = {name: float(spearmanr(d, true).statistic) for name, d in distances.items()}
    return found, vae.torn_share_, [trained, time.process_time() - begin]


def main() -> None:
    """Print a table, a row for each VAE."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", nargs="*", choices=DATA, default=list(DATA))
    parser.add_argument("--seeds", nargs="*", type=int, default=[100, 101, 102])
    options = parser.parse_args()
    torch.set_num_threads(1)
    print("| data, seed | geodesics | straight lines | data | graph of codes | torn | s |")
    print("|---|---|---|---|---|---|---|")
    for name in options.data:
        for seed in options.seeds:
            found, torn, seconds = ranks(name, seed)
            cells = " | ".join(f"{value:.3f}" for value in found.values())
            spent = ", ".join(f"{part:.0f}" for part in seconds)
            print(f"| {name}, {seed} | {cells} | {torn:.2%} | {spent} |", flush=True)


if __name__ == "__main__":
    main()
