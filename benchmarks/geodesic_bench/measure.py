"""Measure what solvers return: the length of each curve by one routine, and processor time."""

from __future__ import annotations

import functools
import math
import signal
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from geodesic_bench.problem import Curve, Floats, Problem, Result, Setting
from geomstats_vae.immersions import Immersion

SHARE = 0.9  # of the pairs, that a setting has to solve in time
_CLOSURE = np.linspace(0.0, 1.0, 65)[:, None]
_FAILURES = (ArithmeticError, RuntimeError, ValueError)


def fine_length(
    immersion: Immersion,
    curve: Curve,
    start: Floats,
    end: Floats,
    n_points: int = 2001,
    rtol: float = 3e-5,
    max_doublings: int = 4,
) -> float:
    """Length of a curve by chords of F, on twice as many points until it changes little.

    Parameters
    ----------
    immersion : Immersion
        The decoder's F.
    curve : callable
        Maps times in [0, 1] to points, shape=[n_times, dim].
    start, end : array, shape=[dim]
        Where the curve should run from and to; straight lines lead from and to its own ends.
    n_points : int
        Points to begin with.
    rtol : float
        Relative change that is little.
    max_doublings : int
        Doublings at most.

    Returns
    -------
    length : float
        The length; infinite if the curve is not finite.
    """
    length = np.inf
    for doubling in range(max_doublings + 1):
        inner = curve(np.linspace(0.0, 1.0, (n_points - 1) * 2**doubling + 1))
        if not np.isfinite(inner).all():
            return np.inf
        way_in = start + _CLOSURE * (inner[0] - start)
        points = np.concatenate((way_in[:-1], inner, inner[-1] + _CLOSURE[1:] * (end - inner[-1])))
        with torch.no_grad():
            value = torch.cat([immersion(z) for z in torch.as_tensor(points).split(256)])
        before, length = length, float((value[1:] - value[:-1]).norm(dim=1).sum())
        if abs(length - before) <= rtol * length:
            break
    return length


def _expire(*_: Any) -> None:
    raise TimeoutError


def timed(function: Callable[[], Any], limit: float) -> tuple[Any, float, bool]:
    """Call a function; stop it after a time.

    Parameters
    ----------
    function : callable
        Takes nothing.
    limit : float
        Seconds of processor time.

    Returns
    -------
    value : object or None
        What the function returns; None if it failed or was stopped.
    seconds : float
        Processor time it took.
    late : bool
        Whether it was stopped.
    """
    value, late = None, False
    before = signal.signal(signal.SIGPROF, _expire)
    begin = time.process_time()
    try:
        signal.setitimer(signal.ITIMER_PROF, limit)
        try:
            value = function()
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0.0)
    except TimeoutError:
        late = True
    except _FAILURES:
        pass
    finally:
        signal.signal(signal.SIGPROF, before)
    return value, time.process_time() - begin, late


def run(problem: Problem, setting: Setting, limit: float) -> Result:
    """Solve all pairs; stop when so many exceed the limit that the setting has failed.

    Parameters
    ----------
    problem : Problem
        Decoder and pairs.
    setting : Setting
        Solver.
    limit : float
        Seconds per pair.

    Returns
    -------
    result : Result
        Lengths and times of the pairs tried.
    """
    n_pairs = len(problem.start)
    n_spare = n_pairs - math.ceil(SHARE * n_pairs)
    size = n_pairs if setting.batch else 1
    length: list[float] = []
    seconds: list[float] = []
    flags: list[float] = []
    n_late = 0
    for k in range(0, n_pairs, size):
        start, end = problem.start[k : k + size], problem.end[k : k + size]
        curves, spent, late = timed(functools.partial(setting.solve, start, end), limit * size)
        seconds += [spent / size] * size
        if curves is None:
            length += [np.inf] * size
            flags += [0.0] * size
        else:
            ends = zip(curves, start, end, strict=True)
            length += [fine_length(problem.immersion, curve, a, b) for curve, a, b in ends]
            flags += [_flag(curve) for curve in curves]
        n_late += size * late
        if n_late > n_spare:
            break
    return Result(setting, np.array(length), np.array(seconds), np.array(flags))


def _flag(curve: Curve) -> float:
    """1 or 0 as the solver says, NaN where it is silent."""
    succeeded = getattr(curve, "succeeded", None)
    return math.nan if succeeded is None else float(succeeded)
