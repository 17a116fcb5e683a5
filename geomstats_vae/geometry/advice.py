"""What a diagnosis says in words: advice, a paragraph for each fault."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

# Neighbours as in the graph of the global starts.
N_NEIGHBORS = 12
# With larger condition numbers a linear system in M loses half of the digits.
_ILL_CONDITIONED = np.finfo(float).eps ** -0.5
# Share of the codes from which on a fault is worth a word.
_FEW = 0.01
# Distances depend on a or K if they change by more than this, or order pairs less alike.
_RELATIVE_CHANGE, _RANK_CORRELATION = 0.5, 0.9


def advice(found: Any) -> Iterator[str]:
    """Say what to do about the faults of a latent space.

    Parameters
    ----------
    found : Diagnosis
        What was measured.

    Yields
    ------
    paragraph : str
        One for each fault.
    """
    for words in (_on_dimensions, _on_metric, _on_codes, _on_distances):
        yield from words(found)


def numbers(values: Iterable[float]) -> str:
    """List numbers with three digits."""
    return ", ".join(f"{value:.3g}" for value in values)


def names(dimensions: Iterable[int]) -> str:
    """Name dimensions as on the axes of pictures, the first is z_1."""
    return ", ".join(f"z_{k + 1}" for k in dimensions)


def percent(*shares: float) -> str:
    """List shares in percent."""
    return ", ".join(f"{100.0 * share:.3g} %" for share in shares)


def _on_dimensions(found: Any) -> Iterator[str]:
    if found.collapsed_dims:
        yield (
            f"Collapsed: {names(found.collapsed_dims)}. Over the spread of the codes they move "
            "the mean by at most 5 % of what others do, or of the noise. Train with a smaller "
            "latent_dim, longer, or with less weight on the KL divergence."
        )
    saturated = [k for k, share in enumerate(found.saturated_share) if share > _FEW]
    if saturated:
        shares = percent(*(found.saturated_share[k] for k in saturated))
        yield (
            f"At {shares} of the codes the mean no longer reacts to {names(saturated)}: an "
            "activation is saturated and distances there come from the rounding or sigma alone. "
            "Scale the data, train with more weight_decay, or let the last layer be the identity."
        )


def _on_metric(found: Any) -> Iterator[str]:
    if found.singular_share > 0.0:
        yield (
            f"The metric is singular at {percent(found.singular_share)} of the codes, where "
            "logarithms and curvatures are NaN. Look for collapsed or saturated dimensions, for a "
            "decoder with fewer outputs than dimensions, and for one that is not finite."
        )
    elif found.condition_p90 > _ILL_CONDITIONED:
        yield (
            f"The metric's condition number is {found.condition_p90:.1g} at the 90th percentile: "
            "what needs its inverse has lost half of its digits. Walls of sigma do this: raise a "
            "or zeta."
        )


def _on_codes(found: Any) -> Iterator[str]:
    if found.walled_share is not None and found.walled_share > _FEW:
        yield (
            f"{percent(found.walled_share)} of the codes lie behind walls, where sigma is more "
            "than doubled on every path to the others: their distances measure the walls. Raise a "
            "(wider kernels), take fewer centers, or raise zeta, which bounds sigma by "
            "zeta^(-1/2); if the data do fall apart, compare distances within a group only."
        )
    if found.torn_share:
        yield (
            f"The codes tear {percent(found.torn_share)} of the nearest neighbors in the data "
            "apart: geodesics between them take ways around. Train again with another seed, with "
            "VAE's warmup='layout', longer, or with a larger latent_dim."
        )
    if found.n_components > 1:
        yield (
            f"The graph of {N_NEIGHBORS} nearest codes falls into {found.n_components} parts. In "
            "more than three dimensions global starts follow this graph, joined by its shortest "
            "links: paths between the parts are guesses. Pass more codes, or look at each part."
        )


def _on_distances(found: Any) -> Iterator[str]:
    worst = [
        item
        for item in found.sensitivity or ()
        if item.relative_change > _RELATIVE_CHANGE or not item.rank_correlation >= _RANK_CORRELATION
    ]
    if worst:
        yield (
            "Distances depend on how the precision was fitted "
            f"({', '.join(item.change for item in worst)}): they say as much of the network as of "
            "the data. Choose a and K by the held-out "
            "likelihood, or widen the kernels until distances change no more."
        )
