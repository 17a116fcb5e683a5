"""Geodesics between many pairs of points, in blocks: with a bar, a limit of time, or workers."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geomstats_vae.geodesics.curves.path import GeodesicPath, join_paths, take_paths
from geomstats_vae.geodesics.deadline import Deadline
from geomstats_vae.geodesics.solver import Solver, within
from geomstats_vae.geometry.blocks import Blocks
from geomstats_vae.geometry.graphs import GraphOnDemand
from geomstats_vae.geometry.protocol import Floats
from geomstats_vae.geometry.rows import Ends


def solve(geometry: Any, start: Floats, end: Floats, guess: GeodesicPath | None) -> GeodesicPath:
    """Solve for geodesics in this process, while a bar moves.

    Parameters
    ----------
    geometry : DecoderGeometry
        Geometry of the latent space.
    start, end : numpy.ndarray, shape=[n_pairs, dim]
        End points.
    guess : GeodesicPath, optional
        Geodesics between as many other points.

    Returns
    -------
    path : GeodesicPath
        Curves of all pairs. The solver's limit of time is that of all together.
    """
    deadline, paths, all_pairs = _deadline(geometry.solver), [], np.arange(len(start))
    immersion, graph = geometry.immersion(), geometry.build_graph()
    for part in geometry.blocks.slices(len(start)):
        solver = within(geometry.solver, deadline.remaining)
        near = None if guess is None else take_paths(guess, all_pairs[part])
        paths.append(solver.solve(immersion, start[part], end[part], graph, near))
    return paths[0] if len(paths) == 1 else join_paths(paths)


def ends(geometry: Any, start: Floats, end: Floats) -> Ends:
    """Solve for geodesics in blocks, and keep what distances need.

    Parameters
    ----------
    geometry : DecoderGeometry
        Geometry of the latent space.
    start, end : numpy.ndarray, shape=[n_pairs, dim]
        End points.

    Returns
    -------
    ends : Ends
        Lengths, end velocities and statuses. The solver's limit of time is that of all together.
    """
    deadline = _deadline(geometry.solver)
    solved = partial(_block, for_workers(geometry, len(start)), deadline)
    limited = deadline.remaining is not None
    return Ends(*geometry.blocks.run(solved, start, end, limited=limited))


def for_workers(geometry: Any, n_pairs: int) -> Any:
    """Make a geometry that carries its graph along if it is sent to other processes.

    Parameters
    ----------
    geometry : DecoderGeometry
        Geometry of the latent space.
    n_pairs : int
        Number of pairs that are worked on.

    Returns
    -------
    geometry : DecoderGeometry
        The same, but it shows no bars.
    """
    graph, blocks = geometry.graph, geometry.blocks
    here = replace(geometry, blocks=Blocks())
    if not isinstance(graph, GraphOnDemand):
        return here
    if blocks.verbose:
        geometry.build_graph()  # where its progress can be seen
    return here if blocks.jobs(n_pairs) == 1 else replace(here, graph=graph.get(geometry.decoder))


def _deadline(solver: Solver) -> Deadline:
    return Deadline.after(getattr(solver, "max_seconds", None))


def _block(
    geometry: Any, deadline: Deadline, start: Floats, end: Floats
) -> tuple[NDArray[Any], ...]:
    solver = within(geometry.solver, deadline.remaining)
    path = replace(geometry, solver=solver).paths(start, end)
    return path.length, path.initial_velocity, path.final_velocity, path.status
