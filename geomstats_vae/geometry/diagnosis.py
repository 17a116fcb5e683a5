"""Diagnosis of a latent space: whether its geometry matters, its faults, and advice."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree
from sklearn.utils import check_random_state

from geomstats_vae.display import html_table
from geomstats_vae.geodesics.graph.edges import join_components
from geomstats_vae.geometry.advice import N_NEIGHBORS, advice, names, numbers, percent
from geomstats_vae.geometry.comparison import LineComparison, compare_with_lines, verdict
from geomstats_vae.geometry.decoder import DecoderGeometry
from geomstats_vae.geometry.local import CHUNK_SIZE
from geomstats_vae.geometry.protocol import Bools, Floats, Ints
from geomstats_vae.geometry.refits import Sensitivity, measure_sensitivity
from geomstats_vae.geometry.tears import torn_share
from geomstats_vae.immersions import Immersion

__all__ = ["Diagnosis", "LineComparison", "Sensitivity"]

# Codes that are looked at, evenly spaced ones of those given.
_MAX_CODES, _MAX_REFIT_CODES = 2000, 900
# Points on the edge between two neighbours.
_EDGE_POINTS = 7
# A dimension whose response is below this share of the largest one, or of the decoder's noise, has
# less than a four-hundredth of its variance.
_COLLAPSED = 0.05
# An output that reacts by less than this share of its usual slope does not react.
_SATURATED = 1e-3
# Over a wall the standard deviation is more than this many times that at the codes on both sides.
_WALL = 2.0
# With such a condition number a linear system in M loses all digits.
_SINGULAR = 1.0 / np.finfo(float).eps


@dataclass(frozen=True, repr=False)
class Diagnosis:
    """Worth and faults of a latent space, measured at codes; printed, a report with advice.

    Parameters
    ----------
    n_codes : int
        Number of distinct codes that were looked at.
    spread : tuple of float, length dim
        Standard deviation of the codes along each latent dimension.
    response : tuple of float, length dim
        Change of the decoder's mean over that spread: times the root mean square over the codes
        of |dmu / dz_i|, in data units.
    collapsed_dims : tuple of int
        Dimensions whose response is at most 5 % of the largest one, or of the norm of sigma at
        the codes: they carry nothing about the data.
    saturated_share : tuple of float, length dim
        Share of the codes at which the mean no longer reacts to a dimension: |dmu / dz_i| is
        below a thousandth of its root mean square.
    singular_share : float
        Share of the codes at which the metric is singular in floating point, or not finite.
    condition_median, condition_p90, condition_max : float
        Condition number of the metric at the codes: median, 90th percentile, largest.
    walled_share : float or None
        Share of the codes behind walls. The graph of nearest neighbours, its components joined by
        the shortest links, falls apart when the edges over walls are taken out; the codes outside
        the largest part are behind walls. An edge is over a wall if the norm of sigma on it is more
        than twice that at both ends. None for a decoder without standard deviation.
    n_components : int
        Components of the graph of 12 nearest neighbours of the codes.
    sensitivity : tuple of Sensitivity or None
        How far distances depend on the precision; None unless the decoder is a `GaussianDecoder`
        with an `RBFPrecision`, or an ensemble of such, and there are distances to compare.
    torn_share : float or None
        Share of the nearest neighbors in the data that the codes have torn apart; see
        ``geometry.tears.torn_share``. None without data.
    comparison : LineComparison or None
        Geodesics and straight lines. None if not asked for, or there were too few curves.

    Attributes
    ----------
    verdict : str
        In one sentence, whether geometry matters; the report opens with it.
    advice : tuple of str
        What to do, a paragraph for each fault; empty for a healthy space.
    """

    n_codes: int
    spread: tuple[float, ...]
    response: tuple[float, ...]
    collapsed_dims: tuple[int, ...]
    saturated_share: tuple[float, ...]
    singular_share: float
    condition_median: float
    condition_p90: float
    condition_max: float
    walled_share: float | None
    n_components: int
    sensitivity: tuple[Sensitivity, ...] | None
    torn_share: float | None = None
    comparison: LineComparison | None = None

    @property
    def verdict(self) -> str:
        """In one sentence, whether geometry matters here.

        Returns
        -------
        sentence : str
            `geometry.comparison.verdict` and the user guide have the thresholds.
        """
        return verdict(self.comparison, self.torn_share)

    @property
    def advice(self) -> tuple[str, ...]:
        """What to do, a paragraph for each fault; empty for a healthy space.

        Returns
        -------
        advice : tuple of str
            The paragraphs.
        """
        return tuple(advice(self))

    def rows(self) -> list[tuple[str, str]]:
        """List the numbers as they are printed.

        Returns
        -------
        rows : list of tuple of str
            What was measured, and its value in words.
        """
        walls = "no standard deviation" if self.walled_share is None else percent(self.walled_share)
        conditions = (self.condition_median, self.condition_p90, self.condition_max)
        rows = [
            *(() if self.comparison is None else self.comparison.rows()),
            ("codes looked at", str(self.n_codes)),
            ("spread of the codes, by dimension", numbers(self.spread)),
            ("response of the mean, by dimension", numbers(self.response)),
            ("collapsed dimensions", names(self.collapsed_dims) or "none"),
            ("codes where a dimension is saturated", percent(*self.saturated_share)),
            ("codes with a singular metric", percent(self.singular_share)),
            ("condition of M: median, 90 %, largest", numbers(conditions)),
            ("codes behind walls", walls),
            ("components of the graph of neighbors", str(self.n_components)),
        ]
        if self.torn_share is not None:
            rows.append(("neighbors in the data torn apart", percent(self.torn_share)))
        if self.sensitivity is None:
            return [*rows, ("distances if a or K changes", "not measured")]
        return rows + [
            (
                f"distances if {item.change}",
                f"{percent(item.relative_change)} off, rank correlation "
                f"{item.rank_correlation:.3f}",
            )
            for item in self.sensitivity
        ]

    def __str__(self) -> str:
        rows = self.rows()
        width = max(len(name) for name, _ in rows) + 2
        lines = [f"  {name:<{width}}{value}" for name, value in rows]
        advice = [f"  - {paragraph}" for paragraph in self.advice] or ["  none: no fault was found"]
        title = "Diagnosis of the latent space"
        return "\n".join([self.verdict, title, *lines, "Advice", *advice])

    def __repr__(self) -> str:
        n_faults = len(self.advice)
        faults = "no fault" if not n_faults else f"{n_faults} fault{'s' if n_faults > 1 else ''}"
        return f"Diagnosis({self.n_codes} codes, {faults}: {self.verdict})"

    def _repr_html_(self) -> str:
        told = self.advice or ("none: no fault was found",)
        rows = [("verdict", self.verdict), *self.rows(), *(("advice", each) for each in told)]
        return html_table("Diagnosis of the latent space", rows)


@torch.no_grad()
def diagnose(
    geometry: DecoderGeometry,
    codes: Floats,
    *,
    data: Floats | None = None,
    n_pairs: int = 50,
    lines: bool = True,
    sensitivity: bool = True,
    max_seconds: float | None = 30.0,
    random_state: int | np.random.RandomState | None = 0,
) -> Diagnosis:
    """Ask whether the geometry of a latent space matters, and look for faults.

    Parameters
    ----------
    geometry : DecoderGeometry
        Geometry of the latent space.
    codes : numpy.ndarray, shape=[n_codes, dim]
        Latent codes.
    data : numpy.ndarray, shape=[n_codes, n_features], optional
        The data that the codes are of, in the same order.
    n_pairs : int
        Pairs of codes whose distances are compared.
    lines : bool
        Whether to compare geodesics with straight lines.
    sensitivity : bool
        Whether to compare distances for other precisions.
    max_seconds : float, optional
        Limit of time for the geodesics, and of that after which no further precision is tried.
    random_state : int, numpy.random.RandomState or None
        Source of the pairs and of the refits.

    Returns
    -------
    diagnosis : Diagnosis
        What was found.
    """
    source = check_random_state(random_state)
    geometry = replace(geometry, scale=1.0)
    decoder, immersion = geometry.decoder, geometry.immersion()
    torn = None if data is None else torn_share(data, codes, _means(immersion, codes))
    codes = _thin(np.unique(codes, axis=0), _MAX_CODES)
    slopes, singular_values, sigma = _at_codes(immersion, codes)
    conditions = _conditions(singular_values)
    spread, response = codes.std(axis=0), codes.std(axis=0) * _root_mean_square(slopes)
    n_components, walled_share = _graph_of_codes(immersion, codes, sigma)
    parts = geometry, codes, n_pairs, source, max_seconds
    compared = compare_with_lines(*parts) if lines else None
    measured = None
    if sensitivity:
        few = _thin(codes, _MAX_REFIT_CODES)
        measured = measure_sensitivity(decoder, few, n_pairs, source, max_seconds)
    return Diagnosis(
        n_codes=len(codes),
        spread=tuple(spread.tolist()),
        response=tuple(response.tolist()),
        collapsed_dims=_collapsed(response, sigma),
        saturated_share=tuple(_saturated(slopes).tolist()),
        singular_share=float((conditions >= _SINGULAR).mean()),
        condition_median=_percentile(conditions, 50),
        condition_p90=_percentile(conditions, 90),
        condition_max=float(conditions.max()),
        walled_share=walled_share,
        n_components=n_components,
        sensitivity=measured,
        torn_share=torn,
        comparison=compared,
    )


def _thin(rows: Floats, n_kept: int) -> Floats:
    return rows[np.linspace(0, len(rows) - 1, min(len(rows), n_kept)).astype(int)]


def _tensor(immersion: Immersion, points: Floats) -> torch.Tensor:
    return torch.as_tensor(points, dtype=immersion.dtype, device=immersion.device)


def _means(immersion: Immersion, codes: Floats) -> Floats:
    parts = _tensor(immersion, codes).split(CHUNK_SIZE)
    return _host(torch.cat([immersion.split_outputs(immersion(z))[0] for z in parts]))


def _host(tensor: torch.Tensor) -> Floats:
    return tensor.detach().cpu().double().numpy()


# -- the metric at the codes ---------------------------------------------------------------------


def _at_codes(immersion: Immersion, codes: Floats) -> tuple[Floats, Floats, Floats | None]:
    """Slopes of the mean by dimension, singular values of J, and norms of sigma (None)."""
    parts = []
    for z in _tensor(immersion, codes).split(CHUNK_SIZE):
        value, tangents = immersion.jacobian(z)
        # Singular values are not defined where the decoder is not finite.
        finite = tangents.isfinite().all(dim=2).all(dim=1)
        singular = torch.linalg.svdvals(tangents.where(finite[:, None, None], 0.0))
        # Fewer outputs than dimensions leave directions without any output.
        missing = max(0, codes.shape[1] - singular.shape[1])
        singular = torch.nn.functional.pad(singular, (0, missing))
        sigma = immersion.split_outputs(value)[1].norm(dim=1)
        steepness = immersion.split_outputs(tangents)[0].norm(dim=2)
        parts.append([_host(part) for part in (steepness, singular, sigma)])
    slopes, singular_values, sigmas = (
        np.concatenate(column) for column in zip(*parts, strict=True)
    )
    return slopes, singular_values, sigmas if immersion.has_std else None


def _conditions(singular_values: Floats) -> Floats:
    """Condition numbers of the metric: squares of those of the Jacobian."""
    largest, smallest = singular_values[:, 0], singular_values[:, -1]
    conditions = np.full(len(largest), np.inf)
    # The square of what is tinier than that is zero.
    regular = smallest > largest * np.sqrt(np.finfo(float).tiny)
    conditions[regular] = (largest[regular] / smallest[regular]) ** 2
    return conditions


def _percentile(values: Floats, percent: float) -> float:
    # Not interpolated, for some may be infinite.
    return float(np.percentile(values, percent, method="lower"))


def _root_mean_square(slopes: Floats) -> Floats:
    """Over the codes at which the decoder is finite."""
    finite = np.isfinite(slopes)
    total = np.square(slopes, where=finite, out=np.zeros_like(slopes)).sum(axis=0)
    return np.sqrt(total / np.maximum(finite.sum(axis=0), 1))


def _saturated(slopes: Floats) -> Floats:
    usual = _root_mean_square(slopes)
    return (slopes < _SATURATED * usual).mean(axis=0)


def _collapsed(response: Floats, sigma: Floats | None) -> tuple[int, ...]:
    """Dimensions that change less than others, or than the noise."""
    noise = 0.0 if sigma is None else float(np.median(sigma))
    least = _COLLAPSED * max(response.max(), noise)
    return tuple(np.flatnonzero(~(response > least)).tolist())


# -- the graph of the codes ----------------------------------------------------------------------


def _graph_of_codes(
    immersion: Immersion, codes: Floats, sigma: Floats | None
) -> tuple[int, float | None]:
    """Components of the graph of nearest neighbours, and share of the codes behind walls."""
    a, b = _neighbor_edges(codes)
    n_components = _labels(len(codes), a, b).max() + 1
    if sigma is None:
        return int(n_components), None
    if len(a):
        a, b = join_components(codes, a, b)
    passable = ~_over_wall(immersion, codes, sigma, a, b)
    groups = np.bincount(_labels(len(codes), a[passable], b[passable]))
    return int(n_components), float(1.0 - groups.max() / len(codes))


def _neighbor_edges(codes: Floats) -> tuple[Ints, Ints]:
    n_neighbors = min(N_NEIGHBORS, len(codes) - 1)
    if not n_neighbors:
        return np.zeros(0, dtype=int), np.zeros(0, dtype=int)
    neighbors = cKDTree(codes).query(codes, k=n_neighbors + 1)[1][:, 1:]
    ends = np.stack((np.repeat(np.arange(len(codes)), n_neighbors), neighbors.ravel()))
    a, b = np.unique(np.sort(ends, axis=0), axis=1)
    return a, b


def _labels(n_codes: int, a: Ints, b: Ints) -> Ints:
    graph = csr_matrix((np.ones(len(a)), (a, b)), shape=(n_codes, n_codes))
    return connected_components(graph, directed=False)[1]


def _over_wall(immersion: Immersion, codes: Floats, sigma: Floats, a: Ints, b: Ints) -> Bools:
    """Whether the norm of sigma between two codes is far above that at both."""
    s = np.linspace(0.0, 1.0, _EDGE_POINTS + 2)[1:-1, None]
    highest = np.zeros(len(a))
    for k in range(0, len(a), CHUNK_SIZE):
        part = slice(k, k + CHUNK_SIZE)
        start, step = codes[a[part]], codes[b[part]] - codes[a[part]]
        points = (start[:, None] + step[:, None] * s).reshape(-1, codes.shape[1])
        values = immersion.split_outputs(immersion(_tensor(immersion, points)))[1].norm(dim=1)
        highest[part] = _host(values).reshape(-1, _EDGE_POINTS).max(axis=1)
    # Written so that what is not finite is a wall.
    return ~(highest <= _WALL * np.maximum(sigma[a], sigma[b]))
