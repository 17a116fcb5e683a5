"""Chains of elements as one banded system: assembly, and Cholesky that names its failures."""

from __future__ import annotations

import numpy as np
from scipy.linalg import lapack


def assemble(matrices, counts, degree, dim):
    """Assemble element matrices of several chains into one lower banded matrix.

    Parameters
    ----------
    matrices : array, shape=[n_elements, (degree + 1) * dim, (degree + 1) * dim]
        Symmetric element matrices, chain after chain.
    counts : array, shape=[n_chains]
        Number of elements of each chain.
    degree : int
        Polynomial degree.
    dim : int
        Latent dimension.

    Returns
    -------
    banded : array, shape=[(degree + 1) * dim, n_unknowns]
        Lower form: banded[k, j] is the entry at row j + k, column j.
    """
    size = (degree + 1) * dim
    base = first_unknown(counts, degree, dim)
    banded = np.zeros((size, int(((counts * degree + 1) * dim).sum())))
    inner = degree * dim
    for k in range(size):
        # Columns of an element's last node stand again in the next element: two disjoint sums.
        for columns in (np.arange(0, min(inner, size - k)), np.arange(inner, size - k)):
            if len(columns):
                banded[k][base[:, None] + columns] += matrices[:, columns + k, columns]
    return banded


def assemble_vector(vectors, counts, degree, dim):
    """Assemble element vectors, shape=[n_elements, (degree + 1) * dim], into one."""
    base = first_unknown(counts, degree, dim)
    total = int(((counts * degree + 1) * dim).sum())
    indices = base[:, None] + np.arange((degree + 1) * dim)
    return np.bincount(indices.ravel(), weights=vectors.ravel(), minlength=total)


def scatter(solution, counts, degree, dim):
    """Values of an assembled vector at each element's nodes.

    Parameters
    ----------
    solution : array, shape=[n_unknowns]
        Assembled vector.
    counts : array, shape=[n_chains]
        Number of elements of each chain.
    degree : int
        Polynomial degree.
    dim : int
        Latent dimension.

    Returns
    -------
    values : array, shape=[n_elements, degree + 1, dim]
        Values at the nodes.
    """
    base = first_unknown(counts, degree, dim)
    return solution[base[:, None] + np.arange((degree + 1) * dim)].reshape(-1, degree + 1, dim)


def first_unknown(counts, degree, dim):
    """Index of each element's first unknown, shape=[n_elements]."""
    n_elements = int(counts.sum())
    chain = np.repeat(np.arange(len(counts)), counts)
    # Each chain has one node more than its elements have in common.
    return (np.arange(n_elements) * degree + chain) * dim


def solve(banded, right, starts):
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
