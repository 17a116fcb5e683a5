"""The curve model of many dimensions: trust regions and conjugate gradients, without matrices.

An element's matrices grow with the square of the latent dimension, and their factorisation with
its cube. Here Newton's equations are solved by conjugate gradients: a product with the second
variation costs about four evaluations of the decoder per quadrature point, in any dimension, and
preconditioned in a parallel frame a handful of products suffices. All curves of a batch are worked
on at once; each has a trust region of its own, and no curve's steps depend on the others'.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from geomstats_vae.geodesics.arrays import Bools, Floats, Ints
from geomstats_vae.geodesics.curves.chain import Curves
from geomstats_vae.geodesics.element_model import ElementModel, FirstVariation
from geomstats_vae.geodesics.elements import (
    CurveMemory,
    ElementEvaluator,
    bytes_on,
    to_numpy,
)
from geomstats_vae.geodesics.frames import Frames, frame_degree
from geomstats_vae.geodesics.model import Proposal, Step
from geomstats_vae.geodesics.model_options import MatrixFreeOptions
from geomstats_vae.geodesics.variation import CurveVariations, StepPaths
from geomstats_vae.immersions.immersion import Immersion

# Frames of an element held at once, temporaries included, and elements of a typical curve.
_FRAMES, _TYPICAL_ELEMENTS = 12, 8
_BATCH_BYTES = 2**27  # of what is held of the curves that conjugate gradients work on at once
_POINT_BYTES = 2**21  # of what is held of the points that are evaluated at once


class Batch(NamedTuple):
    """Curves that are worked on at once: which they are, their elements, and their variations."""

    members: Ints
    rows: Ints
    variations: CurveVariations

    def local(self, x: Tensor) -> Floats:
        """Values at the elements' nodes from those at the curves' nodes."""
        return to_numpy(self.variations.chains.at_elements(x))


class MatrixFreeMemory(CurveMemory):
    """Radii of trust regions, and frames with the distance moved since they were built."""

    def split(self, curves: Curves, marked: Bools) -> None:
        """Follow a bisection; see `Memory.split`."""
        frames, offsets = self.per_curve["frames"], curves.offsets
        which = np.unique(curves.owner[marked])
        # On a coarse mesh a step may be refused for what the mesh does not show.
        self.per_curve["radius"][which] = self.per_curve["first_radius"][which]
        for k in which:
            if frames[k] is not None:
                frames[k] = frames[k].split(marked[offsets[k] : offsets[k + 1]])

    def moved(self, which: Ints) -> None:
        """Forget frames; see `Memory.moved`."""
        self.per_curve["frames"][which] = None


class MatrixFreeModel(ElementModel):
    """Newton's method in trust regions, without matrices; see `CurveModel`.

    Parameters
    ----------
    immersion : Immersion
        The decoder's F.
    degree : int
        Polynomial degree of the elements.
    chunk_size : int, optional
        Points evaluated at once; by default as many as fit a processor's cache.
    options : MatrixFreeOptions, optional
        How steps are found.
    single : Immersion, optional
        The same F in single precision, for products with second variations where few digits are
        asked for. Lengths and gradients are those of the immersion.
    """

    misses_saddles = True

    def __init__(
        self,
        immersion: Immersion,
        degree: int,
        chunk_size: int | None = None,
        *,
        options: MatrixFreeOptions | None = None,
        single: Immersion | None = None,
    ) -> None:
        super().__init__(immersion, degree, chunk_size)
        self._rough: ElementEvaluator = self
        if single is not None:
            self._rough = ElementEvaluator(single, degree, chunk_size)
        self.options = MatrixFreeOptions() if options is None else options
        self.line_elements = self.options.line_elements

    @property
    def pair_bytes(self) -> int:
        """Memory of a typical curve in a batch, in bytes."""
        return 8 * _FRAMES * _TYPICAL_ELEMENTS * self.immersion.dim**2

    def batches(
        self,
        curves: Curves,
        variation: FirstVariation | None = None,
        frames: np.ndarray | None = None,
        *,
        exact: bool = False,
    ) -> Iterator[Batch]:
        """Vary curves, as many at a time as memory allows.

        Parameters
        ----------
        curves : Curves
            Curves.
        variation : FirstVariation, optional
            That of their elements, where it is known.
        frames : array of Frames or None, shape=[n_curves], optional
            Frames along the curves, or along curves near them. Those that are None are built, and
            written there.
        exact : bool
            Do without single precision.

        Yields
        ------
        batch : Batch
            Some of the curves, with frames of one degree.
        """
        evaluator = self if exact else self._rough
        if frames is None:
            frames = np.full(len(curves), None)
        degrees = np.array(
            [self._frame_degree(*each) for each in zip(curves.counts, frames, strict=True)]
        )
        for degree in np.unique(degrees):
            alike = np.flatnonzero(degrees == degree)
            for members in self._blocks(alike, curves.counts[alike], degree):
                missing = members[[frames[k] is None for k in members]]
                if len(missing):
                    self._build_frames(evaluator, curves, missing, frames, degree)
                rows = curves.rows(members)
                values = torch.cat([frames[k].values for k in members])
                along = Frames(values.to(evaluator.dtype))
                nodes, counts = evaluator.tensor(curves.nodes[rows]), curves.counts[members]
                gradient = None
                if variation is not None:
                    gradient = torch.as_tensor(variation.gradient[rows], device=nodes.device)
                    gradient = gradient.view_as(nodes)
                variations = CurveVariations(
                    evaluator, nodes, counts, along, self.options, gradient
                )
                yield Batch(members, rows, variations)

    def _frame_degree(self, n_elements: int, frames: Frames | None) -> int:
        if frames is not None:
            return frames.values.shape[1] - 1
        return frame_degree(n_elements, self.element.degree, self.options.frames)

    def _blocks(self, members: Ints, counts: Ints, degree: int) -> list[Ints]:
        """Split curves into blocks of bounded memory, each of one curve at least."""
        each = 8 * _FRAMES * (degree + 1) * self.immersion.dim**2
        device = self.immersion.device
        each += len(self.element.weights) * bytes_on(device, _POINT_BYTES) // self.chunk_size
        total = np.cumsum(counts) * each // bytes_on(device, _BATCH_BYTES, 32)
        return np.split(members, np.flatnonzero(np.diff(total)) + 1)

    def _build_frames(
        self,
        evaluator: ElementEvaluator,
        curves: Curves,
        members: Ints,
        frames: np.ndarray,
        degree: int,
    ) -> None:
        part = curves.take(members)
        nodes = evaluator.tensor(part.nodes)
        built = Frames.along(evaluator.immersion, nodes, part.counts, self.options.frames, degree)
        pieces = built.values.split([int(count) for count in part.counts])
        for k, values in zip(members, pieces, strict=True):
            # Copies: views would keep the frames of all curves of the batch in memory.
            frames[k] = Frames(values.clone())

    def memory(self, curves: Curves, length: Floats) -> MatrixFreeMemory:
        """First radii, no frames; see `CurveModel.memory`."""
        radius = self.options.first_radius * np.sqrt(length)
        return MatrixFreeMemory(
            {
                "first_radius": radius,
                "radius": radius.copy(),
                "moved": np.zeros(len(curves)),
                "frames": np.full(len(curves), None),
            }
        )

    def propose(
        self,
        curves: Curves,
        variation: FirstVariation,
        fine: Floats,
        enough: Floats,
        before: Floats,
        memory: MatrixFreeMemory,
    ) -> Proposal:
        """Propose steps within trust regions; see `CurveModel.propose`."""
        return TrustRegionSteps(self, curves, variation, fine, enough, memory)

    def direction(
        self, halves: Curves, variation: FirstVariation, length: Floats, memory: MatrixFreeMemory
    ) -> Step:
        """Newton's directions on meshes of halves; see `CurveModel.direction`."""
        frames = memory.per_curve["frames"].copy()
        for k, there in enumerate(frames):
            if there is not None:
                frames[k] = there.split(np.ones(len(there.values), dtype=bool))
        direction, n_curves = np.zeros_like(halves.nodes), len(halves)
        decrement, definite = np.full(n_curves, np.inf), np.zeros(n_curves, dtype=bool)
        for batch in self.batches(halves, variation, frames):
            members, finite = batch.members, batch.variations.finite
            paths = batch.variations.paths(np.full(len(members), self.options.tight))
            radius = np.where(paths.definite, np.inf, memory.per_curve["radius"][members])
            direction[batch.rows] = batch.local(paths.within(radius)[0])
            decrement[members] = np.where(finite, paths.decrement, np.inf)
            definite[members] = paths.definite
        return direction, decrement, definite

    def newton_step(self, curves: Curves, variation: FirstVariation) -> Step:
        """Full Newton steps; see `CurveModel.newton_step`."""
        step, n_curves = np.zeros_like(curves.nodes), len(curves)
        decrement, definite = np.zeros(n_curves), np.zeros(n_curves, dtype=bool)
        for batch in self.batches(curves, variation, exact=True):
            paths = batch.variations.paths(np.full(len(batch.members), self.options.sharp))
            good = paths.definite & batch.variations.finite
            step[batch.rows] = batch.local(paths.within(np.where(good, np.inf, 0.0))[0])
            decrement[batch.members] = np.where(good, paths.decrement, 0.0)
            definite[batch.members] = good
        return step, decrement, definite

    def definite(self, curves: Curves, *, rough: bool = False) -> Bools:
        """Whether second variations are positive definite; see `CurveModel.definite`.

        A stationary curve has no gradient that would show what it could slide along; a random
        right-hand side does.
        """
        definite = np.zeros(len(curves), dtype=bool)
        rtol = self.options.rough_sign if rough else self.options.sign
        for batch in self.batches(curves, exact=not rough):
            definite[batch.members] = batch.variations.definite(rtol)
        return definite

    def modes(
        self, curves: Curves, variation: FirstVariation, length: Floats
    ) -> tuple[Floats, Floats]:
        """Directions of negative curvature; see `CurveModel.modes`."""
        mode = np.zeros_like(curves.nodes)
        for batch in self.batches(curves, variation):
            mode[batch.rows] = batch.local(batch.variations.descent()[0])
        return mode, length**0.5


