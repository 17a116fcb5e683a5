"""How well distances repeat when VAEs of 1, 2, 3 and 5 decoders are trained again.

After "Decoder ensembling for learned latent geometries" (Syrota, Moreno-Munoz, Hauberg,
arXiv:2408.07507). VAEs are trained on scikit-learn's digits from several seeds, and the distances
between the codes of the same pairs of images are measured in each. A pair's coefficient of
variation is the standard deviation of its distance over the seeds, over the mean. It is printed as
the mean over pairs, with the standard error of that mean: with the RBF precision of each decoder,
for the means of the decoders alone (as in the paper, whose curves also avoid where the decoders
disagree; these do not), and for straight lines in latent coordinates. "members" is the variation
over the members of one ensemble, by `dist_members`. Trainings are shorter than by default, so that
all of it takes six minutes of a core; nothing was tuned on the outcome.

Run: ``python benchmarks/ensembles.py [--decoders 1 2 3 5] [--seeds 5] [--pairs 30]``.
"""

import argparse
import time

import numpy as np

from geomstats_vae import VAE, EnsembleDecoder, GeodesicSolver, LatentSpace
from geomstats_vae.datasets import load_digits
from geomstats_vae.geodesics import LatentGraph
from geomstats_vae.immersions import Decoder

TRAINING = {"max_epochs": 60, "batch_size": 256, "learning_rate": 2e-2, "n_centers": 32}
GRID_SIZE = 96


def members_of(vae):
    """List the decoders of a VAE."""
    return vae.decoder_.members if vae.n_decoders > 1 else (vae.decoder_,)


def space_of(decoder, codes):
    """Build a space with a coarser graph than by default."""
    graph = LatentGraph(Decoder(decoder, 2).immersion(), codes, grid_size=GRID_SIZE)
    solver = GeodesicSolver(tol=1e-4)
    return LatentSpace(decoder, 2, points=codes, graph=graph, solver=solver, on_failure="ignore")


def measure(vae, X, start, end):
    """Measure distances of pairs in three metrics, and their variation over the members."""
    codes = vae.transform(X)
    a, b, members = codes[start], codes[end], members_of(vae)
    space = space_of(EnsembleDecoder(members), codes)
    means = space_of(EnsembleDecoder([member.mean for member in members]), codes)
    found = {
        "RBF precision": space.metric.dist(a, b),
        "means alone": means.metric.dist(a, b),
        "straight": np.linalg.norm(a - b, axis=1),
    }
    by_member = space.metric.dist_members(a, b)
    return found, (by_member.std(axis=1) / by_member.mean(axis=1)).mean()


def main():
    """Train, measure and print a row for each number of decoders."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--decoders", type=int, nargs="+", default=[1, 2, 3, 5])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--pairs", type=int, default=30)
    arguments = parser.parse_args()
    X = load_digits().data
    generator = np.random.default_rng(0)
    start, end = generator.choice(len(X), size=(2, arguments.pairs), replace=False)
    names = ("RBF precision", "means alone", "straight")
    print("decoders", *(f"{name:>20}" for name in names), "      members   ELBO  CPU seconds")
    for n_decoders in arguments.decoders:
        began, distances, spreads, scores = time.process_time(), [], [], []
        for seed in range(arguments.seeds):
            vae = VAE(n_decoders=n_decoders, random_state=seed, **TRAINING).fit(X)
            found, spread = measure(vae, X, start, end)
            distances.append(found)
            spreads.append(spread)
            scores.append(vae.score(X))
        row = []
        for name in names:
            values = np.stack([found[name] for found in distances])
            variation = values.std(axis=0, ddof=1) / values.mean(axis=0)
            error = variation.std(ddof=1) / np.sqrt(len(variation))
            row.append(f"{variation.mean():12.3f} +- {error:.3f}")
        seconds = time.process_time() - began
        print(
            f"{n_decoders:8d}",
            *row,
            f"{np.mean(spreads):12.3f} {np.mean(scores):6.1f}",
            f"{seconds:8.0f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
