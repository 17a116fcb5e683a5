"""What is known of a decoder's distances without a geodesic.

Each is one evaluation of F: z -> (mu(z), sigma(z)), or one search of a graph, for a whole batch.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

from geomstats_vae.geodesics import LatentGraph
from geomstats_vae.geodesics.table import MetricTable
from geomstats_vae.geodesics.table.measure import line_lengths
from geomstats_vae.geometry.protocol import Floats, Ints
from geomstats_vae.immersions import Immersion

_ROWS_PER_BLOCK = 1024
# A straight line is measured by more chords as long as it may be the shorter curve, and four times
# as many have changed its length by more than a share. A fifteenth of that is missing then.
_LINE_CHORDS, _CHANGE = (8, 32, 128), 1e-2

# What a search of the graph sets up serves all pairs of a block, and takes little memory of each.
PAIRS_PER_SEARCH = 2**15


class DecoderBounds:
    """Bounds and estimates of a decoder's distances.

    Parameters
    ----------
    immersion : Immersion
        The immersion whose pullback is the metric.
    search : callable
        Takes end points, shape=[n_pairs, dim] each, and returns lengths of graph paths; raises
        ValueError if there is no graph.
    """

    def __init__(self, immersion: Immersion, search: Callable[[Floats, Floats], Floats]) -> None:
        self._immersion, self._search = immersion, search

    def embeddings(self, points: Floats) -> Iterator[tuple[slice, torch.Tensor]]:
        """Points F(z) of data space, in blocks.

        Parameters
        ----------
        points : numpy.ndarray, shape=[n_points, dim]
            Latent codes.

        Yields
        ------
        rows : slice
            Rows of a block.
        embedding : torch.Tensor, shape=[n_block, n_outputs]
            Their embeddings, in the units of the metric.
        """
        immersion = self._immersion
        for begin in range(0, len(points), _ROWS_PER_BLOCK):
            rows = slice(begin, begin + _ROWS_PER_BLOCK)
            z = torch.tensor(points[rows], dtype=immersion.dtype, device=immersion.device)
            with torch.no_grad():
                yield rows, immersion(z)

    def chords(self, points: Floats, centers: Floats) -> Floats:
        """Distances in data space, which no curve undercuts.

        Parameters
        ----------
        points : numpy.ndarray, shape=[n_points, dim]
            Latent codes.
        centers : numpy.ndarray, shape=[n_centers, dim]
            Latent codes.

        Returns
        -------
        chord : numpy.ndarray, shape=[n_points, n_centers]
            Distances between the embeddings; zero where the decoder is not finite.
        """
        ends = torch.cat([embedding for _, embedding in self.embeddings(centers)])
        chord = np.empty((len(points), len(centers)))
        for rows, embedding in self.embeddings(points):
            chord[rows] = torch.cdist(embedding, ends).cpu().numpy()
        return np.where(np.isfinite(chord), chord, 0.0)

    def graph_lengths(self, points: Floats, centers: Floats) -> Floats:
        """Lengths of graph paths from points to centers.

        Parameters
        ----------
        points : numpy.ndarray, shape=[n_points, dim]
            Latent codes.
        centers : numpy.ndarray, shape=[n_centers, dim]
            Latent codes.

        Returns
        -------
        length : numpy.ndarray, shape=[n_points, n_centers]
            Several percent from geodesic distances, see `PullbackDecoderMetric.dist_pairwise`;
            infinite where there is no path.

        Raises
        ------
        ValueError
            If the geometry has no codes, and so no graph.
        """
        start, end = np.tile(centers, (len(points), 1)), np.repeat(points, len(centers), axis=0)
        return self._search(start, end).reshape(len(points), len(centers))

    def order(self, points: Floats) -> Ints:
        """Order of points along some direction in data space.

        Parameters
        ----------
        points : numpy.ndarray, shape=[n_points, dim]
            Latent codes.

        Returns
        -------
        order : numpy.ndarray of int, shape=[n_points]
            No change of latent coordinates changes it.
        """
        embedding = torch.cat([part for _, part in self.embeddings(points)]).cpu().numpy()
        # A direction that the symmetries of a decoder are unlikely to know.
        return np.argsort(embedding @ np.cos(np.arange(embedding.shape[1])), kind="stable")

    def variance(self, points: Floats, weights: Floats) -> float:
        """Variance of the embeddings, a scale of the squared distances between the points.

        Parameters
        ----------
        points : numpy.ndarray, shape=[n_points, dim]
            Latent codes.
        weights : numpy.ndarray, shape=[n_points]
            Their weights.

        Returns
        -------
        variance : float
            Weighted mean of the squared distances of the embeddings from their mean, at most the
            Frechet variance of the points; of those where the decoder is finite.
        """
        count: Any = 0.0
        mean, squares = count, count
        for rows, embedding in self.embeddings(points):
            finite = embedding.isfinite().all(dim=1)
            embedding = torch.where(finite[:, None], embedding, 0.0)
            weight = finite * torch.tensor(weights[rows]).to(embedding)
            total = weight.sum()
            here = (weight @ embedding) / total
            squares = squares + (weight * (embedding - here).square().sum(1)).sum()
            # Two sets' squares about their common mean (Chan, Golub, LeVeque, 1983, eq. 1.5b).
            share = total / (count + total)
            squares = squares + count * share * (here - mean).square().sum()
            mean, count = mean + share * (here - mean), count + total
        variance = float(squares / count)
        return variance if math.isfinite(variance) else 0.0


def graph_lengths(
    graph: LatentGraph | None, table: MetricTable | None, start: Floats, end: Floats
) -> tuple[Floats]:
    """Lengths of graph paths, or of straight lines where these are shorter.

    Parameters
    ----------
    graph : LatentGraph or None
        Graph over the latent space.
    table : MetricTable or None
        Measures the straight lines that it knows.
    start, end : numpy.ndarray, shape=[n_pairs, dim]
        End points.

    Returns
    -------
    length : numpy.ndarray, shape=[n_pairs]
        Lengths; infinite where the decoder is finite along neither.

    Raises
    ------
    ValueError
        If there is no graph.
    """
    if graph is None:
        raise ValueError(
            "Expected latent codes for lengths on the graph, got a metric without points; pass "
            "the codes of the data as points, or method='exact'."
        )
    length = np.zeros(len(start))
    rows = np.flatnonzero((start != end).any(axis=1))
    with torch.no_grad():
        if len(rows):
            length[rows] = graph.distances(start[rows], end[rows])
        if table is not None:
            line = line_lengths(table, start[rows], end[rows])
            known = np.isfinite(line)
            length[rows[known]] = np.minimum(length[rows[known]], line[known])
            rows = rows[~known]
        # Chords undercut the line that they measure: a line no shorter by few chords is longer.
        before = np.zeros(len(rows))
        for n_chords in _LINE_CHORDS:
            if not len(rows):
                break
            line = graph.chord_lengths(start[rows], end[rows], n_chords)
            shorter = line < length[rows]
            done = shorter & ((line - before <= _CHANGE * line) | (n_chords == _LINE_CHORDS[-1]))
            length[rows[done]] = line[done]
            going = shorter & ~done
            rows, before = rows[going], line[going]
    return (length,)
