"""latent-geometry: `BVPLogarithmSolver` on its metric.

Its mapping computes in single precision; ours and its own in double precision stand in for that.
"""

from __future__ import annotations

import functools

import numpy as np
import torch

from geodesic_bench.problem import Answer, Floats, Problem, Setting
from geodesic_bench.solvers import NotSuited
from geomstats_vae.geometry import local

_MOST_DIMENSIONS = 3


def settings(problem: Problem) -> list[Setting]:
    """List settings; what does not raise is a success to it."""
    from latent_geometry.mapping import EuclideanMatrixMapping, TorchModelMapping
    from latent_geometry.metric import EuclideanMetric, ManifoldMetric
    from latent_geometry.solver import BVPLogarithmSolver, SolverFailedException

    immersion, dim = problem.immersion, problem.start.shape[1]
    if dim > _MOST_DIMENSIONS:
        raise NotSuited("one pair in 10 dimensions and more takes minutes")
    n_outputs = immersion(torch.zeros(1, dim, dtype=torch.float64)).shape[1]

    class OurDerivatives(EuclideanMatrixMapping):
        in_dim, out_dim = dim, n_outputs

        def __call__(self, zs: Floats) -> Floats:
            return immersion(torch.as_tensor(zs)).numpy()

        def jacobian(self, zs: Floats) -> Floats:
            return immersion.jacobian(torch.as_tensor(zs))[1].transpose(1, 2).numpy()

        def euclidean_metric_matrix_derivative(self, zs: Floats) -> Floats:
            return local.metric_derivative(immersion, torch.as_tensor(zs)).numpy()

    class Doubles(TorchModelMapping):
        def _to_torch(self, x: Floats) -> torch.Tensor:
            return torch.as_tensor(x)

    class Image(torch.nn.Module):
        def forward(self, z: torch.Tensor) -> torch.Tensor:
            return immersion(z)

    mappings = {"our": OurDerivatives(), "its": Doubles(Image(), (dim,), (n_outputs,))}

    def solve(n_nodes: int, tol: float, whose: str, start: Floats, end: Floats) -> list[Answer]:
        metric = ManifoldMetric(mappings[whose], EuclideanMetric())
        solver = BVPLogarithmSolver(n_mesh_nodes=n_nodes, tolerance=tol)
        try:
            path = solver.find_path(start[0], end[0], metric.acceleration)
        except SolverFailedException as error:
            raise RuntimeError(str(error)) from error
        return [Answer(lambda t: np.stack([path(s) for s in t]), True)]

    cases = [(2, 1e-3, "its"), (10, 1e-3, "our"), (2, 1e-3, "our"), (50, 1e-2, "our")]
    cases += [(10, 1e-1, "our")]
    return [
        Setting(
            "latent-geometry",
            f"{n_nodes} nodes, tol={tol:g}, {whose} derivatives",
            functools.partial(solve, n_nodes, tol, whose),
        )
        for n_nodes, tol, whose in cases
    ]
