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
        self.degree, element = nodes.shape[1] - 1, evaluator.element
        self._b, self._d = evaluator.rule("interpolate"), evaluator.rule("differentiate")
        self._dq, self._w = evaluator.rule("differentiate_points"), evaluator.rule("weights")
        self._chunk = evaluator.elements_at_once
        parts = [curve_points(part, self._b, self._d) for part in nodes.split(self._chunk)]
        moving = [evaluator.immersion.linearize(*part) for part in parts]
        weights = self._energy_weights(moving, torch.cat([v for _, v in parts]))
        self._precondition = FramePreconditioner(frames, element, weights)
        frames_there = frames.at(element.points).split(self._chunk)
        self._newton, self._majorise, gradients = [], [], []
        for (z, _), part, weight, frame in zip(
            parts, moving, weights.split(self._chunk), frames_there, strict=True
        ):
            tangent = torch.nn.functional.normalize(part.pushed, eps=torch.finfo(z.dtype).tiny)
            weighted = tangent * self._w.repeat(len(weight))[:, None]
            gradients.append(self._to_nodes(*part.pull(weighted)))
            covector = self._bending(tangent)
            along = frame.flatten(0, 1).transpose(1, 2) @ part.pull(covector)[1][:, :, None]
            along = (frame.flatten(0, 1) @ along)[:, :, 0]
            # Its part normal to the image: the Hessian of that is the curvature alone.
            covector = covector - evaluator.immersion.push(z, along)
            self._newton.append(part.quadratic(weight.flatten(), covector))
            self._majorise.append(partial(part.quadratic, weight.flatten()))
        self.right = -fix_ends(gather_nodes(torch.cat(gradients)))
        self.finite = self._precondition.sound and bool(torch.isfinite(self.right).all())

    def _energy_weights(self, moving, velocity):
        """Quadrature weights over speeds, shape=[n_elements, n_quadrature]."""
        speed = torch.cat([part.pushed.norm(dim=1) for part in moving])
        size = velocity.norm(dim=1)
        # Where the velocity lies in the metric's null space its speed says nothing: a floor.
        steepest = (speed / size.clamp_min(torch.finfo(speed.dtype).tiny)).max()
        return inverse_speed(speed, steepest * size).view(-1, len(self._w)) * self._w

    def _bending(self, tangent):
        """Covector q with int <t, (d^2F(u, u))'> = sum <q, d^2F(u, u)>, as in `ElementEvaluator`."""
        tangent = tangent.view(-1, len(self._w), tangent.shape[1])
        return torch.einsum("rq,r,erp->eqp", self._dq, self._w, tangent).flatten(0, 1)

    def _to_nodes(self, dz, dv):
        shape = (-1, len(self._w), dz.shape[1])
        image = torch.einsum("qa,eqd->ead", self._b, dz.reshape(shape))
        return image + torch.einsum("qa,eqd->ead", self._d, dv.reshape(shape))

    def product(self, displacement, products=None):
        """Multiply by the second variation.

        Parameters
        ----------
        displacement : torch.Tensor, shape=[n_nodes, dim]
            Displacement of the curve's nodes, zero at its ends.
        products : list of callable, optional
            Products with another quadratic form, chunk by chunk.

        Returns
        -------
        product : torch.Tensor, shape=[n_nodes, dim]
            The second variation's derivative, zero at the ends.
        """
        parts = element_view(displacement, self.degree).split(self._chunk)
        images = [
            self._to_nodes(*multiply(*curve_points(part, self._b, self._d)))
            for part, multiply in zip(parts, products or self._newton, strict=True)
        ]
        return fix_ends(gather_nodes(torch.cat(images)))

    def expected(self):
        """Newton decrement if the preconditioner were the second variation's inverse."""
        return float((self.right * self._precondition(self.right)).sum())

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
        products = [prepare() for prepare in self._majorise]
        major = SteihaugPath(
            lambda u: self.product(u, products), self._precondition, self.right, rtol, radius
        )
        major.definite = False
        return major
