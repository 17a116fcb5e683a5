"""A decoder with a Gaussian likelihood, put together from its mean and its standard deviation."""

from __future__ import annotations

from collections.abc import Callable

import torch

from geomstats_vae.immersions.rbf import RBFPrecision


class GaussianDecoder(torch.nn.Module):
    """Gaussian decoder p(x | z) = N(mean(z), diag(std(z)^2)).

    Parameters
    ----------
    mean : callable or torch.nn.Module
        Maps latent codes, shape=[n_points, dim], to means, shape=[n_points, ...].
    std : callable, torch.nn.Module or RBFPrecision
        Maps latent codes to standard deviations of the same shape as the means.
        Of an `RBFPrecision` its ``std`` is used.

    Notes
    -----
    Under the expected metric of [1]_ (Theorem 1) this decoder is the immersion
    z -> (mean(z), std(z)).

    References
    ----------
    .. [1] Arvanitidis, Hansen, Hauberg. "Latent Space Oddity: on the Curvature of Deep Generative
       Models." ICLR 2018. arXiv:1710.11379.
    """

    mean: Callable[[torch.Tensor], torch.Tensor]
    std: Callable[[torch.Tensor], torch.Tensor]

    def __init__(
        self,
        mean: Callable[[torch.Tensor], torch.Tensor],
        std: Callable[[torch.Tensor], torch.Tensor] | RBFPrecision,
    ) -> None:
        super().__init__()
        for name, part in (("mean", mean), ("std", std)):
            if not callable(part):
                raise TypeError(
                    f"Expected a callable as the {name} of a GaussianDecoder, got "
                    f"{type(part).__name__}; pass a module or a function of latent codes."
                )
        self.mean = mean
        self.std = std

    def forward(self, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the mean and the standard deviation of the data at latent codes.

        Parameters
        ----------
        z : torch.Tensor, shape=[n_points, dim]
            Latent codes.

        Returns
        -------
        mean : torch.Tensor, shape=[n_points, ...]
            Means in data space.
        std : torch.Tensor, shape=[n_points, ...]
            Standard deviations in data space.
        """
        std = self.std.std if isinstance(self.std, RBFPrecision) else self.std
        return self.mean(z), std(z)
