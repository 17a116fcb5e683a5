"""Decoders of many kinds and up to nine dimensions, good ones and degenerate ones."""

import functools
import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from hypothesis import strategies as st

from geomstats_vae import GeodesicSolver, LatentSpace
from geomstats_vae.geodesics.flow.exponential import ExponentialSolver
from tests import surfaces
from tests.manifolds.spaces import array, coarse_space

MAX_DIM = 9
GRIDS = {2: 24, 3: 10}  # nodes per side: built and searched in a moment
LOOSE = GeodesicSolver(tol=1e-4, max_iter=10, max_elements=64)
EXPONENTIAL = ExponentialSolver(rtol=1e-5)


def _weights(seed, *shape):
    values = np.random.default_rng(seed).standard_normal(shape)
    return torch.from_numpy(values / math.sqrt(shape[-1]))


def _chain(dim, seed, activation, scale=1.0, n_outputs=4):
    """A network of two layers; its derivatives are those of the fast chains."""
    inner, outer = torch.nn.Linear(dim, 6), torch.nn.Linear(6, n_outputs)
    module = torch.nn.Sequential(inner, activation, outer).double().eval()
    for k, parameter in enumerate(module.parameters()):
        parameter.data = _weights(seed + 10 * k, *parameter.shape)
    outer.weight.data *= scale
    return module


def _linear(dim, seed):
    return _weights(seed, dim, dim + 1)


def _spread(dim):
    """Scales of coordinates from 1e-4 to 1e4."""
    return torch.logspace(-4.0, 4.0, dim, dtype=torch.float64) if dim > 1 else torch.ones(1)


def _spike(z):
    return torch.exp(-50.0 * (z * z).sum(-1, keepdim=True))


def _walls(dim, seed):
    """Mean and standard deviation, which climbs where |z| is more than 2."""
    mean = _chain(dim, seed, torch.nn.Tanh())

    def decoder(z):
        square = (z * z).sum(-1, keepdim=True)
        std = 0.1 + 20.0 * torch.sigmoid(4.0 * (square - 4.0))
        return mean(z), std.expand(-1, 4)

    return decoder


def _with_nan(decoder, where):
    return lambda z: torch.where(where(z), torch.nan, decoder(z))


# Functions of the dimension and a seed.
KINDS = {
    "smooth": lambda dim, seed: _chain(dim, seed, torch.nn.Tanh()),
    "rectified": lambda dim, seed: _chain(dim, seed, torch.nn.ReLU()),
    "linear": lambda dim, seed: functools.partial(torch.matmul, other=_linear(dim, seed)),
    "sphere": lambda dim, seed: surfaces.sphere,
    "walls": _walls,
    "function": lambda dim, seed: lambda z: torch.cat((z, torch.sin(z @ _linear(dim, seed))), -1),
    "constant": lambda dim, seed: lambda z: 0.0 * z + 1.0,
    "line": lambda dim, seed: lambda z: torch.sin(z.sum(-1, keepdim=True) + torch.zeros(3).to(z)),
    "bent": lambda dim, seed: lambda z: torch.cat((z.abs(), z.sum(-1, keepdim=True)), -1),
    "huge": lambda dim, seed: _chain(dim, seed, torch.nn.Tanh(), 1e8),
    "tiny": lambda dim, seed: _chain(dim, seed, torch.nn.Tanh(), 1e-8),
    "scales": lambda dim, seed: lambda z: torch.tanh(z * _spread(dim)) @ _linear(dim, seed),
    "half": lambda dim, seed: _with_nan(surfaces.paraboloid, lambda z: z[..., :1] > 0.5),
    "band": lambda dim, seed: _with_nan(
        surfaces.paraboloid, lambda z: (z[..., :1] - 0.37).abs() < 0.05
    ),
    "steps": lambda dim, seed: lambda z: torch.cat((z, torch.floor(3.0 * z)), -1),
    "sign": lambda dim, seed: lambda z: torch.where(z[..., :1] > 0.1, z + 1.0, z),
    "root": lambda dim, seed: lambda z: torch.cat((z.abs().sqrt(), z), -1),
    "power": lambda dim, seed: lambda z: z**3,
    "exponential": lambda dim, seed: torch.exp,
    "spike": lambda dim, seed: lambda z: torch.cat((z, _spike(z)), -1),
}
EXACT = ("linear", "sphere")


@dataclass(frozen=True)
class Decoded:
    """A space, with what its decoder is, and the seconds that its solvers may take for a call."""

    kind: str
    dim: int
    seed: int = 0
    graph: bool = False
    seconds: float | None = None

    @property
    def decoder(self):
        return KINDS[self.kind](self.dim, self.seed)

    @property
    def space(self):
        return _space(self)

    @property
    def metric(self):
        return self.space.metric

    def exact(self, start, end):
        """Distances in closed form."""
        if self.kind == "linear":
            return np.linalg.norm((end - start) @ _linear(self.dim, self.seed).numpy(), axis=-1)
        return surfaces.sphere_distance(torch.from_numpy(start), torch.from_numpy(end)).numpy()

    def values(self, points):
        """F itself, without the package; points shape=[..., dim]."""
        with torch.no_grad():
            value = self.decoder(torch.from_numpy(points.reshape(-1, self.dim)))
        parts = value if isinstance(value, tuple) else (value,)
        return torch.cat(parts, -1).numpy().reshape(*points.shape[:-1], -1)


@functools.lru_cache(maxsize=256)
def _space(case):
    points = np.random.default_rng(case.seed).normal(size=(24, case.dim)) if case.graph else None
    if case.graph and case.kind in ("half", "band"):
        points = points - 1.5
    solvers = {"solver": LOOSE, "exponential": EXPONENTIAL}
    options = {name: replace(solver, max_seconds=case.seconds) for name, solver in solvers.items()}
    if case.graph and case.dim in GRIDS:
        size = GRIDS[case.dim]
        return coarse_space(case.decoder, points, grid_size=size, **options)
    points = None if points is None else array(points)
    return LatentSpace(case.decoder, case.dim, points=points, **options)


def decoded(kinds=tuple(KINDS), dims=tuple(range(1, MAX_DIM + 1)), graph=None, seconds=None):
    """Strategy of spaces."""
    return st.builds(
        Decoded,
        kind=st.sampled_from(kinds),
        dim=st.sampled_from(dims),
        seed=st.integers(0, 1),
        graph=st.booleans() if graph is None else st.just(graph),
        seconds=st.just(seconds),
    )
