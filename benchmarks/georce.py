"""GEORCE, a solver of geodesics as a discrete control problem ([1]_, Algorithm 1), from the paper.

It minimizes E = sum_t u_t' M(x_t) u_t over nodes x_{t+1} = x_t + u_t with both ends fixed. Metric
and gradient of the last iterate are frozen, which leaves a linear system of the latent dimension
for a multiplier; a line search between old and new controls decreases E.

References
----------
.. [1] Rygaard, Hauberg. "GEORCE: A Fast New Control Algorithm for Computing Geodesics." 2025.
   arXiv:2505.05961.
"""

from dataclasses import dataclass

import numpy as np
import torch

from geomstats_vae.geodesics.elements import cache_sized_chunk
from geomstats_vae.immersions.immersion import gram

_SUFFICIENT = 1e-4
_MAX_HALVINGS = 30


@dataclass(frozen=True)
class Georce:
    """Solver of geodesics between pairs of points, for a batch at once.

    Parameters
    ----------
    n_steps : int
        Controls of a curve, T in the paper.
    tol : float
        Stop a curve when the norm of the gradient of its energy is at most this.
    max_iter : int
        Iterations of a curve.
    """

    n_steps: int = 100
    tol: float = 1e-4
    max_iter: int = 1000

    def solve(self, immersion, start, end):
        """Shorten straight lines.

        Parameters
        ----------
        immersion : Immersion
            The decoder's F.
        start, end : array, shape=[n_pairs, dim]
            End points.

        Returns
        -------
        nodes : array, shape=[n_pairs, n_steps + 1, dim]
            Nodes of the curves, ends included.
        """
        chunk_size = cache_sized_chunk(immersion)
        a, b = torch.as_tensor(start)[:, None], torch.as_tensor(end)[:, None]
        times = torch.linspace(0.0, 1.0, self.n_steps + 1, dtype=a.dtype)[:, None]
        nodes = (1.0 - times) * a + times * b
        open_ = torch.arange(len(nodes))
        for _ in range(self.max_iter):
            x = nodes[open_]
            u = x[:, 1:] - x[:, :-1]
            metric, slope, energy = _frozen_terms(immersion, x[:, :-1], u, chunk_size)
            lowered = 2.0 * (metric @ u[..., None])[..., 0]
            gradient = slope[:, 1:] + lowered[:, :-1] - lowered[:, 1:]
            going = gradient.flatten(1).norm(dim=1) > self.tol
            open_, x, u, energy = open_[going], x[going], u[going], energy[going]
            if not len(open_):
                break
            change = (_controls(metric[going], slope[going], u.sum(dim=1)) - u).cumsum(dim=1)
            ends = torch.zeros_like(x[:, :1])
            step = torch.cat((ends, change[:, :-1], ends), dim=1)
            descent = (gradient[going] * change[:, :-1]).sum(dim=(1, 2))
            size = _backtrack(immersion, x, step, energy, descent, chunk_size)
            nodes[open_] = x + size[:, None, None] * step
            open_ = open_[size > 0.0]
        return nodes.numpy()


def _frozen_terms(immersion, x, u, chunk_size):
    """Metrics, gradients of u' M(x) u with respect to x, and energies of the curves."""
    parts = []
    for z, v in zip(*(a.flatten(0, 1).split(chunk_size) for a in (x, u)), strict=True):
        jet = immersion.jet(z)
        pushed = (v[:, None] @ jet.tangents)[:, 0]
        slope = 2.0 * (jet.hessian(pushed) @ v[..., None])[..., 0]
        parts.append((gram(jet.tangents), slope, pushed.square().sum(dim=1)))
    metric, slope, energy = (torch.cat(part) for part in zip(*parts, strict=True))
    dim = x.shape[2]
    return metric.view(*x.shape, dim), slope.view_as(x), energy.view(x.shape[:2]).sum(dim=1)


def _controls(metric, slope, whole):
    """Solve for the controls that are optimal for frozen terms and add up to the whole."""
    later = slope.flip(1).cumsum(dim=1).flip(1) - slope  # sums over the nodes after each
    inverse = torch.linalg.inv(metric)
    free = (inverse @ later[..., None])[..., 0]
    multiplier = torch.linalg.solve(inverse.sum(dim=1), -2.0 * whole - free.sum(dim=1))
    return -0.5 * (free + (inverse @ multiplier[:, None, :, None])[..., 0])


def _backtrack(immersion, x, step, energy, descent, chunk_size):
    """Halve the step of each curve until its energy decreases; 0 where it never does."""
    size = torch.ones_like(energy)
    open_ = torch.arange(len(x))
    for _ in range(_MAX_HALVINGS):
        trial = x[open_] + size[open_, None, None] * step[open_]
        value = _energy(immersion, trial, chunk_size)
        enough = energy[open_] + _SUFFICIENT * size[open_] * descent[open_]
        open_ = open_[~(value <= enough)]
        if not len(open_):
            return size
        size[open_] *= 0.5
    size[open_] = 0.0
    return size


def _energy(immersion, x, chunk_size):
    u = (x[:, 1:] - x[:, :-1]).flatten(0, 1)
    pairs = zip(x[:, :-1].flatten(0, 1).split(chunk_size), u.split(chunk_size), strict=True)
    pushed = torch.cat([immersion.push(z, v).square().sum(dim=1) for z, v in pairs])
    return pushed.view(len(x), -1).sum(dim=1)


def piecewise_linear(nodes):
    """Curves through nodes at equal times.

    Parameters
    ----------
    nodes : array, shape=[n_curves, n_nodes, dim]
        Nodes.

    Returns
    -------
    curves : list of callable
        Each maps times in [0, 1] to points, shape=[n_times, dim].
    """
    times = np.linspace(0.0, 1.0, nodes.shape[1])

    def curve(points):
        return lambda t: np.stack([np.interp(t, times, column) for column in points.T], axis=1)

    return [curve(points) for points in nodes]
