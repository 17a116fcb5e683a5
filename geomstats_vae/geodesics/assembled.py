"""The curve model of few dimensions: Newton's method with assembled matrices, damped per element.

The length of a curve along a wall is nearly an L1 norm of the changes of sigma, and its own
Gauss-Newton matrix is blind to these. The matrix of the energy at the present speeds is at least as
large, as in iteratively reweighted least squares, and also keeps the nodes spread along the curve.
Together with the curvature that Gauss-Newton leaves out it is Newton's matrix; where that is not
positive definite it is shifted. Elements on which a trial step fails are damped by the curvature
that it shows to be missing, so a long curve is not held back by its worst spot; see `damped`.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from geomstats_vae.geodesics.arrays import Floats
from geomstats_vae.geodesics.curves.chain import Curves, solve_between_ends
from geomstats_vae.geodesics.damped import (
    AssembledVariation,
    DampedSteps,
    all_finite,
    newton_direction,
)
from geomstats_vae.geodesics.element_model import ElementModel
from geomstats_vae.geodesics.elements import CurveMemory, curve_points, inverse_speed, to_numpy
from geomstats_vae.geodesics.model import Proposal, Step
from geomstats_vae.geodesics.model_options import AssembledOptions
from geomstats_vae.immersions.immersion import Immersion

# Matrices of an element held at once, temporaries included, and elements of a typical curve.
_MATRICES, _TYPICAL_ELEMENTS = 12, 8


class AssembledModel(ElementModel):
    """Newton's method with assembled matrices; see `CurveModel`.

    Parameters
    ----------
    immersion : Immersion
        The decoder's F.
    degree : int
        Polynomial degree of the elements.
    chunk_size : int, optional
        Points evaluated at once; by default as many as fit a processor's cache.
    options : AssembledOptions, optional
        How steps are found.
    """

    rows_per_point = None

    def __init__(
        self,
        immersion: Immersion,
        degree: int,
        chunk_size: int | None = None,
        *,
        options: AssembledOptions | None = None,
    ) -> None:
        super().__init__(immersion, degree, chunk_size)
        self.options = AssembledOptions() if options is None else options
        self.line_elements = self.options.line_elements
        self._b, self._d = self.rule("interpolate"), self.rule("differentiate")
        self._w, self._dq = self.rule("weights"), self.rule("differentiate_points")
        # What takes weighted inner products at the points to those of nodal displacements.
        basis = torch.stack((self._b, self._d), dim=1)
        self._lift = (self._w[:, None, None] * basis).flatten(0, 1)
        self._products = torch.einsum("qsa,qtb->qstab", basis, basis).flatten(0, 2).flatten(1)
        self._squares = torch.einsum("qa,qb->qab", self._b, self._b).flatten(1)

    @property
    def pair_bytes(self) -> int:
        """Memory of a typical curve in a batch, in bytes."""
        size = (self.element.degree + 1) * self.immersion.dim
        return 8 * _MATRICES * _TYPICAL_ELEMENTS * size**2

    def variation(self, nodes: Floats) -> AssembledVariation:
        """Lengths of elements with their first and second variation; see `CurveModel`."""
        parts = []
        for part in self.chunks(nodes, len(self._w)):
            parts.append(self._variation(part))
        columns = zip(*parts, strict=True)
        return AssembledVariation(*map(to_numpy, map(torch.cat, columns)))

    def _variation(self, nodes: Tensor) -> tuple[Tensor, ...]:
        n_elements, n_nodes, dim = nodes.shape
        n_points, size = len(self._w), n_nodes * dim
        position, velocity = curve_points(nodes, self._b, self._d)
        jet = self.immersion.jet(position, velocity)
        assert jet.derivatives is not None  # they are those along the velocity
        speed_vector = (velocity[:, None, :] @ jet.tangents)[:, 0]
        speed = speed_vector.norm(dim=1)
        tangent = speed_vector / speed.clamp_min(torch.finfo(speed.dtype).tiny)[:, None]
        rows = torch.cat((jet.derivatives.transpose(0, 1), jet.tangents.transpose(0, 1)))
        rows = rows.transpose(0, 1)
        inner = rows @ rows.transpose(1, 2)
        metric = inner[:, dim:, dim:]
        along = (rows @ tangent[:, :, None]).view(n_elements, 2 * n_points, dim)
        # Where the velocity lies in the metric's null space its speed says nothing: a floor.
        scale = metric.diagonal(dim1=1, dim2=2).sum(1).clamp_min(0.0).sqrt()
        per_speed = inverse_speed(speed, scale * velocity.norm(dim=1))
        tangent = tangent.view(n_elements, n_points, -1)
        turn = self._dq @ tangent
        # int t . (d^2F(u, u))' by parts, the ends left out: d^2F(u, u) is no polynomial of the
        # element's degree, so its interpolant must not be differentiated.
        covector = -(self._w[:, None] * turn).flatten(0, 1)
        hessian = jet.hessian(_normal_part(covector, jet.tangents, metric))

        # A variation u of the nodes changes the velocity in the target by J u' + d^2F(c', u).
        weight = (self._w * per_speed.view(n_elements, -1)).view(-1, 1, 1)
        inner_by_speed = (inner * weight).view(n_elements, n_points, 2, dim, 2, dim)
        inner_by_speed = inner_by_speed.permute(0, 3, 5, 1, 2, 4).flatten(3)
        speed = speed.view(n_elements, n_points)
        masses = metric.view(n_elements, n_points, dim, dim) * (self._w * speed)[:, :, None, None]
        return (
            speed @ self._w,
            (self._lift.T @ along).flatten(1),
            _by_nodes(inner_by_speed @ self._products, size),
            _by_nodes(_points_last(hessian, n_points) @ self._squares, size),
            _by_nodes(_points_last(masses.flatten(0, 1), n_points) @ self._squares, size),
            turn.norm(dim=-1) @ self._w,
        )

    def memory(self, curves: Curves, length: Floats) -> CurveMemory:
        """Shares of steps that were taken last, and damping; see `CurveModel.memory`."""
        share = np.full(len(curves), 1.0 / self.options.growth)
        fading = np.full(len(curves), self.options.fading)
        return CurveMemory(
            {"share": share, "fading": fading}, {"damping": np.zeros(len(curves.nodes))}
        )

    def propose(
        self,
        curves: Curves,
        variation: AssembledVariation,
        fine: Floats,
        enough: Floats,
        before: Floats,
        memory: CurveMemory,
    ) -> Proposal:
        """Propose damped Newton steps; see `CurveModel.propose`."""
        return DampedSteps(curves, variation, fine, enough, before, memory, self.options)

    def direction(
        self, halves: Curves, variation: AssembledVariation, length: Floats, memory: CurveMemory
    ) -> Step:
        """Newton's directions on meshes of halves; see `CurveModel.direction`."""
        undamped = np.zeros(len(halves.nodes))
        return newton_direction(halves, variation, length, undamped, self.options)

    def newton_step(self, curves: Curves, variation: AssembledVariation) -> Step:
        """Full Newton steps; see `CurveModel.newton_step`."""
        matrices = variation.stiffness + variation.curvature
        gradient = variation.gradient.copy()
        broken = ~(all_finite(matrices) & all_finite(gradient))
        matrices[broken], gradient[broken] = -np.eye(matrices.shape[1]), 0.0
        step, decrement, definite = solve_between_ends(curves, matrices, gradient)
        return step, decrement, definite & (curves.total(broken) == 0)

    def modes(
        self, curves: Curves, variation: AssembledVariation, length: Floats
    ) -> tuple[Floats, Floats]:
        """Modes of the lowest eigenvalue; see `CurveModel.modes`."""
        # A mode has unit mass, so its mean square along the curve is 1 / length.
        return lowest_modes(curves, variation, length, self.options), length**1.5


