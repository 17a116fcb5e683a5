"""Weights of an RBF precision by maximum likelihood: a concave problem for every output.

The log likelihood sum_i (log beta_i - r_i beta_i) / 2 of squared residuals r is concave in the
weights of the precision beta = W v + zeta, and a logarithmic barrier keeps them positive.
"""

from __future__ import annotations

import warnings

import torch
from sklearn.exceptions import ConvergenceWarning
from tqdm import tqdm

# Coefficients of the interior-point method, as in Waechter & Biegler, "On the implementation of an
# interior-point filter line-search algorithm", Math. Program. 106 (2006): fraction to the boundary
# (eq. 8), decrease of the barrier (eq. 7), its tolerance (kappa_epsilon) and the Armijo slope.
_FRACTION_TO_BOUNDARY = 0.99
_BARRIER_FACTOR, _BARRIER_POWER = 0.2, 1.5
_BARRIER_TOLERANCE = 10.0
_ARMIJO_SLOPE = 1e-4
_MAX_HALVINGS = 40
# Blocks bound the memory of the largest temporary arrays: 64 to 128 MB of float64.
_ROWS_PER_BLOCK = 2048
_ENTRIES_PER_BLOCK = 2**24


def maximum_likelihood_weights(
    kernels: torch.Tensor,
    residuals: torch.Tensor,
    zeta: float,
    *,
    tol: float,
    max_iter: int,
    verbose: bool = False,
) -> torch.Tensor:
    """Maximise the likelihood of squared residuals over positive weights.

    Parameters
    ----------
    kernels : torch.Tensor, shape=[n_points, n_centers]
        Radial basis functions v_k(z_i).
    residuals : torch.Tensor, shape=[n_points, n_outputs]
        Positive squared residuals.
    zeta : float
        Precision where all kernels vanish.
    tol : float
        Distance from the maximum of the mean log likelihood per point and output, in nats.
    max_iter : int
        Maximal number of Newton steps.
    verbose : bool
        Show a progress bar.

    Returns
    -------
    weights : torch.Tensor, shape=[n_outputs, n_centers]
        Positive weights W of the precision W v(z) + zeta.

    Raises
    ------
    ValueError
        If some kernel vanishes at all the points.
    """
    # Outputs are measured in their own typical residual, centres by their mean kernel: then all
    # unknowns are of order one.
    mass = kernels.mean(dim=0)
    if bool((mass < torch.finfo(mass.dtype).eps).any()):
        raise ValueError(
            "Expected every radial basis function to be seen by some code, got one that vanishes "
            "at all of them; increase a."
        )
    scale = residuals.mean(dim=0)
    kernels = kernels / mass
    outputs_per_block = max(1, _ENTRIES_PER_BLOCK // max(len(kernels), kernels.shape[1] ** 2))
    blocks = []
    with tqdm(total=len(scale), desc="RBF precision", disable=not verbose) as progress:
        for r, s in zip(
            residuals.split(outputs_per_block, dim=1), scale.split(outputs_per_block), strict=True
        ):
            problem = _WeightProblem(kernels, r / s, zeta * s)
            blocks.append(problem.solve(tol, max_iter, progress) / mass / s[:, None])
    return torch.cat(blocks)


class _WeightProblem:
    """Minimise mean_i (r_i beta_i - log beta_i) over w > 0, beta = V w + zeta, for each output.

    A primal-dual interior-point method with one barrier parameter per output. Rows of `weights`,
    `slacks` and `barrier` are outputs; they do not interact.
    """

    def __init__(self, kernels: torch.Tensor, residuals: torch.Tensor, zeta: torch.Tensor) -> None:
        self.kernels, self.residuals, self.zeta = kernels, residuals, zeta
        # The linear part of the gradient: it does not change.
        self.slope = residuals.T @ kernels / len(kernels)

    def solve(self, tol: float, max_iter: int, progress: tqdm) -> torch.Tensor:
        n_outputs, n_centers = self.slope.shape
        weights = torch.full_like(self.slope, 1.0 / n_centers)
        barrier = torch.full_like(self.zeta, 0.1 / n_centers)
        slacks = barrier[:, None] / weights
        # At the minimum for a barrier mu the objective, twice the negative log likelihood, is at
        # most n_centers * mu above its infimum.
        final_barrier = 2.0 * tol / n_centers
        pending = torch.arange(n_outputs, device=weights.device)
        for _ in range(max_iter):
            weights[pending], slacks[pending], error = self._step(
                pending, weights[pending], slacks[pending], barrier[pending]
            )
            solved = error <= _BARRIER_TOLERANCE * barrier[pending]
            done = solved & (barrier[pending] <= final_barrier)
            barrier[pending[solved]] = _decrease(barrier[pending[solved]], final_barrier)
            progress.update(int(done.sum()))
            pending = pending[~done]
            if not len(pending):
                return weights
        warnings.warn(
            f"The weights of {len(pending)} of {n_outputs} outputs have not converged in "
            f"{max_iter} Newton steps; increase max_iter or tol.",
            ConvergenceWarning,
            stacklevel=4,
        )
        return weights

    def _step(
        self,
        outputs: torch.Tensor,
        weights: torch.Tensor,
        slacks: torch.Tensor,
        barrier: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """One Newton step; returns weights, slacks and the error of the optimality conditions."""
        precision = self._precision(outputs, weights)
        centrality = barrier[:, None] / weights
        hessian = _weighted_gram(self.kernels, precision**-2)
        hessian.diagonal(dim1=1, dim2=2).add_(slacks / weights)
        gradient = self._gradient(outputs, precision) - centrality
        factor = torch.linalg.cholesky(hessian)
        direction = -torch.cholesky_solve(gradient[:, :, None], factor)[:, :, 0]
        dual_direction = centrality - slacks - slacks / weights * direction
        step = self._line_search(outputs, weights, direction, gradient, precision, barrier)
        weights = weights + step[:, None] * direction
        slacks = slacks + _step_to_boundary(slacks, dual_direction)[:, None] * dual_direction
        return weights, slacks, self._error(outputs, weights, slacks, barrier)

    def _precision(self, outputs: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        return self.kernels @ weights.T + self.zeta[outputs]

    def _gradient(self, outputs: torch.Tensor, precision: torch.Tensor) -> torch.Tensor:
        return self.slope[outputs] - precision.reciprocal().T @ self.kernels / len(self.kernels)

    def _error(
        self,
        outputs: torch.Tensor,
        weights: torch.Tensor,
        slacks: torch.Tensor,
        barrier: torch.Tensor,
    ) -> torch.Tensor:
        stationarity = self._gradient(outputs, self._precision(outputs, weights)) - slacks
        complementarity = weights * slacks - barrier[:, None]
        return torch.maximum(stationarity.abs(), complementarity.abs()).amax(dim=1)

    def _line_search(
        self,
        outputs: torch.Tensor,
        weights: torch.Tensor,
        direction: torch.Tensor,
        gradient: torch.Tensor,
        precision: torch.Tensor,
        barrier: torch.Tensor,
    ) -> torch.Tensor:
        """Armijo backtracking on the barrier function, for each output on its own."""
        step = _step_to_boundary(weights, direction)
        linear = (self.slope[outputs] * direction).sum(dim=1)
        decrease = _ARMIJO_SLOPE * (gradient * direction).sum(dim=1)
        relative = (self.kernels @ direction.T) / precision
        relative_weights = direction / weights
        for _ in range(_MAX_HALVINGS):
            change = (
                step * linear
                - torch.log1p(step * relative).mean(dim=0)
                - barrier * torch.log1p(step[:, None] * relative_weights).sum(dim=1)
            )
            # Near the minimum the decrease drowns in rounding, and the full step is right.
            rounding = torch.finfo(change.dtype).eps * (1.0 + (step * linear).abs())
            rejected = ~(change <= step * decrease + rounding)
            if not bool(rejected.any()):
                break
            step = torch.where(rejected, 0.5 * step, step)
        return step


def _decrease(barrier: torch.Tensor, final_barrier: float) -> torch.Tensor:
    lower = torch.minimum(_BARRIER_FACTOR * barrier, barrier**_BARRIER_POWER)
    return lower.clamp(min=final_barrier)


def _step_to_boundary(values: torch.Tensor, direction: torch.Tensor) -> torch.Tensor:
    """Longest step, at most 1, that keeps positive values positive; shape=[n_rows]."""
    ratio = (-direction / values).amax(dim=1)
    return (_FRACTION_TO_BOUNDARY / ratio.clamp(min=_FRACTION_TO_BOUNDARY)).clamp(max=1.0)


def _weighted_gram(kernels: torch.Tensor, row_weights: torch.Tensor) -> torch.Tensor:
    """V' diag(row_weights_j) V / n_points for each j, shape=[n_outputs, n_centers, n_centers]."""
    n_points, n_centers = kernels.shape
    gram = kernels.new_zeros(row_weights.shape[1], n_centers**2)
    for rows, block in zip(
        kernels.split(_ROWS_PER_BLOCK), row_weights.split(_ROWS_PER_BLOCK), strict=True
    ):
        products = (rows[:, :, None] * rows[:, None, :]).reshape(len(rows), -1)
        gram.addmm_(block.T, products, alpha=1.0 / n_points)
    return gram.reshape(-1, n_centers, n_centers)
