"""Parallel frames along curves, which turn a second variation into nearly the identity.

In a frame E(t) that is orthonormal for the metric and parallel along the curve, a variation
u = E w has the covariant derivative Du = E w', so that the energy's second variation
int |Du|^2 - <R(c', u) c', u> is int |w'|^2 up to the curvature, a compact part. Hence
E (K^-1 x 1) E', with the stiffness K of scalar functions on the curve's elements, is its inverse
up to a few eigenvalues, whatever the metric, its condition and the latent coordinates.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.linalg import lapack
from torch import Tensor

from geomstats_vae.geodesics.arrays import Bools, Floats, Ints
from geomstats_vae.geodesics.chains import Chains
from geomstats_vae.geodesics.curves.chain import assemble, first_unknown
from geomstats_vae.geodesics.curves.reference import (
    ReferenceElement,
    change_of_degree,
    lagrange_matrix,
    reference_element,
)
from geomstats_vae.geodesics.model_options import FrameOptions
from geomstats_vae.immersions.immersion import Immersion

_JACOBIAN_BYTES = 2**25  # of the Jacobians held at once


class Frames:
    """Parallel orthonormal frames along curves, as polynomials on their elements.

    Parameters
    ----------
    values : torch.Tensor, shape=[n_elements, degree + 1, dim, dim]
        Frames at the Gauss-Lobatto points of the elements; columns are the basis.
    """

    def __init__(self, values: Tensor) -> None:
        self.values = values
        self._knots = reference_element(values.shape[1] - 1).nodes

    @classmethod
    def along(
        cls,
        immersion: Immersion,
        nodes: Tensor,
        counts: Ints | None = None,
        options: FrameOptions | None = None,
        degree: int | None = None,
    ) -> Frames:
        """Build the frames of curves.

        Parameters
        ----------
        immersion : Immersion
            The decoder's F.
        nodes : torch.Tensor, shape=[n_elements, degree + 1, dim]
            Nodes of the curves' elements.
        counts : array of int, shape=[n_curves], optional
            Number of elements of each curve; by default there is one curve.
        options : FrameOptions, optional
            How frames are built.
        degree : int, optional
            Degree of the frames; by default that of the options for the first curve.

        Returns
        -------
        frames : Frames
            The frames.
        """
        options = FrameOptions() if options is None else options
        counts = np.array([len(nodes)]) if counts is None else counts
        old = nodes.shape[1] - 1
        degree = frame_degree(counts[0], old, options) if degree is None else degree
        chains = Chains(counts, degree, nodes.device)
        points = chains.join(_like(nodes, change_of_degree(old, degree)) @ nodes)
        turned = parallel_frames(immersion, points, np.diff(chains.starts), options)
        return cls(chains.at_elements(turned))

    def spread(self, points: Floats) -> Tensor:
        """Matrix that takes values at the frames' points to values at others of an element."""
        return _like(self.values, lagrange_matrix(self._knots, points))

    def at(self, points: Floats) -> Tensor:
        """Frames at points of the elements, shape=[n_elements, n_points, dim, dim]."""
        return torch.einsum("qk,ekij->eqij", self.spread(points), self.values)

    def split(self, marked: Bools) -> Frames:
        """Frames of the halves of marked elements, and of the others as they are.

        Parameters
        ----------
        marked : array of bool, shape=[n_elements]
            Elements that are bisected.

        Returns
        -------
        frames : Frames
            The same frames.
        """
        repeats = np.where(marked, 2, 1)
        repeated = torch.as_tensor(repeats, device=self.values.device)
        values = self.values.repeat_interleave(repeated, dim=0)
        first = (np.cumsum(repeats) - repeats)[marked]
        for side in (0, 1):
            half = self.spread(0.5 * (self._knots + 2.0 * side - 1.0))
            values[first + side] = torch.einsum("qk,ekij->eqij", half, self.values[marked])
        return Frames(values)


