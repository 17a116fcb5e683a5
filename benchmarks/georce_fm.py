"""Measure Frechet means against GEORCE-FM, ported from its paper ([1]_).

Run: ``OMP_NUM_THREADS=1 python benchmarks/georce_fm.py [--only S2 digits] [--points 100]``.

GEORCE-FM finds the mean m and the curves from it to all points at once. With metric and gradient of
the last iterate frozen, the controls u_it = x_i,t+1 - x_it of all curves and m follow from one
linear system of the dimension; a line search between old and new decreases the sum of energies.
In the paper there are 100 controls, and it stops when the gradient of the mean energy is at most
1e-4. Here it is run with 100, 400 and 1,600 controls and four tolerances, and the least time is
given in which its sum of squares comes within each error of that at our mean. It is given charts:
stereographic projection, the disk, coordinates of surfaces, and the latent space of the digits.

Both means are measured by one routine: squared distances in closed form, or those of geodesics at
`tol` = 1e-8 where there is no closed form.

References
----------
.. [1] Rygaard, Hauberg, Markvorsen. "Simultaneous Optimization of Geodesics and Frechet Means."
   2025. arXiv:2511.04301.
"""

import argparse
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from geomstats.geometry.hypersphere import Hypersphere
from geomstats.geometry.poincare_ball import PoincareBall
from georce import _frozen_terms
from torch import Tensor

from geomstats_vae import FrechetMean, GeodesicSolver, LatentSpace
from geomstats_vae.datasets import load_digits_vae
from geomstats_vae.geodesics.elements import cache_sized_chunk
from geomstats_vae.manifolds.arrays import to_host
from geomstats_vae.manifolds.geometries import geometry_of

# Takes nodes and controls, shape=[n, dim]; returns metrics, gradients of u' M(x) u by x, energies.
Terms = Callable[[Tensor, Tensor], tuple[Tensor, Tensor, Tensor]]


@dataclass(frozen=True)
class GeorceFM:
    """GEORCE-FM for one group of points.

    Parameters
    ----------
    n_steps : int
        Controls of a curve.
    tol : float
        Stop when the gradient of the mean energy by all nodes and the mean is at most this.
    max_iter : int
        Iterations.
    """

    n_steps: int = 100
    tol: float = 1e-4
    max_iter: int = 1000

    def solve(self, terms: Terms, X: np.ndarray, start: np.ndarray) -> np.ndarray:
        """Find the mean of points in a chart, from a start."""
        end, mean = torch.as_tensor(X)[:, None], torch.as_tensor(start)
        times = torch.linspace(0.0, 1.0, self.n_steps + 1, dtype=end.dtype)[:, None]
        nodes = (1.0 - times) * mean + times * end
        for _ in range(self.max_iter):
            u = nodes.diff(dim=1)
            metric, slope, energy = _along(terms, nodes[:, :-1], u)
            lowered = 2.0 * (metric @ u[..., None])[..., 0]
            inner = slope[:, 1:] + lowered[:, :-1] - lowered[:, 1:]
            by_mean = (slope[:, 0] - lowered[:, 0]).sum(dim=0)
            size = math.hypot(float(inner.norm()), float(by_mean.norm())) / len(X)
            if size <= self.tol:
                break
            mean, controls = _controls(metric, slope, end[:, 0])
            goal = torch.cat((mean.expand(len(X), 1, -1), controls), dim=1).cumsum(dim=1)
            step = goal - nodes
            step[:, -1] = 0.0
            fall = (inner * step[:, 1:-1]).sum() + by_mean @ step[0, 0]
            share = _backtrack(terms, nodes, step, float(energy.sum()), float(fall))
            if not share:
                break
            nodes = nodes + share * step
        return nodes[0, 0].numpy()


