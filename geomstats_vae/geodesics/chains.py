"""Values at the nodes of one chain of elements, and at each element's own nodes."""

from __future__ import annotations

import torch


def element_view(values, degree):
    """View a chain's values at its elements.

    Parameters
    ----------
    values : torch.Tensor, shape=[n_elements * degree + 1, ...]
        Values at the chain's nodes.
    degree : int
        Polynomial degree.

    Returns
    -------
    local : torch.Tensor, shape=[n_elements, degree + 1, ...]
        The same memory; neighbours share their end nodes.
    """
    values = values.contiguous()
    stride = values.stride()
    shape = ((len(values) - 1) // degree, degree + 1, *values.shape[1:])
    return values.as_strided(shape, (degree * stride[0], *stride))


def join_nodes(local):
    """Values at a chain's nodes from those at its elements, which agree where two meet.

    Parameters
    ----------
    local : torch.Tensor, shape=[n_elements, degree + 1, ...]
        Values at the elements' nodes.

    Returns
    -------
    values : torch.Tensor, shape=[n_elements * degree + 1, ...]
        Values at the chain's nodes.
    """
    return torch.cat((local[:, :-1].flatten(0, 1), local[-1:, -1]))


def gather_nodes(local):
    """Sum what elements contribute to a chain's nodes; shapes as in `join_nodes`."""
    total, degree = join_nodes(local), local.shape[1] - 1
    total[degree:-1:degree] += local[:-1, -1]
    return total


def fix_ends(values):
    """Set the values at both ends of a chain to zero, in place."""
    values[0] = values[-1] = 0.0
    return values
