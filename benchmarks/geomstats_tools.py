"""Cost of geomstats on the metric of a decoder, and of the border between them.

Christoffel symbols against geomstats' own automatic derivatives (pytorch backend only), the share
of a logarithm that conversions take, and the Frechet mean of digits codes.

    GEOMSTATS_BACKEND=pytorch python benchmarks/geomstats_tools.py
"""

import argparse
import time

import geomstats.backend as gs
import numpy as np
import torch
from geomstats.geometry.base import ImmersedSet
from geomstats.geometry.euclidean import Euclidean
from geomstats.geometry.pullback_metric import PullbackMetric
from geomstats.learning.frechet_mean import FrechetMean

from geomstats_vae import VAE, GeodesicSolver, LatentSpace
from geomstats_vae.datasets import load_digits

N_OUTPUTS, N_POINTS = 784, 100


def seconds(function, n_runs=3):
    """Least time of some runs, the first left out."""
    function()
    times = []
    for _ in range(n_runs):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


def christoffels():
    """Compare Christoffel symbols with those that geomstats derives automatically."""
    torch.manual_seed(0)
    layers = (torch.nn.Linear(2, 64), torch.nn.Tanh(), torch.nn.Linear(64, N_OUTPUTS))
    decoder = torch.nn.Sequential(*layers).double().eval()

    class Image(ImmersedSet):
        def __init__(self):
            super().__init__(dim=2, equip=False)

        def _define_embedding_space(self):
            return Euclidean(N_OUTPUTS)

        def immersion(self, point):
            return decoder(point)

    points = gs.from_numpy(np.random.default_rng(0).standard_normal((N_POINTS, 2)))
    ours = LatentSpace(decoder, 2).metric
    fast = seconds(lambda: ours.christoffels(points))
    if not gs.__name__.endswith("pytorch"):
        print(f"christoffels, {N_POINTS} points: {1e3 * fast:.2f} ms; geomstats: pytorch only")
        return
    theirs = Image().equip_with_metric(PullbackMetric).metric
    few = points[:2]  # geomstats goes point by point
    start = time.perf_counter()
    difference = (theirs.christoffels(few) - ours.christoffels(few)).abs().max()
    slow = (time.perf_counter() - start) * N_POINTS / len(few)
    print(
        f"christoffels, {N_POINTS} points of {N_OUTPUTS} outputs: {1e3 * fast:.2f} ms, geomstats "
        f"{slow:.0f} s from two points, {slow / fast:.0f} times; "
        f"largest difference {difference:.1e}"
    )


def border(metric, codes):
    """Share of a batch of logarithms that arrays and tensors take."""
    start, end = (gs.from_numpy(codes[rows]) for rows in (np.s_[:64], np.s_[64:128]))
    whole = seconds(lambda: metric.solve_geodesic(start, end), n_runs=1)

    def convert():
        (a, b), origin = metric._enter(start=start, end=end)
        return origin.give(a), origin.give(b), origin.give(a[:, 0])

    part = seconds(convert, n_runs=20)
    print(f"border: {1e6 * part:.0f} us of {whole:.2f} s for 64 pairs, {100 * part / whole:.3f} %")


def frechet_mean(space, codes, epsilon):
    """Time each logarithm of a Frechet mean, and measure the gradient where it ends."""
    points = gs.from_numpy(codes)
    space.metric.build_graph()
    times = []
    log = space.metric.log_solver.log

    def timed(solver):
        def call(point, base_point):
            start = time.perf_counter()
            result = solver(point, base_point)
            times.append(time.perf_counter() - start)
            return result

        return call

    with space.metric.warm_start():
        space.metric.log_solver.log = timed(space.metric.log_solver.log)
        start = time.perf_counter()
        mean = FrechetMean(space).set(epsilon=epsilon, max_iter=100).fit(points).estimate_
        whole = time.perf_counter() - start
    exact = space.metric.log(points, mean, polish=True)
    for name, logs in (("by its own logarithms", log(points, mean)), ("by polished ones", exact)):
        gradient = gs.to_numpy(space.metric.norm(gs.mean(logs, axis=0), mean))
        print(f"  gradient at the mean {name}: {gradient:.1e}")
    print(
        f"  {len(codes)} codes, tol {space.metric.solver.tol:.0e}: {whole:.1f} s, {len(times)} "
        f"iterations, logarithms {', '.join(f'{t:.2f}' for t in times)} s"
    )


def main():
    """Run all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--codes", type=int, default=200)
    parser.add_argument("--epsilon", type=float, default=1e-13)
    arguments = parser.parse_args()
    christoffels()
    X = load_digits().data
    vae = VAE(latent_dim=2, random_state=0).fit(X)
    codes = vae.transform(X)
    chosen = np.random.default_rng(0).choice(len(codes), max(arguments.codes, 128), replace=False)
    border(vae.latent_space_.metric, codes[chosen])
    print("Frechet mean:")
    for tol in (1e-4, 1e-6):
        space = LatentSpace(vae.decoder_, 2, points=codes, solver=GeodesicSolver(tol=tol))
        frechet_mean(space, codes[chosen[: arguments.codes]], arguments.epsilon)


if __name__ == "__main__":
    main()
