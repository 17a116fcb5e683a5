"""Conjugate gradients as a path of steps within a trust region (Steihaug's, [1]_).

References
----------
.. [1] Steihaug. "The conjugate gradient method and trust regions in large scale optimization."
   SIAM Journal on Numerical Analysis 20 (1983), section 2.
"""

from __future__ import annotations

import math

import torch

_FLAT = 1e-10  # curvature, relative to the preconditioner's, of directions that change nothing
_MAX_PRODUCTS = 100


class SteihaugPath:
    """Approximate minimisers of x'Hx/2 - right'x, one for each bound on the size of x.

    Parameters
    ----------
    product : callable
        Multiplies by the symmetric matrix H.
    precondition : callable
        Multiplies by an approximate inverse of H, symmetric and positive definite; sizes of x are
        in the norm of its inverse.
    right : torch.Tensor
        Right-hand side.
    rtol : float
        Reduction of the residual, in the preconditioner's norm, at which to stop.
    radius : float
        Bound on the size of x.

    Attributes
    ----------
    decrement : float
        right . x at the end of the path, with a bound on what is missing to that of the exact
        solution; infinite where the path ends at the bound or in a direction of negative curvature.
    softest : float
        Smallest curvature of a direction, relative to its squared size.
    definite : bool
        Whether no direction had negative curvature.
    descent : torch.Tensor or None
        The direction of negative curvature, of unit size; None if there was none.
    n_products : int
        Number of products with H.
    """

    def __init__(self, product, precondition, right, rtol=0.1, radius=math.inf):
        self.definite, self.softest, self.n_products = True, math.inf, 0
        self.descent = None
        self._pieces = []  # of (where it starts, its direction, squared sizes, model's derivatives)
        self._end, self.decrement = torch.zeros_like(right), math.inf
        self._run(product, precondition, right, rtol, radius)

    def _run(self, product, precondition, residual, rtol, radius):
        x, position = self._end, 0.0
        preconditioned = direction = precondition(residual)
        start = square = size = _dot(residual, preconditioned)
        inward, decrease = 0.0, 0.0
        while square > rtol**2 * start and self.n_products < _MAX_PRODUCTS:
            image = product(direction)
            self.n_products += 1
            curvature = _dot(direction, image)
            if abs(curvature) <= _FLAT * size:
                break  # along what changes nothing there is nothing to gain
            self.softest = min(self.softest, curvature / size)
            step = square / curvature if curvature > 0.0 else math.inf
            self._pieces.append((x, direction, (position, inward, size), (square, curvature), step))
            if curvature < 0.0 or _size(position, inward, size, step) > radius**2:
                self.definite = curvature > 0.0
                if not self.definite:
                    self.descent = direction / size**0.5
                return
            x = x + step * direction
            position, inward = _size(position, inward, size, step), inward + step * size
            residual = residual - step * image
            decrease += step * square
            preconditioned = precondition(residual)
            square, last = _dot(residual, preconditioned), square
            # Preconditioned residuals are orthogonal to x and to directions in the inverse's norm.
            ratio = square / last
            inward, size = ratio * inward, square + ratio**2 * size
            direction = preconditioned + ratio * direction
        # The error's squared norm in H is at most the residual's over the smallest eigenvalue, for
        # which the smallest quotient that was met stands.
        self._end, self.decrement = x, decrease + square / self.softest

    def within(self, radius):
        """Find the point of the path whose size is a bound.

        Parameters
        ----------
        radius : float
            Bound.

        Returns
        -------
        x : torch.Tensor
            The point, or the path's end.
        decrease : float
            Decrease of the model, right . x - x'Hx/2.
        size : float
            Its size.
        """
        decrease, end = 0.0, (self._end, 0.0, 0.0)
        for x, direction, sizes, (slope, curvature), step in self._pieces:
            reach = min(step, _reach(*sizes, radius))
            decrease += reach * slope - 0.5 * reach**2 * curvature
            end = (x + reach * direction, decrease, _size(*sizes, reach) ** 0.5)
            if reach < step:
                break
        return end


def _dot(a, b):
    # In doubles: the rounding of float32 would end the descent early.
    return float((a.double() * b.double()).sum())


def _size(position, inward, size, step):
    """Squared size of x + step * direction, from those of x and direction and their product."""
    return position + 2.0 * step * inward + step**2 * size if math.isfinite(step) else math.inf


def _reach(position, inward, size, radius):
    """Step along a direction that leads to the bound."""
    root = inward**2 + size * max(radius**2 - position, 0.0)
    return (root**0.5 - inward) / size
