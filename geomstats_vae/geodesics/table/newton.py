"""Newton's method for the energy of curves in a tabulated metric, compiled."""

from __future__ import annotations

import enum

import numpy as np
from numba import njit

from geomstats_vae.geodesics.arrays import Floats, Ints
from geomstats_vae.geodesics.table.energy import Element, Work, element_variation, solve
from geomstats_vae.geodesics.table.splines import SplineTree


class Ended(enum.IntEnum):
    """How the search for a curve ended."""

    FOUND = 0
    UNKNOWN = 1
    """The table knows no metric there."""
    STALLED = 2
    """No step helps."""
    UNDONE = 3
    """Out of steps."""


class _For(enum.IntEnum):
    """What a curve is evaluated for: its first step, a trial step, or the lift of its Hessian."""

    FIRST = 0
    TRIAL = 1
    LIFT = 2


@njit(cache=True, nogil=True)
def lowest_mode(nodes: Floats, lift: float, share: float, mode: Floats, work: Work) -> None:
    """Displacement of a curve for which its lifted Hessian is least, by inverse iteration.

    Parameters
    ----------
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
    n, n_nodes, dim = nodes.shape
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
        solve(n, n_nodes - 1, dim, lift, work)
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


@njit(cache=True, nogil=True)
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
    energy: Floats,
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
    energy : array, shape=[n_elements]
        Written: energies; infinite where the table knows no metric.
    gain : array, shape=[n_elements]
        Written: by how much the energies would fall at first order by another step.
    trial : array, shape=[n_elements, degree + 1, dim]
        Scratch for one curve: nodes.
    step : array, shape=[n_unknowns]
        Scratch for one curve: a step.
    work : Work
        Scratch for one curve.
    """
    n_nodes, dim = nodes.shape[1], nodes.shape[2]
    inner, size = (n_nodes - 1) * dim, n_nodes * dim
    for c in range(len(offsets) - 1):
        begin, n = offsets[c], offsets[c + 1] - offsets[c]
        n_unknowns = n * inner + dim
        status[c], steps[c] = Ended.UNDONE, 0
        phase, known = _For.FIRST, np.inf
        share, slope, n_trials = 0.0, 0.0, 0
        lifted, last_lift, n_left = False, first_lift, 0
        while status[c] == Ended.UNDONE:
            total = 0.0
            for e in range(n):
                at = trial[e] if phase == _For.TRIAL else nodes[begin + e]
                if not element_variation(tree, element, at, dt[begin + e], lifted, work, e):
                    total = np.inf
                    break
                total += work.energy[e]
            if phase == _For.TRIAL and not total <= known * (1.0 + 1e-14) + 1e-4 * share * slope:
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
                if phase == _For.TRIAL:
                    steps[c] += 1
                    for e in range(n):
                        for a in range(n_nodes):
                            for k in range(dim):
                                nodes[begin + e, a, k] = trial[e, a, k]
                known = total
                for e in range(n):
                    energy[begin + e] = work.energy[e]
                lift = 0.0
                definite = phase != _For.LIFT and solve(n, n_nodes - 1, dim, lift, work)
                if not definite and not lifted:
                    # The same once more, with the lifts.
                    phase, lifted = _For.LIFT, True
                    continue
                while not definite and lift < 1.0:
                    lift = min(4.0 * lift, 1.0) if lift > 0.0 else last_lift
                    definite = solve(n, n_nodes - 1, dim, lift, work)
                if not definite:
                    status[c] = Ended.STALLED
                    break
                # Likely more lifts follow upon one, and smaller ones.
                lifted = lift > 0.0
                last_lift = max(first_lift, 0.25 * lift)
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
                if steps[c] >= max_iter:
                    break
                for k in range(n_unknowns):
                    step[k] = work.right[k]
                if at_rest:
                    # A saddle: along the lowest mode, to either side, the curve becomes shorter.
                    n_left += 1
                    slope = 0.0
                    lowest_mode(nodes[begin : begin + n], lift, slide, step, work)
                phase, share, n_trials = _For.TRIAL, 1.0, 0
            for e in range(n):
                for a in range(n_nodes):
                    for k in range(dim):
                        move = step[e * inner + a * dim + k]
                        trial[e, a, k] = nodes[begin + e, a, k] + share * move


