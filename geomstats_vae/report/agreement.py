"""What distances say: how far geodesic and other distances agree, and which clusters they show."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata
from sklearn.cluster import AgglomerativeClustering
from sklearn.metrics import adjusted_rand_score, pairwise_distances, silhouette_score

from geomstats_vae.manifolds import LatentSpace
from geomstats_vae.report.analysis import Floats

# Nearest codes that are looked at.
_N_NEIGHBORS = 5
# Clusters that are tried where there are no classes, and the fewest codes that show clusters.
_MOST_CLUSTERS, _FEWEST_CODES = 8, 10


@dataclass(frozen=True)
class Clusters:
    """Clusters of the codes.

    Attributes
    ----------
    labels : numpy.ndarray of int, shape=[n_samples]
        Cluster of each sample, that of the nearest medoid, from 1 on.
    distances : numpy.ndarray, shape=[n_samples]
        Length of the path on the graph of global starts to that medoid.
    medoids : numpy.ndarray of int, shape=[n_clusters]
        Samples that are the middles of the clusters.
    silhouette : float
        Mean silhouette of the codes in the matrix of distances, from -1 to 1.
    """

    labels: NDArray[np.int64]
    distances: Floats
    medoids: NDArray[np.int64]
    silhouette: float

    def agreement(self, classes: np.ndarray) -> float:
        """Compare clusters with classes.

        Parameters
        ----------
        classes : numpy.ndarray, shape=[n_samples]
            Class of each sample.

        Returns
        -------
        index : float
            Adjusted Rand index: 1 if they are the same, about 0 if they have nothing in common.
        """
        return float(adjusted_rand_score(classes, self.labels))


def rank_correlation(a: Floats, b: Floats) -> float:
    """Correlate the ranks of the distances in two matrices.

    Parameters
    ----------
    a, b : numpy.ndarray, shape=[n_points, n_points]
        Distances between the same points.

    Returns
    -------
    correlation : float
        Spearman's correlation over the pairs of points.
    """
    pairs = np.triu_indices(len(a), 1)
    return float(np.corrcoef(rankdata(a[pairs]), rankdata(b[pairs]))[0, 1])


def count_neighbors(classes: np.ndarray | None, n_points: int) -> int:
    """Choose how many nearest points to look at.

    Parameters
    ----------
    classes : numpy.ndarray, shape=[n_points], optional
        Class of each point.
    n_points : int
        Number of points.

    Returns
    -------
    n_neighbors : int
        Five, or fewer, so that a point of any class with company can have as many neighbors in it.
    """
    most = n_points - 1
    if classes is not None:
        sizes = np.unique(classes, return_counts=True)[1]
        most = int(min(sizes[sizes > 1], default=1)) - 1
    return min(_N_NEIGHBORS, most)


def purity(distances: Floats, classes: np.ndarray, n_neighbors: int) -> float:
    """Measure how often the nearest points are of the same class.

    Parameters
    ----------
    distances : numpy.ndarray, shape=[n_points, n_points]
        Distances.
    classes : numpy.ndarray, shape=[n_points]
        Class of each point.
    n_neighbors : int
        Number of nearest points.

    Returns
    -------
    share : float
        Share of the nearest points that are of the same class.
    """
    return float((classes[_nearest(distances, n_neighbors)] == classes[:, None]).mean())


def shared_neighbors(a: Floats, b: Floats, n_neighbors: int) -> float:
    """Measure how often two distances agree on which points are nearest.

    Parameters
    ----------
    a, b : numpy.ndarray, shape=[n_points, n_points]
        Distances between the same points.
    n_neighbors : int
        Number of nearest points.

    Returns
    -------
    share : float
        Share of the nearest points by the one that are among the nearest by the other.
    """
    rows = zip(_nearest(a, n_neighbors), _nearest(b, n_neighbors), strict=True)
    return float(np.mean([np.isin(one, other).mean() for one, other in rows]))


def _nearest(distances: Floats, n_neighbors: int) -> NDArray[np.int64]:
    to_others = distances.astype(float)
    np.fill_diagonal(to_others, np.inf)
    return np.argsort(to_others, axis=1, kind="stable")[:, :n_neighbors]


def compare(
    distances: Floats,
    codes: Floats,
    X: Floats,
    labels: np.ndarray | None,
    index: NDArray[np.int64],
) -> dict[str, Any]:
    """Compare distances by geodesics with those between codes, and in the data.

    Parameters
    ----------
    distances : numpy.ndarray, shape=[n_points, n_points]
        Geodesic distances.
    codes : numpy.ndarray, shape=[n_samples, dim]
        Codes of all samples.
    X : numpy.ndarray, shape=[n_samples, n_features]
        Samples.
    labels : numpy.ndarray, shape=[n_samples], optional
        Class of each sample.
    index : numpy.ndarray, shape=[n_points]
        Samples whose distances are known.

    Returns
    -------
    found : dict
        Number of neighbors that were looked at, rank correlations, and shares of the nearest points
        that are the nearest ones in the data, or of the same class. None where there is none.
    """
    matrices = {
        "geodesic": distances,
        "latent": pairwise_distances(codes[index]),
        "data": pairwise_distances(X[index]),
    }
    classes = None if labels is None else labels[index]
    near, others = count_neighbors(classes, len(index)), ("latent", "data")
    found: dict[str, Any] = {"neighbors": near, "purity": None, "shared_neighbors": None}
    ranked = len(index) > 2
    found["rank_correlation"] = (
        {name: rank_correlation(distances, matrices[name]) for name in others} if ranked else None
    )
    if near > 0:
        found["shared_neighbors"] = {
            name: shared_neighbors(matrices["data"], matrices[name], near)
            for name in ("geodesic", "latent")
        }
    if near > 0 and classes is not None:
        found["purity"] = {name: purity(matrix, classes, near) for name, matrix in matrices.items()}
    return found


def find_clusters(
    space: LatentSpace,
    codes: Floats,
    index: NDArray[np.int64],
    distances: Floats,
    n_clusters: int | None = None,
) -> Clusters | None:
    """Group codes by their geodesic distances, and all others by the nearest middle of a group.

    Parameters
    ----------
    space : LatentSpace
        The latent space.
    codes : numpy.ndarray, shape=[n_samples, dim]
        Codes of all samples.
    index : numpy.ndarray, shape=[n_points]
        Samples whose distances are known.
    distances : numpy.ndarray, shape=[n_points, n_points]
        Geodesic distances between these.
    n_clusters : int, optional
        Number of clusters. By default the number from two to eight with the largest silhouette.

    Returns
    -------
    clusters : Clusters or None
        None of too few distances, or if some are not finite.
    """
    n_points = len(distances)
    known = np.isfinite(distances).all() and len(np.unique(codes[index], axis=0)) == n_points
    if not known or n_points < max(_FEWEST_CODES, 1 + (n_clusters or 0)):
        return None
    numbers = range(2, _MOST_CLUSTERS + 1) if n_clusters is None else [max(2, n_clusters)]
    tried = [_linked(distances, number) for number in numbers]
    scores = [silhouette_score(distances, groups, metric="precomputed") for groups in tried]
    best = int(np.argmax(scores))
    groups = tried[best]
    medoids = np.array([_medoid(distances, groups == k) for k in np.unique(groups)])
    middles = codes[index[medoids]]
    rows, columns = np.indices((len(codes), len(middles))).reshape(2, -1)
    lengths = space.metric.geometry.graph_lengths(codes[rows], middles[columns])
    lengths = lengths.reshape(len(codes), len(middles))
    return Clusters(
        labels=lengths.argmin(axis=1) + 1,
        distances=lengths.min(axis=1),
        medoids=index[medoids],
        silhouette=float(scores[best]),
    )


def _linked(distances: Floats, n_clusters: int) -> NDArray[np.int64]:
    linkage = AgglomerativeClustering(n_clusters, metric="precomputed", linkage="average")
    return np.asarray(linkage.fit_predict(distances))


def _medoid(distances: Floats, members: NDArray[np.bool_]) -> int:
    inside = np.flatnonzero(members)
    return int(inside[distances[np.ix_(inside, inside)].sum(axis=1).argmin()])
