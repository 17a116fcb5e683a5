"""Immersions: the map F from a latent code to an embedding of what the code decodes to.

A decoder maps a latent code z to a distribution, and F(z) embeds that distribution into a Euclidean
space. The metric of the latent space is the pullback of the Euclidean metric by F ([1]_, Theorem 1,
where F is (mean, std)). So metric, lengths, acceleration and Newton matrices come from F alone.

References
----------
.. [1] Arvanitidis, Hansen, Hauberg. "Latent Space Oddity: on the Curvature of Deep Generative
   Models." ICLR 2018. arXiv:1710.11379.
"""

from __future__ import annotations

import abc
import functools
from collections.abc import Callable
from dataclasses import dataclass

import torch

from geomstats_vae.immersions.linearization import AutodiffLinearization, Linearization


@dataclass(frozen=True, eq=False)
class Jet:
    """First derivatives of an immersion at some points, with its second derivatives on demand.

    Parameters
    ----------
    tangents : torch.Tensor, shape=[n_points, dim, n_outputs]
        Columns of the Jacobian, dF(e_k), one per latent direction.
    derivatives : torch.Tensor, shape=[n_points, dim, n_outputs], or None
        Their derivatives d^2 F(e_k, v) along the directions v that were asked for, if any.
    hessian : callable
        Contracts the second derivative with a covector q at each point: maps a tensor of
        shape=[n_points, n_outputs] to sum_p q_p d^2 F_p, shape=[n_points, dim, dim].
    """

    tangents: torch.Tensor
    derivatives: torch.Tensor | None
    hessian: Callable[[torch.Tensor], torch.Tensor]