def frame_degree(n_elements: int, degree: int, options: FrameOptions) -> int:
    """Degree of the frames on a curve of so many elements of a degree."""
    return min(degree, next(n for most, n in options.degrees if n_elements <= most))


class FramePreconditioner:
    """Approximate inverse of the second variations of curves, their ends fixed.

    Parameters
    ----------
    frames : Frames
        Frames along the curves.
    chains : Chains
        The curves' nodes.
    element : ReferenceElement
        Their elements.
    weights : torch.Tensor, shape=[n_elements, n_quadrature]
        Quadrature weights over speeds.

    Attributes
    ----------
    sound : array of bool, shape=[n_chains]
        Curves of which this is the inverse; zero for others.
    """

    def __init__(
        self, frames: Frames, chains: Chains, element: ReferenceElement, weights: Tensor
    ) -> None:
        self._chains, self._spread = chains, frames.spread(element.nodes)
        # Of an element, with the points of its frames and their rows as one axis.
        self._frames = frames.values.flatten(1, 2)
        self._transposed = frames.values.transpose(2, 3).flatten(1, 2)
        finite = torch.isfinite(frames.values).flatten(1).all(dim=1).cpu().numpy()
        by_speed = weights.double().cpu().numpy().copy()
        finite &= np.isfinite(by_speed).all(axis=1)
        first = np.concatenate(([0], np.cumsum(chains.counts)))[:-1]
        self.sound = np.logical_and.reduceat(finite, first)
        by_speed[~np.repeat(self.sound, chains.counts)] = 1.0
        rule = element.differentiate
        stiffness = np.einsum("eq,qa,qb->eab", by_speed, rule, rule)
        # The stiffness of scalar functions that vanish at both ends.
        for rows, end in ((first, 0), (first + chains.counts - 1, -1)):
            stiffness[rows, end, :] = stiffness[rows, :, end] = 0.0
            stiffness[rows, end, end] = 1.0
        base = first_unknown(chains.counts, element.degree, 1)
        self._factor = self._factorise(assemble(stiffness, base, chains.n_nodes, element.degree))

    def _factorise(self, banded: Floats) -> Floats:
        while True:
            factor, info = lapack.dpbtrf(banded, lower=1)
            if info <= 0:
                return factor
            bad = np.searchsorted(self._chains.starts, info - 1, side="right") - 1
            begin, end = self._chains.starts[bad : bad + 2]
            self.sound[bad], banded[:, begin:end] = False, np.eye(len(banded), 1)

    def __call__(self, covector: Tensor) -> Tensor:
        """Apply; shape=[n_nodes, dim] of covectors to shape=[n_nodes, dim] of displacements."""
        chains = self._chains
        joined = chains.join(self._blend(chains.at_elements(covector), self._frames))
        right = chains.fix_ends(chains.only(self.sound, joined))
        inner, _ = lapack.dpbtrs(self._factor, right.double().cpu().numpy(), lower=1)
        return chains.join(self._blend(chains.at_elements(_like(joined, inner)), self._transposed))

    def _blend(self, local: Tensor, frames: Tensor) -> Tensor:
        """Multiply the nodes of each element by the frames there, interpolated."""
        return (local[:, :, None, :] * self._spread[..., None]).flatten(2) @ frames


