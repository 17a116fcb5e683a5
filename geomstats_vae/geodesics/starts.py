"""Starts from an initial guess: the geodesics between nearby end points.

An algorithm that moves a point while others stay asks again and again for nearly the same
geodesics. Each curve is moved along with its ends, and is certified anew by one look at a mesh
twice as fine. Newton steps are taken only where that asks for them. Whether a curve is still in
the shortest valley follows from the triangle inequality while its ends have moved by less than the
certificate's tolerance. After that the graph is asked again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from geomstats_vae.geodesics.arrays import Bools, Floats, Ints
from geomstats_vae.geodesics.curves.chain import Curves, chain_together
from geomstats_vae.geodesics.curves.path import SolvedCurves
from geomstats_vae.geodesics.curves.reference import reference_element, sampling_matrix
from geomstats_vae.geodesics.graph.latent_graph import LatentGraph
from geomstats_vae.geodesics.model import CurveModel
from geomstats_vae.geodesics.options import DescentOptions, GuessOptions, RaceOptions, Task
from geomstats_vae.immersions.immersion import Immersion


@dataclass(frozen=True)
class Start:
    """Curves to be minimised, and the pairs that they join; those of one pair race if asked to."""

    pairs: Ints
    model: CurveModel
    curves: Curves
    task: Task
    race: RaceOptions | None = None


@dataclass(frozen=True)
class Descent:
    """How curves descend before Newton's method takes over.

    Parameters
    ----------
    immersion : Immersion
        The decoder's F, in single precision if that is exact enough.
    options : DescentOptions
        Numbers of chords and steps.
    """

    immersion: Immersion
    options: DescentOptions


@dataclass(frozen=True)
class Group:
    """Pairs whose guesses are treated alike.

    Parameters
    ----------
    degree : int
        Degree of the curves.
    pairs : array of int, shape=[n_curves]
        The pairs.
    fresh : bool
        Whether what is known of the curves still holds; see `Guess`.
    steady : bool
        Whether the curves may be stationary as they are.
    """

    degree: int
    pairs: Ints
    fresh: bool
    steady: bool


class Guess:
    """Curves of an earlier solve, moved to new end points.

    Parameters
    ----------
    curves : SolvedCurves
        The curves.
    start, end : array, shape=[n_pairs, dim]
        New end points, pair by pair near those of the curves.
    metrics : callable
        Takes points, shape=[n, dim], and returns metric matrices.
    rtol : float
        Bound on the relative errors of lengths.
    options : GuessOptions
        How the guess is used.

    Attributes
    ----------
    moved : array, shape=[n_pairs]
        By how much the ends moved, in units of length.
    there : array of bool, shape=[n_pairs]
        Whether a converged curve is there that has moved by no more than a good part of its length.
    usable : array of bool, shape=[n_pairs]
        Whether it has not moved far.
    fresh : array of bool, shape=[n_pairs]
        Whether what is known of the curve still holds within `rtol`: that it lies in the shortest
        valley, and how far its fine length is from the discrete one.
    length_error : array, shape=[n_pairs]
        Bounds on the errors of the lengths of fresh curves.
    drift : array, shape=[n_pairs]
        By how much the ends have moved since the curves were last compared with the graph.
    """

    def __init__(
        self,
        curves: SolvedCurves,
        start: Floats,
        end: Floats,
        metrics: Callable[[Floats], Floats],
        rtol: float,
        options: GuessOptions,
    ) -> None:
        self._old, self._start, self._end, self._options = curves, start, end, options
        self.moved = _norms(metrics(start), start - curves.start)
        self.moved += _norms(metrics(end), end - curves.end)
        there = np.array([nodes is not None for nodes in curves.nodes], dtype=bool)
        self.there = curves.converged & there
        self.there &= self.moved <= options.farthest_descent * curves.length
        self.usable = self.there & (self.moved <= options.farthest * curves.length)
        self.fresh = self.usable & (curves.drift + self.moved <= rtol * curves.length)
        self.drift = np.where(self.fresh, curves.drift + self.moved, 0.0)
        self._steady = ~(self.moved > options.unsteady * curves.length)
        with np.errstate(divide="ignore", invalid="ignore"):
            self.length_error = curves.length_error + self.moved / curves.length

    def groups(self, pairs: Ints) -> Iterator[Group]:
        """Split pairs into those that are treated alike."""
        degrees = np.array([self._nodes(k).shape[1] - 1 for k in pairs], dtype=int)
        keys = np.stack((degrees, self.fresh[pairs], self._steady[pairs]), axis=1)
        for key in np.unique(keys, axis=0):
            members = pairs[(keys == key).all(axis=1)]
            yield Group(int(key[0]), members, bool(key[1]), bool(key[2]))

    def curves(self, pairs: Ints) -> Curves:
        """Take the curves of pairs, of one degree, along with their end points."""
        first, last = self._start - self._old.start, self._end - self._old.end
        chains = chain_together([self._nodes(k) for k in pairs])
        return _moved_along(chains, first[pairs], last[pairs])

    def displaced(self, pairs: Ints) -> tuple[list[Floats], Floats, Floats]:
        """Nodes of the curves of pairs as they were, and displacements of their ends since."""
        first, last = self._start - self._old.start, self._end - self._old.end
        return [self._nodes(k) for k in pairs], first[pairs], last[pairs]

    def _nodes(self, pair: int) -> Floats:
        nodes = self._old.nodes[pair]
        assert nodes is not None  # of usable pairs only
        return nodes

    def left_valleys(
        self, pairs: Ints, length: Floats, graph: LatentGraph, *, strict: bool = False
    ) -> tuple[Bools, Floats]:
        """Tell of which pairs the shortest curve may now lead through another valley.

        Curves in the shortest valley stay in proportion to the graph paths.

        Parameters
        ----------
        pairs : array of int, shape=[n_curves]
            Pairs.
        length : array, shape=[n_curves]
            Lengths of their curves.
        graph : LatentGraph
            The graph.
        strict : bool
            Also of curves that are shorter than their graph paths.

        Returns
        -------
        left : array of bool, shape=[n_curves]
            Whether curves have become longer in proportion.
        graph_length : array, shape=[n_curves]
            Lengths of the graph paths; more where the curves have become longer in proportion, so
            that these do not do so step by step.
        """
        before = self._old.graph_length[pairs]
        unknown = np.isnan(before)
        if unknown.any():
            asked = pairs[unknown]
            before[unknown] = graph.distances(self._old.start[asked], self._old.end[asked])
        now = graph.distances(self._start[pairs], self._end[pairs])
        # Where the graph has no path there is nothing to compare with.
        with np.errstate(divide="ignore", invalid="ignore"):
            best = self._old.length[pairs] / before
            usual = best if strict else np.maximum(1.0, best)
            left = np.isfinite(now) & ~(length <= self._options.same_valley * usual * now)
            kept = np.maximum(now, length / best)
        return left, np.where(left | ~np.isfinite(kept), now, kept)

    def graph_length(self, pairs: Ints) -> Floats:
        """Lengths of graph paths when the curves were last compared with them, shape=[n_curves]."""
        return self._old.graph_length[pairs]


def _moved_along(curves: Curves, first: Floats, last: Floats) -> Curves:
    """Displace the ends of curves, and each node by its share along its curve.

    The share is linear along each element, so a displaced curve is as smooth as the curve is.
    """
    nodes, offsets, owner = curves.nodes, curves.offsets, curves.owner
    chords = np.linalg.norm(nodes[:, -1] - nodes[:, 0], axis=1)
    total = curves.total(chords)[owner]
    # All elements of a point have the same share of it.
    width = np.where(
        total > 0.0, chords / np.where(total > 0.0, total, 1.0), 1.0 / curves.counts[owner]
    )
    before = np.cumsum(width) - width
    before -= before[offsets[:-1]][owner]
    inside = 0.5 * (reference_element(curves.degree).nodes + 1.0)
    share = before[:, None] + inside * width[:, None]
    share[offsets[1:] - 1, -1] = 1.0
    share = share[..., None]
    moved = nodes + (1.0 - share) * first[owner, None] + share * last[owner, None]
    return Curves(moved, curves.counts)


def _norms(metric: Floats, vector: Floats) -> Floats:
    """Norms of vectors, shape=[n]."""
    return np.sqrt(np.maximum(np.einsum("nij,ni,nj->n", metric, vector, vector), 0.0))


def steep_paths(
    graph: LatentGraph, paths: Mapping[int, Floats], cost: Floats, which: Ints, longest: float
) -> tuple[list[Floats], Ints]:
    """Take the graph paths of pairs about walls, and on a grid the next ones.

    Parameters
    ----------
    graph : LatentGraph
        The graph.
    paths : mapping of int to array, shape=[n_vertices, dim]
        The paths of pairs.
    cost : array, shape=[n_pairs]
        Their lengths in the graph.
    which : array of int, shape=[n_chosen]
        Pairs that are asked for.
    longest : float
        Next paths are taken up to this multiple of the first one's length.

    Returns
    -------
    polylines : list of array
        First paths, then next ones.
    owner : array of int, shape=[n_polylines]
        Their pairs.
    """
    first = [paths[k] for k in which]
    # Between points that share their node there is one path only.
    apart = which[cost[which] > 0.0] if graph.on_grid else which[:0]
    if not len(apart):
        return first, which
    most = longest * cost[apart]
    others, other_cost = graph.alternative_paths([paths[k] for k in apart], most)
    good = np.flatnonzero(other_cost < most)
    return [*first, *(others[k] for k in good)], np.concatenate((which, apart[good]))


def first_polylines(
    graph: LatentGraph | None, start: Floats, end: Floats, graph_limit: float
) -> tuple[list[Floats], Ints]:
    """Find the straight lines between pairs of points, and the graph paths that are shorter.

    Parameters
    ----------
    graph : LatentGraph or None
        The graph; without it there are lines only.
    start, end : array, shape=[n_pairs, dim]
        End points.
    graph_limit : float
        Lengths of lines, times this, past which no graph path is of use.

    Returns
    -------
    polylines : list of array, shape=[n_vertices, dim]
        Vertices.
    owner : array of int, shape=[n_polylines]
        The pairs that they join.
    """
    lines, owner = list(np.stack((start, end), axis=1)), np.arange(len(start))
    if graph is None:
        return lines, owner
    line = graph.line_lengths(start, end)
    paths, cost = graph.paths(start, end, graph_limit * line)
    shorter = np.flatnonzero(np.isfinite(cost) & (line > cost))
    return lines + [paths[k] for k in shorter], np.concatenate((owner, shorter))


def by_rank(rivals: list[Floats], owner: Ints) -> list[dict[int, Floats]]:
    """Sort second paths by their pairs: first the first of each pair, then the second of each."""
    ranks = list[dict[int, Floats]]()
    for path, pair in zip(rivals, owner, strict=True):
        rank = next((k for k, known in enumerate(ranks) if pair not in known), len(ranks))
        if rank == len(ranks):
            ranks.append({})
        ranks[rank][int(pair)] = path
    return ranks


def is_astray(path: Floats, nodes: Floats | None, most: float) -> bool:
    """Tell whether a path lies somewhere farther from a curve than that.

    Parameters
    ----------
    path : array, shape=[n_vertices, dim]
        The path.
    nodes : array, shape=[n_elements, degree + 1, dim], optional
        Nodes of the curve, if there is one.
    most : float
        Distance in latent space.

    Returns
    -------
    astray : bool
        Whether a vertex does.
    """
    if nodes is None:
        return False
    points = sampling_matrix(nodes.shape[1] - 1, 16) @ nodes
    off = cKDTree(points.reshape(-1, points.shape[2])).query(path)[0]
    return bool(off.max() > most)
