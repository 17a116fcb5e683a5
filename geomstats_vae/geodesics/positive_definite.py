"""Linear systems of positive definite matrices in batches; NaN where a matrix is not one.

A metric that is singular at one point must neither raise an error nor spoil the other points of
its batch. Systems go through Cholesky factors also because torch's general solvers are wrong under
forward-mode derivatives.
"""

from __future__ import annotations

import torch


def cholesky(matrix: torch.Tensor) -> torch.Tensor:
    """Factor symmetric matrices, M = L L'.

    Parameters
    ----------
    matrix : torch.Tensor, shape=[..., dim, dim]
        Matrices M.

    Returns
    -------
    factor : torch.Tensor, shape=[..., dim, dim]
        Lower triangular factors L; all NaN where M is not positive definite, or not finite.
    """
    factor, info = torch.linalg.cholesky_ex(matrix)
    return torch.where((info == 0)[..., None, None], factor, torch.nan)


def solve_factored(factor: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """Solve L L' x = b.

    Parameters
    ----------
    factor : torch.Tensor, shape=[..., dim, dim]
        Factors L, as of `cholesky`.
    right : torch.Tensor, shape=[..., dim, n]
        Right-hand sides b.

    Returns
    -------
    solution : torch.Tensor, shape=[..., dim, n]
        Solutions x; NaN where the factor is.
    """
    # Implementations may skip zeros of the right-hand side, and with them the NaN of a factor.
    solution = torch.cholesky_solve(right, factor)
    return torch.where(factor[..., :1, :1].isnan(), torch.nan, solution)


def solve(matrix: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """Solve M x = b.

    Parameters
    ----------
    matrix : torch.Tensor, shape=[..., dim, dim]
        Symmetric matrices M.
    right : torch.Tensor, shape=[..., dim, n]
        Right-hand sides b.

    Returns
    -------
    solution : torch.Tensor, shape=[..., dim, n]
        Solutions x; NaN where M is not positive definite.
    """
    return solve_factored(cholesky(matrix), right)
