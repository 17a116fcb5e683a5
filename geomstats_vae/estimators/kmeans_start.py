"""Where k-means starts: draws over the data, on the graph where there is one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from geomstats_vae.estimators.seeding import (
    GraphKMeans,
    distances_to,
    draw_distinct,
    gather,
    kmeans_plus_plus,
)
from geomstats_vae.geometry.protocol import Floats, Geometry, Ints

# Starts for n_init='auto': one of k-means++ in closed form, ten where draws are poor, or cost
# nothing because they are made on the graph.
_MANY_STARTS = 10
# Cells of points, and of each cluster, from which the graph is searched.
_GRAPH_CELLS, _CELLS_PER_CLUSTER = 128, 8


def asked_centers(
    init: Callable[..., Any],
    X: Floats,
    n_clusters: int,
    n_init: str | int,
    random_state: np.random.RandomState,
) -> Iterator[Any]:
    """Ask a function of the user's for centers, once for each start.

    Parameters
    ----------
    init : callable
        Takes X, n_clusters and random_state.
    X : numpy.ndarray, shape=[n_samples, n_features]
        Points.
    n_clusters : int
        Number of centers.
    n_init : 'auto' or int
        Number of starts.
    random_state : numpy.random.RandomState
        Source of the draws.

    Yields
    ------
    centers : array-like
        What it returns.
    """
    for _ in range(_n_starts(n_init, _MANY_STARTS)):
        yield init(X, n_clusters, random_state=random_state)


def drawn_centers(
    geometry: Geometry,
    rows: Floats,
    mass: Floats,
    n_clusters: int,
    *,
    init: str,
    n_init: str | int,
    max_iter: int,
    random_state: np.random.RandomState,
) -> Iterator[Floats]:
    """Draw centers; on a graph several times, followed by descents of which the best is kept.

    Parameters
    ----------
    geometry : Geometry
        Measures distances.
    rows : numpy.ndarray, shape=[n_rows, n_features]
        Points.
    mass : numpy.ndarray, shape=[n_rows]
        Positive weights.
    n_clusters : int
        Number of centers.
    init : {'k-means++', 'random'}
        How they are drawn.
    n_init : 'auto' or int
        Number of starts.
    max_iter : int
        Largest number of iterations of a descent.
    random_state : numpy.random.RandomState
        Source of the draws.

    Yields
    ------
    centers : numpy.ndarray, shape=[n_clusters, n_features]
        Initial centers of one start.
    """

    def draw(distances: Callable[[Ints], Floats]) -> Ints:
        if init == "random":
            return draw_distinct(mass, random_state, n_clusters)
        return kmeans_plus_plus(distances, mass, n_clusters, random_state)

    graph = geometry.build_graph()
    if graph is None:
        measure = partial(distances_to, geometry, rows)
        for _ in range(_n_starts(n_init, 1 if init == "k-means++" else _MANY_STARTS)):
            yield rows[draw(measure)]
        return
    n_cells = max(_GRAPH_CELLS, _CELLS_PER_CLUSTER * n_clusters)
    kmeans = GraphKMeans(graph, rows, gather(rows, mass, n_cells))
    draws = [draw(kmeans.rows) for _ in range(_n_starts(n_init, _MANY_STARTS))]
    descents = [kmeans.descend(drawn, max_iter) for drawn in draws]
    yield min(descents, key=lambda descent: descent[1])[0]


def _n_starts(n_init: str | int, auto: int) -> int:
    return auto if isinstance(n_init, str) else n_init
