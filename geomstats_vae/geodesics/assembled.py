"""The curve model of few dimensions: Newton's method with assembled matrices, damped per element.

The length of a curve along a wall is nearly an L1 norm of the changes of sigma, and its own
Gauss-Newton matrix is blind to these. The matrix of the energy at the present speeds is at least as
large, as in iteratively reweighted least squares, and also keeps the nodes spread along the curve.
Together with the curvature that Gauss-Newton leaves out it is Newton's matrix; where that is not
positive definite it is shifted. Elements on which a trial step fails are damped by the curvature
that it shows to be missing, so a long curve is not held back by its worst spot.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from geomstats_vae.geodesics.arrays import Bools, Floats, Ints
from geomstats_vae.geodesics.curves.chain import Curves, solve_between_ends
from geomstats_vae.geodesics.element_model import ElementModel
from geomstats_vae.geodesics.elements import (
    CurveMemory,
    PerElement,
    curve_points,
    inverse_speed,
    to_numpy,
)
from geomstats_vae.geodesics.model import Proposal, Step
from geomstats_vae.geodesics.model_options import AssembledOptions
from geomstats_vae.immersions.immersion import Immersion

# Matrices of an element held at once, temporaries included, and elements of a typical curve.
_MATRICES, _TYPICAL_ELEMENTS = 12, 8


@dataclass
class AssembledVariation(PerElement):
    """Length of each element and its variations with respect to the element's nodes.

    Parameters
    ----------
    length : array, shape=[n_elements]
        Lengths.
    gradient : array, shape=[n_elements, (degree + 1) * dim]
        Derivative of the length.
    stiffness : array, shape=[n_elements, (degree + 1) * dim, (degree + 1) * dim]
        Gauss-Newton matrix of the energy at the present speed, int |D u|^2 / |c'|.
    curvature : array, same shape
        What Gauss-Newton leaves out, int <t, (d^2 F(u, u))'>.
    mass : array, same shape
        int |u|^2 |c'|, the squared norm of a displacement.
    turning : array, shape=[n_elements]
        Angle, in radians, by which the curve turns in the decoder's target.
    """

    length: Floats
    gradient: Floats
    stiffness: Floats
    curvature: Floats
    mass: Floats
    turning: Floats

    @property
    def finite(self) -> Bools:
        """Whether all is finite, shape=[n_elements]."""
        return _finite(self.stiffness) & _finite(self.curvature)


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
        return CurveMemory({"share": share}, {"damping": np.zeros(len(curves.nodes))})

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
        broken = ~(_finite(matrices) & _finite(gradient))
        matrices[broken], gradient[broken] = -np.eye(matrices.shape[1]), 0.0
        step, decrement, definite = solve_between_ends(curves, matrices, gradient)
        return step, decrement, definite & (curves.total(broken) == 0)

    def modes(
        self, curves: Curves, variation: AssembledVariation, length: Floats
    ) -> tuple[Floats, Floats]:
        """Modes of the lowest eigenvalue; see `CurveModel.modes`."""
        # A mode has unit mass, so its mean square along the curve is 1 / length.
        return lowest_modes(curves, variation, length, self.options), length**1.5


def _finite(arrays: Floats) -> Bools:
    """Whether all of each element is finite, shape=[n_elements]."""
    return np.logical_and.reduce(np.isfinite(arrays).reshape(len(arrays), -1), axis=1)


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


class DampedSteps:
    """Newton steps with damping learnt where the model fails; see `Proposal`.

    Along walls a Newton step fails first on a few elements, on which the length grows faster than
    its second variation says. What a failed trial measures there, the excess over the linear
    prediction per squared displacement, is the curvature that the model lacks. It is added to
    those elements' matrices and the step solved again.
    """

    def __init__(
        self,
        curves: Curves,
        variation: AssembledVariation,
        fine: Floats,
        enough: Floats,
        before: Floats,
        memory: CurveMemory,
        options: AssembledOptions,
    ) -> None:
        self._curves, self._variation, self._fine = curves, variation, fine
        self._length = length = curves.total(fine)
        self._memory, self._options = memory, options
        self._damping = self._remembered(memory.per_element["damping"])
        found = newton_direction(curves, variation, length, self._damping, options)
        near = found[1] <= enough
        if (near & (curves.total(self._damping) > 0.0)).any():
            self._damping[near[curves.owner]] = 0.0
            found = newton_direction(curves, variation, length, self._damping, options)
        self._direction, self._expected, self._definite = found
        self.decrement = self._expected.copy()
        self._falling = self.decrement <= options.fall * before
        # A saddle is stationary too, but a coarse mesh finds directions of descent that are none:
        # whether this is one is asked on a finer mesh.
        self.done, self._enough = self.decrement <= enough, enough
        self.open = np.ones(len(curves), dtype=bool)
        share = np.minimum(1.0, options.growth * memory.per_curve["share"])
        self._share = np.minimum(share, self._reach())
        self._refusals, self._refused = 0, np.zeros(len(curves), dtype=bool)

    def _remembered(self, damping: Floats) -> Floats:
        """Damping of the last step, fading; none where it is small beside the matrices."""
        stiffness, damping = self._variation.stiffness, self._options.fading * damping
        usual = np.einsum("eii->e", stiffness) / stiffness.shape[1]
        return np.where(damping > self._options.forget * usual, damping, 0.0)

    def _reach(self) -> Floats:
        """Share of the step past which a node would leave the curve's surroundings."""
        curves, starts = self._curves, self._curves.offsets[:-1]
        extent = np.maximum.reduceat(np.ptp(curves.nodes, axis=1).max(axis=1), starts)
        size = np.maximum.reduceat(np.abs(self._direction).max(axis=(1, 2)), starts)
        size = np.maximum(size, np.finfo(float).eps * extent)
        return self._options.reach * curves.counts * extent / size

    def step(self, which: Ints) -> tuple[Floats, Floats]:
        """Propose steps, solved for again after refusals; see `Proposal.step`."""
        again = which[self._refused[which]]
        if len(again):
            rows = self._curves.rows(again)
            self._direction[rows], self._expected[again], _ = newton_direction(
                self._curves.take(again),
                self._variation[rows],
                self._length[again],
                self._damping[rows],
                self._options,
            )
            self._refused[again] = False
        rows = self._curves.rows(which)
        share = self._share[self._curves.owner[rows], None, None]
        return share * self._direction[rows], self._share[which] * self._expected[which]

    def refuse(self, which: Ints, displacement: Floats, tried: Floats) -> None:
        """Damp elements by the curvature that was missing; see `Proposal.refuse`."""
        rows = self._curves.rows(which)
        gradient = self._variation.gradient[rows].reshape(displacement.shape)
        slope = (gradient * displacement).sum(axis=(1, 2))
        square = np.maximum((displacement**2).sum(axis=(1, 2)), np.finfo(float).tiny)
        with np.errstate(over="ignore", invalid="ignore"):
            excess = np.maximum(tried - self._fine[rows] - slope, 0.0) / square
        excess[~np.isfinite(excess)] = 0.0
        self._damping[rows] = np.maximum(self._damping[rows], excess)
        self._refused[which], self._refusals = True, self._refusals + 1
        if self._refusals % 3 == 0:
            self._share[which] *= self._options.shorten

    def accept(self, taken: Bools, gained: Floats) -> Bools:
        """Tell where Newton's method converges quadratically; see `Proposal.accept`."""
        options, memory = self._options, self._memory
        memory.per_curve["share"] = np.where(taken, self._share, 1.0 / options.growth)
        memory.per_element["damping"] = self._damping
        # There the next decrement needs no asking.
        tol = self._enough / np.maximum(self._length, np.finfo(float).tiny)
        sure = np.maximum(tol, np.minimum(options.sure, 0.1 * tol**0.5))
        sure = (self._share == 1.0) & (self._expected <= sure * self._length)
        return taken & self._definite & self._falling & sure