def _points_last(matrices: Tensor, n_points: int) -> Tensor:
    """Matrices at points as shape=[n_elements, dim, dim, n_points]."""
    return matrices.unflatten(0, (-1, n_points)).permute(0, 2, 3, 1)


def _by_nodes(products: Tensor, size: int) -> Tensor:
    """Element matrices from shape=[n_elements, dim, dim, n_nodes^2]."""
    n_elements, dim = products.shape[:2]
    n_nodes = size // dim
    products = products.view(n_elements, dim, dim, n_nodes, n_nodes)
    return products.permute(0, 3, 1, 4, 2).reshape(n_elements, size, size)


def _normal_part(covector: Tensor, tangents: Tensor, metric: Tensor) -> Tensor:
    """Part of a covector normal to the image: its Hessian is the curvature alone."""
    factor, info = torch.linalg.cholesky_ex(metric)
    coefficients = torch.cholesky_solve(tangents @ covector[:, :, None], factor)
    # A singular metric has no normal space to project to: keep the plain Hessian there.
    coefficients = torch.where((info == 0)[:, None, None], coefficients, 0.0)
    return covector - (coefficients.transpose(1, 2) @ tangents)[:, 0]


def lowest_modes(
    curves: Curves, variation: AssembledVariation, length: Floats, options: AssembledOptions
) -> Floats:
    """Modes of the least eigenvalues, of unit mass, by inverse iteration; zero where none.

    Parameters
    ----------
    curves : Curves
        Curves whose second variation is not positive definite.
    variation : AssembledVariation
        That of their elements.
    length : array, shape=[n_curves]
        Their lengths.
    options : AssembledOptions
        Options.

    Returns
    -------
    mode : array, shape=[n_elements, degree + 1, dim]
        Displacements of the nodes.
    """

    def shifted(shift: Floats) -> Floats:
        weight = (shift / length**2)[curves.owner][:, None, None]
        return variation.stiffness + variation.curvature + weight * variation.mass

    # The nearer the shift to the least eigenvalue, the more its mode stands out.
    low = np.full(len(curves), 0.1 * options.first_shift)
    high = np.full(len(curves), options.first_shift * 10.0 ** (options.n_shifts - 1))
    for _ in range(options.mode_bisections):
        middle = np.sqrt(low * high)
        enough = solve_between_ends(curves, shifted(middle), variation.gradient)[2]
        low, high = np.where(enough, low, middle), np.where(enough, middle, high)
    matrix = shifted(high)
    # Any start will do that is orthogonal to no mode; a curve's may not depend on the others.
    node = np.arange(len(curves.nodes)) - curves.offsets[:-1][curves.owner]
    phase = np.arange(curves.nodes[0].size) + curves.nodes[0].size * node[:, None]
    mode = np.sin(1.0 + 2.399963 * phase)
    for _ in range(options.mode_iterations):
        image = (variation.mass @ mode[:, :, None])[:, :, 0]
        mode = solve_between_ends(curves, matrix, -image)[0].reshape(mode.shape)
        image = (variation.mass @ mode[:, :, None])[:, :, 0]
        scale = np.sqrt(np.maximum(curves.total((mode * image).sum(axis=1)), np.finfo(float).tiny))
        mode = mode / scale[curves.owner][:, None]
    return mode.reshape(curves.nodes.shape)
