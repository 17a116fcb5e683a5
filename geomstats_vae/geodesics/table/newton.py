"""Newton's method for the energy of curves in a tabulated metric, compiled."""

from __future__ import annotations

import enum

import numpy as np
from numba import njit

from geomstats_vae.geodesics.arrays import Floats, Ints
from geomstats_vae.geodesics.table.element import Element, Work, entry, solve
from geomstats_vae.geodesics.table.energy import element_energy, element_lift, element_variation
from geomstats_vae.geodesics.table.splines import CALLED, SplineTree


class Ended(enum.IntEnum):
    """How the search for a curve ended."""

    FOUND = 0
    UNKNOWN = 1
    """The table knows no metric there."""
    STALLED = 2
    """No step helps."""
    UNDONE = 3
    """Out of steps."""


@njit(**CALLED)
def lowest_mode(
    element: Element, nodes: Floats, lift: float, share: float, mode: Floats, work: Work
) -> None:
    """Displacement of a curve for which its lifted Hessian is least, by inverse iteration.

    Parameters
    ----------
    element : Element
        The reference element.
    nodes : array, shape=[n_elements, degree + 1, dim]
        Nodes of the curve, whose matrices are in the scratch.
    lift : float
        Multiple of the lifts that makes the Hessian positive.
    share : float
        How far the curve is moved, as a share of its extent.
    mode : array, shape=[n_unknowns]
        Written: the displacement.
    work : Work
        Scratch for one curve; its gradients are lost.
    """
    n, n_nodes, dim = len(nodes), len(element.nodes), len(element.axes)
    inner = (n_nodes - 1) * dim
    n_unknowns = n * inner + dim
    for k in range(n_unknowns):
        mode[k] = np.sin(1.0 + 12.9898 * k)
    for _ in range(4):
        size = 0.0
        for k in range(n_unknowns):
            size = max(size, abs(mode[k]))
        for e in range(n):
            for k in range(inner):
                work.gradient[e, k] = -mode[e * inner + k] / size
            for k in range(dim):
                work.gradient[e, inner + k] = 0.0
        solve(element, n, lift, work)
        for k in range(n_unknowns):
            mode[k] = work.right[k]
    size = extent = 0.0
    for k in range(n_unknowns):
        size = max(size, abs(mode[k]))
    for k in range(dim):
        low, high = np.inf, -np.inf
        for e in range(n):
            for a in range(n_nodes):
                low, high = min(low, nodes[e, a, k]), max(high, nodes[e, a, k])
        extent = max(extent, high - low)
    for k in range(n_unknowns):
        mode[k] *= share * extent / size


