"""What is solved, how a solver is called, and what is kept of its answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geomstats_vae.geodesics import LatentGraph
from geomstats_vae.immersions import Immersion

Floats = NDArray[np.float64]
Curve = Callable[[Floats], Floats]


@dataclass(frozen=True)
class Problem:
    """Pairs of codes on one decoder.

    Parameters
    ----------
    name : str
        Name of the decoder.
    decoder : callable
        The decoder itself, a torch module in double precision.
    immersion : Immersion
        Its F: the distance of two codes is the length of the shortest curve between their images
        under F, for chords as for curves. Called on a tensor, shape=[n_points, dim], it returns
        shape=[n_points, n_outputs], and torch can differentiate it.
    codes : array, shape=[n_codes, dim]
        Codes of the data.
    start, end : array, shape=[n_pairs, dim]
        The pairs.
    graph : LatentGraph, optional
        Our graph over the codes, for solvers that begin with its paths.
    reference : array, shape=[n_pairs], optional
        Length of the shortest curve known of each pair.
    """

    name: str
    decoder: Any
    immersion: Immersion
    codes: Floats
    start: Floats
    end: Floats
    graph: LatentGraph | None = None
    reference: Floats | None = None


@dataclass(frozen=True)
class Answer:
    """A curve, with what its solver says of it.

    Parameters
    ----------
    curve : callable
        Maps times in [0, 1] to points, shape=[n_times, dim].
    succeeded : bool, optional
        Whether the solver calls it a success; None if it does not say.
    """

    curve: Curve
    succeeded: bool | None = None

    def __call__(self, times: Floats) -> Floats:
        """Points of the curve."""
        return self.curve(times)


@dataclass(frozen=True)
class Setting:
    """One way to call one solver.

    Parameters
    ----------
    solver : str
        Name of the solver.
    label : str
        What is set.
    solve : callable
        Maps starts and ends, shape=[n_pairs, dim] each, to a list of curves: callables of times
        in [0, 1], or `Answer` where the solver says whether it has succeeded.
    batch : bool
        Whether all pairs are given at once; else one at a time.
    prepare : callable, optional
        Takes nothing, and does what is to be done once before, such as compiling; not timed.
    """

    solver: str
    label: str
    solve: Callable[[Floats, Floats], Sequence[Curve]]
    batch: bool = False
    prepare: Callable[[], object] | None = None

    @property
    def name(self) -> str:
        """Solver, and whether it works on all pairs at once."""
        return self.solver + (", batch" if self.batch else "")


@dataclass(frozen=True)
class Result:
    """What was measured of the pairs that a setting was tried on.

    Parameters
    ----------
    setting : Setting
        The setting.
    length : array, shape=[n_tried]
        Measured lengths; infinite after a failure.
    seconds : array, shape=[n_tried]
        Processor time.
    succeeded : array of float, shape=[n_tried]
        1 where the solver calls its answer a success, 0 where it does not, NaN where it is silent.
    """

    setting: Setting
    length: Floats
    seconds: Floats
    succeeded: Floats

    @property
    def name(self) -> str:
        """Solver, and whether it worked on all pairs at once."""
        return self.setting.name

    def error(self, reference: Floats) -> Floats:
        """By which share the curves are longer than the shortest known, shape=[n_tried]."""
        return self.length / reference[: len(self.length)] - 1.0
