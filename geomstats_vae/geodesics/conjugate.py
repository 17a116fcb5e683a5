"""Conjugate gradients as paths of steps within trust regions (Steihaug's, [1]_), many at once.

References
----------
.. [1] Steihaug. "The conjugate gradient method and trust regions in large scale optimization."
   SIAM Journal on Numerical Analysis 20 (1983), section 2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from geomstats_vae.geodesics.arrays import Bools, Floats, Ints
from geomstats_vae.geodesics.chains import Chains
from geomstats_vae.geodesics.model_options import MatrixFreeOptions


class Problem(Protocol):
    """Symmetric matrices H of some chains, with approximate inverses.

    Attributes
    ----------
    chains : Chains
        Where the values of each chain lie.
    """

    chains: Chains

    def product(self, x: Tensor) -> Tensor:
        """Multiply by the matrices; shape=[n_nodes, dim]."""

    def precondition(self, x: Tensor) -> Tensor:
        """Multiply by approximate inverses of H, symmetric and positive definite."""

    def take(self, chains: Ints) -> Problem:
        """Take some of the chains."""


@dataclass
class _Pieces:
    """A stretch of the path of each of some chains, from where the last one ended.

    Squared sizes and derivatives are those of the chains that moved, shape=[n_moving].
    """

    rows: Tensor  # nodes of these chains among those of all
    layout: Chains
    direction: Tensor  # at these nodes
    moving: Ints  # which of these chains moved
    chains: Ints  # and which of all those are
    position: Floats  # where the stretch starts
    inward: Floats  # product of that and of the direction
    size: Floats  # of the direction
    slope: Floats  # of the model along the direction
    curvature: Floats
    step: Floats  # length of the stretch

    def reach(self, radius: Floats) -> Floats:
        """Step along the directions that leads to bounds, or to the end of the stretch."""
        root = self.inward**2 + self.size * np.maximum(radius**2 - self.position, 0.0)
        return np.minimum(self.step, (root**0.5 - self.inward) / self.size)

    def sizes(self, step: Floats) -> Floats:
        """Squared sizes of the points that steps lead to."""
        finite = np.where(np.isfinite(step), step, 0.0)
        size = self.position + 2.0 * finite * self.inward + finite**2 * self.size
        return np.where(np.isfinite(step), size, np.inf)


class _Iteration:
    """State of the conjugate gradients of those chains that go on."""

    # Of each chain: the residual's square and that at which to stop; squared sizes of x, of the
    # direction and of the bound, the product of x and the direction, and the model's decrease.
    _NUMBERS = ("square", "enough", "position", "size", "bound", "inward", "decrease")

    def __init__(self, problem: Problem, right: Tensor, rtol: Floats, radius: Floats) -> None:
        self.problem, self.residual = problem, right
        self.which = np.arange(len(problem.chains))
        self.rows = problem.chains.chosen(self.which)
        self.direction = problem.precondition(right)
        self.square = problem.chains.dots(right, self.direction)
        self.size, self.enough, self.bound = self.square, rtol**2 * self.square, radius**2
        self.position, self.inward, self.decrease = np.zeros((3, len(self.which)))

    def n_nodes(self, chains: Bools) -> int:
        """Count the nodes of some of the chains."""
        return int(np.diff(self.problem.chains.starts)[chains].sum())

    def keep(self, kept: Ints, everyone: Chains) -> None:
        """Go on with some of the chains."""
        stay = self.problem.chains.chosen(kept)
        self.residual, self.direction = self.residual[stay], self.direction[stay]
        self.problem, self.which = self.problem.take(kept), self.which[kept]
        self.rows = everyone.chosen(self.which)
        for name in self._NUMBERS:
            setattr(self, name, getattr(self, name)[kept])

    def multiply(self) -> tuple[Tensor, Floats]:
        """Multiply the directions by H; the products, and those with the directions."""
        image = self.problem.product(self.direction)
        return image, self.problem.chains.dots(self.direction, image)

    def pieces(self, moving: Ints, curvature: Floats) -> _Pieces:
        """Stretches along the directions of some chains, to the minima there."""
        m, step = moving, np.full(len(moving), np.inf)
        np.divide(self.square[m], curvature[m], out=step, where=curvature[m] > 0.0)
        sizes = self.position[m], self.inward[m], self.size[m]
        where = self.rows, self.problem.chains, self.direction, m, self.which[m]
        return _Pieces(*where, *sizes, self.square[m], curvature[m], step)

    def advance(self, moving: Ints, step: Floats, image: Tensor) -> None:
        """Move some chains, and turn their directions; the others have left."""
        m, chains, advance = moving, self.problem.chains, np.zeros(len(self.which))
        advance[m] = step
        self.position[m] += 2.0 * step * self.inward[m] + step**2 * self.size[m]
        self.inward[m] += step * self.size[m]
        self.decrease[m] += step * self.square[m]
        # Chains that have left keep no residual, so nothing of them can reach the others.
        change = self.residual - chains.spread(advance, image) * image
        self.residual = chains.only(m, change)
        preconditioned = self.problem.precondition(self.residual)
        square, ratio = chains.dots(self.residual, preconditioned), np.zeros(len(self.which))
        ratio[m] = square[m] / self.square[m]
        # Preconditioned residuals are orthogonal to x and to directions in the inverse's norm.
        self.inward = ratio * self.inward
        self.size, self.square = square + ratio**2 * self.size, square
        self.direction = preconditioned + chains.spread(ratio, image) * self.direction


class SteihaugPaths:
    """Approximate minimisers of x'Hx/2 - right'x of chains, one for each bound on the size of x.

    Sizes of x are in the norm of the preconditioner's inverse. Chains are independent. Those that
    are done leave, and the others go on without them.

    Parameters
    ----------
    problem : Problem
        Matrices and preconditioners.
    right : torch.Tensor, shape=[n_nodes, dim]
        Right-hand sides.
    rtol : array, shape=[n_chains]
        Reduction of the residual, in the preconditioner's norm, at which to stop.
    radius : array, shape=[n_chains]
        Bounds on the size of x.
    options : MatrixFreeOptions
        Most products, and what curvature is none.

    Attributes
    ----------
    decrement : array, shape=[n_chains]
        right . x at the end of the path, with a bound on what is missing to that of the exact
        solution; infinite where the path ends at the bound or in a direction of negative curvature.
    softest : array, shape=[n_chains]
        Smallest curvature of a direction, relative to its squared size.
    definite : array of bool, shape=[n_chains]
        Whether no direction had negative curvature.
    descent : torch.Tensor, shape=[n_nodes, dim]
        Directions of negative curvature, of unit size; zero where there was none.
    n_products : array of int, shape=[n_chains]
        Number of products with H.
    """

    def __init__(
        self,
        problem: Problem,
        right: Tensor,
        rtol: Floats,
        radius: Floats,
        options: MatrixFreeOptions,
    ) -> None:
        self._chains, self._options = problem.chains, options
        n_chains = len(problem.chains)
        self.definite, self.n_products = np.ones(n_chains, dtype=bool), np.zeros(n_chains, int)
        self.softest, self.decrement = np.full(n_chains, np.inf), np.full(n_chains, np.inf)
        self.descent = torch.zeros_like(right)
        self._pieces: list[_Pieces] = []
        self._run(problem, right, rtol, radius)

    def _run(self, problem: Problem, right: Tensor, rtol: Floats, radius: Floats) -> None:
        state, options = _Iteration(problem, right, rtol, radius), self._options
        going = state.square > state.enough
        self._end(state, ~going)
        while going.any():
            if state.n_nodes(going) <= options.leave * len(state.direction):
                state.keep(np.flatnonzero(going), self._chains)
                going = np.ones(len(state.which), dtype=bool)
            image, curvature = state.multiply()
            self.n_products[state.which[going]] += 1
            # Along what changes nothing there is nothing to gain.
            moving = going & ~(np.abs(curvature) <= options.flat * state.size)
            self._end(state, going & ~moving)
            pieces = state.pieces(np.flatnonzero(moving), curvature)
            self._pieces.append(pieces)
            softest = np.minimum(self.softest[pieces.chains], pieces.curvature / pieces.size)
            self.softest[pieces.chains] = softest
            bounded = ~(pieces.curvature > 0.0)
            bounded |= pieces.sizes(pieces.step) > state.bound[pieces.moving]
            if bounded.any():
                self._leave(pieces, bounded)
                moving[pieces.moving[bounded]] = False
            if not moving.any():
                return
            state.advance(np.flatnonzero(moving), pieces.step[~bounded], image)
            going = moving & (state.square > state.enough)
            going &= self.n_products[state.which] < options.max_products
            self._end(state, moving & ~going)

    def _end(self, state: _Iteration, ended: Bools) -> None:
        """Note the decrements of paths that end."""
        if ended.any():
            which = state.which[ended]
            # The error's squared norm in H is at most the residual's over the smallest eigenvalue,
            # for which the smallest quotient that was met stands.
            with np.errstate(invalid="ignore"):
                missing = state.square[ended] / self.softest[which]
                self.decrement[which] = state.decrease[ended] + missing

    def _leave(self, pieces: _Pieces, bounded: Bools) -> None:
        """Note what is known of paths that end at their bound or in negative curvature."""
        negative = bounded & ~(pieces.curvature > 0.0)
        self.definite[pieces.chains[negative]] = False
        if negative.any():
            scale = np.zeros(len(pieces.layout))
            scale[pieces.moving[negative]] = pieces.size[negative] ** -0.5
            unit = pieces.layout.spread(scale, pieces.direction) * pieces.direction
            self._add(self.descent, pieces, pieces.layout.only(pieces.moving[negative], unit))

    def _add(self, total: Tensor, pieces: _Pieces, part: Tensor) -> None:
        if len(part) == len(total):
            total += part
        else:
            total[pieces.rows] += part

    def within(self, radius: Floats) -> tuple[Tensor, Floats, Floats]:
        """Find the points of the paths whose sizes are bounds.

        Parameters
        ----------
        radius : array, shape=[n_chains]
            Bounds; finite where a path is not definite.

        Returns
        -------
        x : torch.Tensor, shape=[n_nodes, dim]
            The points, or the paths' ends.
        decrease : array, shape=[n_chains]
            Decrease of the model, right . x - x'Hx/2.
        size : array, shape=[n_chains]
            Their sizes.
        """
        x, going = torch.zeros_like(self.descent), np.ones(len(self._chains), dtype=bool)
        decrease, size = np.zeros((2, len(self._chains)))
        for pieces in self._pieces:
            moving = going[pieces.chains]
            if not moving.any():
                continue
            chains, reach = pieces.chains[moving], pieces.reach(radius[pieces.chains])
            gain = reach * pieces.slope - 0.5 * reach**2 * pieces.curvature
            decrease[chains] += gain[moving]
            size[chains] = pieces.sizes(reach)[moving] ** 0.5
            step = np.zeros(len(pieces.layout))
            step[pieces.moving[moving]] = reach[moving]
            part = pieces.layout.spread(step, x) * pieces.direction
            self._add(x, pieces, pieces.layout.only(pieces.moving[moving], part))
            going[pieces.chains] &= ~(reach < pieces.step)
        return x, decrease, size
