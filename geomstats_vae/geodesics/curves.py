"""Batches of curves with different numbers of elements, and how they are refined and measured."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from geomstats_vae.geodesics.elements import lagrange_matrix, reference_element


@dataclass
class Curves:
    """Curves as chains of elements, one after the other.

    Parameters
    ----------
    nodes : array, shape=[n_elements, degree + 1, dim]
        Nodes of the elements, in latent space; neighbours share their end nodes.
    counts : array of int, shape=[n_curves]
        Number of elements of each curve.
    """

    nodes: np.ndarray
    counts: np.ndarray

    def __len__(self):
        return len(self.counts)

    @property
    def degree(self):
        """Polynomial degree of the elements."""
        return self.nodes.shape[1] - 1

    @property
    def dim(self):
        """Dimension of the latent space."""
        return self.nodes.shape[2]

    @property
    def owner(self):
        """Curve that each element belongs to, shape=[n_elements]."""
        return np.repeat(np.arange(len(self.counts)), self.counts)

    @property
    def offsets(self):
        """First element of each curve, and the end, shape=[n_curves + 1]."""
        return np.concatenate(([0], np.cumsum(self.counts)))

    def total(self, per_element):
        """Sum a quantity of the elements over each curve, shape=[n_curves]."""
        return np.bincount(self.owner, weights=per_element, minlength=len(self))

    def take(self, indices):
        """Select curves.

        Parameters
        ----------
        indices : array of int, shape=[n_taken]
            Curves to take, in this order.

        Returns
        -------
        curves : Curves
            Copies of the curves.
        """
        rows = self.rows(indices)
        return Curves(self.nodes[rows].copy(), self.counts[indices])

    def rows(self, indices):
        """Elements of some curves, in their order."""
        offsets = self.offsets
        pieces = [np.arange(offsets[k], offsets[k + 1]) for k in indices]
        return np.concatenate(pieces) if pieces else np.zeros(0, dtype=int)

    def split(self, marked):
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
        reference = reference_element(self.degree).nodes
        left = lagrange_matrix(reference, 0.5 * (reference - 1.0))
        right = lagrange_matrix(reference, 0.5 * (reference + 1.0))
        repeats = np.where(marked, 2, 1)
        nodes = np.repeat(self.nodes, repeats, axis=0)
        first = np.cumsum(repeats) - repeats
        nodes[first[marked]] = left @ self.nodes[marked]
        nodes[first[marked] + 1] = right @ self.nodes[marked]
        return Curves(nodes, self.total(repeats).astype(int))

    def raise_degree(self, degree):
        """Express the same curves with polynomials of a higher degree.

        Parameters
        ----------
        degree : int
            New degree, at least the present one.

        Returns
        -------
        curves : Curves
            The same curves.
        """
        old, new = reference_element(self.degree).nodes, reference_element(degree).nodes
        return Curves(lagrange_matrix(old, new) @ self.nodes, self.counts.copy())

    def sample(self, per_element):
        """Points of the curves at equal parameters, end points included.

        Parameters
        ----------
        per_element : int
            Number of chords per element.

        Returns
        -------
        points : array, shape=[n_elements, per_element + 1, dim]
            Points of each element from end to end.
        """
        parameters = np.linspace(-1.0, 1.0, per_element + 1)
        return lagrange_matrix(reference_element(self.degree).nodes, parameters) @ self.nodes


def concatenate(batches):
    """Put batches of curves of one degree together.

    Parameters
    ----------
    batches : list of Curves
        Batches.

    Returns
    -------
    curves : Curves
        All curves, batch after batch.
    """
    return Curves(
        np.concatenate([batch.nodes for batch in batches]),
        np.concatenate([batch.counts for batch in batches]),
    )


def straight(start, end, n_elements, degree):
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
