"""The equations of the Jacobi fields along geodesics, as a first-order system.

They need no more than second derivatives of the immersion: the curvature comes from the second
fundamental form by the equation of Gauss ([1]_, chapter 6, theorem 2.5).

References
----------
.. [1] do Carmo. "Riemannian Geometry." Birkhäuser 1992.
"""

from __future__ import annotations

import torch

from geomstats_vae.geodesics import positive_definite
from geomstats_vae.geodesics.flow.systems import GeodesicSystem, christoffel, derivatives


class JacobiSystem(GeodesicSystem):
    r"""State (z, v, Y, W): a geodesic, 2 dim fields along it and their covariant derivatives.

    Y' = W - Gamma(Y, v), W' = -R(Y, v) v - Gamma(W, v). By the equation of Gauss
    <R(X, v) v, Y> = <II(X, Y), II(v, v)> - <II(X, v), II(Y, v)>, where the second fundamental
    form II is the normal part of d^2F.

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
        return 2 * self.dim + 4 * self.dim**2

    def start(self, point: torch.Tensor, velocity: torch.Tensor) -> torch.Tensor:
        """Put states together at the beginning of geodesics.

        Parameters
        ----------
        point, velocity : torch.Tensor, shape=[n, dim]
            Initial points and velocities.

        Returns
        -------
        state : torch.Tensor, shape=[n, width]
            States whose fields are those of D_v Exp (Y = 0, W = 1) and of D_x Exp (Y = 1, Y' = 0).
        """
        n, dim = point.shape
        eye = torch.eye(dim, dtype=point.dtype, device=point.device).expand(n, dim, dim)
        with torch.enable_grad():
            pairs = zip(point.split(self.chunk_size), velocity.split(self.chunk_size), strict=True)
            parts = [christoffel(self.immersion.jet(*pair))[0].detach() for pair in pairs]
        fields = torch.cat((torch.zeros_like(eye), eye), dim=2)
        rates = torch.cat((eye, torch.cat(parts)), dim=2)
        return torch.cat((point, velocity, fields.flatten(1), rates.flatten(1)), dim=1)

    def _split(self, state: torch.Tensor) -> tuple[torch.Tensor, ...]:
        dim = self.dim
        sizes = [dim, dim, 2 * dim * dim, 2 * dim * dim]
        point, velocity, fields, rates = state.split(sizes, dim=1)
        return point, velocity, fields.view(-1, dim, 2 * dim), rates.view(-1, dim, 2 * dim)

    def fields(self, state: torch.Tensor) -> torch.Tensor:
        """Fields Y of states, shape=[n, dim, 2 dim]: those of D_v Exp, then those of D_x Exp."""
        return self._split(state)[2].contiguous()

    def _slope(self, state: torch.Tensor) -> torch.Tensor:
        point, velocity, fields, rates = self._split(state)
        jet = self.immersion.jet(point, velocity)
        gamma, factor = christoffel(jet)
        # II(e_k, v), and II(v, v), which no tangent sees: its Hessian is <II(., .), II(v, v)>.
        normal = derivatives(jet) - gamma.transpose(1, 2) @ jet.tangents
        bend = (velocity[:, None, :] @ normal)[:, 0]
        form = jet.hessian(bend) - normal @ normal.transpose(1, 2)
        curvature = positive_definite.solve_factored(factor, form)
        acceleration = -(gamma @ velocity[:, :, None])[:, :, 0]
        slopes = (rates - gamma @ fields, -curvature @ fields - gamma @ rates)
        return torch.cat((velocity, acceleration, *(s.flatten(1) for s in slopes)), dim=1)

    def at_rest(self, state: torch.Tensor) -> torch.Tensor:
        """No state stays as it is: fields move even where the geodesic does not."""
        return torch.zeros(len(state), dtype=torch.bool, device=state.device)

    def scale(self, state: torch.Tensor) -> torch.Tensor:
        """Return what errors are relative to, shape=[n, width]; of fields, the largest entry."""
        _, _, fields, rates = self._split(state)
        largest = torch.maximum(fields.abs(), rates.abs()).amax((1, 2))
        path = self.speed(state)[:, None].expand(-1, 2 * self.dim)
        return torch.cat((path, largest[:, None].expand(-1, 4 * self.dim**2)), dim=1)
