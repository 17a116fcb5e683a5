"""Jacobian-free products: how the velocity dF(v) of a moving point changes.

A variation (dz, dv) of a point and a direction changes dF(v) by J dv + d^2F(v, dz). This map and
its transpose, both without a single Jacobian, are all that gradients and second variations of
lengths and energies are made of. Points are rows, and independent.
"""

from __future__ import annotations

import abc

import torch
from torch.func import grad, jvp, vjp

_GRAPH_BYTES = 50  # of graphs of all derivatives per byte of the output: measured on convolutions


class Linearization(abc.ABC):
    """The derivative of (z, v) -> dF(z)(v) at some points and directions.

    Attributes
    ----------
    pushed : torch.Tensor, shape=[n_points, n_outputs]
        dF(v).
    """

    pushed: torch.Tensor

    @property
    @abc.abstractmethod
    def nbytes(self):
        """Memory that this holds, and takes for products, about; in bytes."""

    @abc.abstractmethod
    def pull(self, covector):
        """Apply the transpose of the derivative.

        Parameters
        ----------
        covector : torch.Tensor, shape=[n_points, n_outputs]
            Covector q at each point.

        Returns
        -------
        dz, dv : torch.Tensor, shape=[n_points, dim]
            d^2F(v, .)' q and J' q: the derivatives of <q, dF(v)>.
        """

    @abc.abstractmethod
    def quadratic(self, weight, covector=None):
        """Prepare products with a second variation.

        Parameters
        ----------
        weight : torch.Tensor, shape=[n_points]
            Weight w of the Gauss-Newton part.
        covector : torch.Tensor, shape=[n_points, n_outputs], or None
            Covector q of the curvature part; None leaves it out.

        Returns
        -------
        product : callable
            Maps (dz, dv) to the derivatives by dz and dv of
            w / 2 |J dv + d^2F(v, dz)|^2 + 1/2 <q, d^2F(dz, dz)>.
        """


class Bend:
    """An elementwise function as a step of a chain.

    Parameters
    ----------
    slope, curvature : torch.Tensor, shape=[n_points, width]
        First and second derivative.
    along : torch.Tensor, shape=[n_points, width]
        The direction v, pushed as far as this step.
    """

    def __init__(self, slope, curvature, along):
        self.slope, self.curvature = slope[:, None, :], curvature
        self.bend = curvature * along
        # Slope, curvature and bend, the weights of products, and the tangents on their way.
        self.nbytes = 6 * self.bend.numel() * self.bend.element_size()

    def push(self, rows):
        """Push the tangents of the point and of dF(v), shape=[n_points, 2, width]."""
        pushed = rows * self.slope
        pushed[:, 1].addcmul_(self.bend, rows[:, 0])
        return pushed

    def pull(self, rows):
        """Apply the transpose of `push`."""
        pulled = rows * self.slope
        pulled[:, 0].addcmul_(self.bend, rows[:, 1])
        return pulled

    def pull_covector(self, covector):
        """Pull a covector of the value."""
        return covector * self.slope[:, 0]

    def weigh(self, covector):
        """Weights of the Hessian of covector . value, a diagonal matrix."""
        return covector * self.curvature


class Squares:
    """Squared distances to centres, |z - c_k|^2, as a step of a chain.

    Parameters
    ----------
    centers : torch.Tensor, shape=[n_centers, dim]
        Centres.
    z, along : torch.Tensor, shape=[n_points, dim]
        Points and the direction v.
    """

    def __init__(self, centers, z, along):
        self.centers, self.z, self.along = centers, z[:, None, :], along[:, None, :]

    def push(self, rows):
        """See `Bend.push`."""
        pushed = (self.z * rows).sum(2, keepdim=True) - rows @ self.centers.T
        pushed[:, 1] += (self.along[:, 0] * rows[:, 0]).sum(1, keepdim=True)
        return 2.0 * pushed

    def pull(self, rows):
        """See `Bend.pull`."""
        total = rows.sum(2, keepdim=True)
        pulled = total * self.z - rows @ self.centers
        pulled[:, 0] += total[:, 1] * self.along[:, 0]
        return 2.0 * pulled

    def pull_covector(self, covector):
        """See `Bend.pull_covector`."""
        return 2.0 * (covector.sum(1, keepdim=True) * self.z[:, 0] - covector @ self.centers)

    def weigh(self, covector):
        """See `Bend.weigh`; a multiple of the identity."""
        return 2.0 * covector.sum(1, keepdim=True)


