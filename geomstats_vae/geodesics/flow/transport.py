"""Parallel transport along geodesics, as isometries between tangent spaces."""

from __future__ import annotations

import torch

from geomstats_vae.geodesics import positive_definite
from geomstats_vae.geodesics.flow.systems import GeodesicSystem, christoffel


class TransportSystem(GeodesicSystem):
    """State (z, v, P): a geodesic and the parallel transport P along it, P' = -Gamma(v) P.

    Parameters
    ----------
    immersion : Immersion
        The decoder's F.
    chunk_size : int
        Number of points evaluated at once.
    """

    @property
    def width(self) -> int:
        """Number of entries of a state."""
        return 2 * self.dim + self.dim**2

    def start(self, point: torch.Tensor, velocity: torch.Tensor) -> torch.Tensor:
        """Put states together at the beginning of geodesics, where the transport is the identity.

        Parameters
        ----------
        point, velocity : torch.Tensor, shape=[n, dim]
            Initial points and velocities.

        Returns
        -------
        state : torch.Tensor, shape=[n, width]
            States.
        """
        eye = torch.eye(self.dim, dtype=point.dtype, device=point.device)
        return torch.cat((point, velocity, eye.expand(len(point), -1, -1).flatten(1)), dim=1)

    def split(self, state: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Points, velocities and transports of states."""
        point, velocity, transport = state.split([self.dim, self.dim, self.dim**2], dim=1)
        return point, velocity, transport.view(-1, self.dim, self.dim)

    def _slope(self, state: torch.Tensor) -> torch.Tensor:
        point, velocity, transport = self.split(state)
        gamma = christoffel(self.immersion.jet(point, velocity))[0]
        acceleration = -(gamma @ velocity[:, :, None])[:, :, 0]
        return torch.cat((velocity, acceleration, -(gamma @ transport).flatten(1)), dim=1)

    def scale(self, state: torch.Tensor) -> torch.Tensor:
        """Return what errors are relative to, shape=[n, width]; of transports, their largest."""
        largest = state[:, 2 * self.dim :].abs().amax(1, keepdim=True)
        path = self.speed(state)[:, None].expand(-1, 2 * self.dim)
        return torch.cat((path, largest.expand(-1, self.dim**2)), dim=1)


def nearest_isometry(
    transport: torch.Tensor, metric: torch.Tensor, end_metric: torch.Tensor
) -> torch.Tensor:
    """Isometries nearest to linear maps between tangent spaces.

    Parallel transport keeps inner products; an integrator keeps them to its tolerance. In
    orthonormal frames the map is an orthogonal matrix but for that error, and its polar factor is
    the orthogonal matrix nearest to it.

    Parameters
    ----------
    transport : torch.Tensor, shape=[n, dim, dim]
        Maps from tangent spaces to others, in coordinates.
    metric, end_metric : torch.Tensor, shape=[n, dim, dim]
        Metric matrices at the starts and at the ends.

    Returns
    -------
    isometry : torch.Tensor, shape=[n, dim, dim]
        Maps P with P' end_metric P = metric; NaN where a metric is not positive definite.
    """
    start, end = positive_definite.cholesky(metric), positive_definite.cholesky(end_metric)
    # With M = L L' the columns of L'^-1 are orthonormal.
    framed = end.mT @ torch.linalg.solve_triangular(start, transport.mT, upper=False).mT
    # The singular value decomposition takes no NaN.
    sound = framed.isfinite().all(dim=2).all(dim=1)[:, None, None]
    u, _, vh = torch.linalg.svd(torch.where(sound, framed, 0.0))
    rotation = torch.where(sound, u @ vh, torch.nan)
    return torch.linalg.solve_triangular(end.mT, rotation @ start.mT, upper=True)
