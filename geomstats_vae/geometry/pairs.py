"""Many pairs: geodesics solved in blocks of bounded memory, in this process or by joblib."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from joblib import effective_n_jobs
from tqdm import tqdm

from geomstats_vae.geodesics.elements import to_numpy as to_host
from geomstats_vae.geometry.workers import work_blocks

# Pairs are independent, so blocks change memory and not results. What a search of the graph sets
# up serves all pairs of a block, and takes little memory of each.
PAIRS_PER_BLOCK = 512
PAIRS_PER_SEARCH = 2**15
# A straight line is measured by more chords as long as it may be the shorter way.
_LINE_CHORDS = (8, 32, 128)


class Ends(NamedTuple):
    """What distances need of geodesics: no curves, which take most of the memory.

    Parameters
    ----------
    length : array, shape=[n_pairs]
        Lengths.
    initial_velocity, final_velocity : array, shape=[n_pairs, dim]
        Velocities at the ends.
    status : array of int, shape=[n_pairs]
        Statuses.
    """

    length: np.ndarray
    initial_velocity: np.ndarray
    final_velocity: np.ndarray
    status: np.ndarray


def solve_ends(solve, start, end, **options):
    """Solve for geodesics between rows and keep their ends.

    Parameters
    ----------
    solve : callable
        Takes end points, shape=[n_pairs, dim] each, and returns a `GeodesicPath` of numpy arrays.
    start, end : torch.Tensor, shape=[n_pairs, dim]
        End points.
    **options : dict
        n_jobs, verbose and arguments of `joblib.Parallel`; see `in_blocks`.

    Returns
    -------
    ends : Ends
        Lengths, end velocities and statuses.
    """
    columns = in_blocks(partial(_ends, solve), start, end, PAIRS_PER_BLOCK, **options)
    return Ends(*columns)


def _ends(solve, start, end):
    path = solve(start, end)
    return tuple(getattr(path, name) for name in Ends._fields)


def graph_lengths(graph, start, end, **options):
    """Lengths of graph paths, or of the straight line where it is shorter.

    Parameters
    ----------
    graph : LatentGraph
        Graph over the latent space.
    start, end : torch.Tensor, shape=[n_pairs, dim]
        End points.
    **options : dict
        n_jobs, verbose and arguments of `joblib.Parallel`; see `in_blocks`.

    Returns
    -------
    length : array, shape=[n_pairs]
        Lengths; infinite where the decoder is finite along neither.
    """
    search = partial(_graph_lengths, graph)
    return in_blocks(search, start, end, PAIRS_PER_SEARCH, blocks_per_job=1, **options)[0]


def _graph_lengths(graph, start, end):
    start, end = to_host(start), to_host(end)
    length = np.zeros(len(start))
    rows = np.flatnonzero((start != end).any(axis=1))
    if len(rows):
        length[rows] = graph.distances(start[rows], end[rows])
    # Chords undercut the line that they measure: one that is no shorter by few chords is longer.
    for n_chords in _LINE_CHORDS:
        if not len(rows):
            return (length,)
        line = graph.chord_lengths(start[rows], end[rows], n_chords)
        shorter = line < length[rows]
        rows, line = rows[shorter], line[shorter]
    length[rows] = line
    return (length,)


def in_blocks(function, start, end, size, *, n_jobs=1, blocks_per_job=4, verbose=False, **kwargs):
    """Work on pairs in blocks, those with a common end point together.

    Parameters
    ----------
    function : callable
        Takes end points, shape=[n_block, dim] each, and returns a tuple of arrays with one row
        per pair.
    start, end : torch.Tensor, shape=[n_pairs, dim]
        End points.
    size : int
        Largest number of pairs of a block.
    n_jobs : int, optional
        Blocks worked on at a time, as joblib understands it; 1 works in this process.
    blocks_per_job : int
        Least number of blocks for each job: more of them even out pairs of different cost.
    verbose : bool
        Show a progress bar.
    **kwargs : dict
        Further arguments of `joblib.Parallel`; see `work_blocks`.

    Returns
    -------
    columns : list of array, shape=[n_pairs, ...]
        The arrays of all pairs, in their order.

    Raises
    ------
    RuntimeError
        If workers were lost for good, or a block came back without all of its rows.
    """
    start, end = start.detach(), end.detach()
    serial = n_jobs == 1 and not kwargs
    if not serial:
        least = blocks_per_job * effective_n_jobs(n_jobs)
        size = min(size, max(1, -(-len(start) // least)))
    # One search of the graph serves all pairs of a block that share their start, or their end.
    order = torch.as_tensor(_by_common_ends(to_host(start), to_host(end)), device=start.device)
    blocks = list(zip(start[order].split(size), end[order].split(size), strict=True))
    if serial:
        results = (function(*block) for block in blocks)
    else:
        results = work_blocks(function, blocks, n_jobs, **kwargs)
    checked = []
    with tqdm(desc="Distances", unit="block", total=len(blocks), disable=not verbose) as progress:
        for block, result in zip(blocks, results, strict=True):
            checked.append(_check_result(result, len(block[0])))
            progress.update()
    columns = [np.concatenate(parts) for parts in zip(*checked, strict=True)]
    inverse = np.argsort(order.cpu().numpy())
    return [column[inverse] for column in columns]


def _check_result(result, n_pairs):
    """Check that a block has a row for each of its pairs, before it is joined to others."""
    complete = isinstance(result, tuple) and all(len(column) == n_pairs for column in result)
    if not complete:
        got = [len(column) for column in result] if isinstance(result, tuple) else result
        raise RuntimeError(
            f"Expected arrays of {n_pairs} rows from a block of as many pairs, got {got!r}; "
            "its worker is broken: restart the workers."
        )
    return result


def _by_common_ends(start, end):
    """Order of the pairs, by whichever ends have fewer distinct points."""
    places = [np.unique(points, axis=0, return_inverse=True)[1].ravel() for points in (start, end)]
    fewer = min(places, key=lambda place: place.max(initial=0))
    return np.argsort(fewer, kind="stable")
