"""L-BFGS on the energy of chords, as people write it themselves; see ``chord_lbfgs.py``."""

from __future__ import annotations

import functools

import torch
from chord_lbfgs import ChordLBFGS

from geodesic_bench.problem import Curve, Floats, Problem, Setting


def settings(problem: Problem) -> list[Setting]:
    """From straight lines, and from the better of line and our graph path. It says nothing."""

    def embed(z: torch.Tensor) -> torch.Tensor:
        return problem.immersion(z)

    def solve(solver: ChordLBFGS, graph: bool, start: Floats, end: Floats) -> list[Curve]:
        starts = [torch.stack((torch.as_tensor(start[0]), torch.as_tensor(end[0]))).numpy()]
        if graph and problem.graph is not None:
            starts += list(problem.graph.paths(start, end)[0])
        return [solver.solve(embed, starts)[-1]]

    cases = [(64, 150, False), (256, 600, False), (64, 600, False), (64, 150, True)]
    cases += [(256, 600, True)]
    return [
        Setting(
            "L-BFGS on chords" + (", from our graph" if graph else ""),
            f"{n_chords} chords, {n_iter} iterations",
            functools.partial(solve, ChordLBFGS(n_chords, (n_iter,)), graph),
        )
        for n_chords, n_iter, graph in cases
    ]
