"""Networks in which a function takes the results of others than the one before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from geomstats_vae.immersions.immersion import Jet
from geomstats_vae.immersions.linearization import Product
from geomstats_vae.immersions.network.immersions import ChainImmersion, latent_basis
from geomstats_vae.immersions.network.joints import Joint
from geomstats_vae.immersions.network.layers import Intermediates, Layer
from geomstats_vae.immersions.network.linearization import ChainLinearization, Hessian, Step
from geomstats_vae.immersions.network.wiring import State, Wiring


class WiredImmersion(ChainImmersion):
    """The immersion of layers some of which take the results of several others.

    Parameters
    ----------
    layers : sequence of Layer or Joint
        First to last; the last one gives the outputs. Joints take several results.
    dim : int
        Dimension of the latent space.
    wiring : Wiring
        What each layer takes.
    n_mean : int, optional
        As of `ChainImmersion`.
    dtype : torch.dtype
        As of `ChainImmersion`.
    device : torch.device
        As of `ChainImmersion`.
    """

    def __init__(
        self,
        layers: Sequence[Layer | Joint],
        dim: int,
        wiring: Wiring,
        *,
        n_mean: int | None = None,
        dtype: torch.dtype = torch.float64,
        device: torch.device | str = "cpu",
    ) -> None:
        super().__init__(layers, dim, n_mean=n_mean, dtype=dtype, device=device)
        self.wiring = wiring

    @property
    def inputs(self) -> tuple[tuple[int, ...], ...]:
        """What each layer takes; see `Wiring`."""
        return self.wiring.inputs

    def __call__(self, z: torch.Tensor) -> torch.Tensor:
        """Evaluate F; see `Immersion`."""

        def value(k: int, a: Any) -> State:
            return (self.layers[k].value(a),)

        return self.wiring.forward((z,), value)[0]

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

        _, rows, second = self.wiring.forward((z, latent_basis(z), None), jet)
        return self._as_jet(rows, second, intermediates, v, len(z))

    def linearize(self, z: torch.Tensor, v: torch.Tensor) -> ChainLinearization:
        """Prepare products without a Jacobian; see `Immersion.linearize`."""
        steps: list[Step] = []

        def linearize(k: int, a: Any, along: Any) -> State:
            *state, step = self.layers[k].linearize(a, along)
            steps.append(step)
            return tuple(state)

        _, pushed = self.wiring.forward((z, v), linearize)
        return WiredLinearization(pushed, steps, self.wiring)

    def _values(self, z: torch.Tensor) -> list[Any]:
        values: list[Any] = []

        def value(k: int, a: Any) -> State:
            values.append(a)
            return (self.layers[k].value(a),)

        self.wiring.forward((z,), value)
        return values

    def _push(self, z: torch.Tensor, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        def push(k: int, a: Any, rows: Any) -> State:
            return self.layers[k].push(a, rows)

        z, rows = self.wiring.forward((z, rows), push)
        return z, rows

    def _hessian(
        self, intermediates: Sequence[Intermediates], covector: torch.Tensor
    ) -> torch.Tensor:
        terms = [covector.new_zeros(len(covector), self.dim, self.dim)]

        def contract(k: int, covector: torch.Tensor) -> Any:
            pulled, term = self.layers[k].contract(covector, intermediates[k])
            if term is not None:
                terms[0] = terms[0] + term
            return pulled

        self.wiring.backward(covector, contract)
        return terms[0]

    def _with(self, layers: Sequence[Layer | Joint], n_mean: int | None) -> WiredImmersion:
        return WiredImmersion(
            layers, self.dim, self.wiring, n_mean=n_mean, dtype=self.dtype, device=self.device
        )


class WiredLinearization(ChainLinearization):
    """Linearization of steps some of which take the results of several others.

    Parameters
    ----------
    pushed : torch.Tensor, shape=[n_points, n_outputs]
        dF(v).
    steps : sequence of Step
        First to last.
    wiring : Wiring
        What each step takes.
    """

    def __init__(self, pushed: torch.Tensor, steps: Sequence[Step], wiring: Wiring) -> None:
        super().__init__(pushed, steps)
        self.wiring = wiring

    def quadratic(self, weight: torch.Tensor, covector: torch.Tensor | None = None) -> Product:
        """Prepare products; see `Linearization.quadratic`."""
        hessians = self._hessians(covector)

        def product(dz: torch.Tensor, dv: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            tangents: list[Any] = []

            def push(k: int, rows: Any) -> State:
                tangents.append(None if hessians[k] is None else _of_points(rows))
                return (self.steps[k].push(rows),)

            (rows,) = self.wiring.forward((torch.stack((dz, dv), dim=1),), push)
            return self._pull(weight[:, None] * rows[:, 1], hessians, tangents)

        return product

    def _pull(
        self, covector: torch.Tensor, hessians: Sequence[Hessian | None], tangents: Sequence[Any]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        def pull(k: int, rows: torch.Tensor) -> Any:
            pulled, add = self.steps[k].pull(rows), hessians[k]
            if add is not None:
                add(pulled, tangents[k])
            return pulled

        rows = torch.stack((torch.zeros_like(covector), covector), dim=1)
        rows = self.wiring.backward(rows, pull)
        return rows[:, 0], rows[:, 1]

    def _hessians(self, covector: torch.Tensor | None) -> list[Hessian | None]:
        hessians: list[Hessian | None] = [None] * len(self.steps)
        if covector is None:
            return hessians

        def pull(k: int, covector: torch.Tensor) -> Any:
            hessians[k] = self.steps[k].hessian(covector)
            return self.steps[k].pull_covector(covector)

        self.wiring.backward(covector, pull)
        return hessians


def _of_points(rows: Any) -> Any:
    """Variations of points alone, of one input or of several."""
    if isinstance(rows, tuple):
        return tuple(part[:, 0] for part in rows)
    return rows[:, 0]
