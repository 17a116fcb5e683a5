"""Cholesky factors and solutions of batches in which some matrices are not positive definite."""

import pytest
import torch

from geomstats_vae.geodesics import positive_definite

EYE = torch.eye(3, dtype=torch.float64)


def matrices():
    """Two that are positive definite among some that are not."""
    root = torch.randn(3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    good = root @ root.T + EYE
    return torch.stack((good, 0.0 * EYE, -EYE, torch.nan * EYE, torch.inf * EYE, 2.0 * EYE))


GOOD = torch.tensor([True, False, False, False, False, True])


def test_factors_are_nan_where_there_are_none():
    matrix = matrices()
    factor = positive_definite.cholesky(matrix)
    torch.testing.assert_close((factor @ factor.mT)[GOOD], matrix[GOOD])
    assert factor[GOOD].triu(1).count_nonzero() == 0
    assert factor[~GOOD].isnan().all()


@pytest.mark.parametrize("right", [EYE[:, :1], torch.zeros(3, 2, dtype=torch.float64), EYE])
def test_solutions_are_nan_where_there_are_none(right):
    matrix, right = matrices(), right.expand(6, -1, -1)
    solution = positive_definite.solve(matrix, right)
    torch.testing.assert_close(matrix[GOOD] @ solution[GOOD], right[GOOD])
    assert solution[~GOOD].isnan().all()


def test_one_singular_matrix_does_not_spoil_the_derivatives_of_others():
    matrix = torch.stack((2.0 * EYE, 0.0 * EYE)).requires_grad_()
    positive_definite.solve(matrix, EYE.expand(2, 3, 3))[0].sum().backward()
    # The inverse of s times the identity has the derivative -1 / s^2, all columns being summed.
    torch.testing.assert_close(matrix.grad[0].diagonal(), torch.full((3,), -0.25).double())
