"""Geodesics between many pairs of points, in blocks: with a bar, a limit of time, or workers."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

from joblib import effective_n_jobs
from numpy.typing import NDArray

from geomstats_vae.geodesics.curves.path import GeodesicPath, SolvedCurves, join_paths
from geomstats_vae.geodesics.deadline import Deadline
from geomstats_vae.geodesics.solver import within
from geomstats_vae.geometry.blocks import Blocks
from geomstats_vae.geometry.protocol import Floats
from geomstats_vae.geometry.time_limit import earlier


def solve(
    geometry: Any, start: Floats, end: Floats, guess: GeodesicPath | SolvedCurves | None
) -> GeodesicPath:
    """Solve for geodesics in this process, while a bar moves.

    Parameters
    ----------
    geometry : DecoderGeometry
        Geometry of the latent space.
    start, end : numpy.ndarray, shape=[n_pairs, dim]
        End points.
    guess : GeodesicPath or SolvedCurves, optional
        Geodesics between as many other points.

    Returns
    -------
    path : GeodesicPath
        Curves of all pairs. The solver's limit of time is that of all together.
    """
    deadline, paths = _deadline(geometry), []
    curves = guess.curves if isinstance(guess, GeodesicPath) else guess
    immersion, graph = geometry.immersion(), geometry.build_graph()
    chosen = geometry.solver_for(len(start))
    for part in geometry.blocks.slices(len(start)):
        solver = within(chosen, deadline.remaining)
        near = None if curves is None else curves.take(part)
        paths.append(solver.solve(immersion, start[part], end[part], graph, near))
    return paths[0] if len(paths) == 1 else join_paths(paths)


def work(geometry: Any, function: Any, start: Floats, *others: Any) -> list[NDArray[Any]]:
    """Solve for geodesics in blocks, and keep some columns of each.

    Parameters
    ----------
    geometry : DecoderGeometry
        Geometry of the latent space.
    function : callable
        Takes the geometry, end points and the rows of the others; returns arrays with one row per
        pair.
    start : numpy.ndarray, shape=[n_pairs, dim]
        Starts.
    *others : numpy.ndarray, shape=[n_pairs, ...]
        Ends, and what else the function takes.

    Returns
    -------
    columns : list of numpy.ndarray, shape=[n_pairs, ...]
        The arrays of all pairs. The solver's limit of time is that of all together.

    Raises
    ------
    OutOfTimeError
        If the deadline of the geometry's blocks passes; that of the solver gives statuses.
    """
    deadline, geometry = _deadline(geometry), geometry.for_many(len(start))
    worker, blocks, tile = for_workers(geometry, len(start)), geometry.blocks, None
    graph = worker.precomputed.own_graph
    if graph is not None:
        n_jobs = max(1, effective_n_jobs(blocks.jobs(len(start))))
        graph, tile = graph.for_pairs(start, others[0], n_jobs)
        worker = replace(worker, graph=graph)
    each = partial(_block, geometry=worker, function=function, deadline=deadline)
    limited = deadline.remaining is not None
    return blocks.run(each, start, *others, limited=limited, tile=tile)


def for_workers(geometry: Any, n_pairs: int) -> Any:
    """Make a geometry that carries its graph and table along if it goes to other processes.

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
    blocks, kept = geometry.blocks, dict[str, Any]()
    if blocks.verbose:
        geometry.build_graph()  # where its progress can be seen
        geometry.solver_for(n_pairs)
    if blocks.jobs(n_pairs) > 1:
        kept["graph"] = geometry.precomputed.own_graph
        if geometry.tabulated:
            kept["table"] = geometry.precomputed.own_table
    return replace(geometry, blocks=Blocks(), **kept)


def _deadline(geometry: Any) -> Deadline:
    own = Deadline.after(getattr(geometry.solver, "max_seconds", None))
    return earlier(own, geometry.blocks.deadline)


def _block(*columns: Any, geometry: Any, function: Any, deadline: Deadline) -> Any:
    solver = within(geometry.solver, deadline.remaining)
    return function(replace(geometry, solver=solver), *columns)