@njit(cache=True, nogil=True)
def correct(
    tree: SplineTree,
    element: Element,
    nodes: Floats,
    dt: Floats,
    offsets: Ints,
    gradient: Floats,
    excess: Floats,
    ends: Floats,
    work: Work,
) -> None:
    """Newton's steps for another gradient, with the Hessians of the table.

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
    excess : array, shape=[n_curves]
        Written: twice what the energies are expected to fall by; infinite where none can be told.
    ends : array, shape=[n_curves, 2, dim]
        Written: derivatives of the energies by the end points after the steps.
    work : Work
        Scratch for one curve.
    """
    n_nodes, dim = nodes.shape[1], nodes.shape[2]
    inner, size = (n_nodes - 1) * dim, n_nodes * dim
    for c in range(len(offsets) - 1):
        begin, n = offsets[c], offsets[c + 1] - offsets[c]
        known = True
        for e in range(n):
            at = nodes[begin + e]
            known &= element_variation(tree, element, at, dt[begin + e], False, work, e)
            for k in range(size):
                if np.isfinite(gradient[begin + e, k]):
                    work.gradient[e, k] = gradient[begin + e, k]
                else:
                    gradient[begin + e, k] = work.gradient[e, k]
        last = begin + n - 1
        for k in range(dim):
            ends[c, 0, k], ends[c, 1, k] = gradient[begin, k], gradient[last, inner + k]
        if not known or not solve(n, n_nodes - 1, dim, 0.0, work):
            excess[c] = np.inf
            continue
        excess[c] = 0.0
        for e in range(n):
            for k in range(size):
                excess[c] -= gradient[begin + e, k] * work.right[e * inner + k]
        for k in range(dim):
            for i in range(dim):
                for a in range(n_nodes):
                    ends[c, 0, k] += work.matrices[0, k, i, 0, a] * work.right[a * dim + i]
                    move = work.right[(n - 1) * inner + a * dim + i]
                    ends[c, 1, k] += work.matrices[n - 1, k, i, n_nodes - 1, a] * move


@njit(cache=True, nogil=True)
def end_hessians(
    tree: SplineTree,
    element: Element,
    nodes: Floats,
    dt: Floats,
    offsets: Ints,
    by_start: Floats,
    mixed: Floats,
    columns: Floats,
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
    columns : array, shape=[2 * dim, n_unknowns]
        Scratch.
    work : Work
        Scratch for one curve.
    """
    n_nodes, dim = nodes.shape[1], nodes.shape[2]
    inner = (n_nodes - 1) * dim
    for c in range(len(offsets) - 1):
        begin, n = offsets[c], offsets[c + 1] - offsets[c]
        n_unknowns = n * inner + dim
        known = True
        for e in range(n):
            at = nodes[begin + e]
            known &= element_variation(tree, element, at, dt[begin + e], False, work, e)
        if not known or not solve(n, n_nodes - 1, dim, 0.0, work):
            for i in range(dim):
                for j in range(dim):
                    by_start[c, i, j] = mixed[c, i, j] = np.nan
            continue
        # Columns of the ends in the matrix, divided by the Cholesky factor of the others.
        for m in range(2 * dim):
            column, k = columns[m], m % dim
            for i in range(n_unknowns):
                column[i] = 0.0
            for a in range(n_nodes):
                for i in range(dim):
                    if m < dim:
                        column[a * dim + i] = work.matrices[0, k, i, 0, a]
                    else:
                        place = (n - 1) * inner + a * dim + i
                        column[place] = work.matrices[n - 1, k, i, n_nodes - 1, a]
            for i in range(dim, n_unknowns - dim):
                first = max((i - dim) // inner * inner, dim)
                total = column[i]
                for j in range(first, i):
                    total -= work.factor[i, j - first] * column[j]
                column[i] = total / work.factor[i, i - first]
        for i in range(dim):
            for j in range(dim):
                by_start[c, i, j] = work.matrices[0, i, j, 0, 0]
                mixed[c, i, j] = work.matrices[0, i, j, 0, n_nodes - 1] if n == 1 else 0.0
                for u in range(dim, n_unknowns - dim):
                    by_start[c, i, j] -= columns[i, u] * columns[j, u]
                    mixed[c, i, j] -= columns[i, u] * columns[dim + j, u]