def newton_direction(
    curves: Curves,
    variation: AssembledVariation,
    length: Floats,
    damping: Floats,
    options: AssembledOptions,
) -> Step:
    """Descent direction of each curve's length.

    Parameters
    ----------
    curves : Curves
        Curves.
    variation : AssembledVariation
        Length and variations of their elements.
    length : array, shape=[n_curves]
        Lengths.
    damping : array, shape=[n_elements]
        Multiples of the identity added to the elements' matrices.
    options : AssembledOptions
        Options.

    Returns
    -------
    direction : array, shape=[n_elements, degree + 1, dim]
        Displacement of the nodes; zero at the end points.
    decrement : array, shape=[n_curves]
        Newton decrement, -gradient . direction.
    definite : array of bool, shape=[n_curves]
        Whether Newton's matrix is positive definite.

    Notes
    -----
    Newton's matrix where it is positive definite. Else, far from the solution, the majoriser
    alone, which is definite wherever the metric is; near it Newton's matrix shifted by the least
    tried multiple of the mass.
    """
    stiffness = variation.stiffness
    if damping.any():
        stiffness = stiffness + damping[:, None, None] * np.eye(stiffness.shape[1])
    newton = stiffness + variation.curvature
    found = solve_between_ends(curves, newton, variation.gradient)
    direction, decrement, definite = found
    failed = np.flatnonzero(~definite)
    if not len(failed):
        return found
    left = _solve_again(curves, failed, stiffness, variation.gradient, found)
    if len(left):
        # Where the metric is singular so is the majoriser; along its null space nothing changes.
        ridge = options.ridge * np.einsum("eii->e", stiffness) / stiffness.shape[1]
        ridged = stiffness + ridge[:, None, None] * np.eye(stiffness.shape[1])
        left = _solve_again(curves, left, ridged, variation.gradient, found)
        decrement[left] = np.inf
    near = failed[decrement[failed] < options.near * length[failed]]
    for k in range(options.n_shifts):
        if not len(near):
            break
        shift = options.first_shift * 10.0**k / length**2
        shifted = newton + shift[curves.owner][:, None, None] * variation.mass
        near = _solve_again(curves, near, shifted, variation.gradient, found)
    return direction, decrement, definite


def _solve_again(
    curves: Curves, which: Ints, matrices: Floats, gradient: Floats, found: Step
) -> Ints:
    """Solve for some curves with other matrices; returns the curves that are left.

    Solutions are written into what was found before.
    """
    rows = curves.rows(which)
    part = Curves(curves.nodes[rows], curves.counts[which])
    step, decrement, definite = solve_between_ends(part, matrices[rows], gradient[rows])
    good = definite[part.owner]
    found[0][rows[good]] = step[good]
    found[1][which[definite]] = decrement[definite]
    return which[~definite]


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
