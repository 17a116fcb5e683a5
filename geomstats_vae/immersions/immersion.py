"""The one map behind everything: z -> F(z) = (mean(z), std(z)), and its derivatives.

The expected metric of a stochastic decoder is the pullback of the Euclidean metric by F ([1]_,
Theorem 1), so metric, acceleration, energy and Newton matrices come from F alone.

References
----------
.. [1] Arvanitidis, Hansen, Hauberg. "Latent Space Oddity: on the Curvature of Deep Generative
   Models." ICLR 2018. arXiv:1710.11379.
"""

from __future__ import annotations

import abc
import functools
from collections.abc import Callable

import torch
from torch.func import grad, jvp, vjp, vmap

from geomstats_vae.immersions.linearization import AutodiffLinearization


class Jet:
    """First derivatives of an immersion at some points, with its second derivatives on demand.

    Parameters
    ----------
    tangents : torch.Tensor, shape=[n_points, dim, n_outputs]
        Columns of the Jacobian, dF(e_k), one per latent direction.
    derivatives : torch.Tensor, shape=[n_points, dim, n_outputs], or None
        Their derivatives d^2 F(e_k, v) along the directions v asked for, if any.
    contract : callable
        Maps covectors, shape=[n_points, n_outputs], to the Hessians of q . F,
        shape=[n_points, dim, dim].
    """

    def __init__(self, tangents, derivatives, contract):
        self.tangents = tangents
        self.derivatives = derivatives
        self._contract = contract

    def hessian(self, covector):
        """Second derivative of F contracted with a covector.

        Parameters
        ----------
        covector : torch.Tensor, shape=[n_points, n_outputs]
            Covector q at each point.

        Returns
        -------
        hessian : torch.Tensor, shape=[n_points, dim, dim]
            sum_p q_p d^2 F_p.
        """
        return self._contract(covector)


