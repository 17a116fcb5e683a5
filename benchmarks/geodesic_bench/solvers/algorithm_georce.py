"""GEORCE (arXiv 2505.05961, algorithm 1), written anew from the paper; see ``georce.py``."""

from __future__ import annotations

import functools

from georce import Georce, piecewise_linear

from geodesic_bench.problem import Curve, Floats, Problem, Setting


def settings(problem: Problem) -> list[Setting]:
    """List settings; the first is its authors' default. Its answers carry no flag."""

    def solve(solver: Georce, start: Floats, end: Floats) -> list[Curve]:
        return piecewise_linear(solver.solve(problem.immersion, start, end))

    cases = [(100, 1e-4, False), (100, 1e-2, False), (50, 1e-1, False), (200, 1e-3, False)]
    cases += [(400, 1e-2, False), (100, 1e-2, True), (400, 1e-2, True)]
    return [
        Setting(
            "GEORCE", f"T={n_steps}, tol={tol:g}", functools.partial(solve, Georce(n_steps, tol)), b
        )
        for n_steps, tol, b in cases
    ]
