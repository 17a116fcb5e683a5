"""The immersion of an RBF precision's standard deviation, its derivatives written out."""

from __future__ import annotations

import functools

import torch

from geomstats_vae.immersions.immersion import Immersion, Jet
from geomstats_vae.immersions.linearization import Linearization
from geomstats_vae.immersions.network.layers import Affine, combine, weighted_gram
from geomstats_vae.immersions.network.linearization import (
    ChainLinearization,
    ElementwiseStep,
    LinearStep,
    SquaredDistanceStep,
)
from geomstats_vae.immersions.rbf import RBFPrecision


class RBFStdImmersion(Immersion):
    """sigma = (W v(z) + zeta)^(-1/2) with v_k = exp(-lambda_k ||z - c_k||^2).

    Parameters
    ----------
    precision : RBFPrecision
        The network of the precision.
    """

    smooth = True

    def __init__(self, precision: RBFPrecision) -> None:
        self.centers = precision.centers.detach()
        self.lambdas = precision.lambdas.detach()
        self.weights = precision.weights.detach()
        self.zeta = precision.zeta.detach()
        super().__init__(
            self.centers.shape[1], n_mean=0, dtype=self.centers.dtype, device=self.centers.device
        )

    def __call__(self, z: torch.Tensor) -> torch.Tensor:
        """Evaluate sigma; see `Immersion`."""
        return self._std(self._kernels(z)[1])

    def jacobian(self, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Evaluate sigma and its Jacobian; see `Immersion.jacobian`."""
        delta, kernels = self._kernels(z)
        sigma = self._std(kernels)
        rows = (delta * (-2.0 * self.lambdas * kernels)) @ self.weights.T
        return sigma, (rows * (-0.5 * sigma**3)).transpose(0, 1)

    def push(self, z: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """Evaluate the derivative along a direction; see `Immersion.push`."""
        delta, kernels = self._kernels(z)
        sigma = self._std(kernels)
        pushed = (combine(v, delta) * (-2.0 * self.lambdas * kernels)) @ self.weights.T
        return pushed * (-0.5 * sigma**3)

    def jet(self, z: torch.Tensor, v: torch.Tensor | None = None) -> Jet:
        """Evaluate first and second derivatives; see `Immersion.jet`."""
        # Tangents are [dim, n_points, width], as in chains.
        delta, kernels = self._kernels(z)
        sigma = self._std(kernels)
        slope = -0.5 * sigma**3  # of the root, by the precision
        decay = -2.0 * self.lambdas * kernels
        inner = delta * decay
        rows = inner @ self.weights.T
        second = None
        if v is not None:
            change = -2.0 * self.lambdas * combine(v, delta)
            second = torch.addcmul(inner * change, v.T[:, :, None], decay) @ self.weights.T
            change = -1.5 * slope * sigma * sigma * combine(v, rows)
            second = torch.addcmul(second * slope, rows, change).transpose(0, 1)
        hessian = functools.partial(self._hessian, delta, kernels, sigma, slope, rows)
        return Jet((rows * slope).transpose(0, 1), second, hessian)

    def linearize(self, z: torch.Tensor, v: torch.Tensor) -> Linearization:
        """Prepare products without a Jacobian; see `Immersion.linearize`.

        The steps are squared distances, kernels, their weighted sums, and the root.
        """
        squares = SquaredDistanceStep(self.centers, z, v)
        kernels = self._kernels(z)[1]
        along = squares.push(torch.stack((v, torch.zeros_like(v)), dim=1))[:, 0]
        slope = -self.lambdas * kernels
        bell = ElementwiseStep(slope, -self.lambdas * slope, along)
        weights = Affine(self.weights)
        sums, along = LinearStep(weights.tangents, weights.pull), weights.tangents(along * slope)
        sigma = self._std(kernels)
        slope = -0.5 * sigma**3
        root = ElementwiseStep(slope, -1.5 * slope * sigma * sigma, along)
        return ChainLinearization(along * slope, [squares, bell, sums, root])

    def std_norm(self, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Evaluate the norm of sigma and its gradient; see `Immersion.std_norm`."""
        delta, kernels = self._kernels(z)
        variance = (kernels @ self.weights.T + self.zeta).reciprocal()
        norm = variance.sum(dim=1).sqrt()
        pulled = (variance * variance / norm[:, None]) @ self.weights * kernels * self.lambdas
        return norm, (delta * pulled).sum(2).T

    def _kernels(self, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Differences z - c_k, shape=[dim, n_points, n_centers], and kernels v_k."""
        delta = z.T[:, :, None] - self.centers.T[:, None, :]
        square = delta[0] * delta[0]
        for part in delta[1:]:
            square = torch.addcmul(square, part, part)  # torch sums an axis slowly
        return delta, torch.exp(-self.lambdas * square)

    def _std(self, kernels: torch.Tensor) -> torch.Tensor:
        return torch.rsqrt(torch.addmm(self.zeta, kernels, self.weights.T))

    def _hessian(
        self,
        delta: torch.Tensor,
        kernels: torch.Tensor,
        sigma: torch.Tensor,
        slope: torch.Tensor,
        rows: torch.Tensor,
        covector: torch.Tensor,
    ) -> torch.Tensor:
        """Hessian of covector . sigma, from what `jet` evaluated."""
        outer = weighted_gram(rows, covector * (-1.5 * slope * sigma * sigma))
        pulled = (covector * slope) @ self.weights * kernels * self.lambdas
        inner = weighted_gram(delta, 4.0 * pulled * self.lambdas)
        hessian = outer + inner
        hessian.diagonal(dim1=1, dim2=2).sub_(2.0 * pulled.sum(-1)[:, None])
        return hessian
