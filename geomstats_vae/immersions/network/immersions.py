"""Immersions of networks, their derivatives written out layer by layer.

Values and tangents go through the layers together, as rows of one matrix product, and second
derivatives are contracted on the way back. So a Newton step costs about three evaluations of the
network.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import torch

from geomstats_vae.immersions.immersion import Immersion, Jet
from geomstats_vae.immersions.kinks import check_width
from geomstats_vae.immersions.linearization import Linearization
from geomstats_vae.immersions.network.condensation import condense
from geomstats_vae.immersions.network.joints import Joint
from geomstats_vae.immersions.network.layers import (
    Affine,
    Intermediates,
    Layer,
    combine,
    weighted_gram,
)
from geomstats_vae.immersions.network.linearization import (
    ChainLinearization,
    ElementwiseStep,
    LinearStep,
    SquaredDistanceStep,
    Step,
)
from geomstats_vae.immersions.rbf import RBFPrecision


class ChainImmersion(Immersion):
    """The immersion of layers each of which takes what the one before returns.

    Parameters
    ----------
    layers : sequence of Layer
        First to last; the last one gives the outputs.
    dim : int
        Dimension of the latent space.
    n_mean : int, optional
        Number of leading outputs that are means, the others being standard deviations. By default
        no output is a standard deviation.
    dtype : torch.dtype
        Floating-point type of the layers.
    device : torch.device
        Where the layers compute.
    """

    def __init__(
        self,
        layers: Sequence[Layer | Joint],
        dim: int,
        *,
        n_mean: int | None = None,
        dtype: torch.dtype = torch.float64,
        device: torch.device | str = "cpu",
    ) -> None:
        super().__init__(dim, n_mean=n_mean, dtype=dtype, device=device)
        # Inputs of layers are tensors, those of joints, in wired networks, tuples of them.
        self.layers: tuple[Any, ...] = tuple(layers)
        self.smooth = all(layer.smooth for layer in self.layers)
        self.curvature_jumps = any(layer.curvature_jumps for layer in self.layers)

    @property
    def inputs(self) -> tuple[tuple[int, ...], ...]:
        """What each layer takes; see `Wiring`."""
        return tuple((k,) for k in range(len(self.layers)))

    def __call__(self, z: torch.Tensor) -> torch.Tensor:
        """Evaluate F; see `Immersion`."""
        for layer in self.layers:
            z = layer.value(z)
        return z

    def jacobian(self, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Evaluate F and its Jacobian; see `Immersion.jacobian`."""
        z, rows = self._push(z, latent_basis(z))
        return z, rows.expand(-1, len(z), -1).transpose(0, 1)

    def push(self, z: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """Evaluate the derivative along a direction; see `Immersion.push`."""
        for layer in self.layers:
            z, v = layer.push(z, v)
        return v

    def jet(self, z: torch.Tensor, v: torch.Tensor | None = None) -> Jet:
        """Evaluate first and second derivatives; see `Immersion.jet`."""
        value, rows, second = z, latent_basis(z), None
        intermediates: list[Intermediates] = []
        for layer in self.layers:
            value, rows, second, own = layer.jet(value, rows, second, v)
            intermediates.append(own)
        return self._as_jet(rows, second, intermediates, v, len(z))

    def condensed(self) -> Immersion:
        """Find an isometric immersion with fewer outputs; see `Immersion.condensed`.

        Of a last affine map u -> u W' + b with W = Q R only R is needed: Q keeps lengths.
        """
        return self._condensed

    @functools.cached_property
    def _condensed(self) -> ChainImmersion:
        layers, n_mean = condense(self.layers, self.inputs, self.n_mean)
        return self if layers is self.layers else self._with(layers, n_mean)

    def smoothed(self, width: float, codes: torch.Tensor) -> Immersion:
        """Round the kinks of activations; see `Immersion.smoothed`.

        ReLU becomes w softplus(u / w), with a w for every unit. Other kinked functions are sums of
        smooth ones and multiples of ReLU, and are rounded in the same way.
        """
        width = check_width(width)
        if self.smooth:
            return self
        with torch.no_grad():
            values = self._values(codes.to(dtype=self.dtype, device=self.device))
            parts = zip(self.layers, values, strict=True)
            layers = [layer.smoothed(width, value) for layer, value in parts]
        return self._with(layers, self.n_mean)

    def linearize(self, z: torch.Tensor, v: torch.Tensor) -> Linearization:
        """Prepare products without a Jacobian; see `Immersion.linearize`."""
        steps: list[Step] = []
        for layer in self.layers:
            z, v, step = layer.linearize(z, v)
            steps.append(step)
        return ChainLinearization(v, steps)

    def _values(self, z: torch.Tensor) -> list[Any]:
        """Find the inputs of all layers."""
        values = []
        for layer in self.layers:
            values.append(z)
            z = layer.value(z)
        return values

    def _push(self, z: torch.Tensor, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Value and tangents of the outputs; see `Layer.push`."""
        for layer in self.layers:
            z, rows = layer.push(z, rows)
        return z, rows

    def _as_jet(
        self,
        rows: torch.Tensor,
        second: torch.Tensor | None,
        intermediates: list[Intermediates],
        v: torch.Tensor | None,
        n_points: int,
    ) -> Jet:
        """Jet of the outputs' tangents, with an axis of points, and what the layers left."""
        rows = rows.expand(-1, n_points, -1)
        if v is not None:
            second = (torch.zeros_like(rows) if second is None else second).transpose(0, 1)
        return Jet(rows.transpose(0, 1), second, functools.partial(self._hessian, intermediates))

    def _hessian(
        self, intermediates: Sequence[Intermediates], covector: torch.Tensor
    ) -> torch.Tensor:
        """Hessian of covector . F, from what `jet` left, last layer first."""
        hessian = covector.new_zeros(len(covector), self.dim, self.dim)
        for layer, own in zip(reversed(self.layers), reversed(intermediates), strict=True):
            covector, term = layer.contract(covector, own)
            if term is not None:
                hessian = hessian + term
        return hessian

    def _with(self, layers: Sequence[Layer | Joint], n_mean: int | None) -> ChainImmersion:
        """Build the same network of other layers."""
        return ChainImmersion(layers, self.dim, n_mean=n_mean, dtype=self.dtype, device=self.device)


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
        # Not a view of z: differences would keep the order of its memory, which is slow.
        delta = z.T.contiguous()[:, :, None] - self.centers.T[:, None, :]
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


def latent_basis(z: torch.Tensor) -> torch.Tensor:
    """Latent directions, the same at all points, shape=[dim, 1, dim]."""
    return torch.eye(z.shape[1], dtype=z.dtype, device=z.device)[:, None, :]
