"""Where walkers may go: boxes, whose faces reflect, and regions that tell inside from outside."""

from __future__ import annotations

import numpy as np
import torch

from geomstats_vae.manifolds.arrays import to_array, to_tensor

_MAX_REFLECTIONS = 16
_BISECTIONS = 50  # of a step: to rounding


class Region:
    """A region that is given by a function.

    Parameters
    ----------
    inside : callable
        Maps points, shape=[n_points, dim], to whether they are in the region, shape=[n_points].
    """

    def __init__(self, inside):
        self.inside = inside

    def contains(self, z):
        """Whether points are in the region, shape=[n_points]."""
        inside = torch.as_tensor(self.inside(to_array(z)), device=z.device)
        if inside.dtype != torch.bool or inside.shape != z.shape[:1]:
            raise ValueError(
                f"Expected domain to return booleans of shape [{len(z)}], got {inside.dtype} of "
                f"shape {list(inside.shape)}; return one for every row."
            )
        return inside

    def edge(self, start, end):
        """Where segments that start inside and end outside leave, by bisection."""
        low, high = torch.zeros_like(start[:, :1]), torch.ones_like(start[:, :1])
        for _ in range(_BISECTIONS):
            middle = 0.5 * (low + high)
            inside = self.contains(torch.lerp(start, end, middle))[:, None]
            low, high = torch.where(inside, middle, low), torch.where(inside, high, middle)
        return torch.lerp(start, end, low)


class Box:
    """A box in coordinates.

    Parameters
    ----------
    low, high : torch.Tensor, shape=[dim]
        Its corners; infinite where there is no face.
    """

    def __init__(self, low, high):
        self.low, self.high = low, high

    def contains(self, z):
        """Whether points are in the box, or on its faces, shape=[n_points]."""
        return ((z >= self.low) & (z <= self.high)).all(1)

    def edge(self, start, end):
        """Where segments that start inside and end outside leave."""
        share, _ = self._first_face(start, end)
        return self._clamp(torch.lerp(start, end, share[:, None]))

    def reflect(self, start, end, metric):
        """Reflect the ends of segments that leave, along the normals of the faces.

        Parameters
        ----------
        start, end : torch.Tensor, shape=[n_points, dim]
            Segments that start inside.
        metric : callable
            Maps points, shape=[n, dim], to metric matrices, shape=[n, dim, dim].

        Returns
        -------
        end : torch.Tensor, shape=[n_points, dim]
            Ends inside, each reflected by the faces in the order in which it meets them.

        Notes
        -----
        The normal of the face z_i = c is M^{-1} e_i. Along it the flux of probability through the
        face vanishes, and Riemannian volume stays invariant; along e_i it does not, unless M is
        diagonal.
        """
        end = end.clone()
        out = (~self.contains(end)).nonzero()[:, 0]
        start, moved = start[out], end[out]
        for _ in range(_MAX_REFLECTIONS):
            if not len(out):
                return end
            share, face = self._first_face(start, moved)
            row = torch.arange(len(out), device=end.device)
            start = self._clamp(torch.lerp(start, moved, share[:, None]))
            normal = local_normals(metric(self._clamp(moved)), face)
            moved = moved - 2.0 * (moved - start)[row, face][:, None] * normal
            end[out] = moved
            outside = ~self.contains(moved)
            out, start, moved = out[outside], start[outside], moved[outside]
        # A step that is many times longer than the box is wide has forgotten where it came from.
        return self._clamp(end)

    def _clamp(self, z):
        return torch.minimum(torch.maximum(z, self.low), self.high)

    def _first_face(self, start, end):
        """Share of each segment up to the first face that it crosses, and the face's axis."""
        step = end - start
        bound = torch.where(step > 0, self.high, self.low)
        crossed = (end < self.low) | (end > self.high)
        share = torch.where(crossed, (bound - start) / step, torch.inf)
        share, face = share.min(dim=1)
        return share.clamp(0.0, 1.0), face


def local_normals(metric, face):
    """Compute normals of coordinate planes, of unit coordinate along their axes.

    Parameters
    ----------
    metric : torch.Tensor, shape=[n_points, dim, dim]
        Metric matrices.
    face : torch.Tensor of int, shape=[n_points]
        Axes i of the planes.

    Returns
    -------
    normal : torch.Tensor, shape=[n_points, dim]
        M^{-1} e_i, divided by its coordinate i; e_i where the metric is singular.
    """
    axis = torch.nn.functional.one_hot(face, metric.shape[-1]).to(metric)
    factor, info = torch.linalg.cholesky_ex(metric)
    normal = torch.cholesky_solve(axis[:, :, None], factor)[:, :, 0]
    normal = normal / (normal * axis).sum(1, keepdim=True)
    sound = (info == 0) & normal.isfinite().all(1)
    return torch.where(sound[:, None], normal, axis)


def resolve_domain(domain, dim):
    """Read what a user means by a domain.

    Parameters
    ----------
    domain : array-like, shape=[2, dim], callable or None
        Corners of a box, or a function that tells inside from outside.
    dim : int
        Dimension of the space.

    Returns
    -------
    domain : Box, Region or None
        The domain.

    Raises
    ------
    ValueError
        If the corners are not those of a box.
    """
    if domain is None:
        return None
    if callable(domain):
        return Region(domain)
    corners = np.asarray(to_tensor(domain, "domain").detach().cpu(), dtype=float)
    if corners.shape != (2, dim) or not (corners[0] < corners[1]).all():
        raise ValueError(
            f"Expected domain to be the lower and the upper corner of a box, shape [2, {dim}], or "
            f"a callable, got {corners.tolist()}; use infinity where there is no face."
        )
    return Box(*torch.from_numpy(corners))
