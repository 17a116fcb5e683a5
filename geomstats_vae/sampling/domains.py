"""Where walkers may go: boxes, whose faces reflect, and regions that tell inside from outside."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from geomstats_vae.geodesics import positive_definite
from geomstats_vae.geometry.protocol import Bools, Floats
from geomstats_vae.manifolds.arrays import to_backend, to_host
from geomstats_vae.sampling.functions import PointFunction, truth_values

MetricFunction = Callable[[Floats], Floats]


class Region:
    """A region that is given by a function.

    Parameters
    ----------
    inside : callable
        Maps points, shape=[n_points, dim], to whether they are in the region, shape=[n_points].
    device : torch.device, optional
        Where it gets the points, under pytorch.
    """

    def __init__(self, inside: PointFunction, device: torch.device | None = None) -> None:
        self.inside, self.device = inside, device

    def on(self, device: torch.device | None) -> Region:
        """Return the same region, whose function gets its points on a device."""
        return Region(self.inside, device)

    def contains(self, z: Floats) -> Bools:
        """Whether points are in the region, shape=[n_points]."""
        return truth_values(self.inside, "domain", z, self.device)

    def edge(self, start: Floats, end: Floats) -> Floats:
        """Where segments that start inside and end outside leave, by bisection."""
        low, high = np.zeros((len(start), 1)), np.ones((len(start), 1))
        for _ in range(np.finfo(float).nmant):  # to rounding
            middle = 0.5 * (low + high)
            inside = self.contains(start + middle * (end - start))[:, None]
            low, high = np.where(inside, middle, low), np.where(inside, high, middle)
        return start + low * (end - start)


class Box:
    """A box in coordinates.

    Parameters
    ----------
    low, high : numpy.ndarray, shape=[dim]
        Its corners; infinite where there is no face.
    """

    def __init__(self, low: Floats, high: Floats) -> None:
        self.low, self.high = low, high

    def on(self, device: torch.device | None) -> Box:
        """Return the box itself: it needs no device."""
        return self

    def contains(self, z: Floats) -> Bools:
        """Whether points are in the box, or on its faces, shape=[n_points]."""
        return np.all((z >= self.low) & (z <= self.high), axis=1)

    def edge(self, start: Floats, end: Floats) -> Floats:
        """Where segments that start inside and end outside leave."""
        share, _ = self._first_face(start, end)
        return self._clip(start + share[:, None] * (end - start))

    @np.errstate(invalid="ignore", over="ignore")
    def reflect(
        self, start: Floats, end: Floats, metric: MetricFunction, *, max_reflections: int = 16
    ) -> Floats:
        """Reflect the ends of segments that leave, along the normals of the faces.

        Parameters
        ----------
        start, end : numpy.ndarray, shape=[n_points, dim]
            Segments that start inside.
        metric : callable
            Maps points, shape=[n, dim], to metric matrices, shape=[n, dim, dim].
        max_reflections : int
            Most reflections of an end. One that is outside even then is put onto the nearest face.

        Returns
        -------
        end : numpy.ndarray, shape=[n_points, dim]
            Ends inside, each reflected by the faces in the order in which it meets them.

        Notes
        -----
        The normal of the face z_i = c is M^{-1} e_i. Along it the flux of probability through the
        face vanishes, and Riemannian volume stays invariant; along e_i it does not, unless M is
        diagonal.
        """
        end = end.copy()
        out = np.flatnonzero(~self.contains(end))
        start, moved = start[out], end[out]
        for _ in range(max_reflections):
            if not len(out):
                return end
            share, face = self._first_face(start, moved)
            start = self._clip(start + share[:, None] * (moved - start))
            normal = local_normals(metric(self._clip(moved)), face)
            beyond = (moved - start)[np.arange(len(out)), face]
            moved = moved - 2.0 * beyond[:, None] * normal
            end[out] = moved
            outside = ~self.contains(moved)
            out, start, moved = out[outside], start[outside], moved[outside]
        # A step that is many times longer than the box is wide has forgotten where it came from.
        return self._clip(end)

    def _clip(self, z: Floats) -> Floats:
        return np.clip(z, self.low, self.high)

    def _first_face(self, start: Floats, end: Floats) -> tuple[Floats, np.ndarray]:
        """Share of each segment up to the first face that it crosses, and the face's axis."""
        step = end - start
        bound = np.where(step > 0, self.high, self.low)
        crossed = (end < self.low) | (end > self.high)
        share = np.full(step.shape, np.inf)
        np.divide(bound - start, step, out=share, where=crossed)
        face = share.argmin(axis=1)
        return share[np.arange(len(face)), face].clip(0.0, 1.0), face


def local_normals(metric: Floats, face: np.ndarray) -> Floats:
    """Compute normals of coordinate planes, of unit coordinate along their axes.

    Parameters
    ----------
    metric : numpy.ndarray, shape=[n_points, dim, dim]
        Metric matrices.
    face : numpy.ndarray of int, shape=[n_points]
        Axes i of the planes.

    Returns
    -------
    normal : numpy.ndarray, shape=[n_points, dim]
        M^{-1} e_i, divided by its coordinate i; e_i where the metric is singular.
    """
    axis = np.eye(metric.shape[-1])[face]
    matrix, right = torch.from_numpy(metric), torch.from_numpy(axis)
    normal = positive_definite.solve(matrix, right[:, :, None])[:, :, 0].numpy()
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        normal = normal / (normal * axis).sum(axis=1, keepdims=True)
    return np.where(np.all(np.isfinite(normal), axis=1)[:, None], normal, axis)


def resolve_domain(domain: Any, dim: int) -> Box | Region | None:
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
    corners = to_host(to_backend(domain, "domain"))
    if corners.shape != (2, dim) or not (corners[0] < corners[1]).all():
        raise ValueError(
            f"Expected domain to be the lower and the upper corner of a box, shape [2, {dim}], or "
            f"a callable, got {corners.tolist()}; use infinity where there is no face."
        )
    return Box(*corners)