class Immersion(abc.ABC):
    """A map F from latent codes to R^n_outputs, with derivatives; rows are independent points.

    A subclass defines the map itself, `jacobian`, `push` and `jet`. The other methods follow from
    these; a subclass may replace them by faster ones.

    Parameters
    ----------
    dim : int
        Dimension of the latent space.
    n_mean : int, optional
        Number of leading outputs that embed means. The other outputs are standard deviations. By
        default no output is a standard deviation.
    dtype : torch.dtype
        Floating-point type that F computes in.
    device : torch.device
        Where F computes.

    Attributes
    ----------
    smooth : bool or None
        Whether F has no kinks; None where unknown.
    curvature_jumps : bool
        Whether second derivatives of F are known to jump, as those of ELU do.
    """

    smooth: bool | None = None
    curvature_jumps: bool = False

    def __init__(
        self,
        dim: int,
        *,
        n_mean: int | None = None,
        dtype: torch.dtype = torch.float64,
        device: torch.device | str = "cpu",
    ) -> None:
        self.dim, self.n_mean = dim, n_mean
        self.dtype, self.device = dtype, torch.device(device)

    @functools.cached_property
    def n_outputs(self) -> int:
        """Number of outputs, learnt from one evaluation at the origin."""
        origin = torch.zeros(1, self.dim, dtype=self.dtype, device=self.device)
        return self(origin).shape[1]

    @property
    def has_std(self) -> bool:
        """Whether some outputs are standard deviations; then `std_norm` is their norm."""
        return self.n_mean is not None

    @abc.abstractmethod
    def __call__(self, z: torch.Tensor) -> torch.Tensor:
        """Evaluate F.

        Parameters
        ----------
        z : torch.Tensor, shape=[n_points, dim]
            Latent codes.

        Returns
        -------
        value : torch.Tensor, shape=[n_points, n_outputs]
            F(z).
        """

    @abc.abstractmethod
    def jacobian(self, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
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
    def push(self, z: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
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
    def jet(self, z: torch.Tensor, v: torch.Tensor | None = None) -> Jet:
        """Evaluate first and second derivatives.

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

    def condensed(self) -> Immersion:
        """Find an isometric immersion with fewer outputs.

        Returns
        -------
        immersion : Immersion
            An immersion G with |G(y) - G(z)| = |F(y) - F(z)| for all y and z, so that every
            length, velocity and curvature is that of F; by default F itself. Outputs that are
            standard deviations stay as they are, the others need not be means any more.
        """
        return self

    def smoothed(self, width: float, codes: torch.Tensor) -> Immersion:
        """Round the kinks of F, where it has any.

        Each kinked function, such as ReLU, is replaced by a smooth one that differs from it within
        some widths of its kink.

        Parameters
        ----------
        width : float
            Positive; in units of the standard deviation of each kinked function's input over the
            codes.
        codes : torch.Tensor, shape=[n_codes, dim]
            Latent codes.

        Returns
        -------
        immersion : Immersion
            An immersion with ``smooth`` true; F itself where it is smooth, or where nothing is
            known of its kinks.
        """
        return self

    def linearize(self, z: torch.Tensor, v: torch.Tensor) -> Linearization:
        """Prepare products with derivatives without a Jacobian.

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

    def metric(self, z: torch.Tensor) -> torch.Tensor:
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

    def split_outputs(self, values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Split values or tangents into those of means and those of standard deviations.

        Parameters
        ----------
        values : torch.Tensor, shape=[..., n_outputs]
            Values of F, or rows of its Jacobian.

        Returns
        -------
        mean : torch.Tensor, shape=[..., n_mean]
            Outputs that embed means: all of them if `has_std` is false.
        std : torch.Tensor, shape=[..., n_outputs - n_mean]
            Outputs that are standard deviations.
        """
        n_mean = values.shape[-1] if self.n_mean is None else self.n_mean
        return values[..., :n_mean], values[..., n_mean:]

    def std_norm(self, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Norm of the standard deviation, and its gradient.

        Parameters
        ----------
        z : torch.Tensor, shape=[n_points, dim]
            Latent codes.

        Returns
        -------
        norm : torch.Tensor, shape=[n_points]
            |sigma(z)|, over all outputs that are standard deviations; 0 if there are none.
        gradient : torch.Tensor, shape=[n_points, dim]
            Its gradient; 0 where the norm is 0.
        """
        if not self.has_std:
            return z.new_zeros(len(z)), torch.zeros_like(z)
        z = z.detach().requires_grad_()
        with torch.enable_grad():
            norm = self.split_outputs(self(z))[1].norm(dim=1)
            (gradient,) = torch.autograd.grad(norm.sum(), z)
        return norm.detach(), gradient

    def metric_and_std_norm(
        self, z: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Metric with the norm of the standard deviation, from one evaluation.

        Parameters
        ----------
        z : torch.Tensor, shape=[n_points, dim]
            Latent codes.

        Returns
        -------
        metric : torch.Tensor, shape=[n_points, dim, dim]
            Metric matrices; see `metric`.
        norm : torch.Tensor, shape=[n_points]
            |sigma(z)|; see `std_norm`.
        gradient : torch.Tensor, shape=[n_points, dim]
            Its gradient.
        """
        value, tangents = self.jacobian(z)
        if not self.has_std:
            return gram(tangents), z.new_zeros(len(z)), torch.zeros_like(z)
        std, slopes = self.split_outputs(value)[1], self.split_outputs(tangents)[1]
        norm = std.norm(dim=1)
        # Where the norm is 0 the numerator is, too, and so is the gradient.
        floor = torch.finfo(norm.dtype).tiny
        gradient = (slopes @ std[:, :, None])[:, :, 0] / norm.clamp_min(floor)[:, None]
        return gram(tangents), norm, gradient


def gram(tangents: torch.Tensor) -> torch.Tensor:
    """Inner products of rows.

    Parameters
    ----------
    tangents : torch.Tensor, shape=[..., m, n_outputs]
        Rows.

    Returns
    -------
    gram : torch.Tensor, shape=[..., m, m]
        Matrices of their inner products.
    """
    return tangents @ tangents.transpose(-1, -2)
