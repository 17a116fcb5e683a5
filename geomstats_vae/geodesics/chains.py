"""Values at the nodes of a batch of chains, in torch, and at each element's own nodes."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from geomstats_vae.geodesics.arrays import Floats, Ints


class Chains:
    """Where the nodes of chains of elements lie, one chain after the other.

    Parameters
    ----------
    counts : array of int, shape=[n_chains]
        Number of elements of each chain, at least one.
    degree : int
        Polynomial degree. Neighbouring elements share a node.
    device : torch.device
        Where values live.

    Attributes
    ----------
    starts : array of int, shape=[n_chains + 1]
        First node of each chain, and the end.
    """

    def __init__(self, counts: Ints, degree: int, device: torch.device) -> None:
        self.counts, self.degree, self.device = counts, degree, device
        self.starts = np.concatenate(([0], np.cumsum(counts * degree + 1)))
        owner = np.repeat(np.arange(len(counts)), counts)
        first = np.arange(len(owner)) * degree + owner
        self._places = torch.as_tensor(first[:, None] + np.arange(degree + 1), device=device)
        ends = np.concatenate((self.starts[:-1], self.starts[1:] - 1))
        self._ends = torch.as_tensor(ends, device=device)
        owner = np.repeat(np.arange(len(counts)), np.diff(self.starts))
        self._owner = torch.as_tensor(owner, device=device)

    def __len__(self) -> int:
        return len(self.counts)

    @property
    def n_nodes(self) -> int:
        """Number of nodes of all chains."""
        return int(self.starts[-1])

    def at_elements(self, values: Tensor) -> Tensor:
        """Values at the elements' nodes, [n_nodes, ...] to [n_elements, degree + 1, ...]."""
        return values[self._places]

    def join(self, local: Tensor) -> Tensor:
        """Values at the nodes from those at the elements' nodes, which agree where two meet."""
        values = local.new_empty((self.n_nodes, *local.shape[2:]))
        values[self._places] = local
        return values

    def gather(self, local: Tensor) -> Tensor:
        """Sum what elements contribute to the nodes; shapes as in `join`."""
        total = local.new_zeros((self.n_nodes, *local.shape[2:]))
        total[self._places[:, :-1]] = local[:, :-1]
        total[self._places[:, -1]] += local[:, -1]
        return total

    def fix_ends(self, values: Tensor) -> Tensor:
        """Set the values at both ends of each chain to zero, in place."""
        values[self._ends] = 0.0
        return values

    def dots(self, a: Tensor, b: Tensor) -> Floats:
        """Inner products of values of each chain, shape=[n_chains]."""
        # In doubles: the rounding of float32 would end the descent early.
        products = (a.double() * b.double()).sum(dim=1).cpu().numpy()
        return np.add.reduceat(products, self.starts[:-1])

    def spread(self, per_chain: Floats, like: Tensor) -> Tensor:
        """One number per chain, at each of its nodes; shape=[n_nodes, 1]."""
        return torch.as_tensor(per_chain, dtype=like.dtype, device=self.device)[self._owner, None]

    def chosen(self, chains: np.ndarray) -> Tensor:
        """Whether nodes are those of chosen chains, a mask or indices; shape=[n_nodes] of bool."""
        mask = np.zeros(len(self), dtype=bool)
        mask[chains] = True
        return torch.as_tensor(mask, device=self.device)[self._owner]

    def take(self, chains: Ints) -> Chains:
        """Where the nodes of some chains lie, in increasing order."""
        return Chains(self.counts[chains], self.degree, self.device)
