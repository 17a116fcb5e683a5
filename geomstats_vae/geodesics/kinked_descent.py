"""Geodesics of decoders with kinks, in many dimensions: quasi-Newton descents, width by width.

On narrow kinks a step of Newton's method gains little, and needs quadrature that resolves them. A
descent by chords needs gradients only. So each curve descends on the decoders of all widths. On the
last one it descends once more by twice as many chords, in double precision. There the decrement in
the matrix that its own steps have taught is the residual of its certificate.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from geomstats_vae.geodesics.arrays import Floats, Ints
from geomstats_vae.geodesics.curves.chain import Curves, end_velocities
from geomstats_vae.geodesics.curves.path import GeodesicPath, GeodesicStatus, SolvedCurves
from geomstats_vae.geodesics.curves.reference import reference_element
from geomstats_vae.geodesics.descent import SineCurves, descend, first_descent, sine_curves
from geomstats_vae.geodesics.elements import Evaluator
from geomstats_vae.geodesics.minimise import Minimised, end_metrics
from geomstats_vae.geodesics.model import CurveModel
from geomstats_vae.geodesics.options import DescentOptions, KinkOptions
from geomstats_vae.geodesics.search import Search, first_polylines
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
    """

    evaluator: Evaluator
    smoothed: Callable[[float], Immersion]
    search: Callable[[float, Ints], Search]
    rtol: float
    options: KinkOptions
    descent: DescentOptions
    graph_limit: float

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
        curves = first_descent(self.smoothed(first), polylines, owner, self.descent).curves
        width, length = np.full(len(left), first), self._lengths(curves)
        curves, width, length = self._narrowed(curves, width, length, others, start_anew=True)
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
            width[longer[better]] = found[1][better]
        # Pairs whose ends are one point are in any group.
        everywhere = np.full(len(pairs), width[0])
        everywhere[left] = width
        return [
            self._certified(pairs, np.flatnonzero(everywhere == each), float(each), left, curves)
            for each in np.unique(everywhere)
        ]

    def _narrowed(
        self,
        curves: SineCurves,
        width: Floats,
        length: Floats,
        widths: Sequence[float],
        *,
        start_anew: bool = False,
    ) -> tuple[SineCurves, Floats, Floats]:
        """Let curves descend on narrower kinks, until their lengths stop falling.

        The first of the widths is tried by all; with ``start_anew`` the next one is, too.
        """
        width, best = width.copy(), length.copy()
        going = np.arange(len(best))
        for k, narrower in enumerate(widths):
            new = descend(self.smoothed(narrower), curves.take(going), self.descent).curves
            length, before = self._lengths(new), best[going]
            better = length <= (1.0 + self.options.margin) * before
            curves = curves.put(going[better], new.take(np.flatnonzero(better)))
            width[going[better]], best[going] = narrower, np.minimum(length, before)
            falling = length < (1.0 - self.rtol) * before
            going = going if start_anew and not k else going[falling]
            if not len(going):
                break
        return curves, width, best

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
        polylines, times = [], []
        for k, nodes in enumerate(guess.nodes):
            assert nodes is not None
            inside = 0.5 * (reference_element(nodes.shape[1] - 1).nodes[:-1] + 1.0)
            t = (np.arange(len(nodes))[:, None] + inside).ravel() / len(nodes)
            t = np.append(t, 1.0)
            line = np.concatenate((nodes[:, :-1].reshape(-1, nodes.shape[2]), nodes[-1, -1:]))
            first, last = search.start[k] - guess.start[k], search.end[k] - guess.end[k]
            polylines.append(line + (1.0 - t)[:, None] * first + t[:, None] * last)
            times.append(t)
        curves = sine_curves(polylines, self.options.finish.modes, times)
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
        found = descend(model.immersion, curves.take(mine).finer(options.modes), options)
        elements = found.curves.elements(options.n_elements, model.element.degree)
        chords = [
            self._chords(model, elements, n) for n in (2 * options.chords, 4 * options.chords)
        ]
        with np.errstate(invalid="ignore"):
            length_error = np.abs(chords[1] - chords[0]) / chords[1]
        status = np.full(len(mine), int(GeodesicStatus.CONVERGED))
        status[~(found.residual <= self.rtol)] = GeodesicStatus.MAX_ITER
        status[~(length_error <= self.rtol)] = GeodesicStatus.UNDER_RESOLVED
        status[~np.isfinite(chords[1])] = GeodesicStatus.NON_FINITE
        minimised = Minimised(
            curves=elements,
            length=np.where(np.isfinite(chords[1]), chords[1], np.inf),
            velocity=_velocities(model, elements, chords[1]),
            residual=np.where(np.isfinite(found.residual), found.residual, np.inf),
            length_error=np.where(np.isfinite(length_error), length_error, np.inf),
            status=status,
            n_iter=found.n_iter,
            settled=np.zeros(len(mine), dtype=bool),
        )
        path = search.accept(minimised)
        assert path.curves is not None
        widths = np.full(len(which), width)
        return which, replace(path, width=widths, curves=replace(path.curves, width=widths))

    def _chords(self, model: CurveModel, curves: Curves, n_chords: int) -> Floats:
        """Lengths of curves on a smoothed decoder, by about so many chords each."""
        each = -(-n_chords // int(curves.counts[0]))
        return curves.total(model.chord_lengths(curves.sample(each)))


def _velocities(model: CurveModel, curves: Curves, length: Floats) -> Floats:
    """Velocities at both ends of curves that are stationary, shape=[n_curves, 2, dim]."""
    first, last = curves.offsets[:-1], curves.offsets[1:] - 1
    ends = np.stack((first, last), axis=1).ravel()
    gradient = np.zeros((len(curves.nodes), curves.nodes[0].size))
    gradient[ends] = model.variation(curves.nodes[ends]).gradient
    return end_velocities(curves, gradient, length, end_metrics(model, curves))
