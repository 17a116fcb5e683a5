"""Shortening without matrices, for latent spaces of many dimensions.

An element's matrices grow with the square of the latent dimension, and their factorisation with
its cube. Here Newton's equations are solved by conjugate gradients: a product with the second
variation costs about four evaluations of the decoder per quadrature point, in any dimension, and
preconditioned in a parallel frame a handful of products suffices. Each curve has a trust region of
its own, and is worked alone: so the memory is that of a single curve, and no curve's steps depend
on the others'.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
import torch

from geomstats_vae.geodesics.chains import element_view
from geomstats_vae.geodesics.elements import (
    ElementEvaluator,
    PerElement,
    cache_sized_chunk,
    curve_points,
    to_numpy,
)
from geomstats_vae.geodesics.frames import Frames
from geomstats_vae.geodesics.relaxation import RelaxedCurves
from geomstats_vae.geodesics.saddles import slide
from geomstats_vae.geodesics.variation import CurveVariation

# Reduction of the residual by the conjugate gradients, in the preconditioner's norm. A decrement,
# which is quadratic in it, is then right to a few percent.
_LOOSE, _TIGHT = 0.3, 0.1
_SHARP = 1e-8  # for steps to be polished
_ROUGH = 1e-2  # for signs of the curvature
_SPARE = 0.03  # share of the tolerance that inexact steps may leave
# Sizes of steps are int |Du|^2 / |c'|, about five times a bump's squared height over the length.
_FIRST_RADIUS = 0.5  # over the root of the length
_ATTEMPTS = 14
# Shares of the expected decrease at which a step is taken, and its bound made smaller or larger.
_TAKE, _POOR, _GOOD = 0.1, 0.25, 0.75
_SHRINK, _GROW = 0.4, 2.0
# Frames are built anew after so many products, or moves so large.
_MANY_PRODUCTS, _FAR = 10, 0.001
_MOST_MATRIX_DIM = 12
_ROWS = 8  # of outputs that products hold per point
# Element matrices, and frames of an element, held at once, temporaries included.
_MATRICES, _FRAMES, _TYPICAL_ELEMENTS = 12, 12, 8
_EXTENT = 4.0  # farthest move of a node, in extents of an element, times the number of elements


@dataclass
class FirstVariation(PerElement):
    """Length of each element and its derivative with respect to the element's nodes.

    Parameters
    ----------
    length : array, shape=[n_elements]
        Lengths.
    gradient : array, shape=[n_elements, (degree + 1) * dim]
        Derivative of the length.
    turning : array, shape=[n_elements]
        Angle, in radians, by which the curve turns in the decoder's target.
    """

    length: np.ndarray
    gradient: np.ndarray
    turning: np.ndarray

    @property
    def finite(self):
        """Whether all is finite, shape=[n_elements]."""
        return np.isfinite(self.gradient).all(axis=1) & np.isfinite(self.length)


class KrylovEvaluator(ElementEvaluator):
    """Evaluates elements without Jacobians; parameters as of `ElementEvaluator`."""

    @property
    def elements_at_once(self):
        """Number of elements whose points are evaluated at once."""
        return max(1, self.chunk_size // len(self.element.weights))

    def system(self, nodes):
        """Length of each element with its first variation.

        Parameters
        ----------
        nodes : array, shape=[n_elements, degree + 1, dim]
            Nodes of the elements.

        Returns
        -------
        system : FirstVariation
            Lengths and gradients.
        """
        parts = [self._first(part) for part in self.tensor(nodes).split(self.elements_at_once)]
        return FirstVariation(*(to_numpy(torch.cat(column)) for column in zip(*parts, strict=True)))

    def _first(self, nodes):
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


class KrylovCurves(RelaxedCurves):
    """Curves being shortened by steps of Newton's method in trust regions, without matrices.

    Parameters and attributes are those of `RelaxedCurves`.
    """

    def __init__(self, evaluator, curves, options):
        super().__init__(evaluator, curves, options)
        self._radius = _FIRST_RADIUS * np.sqrt(self.length)
        self._frames = [None] * len(curves)
        self._moved = np.zeros(len(curves))

    def split(self, marked, halves=None):
        """Bisect elements; see `RelaxedCurves.split`."""
        offsets = self.curves.offsets
        for k, frames in enumerate(self._frames):
            part = marked[offsets[k] : offsets[k + 1]]
            if frames is not None and part.any():
                self._frames[k] = frames.split(part)
        super().split(marked, halves)

    def direction(self, halves, system, which):
        """Newton's directions on meshes of halves; see `RelaxedCurves.direction`."""
        direction = np.zeros_like(halves.nodes)
        decrement, definite = np.full(len(which), math.inf), np.zeros(len(which), dtype=bool)
        offsets = halves.offsets
        for place, k in enumerate(which):
            rows = slice(offsets[place], offsets[place + 1])
            nodes, frames = self.evaluator.tensor(halves.nodes[rows]), self._frames[k]
            if frames is not None:
                frames = frames.split(np.ones(len(frames.values), dtype=bool))
            else:
                frames = Frames.along(self.evaluator.immersion, nodes)
            variation = CurveVariation(self.evaluator, nodes, frames)
            if variation.finite:
                path = variation.path(_TIGHT)
                decrement[place], definite[place] = path.decrement, path.definite
                radius = math.inf if path.definite else self._radius[k]
                step = element_view(path.within(radius)[0], halves.degree)
                direction[rows] = to_numpy(step)
                # A stationary curve has no gradient that would show what it could slide along.
                definite[place] = definite[place] and variation.definite(_ROUGH)
        return direction, decrement, definite

    def leave_saddles(self, which):
        """Slide curves off saddles, where that makes them shorter; see `RelaxedCurves`."""
        moved = np.zeros(len(which), dtype=bool)
        for place, k in enumerate(which):
            rows = slice(*self.curves.offsets[k : k + 2])
            nodes = self.evaluator.tensor(self.curves.nodes[rows])
            variation = CurveVariation(
                self.evaluator, nodes, Frames.along(self.evaluator.immersion, nodes)
            )
            mode = variation.descent() if variation.finite else None
            if mode is not None:
                mode = to_numpy(element_view(mode, self.curves.degree))
                length, tol = self.length[[k]], self.options.tol
                curves = self.curves.take(np.array([k]))
                curves, shorter = slide(self.evaluator, curves, mode, length**0.5, length, tol)
                moved[place] = shorter[0]
            if moved[place]:
                self.move(np.array([k]), curves.nodes)
                self._frames[k] = None
        return moved

    def _step(self, which):
        """One step of some curves; returns which of them are done."""
        return np.array([self._step_of_one(k) for k in which])

    def _step_of_one(self, k):
        rows = slice(*self.curves.offsets[k : k + 2])
        nodes, length = self.evaluator.tensor(self.curves.nodes[rows]), self.fine[rows].sum()
        if length <= self.vanishing[k]:
            self.decrement[k] = 0.0
            return True
        variation = self._variation(k, nodes, length)
        if not variation.finite:
            self.stalled[k] = True
            return False
        rtol = _forcing(variation.expected() / length, self.options.tol)
        path = variation.path(rtol, self._radius[k])
        self.decrement[k] = min(path.decrement, 2.0 * path.within(self._radius[k])[1])
        done = path.definite and path.decrement <= self.options.tol * length
        whole = self._search(k, rows, path, length)
        if not whole or path.n_products > _MANY_PRODUCTS:
            self._frames[k] = None
        self.stalled[k] = not done and whole is None
        # Where Newton's method converges quadratically its next decrement needs no asking.
        left = rtol**2 + path.decrement / length
        return done or bool(whole and path.decrement * left <= 0.3 * self.options.tol * length)

    def _variation(self, k, nodes, length):
        if self._frames[k] is None or self._moved[k] > _FAR * length:
            self._frames[k] = Frames.along(self.evaluator.immersion, nodes)
            self._moved[k] = 0.0
        return CurveVariation(self.evaluator, nodes, self._frames[k])

    def _search(self, k, rows, path, length):
        """Find a step that shortens the curve, and take it.

        Returns whether it was the whole path, or None where no step was found.
        """
        nodes, radius = self.curves.nodes[rows], self._radius[k]
        noise = 16.0 * np.finfo(self.evaluator.numpy_dtype).eps * length
        farthest = _EXTENT * len(nodes) * np.ptp(nodes, axis=1).max()
        for _ in range(_ATTEMPTS):
            x, expected, size = path.within(radius)
            step = to_numpy(element_view(x, self.curves.degree))
            if np.abs(step).max() <= farthest:
                fine = self.evaluator.length(nodes + step)
                gained = length - fine.sum()
                if gained >= _TAKE * expected - noise:
                    break
            radius = _SHRINK * size
        else:
            self._radius[k] = radius
            return None
        whole = size < radius
        if gained < _POOR * expected:
            self._radius[k] = _SHRINK * size
        elif gained > _GOOD * expected:
            self._radius[k] = max(radius, _GROW * size)
        else:
            self._radius[k] = radius
        self.curves.nodes[rows] = nodes + step
        self.n_iter[k] += 1
        self._moved[k] += size**2
        self.fine[rows] = fine
        self._evaluate(np.arange(rows.start, rows.stop))
        return whole