def parallel_frames(
    immersion: Immersion,
    points: Tensor,
    counts: Ints | None = None,
    options: FrameOptions | None = None,
) -> Tensor:
    """Orthonormal frames along polygons, each the last one moved in parallel.

    Parameters
    ----------
    immersion : Immersion
        The decoder's F.
    points : torch.Tensor, shape=[n_points, dim]
        Vertices of the polygons, one polygon after the other.
    counts : array of int, shape=[n_polygons], optional
        Numbers of vertices; by default there is one polygon.
    options : FrameOptions, optional
        How frames are built.

    Returns
    -------
    frames : torch.Tensor, shape=[n_points, dim, dim]
        Matrices E, of basis vectors as columns, with E'ME = 1.
    """
    options = FrameOptions() if options is None else options
    counts = np.array([len(points)]) if counts is None else counts
    owner = torch.as_tensor(np.repeat(np.arange(len(counts)), counts), device=points.device)
    metric, mixed = _inner_products(immersion, points)
    ridge = torch.diag_embed(_ridge(metric, owner, counts, options))
    lower, _ = torch.linalg.cholesky_ex(metric + ridge[owner])
    # Of two polygons the last vertex and the first are no neighbours: what stands there is not
    # used. Parallel transport in the target: project onto the next tangent space, orthonormalise.
    mixed = mixed + ridge[owner[1:]]
    mixed = torch.linalg.solve_triangular(lower[1:], mixed, upper=False)
    mixed = torch.linalg.solve_triangular(lower[:-1], mixed.transpose(1, 2), upper=False)
    rotation = _orthonormal(mixed.transpose(1, 2))
    turned = torch.empty_like(metric)
    first = np.cumsum(counts) - counts
    for count in np.unique(counts):  # all polygons of so many vertices at once
        at = torch.as_tensor(first[counts == count], device=points.device)
        turned[at] = torch.eye(points.shape[1], dtype=points.dtype, device=points.device)
        for k in range(1, count):
            turned[at + k] = rotation[at + k - 1] @ turned[at + k - 1]
    return torch.linalg.solve_triangular(lower.transpose(1, 2), turned, upper=True)


def _orthonormal(columns: Tensor) -> Tensor:
    """Make columns orthonormal, one after the other."""
    if columns.device.type == "cpu":
        q, upper = torch.linalg.qr(columns)
        sign = torch.where(upper.diagonal(dim1=1, dim2=2) < 0.0, -1.0, 1.0).to(q.dtype)
        return q * sign[:, None, :]
    # Accelerators factorise small matrices one by one, but not Cholesky's. Twice, since once leaves
    # an error of the condition squared.
    q = columns
    for _ in range(2):
        lower, _ = torch.linalg.cholesky_ex(q.transpose(1, 2) @ q)
        q = torch.linalg.solve_triangular(lower, q.transpose(1, 2), upper=False).transpose(1, 2)
    sound = q.isfinite().flatten(1).all(dim=1)[:, None, None]
    return torch.where(sound, q, torch.eye(q.shape[1], dtype=q.dtype, device=q.device))


def _ridge(metric: Tensor, owner: Tensor, counts: Ints, options: FrameOptions) -> Tensor:
    """Choose what coordinates add to the metric of each polygon, shape=[n_polygons, dim].

    As if the coordinates, scaled down, were outputs too: so steps keep to where the Jacobian is of
    use, and null directions of a singular metric stay null from frame to frame.
    """
    squares = metric.diagonal(dim1=1, dim2=2)
    total = squares.new_zeros((len(counts), squares.shape[1])).index_add_(0, owner, squares)
    square = total / torch.as_tensor(counts, device=total.device)[:, None]
    least = options.null * square.mean(dim=1, keepdim=True)
    ridge = options.ridge * torch.maximum(square, least)
    return torch.where(ridge > 0.0, ridge, 1.0)  # without a metric any frame will do


def _inner_products(immersion: Immersion, points: Tensor) -> tuple[Tensor, Tensor]:
    """Metrics J J' at points, and the products of each Jacobian with the one before."""
    metrics, mixed, last, begin, chunk = [], [], None, 0, 2
    while begin < len(points):
        tangents = immersion.jacobian(points[begin : begin + chunk])[1]
        metrics.append(tangents @ tangents.transpose(1, 2))
        before = tangents[:-1] if last is None else torch.cat((last, tangents[:-1]))
        mixed.append(tangents[-len(before) :] @ before.transpose(1, 2))
        begin, last = begin + chunk, tangents[-1:].clone()
        chunk = max(1, _JACOBIAN_BYTES // (tangents[0].numel() * tangents.element_size()))
    return torch.cat(metrics), torch.cat(mixed)


def _like(tensor: Tensor, array: Floats) -> Tensor:
    return torch.as_tensor(array, dtype=tensor.dtype, device=tensor.device)