class TrustRegionSteps:
    """Steps of conjugate gradients within trust regions; see `Proposal`."""

    def __init__(
        self,
        model: MatrixFreeModel,
        curves: Curves,
        variation: FirstVariation,
        fine: Floats,
        enough: Floats,
        memory: MatrixFreeMemory,
    ) -> None:
        self._options, self._curves, self._memory = model.options, curves, memory
        n_curves = len(curves)
        self._length, self._enough = curves.total(fine), enough
        self._radius = memory.per_curve["radius"].copy()
        self._size, self._expected = np.zeros((2, n_curves))
        self._rtol, self._n_products = np.zeros(n_curves), np.zeros(n_curves, dtype=int)
        self._at_end = np.zeros(n_curves)  # decrements at the ends of the paths
        self._paths: list[tuple[Batch, StepPaths]] = []
        self.decrement, self.done = np.zeros(n_curves), enough >= self._length
        self.open = np.zeros(n_curves, dtype=bool)
        self._find_paths(model, variation, np.flatnonzero(~self.done))
        extent = np.ptp(curves.nodes, axis=1).max(axis=1)
        extent = np.maximum.reduceat(extent, curves.offsets[:-1])
        self._farthest = self._options.extent * curves.counts * extent

    def _find_paths(self, model: MatrixFreeModel, variation: FirstVariation, which: Ints) -> None:
        frames, far = self._memory.per_curve["frames"], self._options.frames.far
        old = which[self._memory.per_curve["moved"][which] > far * self._length[which]]
        frames[old] = None
        missing = which[[frames[k] is None for k in which]]
        self._memory.per_curve["moved"][missing] = 0.0
        known, curves = frames[which], self._curves.take(which)
        for batch in model.batches(curves, variation[self._curves.rows(which)], known):
            members = which[batch.members]
            finite, length = batch.variations.finite, self._length[members]
            expected = batch.variations.expected() / length
            self._rtol[members] = self._forcing(expected, self._enough[members] / length)
            paths = batch.variations.paths(self._rtol[members], self._radius[members])
            self.decrement[members] = np.where(finite, paths.decrement, np.inf)
            self._at_end[members] = self.decrement[members]
            self.done[members] = finite & paths.definite
            self.done[members] &= paths.decrement <= self._enough[members]
            self._n_products[members] = paths.n_products
            self.open[members] = finite
            batch = batch._replace(members=members, rows=self._curves.rows(members))
            self._paths.append((batch, paths))
        frames[which] = known
        _, expected = self._within(which)
        self.decrement[which] = np.minimum(self.decrement[which], 2.0 * expected)

    def _forcing(self, expected: Floats, tol: Floats) -> Floats:
        """Reduction of the residual that Newton's method can make use of.

        Parameters
        ----------
        expected : array, shape=[n_curves]
            About the Newton decrements, relative to the lengths.
        tol : array, shape=[n_curves]
            Decrements at which curves are done.

        Returns
        -------
        rtol : array, shape=[n_curves]
            Far away the model is good to a share of the step only; near, the error of a step, which
            is quadratic in this, need not be below the tolerance.
        """
        options, safe = self._options, np.where(expected > 0.0, expected, 1.0)
        rtol = np.maximum(safe**0.5, (options.spare * tol / safe) ** 0.5)
        return np.where(expected <= tol, options.tight, np.minimum(options.loose, rtol))

    def _within(self, which: Ints) -> tuple[Floats, Floats]:
        """Find the steps of some curves within their present radii, and set their sizes."""
        step, wanted = np.zeros_like(self._curves.nodes), np.zeros(len(self._curves), dtype=bool)
        wanted[which] = True
        for batch, paths in self._paths:
            if wanted[batch.members].any():
                x, decrease, size = paths.within(self._radius[batch.members])
                step[batch.rows] = batch.local(x)
                self._expected[batch.members], self._size[batch.members] = decrease, size
        return step[self._curves.rows(which)], self._expected[which]

    def step(self, which: Ints) -> tuple[Floats, Floats]:
        """Propose steps that do not lead too far; see `Proposal.step`."""
        step, expected = self._within(which)
        counts = self._curves.counts[which]
        most = np.maximum.reduceat(np.abs(step).max(axis=(1, 2)), np.cumsum(counts) - counts)
        far = ~(most <= self._farthest[which])
        if far.any():
            # Refused without being measured.
            expected[far], step[np.repeat(far, counts)] = np.inf, 0.0
        return step, expected

    def refuse(self, which: Ints, displacement: Floats, tried: Floats) -> None:
        """Shrink trust regions; see `Proposal.refuse`."""
        self._radius[which] = self._options.shrink * self._size[which]

    def accept(self, taken: Bools, gained: Floats) -> Bools:
        """Learn radii, and drop frames that were poor; see `Proposal.accept`."""
        options, memory, size = self._options, self._memory.per_curve, self._size
        whole = taken & (size < self._radius)
        radius = self._radius.copy()
        poor = taken & (gained < options.poor * self._expected)
        good = taken & ~poor & (gained > options.good * self._expected)
        radius[poor] = options.shrink * size[poor]
        sure = np.abs(gained - self._expected) <= options.sure * self._expected
        grow = np.where(sure, options.leap, options.grow)
        radius[good] = np.maximum(radius, grow * size)[good]
        memory["radius"] = radius
        memory["moved"] = memory["moved"] + np.where(taken, size**2, 0.0)
        stale = self.open & (~whole | (self._n_products > options.frames.many_products))
        memory["frames"][stale] = None
        # Where Newton's method converges quadratically its next decrement needs no asking.
        left = np.full(len(taken), np.inf)
        left[whole] = self._rtol[whole] ** 2 + self._at_end[whole] / self._length[whole]
        left[whole] *= self._at_end[whole]
        return whole & (left <= options.settled * self._enough)
