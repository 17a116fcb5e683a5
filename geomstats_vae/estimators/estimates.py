"""What a decoder's metric tells about distances without a geodesic.

Each is one evaluation of F: z -> (mu(z), sigma(z)), or one search of a graph, for a whole batch.
"""

from __future__ import annotations

import math

import numpy as np
import torch

from geomstats_vae.geometry.pairs import graph_lengths
from geomstats_vae.manifolds.rows import decoder_metric

_ROWS_PER_BLOCK = 1024


def images(metric, X):
    """Images F(X) in data space, in blocks.

    Parameters
    ----------
    metric : PullbackDecoderMetric or ScaledDecoderMetric
        Metric of the latent space.
    X : numpy.ndarray, shape=[n_samples, dim]
        Latent codes.

    Yields
    ------
    rows : slice
        Rows of a block.
    image : torch.Tensor, shape=[n_block, n_outputs]
        Their images, in the units of the metric.
    """
    metric, factor = decoder_metric(metric)
    immersion = metric.decoder.immersion()
    for begin in range(0, len(X), _ROWS_PER_BLOCK):
        rows = slice(begin, begin + _ROWS_PER_BLOCK)
        z = torch.tensor(X[rows], dtype=immersion.dtype, device=immersion.device)
        with torch.no_grad():
            yield rows, factor * immersion(z)


def distinct_rows(metric, X):
    """Distinct rows in an order that is theirs, whatever that in X.

    Parameters
    ----------
    metric : geomstats.geometry.riemannian_metric.RiemannianMetric
        Metric of a space.
    X : numpy.ndarray, shape=[n_samples, n_features]
        Points.

    Returns
    -------
    rows : numpy.ndarray, shape=[n_rows, n_features]
        The distinct ones: on a decoder's metric along some direction in data space, so that no
        change of latent coordinates changes the order; otherwise in lexicographic order.
    place : numpy.ndarray of int, shape=[n_samples]
        Where each row of X is in them.
    """
    rows, place = np.unique(X, axis=0, return_inverse=True)
    place = place.ravel()
    if decoder_metric(metric)[0] is None:
        return rows, place
    image = torch.cat([image for _, image in images(metric, rows)]).cpu().numpy()
    # A direction that the symmetries of a decoder are unlikely to know.
    order = np.argsort(image @ np.cos(np.arange(image.shape[1])), kind="stable")
    return rows[order], np.argsort(order)[place]


def chords(metric, X, centers):
    """Distances in data space, which bound geodesic distances from below.

    Parameters
    ----------
    metric : PullbackDecoderMetric or ScaledDecoderMetric
        Metric of the latent space.
    X : numpy.ndarray, shape=[n_samples, dim]
        Latent codes.
    centers : numpy.ndarray, shape=[n_centers, dim]
        Latent codes.

    Returns
    -------
    chord : numpy.ndarray, shape=[n_samples, n_centers]
        Distances between the images; zero where the decoder is not finite.
    """
    ends = torch.cat([image for _, image in images(metric, centers)])
    chord = np.empty((len(X), len(centers)))
    for rows, image in images(metric, X):
        chord[rows] = torch.cdist(image, ends).cpu().numpy()
    return np.where(np.isfinite(chord), chord, 0.0)


def graph_distances(metric, X, centers):
    """Distances on the graph of the metric's global starts.

    Parameters
    ----------
    metric : PullbackDecoderMetric or ScaledDecoderMetric
        Metric of the latent space.
    X : numpy.ndarray, shape=[n_samples, dim]
        Latent codes.
    centers : numpy.ndarray, shape=[n_centers, dim]
        Latent codes.

    Returns
    -------
    distance : numpy.ndarray, shape=[n_samples, n_centers], or None
        Several percent from geodesic distances, see `PullbackDecoderMetric.dist_pairwise`;
        infinite where there is no way. None if the metric has no points, and so no graph.
    """
    landscape = start_landscape(metric)
    if landscape is None:
        return None
    start = torch.tensor(np.tile(centers, (len(X), 1)))
    end = torch.tensor(np.repeat(X, len(centers), axis=0))
    _, factor = decoder_metric(metric)
    return factor * graph_lengths(landscape, start, end).reshape(len(X), len(centers))


def start_landscape(metric):
    """Graph of the metric's global starts.

    Parameters
    ----------
    metric : geomstats.geometry.riemannian_metric.RiemannianMetric
        Metric of a space.

    Returns
    -------
    graph : LatentGraph or None
        None of a metric in closed form, and of a decoder's metric without points.
    """
    metric, _ = decoder_metric(metric)
    if metric is None:
        return None
    with torch.no_grad():
        return metric._start_landscape()


def image_variance(metric, X, weights):
    """Variance of the images, a scale of the squared distances between the points.

    Parameters
    ----------
    metric : PullbackDecoderMetric or ScaledDecoderMetric
        Metric of the latent space.
    X : numpy.ndarray, shape=[n_samples, dim]
        Latent codes.
    weights : numpy.ndarray, shape=[n_samples]
        Their weights.

    Returns
    -------
    variance : float
        Weighted mean of the squared distances of the images from their mean, at most the Frechet
        variance of the points; of those where the decoder is finite.
    """
    count, mean, squares = 0.0, 0.0, 0.0
    for rows, image in images(metric, X):
        finite = image.isfinite().all(dim=1)
        image = torch.where(finite[:, None], image, 0.0)
        weight = finite * torch.tensor(weights[rows], dtype=image.dtype, device=image.device)
        total = weight.sum()
        here = (weight @ image) / total
        squares = squares + (weight * (image - here).square().sum(1)).sum()
        # Two sets' squares about their common mean (Chan, Golub, LeVeque, 1983, equation 1.5b).
        share = total / (count + total)
        squares = squares + count * share * (here - mean).square().sum()
        mean, count = mean + share * (here - mean), count + total
    variance = float(squares / count)
    return variance if math.isfinite(variance) else 0.0