class Immersion(abc.ABC):
    """A map F from latent codes to R^n_outputs, with derivatives; rows are independent points.

    Parameters
    ----------
    dim : int
        Dimension of the latent space.

    Attributes
    ----------
    n_mean : int or None
        Number of leading outputs that are means, the others being standard deviations; None where
        there are none.
    smooth : bool or None
        Whether F is twice differentiable; None where unknown.
    dtype : torch.dtype
        Floating-point type F computes in.
    device : torch.device
        Where F computes.
    """

    n_mean: int | None = None
    smooth: bool | None = None
    dtype: torch.dtype = torch.float64
    device: torch.device = torch.device("cpu")

    def __init__(self, dim):
        self.dim = dim

    @functools.cached_property
    def n_outputs(self) -> int:
        """Temporary."""
        origin = torch.zeros(1, self.dim, dtype=self.dtype, device=self.device)
        return self(origin).shape[1]

    @property
    def has_std(self) -> bool:
        """Temporary."""
        return self.n_mean is not None

    def split_outputs(self, values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Temporary."""
        n_mean = values.shape[-1] if self.n_mean is None else self.n_mean
        return values[..., :n_mean], values[..., n_mean:]

    @abc.abstractmethod
    def __call__(self, z):
        """Evaluate F; z shape=[n_points, dim], returns shape=[n_points, n_outputs]."""

    @abc.abstractmethod
    def jacobian(self, z):
        """Evaluate F and its Jacobian.

        Parameters
        ----------
        z : torch.Tensor, shape=[n_points, dim]
            Latent codes.

        Returns
        -------
        value : torch.Tensor, shape=[n_points, n_outputs]
            F(z).
        tangents : torch.Tensor, shape=[n_points, dim, n_outputs]
            dF(e_k), one row per latent direction.
        """

    @abc.abstractmethod
    def push(self, z, v):
        """Evaluate the derivative along a direction.

        Parameters
        ----------
        z : torch.Tensor, shape=[n_points, dim]
            Latent codes.
        v : torch.Tensor, shape=[n_points, dim]
            Directions.

        Returns
        -------
        pushed : torch.Tensor, shape=[n_points, n_outputs]
            dF(v).
        """

    @abc.abstractmethod
    def jet(self, z, v=None):
        """Evaluate the Jacobian, its derivative along a direction, and keep what Hessians need.

        Parameters
        ----------
        z : torch.Tensor, shape=[n_points, dim]
            Latent codes.
        v : torch.Tensor, shape=[n_points, dim], or None
            Directions; None leaves out the derivatives along them.

        Returns
        -------
        jet : Jet
            dF(e_k), d^2 F(e_k, v), and contracted second derivatives on demand.
        """

    def condensed(self):
        """Find an isometric immersion with fewer outputs.

        Returns
        -------
        immersion : Immersion
            An immersion G with |G(y) - G(z)| = |F(y) - F(z)| for all y and z, so that every
            length, velocity and curvature is that of F; by default F itself. Its outputs are no
            longer means and standard deviations.
        """
        return self

    def linearize(self, z, v):
        """Prepare Jacobian-free products.

        Parameters
        ----------
        z : torch.Tensor, shape=[n_points, dim]
            Latent codes.
        v : torch.Tensor, shape=[n_points, dim]
            Directions.

        Returns
        -------
        linearization : Linearization
            The derivative of (z, v) -> dF(v), with its transpose and second variations.
        """
        return AutodiffLinearization(self, z, v, forward_mode=False)

    def metric(self, z):
        """Pullback metric M = J'J.

        Parameters
        ----------
        z : torch.Tensor, shape=[n_points, dim]
            Latent codes.

        Returns
        -------
        metric : torch.Tensor, shape=[n_points, dim, dim]
            Metric matrices.
        """
        return gram(self.jacobian(z)[1])

    def height(self, z):
        """Norm of the standard deviation, and its gradient; needs `n_mean`.

        Parameters
        ----------
        z : torch.Tensor, shape=[n_points, dim]
            Latent codes.

        Returns
        -------
        height : torch.Tensor, shape=[n_points]
            Norm of sigma.
        slope : torch.Tensor, shape=[n_points, dim]
            Its gradient.
        """
        z = z.detach().requires_grad_()
        with torch.enable_grad():
            height = self(z)[:, self.n_mean :].norm(dim=1)
            (slope,) = torch.autograd.grad(height.sum(), z)
        return height.detach(), slope


def gram(tangents):
    """Inner products of the rows: shape=[..., m, n_outputs] -> shape=[..., m, m]."""
    return tangents @ tangents.transpose(-1, -2)


def _with_gradients(method):
    """Let torch record gradients inside, whatever the caller's mode; detach where it was off.

    With gradients off torch takes other formulas for some activations, SiLU among them, and those
    have no second forward-mode derivative.
    """

    @functools.wraps(method)
    def wrapped(*args):
        if torch.is_grad_enabled():
            return method(*args)
        with torch.enable_grad():
            result = method(*args)
        if isinstance(result, tuple):
            return tuple(part.detach() for part in result)
        return result.detach() if isinstance(result, torch.Tensor) else result

    return wrapped


class AutodiffImmersion(Immersion):
    """An immersion given by any torch function; derivatives through torch.func.

    Parameters
    ----------
    function : callable
        Maps shape=[n_points, dim] to shape=[n_points, n_outputs], row by row.
    dim : int
        Dimension of the latent space.
    forward_mode : bool
        Use forward-mode derivatives; False replaces each by two reverse passes, for
        functions with operations that have no forward-mode rule.
    """

    def __init__(self, function, dim, *, forward_mode=True):
        super().__init__(dim)
        self.function: Callable = function
        self.forward_mode = forward_mode

    def __call__(self, z):
        """Evaluate F; see `Immersion`."""
        return self.function(z)

    def _pushforward(self, function, z, v):
        if self.forward_mode:
            return jvp(function, (z,), (v,))
        # The pullback is linear in its covector, so its own pullback is the pushforward.
        value, pullback = vjp(function, z)
        _, push = vjp(lambda u: pullback(u)[0], torch.zeros_like(value))
        return value, push(v)[0]

    def _basis(self, z):
        eye = torch.eye(self.dim, dtype=z.dtype, device=z.device)
        return eye[:, None, :].expand(self.dim, *z.shape)

    @_with_gradients
    def jacobian(self, z):
        """Evaluate F and its Jacobian; see `Immersion.jacobian`."""
        value, tangents = vmap(
            lambda e: self._pushforward(self.function, z, e), out_dims=(None, 0), randomness="same"
        )(self._basis(z))
        return value, tangents.transpose(0, 1)

    @_with_gradients
    def push(self, z, v):
        """Evaluate the derivative along a direction; see `Immersion.push`."""
        return self._pushforward(self.function, z, v)[1]

    def linearize(self, z, v):
        """Prepare Jacobian-free products; see `Immersion.linearize`."""
        return AutodiffLinearization(self.function, z, v, forward_mode=self.forward_mode)

    def jet(self, z, v=None):
        """Evaluate first and second derivatives; see `Immersion.jet`."""
        if v is None:
            tangents, derivatives = self.jacobian(z)[1], None
        else:
            tangents, derivatives = self._tangents_along(z, v)

        @_with_gradients
        def contract(covector):
            slope = grad(lambda y: (self.function(y) * covector).sum())
            return vmap(lambda e: self._pushforward(slope, z, e)[1], randomness="same")(
                self._basis(z)
            ).transpose(0, 1)

        return Jet(tangents, derivatives, contract)

    @_with_gradients
    def _tangents_along(self, z, v):
        def along(e):
            return self._pushforward(lambda y: self._pushforward(self.function, y, e)[1], z, v)

        tangents, derivatives = vmap(along, out_dims=(0, 0), randomness="same")(self._basis(z))
        return tangents.transpose(0, 1), derivatives.transpose(0, 1)
