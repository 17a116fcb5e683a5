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
from geomstats_vae.geodesics.options import MatrixFreeOptions


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

    def _run(self, problem: Problem, residual: Tensor, rtol: Floats, radius: Floats) -> None:
        which, rows = np.arange(len(problem.chains)), self._chains.chosen(self.definite)
        preconditioned = direction = problem.precondition(residual)
        square = problem.chains.dots(residual, preconditioned)
        size, enough, bound = square.copy(), rtol**2 * square, radius**2
        position, inward, decrease = np.zeros((3, len(which)))
        going = self._end(which, square > enough, square, decrease)
        while going.any():
            chains = problem.chains
            if np.diff(chains.starts)[going].sum() <= self._options.leave * chains.n_nodes:
                kept, stay = np.flatnonzero(going), chains.chosen(going)
                problem, chains = problem.take(kept), chains.take(kept)
                which, rows, going = which[kept], self._chains.chosen(which[kept]), going[kept]
                residual, direction = residual[stay], direction[stay]
                square, size, enough, bound, position, inward, decrease = (
                    array[kept]
                    for array in (square, size, enough, bound, position, inward, decrease)
                )
            image = problem.product(direction)
            curvature = chains.dots(direction, image)
            self.n_products[which[going]] += 1
            # Along what changes nothing there is nothing to gain.
            moving = going & ~(np.abs(curvature) <= self._options.flat * size)
            self._end(which[going], moving[going], square[going], decrease[going])
            m = np.flatnonzero(moving)
            if not len(m):
                return
            self.softest[which[m]] = np.minimum(self.softest[which[m]], curvature[m] / size[m])
            step = np.full(len(m), np.inf)
            np.divide(square[m], curvature[m], out=step, where=curvature[m] > 0.0)
            pieces = _Pieces(
                rows, chains, direction, m, which[m],
                position[m], inward[m], size[m], square[m], curvature[m], step,
            )  # fmt: skip
            self._pieces.append(pieces)
            square_size = pieces.sizes(step)
            bounded = ~(curvature[m] > 0.0) | (square_size > bound[m])
            if bounded.any():
                self._leave(pieces, bounded)
            m, step, square_size = m[~bounded], step[~bounded], square_size[~bounded]
            if not len(m):
                return
            going = np.zeros(len(which), dtype=bool)
            going[m] = True
            advance = np.zeros(len(which))
            advance[m] = step
            position[m], inward[m] = square_size, inward[m] + step * size[m]
            decrease[m] += step * square[m]
            # Chains that have left keep no residual, so nothing of them can reach the others.
            change = residual - chains.spread(advance, residual) * image
            residual = chains.only(going, change)
            preconditioned = problem.precondition(residual)
            new = chains.dots(residual, preconditioned)
            # Preconditioned residuals are orthogonal to x and to directions in the inverse's norm.
            ratio = np.zeros(len(which))
            ratio[m] = new[m] / square[m]
            square = new
            inward *= ratio
            size = square + ratio**2 * size
            direction = preconditioned + chains.spread(ratio, direction) * direction
            more = (square > enough) & (self.n_products[which] < self._options.max_products)
            going[m] = self._end(which[m], more[m], square[m], decrease[m])

    def _end(self, which: Ints, going: Bools, square: Floats, decrease: Floats) -> Bools:
        """Note the decrements of paths that do not go on."""
        # The error's squared norm in H is at most the residual's over the smallest eigenvalue, for
        # which the smallest quotient that was met stands.
        ended = which[~going]
        if not len(ended):
            return going
        with np.errstate(invalid="ignore"):
            self.decrement[ended] = decrease[~going] + square[~going] / self.softest[ended]
        return going

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
