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
from geomstats_vae.immersions.network.condensation import condense
from geomstats_vae.immersions.network.joints import Joint
from geomstats_vae.immersions.network.layers import Intermediates, Layer
from geomstats_vae.immersions.network.linearization import ChainLinearization, Step
from geomstats_vae.immersions.network.wiring import State, Wiring


class ChainImmersion(Immersion):
    """The immersion of layers that are evaluated one after the other.

    Parameters
    ----------
    layers : sequence of Layer or Joint
        First to last; the last one gives the outputs.
    dim : int
        Dimension of the latent space.
    wiring : Wiring, optional
        What each layer takes; by default what the one before returns. Joints take the results of
        several layers.
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
        wiring: Wiring | None = None,
        n_mean: int | None = None,
        dtype: torch.dtype = torch.float64,
        device: torch.device | str = "cpu",
    ) -> None:
        super().__init__(dim, n_mean=n_mean, dtype=dtype, device=device)
        # Inputs of layers are tensors, those of joints tuples of them: one or several wires.
        self.layers: tuple[Any, ...] = tuple(layers)
        self.wiring = Wiring.chain(len(self.layers)) if wiring is None else wiring
        self.smooth = all(layer.smooth for layer in self.layers)

    def __call__(self, z: torch.Tensor) -> torch.Tensor:
        """Evaluate F; see `Immersion`."""

        def value(k: int, a: Any) -> State:
            return (self.layers[k].value(a),)

        return self.wiring.forward((z,), value)[0]

    def jacobian(self, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Evaluate F and its Jacobian; see `Immersion.jacobian`."""
        z, rows = self._push(z, _latent_basis(z))
        return z, rows.expand(-1, len(z), -1).transpose(0, 1)

    def push(self, z: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """Evaluate the derivative along a direction; see `Immersion.push`."""
        return self._push(z, v)[1]

    def jet(self, z: torch.Tensor, v: torch.Tensor | None = None) -> Jet:
        """Evaluate first and second derivatives; see `Immersion.jet`."""
        intermediates: list[Intermediates] = []

        def jet(k: int, a: Any, rows: Any, second: Any) -> State:
            *state, own = self.layers[k].jet(a, rows, second, v)
            intermediates.append(own)
            return tuple(state)

        z, rows, second = self.wiring.forward((z, _latent_basis(z), None), jet)
        rows = rows.expand(-1, len(z), -1)
        if v is not None:
            second = (torch.zeros_like(rows) if second is None else second).transpose(0, 1)
        return Jet(rows.transpose(0, 1), second, functools.partial(self._hessian, intermediates))

    def condensed(self) -> Immersion:
        """Find an isometric immersion with fewer outputs; see `Immersion.condensed`.

        Of a last affine map u -> u W' + b with W = Q R only R is needed: Q keeps lengths.
        """
        return self._condensed

    @functools.cached_property
    def _condensed(self) -> ChainImmersion:
        layers, n_mean = condense(self.layers, self.wiring, self.n_mean)
        return self if layers is self.layers else self._with(layers, n_mean)

    def smoothed(self, width: float, codes: torch.Tensor) -> Immersion:
        """Round the kinks of activations; see `Immersion.smoothed`.

        ReLU becomes w softplus(u / w), with a w for every unit. Other kinked functions are sums of
        smooth ones and multiples of ReLU, and are rounded in the same way.
        """
        width = check_width(width)
        if self.smooth:
            return self
        layers: list[Layer | Joint] = []

        def smooth(k: int, a: Any) -> State:
            layers.append(self.layers[k].smoothed(width, a))
            return (self.layers[k].value(a),)

        with torch.no_grad():
            self.wiring.forward((codes.to(dtype=self.dtype, device=self.device),), smooth)
        return self._with(layers, self.n_mean)

    def linearize(self, z: torch.Tensor, v: torch.Tensor) -> ChainLinearization:
        """Prepare products without a Jacobian; see `Immersion.linearize`."""
        steps: list[Step] = []

        def linearize(k: int, a: Any, along: Any) -> State:
            *state, step = self.layers[k].linearize(a, along)
            steps.append(step)
            return tuple(state)

        _, pushed = self.wiring.forward((z, v), linearize)
        return ChainLinearization(pushed, steps, self.wiring)

    def _push(self, z: torch.Tensor, rows: torch.Tensor) -> State:
        def push(k: int, a: Any, rows: Any) -> State:
            return self.layers[k].push(a, rows)

        return self.wiring.forward((z, rows), push)

    def _hessian(
        self, intermediates: Sequence[Intermediates], covector: torch.Tensor
    ) -> torch.Tensor:
        """Hessian of covector . F, from what `jet` left, last layer first."""
        terms = [covector.new_zeros(len(covector), self.dim, self.dim)]

        def contract(k: int, covector: torch.Tensor) -> Any:
            pulled, term = self.layers[k].contract(covector, intermediates[k])
            if term is not None:
                terms[0] = terms[0] + term
            return pulled

        self.wiring.backward(covector, contract)
        return terms[0]

    def _with(self, layers: Sequence[Layer | Joint], n_mean: int | None) -> ChainImmersion:
        """Build the same network of other layers."""
        return ChainImmersion(
            layers,
            self.dim,
            wiring=self.wiring,
            n_mean=n_mean,
            dtype=self.dtype,
            device=self.device,
        )


def _latent_basis(z: torch.Tensor) -> torch.Tensor:
    """Latent directions, the same at all points, shape=[dim, 1, dim]."""
    return torch.eye(z.shape[1], dtype=z.dtype, device=z.device)[:, None, :]
