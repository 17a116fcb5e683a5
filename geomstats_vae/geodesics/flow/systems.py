"""The geodesic equation as a first-order system, and what all systems of paths have in common.

With the immersion F a geodesic's acceleration in latent coordinates is -M^{-1} J' d^2F(v, v).
"""

from __future__ import annotations

import abc

import torch

from geomstats_vae.geodesics import positive_definite
from geomstats_vae.immersions.immersion import Immersion, Jet, gram


class PathSystem(abc.ABC):
    """A differential equation of states (z, v, ...): points, their velocities, and more.

    Parameters
    ----------
    dim : int
        Dimension of the latent space.
    """

    def __init__(self, dim: int) -> None:
        self.dim = dim

    @abc.abstractmethod
    def slope(self, state: torch.Tensor) -> torch.Tensor:
        """Time derivative of states, shape=[n, width]; not finite where there is none."""

    def at_rest(self, state: torch.Tensor) -> torch.Tensor:
        """Whether states stay as they are, shape=[n]."""
        return (state[:, self.dim :] == 0).all(1)

    def speed(self, state: torch.Tensor) -> torch.Tensor:
        """Largest coordinate of the velocities, shape=[n]; of slopes, of the accelerations."""
        return state[:, self.dim : 2 * self.dim].abs().amax(1)

    def scale(self, state: torch.Tensor) -> torch.Tensor:
        """Return what errors are relative to, shape=[n, 1] or [n, width].

        That is the velocity, also for positions: the choice of the origin should not matter.
        """
        return self.speed(state)[:, None]


class GeodesicSystem(PathSystem):
    """State (z, v) with z' = v, v' = -M^{-1} J' d^2F(v, v).

    Parameters
    ----------
    immersion : Immersion
        The decoder's F.
    chunk_size : int
        Number of points evaluated at once.
    """

    def __init__(self, immersion: Immersion, chunk_size: int) -> None:
        super().__init__(immersion.dim)
        self.immersion, self.chunk_size = immersion, chunk_size

    def slope(self, state: torch.Tensor) -> torch.Tensor:
        """Time derivative of states; see `PathSystem.slope`."""
        # Some activations of torch (SiLU) can be differentiated twice in forward mode only while
        # gradients are enabled; a graph grows only if the decoder itself has one, and is cut.
        with torch.enable_grad():
            parts = [self._slope(part).detach() for part in state.split(self.chunk_size)]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _slope(self, state: torch.Tensor) -> torch.Tensor:
        point, velocity = state.split(self.dim, dim=1)
        jet = self.immersion.jet(point, velocity)
        turn = tangential(jet, velocity[:, None, :] @ derivatives(jet))[0]
        return torch.cat((velocity, -turn[:, :, 0]), dim=1)


def derivatives(jet: Jet) -> torch.Tensor:
    """Second derivatives d^2F(e_k, v) of a jet along its direction v, shape=[n, dim, n_outputs]."""
    if jet.derivatives is None:
        raise ValueError("Expected a jet along a direction, got one without; pass a direction.")
    return jet.derivatives


def tangential(jet: Jet, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Tangential part of vectors in the decoder's target, in latent coordinates.

    Parameters
    ----------
    jet : Jet
        Derivatives of an immersion at n points.
    rows : torch.Tensor, shape=[n, n_rows, n_outputs]
        Vectors.

    Returns
    -------
    coordinates : torch.Tensor, shape=[n, dim, n_rows]
        M^{-1} J' rows; NaN where the metric is not positive definite.
    factor : torch.Tensor, shape=[n, dim, dim]
        Cholesky factor of the metric, NaN there.
    """
    factor = positive_definite.cholesky(gram(jet.tangents))
    right = jet.tangents @ rows.transpose(1, 2)
    return positive_definite.solve_factored(factor, right), factor


def christoffel(jet: Jet) -> tuple[torch.Tensor, torch.Tensor]:
    """Gamma(., v) = M^{-1} J' d^2F(., v) along the jet's direction, and the metric's factor."""
    return tangential(jet, derivatives(jet))