def _along(terms: Terms, x: Tensor, u: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    metric, slope, energy = terms(x.flatten(0, 1), u.flatten(0, 1))
    return metric.view(*x.shape, -1), slope.view_as(x), energy.view(x.shape[:2])


def _controls(metric: Tensor, slope: Tensor, end: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and controls that are optimal for frozen terms.

    With nodes x_t = m + sum_{s<t} u_s and multipliers p_i of sum_t u_it = x_i - m: the controls are
    u_it = -M_it^-1 (later_it + p_i) / 2, and sum_i (p_i + sum_t slope_it) = 0.
    """
    later = slope.flip(1).cumsum(dim=1).flip(1) - slope
    inverse = torch.linalg.inv(metric)
    free = (inverse @ later[..., None])[..., 0]
    stiffness = torch.linalg.inv(inverse.sum(dim=1))
    pull = (stiffness @ (2.0 * end + free.sum(dim=1))[..., None])[..., 0] - slope.sum(dim=1)
    mean = torch.linalg.solve(2.0 * stiffness.sum(dim=0), pull.sum(dim=0))
    wanted = -2.0 * (end - mean) - free.sum(dim=1)
    multiplier = (stiffness @ wanted[..., None])[..., 0]
    return mean, -0.5 * (free + (inverse @ multiplier[:, None, :, None])[..., 0])


def _backtrack(terms: Terms, x: Tensor, step: Tensor, energy: float, fall: float) -> float:
    share = 1.0
    for _ in range(30):
        trial = x + share * step
        value = float(_along(terms, trial[:, :-1], trial.diff(dim=1))[2].sum())
        if value <= energy + 1e-4 * share * fall:
            return share
        share *= 0.5
    return 0.0


def conformal(sign: float) -> Terms:
    """Terms of M = 4 / (1 + sign |z|^2)^2: the sphere's (1) and the hyperbolic disk's (-1)."""

    def terms(z: Tensor, u: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        below = 1.0 + sign * z.square().sum(dim=1)
        factor, square = 4.0 / below**2, u.square().sum(dim=1)
        factor = torch.where(below > 0.0, factor, torch.inf)  # outside of the disk
        eye = torch.eye(z.shape[1], dtype=z.dtype)
        slope = (-4.0 * sign * factor * square / below)[:, None] * z
        return factor[:, None, None] * eye, slope, factor * square

    return terms


def pulled_back(space: LatentSpace) -> Terms:
    """Terms of the metric of a decoder or surface."""
    immersion = geometry_of(space).immersion()
    chunk = cache_sized_chunk(immersion)

    def terms(z: Tensor, u: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        with torch.no_grad():
            metric, slope, energy = _frozen_terms(immersion, z[:, None], u[:, None], chunk)
        return metric[:, 0], slope[:, 0], energy

    return terms


@dataclass(frozen=True)
class Family:
    """Points in a chart, and both ways to their mean.

    Parameters
    ----------
    X : numpy.ndarray, shape=[n_points, dim]
        Points in the chart.
    terms : callable
        Terms of the metric in the chart.
    space : geomstats.geometry.manifold.Manifold
        The space of `FrechetMean`.
    to_space : callable
        From the chart to the space.
    """

    X: np.ndarray
    terms: Terms
    space: Any
    to_space: Callable[[np.ndarray], np.ndarray] = np.asarray

    def objective(self, mean: np.ndarray) -> float:
        """Sum of squared distances from a point of the space."""
        points = self.to_space(self.X)
        if not isinstance(self.space, LatentSpace):
            return float(np.sum(to_host(self.space.metric.dist(mean, points)) ** 2))
        geometry = replace(geometry_of(self.space), solver=GeodesicSolver(tol=1e-8))
        return float(np.sum(geometry.lengths(mean, points).length ** 2))


def _sphere(dim: int, n_points: int, rng: np.random.Generator) -> Family:
    X = rng.normal(0.0, 0.5 / math.sqrt(dim), (n_points, dim)) + 0.3 / math.sqrt(dim)

    def to_space(z: np.ndarray) -> np.ndarray:
        square = (z**2).sum(axis=-1, keepdims=True)
        return np.concatenate((2.0 * z, square - 1.0), axis=-1) / (1.0 + square)

    return Family(X, conformal(1.0), Hypersphere(dim), to_space)


def _disk(n_points: int, rng: np.random.Generator) -> Family:
    radius, angle = np.tanh(rng.uniform(0.0, 1.0, n_points)), rng.uniform(0.0, 4.0, n_points)
    X = radius[:, None] * np.stack((np.cos(angle), np.sin(angle)), axis=1)
    return Family(X, conformal(-1.0), PoincareBall(2))


def _surface(function: Callable[[Tensor], Tensor], X: np.ndarray) -> Family:
    space = LatentSpace(function, X.shape[1], on_failure="raise")
    return Family(X, pulled_back(space), space)


def _ellipsoid(z: Tensor) -> Tensor:
    square = (z * z).sum(-1, keepdim=True)
    unit = torch.cat((2.0 * z, square - 1.0), dim=-1) / (1.0 + square)
    return unit * torch.tensor([0.5, 1.0, 1.0], dtype=z.dtype)


def _torus(z: Tensor) -> Tensor:
    theta, phi = z.unbind(-1)
    ring = 3.0 + torch.cos(theta)
    return torch.stack((ring * torch.cos(phi), ring * torch.sin(phi), torch.sin(theta)), dim=-1)


def _paraboloid(z: Tensor) -> Tensor:
    return torch.cat((z, (z * z).sum(-1, keepdim=True)), dim=-1)


def _digits(n_points: int, rng: np.random.Generator) -> Family:
    vae = load_digits_vae()
    codes, space = np.asarray(vae.codes_), vae.latent_space_
    X = codes[rng.choice(len(codes), n_points, replace=False)]
    return Family(X, pulled_back(space), space)


def families(n_points: int) -> dict[str, Callable[[], Family]]:
    """Make the families of the paper, by their names."""

    def drawn(seed: int = 0) -> np.random.Generator:
        return np.random.default_rng(seed)

    return {
        "S2": lambda: _sphere(2, n_points, drawn()),
        "S10": lambda: _sphere(10, n_points, drawn()),
        "S100": lambda: _sphere(100, n_points, drawn()),
        "E(2)": lambda: _surface(_ellipsoid, drawn().normal(0.3, 0.5, (n_points, 2))),
        "T2": lambda: _surface(_torus, drawn().normal(0.5, 0.6, (n_points, 2))),
        "H2": lambda: _disk(n_points, drawn()),
        "paraboloid": lambda: _surface(_paraboloid, drawn().normal(0.3, 0.5, (n_points, 2))),
        "digits": lambda: _digits(n_points, drawn()),
    }


_MEMORY = 2**30  # bytes of one array of matrices; about ten are held at once


def sweep(family: Family, sums: float) -> list[tuple[float, float]]:
    """Seconds and relative errors of the sum of squares, of GEORCE-FM at several settings."""
    found, (n_points, dim) = [], family.X.shape
    for n_steps in (100, 400, 1600):
        if n_steps > 100 and 8 * n_points * n_steps * dim**2 > _MEMORY:
            continue
        for tol in (1e-4, 1e-5, 1e-6, 1e-7):
            begin = time.process_time()
            mean = GeorceFM(n_steps, tol).solve(family.terms, family.X, family.X.mean(axis=0))
            seconds = time.process_time() - begin
            found.append((seconds, family.objective(family.to_space(mean)) / sums - 1.0))
    return found


def main() -> None:
    """Print one row per family."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, default=100)
    parser.add_argument("--only", nargs="+")
    options = parser.parse_args()
    torch.set_num_threads(1)
    errors = (1e-3, 1e-5, 1e-6)
    columns = ("family", "ours s", "converged", "our sum", *(f"{error:g}, s" for error in errors))
    print("".join(f"{name:>15}" for name in columns))
    for name, make in families(options.points).items():
        if options.only and name not in options.only:
            continue
        family = make()
        FrechetMean(family.space).fit(family.to_space(family.X[:3]))  # what is built once
        begin = time.process_time()
        mean = FrechetMean(family.space).fit(family.to_space(family.X))
        seconds = time.process_time() - begin
        sums = family.objective(to_host(mean.estimate_))
        entries = [name, f"{seconds:.3f}", str(mean.converged_), f"{sums:.6f}"]
        found = sweep(family, sums)
        for error in errors:
            good = [taken for taken, off in found if off <= error]
            entries.append(f"{min(good):.3f}" if good else "never")
        print("".join(f"{entry:>15}" for entry in entries), flush=True)


if __name__ == "__main__":
    main()
