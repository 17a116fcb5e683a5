"""Geodesics of decoders with kinks: those of smoothed decoders, from wide to narrow kinks.

A decoder made of ReLUs is piecewise smooth. Its curvature sits on the kinks, so Newton's method
sees none of it, and a refined mesh traps curves on them. Here the kinks are rounded, at first much
and then less, and each curve goes on from the one before. It is measured on the decoder itself. A
pair is done when that length falls by no more than ``rtol``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch

from geomstats_vae.geodesics.arrays import Bools, Floats, Ints
from geomstats_vae.geodesics.curves.chain import chain_together, straight
from geomstats_vae.geodesics.curves.path import GeodesicPath, SolvedCurves, put_paths, take_paths
from geomstats_vae.geodesics.deadline import Deadline
from geomstats_vae.geodesics.elements import Evaluator
from geomstats_vae.geodesics.kinked_descent import KinkedDescent
from geomstats_vae.geodesics.minimised import Minimised
from geomstats_vae.geodesics.options import KinkOptions
from geomstats_vae.geodesics.search import Search
from geomstats_vae.geodesics.starts import Guess
from geomstats_vae.geodesics.status import GeodesicStatus
from geomstats_vae.immersions.immersion import Immersion

_LINE_ELEMENTS = 16  # of straight lines, for times in proportion to the length


def kink_codes(immersion: Immersion, codes: Floats | None, options: KinkOptions) -> torch.Tensor:
    """Choose the codes over which the inputs of kinks are measured.

    Parameters
    ----------
    immersion : Immersion
        The decoder's F.
    codes : array, shape=[n_codes, dim], or None
        Latent codes of the data; None stands for the standard normal distribution.
    options : KinkOptions
        Their number.

    Returns
    -------
    codes : torch.Tensor, shape=[at most options.n_codes, dim]
        Codes evenly spread over those given; the same at every call.
    """
    if codes is None or not len(codes):
        codes = np.random.default_rng(0).standard_normal((options.n_codes, immersion.dim))
    rows = np.unique(np.linspace(0, len(codes) - 1, options.n_codes).astype(int))
    return torch.as_tensor(codes[rows], dtype=immersion.dtype, device=immersion.device)


class KinkedSearch:
    """The search for geodesics of a decoder with kinks.

    Parameters
    ----------
    evaluator : Evaluator
        Measures on the decoder itself.
    search : callable
        Takes a width, pairs as an array of int, and whether to search loosely; makes the search
        for geodesics of the smoothed decoder.
    rtol : float
        Relative fall of the length at which narrower kinks are of no more use.
    options : KinkOptions
        Widths, and numbers of chords.
    deadline : Deadline
        When to give the curves back as they are.
    descent : KinkedDescent, optional
        Finds the curves instead of Newton's method.
    """

    def __init__(
        self,
        evaluator: Evaluator,
        search: Callable[[float, Ints, bool], Search],
        rtol: float,
        options: KinkOptions,
        deadline: Deadline,
        descent: KinkedDescent | None = None,
    ) -> None:
        self._evaluator, self._search, self._descent = evaluator, search, descent
        self._rtol, self._options, self._deadline = rtol, options, deadline

    def run(self, n_pairs: int, guess: SolvedCurves | None = None) -> GeodesicPath:
        """Search.

        Parameters
        ----------
        n_pairs : int
            Number of pairs.
        guess : SolvedCurves, optional
            Geodesics between nearby end points, with the widths at which they were found.

        Returns
        -------
        path : GeodesicPath
            Geodesics of smoothed decoders, with lengths and velocities on the decoder itself.
        """
        if guess is None:
            return self._or_lines(self._finished(self._from_afar(np.arange(n_pairs))))
        path, answered = self._from_guess(guess)
        left = np.flatnonzero(~answered)
        if len(left):
            path = put_paths(path, left, self._from_afar(left))
        return self._or_lines(self._finished(path))

    def _from_afar(self, pairs: Ints) -> GeodesicPath:
        """Search from lines and graph paths, from wide to narrow kinks."""
        if self._descent is not None:
            return self._by_descents(self._descent, pairs)
        first, *others = self._options.widths
        path = self._measured(_of_width(self._search(first, pairs, bool(others)).run(None), first))
        # Places of the pairs that are still to be looked at with narrower kinks.
        left, stage = np.arange(len(pairs)), path
        for width in others:
            if self._deadline.passed:
                return replace(path, status=self._late(path.status, left))
            assert stage.curves is not None
            found = self._search(width, pairs[left], False).continue_from(stage.curves)
            stage, before = self._measured(_of_width(found, width)), path.length[left]
            better = stage.length <= (1.0 + self._options.margin) * before
            going = stage.length < (1.0 - self._rtol) * before
            # The first was solved loosely, and is but a start.
            going |= np.isfinite(stage.length) & (path.width[left] == first)
            path = put_paths(path, left[better], take_paths(stage, np.flatnonzero(better)))
            left, stage = left[going], take_paths(stage, np.flatnonzero(going))
            if not len(left):
                break
        return path

    def _late(self, status: Ints, left: Ints) -> Ints:
        """Statuses of pairs some of which were to be looked at with narrower kinks."""
        status = status.copy()
        left = left[status[left] == GeodesicStatus.CONVERGED]
        status[left] = GeodesicStatus.OUT_OF_TIME
        return status

    def _or_lines(self, path: GeodesicPath) -> GeodesicPath:
        """Replace curves that are longer than straight lines on the decoder itself, by these.

        Rounded kinks may be valleys that are none of the decoder. A line is not known to be
        stationary.
        """
        assert path.curves is not None
        start, end = path.curves.start, path.curves.end
        line = self._evaluator.segment_lengths(start, end, 2 * self._options.chords)
        with np.errstate(invalid="ignore"):
            longer = np.flatnonzero(path.length > (1.0 + self._rtol) * line)
        if not len(longer):
            return path
        search = self._search(self._options.widths[-1], longer, False)
        ends, velocity = (start[longer], end[longer]), (end - start)[longer, None]
        unknown, late = np.full(len(longer), np.inf), int(GeodesicStatus.OUT_OF_TIME)
        lines = Minimised(
            curves=straight(*ends, _LINE_ELEMENTS, search.line_degree),
            length=line[longer],
            velocity=np.repeat(velocity, 2, axis=1),
            residual=unknown,
            length_error=unknown,
            status=np.where(path.status[longer] == late, late, int(GeodesicStatus.STALLED)),
            n_iter=path.n_iter[longer],
            settled=np.zeros(len(longer), dtype=bool),
        )
        part = _of_width(search.accept(lines), self._options.widths[-1])
        return put_paths(path, longer, self._finished(self._measured(part)))

    def _by_descents(self, descent: KinkedDescent, pairs: Ints) -> GeodesicPath:
        """Search by descents, and measure on the decoder itself."""
        groups = [(rows, self._measured(part)) for rows, part in descent.run(pairs)]
        path = _spread(*groups[0], len(pairs))
        for rows, part in groups[1:]:
            path = put_paths(path, rows, part)
        return path

    def _from_guess(self, guess: SolvedCurves) -> tuple[GeodesicPath, Bools]:
        """Go on from geodesics between nearby points, each at its own width."""
        path, answered = None, np.zeros(len(guess), dtype=bool)
        for width in np.intersect1d(guess.width, self._options.widths):
            pairs = np.flatnonzero(guess.width == width)
            part, good = self._follow(guess.take(pairs), pairs, float(width))
            found = self._measured(replace(part, width=np.full(len(pairs), width)))
            answered[pairs[good]] = True
            path = _spread(pairs, found, len(guess)) if path is None else path
            path = put_paths(path, pairs, found)
        if path is None:  # of a solver with other options
            return self._from_afar(np.arange(len(guess))), ~answered
        return path, answered

    def _follow(self, guess: SolvedCurves, pairs: Ints, width: float) -> tuple[GeodesicPath, Bools]:
        """Go on from geodesics of one width; the curves, and which of them are answers."""
        if self._descent is None:
            return self._search(width, pairs, False).follow(guess)
        search = self._search(width, pairs, False)
        metrics = self._evaluator.metrics
        near = Guess(guess, search.start, search.end, metrics, self._rtol, search.guess_options)
        good = near.usable.copy()
        path = search.path()
        usable = np.flatnonzero(good)
        if len(usable):
            found = self._descent.follow(guess.take(usable), pairs[usable], width)
            path = put_paths(path, usable, found)
            good[usable] = found.converged
        return path, good

    # -- on the decoder itself ---------------------------------------------------------------------

    def _measured(self, path: GeodesicPath) -> GeodesicPath:
        """Give curves of a smoothed decoder their lengths on the decoder itself, by some chords."""
        assert path.curves is not None
        length = np.full(len(path.length), np.inf)
        there = np.flatnonzero([nodes is not None for nodes in path.curves.nodes])
        length[there] = self._by_chords(path.curves, there, self._options.chords)
        # Curves of length zero join points that are one.
        length = np.where(path.length == 0.0, 0.0, np.where(np.isfinite(length), length, np.inf))
        return replace(path, length=length, curves=replace(path.curves, width=path.width))

    def _finished(self, path: GeodesicPath) -> GeodesicPath:
        """Give curves their lengths and velocities on the decoder itself, measured finely."""
        assert path.curves is not None
        length, n_chords = path.length.copy(), self._options.chords
        left = np.flatnonzero((length > 0.0) & np.isfinite(length))
        while len(left) and n_chords < self._options.chords_max:
            n_chords *= 2
            new = self._by_chords(path.curves, left, n_chords)
            gained = new - length[left]
            agree = np.abs(gained) <= 0.5 * self._rtol * new
            # The error falls with the square of the number of chords.
            length[left] = np.where(
                np.isfinite(new), new + np.where(agree, gained / 3.0, 0.0), np.inf
            )
            left = left[~agree & np.isfinite(new)]
        status = path.status.copy()
        status[left] = GeodesicStatus.UNDER_RESOLVED
        status[~np.isfinite(length)] = GeodesicStatus.NON_FINITE
        return replace(
            path,
            length=length,
            energy=0.5 * length**2,
            initial_velocity=self._scaled(path.initial_velocity, path.curves.start, length),
            final_velocity=self._scaled(path.final_velocity, path.curves.end, length),
            status=status,
            converged=status == GeodesicStatus.CONVERGED,
        )

    def _by_chords(self, curves: SolvedCurves, pairs: Ints, n_chords: int) -> Floats:
        """Lengths of curves by about so many chords each, at equal parameters."""
        chains = [nodes for nodes in (curves.nodes[k] for k in pairs) if nodes is not None]
        # Odd numbers: points of one measure are none of the next, so that two do not agree because
        # both miss the same cusp.
        each = np.array([-(-n_chords // len(chain)) | 1 for chain in chains])
        degree = np.array([chain.shape[1] for chain in chains])
        length = np.zeros(len(chains))
        for kind in np.unique(np.stack((degree, each), axis=1), axis=0):
            alike = np.flatnonzero((degree == kind[0]) & (each == kind[1]))
            batch = chain_together([chains[k] for k in alike])
            length[alike] = batch.total(self._evaluator.chord_lengths(batch.sample(int(kind[1]))))
        return length

    def _scaled(self, velocity: Floats, base: Floats, length: Floats) -> Floats:
        """Velocities in the same directions, of the given norms."""
        metric = self._evaluator.metrics(base)
        square = np.einsum("ni,nij,nj->n", velocity, metric, velocity)
        with np.errstate(divide="ignore", invalid="ignore"):
            share = np.where(length == 0.0, 0.0, length / np.sqrt(square))
        return np.where(np.isfinite(share), share, np.nan)[:, None] * velocity


def _of_width(path: GeodesicPath, width: float) -> GeodesicPath:
    return replace(path, width=np.full(len(path.length), width))


def _spread(rows: Ints, part: GeodesicPath, n_pairs: int) -> GeodesicPath:
    """Give a part a row for each pair; rows other than its own are to be replaced."""
    places = np.zeros(n_pairs, dtype=int)
    places[rows] = np.arange(len(rows))
    return take_paths(part, places)
