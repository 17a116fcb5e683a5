"""The equations of geodesics and of the Jacobi fields along them, as first-order systems."""

from __future__ import annotations

import torch

from geomstats_vae.immersions.immersion import gram


class GeodesicSystem:
    """State (z, v) with z' = v, v' = -M^{-1} J' d^2F(v, v).

    Parameters
    ----------
    immersion : Immersion
        The decoder's F.
    chunk_size : int
        Number of points evaluated at once.
    """

    def __init__(self, immersion, chunk_size):
        self.immersion, self.dim, self.chunk_size = immersion, immersion.dim, chunk_size

    def slope(self, state):
        """Time derivative of states, shape=[n, width]; not finite where there is none."""
        # Some activations of torch (SiLU) can be differentiated twice in forward mode only while
        # gradients are enabled; a graph grows only if the decoder itself has one, and is cut.
        with torch.enable_grad():
            parts = [self._slope(part).detach() for part in state.split(self.chunk_size)]
        return torch.cat(parts)

    def _slope(self, state):
        point, velocity = state.split(self.dim, dim=1)
        jet = self.immersion.jet(point, velocity)
        acceleration = connection(jet, velocity[:, None, :] @ jet.derivatives)[0]
        return torch.cat((velocity, -acceleration[:, :, 0]), dim=1)

    def at_rest(self, state):
        """Whether states stay as they are, shape=[n]."""
        return (state[:, self.dim :] == 0).all(1)

    def speed(self, state):
        """Largest coordinate of the velocities, shape=[n]; of slopes, of the accelerations."""
        return state[:, self.dim : 2 * self.dim].abs().amax(1)

    def scale(self, state):
        """Return what errors are relative to, shape=[n, 1]: no choice of origin should matter."""
        return self.speed(state)[:, None]


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
    def width(self):
        """Number of entries of a state."""
        return 2 * self.dim + 4 * self.dim**2

    def start(self, point, velocity):
        """Fields Y of D_v Exp (0, with W = 1) and of D_x Exp (1, with Y' = 0), side by side."""
        n, dim = point.shape
        eye = torch.eye(dim, dtype=point.dtype, device=point.device).expand(n, dim, dim)
        with torch.enable_grad():
            parts = zip(point.split(self.chunk_size), velocity.split(self.chunk_size), strict=True)
            parts = [_christoffel(self.immersion.jet(*part))[0].detach() for part in parts]
        christoffel = torch.cat(parts)
        fields = torch.cat((torch.zeros_like(eye), eye), dim=2)
        rates = torch.cat((eye, christoffel), dim=2)
        return torch.cat((point, velocity, fields.flatten(1), rates.flatten(1)), dim=1)

    def _split(self, state):
        dim = self.dim
        sizes = (dim, dim, 2 * dim * dim, 2 * dim * dim)
        point, velocity, fields, rates = state.split(sizes, dim=1)
        return point, velocity, fields.view(-1, dim, 2 * dim), rates.view(-1, dim, 2 * dim)

    def fields(self, state):
        """Fields Y of states, shape=[n, dim, 2 dim]."""
        return self._split(state)[2].contiguous()

    def _slope(self, state):
        point, velocity, fields, rates = self._split(state)
        jet = self.immersion.jet(point, velocity)
        christoffel, factor, regular = _christoffel(jet)
        # II(e_k, v), and II(v, v), which no tangent sees: its Hessian is <II(., .), II(v, v)>.
        normal = jet.derivatives - christoffel.transpose(1, 2) @ jet.tangents
        bend = (velocity[:, None, :] @ normal)[:, 0]
        form = jet.hessian(bend) - normal @ normal.transpose(1, 2)
        curvature = _solve(form, factor, regular)
        acceleration = -(christoffel @ velocity[:, :, None])[:, :, 0]
        slopes = (rates - christoffel @ fields, -curvature @ fields - christoffel @ rates)
        return torch.cat((velocity, acceleration, *(s.flatten(1) for s in slopes)), dim=1)

    def at_rest(self, state):
        """Never: fields move even where the geodesic does not."""
        return torch.zeros(len(state), dtype=torch.bool, device=state.device)

    def scale(self, state):
        """Return what errors are relative to, shape=[n, width]; of fields, the largest."""
        _, _, fields, rates = self._split(state)
        largest = torch.maximum(fields.abs(), rates.abs()).amax((1, 2))
        n_path, n_fields = 2 * self.dim, 4 * self.dim**2
        return torch.cat(
            (
                self.speed(state)[:, None].expand(-1, n_path),
                largest[:, None].expand(-1, n_fields),
            ),
            dim=1,
        )


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
    def width(self):
        """Number of entries of a state."""
        return 2 * self.dim + self.dim**2

    def start(self, point, velocity):
        """States at the beginning, where the transport is the identity, shape=[n, width]."""
        eye = torch.eye(self.dim, dtype=point.dtype, device=point.device)
        return torch.cat((point, velocity, eye.expand(len(point), -1, -1).flatten(1)), dim=1)

    def split(self, state):
        """Points, velocities and transports of states."""
        point, velocity, transport = state.split((self.dim, self.dim, self.dim**2), dim=1)
        return point, velocity, transport.view(-1, self.dim, self.dim)

    def _slope(self, state):
        point, velocity, transport = self.split(state)
        christoffel = _christoffel(self.immersion.jet(point, velocity))[0]
        acceleration = -(christoffel @ velocity[:, :, None])[:, :, 0]
        turning = -(christoffel @ transport)
        return torch.cat((velocity, acceleration, turning.flatten(1)), dim=1)

    def scale(self, state):
        """Return what errors are relative to, shape=[n, width]; of transports, their largest."""
        largest = state[:, 2 * self.dim :].abs().amax(1, keepdim=True)
        path = self.speed(state)[:, None].expand(-1, 2 * self.dim)
        return torch.cat((path, largest.expand(-1, self.dim**2)), dim=1)


def connection(jet, rows):
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
        Cholesky factor of the metric.
    regular : torch.Tensor of bool, shape=[n]
        Whether the metric is positive definite.
    """
    factor, info = torch.linalg.cholesky_ex(gram(jet.tangents))
    regular = info == 0
    return _solve(jet.tangents @ rows.transpose(1, 2), factor, regular), factor, regular


def _christoffel(jet):
    """Gamma(., v) = M^{-1} J' d^2F(., v) along the jet's direction."""
    return connection(jet, jet.derivatives)


def _solve(matrix, factor, regular):
    solved = torch.cholesky_solve(matrix, factor)
    return torch.where(regular[:, None, None], solved, torch.nan)
