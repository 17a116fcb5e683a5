"""Second variations of the lengths of curves, by Jacobian-free products."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from geomstats_vae.geodesics.arrays import Bools, Floats, Ints
from geomstats_vae.geodesics.chains import Chains
from geomstats_vae.geodesics.conjugate import SteihaugPaths
from geomstats_vae.geodesics.elements import (
    ElementEvaluator,
    bytes_on,
    curve_points,
    inverse_speed,
)
from geomstats_vae.geodesics.frames import FramePreconditioner, Frames
from geomstats_vae.geodesics.model_options import MatrixFreeOptions
from geomstats_vae.immersions.linearization import Linearization

_KEPT_BYTES = 2**29  # of what products need; beyond, it is computed anew for each

Product = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


class SecondVariation:
    """Products with the second variations of curves, their ends fixed; a `Problem`.

    Parameters
    ----------
    evaluator : ElementEvaluator
        Evaluates the decoder along elements.
    nodes : torch.Tensor, shape=[n_elements, degree + 1, dim]
        Nodes of the curves' elements.
    chains : Chains
        The curves' nodes.
    frames : Frames
        Frames along the curves, or along curves near them.

    Attributes
    ----------
    curvature : bool
        False leaves out all but the majoriser, Gauss-Newton's matrix.
    """

    def __init__(
        self, evaluator: ElementEvaluator, nodes: Tensor, chains: Chains, frames: Frames
    ) -> None:
        self.evaluator, self.nodes, self.chains, self.frames = evaluator, nodes, chains, frames
        self.curvature = True
        self._b, self._d = evaluator.rule("interpolate"), evaluator.rule("differentiate")
        self._n_points = len(evaluator.element.weights)
        self._per_chunk = max(1, evaluator.chunk_size // self._n_points)
        self._points = [curve_points(p, self._b, self._d) for p in nodes.split(self._per_chunk)]
        self._kept: dict = {}
        self._kept_bytes = 0

    def prepare(self, weights: Tensor, covectors: Tensor) -> None:
        """Set weights over speeds, and the covectors whose Hessians are the curvature.

        Parameters
        ----------
        weights : torch.Tensor, shape=[n_elements, n_quadrature]
            Quadrature weights over speeds.
        covectors : torch.Tensor, shape=[n_elements, n_quadrature, n_outputs]
            Covectors.
        """
        self._weights, self._covectors = weights, covectors
        self.precondition = FramePreconditioner(
            self.frames, self.chains, self.evaluator.element, weights
        )

    def take(self, chains: Ints) -> SecondVariation:
        """Take some of the curves, in increasing order."""
        mask = np.zeros(len(self.chains), dtype=bool)
        mask[chains] = True
        rows = torch.as_tensor(np.flatnonzero(np.repeat(mask, self.chains.counts)))
        part = SecondVariation(
            self.evaluator,
            self.nodes[rows],
            self.chains.take(chains),
            Frames(self.frames.values[rows]),
        )
        part.prepare(self._weights[rows], self._covectors[rows])
        part.curvature = self.curvature
        return part

    @property
    def velocity(self) -> Tensor:
        """Velocities at the quadrature points, shape=[n_points, dim]."""
        return torch.cat([velocity for _, velocity in self._points])

    @property
    def position(self) -> Tensor:
        """Quadrature points, shape=[n_points, dim]."""
        return torch.cat([position for position, _ in self._points])

    def pushed(self) -> Tensor:
        """Velocities in the decoder's target, shape=[n_points, n_outputs]."""
        return torch.cat([self._moving(k).pushed for k in range(len(self._points))])

    def pull(self, covector: Tensor) -> tuple[Tensor, Tensor]:
        """Find the derivatives of <covector, dF(v)> by point and direction, [n_points, dim]."""
        parts = covector.split(self._per_chunk * self._n_points)
        pulled = [self._moving(k).pull(part) for k, part in enumerate(parts)]
        return torch.cat([dz for dz, _ in pulled]), torch.cat([dv for _, dv in pulled])

    def _moving(self, k: int) -> Linearization:
        """Linearization of a chunk of points, kept if there is room."""
        if k not in self._kept:
            moving = self.evaluator.immersion.linearize(*self._points[k])
            most = bytes_on(self.nodes.device, _KEPT_BYTES, 32)
            if self._kept_bytes + moving.nbytes > most:
                return moving
            self._kept[k] = moving
            self._kept_bytes += moving.nbytes
        return self._kept[k]

    def to_nodes(self, dz: Tensor, dv: Tensor) -> Tensor:
        """Covectors at the points as those at the elements' nodes."""
        shape = (-1, self._n_points, dz.shape[1])
        image = torch.einsum("qa,eqd->ead", self._b, dz.reshape(shape))
        return image + torch.einsum("qa,eqd->ead", self._d, dv.reshape(shape))

    def product(self, x: Tensor) -> Tensor:
        """Multiply by the second variations.

        Parameters
        ----------
        x : torch.Tensor, shape=[n_nodes, dim]
            Displacements of the curves' nodes, zero at their ends.

        Returns
        -------
        product : torch.Tensor, shape=[n_nodes, dim]
            The second variations' derivatives, zero at the ends.
        """
        images = []
        for k, part in enumerate(self.chains.at_elements(x).split(self._per_chunk)):
            multiply = self._quadratic(k)
            images.append(self.to_nodes(*multiply(*curve_points(part, self._b, self._d))))
        return self.chains.fix_ends(self.chains.gather(torch.cat(images)))

    def _quadratic(self, k: int) -> Product:
        key = (k, self.curvature)
        if key in self._kept:
            return self._kept[key]
        rows = slice(k * self._per_chunk, (k + 1) * self._per_chunk)
        covector = self._covectors[rows].flatten(0, 1) if self.curvature else None
        multiply = self._moving(k).quadratic(self._weights[rows].flatten(), covector)
        if k in self._kept:
            self._kept[key] = multiply
        return multiply


