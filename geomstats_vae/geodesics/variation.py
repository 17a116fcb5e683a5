"""Second variation of one curve's length, by Jacobian-free products."""

from __future__ import annotations

import math
from functools import partial

import torch

from geomstats_vae.geodesics.chains import element_view, fix_ends, gather_nodes
from geomstats_vae.geodesics.conjugate import SteihaugPath
from geomstats_vae.geodesics.elements import curve_points, inverse_speed
from geomstats_vae.geodesics.frames import FramePreconditioner

_WILD = -10.0  # curvature, relative to the preconditioner's, of a model that says nothing
_SHARP = 1e-6  # reduction of residuals that leaves no doubt about signs
_KEPT_BYTES = 2**29  # of what products need; beyond, it is computed anew for each


class CurveVariation:
    """First and second variation of one curve with fixed ends.

    Parameters
    ----------
    evaluator : ElementEvaluator
        Evaluates the decoder along elements.
    nodes : torch.Tensor, shape=[n_elements, degree + 1, dim]
        Nodes of the curve's elements.
    frames : Frames
        Frames along the curve, or one near it.

    Attributes
    ----------
    right : torch.Tensor, shape=[n_nodes, dim]
        Minus the derivative of the length, zero at the ends.
    finite : bool
        Whether the decoder and its derivatives are finite along the curve.

    Notes
    -----
    The same as `ElementEvaluator.system` assembles: Gauss-Newton for the energy at the present
    speed, and the curvature that it leaves out.
    """

    def __init__(self, evaluator, nodes, frames):
        self.degree, self._immersion = nodes.shape[1] - 1, evaluator.immersion
        self._b, self._d = evaluator.rule("interpolate"), evaluator.rule("differentiate")
        self._dq, self._w = evaluator.rule("differentiate_points"), evaluator.rule("weights")
        self._chunk = evaluator.elements_at_once
        self._points = [curve_points(part, self._b, self._d) for part in nodes.split(self._chunk)]
        self._kept: dict = {}
        weights = self._energy_weights()
        self._precondition = FramePreconditioner(frames, evaluator.element, weights)
        frames_there = frames.at(evaluator.element.points).split(self._chunk)
        self._weights = [weight.flatten() for weight in weights.split(self._chunk)]
        self._covectors, gradients = [], []
        for k, frame in enumerate(frames_there):
            gradient, covector = self._first(k, frame.flatten(0, 1))
            gradients.append(gradient)
            self._covectors.append(covector)
        self.right = -fix_ends(gather_nodes(torch.cat(gradients)))
        self.finite = self._precondition.sound and bool(torch.isfinite(self.right).all())

    def _moving(self, k):
        """Linearization of a chunk of points, kept if all of them may be."""
        if k in self._kept:
            return self._kept[k]
        moving = self._immersion.linearize(*self._points[k])
        if len(self._points) * moving.nbytes <= _KEPT_BYTES:
            self._kept[k] = moving
        return moving

    def _first(self, k, frame):
        """Gradient at the elements' nodes, and the covector whose Hessian is the curvature."""
        moving, z = self._moving(k), self._points[k][0]
        tangent = torch.nn.functional.normalize(moving.pushed, eps=torch.finfo(z.dtype).tiny)
        tangent = tangent.view(-1, len(self._w), tangent.shape[1])
        weighted = (tangent * self._w[:, None]).flatten(0, 1)
        gradient = self._to_nodes(*moving.pull(weighted))
        # As in `ElementEvaluator`: -int <t', d^2F(u, u)>, of t' the part normal to the image.
        covector = -(self._w[:, None] * (self._dq @ tangent)).flatten(0, 1)
        along = frame.transpose(1, 2) @ moving.pull(covector)[1][:, :, None]
        return gradient, covector - self._immersion.push(z, (frame @ along)[:, :, 0])

    def _energy_weights(self):
        """Quadrature weights over speeds, shape=[n_elements, n_quadrature]."""
        speed = torch.cat([self._moving(k).pushed.norm(dim=1) for k in range(len(self._points))])
        size = torch.cat([velocity.norm(dim=1) for _, velocity in self._points])
        # Where the velocity lies in the metric's null space its speed says nothing: a floor.
        steepest = (speed / size.clamp_min(torch.finfo(speed.dtype).tiny)).max()
        return inverse_speed(speed, steepest * size).view(-1, len(self._w)) * self._w

    def _to_nodes(self, dz, dv):
        shape = (-1, len(self._w), dz.shape[1])
        image = torch.einsum("qa,eqd->ead", self._b, dz.reshape(shape))
        return image + torch.einsum("qa,eqd->ead", self._d, dv.reshape(shape))

    def product(self, displacement, *, curvature=True):
        """Multiply by the second variation.

        Parameters
        ----------
        displacement : torch.Tensor, shape=[n_nodes, dim]
            Displacement of the curve's nodes, zero at its ends.
        curvature : bool
            False leaves out all but the majoriser, Gauss-Newton's matrix.

        Returns
        -------
        product : torch.Tensor, shape=[n_nodes, dim]
            The second variation's derivative, zero at the ends.
        """
        images = []
        for k, part in enumerate(element_view(displacement, self.degree).split(self._chunk)):
            multiply = self._quadratic(k, curvature)
            images.append(self._to_nodes(*multiply(*curve_points(part, self._b, self._d))))
        return fix_ends(gather_nodes(torch.cat(images)))

    def _quadratic(self, k, curvature):
        key = (k, curvature)
        if key in self._kept:
            return self._kept[key]
        covector = self._covectors[k] if curvature else None
        multiply = self._moving(k).quadratic(self._weights[k], covector)
        if k in self._kept:
            self._kept[key] = multiply
        return multiply

    def expected(self):
        """Newton decrement if the preconditioner were the second variation's inverse."""
        return float((self.right * self._precondition(self.right)).sum())

    def definite(self, rtol=_SHARP):
        """Whether the second variation is positive definite.

        Parameters
        ----------
        rtol : float
            Reduction of the residual past which no more is asked.

        Returns
        -------
        definite : bool
            Conjugate gradients from a random right-hand side meet a direction of negative
            curvature before they converge, if there is any.
        """
        return self.descent(rtol) is None

    def descent(self, rtol=_SHARP):
        """Find a direction of negative curvature.

        Parameters
        ----------
        rtol : float
            Reduction of the residual past which no more is asked; see `definite`.

        Returns
        -------
        direction : torch.Tensor, shape=[n_nodes, dim], or None
            Displacement of the nodes, of unit size in the preconditioner's norm; None if the second
            variation is positive definite.
        """
        generator = torch.Generator().manual_seed(0)
        right = torch.randn(self.right.shape, generator=generator, dtype=torch.float64)
        right = fix_ends(right.to(self.right))
        return SteihaugPath(self.product, self._precondition, right, rtol).descent

    def path(self, rtol, radius=math.inf):
        """Find steps that shorten the curve.

        Parameters
        ----------
        rtol : float
            Reduction of the residual, in the preconditioner's norm, at which to stop.
        radius : float
            Bound on the size of the step.

        Returns
        -------
        path : SteihaugPath
            By the second variation; by its majoriser, Gauss-Newton's, where the curvature is so
            negative that far from a geodesic nothing can be said by it.
        """
        path = SteihaugPath(self.product, self._precondition, self.right, rtol, radius)
        if path.softest > _WILD:
            return path
        major = SteihaugPath(
            partial(self.product, curvature=False), self._precondition, self.right, rtol, radius
        )
        major.definite = False
        return major