def evaluator_for(immersion, degree, chunk_size=None):
    """Choose between matrices and products.

    Parameters
    ----------
    immersion : Immersion
        The decoder's F.
    degree : int
        Polynomial degree of the elements.
    chunk_size : int, optional
        Points evaluated at once; by default as many as fit a processor's cache.

    Returns
    -------
    evaluator : ElementEvaluator or KrylovEvaluator
        The latter in more than a dozen dimensions.
    """
    if immersion.dim <= _MOST_MATRIX_DIM:
        return ElementEvaluator(immersion, degree, chunk_size or cache_sized_chunk(immersion))
    return KrylovEvaluator(immersion, degree, chunk_size or cache_sized_chunk(immersion, _ROWS))


def relaxed_curves(evaluator, curves, options):
    """Curves to be shortened in the way of their evaluator; parameters as of `RelaxedCurves`."""
    kind = KrylovCurves if isinstance(evaluator, KrylovEvaluator) else RelaxedCurves
    return kind(evaluator, curves, options)


def newton_steps(evaluator, curves):
    """Solve for steps of Newton's method to geodesics, one curve at a time.

    Parameters
    ----------
    evaluator : KrylovEvaluator
        Evaluates the decoder along elements.
    curves : Curves
        Curves.

    Returns
    -------
    step, decrement, definite : array
        See `stability.solve_variation`.
    """
    step = np.zeros_like(curves.nodes)
    decrement, definite = np.zeros(len(curves)), np.zeros(len(curves), dtype=bool)
    for k, variation in enumerate(_variations(evaluator, curves)):
        if variation.finite:
            path = variation.path(_SHARP)
            definite[k] = path.definite
            if path.definite:
                x, decrement[k] = path.within(math.inf)[0], path.decrement
                rows = slice(*curves.offsets[k : k + 2])
                step[rows] = to_numpy(element_view(x, curves.degree))
    return step, decrement, definite


