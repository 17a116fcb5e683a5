"""What does a table of the metric save? Everyday work on the packaged VAE of the digits.

Each task is done by the exact engine, with ``table=False``, and by a table, in one run; building
the table is apart. The graph of global starts is there for both. With ``--whole`` each task begins
with a new space, and its time is that of all it needs: graph, table and geodesics.
"""

import argparse
import time

import numpy as np
import torch

from geomstats_vae import FrechetMean, GeodesicKMeans, GeodesicSolver, LatentSpace
from geomstats_vae.datasets import load_digits_vae
from geomstats_vae.estimators.land import LAND
from geomstats_vae.sampling import BrownianMotion


def pairs_of(codes, n, seed):
    """Random pairs of codes."""
    rng = np.random.default_rng(seed)
    return codes[rng.integers(len(codes), size=(2, n))]


def distances(space, codes, args):
    """Distances of random pairs, at the tolerance of estimators."""
    start, end = pairs_of(codes, args.pairs, 7)
    geometry = space.metric.geometry.with_tol(args.tol)
    return geometry.lengths(start, end).length


def matrix(space, codes, args):
    """All distances of some codes."""
    some = codes[np.random.default_rng(3).choice(len(codes), args.points, replace=False)]
    return np.asarray(space.metric.dist_pairwise(some))[np.triu_indices(len(some), 1)]


def to_centers(space, codes, args):
    """Distances of 1,000 codes from 10 of them."""
    return np.asarray(space.metric.dist(codes[:1000, None], codes[None, :10])).ravel()


def mean(space, codes, args):
    """Variance about the Frechet mean of 200 codes."""
    some = codes[np.random.default_rng(3).choice(len(codes), 200, replace=False)]
    return np.array([float(FrechetMean(space).fit(some).variance_)])


def clusters(space, codes, args):
    """Inertia of three clusters of 1,000 codes."""
    model = GeodesicKMeans(space, n_clusters=3, random_state=0).fit(codes[:1000])
    return np.array([model.inertia_])


def land(space, codes, args):
    """Mean log likelihood of LAND with two components, of 1,000 codes."""
    return np.array([LAND(space, n_components=2, random_state=0).fit(codes[:1000]).lower_bound_])


def walk(space, codes, args):
    """Mean distance from the start after 10,000 steps of 100 walkers; a law, not a number."""
    box = codes.min(axis=0), codes.max(axis=0)
    motion = BrownianMotion(space, domain=box, random_state=0)
    ends = np.asarray(motion.sample_path(1.0, 10_000, codes[:100]))[:, -1]
    return np.array([np.linalg.norm(ends - codes[:100], axis=1).mean()])


TASKS = {f.__name__: f for f in (distances, matrix, to_centers, mean, clusters, land, walk)}


def run(name, space, codes, args):
    """Do a task; its result, and the processor time."""
    begin = time.process_time()
    result = TASKS[name](space, codes, args)
    return result, time.process_time() - begin


def whole(decoder, codes, args):
    """Print the times of tasks that begin with nothing."""
    for name in ["distances", *args.tasks]:  # the first compiles
        space = LatentSpace(decoder, 2, points=codes, table=True)
        print(f"{name}: {run(name, space, codes, args)[1]:.1f} s", flush=True)


def main():
    """Do the tasks by both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS))
    parser.add_argument("--pairs", type=int, default=1024)
    parser.add_argument("--points", type=int, default=200)
    parser.add_argument("--tol", type=float, default=1e-4)
    parser.add_argument("--whole", action="store_true", help="times with graph and table")
    parser.add_argument("--exact", action="store_true", help="lengths at tol 1e-8 as the reference")
    args = parser.parse_args()
    torch.set_num_threads(1)
    vae = load_digits_vae()
    codes, decoder = np.asarray(vae.codes_), vae.latent_space_.metric.decoder.immersion()
    if args.whole:
        whole(decoder, codes, args)
        return
    plain = LatentSpace(decoder, 2, points=codes, table=False)
    plain.metric.dist(codes[0], codes[1])
    for name in args.tasks:
        space = LatentSpace(decoder, 2, points=codes, graph=plain.metric.geometry.graph, table=True)
        begin = time.process_time()
        space.metric.dist(codes[0], codes[1])
        building = time.process_time() - begin
        found, seconds = run(name, space, codes, args)
        exact, before = run(name, plain, codes, args)
        line = f"{name}: exact {before:.1f} s, table {seconds:.1f} s + {building:.1f} s building"
        if args.exact and name == "distances":
            ends = pairs_of(codes, args.pairs, 7)
            graph = plain.metric.build_graph()
            with torch.no_grad():
                exact = GeodesicSolver(tol=1e-8).solve(decoder, *ends, graph).length
        with np.errstate(invalid="ignore"):
            off = found / exact - 1.0
        low, middle, high = np.nanquantile(off, [0.0, 0.5, 1.0])
        within = np.nanmean(off < 1e-4)
        print(
            f"{line}; longer by {low:.1e} / {middle:.1e} / {high:.1e}, {within:.3f} below 1e-4",
            flush=True,
        )


if __name__ == "__main__":
    main()
