"""Immersions given by any torch function, differentiated by torch."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch
from torch.func import grad, vmap

from geomstats_vae.immersions.immersion import Immersion, Jet
from geomstats_vae.immersions.kinks import check_width
from geomstats_vae.immersions.linearization import (
    AutodiffLinearization,
    Function,
    pushforward,
)
from geomstats_vae.immersions.smoothed import (
    SmoothedFunction,
    has_curvature_jumps,
    has_kinks,
    kink_spreads,
)

Result = TypeVar("Result", torch.Tensor, tuple[torch.Tensor, torch.Tensor])
Arguments = ParamSpec("Arguments")


def _with_gradients(method: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Let torch record gradients inside, whatever the caller's mode; detach where it was off.

    With gradients off torch takes other formulas for some activations, SiLU among them, and those
    have no second forward-mode derivative.
    """

    @functools.wraps(method)
    def wrapped(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        if torch.is_grad_enabled():
            return method(*args, **kwargs)
        with torch.enable_grad():
            result = method(*args, **kwargs)
        if isinstance(result, tuple):
            return result[0].detach(), result[1].detach()
        return result.detach()

    return wrapped


class AutodiffImmersion(Immersion):
    """An immersion given by any torch function; derivatives through `torch.func`.

    Parameters
    ----------
    function : callable
        Maps shape=[n_points, dim] to shape=[n_points, n_outputs], row by row.
    dim : int
        Dimension of the latent space.
    forward_mode : bool
        Use forward-mode derivatives; False replaces each by two reverse passes, for functions
        with operations that have no forward-mode rule.
    n_mean : int, optional
        Number of leading outputs that embed means, the others being standard deviations. By
        default no output is a standard deviation.
    dtype : torch.dtype
        Floating-point type that the function computes in.
    device : torch.device
        Where the function computes.
    """

    def __init__(
        self,
        function: Function,
        dim: int,
        *,
        forward_mode: bool = True,
        n_mean: int | None = None,
        dtype: torch.dtype = torch.float64,
        device: torch.device | str = "cpu",
    ) -> None:
        super().__init__(dim, n_mean=n_mean, dtype=dtype, device=device)
        self.function = function
        self.forward_mode = forward_mode

    @functools.cached_property
    def smooth(self) -> bool | None:  # type: ignore[override]
        """False if the function calls kinked functions of torch, else None: it may have others."""
        origin = torch.zeros(1, self.dim, dtype=self.dtype, device=self.device)
        return False if has_kinks(self.function, origin) else None

    @functools.cached_property
    def curvature_jumps(self) -> bool:  # type: ignore[override]
        """Whether the function calls functions of torch whose second derivatives jump."""
        origin = torch.zeros(1, self.dim, dtype=self.dtype, device=self.device)
        return has_curvature_jumps(self.function, origin)

    def smoothed(self, width: float, codes: torch.Tensor) -> Immersion:
        """Round the kinks that torch's functions make; see `Immersion.smoothed`."""
        width, codes = check_width(width), codes.to(dtype=self.dtype, device=self.device)
        if self.smooth:
            return self
        widths = [width * spread for spread in kink_spreads(self.function, codes)]
        if not widths:
            return self
        smoothed = copy.copy(self)
        smoothed.function, smoothed.smooth = SmoothedFunction(self.function, widths), True
        return smoothed

    def __call__(self, z: torch.Tensor) -> torch.Tensor:
        """Evaluate F; see `Immersion`."""
        return self.function(z)

    @_with_gradients
    def jacobian(self, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Evaluate F and its Jacobian; see `Immersion.jacobian`."""
        values, tangents = vmap(
            lambda e: self._pushforward(self.function, z, e), out_dims=(0, 0), randomness="same"
        )(self._basis(z))
        return values[0], tangents.transpose(0, 1)

    @_with_gradients
    def push(self, z: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """Evaluate the derivative along a direction; see `Immersion.push`."""
        return self._pushforward(self.function, z, v)[1]

    def linearize(self, z: torch.Tensor, v: torch.Tensor) -> AutodiffLinearization:
        """Prepare products without a Jacobian; see `Immersion.linearize`."""
        return AutodiffLinearization(self.function, z, v, forward_mode=self.forward_mode)

    def jet(self, z: torch.Tensor, v: torch.Tensor | None = None) -> Jet:
        """Evaluate first and second derivatives; see `Immersion.jet`."""
        derivatives = None
        if v is None:
            tangents = self.jacobian(z)[1]
        else:
            tangents, derivatives = self.tangents_along(z, v, self._basis(z))
        return Jet(tangents, derivatives, functools.partial(self._hessian, z))

    def _pushforward(
        self, function: Function, z: torch.Tensor, v: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        return pushforward(function, z, v, forward_mode=self.forward_mode)

    def _basis(self, z: torch.Tensor) -> torch.Tensor:
        """Latent directions, shape=[dim, n_points, dim]."""
        eye = torch.eye(self.dim, dtype=z.dtype, device=z.device)
        return eye[:, None, :].expand(self.dim, *z.shape)

    def _hessian(self, z: torch.Tensor, covector: torch.Tensor) -> torch.Tensor:
        """Second derivative contracted with a covector."""
        return self.hessian_products(z, covector, self._basis(z))

    @_with_gradients
    def tangents_along(
        self, z: torch.Tensor, v: torch.Tensor, directions: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Evaluate the derivatives along some directions, and how they change along v.

        Parameters
        ----------
        z, v : torch.Tensor, shape=[n_points, dim]
            Latent codes, and a direction at each.
        directions : torch.Tensor, shape=[n_directions, n_points, dim]
            Directions e.

        Returns
        -------
        tangents, derivatives : torch.Tensor, shape=[n_points, n_directions, n_outputs]
            dF(e) and d^2F(e, v).
        """

        def along(e: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return self._pushforward(lambda y: self._pushforward(self.function, y, e)[1], z, v)

        tangents, derivatives = vmap(along, out_dims=(0, 0), randomness="same")(directions)
        return tangents.transpose(0, 1), derivatives.transpose(0, 1)

    @_with_gradients
    def hessian_products(
        self, z: torch.Tensor, covector: torch.Tensor, directions: torch.Tensor
    ) -> torch.Tensor:
        """Multiply the second derivative, contracted with a covector, by some directions.

        Parameters
        ----------
        z : torch.Tensor, shape=[n_points, dim]
            Latent codes.
        covector : torch.Tensor, shape=[n_points, n_outputs]
            Covector q at each code.
        directions : torch.Tensor, shape=[n_directions, n_points, dim]
            Directions e.

        Returns
        -------
        products : torch.Tensor, shape=[n_points, n_directions, dim]
            sum_p q_p d^2F_p(e, .).
        """
        slope = grad(lambda y: (self.function(y) * covector).sum())
        return vmap(lambda e: self._pushforward(slope, z, e)[1], randomness="same")(
            directions
        ).transpose(0, 1)
