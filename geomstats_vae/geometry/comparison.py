"""Geodesics against straight lines: whether the geometry of a latent space matters."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.spatial import cKDTree
from scipy.stats import rankdata
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score

from geomstats_vae.geodesics import GeodesicStatus
from geomstats_vae.geodesics.deadline import Deadline
from geomstats_vae.geodesics.solver import within
from geomstats_vae.geometry.decoder import DecoderGeometry
from geomstats_vae.geometry.graphs import GraphOnDemand
from geomstats_vae.geometry.local import CHUNK_SIZE
from geomstats_vae.geometry.protocol import Bools, Floats
from geomstats_vae.geometry.time_limit import earlier
from geomstats_vae.immersions import Immersion

# Pairs that are solved for at once, between two looks at the clock, and the fewest that tell.
_BLOCK, _FEWEST_PAIRS = 16, 8
# Tolerance of the geodesics' lengths: they are printed to two digits.
_TOL = 1e-2
# Chords of a straight line.
_N_CHORDS = 64
# A place is outside the data if sigma is above this percentile of that at the codes, or the nearest
# code farther than it is from this per cent of the codes. A line leaves the data if more than this
# share of it is outside. Rounding is no excess.
_PERCENTILE, _LEAVES, _ROUNDING = 95, 0.1, 1e-6
# Codes and medoids whose assignment is compared.
_MAX_ASSIGNED, _N_MEDOIDS = 300, 5
# With this rank correlation, one in ten comparisons of two distances comes out the other way.
_RANKS_KEPT = 0.95
# Lines are good enough if at most this share of them leaves the data, and half of the geodesics
# are at least this share of their length.
_FEW_LEAVE, _AS_SHORT = 0.1, 0.9

_TORN = "The latent space is torn: retrain."
_RANKS_CHANGE = "Distances change ranks: use geodesics."
_PATHS_CHANGE = (
    "Distances keep their ranks, but straight lines are no short paths or leave the data: use "
    "geodesics for what lies between codes."
)
_GOOD_ENOUGH = "Straight lines are good enough."
_UNKNOWN = "Geodesics were not compared with straight lines."


@dataclass(frozen=True)
class LineComparison:
    """Geodesics between random pairs of codes, compared with straight lines.

    Parameters
    ----------
    n_pairs : int
        Pairs of codes that were compared: those between which there is a curve of finite length.
    n_geodesics : int
        Pairs whose geodesic was found in time. The others have the length of their path on the
        graph of global starts in its place, which is some percent longer.
    ratio_median, ratio_min, ratio_max : float
        Length of the geodesic over that of the straight line, both in the metric: median, least
        and largest over the pairs.
    rank_correlation : float
        Spearman's correlation of the geodesic distances with the Euclidean distances of the codes.
    leaving_share : float
        Share of the pairs whose straight line leaves the data: more than a tenth of the line is at
        places where the norm of sigma is above its 95th percentile at the codes. Without a standard
        deviation these are the places that are farther from the nearest code than 95 % of the codes
        are from the next one.
    label_agreement : float or None
        Adjusted Rand index of two assignments of at most 300 codes to five medoids, the codes next
        to the centers of k-means in latent space: to the nearest by Euclidean distance, and by
        length of the graph's paths, so that it takes no further geodesics. None of fewer than 50
        codes.
    """

    n_pairs: int
    n_geodesics: int
    ratio_median: float
    ratio_min: float
    ratio_max: float
    rank_correlation: float
    leaving_share: float
    label_agreement: float | None

    def rows(self) -> list[tuple[str, str]]:
        """List the numbers as they are printed.

        Returns
        -------
        rows : list of tuple of str
            What was measured, and its value in words.
        """
        agreement = (
            "not measured" if self.label_agreement is None else f"{self.label_agreement:.2f}"
        )
        return [
            (
                "length of geodesic over line",
                f"{self.ratio_median:.2f} in the median, {self.ratio_min:.2f} to "
                f"{self.ratio_max:.2f} ({self.n_pairs} pairs, {self.n_geodesics} geodesics)",
            ),
            ("rank correlation with latent distance", f"{self.rank_correlation:.3f}"),
            ("lines that leave the data", f"{100.0 * self.leaving_share:.0f} %"),
            ("Rand index of nearest medoids by both", agreement),
        ]


def verdict(comparison: LineComparison | None, torn_share: float | None) -> str:
    """Say in one sentence whether geometry matters.

    Parameters
    ----------
    comparison : LineComparison or None
        Geodesics and straight lines; None if they were not compared.
    torn_share : float or None
        Share of the neighbors in the data that are torn apart, if known.

    Returns
    -------
    sentence : str
        The first that applies. Some neighbors are torn apart: retrain. The rank correlation is
        below 0.95: use geodesics. More than a tenth of the lines leave the data, or the median
        ratio of lengths is below 0.9: use geodesics for what lies between codes. Else lines are
        good enough.
    """
    if torn_share:
        return _TORN
    if comparison is None:
        return _UNKNOWN
    if comparison.rank_correlation < _RANKS_KEPT:
        return _RANKS_CHANGE
    if comparison.leaving_share > _FEW_LEAVE or comparison.ratio_median < _AS_SHORT:
        return _PATHS_CHANGE
    return _GOOD_ENOUGH


def compare_with_lines(
    geometry: DecoderGeometry,
    codes: Floats,
    n_pairs: int,
    random_state: np.random.RandomState,
    max_seconds: float | None = None,
) -> LineComparison | None:
    """Compare geodesics between random pairs of codes with straight lines.

    Parameters
    ----------
    geometry : DecoderGeometry
        Geometry of the latent space; one without a graph gets that of the codes.
    codes : numpy.ndarray, shape=[n_codes, dim]
        Distinct latent codes.
    n_pairs : int
        Number of pairs.
    random_state : numpy.random.RandomState
        Source of the pairs and of k-means.
    max_seconds : float, optional
        Limit of time for the geodesics; see `n_geodesics` of the comparison.

    Returns
    -------
    comparison : LineComparison or None
        None of fewer than eight pairs with curves of finite length, or if all distances are equal.
    """
    if len(codes) < 3:
        return None
    if geometry.graph is None:
        geometry = replace(geometry, graph=GraphOnDemand(codes))
    start = random_state.randint(len(codes), size=n_pairs)
    end = (start + random_state.randint(1, len(codes), size=n_pairs)) % len(codes)
    seed = random_state.randint(2**31 - 1)
    geodesics, found = _distances(geometry, codes[start], codes[end], max_seconds)
    lines, leaving = _along_lines(geometry.immersion(), codes, codes[start], codes[end])
    latent = np.linalg.norm(codes[end] - codes[start], axis=1)
    known = np.isfinite(geodesics) & np.isfinite(lines) & (lines > 0.0)
    geodesics, lines, latent = geodesics[known], lines[known], latent[known]
    if known.sum() < _FEWEST_PAIRS or _all_equal(geodesics) or _all_equal(latent):
        return None
    ratio = geodesics / lines
    return LineComparison(
        n_pairs=len(ratio),
        n_geodesics=int(found[known].sum()),
        ratio_median=float(np.median(ratio)),
        ratio_min=float(ratio.min()),
        ratio_max=float(ratio.max()),
        rank_correlation=float(np.corrcoef(rankdata(geodesics), rankdata(latent))[0, 1]),
        leaving_share=float(leaving[known].mean()),
        label_agreement=_label_agreement(geometry, codes, seed),
    )


def _all_equal(values: Floats) -> bool:
    return bool(np.ptp(values) <= _ROUNDING * values.max())


def _distances(
    geometry: DecoderGeometry, start: Floats, end: Floats, max_seconds: float | None
) -> tuple[Floats, Bools]:
    """Lengths of the geodesics that there is time for, else of graph paths; which are geodesics."""
    lengths, found = geometry.graph_lengths(start, end), np.zeros(len(start), dtype=bool)
    solver = geometry.solver.with_tol(_TOL)
    limits = getattr(solver, "max_seconds", None), max_seconds
    deadline = earlier(*map(Deadline.after, limits))
    for begin in range(0, len(start), _BLOCK):
        if deadline.passed:
            break
        part = slice(begin, begin + _BLOCK)
        limited = replace(geometry, solver=within(solver, deadline.remaining))
        ends = limited.ends(start[part], end[part])
        found[part] = np.isfinite(ends.length) & (ends.status != GeodesicStatus.OUT_OF_TIME)
        lengths[part] = np.where(found[part], ends.length, lengths[part])
    return lengths, found


@torch.no_grad()
def _along_lines(
    immersion: Immersion, codes: Floats, start: Floats, end: Floats
) -> tuple[Floats, Bools]:
    """Lengths of straight lines, and whether each leaves the data."""
    times = np.linspace(0.0, 1.0, _N_CHORDS + 1)[:, None]
    points = start[:, None] + times * (end - start)[:, None]
    shape, flat = points.shape[:2], points.reshape(-1, codes.shape[1])
    values = _values(immersion, flat)
    length = values.reshape(*shape, -1).diff(dim=1).norm(dim=2).sum(dim=1).cpu().numpy()
    if immersion.has_std:
        excess = _sigma(immersion, values)
        usual = _sigma(immersion, _values(immersion, codes))
    else:
        tree = cKDTree(codes)
        excess, usual = tree.query(flat)[0], tree.query(codes, k=2)[0][:, 1]
    most = np.percentile(usual, _PERCENTILE) * (1.0 + _ROUNDING)
    # Written so that what is not finite is outside.
    outside = ~(excess <= most).reshape(shape)
    return length, outside.mean(axis=1) > _LEAVES


def _values(immersion: Immersion, points: Floats) -> torch.Tensor:
    z = torch.as_tensor(points, dtype=immersion.dtype, device=immersion.device)
    return torch.cat([immersion(part) for part in z.split(CHUNK_SIZE)])


def _sigma(immersion: Immersion, values: torch.Tensor) -> Floats:
    return immersion.split_outputs(values)[1].norm(dim=1).cpu().double().numpy()


def _label_agreement(geometry: DecoderGeometry, codes: Floats, seed: int) -> float | None:
    """Compare which medoid is nearest by Euclidean distance, and along the graph."""
    codes = codes[np.linspace(0, len(codes) - 1, min(len(codes), _MAX_ASSIGNED)).astype(int)]
    if len(codes) < 10 * _N_MEDOIDS:
        return None
    centers = KMeans(_N_MEDOIDS, n_init=1, random_state=seed).fit(codes).cluster_centers_
    medoids = codes[np.unique(cKDTree(codes).query(centers)[1])]
    latent = np.linalg.norm(codes[:, None] - medoids, axis=2)
    along = geometry.bounds.graph_lengths(codes, medoids)
    return float(adjusted_rand_score(latent.argmin(axis=1), along.argmin(axis=1)))
