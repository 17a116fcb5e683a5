"""Our solver: with its graph, and from straight lines only."""

from __future__ import annotations

import functools

from geodesic_bench.problem import Answer, Floats, Problem, Setting
from geomstats_vae import GeodesicSolver
from geomstats_vae.geodesics import LatentGraph

TOLERANCES = (1e-4, 1e-6, 1e-3, 1e-2)


def settings(problem: Problem) -> list[Setting]:
    """Alone and in a batch; 1e-6 is the default."""

    def solve(tol: float, graph: LatentGraph | None, start: Floats, end: Floats) -> list[Answer]:
        path = GeodesicSolver(tol=tol).solve(problem.immersion, start, end, graph)
        curves = [path.map(lambda a, k=k: a[k]) for k in range(len(start))]
        flags = path.converged.tolist()
        return [Answer(curve, flag) for curve, flag in zip(curves, flags, strict=True)]

    cases = [(tol, batch, problem.graph) for batch in (False, True) for tol in TOLERANCES]
    cases += [(tol, False, None) for tol in TOLERANCES[:2]]
    return [
        Setting(
            "ours" if graph is not None else "ours, from lines",
            f"tol={tol:g}",
            functools.partial(solve, tol, graph),
            batch,
        )
        for tol, batch, graph in cases
    ]
