"""Batches of curves as chains of polynomial elements, and linear systems on such chains.

A curve is a chain of elements; each is a polynomial through degree + 1 Gauss-Lobatto nodes in
latent space. Element matrices of a whole batch are assembled into one banded matrix, whose
Cholesky factorisation tells which chains have a matrix that is not positive definite.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.interpolate import Akima1DInterpolator
from scipy.linalg import lapack

from geomstats_vae.geodesics.arrays import Bools, Floats, Ints
from geomstats_vae.geodesics.curves.reference import (
    ReferenceElement,
    change_of_degree,
    reference_element,
    sampling_matrix,
)


@dataclass
class Curves:
    """Curves as chains of elements, one after the other.

    Parameters
    ----------
    nodes : array, shape=[n_elements, degree + 1, dim]
        Nodes of the elements, in latent space; neighbours share their end nodes.
    counts : array of int, shape=[n_curves]
        Number of elements of each curve. Never changed in place.
    """

    nodes: Floats
    counts: Ints

    def __len__(self) -> int:
        return len(self.counts)

    @property
    def degree(self) -> int:
        """Polynomial degree of the elements."""
        return self.nodes.shape[1] - 1

    @property
    def dim(self) -> int:
        """Dimension of the latent space."""
        return self.nodes.shape[2]

    @cached_property
    def owner(self) -> Ints:
        """Curve that each element belongs to, shape=[n_elements]."""
        return np.repeat(np.arange(len(self.counts)), self.counts)

    @cached_property
    def offsets(self) -> Ints:
        """First element of each curve, and the end, shape=[n_curves + 1]."""
        return np.concatenate(([0], np.cumsum(self.counts)))

    @property
    def ends(self) -> Floats:
        """End points of each curve, shape=[n_curves, 2, dim]."""
        first, last = self.offsets[:-1], self.offsets[1:] - 1
        return np.stack((self.nodes[first, 0], self.nodes[last, -1]), axis=1)

    def total(self, per_element: Floats | Ints | Bools) -> Floats:
        """Sum a quantity of the elements over each curve, shape=[n_curves]."""
        total = np.bincount(self.owner, weights=per_element, minlength=len(self))
        return total.astype(float, copy=False)

    def take(self, which: Ints) -> Curves:
        """Copy some curves, in the order given; which shape=[n_taken]."""
        return Curves(self.nodes[self.rows(which)], self.counts[which])

    def rows(self, which: Ints) -> Ints:
        """Elements of some curves, in their order."""
        counts = self.counts[which]
        shift = self.offsets[:-1][which] - np.cumsum(counts) + counts
        return np.repeat(shift, counts) + np.arange(counts.sum())

    def halved(self) -> Curves:
        """Bisect all elements; the halves of element k are elements 2 k and 2 k + 1."""
        halves = reference_element(self.degree).bisect @ self.nodes[:, None]
        return Curves(halves.reshape(-1, *self.nodes.shape[1:]), 2 * self.counts)

    def split(self, marked: Bools) -> Curves:
        """Bisect elements; the curves stay exactly what they are.

        Parameters
        ----------
        marked : array of bool, shape=[n_elements]
            Elements to bisect.

        Returns
        -------
        curves : Curves
            Curves with the marked elements replaced by their halves.
        """
        left, right = reference_element(self.degree).bisect
        repeats = np.where(marked, 2, 1)
        nodes = np.repeat(self.nodes, repeats, axis=0)
        first = np.cumsum(repeats) - repeats
        nodes[first[marked]] = left @ self.nodes[marked]
        nodes[first[marked] + 1] = right @ self.nodes[marked]
        return Curves(nodes, self.total(repeats).astype(int))

    def raise_degree(self, degree: int) -> Curves:
        """Express the same curves by polynomials of a degree that is at least the present one."""
        return Curves(change_of_degree(self.degree, degree) @ self.nodes, self.counts)

    def sample(self, n_chords: int) -> Floats:
        """Points of each element at equal parameters, shape=[n_elements, n_chords + 1, dim]."""
        return sampling_matrix(self.degree, n_chords) @ self.nodes

    def bulk(self, indicator: Floats, share: float) -> Bools:
        """Mark the fewest elements that bear a share of their curve's total (Doerfler's marking).

        Parameters
        ----------
        indicator : array, shape=[n_elements]
            Not negative.
        share : float
            Between 0 and 1.

        Returns
        -------
        marked : array of bool, shape=[n_elements]
            These elements.
        """
        order = np.lexsort((-indicator, self.owner))
        running, total = np.cumsum(indicator[order]), self.total(indicator)
        before = np.concatenate(([0.0], np.cumsum(total)[:-1]))
        marked, owner = np.zeros(len(indicator), dtype=bool), self.owner[order]
        marked[order] = running - indicator[order] - before[owner] < share * total[owner]
        return marked


def concatenate(batches: list[Curves]) -> Curves:
    """Put batches of curves of one degree together, batch after batch."""
    return Curves(
        np.concatenate([batch.nodes for batch in batches]),
        np.concatenate([batch.counts for batch in batches]),
    )


def chain_together(chains: list[Floats]) -> Curves:
    """Make curves of chains, each of shape=[n_elements, degree + 1, dim]."""
    return Curves(np.concatenate(chains), np.array([len(chain) for chain in chains]))


def straight(start: Floats, end: Floats, n_elements: int, degree: int) -> Curves:
    """Straight segments as curves.

    Parameters
    ----------
    start, end : array, shape=[n_curves, dim]
        End points.
    n_elements : int
        Elements of each.
    degree : int
        Polynomial degree.

    Returns
    -------
    curves : Curves
        The segments.
    """
    reference = 0.5 * (reference_element(degree).nodes + 1.0)
    where = (np.arange(n_elements)[:, None] + reference) / n_elements
    nodes = start[:, None, None] + where[..., None] * (end - start)[:, None, None]
    nodes[:, -1, -1] = end
    counts = np.full(len(start), n_elements)
    return Curves(nodes.reshape(-1, degree + 1, start.shape[1]), counts)


def smooth_elements(
    path: Floats, element: ReferenceElement, size: float, most: int
) -> tuple[Floats, Floats, tuple[Floats, Bools]]:
    """Elements of about equal size through the vertices of a polygon.

    Parameters
    ----------
    path : array, shape=[n_vertices, dim]
        Vertices.
    element : ReferenceElement
        The element.
    size : float
        About the length of an element, in latent coordinates.
    most : int
        Elements that there may be, at least 4; they are longer on a longer path.

    Returns
    -------
    nodes : array, shape=[n_elements, degree + 1, dim]
        Nodes of the elements.
    where : array, shape=[n_elements, degree + 1]
        Where they are along the polygon.
    knots : tuple of array
        Where the vertices are that the elements go through, and which of all they are.
    """
    gaps = np.linalg.norm(np.diff(path, axis=0), axis=1)
    usual = np.median(gaps)
    knots = np.concatenate(([0.0], np.cumsum(gaps)))
    inner = (knots > 0.4 * usual) & (knots < knots[-1] - 0.4 * usual)
    inner[[0, -1]] = True
    inner[1:] &= np.diff(knots) > 0.0
    inner[-1] = True
    vertices, knots = path[inner], knots[inner]
    n_elements = max(4, int(min(np.ceil(knots[-1] / size), most)))
    reference = 0.5 * (element.nodes + 1.0)
    where = (np.arange(n_elements)[:, None] + reference) / n_elements * knots[-1]
    if len(vertices) > 4:
        nodes = Akima1DInterpolator(knots, vertices, axis=0)(np.minimum(where, knots[-1]))
    else:
        nodes = np.stack([np.interp(where, knots, column) for column in vertices.T], axis=-1)
    return nodes, where, (knots, inner)


def end_velocities(curves: Curves, gradient: Floats, length: Floats, metric: Floats) -> Floats:
    """Velocities at both ends for times in [0, 1].

    The gradient of the length with respect to an end point is the unit velocity there, lowered by
    the metric: it is as accurate as the length itself, which differencing the nodes is not.

    Parameters
    ----------
    curves : Curves
        Curves.
    gradient : array, shape=[n_elements, (degree + 1) * dim]
        First variation of their elements.
    length : array, shape=[n_curves]
        Lengths.
    metric : array, shape=[n_curves, 2, dim, dim]
        Metric matrices at the ends.

    Returns
    -------
    velocity : array, shape=[n_curves, 2, dim]
        Velocities; where the metric is singular, the shortest in units of the norms of the
        coordinates' directions. NaN where it is not finite.
    """
    first, last = curves.offsets[:-1], curves.offsets[1:] - 1
    dim = curves.dim
    covector = np.stack((-gradient[first, :dim], gradient[last, -dim:]), axis=1)
    velocity = np.full_like(covector, np.nan)
    good = np.isfinite(metric).all(axis=(2, 3)) & np.isfinite(covector).all(axis=2)
    # Coordinates may have very different scales: the metric gets a diagonal of ones.
    scale = np.sqrt(np.diagonal(metric[good], axis1=-2, axis2=-1))
    scale = np.where(scale > 0.0, scale, 1.0)
    scaled = metric[good] / scale[..., None] / scale[..., None, :]
    inverse = np.linalg.pinv(scaled, rcond=np.finfo(float).eps, hermitian=True)
    velocity[good] = (inverse @ (covector[good] / scale)[..., None])[..., 0] / scale
    # A geodesic's unit speed is known: what quadrature adds along the curve goes.
    speed = np.sqrt(np.maximum((velocity * covector).sum(axis=2), np.finfo(float).tiny))
    return velocity * (length[:, None] / speed)[..., None]


# -- linear systems on chains ---------------------------------------------------------------------


def first_unknown(counts: Ints, degree: int, dim: int) -> Ints:
    """Index of each element's first unknown, shape=[n_elements].

    Unknowns are the values at the nodes of the chains; each chain has one node more than its
    elements have in common.
    """
    chain = np.repeat(np.arange(len(counts)), counts)
    return (np.arange(len(chain)) * degree + chain) * dim


def chain_starts(counts: Ints, degree: int, dim: int) -> Ints:
    """First unknown of each chain, and the end, shape=[n_chains + 1]."""
    return np.concatenate(([0], np.cumsum((counts * degree + 1) * dim)))


def assemble(matrices: Floats, first: Ints, n_unknowns: int, inner: int) -> Floats:
    """Assemble element matrices of several chains into one lower banded matrix.

    Parameters
    ----------
    matrices : array, shape=[n_elements, size, size]
        Symmetric element matrices, chain after chain.
    first : array of int, shape=[n_elements]
        First unknown of each element.
    n_unknowns : int
        Number of all unknowns.
    inner : int
        Unknowns of an element without those of its last node.

    Returns
    -------
    banded : array, shape=[size, n_unknowns]
        Lower form: banded[k, j] is the entry at row j + k, column j.
    """
    size = matrices.shape[1]
    banded = np.zeros((size, n_unknowns))
    for k in range(size):
        # Columns of an element's last node stand again in the next element: two disjoint sums.
        for columns in (np.arange(0, min(inner, size - k)), np.arange(inner, size - k)):
            if len(columns):
                banded[k][first[:, None] + columns] += matrices[:, columns + k, columns]
    return banded


def solve_chains(banded: Floats, right: Floats, starts: Ints) -> tuple[Floats, Bools]:
    """Solve a block-diagonal banded system by Cholesky, chain by chain as far as each allows.

    Parameters
    ----------
    banded : array, shape=[bandwidth, n_unknowns]
        Lower form of the matrix; chains do not couple.
    right : array, shape=[n_unknowns]
        Right-hand side.
    starts : array, shape=[n_chains + 1]
        First unknown of each chain, and the end.

    Returns
    -------
    solution : array, shape=[n_unknowns]
        Solution; zero for the chains that failed.
    definite : array of bool, shape=[n_chains]
        False where a chain's matrix is not positive definite.
    """
    solution = np.zeros_like(right)
    definite = np.ones(len(starts) - 1, dtype=bool)
    begin = 0
    while begin < len(definite):
        first = starts[begin]
        factor, info = lapack.dpbtrf(banded[:, first:], lower=1)
        end = len(definite)
        if info > 0:
            end = int(np.searchsorted(starts, first + info - 1, side="right")) - 1
            definite[end] = False
            if end > begin:
                factor, _ = lapack.dpbtrf(banded[:, first : starts[end]], lower=1)
        if end > begin:
            part = slice(first, starts[end])
            solution[part] = lapack.dpbtrs(factor, right[part], lower=1)[0]
        begin = end + 1
    return solution, definite


def solve_between_ends(
    curves: Curves, matrices: Floats, gradient: Floats
) -> tuple[Floats, Floats, Bools]:
    """Solve for the displacement of the nodes, end points fixed.

    Parameters
    ----------
    curves : Curves
        Curves.
    matrices : array, shape=[n_elements, (degree + 1) * dim, (degree + 1) * dim]
        Symmetric element matrices.
    gradient : array, shape=[n_elements, (degree + 1) * dim]
        Element gradients.

    Returns
    -------
    displacement : array, shape=[n_elements, degree + 1, dim]
        Displacement; zero at the ends, and where a curve's matrix is not definite.
    decrement : array, shape=[n_curves]
        -gradient . displacement.
    definite : array of bool, shape=[n_curves]
        Whether the matrix is positive definite.
    """
    degree, dim, counts = curves.degree, curves.dim, curves.counts
    matrices, gradient = matrices.copy(), gradient.copy()
    first, last = curves.offsets[:-1], curves.offsets[1:] - 1
    head, tail = slice(0, dim), slice(degree * dim, None)
    for element, ends in ((first, head), (last, tail)):
        matrices[element, ends, :] = 0.0
        matrices[element, :, ends] = 0.0
        matrices[element, ends, ends] = np.eye(dim)
        gradient[element, ends] = 0.0
    starts = chain_starts(counts, degree, dim)
    base = first_unknown(counts, degree, dim)
    places = base[:, None] + np.arange(gradient.shape[1])
    load = np.bincount(places.ravel(), weights=-gradient.ravel(), minlength=starts[-1])
    right = load.astype(float, copy=False)
    banded = assemble(matrices, base, int(starts[-1]), degree * dim)
    solution, definite = solve_chains(banded, right, starts)
    decrement = np.add.reduceat(right * solution, starts[:-1]) if len(counts) else np.zeros(0)
    return solution[places].reshape(curves.nodes.shape), decrement, definite