class CurveVariations:
    """First and second variations of curves with fixed ends.

    Parameters
    ----------
    evaluator : ElementEvaluator
        Evaluates the decoder along elements.
    nodes : torch.Tensor, shape=[n_elements, degree + 1, dim]
        Nodes of the curves' elements.
    counts : array of int, shape=[n_curves]
        Number of elements of each curve.
    frames : Frames
        Frames along the curves, or along curves near them.
    options : MatrixFreeOptions
        How far conjugate gradients go.
    gradient : torch.Tensor, shape=[n_elements, degree + 1, dim], optional
        Derivatives of the elements' lengths by their nodes, where they are known; of any precision.

    Attributes
    ----------
    right : torch.Tensor, shape=[n_nodes, dim]
        Minus the derivatives of the lengths, zero at the ends.
    finite : array of bool, shape=[n_curves]
        Whether the decoder and its derivatives are finite along the curves.

    Notes
    -----
    The same as `AssembledModel` assembles: Gauss-Newton for the energy at the present speed, and
    the curvature that it leaves out.
    """

    def __init__(
        self,
        evaluator: ElementEvaluator,
        nodes: Tensor,
        counts: Ints,
        frames: Frames,
        options: MatrixFreeOptions,
        gradient: Tensor | None = None,
    ) -> None:
        self._options = options
        self.chains = chains = Chains(counts, nodes.shape[1] - 1, nodes.device)
        self._second = second = SecondVariation(evaluator, nodes, chains, frames)
        weights, pushed = evaluator.rule("weights"), second.pushed()
        by_speed = self._over_speeds(pushed, weights)
        tiny = torch.finfo(pushed.dtype).tiny
        tangent = torch.nn.functional.normalize(pushed, eps=tiny)
        tangent = tangent.view(-1, len(weights), pushed.shape[1])
        if gradient is None:
            weighted = (tangent * weights[:, None]).flatten(0, 1)
            gradient = second.to_nodes(*second.pull(weighted))
        # As in `AssembledModel`: -int <t', d^2F(u, u)>, of t' the part normal to the image.
        turn = evaluator.rule("differentiate_points") @ tangent
        covector = -(weights[:, None] * turn).flatten(0, 1)
        frame = frames.at(evaluator.element.points).flatten(0, 1)
        along = frame.transpose(1, 2) @ second.pull(covector)[1][:, :, None]
        along = (frame @ along)[:, :, 0]
        pieces = (part.split(evaluator.chunk_size) for part in (second.position, along))
        parts = [evaluator.immersion.push(*part) for part in zip(*pieces, strict=True)]
        tangential = torch.cat(parts)
        second.prepare(by_speed, (covector - tangential).view(tangent.shape))
        # Those of neighbours nearly cancel where they meet, so they are added before rounding.
        self.right = -chains.fix_ends(chains.gather(gradient)).to(nodes.dtype)
        finite = torch.isfinite(self.right).all(dim=1).cpu().numpy()
        self.finite = np.logical_and.reduceat(finite, chains.starts[:-1])
        self.finite &= second.precondition.sound
        self.right = chains.only(self.finite, self.right)

    def _over_speeds(self, pushed: Tensor, weights: Tensor) -> Tensor:
        """Quadrature weights over speeds, shape=[n_elements, n_quadrature]."""
        speed, size = pushed.norm(dim=1), self._second.velocity.norm(dim=1)
        # Where the velocity lies in the metric's null space its speed says nothing: a floor.
        steepest = speed / size.clamp_min(torch.finfo(speed.dtype).tiny)
        counts = self.chains.counts * len(weights)
        first = np.cumsum(counts) - counts
        each = np.maximum.reduceat(steepest.cpu().numpy(), first)
        most = torch.as_tensor(np.repeat(each, counts), device=size.device)
        return inverse_speed(speed, most * size).view(-1, len(weights)) * weights

    def product(self, x: Tensor, *, curvature: bool = True) -> Tensor:
        """Multiply by the second variations; see `SecondVariation.product`.

        Parameters
        ----------
        x : torch.Tensor, shape=[n_nodes, dim]
            Displacements of the curves' nodes, zero at their ends.
        curvature : bool
            False leaves out all but the majoriser, Gauss-Newton's matrix.

        Returns
        -------
        product : torch.Tensor, shape=[n_nodes, dim]
            The second variations' derivatives, zero at the ends.
        """
        self._second.curvature = curvature
        product = self._second.product(x)
        self._second.curvature = True
        return product

    def expected(self) -> Floats:
        """Newton decrements if the preconditioner were the inverse, shape=[n_curves]."""
        return self.chains.dots(self.right, self._second.precondition(self.right))

    def definite(self, rtol: float | None = None, among: Bools | None = None) -> Bools:
        """Whether the second variations are positive definite, shape=[n_curves].

        Parameters
        ----------
        rtol : float, optional
            Reduction of the residual past which no more is asked; by default one that leaves no
            doubt. Conjugate gradients from a random right-hand side meet a direction of negative
            curvature before they converge, if there is any.
        among : array of bool, shape=[n_curves], optional
            Curves that are asked about; the others count as definite.
        """
        return self.descent(rtol, among)[1]

    def descent(
        self, rtol: float | None = None, among: Bools | None = None
    ) -> tuple[Tensor, Bools]:
        """Find directions of negative curvature.

        Parameters
        ----------
        rtol : float, optional
            Reduction of the residual past which no more is asked; see `definite`.
        among : array of bool, shape=[n_curves], optional
            Curves that are asked about; the others count as definite.

        Returns
        -------
        direction : torch.Tensor, shape=[n_nodes, dim]
            Displacements of the nodes, of unit size in the preconditioner's norm; zero where the
            second variation is positive definite.
        definite : array of bool, shape=[n_curves]
            Whether it is.
        """
        right = torch.empty_like(self.right)
        for begin, end in itertools.pairwise(self.chains.starts):
            # The same for a curve alone and in a batch.
            generator, shape = torch.Generator().manual_seed(0), right[begin:end].shape
            right[begin:end] = torch.randn(shape, generator=generator, dtype=torch.float64)
        asked = self.finite if among is None else self.finite & among
        right = self.chains.only(asked, self.chains.fix_ends(right))
        rtol = self._options.sign if rtol is None else rtol
        found = self._run(right, np.full(len(self.chains), rtol))
        return found.descent, found.definite & self.finite

    def _run(self, right: Tensor, rtol: Floats, radius: Floats | None = None) -> SteihaugPaths:
        radius = np.full(len(self.chains), np.inf) if radius is None else radius
        return SteihaugPaths(self._second, right, rtol, radius, self._options)

    def paths(self, rtol: Floats, radius: Floats | None = None) -> StepPaths:
        """Find steps that shorten the curves.

        Parameters
        ----------
        rtol : array, shape=[n_curves]
            Reduction of the residual, in the preconditioner's norm, at which to stop.
        radius : array, shape=[n_curves], optional
            Bounds on the sizes of the steps.

        Returns
        -------
        paths : StepPaths
            By the second variation; by its majoriser, Gauss-Newton's, where the curvature is so
            negative that far from a geodesic nothing can be said by it.
        """
        paths = self._run(self.right, rtol, radius)
        wild = np.flatnonzero(paths.softest <= self._options.wild)
        if not len(wild):
            return StepPaths(self.chains, paths)
        second = self._second.take(wild)
        second.curvature = False
        radius = np.full(len(self.chains), np.inf) if radius is None else radius
        right = self.right[self.chains.chosen(wild)]
        major = SteihaugPaths(second, right, rtol[wild], radius[wild], self._options)
        return StepPaths(self.chains, paths, wild, major)


class StepPaths:
    """Paths of steps of a batch of curves, those of some of them by the majoriser.

    Attributes
    ----------
    decrement, definite, n_products : array, shape=[n_curves]
        As of `SteihaugPaths`. Curves whose steps are by the majoriser are not definite.
    """

    def __init__(
        self,
        chains: Chains,
        paths: SteihaugPaths,
        wild: Ints | None = None,
        major: SteihaugPaths | None = None,
    ) -> None:
        self._chains, self._paths, self._wild, self._major = chains, paths, wild, major
        self.decrement, self.definite = paths.decrement.copy(), paths.definite.copy()
        self.n_products = paths.n_products.copy()
        if major is not None:
            self.decrement[wild], self.definite[wild] = major.decrement, False
            self.n_products[wild] = major.n_products

    def within(self, radius: Floats) -> tuple[Tensor, Floats, Floats]:
        """Find the steps whose sizes are bounds; see `SteihaugPaths.within`."""
        x, decrease, size = self._paths.within(radius)
        if self._major is not None and self._wild is not None:
            part = self._major.within(radius[self._wild])
            x[self._chains.chosen(self._wild)] = part[0]
            decrease[self._wild], size[self._wild] = part[1:]
        return x, decrease, size
