"""A curve model with a default for all but the step; what other models share."""

from __future__ import annotations

import abc
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from geomstats_vae.geodesics.arrays import Bools, Floats, Ints
from geomstats_vae.geodesics.curves.chain import Curves
from geomstats_vae.geodesics.elements import (
    CurveMemory,
    ElementEvaluator,
    PerElement,
    curve_points,
    to_numpy,
)
from geomstats_vae.geodesics.model import Proposal, Step


@dataclass
class FirstVariation(PerElement):
    """Length, gradient and turning of elements; see `Variation`."""

    length: Floats
    gradient: Floats
    turning: Floats

    @property
    def finite(self) -> Bools:
        """Whether all is finite, shape=[n_elements]."""
        return np.isfinite(self.gradient).all(axis=1) & np.isfinite(self.length)


class ElementModel(ElementEvaluator, abc.ABC):
    """A model of curves with a default for all but `newton_step`; see `CurveModel`.

    By default a step is searched along Newton's direction, and halved until it is taken.

    Parameters
    ----------
    immersion : Immersion
        The decoder's F.
    degree : int
        Polynomial degree of the elements.
    chunk_size : int, optional
        Points evaluated at once; by default as many as fit a processor's cache.
    """

    line_elements: int = 4
    misses_saddles: bool = False

    @property
    def pair_bytes(self) -> int:
        """Memory that a typical curve takes in a batch, in bytes: about 400 times its nodes."""
        return 8 * 400 * 8 * self.element.degree * self.immersion.dim

    def variation(self, nodes: Floats) -> Any:
        """Lengths, gradients and turning of elements, without a Jacobian; see `CurveModel`."""
        length, gradient = np.zeros(len(nodes)), np.zeros((len(nodes), nodes[0].size))
        turning, begin = np.zeros(len(nodes)), 0
        for part in self.chunks(nodes, len(self.element.weights)):
            rows = slice(begin, begin + len(part))
            parts = map(to_numpy, self._first_variation(part))
            length[rows], gradient[rows], turning[rows] = parts
            begin += len(part)
        return FirstVariation(length, gradient, turning)

    def _first_variation(self, nodes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        b, d, w = self.rule("interpolate"), self.rule("differentiate"), self.rule("weights")
        moving = self.immersion.linearize(*curve_points(nodes, b, d))
        shape, tiny = (len(nodes), len(w), -1), torch.finfo(nodes.dtype).tiny
        tangent = torch.nn.functional.normalize(moving.pushed, eps=tiny)
        dz, dv = moving.pull(tangent * w.repeat(len(nodes))[:, None])
        gradient = torch.einsum("qa,eqd->ead", b, dz.reshape(shape))
        gradient = gradient + torch.einsum("qa,eqd->ead", d, dv.reshape(shape))
        turn = torch.einsum("qr,erp->eqp", self.rule("differentiate_points"), tangent.view(shape))
        length = moving.pushed.norm(dim=1).view(shape[:2]) @ w
        return length, gradient.flatten(1), turn.norm(dim=-1) @ w

    @abc.abstractmethod
    def newton_step(self, curves: Curves, variation: Any) -> Step:
        """Find steps that shorten curves.

        Parameters
        ----------
        curves : Curves
            Curves.
        variation : Variation
            That of their elements.

        Returns
        -------
        step : array, shape=[n_elements, degree + 1, dim]
            Displacement of the nodes; zero at the ends.
        decrement : array, shape=[n_curves]
            -gradient . step.
        definite : array of bool, shape=[n_curves]
            False for curves that are known to be on a saddle.
        """

    def memory(self, curves: Curves, length: Floats) -> Any:
        """Nothing; see `CurveModel.memory`."""
        return CurveMemory()

    def propose(
        self,
        curves: Curves,
        variation: Any,
        fine: Floats,
        enough: Floats,
        before: Floats,
        memory: Any,
    ) -> Proposal:
        """Propose Newton's steps and their halves; see `CurveModel.propose`."""
        return HalvedStep(curves, *self.newton_step(curves, variation)[:2], enough)

    def direction(self, halves: Curves, variation: Any, length: Floats, memory: Any) -> Step:
        """Newton's directions on meshes of halves; see `CurveModel.direction`."""
        return self.newton_step(halves, variation)

    def definite(self, curves: Curves, *, rough: bool = False) -> Bools:
        """Whether second variations are positive definite; see `CurveModel.definite`."""
        return self.newton_step(curves, self.variation(curves.nodes))[2]

    def modes(self, curves: Curves, variation: Any, length: Floats) -> tuple[Floats, Floats]:
        """No directions; see `CurveModel.modes`."""
        return np.zeros_like(curves.nodes), length


class HalvedStep:
    """Proposals along one direction, halved by each refusal; see `Proposal`.

    Parameters
    ----------
    curves : Curves
        Curves.
    direction : array, shape=[n_elements, degree + 1, dim]
        Displacements of their nodes.
    decrement : array, shape=[n_curves]
        -gradient . direction.
    enough : array, shape=[n_curves]
        Decrements at which curves are done.
    """

    def __init__(
        self, curves: Curves, direction: Floats, decrement: Floats, enough: Floats
    ) -> None:
        self._curves, self._direction = curves, direction
        self._share = np.ones(len(curves))
        self.decrement, self.done = decrement, decrement <= enough
        self.open = np.ones(len(curves), dtype=bool)

    def step(self, which: Ints) -> tuple[Floats, Floats]:
        """Propose steps for some curves; see `Proposal.step`."""
        share, rows = self._share[self._curves.owner, None, None], self._curves.rows(which)
        return (share * self._direction)[rows], self._share[which] * self.decrement[which]

    def refuse(self, which: Ints, displacement: Floats, tried: Floats) -> None:
        """Halve steps; see `Proposal.refuse`."""
        self._share[which] *= 0.5

    def accept(self, taken: Bools, gained: Floats) -> Bools:
        """No curve is sure to be done; see `Proposal.accept`."""
        return np.zeros(len(taken), dtype=bool)
