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
    n_nodes : int
        Number of nodes of all chains.
    """

    def __init__(self, counts: Ints, degree: int, device: torch.device) -> None:
        self.counts, self.degree, self.device = counts, degree, device
        self.starts = np.concatenate(([0], np.cumsum(counts * degree + 1)))
        self.n_nodes = int(self.starts[-1])
        owner = np.repeat(np.arange(len(counts)), counts)
        places = (np.arange(len(owner)) * degree + owner)[:, None] + np.arange(degree + 1)
        # Where each node stands among the elements' nodes; first, where two elements meet.
        meeting = np.flatnonzero(np.diff(owner) == 0)
        source = np.ones(places.shape, dtype=bool)
        source[meeting, -1] = False
        self._places = self._index(places.ravel())
        self._sources = self._index(np.flatnonzero(source.ravel()))
        self._meeting, self._meeting_nodes = self._index(meeting), self._index(places[meeting, -1])
        self._ends = self._index(np.concatenate((self.starts[:-1], self.starts[1:] - 1)))
        self._owner = self._index(np.repeat(np.arange(len(counts)), np.diff(self.starts)))

    def _index(self, array: Ints) -> Tensor:
        return torch.as_tensor(array, device=self.device)

    def __len__(self) -> int:
        return len(self.counts)

    def at_elements(self, values: Tensor) -> Tensor:
        """Values at the elements' nodes, [n_nodes, ...] to [n_elements, degree + 1, ...]."""
        return values.index_select(0, self._places).unflatten(0, (-1, self.degree + 1))

    def join(self, local: Tensor) -> Tensor:
        """Values at the nodes from those at the elements' nodes, which agree where two meet."""
        return local.flatten(0, 1).index_select(0, self._sources)

    def gather(self, local: Tensor) -> Tensor:
        """Sum what elements contribute to the nodes; shapes as in `join`."""
        ends = local[:, -1].index_select(0, self._meeting)
        return self.join(local).index_add_(0, self._meeting_nodes, ends)

    def fix_ends(self, values: Tensor) -> Tensor:
        """Set the values at both ends of each chain to zero, in place."""
        return values.index_fill_(0, self._ends, 0.0)

    def dots(self, a: Tensor, b: Tensor) -> Floats:
        """Inner products of values of each chain, shape=[n_chains]."""
        # In doubles: the rounding of float32 would end the descent early.
        products = (a.double() * b.double()).sum(dim=1).cpu().numpy()
        return np.add.reduceat(products, self.starts[:-1])

    def spread(self, per_chain: Floats, like: Tensor) -> Tensor | float:
        """One number per chain, to multiply its nodes by."""
        if len(self) == 1:
            return float(per_chain[0])
        numbers = torch.as_tensor(per_chain, dtype=like.dtype, device=self.device)
        return numbers.index_select(0, self._owner)[:, None]

    def chosen(self, chains: np.ndarray) -> Tensor:
        """Whether nodes are those of chosen chains, a mask or indices; shape=[n_nodes] of bool."""
        mask = np.zeros(len(self), dtype=bool)
        mask[chains] = True
        return self._index(mask).index_select(0, self._owner)

    def only(self, chains: np.ndarray, values: Tensor) -> Tensor:
        """Values of chosen chains, a mask or indices, and zero at those of others."""
        mask = np.zeros(len(self), dtype=bool)
        mask[chains] = True
        return values if mask.all() else torch.where(self.chosen(mask)[:, None], values, 0.0)

    def take(self, chains: Ints) -> Chains:
        """Where the nodes of some chains lie, in increasing order."""
        return Chains(self.counts[chains], self.degree, self.device)
