"""A race of several curves between the same points: those that fall behind stop."""

from __future__ import annotations

import numpy as np

from geomstats_vae.geodesics.arrays import Bools, Ints
from geomstats_vae.geodesics.curves.chain import Curves
from geomstats_vae.geodesics.minimise import Minimisation, settle
from geomstats_vae.geodesics.minimised import Minimised
from geomstats_vae.geodesics.model import CurveModel
from geomstats_vae.geodesics.options import RaceOptions, Task


def race(
    model: CurveModel, curves: Curves, pairs: Ints, task: Task, options: RaceOptions
) -> Minimised:
    """Shorten several curves of each pair, and certify those that come out shortest.

    Parameters
    ----------
    model : CurveModel
        Proposes the steps.
    curves : Curves
        Where to start.
    pairs : array of int, shape=[n_curves]
        Pairs that the curves join.
    task : Task
        What to do.
    options : RaceOptions
        When curves are behind.

    Returns
    -------
    minimised : Minimised
        The curves. Those that were given up have infinite length.

    Notes
    -----
    The first of a pair goes on to the end. The others take some more steps, and go on if they are
    shorter then than the first became.
    """
    state = Minimisation(model, curves, task)
    owner = np.unique(pairs, return_inverse=True)[1]
    running = np.arange(len(curves))
    for n_steps, factor in options.rounds:
        rivals = running[np.bincount(owner[running])[owner[running]] > 1]
        state.run(rivals, n_steps)
        running = running[_is_ahead(state, owner, running, factor)]
    order = running[np.lexsort((state.length[running], owner[running]))]
    first = order[np.unique(owner[order], return_index=True)[1]]
    settle(state, first)
    behind = np.setdiff1d(running, first)
    state.run(behind, options.last_steps)
    behind = behind[_is_ahead(state, owner, running)[np.isin(running, behind)]]
    settle(state, behind)
    finished = np.concatenate((first, behind))
    state.measure_chords(finished[state.finite[finished] & ~state.measured[finished]])
    return state.result()


def _is_ahead(state: Minimisation, owner: Ints, which: Ints, factor: float = 1.0) -> Bools:
    """Whether curves are at most so many times as long as the shortest of their owners."""
    length = np.where(state.finite, state.length, np.inf)[which]
    shortest = np.full(len(state.curves), np.inf)
    np.minimum.at(shortest, owner[which], length)
    return (length < np.inf) & (length <= factor * shortest[owner[which]])
