"""How graphs measure: chords of F, in single precision where that is enough, or a table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from geomstats_vae.geodesics.arrays import Floats, Ints
from geomstats_vae.geodesics.elements import Evaluator, to_numpy


class ChordMeasure:
    """Measures straight segments of latent space by chords of F.

    Parameters
    ----------
    exact : Evaluator
        Evaluates F.
    single : Evaluator, optional
        Evaluates the same F in single precision. It measures everything except for segments where
        it is not finite; these are measured exactly.
    """

    def __init__(self, exact: Evaluator, single: Evaluator | None = None) -> None:
        self.exact, self.single = exact, single

    @property
    def evaluator(self) -> Evaluator:
        """What measures, where it is finite."""
        return self.exact if self.single is None else self.single

    def segment_lengths(self, start: Floats, end: Floats, n_chords: int) -> Floats:
        """Measure segments by equally many chords.

        Parameters
        ----------
        start, end : array, shape=[n_segments, dim]
            End points.
        n_chords : int
            Chords per segment.

        Returns
        -------
        length : array, shape=[n_segments]
            Lengths, at most the true ones; infinite where the decoder is not finite.
        """

        def measure(evaluator: Evaluator, a: Floats, b: Floats) -> tuple[Floats]:
            return (evaluator.segment_lengths(a, b, n_chords),)

        return self._measured(measure, start, end)[0]

    def nested_lengths(self, start: Floats, end: Floats, n_chords: int) -> tuple[Floats, Floats]:
        """Measure segments by an even number of chords, and by half as many at no cost.

        Parameters
        ----------
        start, end : array, shape=[n_segments, dim]
            End points.
        n_chords : int
            Chords per segment, an even number.

        Returns
        -------
        coarse, fine : array, shape=[n_segments]
            Lengths by half of the chords and by all; infinite where the decoder is not finite.
        """

        def measure(evaluator: Evaluator, a: Floats, b: Floats) -> tuple[Floats, Floats]:
            return evaluator.nested_lengths(a, b, n_chords)

        coarse, fine = self._measured(measure, start, end)
        return coarse, fine

    def _measured(
        self,
        measure: Callable[[Evaluator, Floats, Floats], tuple[Floats, ...]],
        start: Floats,
        end: Floats,
    ) -> Floats:
        length = np.stack(measure(self.evaluator, start, end))
        again = ~np.isfinite(length).all(axis=0)
        if self.single is not None and again.any():
            length[:, again] = measure(self.exact, start[again], end[again])
        return np.where(np.isfinite(length), length, np.inf)


def chords_between(
    evaluator: Evaluator,
    points: Floats,
    a: Ints,
    b: Ints,
    memory_limit: int,
    progress: tqdm | None = None,
) -> Floats:
    """Distances in data space between points of latent space, |F(points[b]) - F(points[a])|.

    No curve between two points is shorter. F is evaluated once at each point. Where the values of
    all points take more memory than may be used, it is evaluated at blocks of points, some of them
    several times.

    Parameters
    ----------
    evaluator : Evaluator
        Evaluates F.
    points : array, shape=[n_points, dim]
        Points of latent space.
    a, b : array of int, shape=[n_chords]
        Points that the chords join.
    memory_limit : int
        Bytes that values of F may take.
    progress : tqdm, optional
        Advanced by each point at which F is evaluated.

    Returns
    -------
    length : array, shape=[n_chords]
        Lengths; infinite where the decoder is not finite.
    """
    bytes_each = evaluator.immersion.n_outputs * torch.finfo(evaluator.dtype).bits // 8
    # Two blocks of values are held, and as many differences as a block has rows.
    size = int(np.clip(memory_limit // (3 * bytes_each), 1, max(1, len(points))))
    a, b = np.minimum(a, b), np.maximum(a, b)
    length = np.zeros(len(a))
    blocks = np.unique(np.stack((a // size, b // size)), axis=1).T
    fresh = np.diff(blocks[:, 0], prepend=-1) != 0
    counts = np.diff(np.append(np.arange(0, len(points), size), len(points)))
    if progress is not None:
        others = blocks[:, 1] != blocks[:, 0]
        progress.reset(int(counts[blocks[fresh, 0]].sum() + counts[blocks[others, 1]].sum()))
    first = torch.zeros(0)
    for (i, j), new in zip(blocks, fresh, strict=True):
        if new:
            first = _values(evaluator, points[i * size : (i + 1) * size], progress)
        last = first if i == j else _values(evaluator, points[j * size : (j + 1) * size], progress)
        chosen = np.flatnonzero((a // size == i) & (b // size == j))
        for rows in np.split(chosen, range(size, len(chosen), size)):
            length[rows] = to_numpy((last[b[rows] % size] - first[a[rows] % size]).norm(dim=1))
    return np.where(np.isfinite(length), length, np.inf)


def _values(evaluator: Evaluator, points: Floats, progress: tqdm | None) -> Tensor:
    """Values of F, shape=[n_points, n_outputs]."""
    values = []
    for part in evaluator.chunks(points):
        values.append(evaluator.immersion(part).detach())
        if progress is not None:
            progress.update(len(part))
    return torch.cat(values)


def rounding(single: Evaluator, exact: Evaluator, points: Floats) -> float:
    """Measure how far single precision is off.

    Parameters
    ----------
    single, exact : Evaluator
        Evaluate one F in single and in double precision.
    points : array, shape=[n_points, dim]
        Points of latent space.

    Returns
    -------
    rounding : float
        The largest norm of the difference of their values, in units of the outputs; infinite if
        one of them is not finite.
    """
    values = [_values(evaluator, points, None) for evaluator in (single, exact)]
    off = float((values[0].double() - values[1].double()).norm(dim=1).max())
    return off if np.isfinite(off) else np.inf


class SegmentTable(Protocol):
    """What is asked of a table."""

    def segment_lengths(self, start: Floats, end: Floats) -> Floats:
        """Lengths of straight lines, shape=[n_lines], from [n_lines, dim]; NaN where unknown."""


class TabulatedMeasure:
    """Measures short straight lines by a table, where it knows the metric, and else by chords of F.

    Parameters
    ----------
    table : SegmentTable
        The table.
    measure : ChordMeasure
        Measures the others.
    """

    def __init__(self, table: SegmentTable, measure: ChordMeasure) -> None:
        self.table, self._measure = table, measure

    def segment_lengths(self, start: Floats, end: Floats, n_chords: int) -> Floats:
        """Lengths of straight lines.

        Parameters
        ----------
        start, end : array, shape=[n_lines, dim]
            Ends.
        n_chords : int
            Chords of those that the table does not know.

        Returns
        -------
        length : array, shape=[n_lines]
            Lengths.
        """
        length = self.table.segment_lengths(start, end)
        rows = np.flatnonzero(np.isnan(length))
        length[rows] = self._measure.segment_lengths(start[rows], end[rows], n_chords)
        return length