def definite_variations(evaluator, curves):
    """Whether the second variations of curves are positive definite, shape=[n_curves]."""
    return np.array([v.finite and v.definite() for v in _variations(evaluator, curves)])


def _variations(evaluator, curves):
    for begin, end in itertools.pairwise(curves.offsets):
        nodes = evaluator.tensor(curves.nodes[begin:end])
        yield CurveVariation(evaluator, nodes, Frames.along(evaluator.immersion, nodes))


def line_elements(evaluator):
    """Elements that straight lines start with.

    Two are enough for Newton's method with matrices, which lose little where the mesh is refined.
    Frames on two elements are poor, and poor frames cost more products than small meshes save.
    """
    return 4 if isinstance(evaluator, KrylovEvaluator) else 2


def pair_bytes(dim, degree):
    """Memory that a typical curve takes while it is shortened in a batch, in bytes."""
    if dim <= _MOST_MATRIX_DIM:
        return 8 * _MATRICES * _TYPICAL_ELEMENTS * ((degree + 1) * dim) ** 2
    return 8 * _FRAMES * _TYPICAL_ELEMENTS * dim**2


def _forcing(expected, tol):
    """Reduction of the residual that Newton's method can make use of.

    Parameters
    ----------
    expected : float
        About the Newton decrement, relative to the length.
    tol : float
        Decrement at which a curve is done.

    Returns
    -------
    rtol : float
        Far away the model is good to a share of the step only; near, the error of a step, which
        is quadratic in this, need not be below the tolerance.
    """
    if expected <= tol:
        return _TIGHT
    return min(_LOOSE, max(expected**0.5, (_SPARE * tol / expected) ** 0.5))