@njit(**CALLED)
def descend(
    tree: SplineTree,
    element: Element,
    nodes: Floats,
    dt: Floats,
    offsets: Ints,
    tol: Floats,
    max_iter: int,
    first_lift: float,
    most_left: int,
    slide: float,
    status: Ints,
    steps: Ints,
    turn: Floats,
    energy: Floats,
    length: Floats,
    gain: Floats,
    trial: Floats,
    step: Floats,
    work: Work,
) -> None:
    """Shorten curves on their meshes, one after the other.

    Parameters
    ----------
    tree : SplineTree
        The metric.
    element : Element
        The reference element.
    nodes : array, shape=[n_elements, degree + 1, dim]
        Nodes of the elements, curve after curve; changed.
    dt : array, shape=[n_elements]
        Times of the elements.
    offsets : array of int, shape=[n_curves + 1]
        First element of each curve, and the end.
    tol : array, shape=[n_curves]
        Stop when the energy is expected to fall by no more than this share.
    max_iter : int
        Steps of a curve; without any the gains are those of the first step.
    first_lift : float
        Least share of what makes Hessians positive that is added to them.
    most_left : int
        Saddles that a curve leaves.
    slide : float
        How far it moves then at first, as a share of its extent.
    status, steps : array of int, shape=[n_curves]
        Written: how the search ended, and the steps taken.
    turn : array, shape=[n_curves]
        By how much gains fall from step to step: the share of the energy that a step gains, over
        the square of that of the step before. Changed; infinite where nothing is known. Where it
        shows that a step is the last one, there are no derivatives after it.
    energy, length : array, shape=[n_elements]
        Written: energies and lengths; infinite where the table knows no metric.
    gain : array, shape=[n_elements]
        Written: by how much the energies would fall at first order by another step.
    trial : array, shape=[n_elements, degree + 1, dim]
        Scratch for one curve: nodes.
    step : array, shape=[n_unknowns]
        Scratch for one curve: a step.
    work : Work
        Scratch for one curve.
    """
    n_nodes, dim = len(element.nodes), len(element.axes)
    inner, size = (n_nodes - 1) * dim, n_nodes * dim
    for c in range(len(offsets) - 1):
        begin, n = offsets[c], offsets[c + 1] - offsets[c]
        n_unknowns = n * inner + dim
        status[c], steps[c] = Ended.UNDONE, 0
        trying, known = False, np.inf
        share, slope, n_trials = 0.0, 0.0, 0
        last_lift, n_left, gained = first_lift, 0, 0.0
        while status[c] == Ended.UNDONE:
            total = 0.0
            for e in range(n):
                at = trial[e] if trying else nodes[begin + e]
                if not element_variation(tree, element, at, dt[begin + e], work, e):
                    total = np.inf
                    break
                total += work.energy[e]
            if trying and not total <= known * (1.0 + 1e-14) + 1e-4 * share * slope:
                n_trials += 1
                if n_trials == 12:
                    status[c] = Ended.STALLED
                    break
                # The least of the parabola through what is known, within limits.
                least = 0.1
                if total < np.inf:
                    least = -0.5 * slope * share / (total - known - slope * share)
                share *= min(max(least, 0.1), 0.5)
            else:
                if not total < np.inf:
                    status[c] = Ended.UNKNOWN
                    break
                if trying:
                    steps[c] += 1
                    for e in range(n):
                        for a in range(n_nodes):
                            for k in range(dim):
                                nodes[begin + e, a, k] = trial[e, a, k]
                known = total
                for e in range(n):
                    energy[begin + e], length[begin + e] = work.energy[e], work.length[e]
                lift = 0.0
                definite = solve(element, n, lift, work)
                if not definite:
                    for e in range(n):
                        element_lift(element, work, e)
                while not definite and lift < 1.0:
                    lift = min(10.0 * lift, 1.0) if lift > 0.0 else last_lift
                    definite = solve(element, n, lift, work)
                if not definite:
                    status[c] = Ended.STALLED
                    break
                # Likely more lifts follow upon one, and smaller ones.
                last_lift = max(first_lift, 0.1 * lift)
                slope = 0.0
                for e in range(n):
                    part = 0.0
                    for k in range(size):
                        part += work.gradient[e, k] * work.right[e * inner + k]
                    gain[begin + e] = -part
                    slope += part
                # Where a lift makes the steps short they show less of what is to be gained.
                enough = 2.0 * tol[c] * known * (1.0 if lift == 0.0 else 1e-3)
                at_rest = not -slope > enough
                if at_rest and (lift == 0.0 or n_left == most_left or max_iter == 0):
                    status[c] = Ended.FOUND if lift == 0.0 else Ended.STALLED
                    break
                if lift == 0.0 and trying and share == 1.0 and gained > 0.0:
                    turn[c] = -slope * known / gained**2
                gained = -slope if lift == 0.0 else 0.0
                if steps[c] >= max_iter:
                    break
                if lift == 0.0 and turn[c] * slope**2 <= enough * known:
                    # The next step would gain no more than is asked for: no derivatives after this.
                    total = 0.0
                    for e in range(n):
                        for a in range(n_nodes):
                            for k in range(dim):
                                move = work.right[e * inner + a * dim + k]
                                trial[e, a, k] = nodes[begin + e, a, k] + move
                        if not element_energy(tree, element, trial[e], dt[begin + e], work, e):
                            total = np.inf
                            break
                        total += work.energy[e]
                    if total <= known + 1e-4 * slope:
                        status[c] = Ended.FOUND
                        steps[c] += 1
                        for e in range(n):
                            energy[begin + e], length[begin + e] = work.energy[e], work.length[e]
                            for a in range(n_nodes):
                                for k in range(dim):
                                    nodes[begin + e, a, k] = trial[e, a, k]
                        break
                    turn[c] = np.inf
                for k in range(n_unknowns):
                    step[k] = work.right[k]
                if at_rest:
                    # A saddle: along the lowest mode, to either side, the curve becomes shorter.
                    n_left += 1
                    slope = 0.0
                    lowest_mode(element, nodes[begin : begin + n], lift, slide, step, work)
                trying, share, n_trials = True, 1.0, 0
            for e in range(n):
                for a in range(n_nodes):
                    for k in range(dim):
                        move = step[e * inner + a * dim + k]
                        trial[e, a, k] = nodes[begin + e, a, k] + share * move


