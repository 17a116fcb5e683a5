"""Geodesics of decoders with kinks, in many dimensions: quasi-Newton descents, width by width.

On narrow kinks a step of Newton's method gains little, and needs quadrature that resolves them. A
descent by chords needs gradients only. So each curve descends on the decoders of all widths. On the
last one it descends once more by twice as many chords. There the decrement in the matrix that its
own steps have taught is the residual of its certificate.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from geomstats_vae.geodesics.arrays import Bools, Floats, Ints
from geomstats_vae.geodesics.certificate import certify
from geomstats_vae.geodesics.curves.path import GeodesicPath, SolvedCurves
from geomstats_vae.geodesics.deadline import Deadline
from geomstats_vae.geodesics.descent import (
    SineCurves,
    descend,
    first_descent,
    moved_sines,
    sine_curves,
)
from geomstats_vae.geodesics.elements import Evaluator
from geomstats_vae.geodesics.options import DescentOptions, KinkOptions
from geomstats_vae.geodesics.search import Search, first_polylines
from geomstats_vae.geodesics.status import GeodesicStatus
from geomstats_vae.immersions.immersion import Immersion


@dataclass(frozen=True)
class KinkedDescent:
    """Descents on smoothed decoders.

    Parameters
    ----------
    evaluator : Evaluator
        Measures on the decoder itself.
    smoothed : callable
        Takes a width; returns the smoothed F, in single precision if that is exact enough.
    search : callable
        Takes a width and pairs as an array of int; makes the search on the smoothed decoder.
    rtol : float
        Relative fall of the length at which narrower kinks are of no more use, and the bound of the
        certificate.
    options : KinkOptions
        Widths.
    descent : DescentOptions
        Numbers of chords and steps.
    graph_limit : float
        As of `first_polylines`.
    deadline : Deadline
        When to give the curves back as they are.
    """

    evaluator: Evaluator
    smoothed: Callable[[float], Immersion]
    search: Callable[[float, Ints], Search]
    rtol: float
    options: KinkOptions
    descent: DescentOptions
    graph_limit: float
    deadline: Deadline

    def run(self, pairs: Ints) -> list[tuple[Ints, GeodesicPath]]:
        """Find curves between pairs of points.

        Parameters
        ----------
        pairs : array of int, shape=[n_pairs]
            Pairs.

        Returns
        -------
        found : list of (array of int, GeodesicPath)
            For each width the places of the pairs whose curves have it, and these.
        """
        first, *others = self.options.widths
        search = self.search(first, pairs)
        left, start, end = search.open, search.start[search.open], search.end[search.open]
        if not len(left):
            return [(np.arange(len(pairs)), search.run(None))]
        polylines, owner = first_polylines(search.graph, start, end, self.graph_limit)
        smoothed, deadline = self.smoothed(first), self.deadline
        curves = first_descent(smoothed, polylines, owner, self.descent, deadline).curves
        width, length = np.full(len(left), first), self._lengths(curves)
        found = self._narrowed(curves, width, length, others, start_anew=True)
        curves, width, length, late = found
        # Wide kinks may lead into a valley that is none of the decoder itself.
        straight = sine_curves(list(np.stack((start, end), axis=1)), self.descent.modes)
        longer = np.flatnonzero(~(length <= self._lengths(straight)))
        if len(longer):
            found = self._narrowed(
                straight.take(longer),
                np.full(len(longer), self.options.widths[-1]),
                self._lengths(straight)[longer],
                self.options.widths[1:],
            )
            better = found[2] < length[longer]
            curves = curves.put(longer[better], found[0].take(np.flatnonzero(better)))
            width[longer[better]], late[longer[better]] = found[1][better], found[3][better]
        # Pairs whose ends are one point are in any group.
        everywhere, too_late = np.full(len(pairs), width[0]), np.zeros(len(pairs), dtype=bool)
        everywhere[left], too_late[left] = width, late
        groups = [
            self._certified(pairs, np.flatnonzero(everywhere == each), float(each), left, curves)
            for each in np.unique(everywhere)
        ]
        return [(rows, _with_late(path, too_late[rows])) for rows, path in groups]

    def _narrowed(
        self,
        curves: SineCurves,
        width: Floats,
        length: Floats,
        widths: Sequence[float],
        *,
        start_anew: bool = False,
    ) -> tuple[SineCurves, Floats, Floats, Bools]:
        """Let curves descend on narrower kinks, until their lengths stop falling.

        The first of the widths is tried by all; with ``start_anew`` the next one is, too. Returns
        curves, widths, lengths, and for which curves the time was over before that.
        """
        width, best = width.copy(), length.copy()
        going = np.arange(len(best))
        for k, narrower in enumerate(widths):
            if self.deadline.passed:
                break
            smoothed, part = self.smoothed(narrower), curves.take(going)
            new = descend(smoothed, part, self.descent, self.deadline).curves
            length, before = self._lengths(new), best[going]
            better = length <= (1.0 + self.options.margin) * before
            curves = curves.put(going[better], new.take(np.flatnonzero(better)))
            width[going[better]], best[going] = narrower, np.minimum(length, before)
            falling = length < (1.0 - self.rtol) * before
            going = going if start_anew and not k else going[falling]
            if not len(going):
                break
        late = np.zeros(len(best), dtype=bool)
        late[going] = self.deadline.passed
        return curves, width, best, late

    def follow(self, guess: SolvedCurves, pairs: Ints, width: float) -> GeodesicPath:
        """Go on from curves between nearby points, found at one width.

        Parameters
        ----------
        guess : SolvedCurves
            Curves, each there.
        pairs : array of int, shape=[n_pairs]
            The pairs that they are for.
        width : float
            Their width.

        Returns
        -------
        path : GeodesicPath
            Curves between the new end points.
        """
        search = self.search(width, pairs)
        moved = search.start - guess.start, search.end - guess.end
        curves = moved_sines(guess.nodes, *moved, self.options.finish.modes)
        everyone = np.arange(len(pairs))
        return self._certified(pairs, everyone, width, everyone, curves)[1]

    def _lengths(self, curves: SineCurves) -> Floats:
        """Lengths on the decoder itself, by chords; infinite where it is not finite."""
        t = np.linspace(0.0, 1.0, self.options.chords + 1)
        length = self.evaluator.chord_lengths(curves(t))
        return np.where(np.isfinite(length), length, np.inf)

    def _certified(
        self, pairs: Ints, which: Ints, width: float, left: Ints, curves: SineCurves
    ) -> tuple[Ints, GeodesicPath]:
        """Let some of the pairs' curves descend by more chords, and certify them."""
        search, options = self.search(width, pairs[which]), self.options.finish
        model = search.models[search.line_degree]
        # Where the open ones among these pairs are among all that are left.
        mine = np.searchsorted(left, which[search.open])
        finer = curves.take(mine).finer(options.modes)
        found = descend(self.smoothed(width), finer, options, self.deadline)
        n_chords = 2 * options.chords
        minimised = certify(model, found, options.n_elements, n_chords, self.rtol, self.deadline)
        path = search.accept(minimised)
        assert path.curves is not None
        widths = np.full(len(which), width)
        return which, replace(path, width=widths, curves=replace(path.curves, width=widths))


def _with_late(path: GeodesicPath, late: Bools) -> GeodesicPath:
    """Take back the certificates of curves that were to be tried on narrower kinks."""
    late = late & path.converged
    status = np.where(late, int(GeodesicStatus.OUT_OF_TIME), path.status)
    return replace(path, status=status, converged=path.converged & ~late)
