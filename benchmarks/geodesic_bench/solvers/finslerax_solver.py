"""finslerax: `GaussNewtonGeodesic`, from lines and from our graph paths.

It returns no flag of success: what its own test says of an answer, a gradient of the energy below
its tolerance, stands there.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np

from geodesic_bench.problem import Answer, Floats, Problem, Setting
from geodesic_bench.solvers import NotSuited


def settings(problem: Problem) -> list[Setting]:
    """List settings; 40 iterations are its default, and suffice."""
    import jax

    jax.config.update("jax_enable_x64", True)  # before finslerax reads it
    from finslerax_curves import FinslerGeodesics, Polyline, along, ported, straight

    try:
        function = ported(problem.decoder, problem.immersion, problem.start)
    except TypeError as error:
        raise NotSuited(str(error)) from error

    def paths(start: Floats, end: Floats, segments: int) -> Floats:
        found = problem.graph.paths(start, end)[0]
        return np.stack([along(path, problem.immersion, segments) for path in found])

    def solve(
        geodesics: FinslerGeodesics, begin: Callable[..., Floats], start: Floats, end: Floats
    ) -> list[Answer]:
        nodes = geodesics.solve(begin(start, end, geodesics.n_segments))
        return [Answer(Polyline(points), geodesics.ended(points)) for points in nodes]

    found = []
    for segments in (64, 256):
        geodesics = FinslerGeodesics(function, problem.start.shape[1], segments, iterations=40)
        first = straight(problem.start[:1], problem.end[:1], segments)
        for name, begin in (("from lines", straight), ("from our graph", paths)):
            found.append(
                Setting(
                    f"finslerax, {name}",
                    f"{segments} segments",
                    functools.partial(solve, geodesics, begin),
                    prepare=functools.partial(geodesics.solve, first),  # compiles
                )
            )
    return found
