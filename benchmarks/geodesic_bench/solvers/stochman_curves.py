"""stochman: `geodesic_minimizing_energy` on cubic splines and discrete curves, F as embedding."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch

from geodesic_bench.problem import Answer, Floats, Problem, Setting

_SPLINES = [
    (5, 20, "Adam", 0.1, 150),
    (40, 200, "LBFGS", 1.0, 20),
    (20, 100, "LBFGS", 1.0, 20),
    (10, 50, "LBFGS", 1.0, 5),
    (10, 50, "Adam", 0.1, 500),
]
_DISCRETE = [
    (5, 20, "Adam", 0.1, 150),
    (100, 100, "LBFGS", 1.0, 20),
    (50, 50, "LBFGS", 1.0, 20),
    (200, 200, "LBFGS", 1.0, 20),
]


def settings(problem: Problem) -> list[Setting]:
    """List settings; the first of each kind is its default."""
    from stochman.curves import CubicSpline, DiscreteCurve
    from stochman.geodesic import geodesic_minimizing_energy
    from stochman.manifold import EmbeddedManifold

    class Image(EmbeddedManifold):
        def embed(self, points: torch.Tensor, jacobian: bool = False) -> torch.Tensor:
            return problem.immersion(points.flatten(0, 1)).unflatten(0, points.shape[:2])

    def solve(
        family: Any, options: tuple[int, int, str, float, int], start: Floats, end: Floats
    ) -> list[Answer]:
        n_nodes, n_points, name, rate, n_iter = options
        curve = family(torch.as_tensor(start), torch.as_tensor(end), num_nodes=n_nodes)
        flag = geodesic_minimizing_energy(
            curve, Image(), _optimizer(name, rate), max_iter=n_iter, eval_grid=n_points
        )
        curves = [curve[[k]] for k in range(len(start))] if len(start) > 1 else [curve]
        return [
            Answer(lambda t, c=c: c(torch.as_tensor(t)).detach().numpy(), bool(flag))
            for c in curves
        ]

    cases = [("spline", CubicSpline, case, batch) for batch in (False, True) for case in _SPLINES]
    cases += [("discrete", DiscreteCurve, case, False) for case in _DISCRETE]
    return [
        Setting(
            f"stochman {name}",
            "{} nodes, {} points, {} {:g}, {} steps".format(*case),
            functools.partial(solve, family, case),
            batch,
        )
        for name, family, case, batch in cases
    ]


def _optimizer(name: str, rate: float) -> Callable[..., torch.optim.Optimizer]:
    if name == "Adam":
        return lambda parameters, lr: torch.optim.Adam(parameters, lr=rate)
    return lambda parameters, lr: torch.optim.LBFGS(
        parameters, lr=rate, line_search_fn="strong_wolfe"
    )