class ChainLinearization(Linearization):
    """Linearization of steps one after the other.

    Parameters
    ----------
    pushed : torch.Tensor, shape=[n_points, n_outputs]
        dF(v).
    steps : list
        Linear maps with `tangents` and `pull`, and bent ones such as `Bend`.
    """

    def __init__(self, pushed, steps):
        self.pushed, self.steps = pushed, steps

    @property
    def nbytes(self):
        """Memory; see `Linearization.nbytes`."""
        return sum(step.nbytes for step in self.steps if isinstance(step, Bend))

    def _pull(self, covector, curvatures=(), tangents=()):
        rows = torch.stack((torch.zeros_like(covector), covector), dim=1)
        for k in reversed(range(len(self.steps))):
            rows = self.steps[k].pull(rows)
            if curvatures and curvatures[k] is not None:
                rows[:, 0].addcmul_(curvatures[k], tangents[k])
        return rows.unbind(1)

    def pull(self, covector):
        """Apply the transpose; see `Linearization.pull`."""
        return self._pull(covector)

    def quadratic(self, weight, covector=None):
        """Prepare products; see `Linearization.quadratic`."""
        curvatures = [] if covector is None else self._curvatures(covector)

        def product(dz, dv):
            rows, tangents = torch.stack((dz, dv), dim=1), []
            for step in self.steps:
                tangents.append(rows[:, 0])
                rows = step.push(rows)
            return self._pull(weight[:, None] * rows[:, 1], curvatures, tangents)

        return product

    def _curvatures(self, covector):
        curvatures = [None] * len(self.steps)
        for k in reversed(range(len(self.steps))):
            step = self.steps[k]
            if isinstance(step, Bend | Squares):
                curvatures[k] = step.weigh(covector)
            covector = step.pull_covector(covector)
        return curvatures


class JoinedLinearization(Linearization):
    """Linearizations whose outputs stand side by side.

    Parameters
    ----------
    parts : list of Linearization
        Parts, of the same points and directions.
    """

    def __init__(self, parts):
        self.parts = parts
        self.pushed = torch.cat([part.pushed for part in parts], dim=1)

    @property
    def nbytes(self):
        """Memory; see `Linearization.nbytes`."""
        return sum(part.nbytes for part in self.parts)

    def _split(self, covector):
        if covector is None:
            return [None] * len(self.parts)
        return covector.split([part.pushed.shape[1] for part in self.parts], dim=1)

    def pull(self, covector):
        """Apply the transpose; see `Linearization.pull`."""
        pieces = zip(self.parts, self._split(covector), strict=True)
        return _sum([part.pull(piece) for part, piece in pieces])

    def quadratic(self, weight, covector=None):
        """Prepare products; see `Linearization.quadratic`."""
        pieces = zip(self.parts, self._split(covector), strict=True)
        products = [part.quadratic(weight, piece) for part, piece in pieces]
        return lambda dz, dv: _sum([product(dz, dv) for product in products])


def _sum(pairs):
    return tuple(sum(column) for column in zip(*pairs, strict=True))


class AutodiffLinearization(Linearization):
    """Linearization of any torch function, by reverse passes over graphs that are kept.

    Parameters
    ----------
    function : callable
        Maps shape=[n_points, dim] to shape=[n_points, n_outputs], row by row.
    z, v : torch.Tensor, shape=[n_points, dim]
        Points and directions.
    forward_mode : bool
        Use forward-mode derivatives; False replaces each by two reverse passes.
    """

    def __init__(self, function, z, v, *, forward_mode=True):
        self.function, self.z = function, z
        with torch.enable_grad():
            if forward_mode:
                pushed, pull = vjp(lambda z, v: jvp(function, (z,), (v,))[1], z, v)
            else:
                pushed, pull = vjp(lambda z, v: _double_pull(function, z, v), z, v)
        self.pushed, self._pull = pushed.detach(), pull

    @property
    def nbytes(self):
        """Memory; see `Linearization.nbytes`. What graphs hold can only be guessed."""
        return _GRAPH_BYTES * self.pushed.numel() * self.pushed.element_size()

    def pull(self, covector):
        """Apply the transpose; see `Linearization.pull`."""
        return tuple(part.detach() for part in self._pull(covector))

    def quadratic(self, weight, covector=None):
        """Prepare products; see `Linearization.quadratic`."""
        hessian = None if covector is None else self._hessian(covector)
        # The pullback is linear in its covector: its own pullback is the pushforward.
        with torch.enable_grad():
            _, push = vjp(self._pull, torch.zeros_like(self.pushed))

        def product(dz, dv):
            (change,) = push((dz, dv))
            gz, gv = self.pull(weight[:, None] * change.detach())
            return (gz if hessian is None else gz + hessian(dz)[0].detach()), gv

        return product

    def _hessian(self, covector):
        with torch.enable_grad():
            return vjp(grad(lambda y: (self.function(y) * covector).sum()), self.z)[1]


def _double_pull(function, z, v):
    value, pull = vjp(function, z)
    return vjp(lambda q: pull(q)[0], torch.zeros_like(value))[1](v)[0]
