"""How far exp(log) misses, and what paths, logarithms and exponentials cost.

python benchmarks/round_trips.py
"""

import time
import warnings

import numpy as np
import torch

from geomstats_vae import LatentSpace
from geomstats_vae.datasets import load_digits_vae

N_PAIRS = 60


def sphere(z):
    """Sphere in longitude and latitude."""
    x, y = z.T
    return torch.stack((torch.cos(y) * torch.cos(x), torch.cos(y) * torch.sin(x), torch.sin(y)), 1)


def swiss_roll(z):
    """Rolled-up plane."""
    x, y = z.T
    return torch.stack((x * torch.cos(x), y, x * torch.sin(x)), 1)


def torus(z):
    """Torus of radii 2 and 1."""
    x, y = z.T
    ring = 2.0 + torch.cos(x)
    return torch.stack((ring * torch.cos(y), ring * torch.sin(y), torch.sin(x)), 1)


def paraboloid(z):
    """Graph of the squared norm."""
    return torch.cat((z, z.square().sum(1, keepdim=True)), 1)


SURFACES = {
    "sphere": (sphere, [[-1.2, 1.2], [-1.2, 1.2]]),
    "swiss roll": (swiss_roll, [[4.7, 14.0], [0.0, 10.0]]),
    "torus": (torus, [[-2.0, 2.0], [-2.0, 2.0]]),
    "paraboloid": (paraboloid, [[-2.0, 2.0], [-2.0, 2.0]]),
}


def cases(rng):
    """Spaces with end points of pairs."""
    for name, (surface, box) in SURFACES.items():
        low, high = np.array(box).T
        start, end = rng.uniform(low, high, (2, N_PAIRS, 2))
        yield name, LatentSpace(surface, dim=2, points=rng.uniform(low, high, (300, 2))), start, end
    vae = load_digits_vae()
    first, second = rng.choice(len(vae.codes_), (2, N_PAIRS))
    yield "digits", vae.latent_space_, vae.codes_[first], vae.codes_[second]


def timed(function, *arguments):
    """Call a function; its result, and milliseconds a pair."""
    begin = time.perf_counter()
    result = function(*arguments)
    return result, (time.perf_counter() - begin) / N_PAIRS * 1e3


def main():
    """Print a line for each space."""
    warnings.simplefilter("ignore")
    print("| | path, ms | log, ms | exp, ms | missed, median | 90 % | worst |")
    print("|---|---|---|---|---|---|---|")
    for name, space, start, end in cases(np.random.default_rng(0)):
        metric = space.metric
        metric.dist(start[:2], end[:2])  # builds the graph
        _, path_ms = timed(metric.solve_geodesic, start, end)
        log, log_ms = timed(metric.log, end, start)
        back, exp_ms = timed(metric.exp, log, start)
        missed = np.quantile(np.linalg.norm(back - end, axis=1), (0.5, 0.9, 1.0))
        figures = " | ".join(f"{value:.1e}" for value in missed)
        print(f"| {name} | {path_ms:.1f} | {log_ms:.1f} | {exp_ms:.1f} | {figures} |")


if __name__ == "__main__":
    main()