@njit(**CALLED)
def correct(
    tree: SplineTree,
    element: Element,
    nodes: Floats,
    dt: Floats,
    offsets: Ints,
    gradient: Floats,
    first_lift: float,
    excess: Floats,
    ends: Floats,
    work: Work,
) -> None:
    """Newton's steps for another gradient, with the Hessians of the table.

    Hessians that are not positive are lifted by as little as makes them so, up to a factor of ten.

    Parameters
    ----------
    tree : SplineTree
        The metric.
    element : Element
        The reference element.
    nodes : array, shape=[n_elements, degree + 1, dim]
        Nodes of the elements, curve after curve.
    dt : array, shape=[n_elements]
        Times of the elements.
    offsets : array of int, shape=[n_curves + 1]
        First element of each curve, and the end.
    gradient : array, shape=[n_elements, (degree + 1) * dim]
        Derivatives of the elements' energies by their nodes. Those of curves for which they are not
        finite are taken from the table, and written.
    first_lift : float
        Least share of what makes Hessians positive that is added to those that are not; by zero
        they are left, and nothing is told.
    excess : array, shape=[n_curves]
        Written: twice what the energies are expected to fall by; infinite where none can be told.
    ends : array, shape=[n_curves, 2, dim]
        Written: derivatives of the energies by the end points after the steps.
    work : Work
        Scratch for one curve.
    """
    n_nodes, dim = len(element.nodes), len(element.axes)
    inner, size = (n_nodes - 1) * dim, n_nodes * dim
    for c in range(len(offsets) - 1):
        begin, n = offsets[c], offsets[c + 1] - offsets[c]
        known = True
        for e in range(n):
            at = nodes[begin + e]
            known &= element_variation(tree, element, at, dt[begin + e], work, e)
            for k in range(size):
                if np.isfinite(gradient[begin + e, k]):
                    work.gradient[e, k] = gradient[begin + e, k]
                else:
                    gradient[begin + e, k] = work.gradient[e, k]
        last = begin + n - 1
        for k in range(dim):
            ends[c, 0, k], ends[c, 1, k] = gradient[begin, k], gradient[last, inner + k]
        definite = known and solve(element, n, 0.0, work)
        if known and not definite and first_lift > 0.0:
            for e in range(n):
                element_lift(element, work, e)
            lift = first_lift
            while not definite and lift <= 1.0:
                definite = solve(element, n, lift, work)
                lift *= 10.0
        if not definite:
            excess[c] = np.inf
            continue
        excess[c] = 0.0
        for e in range(n):
            for k in range(size):
                excess[c] -= gradient[begin + e, k] * work.right[e * inner + k]
        for k in range(dim):
            for i in range(dim):
                for a in range(n_nodes):
                    ends[c, 0, k] += (
                        entry(work.matrices[0], element, k, i, 0, a) * work.right[a * dim + i]
                    )
                    move = work.right[(n - 1) * inner + a * dim + i]
                    ends[c, 1, k] += (
                        entry(work.matrices[n - 1], element, k, i, n_nodes - 1, a) * move
                    )


@njit(**CALLED)
def end_hessians(
    tree: SplineTree,
    element: Element,
    nodes: Floats,
    dt: Floats,
    offsets: Ints,
    by_start: Floats,
    mixed: Floats,
    work: Work,
) -> None:
    """Second derivatives of energies by the end points, all other nodes eliminated.

    Parameters
    ----------
    tree : SplineTree
        The metric.
    element : Element
        The reference element.
    nodes : array, shape=[n_elements, degree + 1, dim]
        Nodes of the elements, curve after curve.
    dt : array, shape=[n_elements]
        Times of the elements.
    offsets : array of int, shape=[n_curves + 1]
        First element of each curve, and the end.
    by_start, mixed : array, shape=[n_curves, dim, dim]
        Written: ordinary ones by the start, and by start and end; NaN where none can be told.
    work : Work
        Scratch for one curve.
    """
    n_nodes, dim = len(element.nodes), len(element.axes)
    inner, size = (n_nodes - 1) * dim, n_nodes * dim
    for c in range(len(offsets) - 1):
        begin, n = offsets[c], offsets[c + 1] - offsets[c]
        known = True
        for e in range(n):
            at = nodes[begin + e]
            known &= element_variation(tree, element, at, dt[begin + e], work, e)
        if not known or not solve(element, n, 0.0, work):
            for i in range(dim):
                for j in range(dim):
                    by_start[c, i, j] = mixed[c, i, j] = np.nan
            continue
        # Where the other nodes go when the start moves, one coordinate after the other.
        for i in range(dim):
            for e in range(n):
                for k in range(size):
                    work.gradient[e, k] = 0.0
            for a in range(n_nodes):
                for k in range(dim):
                    work.gradient[0, a * dim + k] = entry(work.matrices[0], element, i, k, 0, a)
            solve(element, n, 0.0, work)
            for j in range(dim):
                near = entry(work.matrices[0], element, j, i, 0, 0)
                far = entry(work.matrices[0], element, i, j, 0, n_nodes - 1) if n == 1 else 0.0
                for a in range(n_nodes):
                    for k in range(dim):
                        move = work.right[a * dim + k]
                        near += entry(work.matrices[0], element, j, k, 0, a) * move
                        move = work.right[(n - 1) * inner + a * dim + k]
                        far += entry(work.matrices[n - 1], element, j, k, n_nodes - 1, a) * move
                by_start[c, j, i], mixed[c, i, j] = near, far
