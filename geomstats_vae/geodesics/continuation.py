"""Geodesics from those of nearby end points.

An algorithm that moves a point while others stay asks again and again for nearly the same
geodesics. Each curve is moved along with its ends, and is certified anew by one look at the
geodesic equation on a mesh twice as fine; Newton steps are taken only where that asks for them.
Whether a curve is still in the shortest valley follows from the triangle inequality while its ends
have moved by less than the certificate's tolerance; after that the landscape is asked again.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from geomstats_vae.geodesics.certificate import Certificate
from geomstats_vae.geodesics.curves import Curves
from geomstats_vae.geodesics.elements import reference_element
from geomstats_vae.geodesics.path import GeodesicPath
from geomstats_vae.geodesics.relaxation import RelaxedCurves

_FARTHEST = 0.05  # share of its length by which the ends of a curve may move
_HOPELESS = 0.1  # residual from which Newton's method is not tried
_MAX_REFINEMENTS = 3
_UNSTEADY = 3e-4  # share of its length by which a curve's ends move so far that it is off for sure
# A graph is off by up to a few percent of a length, and at points nearby by about as much.
_SAME_VALLEY = 1.005


@dataclass(frozen=True)
class Solution:
    """Geodesics, and what is needed to find those of nearby end points.

    Parameters
    ----------
    start, end : array, shape=[n_pairs, dim]
        End points.
    path : GeodesicPath
        What the solver answered.
    nodes : list of array, shape=[n_elements, degree + 1, dim]
        Nodes of the curves' elements, of the degree that each was solved with; None where there
        is no curve to go on from.
    drift : array, shape=[n_pairs]
        By how much the ends have moved since the curve was last compared with the landscape, in
        units of length.
    way : array, shape=[n_pairs]
        Lengths on the landscape's graph then; NaN where they were not asked for.
    """

    start: np.ndarray
    end: np.ndarray
    path: GeodesicPath
    nodes: list
    drift: np.ndarray
    way: np.ndarray

    def take(self, rows):
        """Take consecutive pairs.

        Parameters
        ----------
        rows : slice
            The pairs.

        Returns
        -------
        solution : Solution
            Their part.
        """
        arrays = self.start[rows], self.end[rows], self.path.map(lambda array: array[rows])
        return Solution(*arrays, self.nodes[rows], self.drift[rows], self.way[rows])


class Continuation:
    """Curves of a solution, moved to other end points.

    Parameters
    ----------
    near : Solution
        The solution.
    start, end : array, shape=[n_pairs, dim]
        New end points, pair by pair near those of the solution.
    metric : callable
        Takes points, shape=[n, dim], and returns metric matrices.
    rtol : float
        Bound on the relative errors of lengths.

    Attributes
    ----------
    moved : array, shape=[n_pairs]
        By how much the ends moved, in units of length.
    usable : array of bool, shape=[n_pairs]
        Whether a converged curve is there that has not moved far.
    fresh : array of bool, shape=[n_pairs]
        Whether what is known of the curve still holds within `rtol`: that it lies in the shortest
        valley, and how far its fine length is from the discrete one.
    """

    def __init__(self, near, start, end, metric, rtol):
        self.near, self.start, self.end = near, start, end
        self.moved = _norm(metric(start), start - near.start) + _norm(metric(end), end - near.end)
        length = near.path.length
        there = np.array([nodes is not None for nodes in near.nodes], dtype=bool)
        self.usable = near.path.converged & there & (self.moved <= _FARTHEST * length)
        self.fresh = self.usable & (near.drift + self.moved <= rtol * length)
        self._unsteady = self.moved > _UNSTEADY * length
        with np.errstate(divide="ignore", invalid="ignore"):
            self._error = near.path.length_error + self.moved / length

    def groups(self, pairs):
        """Split pairs by the degree of their curves, whether these are fresh, and unsteady."""
        degrees = np.array([self.near.nodes[k].shape[1] - 1 for k in pairs])
        keys = np.stack((degrees, self.fresh[pairs], self._unsteady[pairs]), axis=1)
        for key in np.unique(keys, axis=0):
            yield int(key[0]), pairs[(keys == key).all(axis=1)]

    def leave_valleys(self, pairs, length, landscape):
        """Tell of which pairs the shortest way may now lead through another valley.

        Curves in the shortest valley stay in proportion to the ways on the graph.

        Parameters
        ----------
        pairs : array of int, shape=[n_curves]
            Pairs.
        length : array, shape=[n_curves]
            Lengths of their curves.
        landscape : Landscape
            The landscape.

        Returns
        -------
        left : array of bool, shape=[n_curves]
            Whether curves have become longer in proportion.
        way : array, shape=[n_curves]
            Lengths on the graph.
        """
        before = self.near.way[pairs]
        unknown = np.isnan(before)
        if unknown.any():
            asked = pairs[unknown]
            before[unknown] = landscape.distances(self.near.start[asked], self.near.end[asked])
        way = landscape.distances(self.start[pairs], self.end[pairs])
        usual = np.maximum(1.0, self.near.path.length[pairs] / before)
        return ~(length <= _SAME_VALLEY * usual * way), way

    def relax(self, evaluator, pairs, options, rtol):
        """Certify the moved curves, with Newton steps where they are needed.

        Parameters
        ----------
        evaluator : ElementEvaluator
            Evaluates elements of the curves' degree.
        pairs : array of int, shape=[n_curves]
            Pairs of one group.
        options : Relaxation
            Options of the steps.
        rtol : float
            Bound on the relative errors of lengths.

        Returns
        -------
        relaxed : RelaxedCurves
            The curves.
        certificate : Certificate
            What is known of them.
        good : array of bool, shape=[n_curves]
            Whether they are geodesics.
        """
        nodes = [
            _moved_along(
                self.near.nodes[k],
                self.start[k] - self.near.start[k],
                self.end[k] - self.near.end[k],
            )
            for k in pairs
        ]
        curves = Curves(np.concatenate(nodes), np.array([len(piece) for piece in nodes]))
        unsteady, known, system = self._unsteady[pairs[0]], {}, None
        if not unsteady:
            halves = curves.split(np.ones(len(curves.nodes), dtype=bool))
            system = evaluator.system(halves.nodes)
        relaxed = RelaxedCurves(evaluator, curves, options, halves=system)
        certificate = Certificate(evaluator, relaxed, options.max_elements)
        which, good = np.flatnonzero(relaxed.finite), np.zeros(len(pairs), dtype=bool)
        if unsteady:
            relaxed.run(which)
            which = which[relaxed.finite[which]]
        else:
            known["system"] = system[_halves(curves, which)]
            if self.fresh[pairs[0]]:
                known["errors"] = self._error[pairs[which]]
        for refinement in range(_MAX_REFINEMENTS + 1):
            if not len(which):
                break
            marked = certificate.look(which, options.tol, rtol, **known)
            sound = (certificate.residual <= options.tol) & (certificate.length_error <= rtol)
            sound[certificate.saddles] = False
            good[which] = sound[which]
            which = which[~good[which] & (certificate.residual[which] <= _HOPELESS)]
            if (refinement or unsteady) and len(which):
                # At first a curve is off because its ends moved, later because its mesh is coarse.
                marked &= np.isin(relaxed.curves.owner, which)
                relaxed.split(marked, certificate.halves(marked))
            relaxed.run(which)
            which, known = which[relaxed.finite[which]], {}
        return relaxed, certificate, good


def _halves(curves, which):
    """Places of the halves of some curves' elements among those of all."""
    rows = curves.rows(which)
    return (2 * rows[:, None] + np.arange(2)).ravel()


def _moved_along(nodes, first, last):
    """Displace the ends of a curve, and each node by its share along it.

    The share is linear along each element, so the displaced curve is as smooth as the curve is.
    """
    chords = np.linalg.norm(nodes[:, -1] - nodes[:, 0], axis=1)
    where = np.concatenate(([0.0], np.cumsum(chords)))
    where = where / where[-1] if where[-1] > 0.0 else np.linspace(0.0, 1.0, len(where))
    inside = 0.5 * (reference_element(nodes.shape[1] - 1).nodes + 1.0)
    share = where[:-1, None] + inside * np.diff(where)[:, None]
    share[-1, -1] = 1.0
    return nodes + (1.0 - share)[..., None] * first + share[..., None] * last


def _norm(metric, vector):
    return np.sqrt(np.maximum(np.einsum("nij,ni,nj->n", metric, vector, vector), 0.0))
