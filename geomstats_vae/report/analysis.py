"""The report's numbers: geodesics against straight lines, distances and means by class."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, TypeAlias

import geomstats.backend as gs
import numpy as np
import torch
from numpy.typing import NDArray

from geomstats_vae.estimators import FrechetMean
from geomstats_vae.geodesics import GeodesicStatus
from geomstats_vae.geodesics.deadline import NO_LIMIT, Deadline
from geomstats_vae.geodesics.solver import within
from geomstats_vae.geometry.decoder import DecoderGeometry
from geomstats_vae.manifolds import LatentSpace

Floats: TypeAlias = NDArray[np.float64]
# Wraps items and a description in a progress bar.
Progress: TypeAlias = Callable[[Iterable[Any], str], Iterable[Any]]

# Points at which curves are measured. So many would notice a wall that a solver stepped over.
_N_MEASURE = 2000
# Rows that pass through the decoder at once. It bounds the memory of wide outputs.
_CHUNK = 4096
# Pairs that are solved for at once, between two looks at the clock.
_BLOCK = 8
# A mean is shown to three digits.
_MEAN_TOL = 1e-3


@dataclass(frozen=True)
class Pairs:
    """Geodesics and straight lines between pairs of codes, both measured on fine polygons.

    Attributes
    ----------
    index : numpy.ndarray, shape=[n_pairs, 2]
        Samples whose codes are the end points.
    start, end : numpy.ndarray, shape=[n_pairs, dim]
        End points.
    curves : numpy.ndarray, shape=[n_pairs, 2000, dim]
        The geodesics at constant speed.
    length, straight_length : numpy.ndarray, shape=[n_pairs]
        Lengths in data space, as polygons of 2,000 points.
    sigma, straight_sigma : numpy.ndarray, shape=[n_pairs]
        The decoder's standard deviation, averaged over the outputs and over the curve's length.
    converged : numpy.ndarray, shape=[n_pairs]
        Whether the solver found the geodesic to its tolerance.
    status : list of GeodesicStatus
        What the solver says of each pair.
    """

    index: NDArray[np.int64]
    start: Floats
    end: Floats
    curves: Floats
    length: Floats
    straight_length: Floats
    sigma: Floats
    straight_sigma: Floats
    converged: NDArray[np.bool_]
    status: list[GeodesicStatus]

    @classmethod
    def join(cls, parts: Sequence[Pairs]) -> Pairs:
        """Put pairs one after the other.

        Parameters
        ----------
        parts : sequence of Pairs
            At least one.

        Returns
        -------
        pairs : Pairs
            All of them.
        """
        names = [field.name for field in fields(cls)]
        columns = {name: [getattr(part, name) for part in parts] for name in names}
        status = [value for part in columns.pop("status") for value in part]
        return cls(**{name: np.concatenate(part) for name, part in columns.items()}, status=status)

    @property
    def length_ratio(self) -> Floats:
        """Length of each geodesic as a fraction of the straight line's.

        Returns
        -------
        ratio : numpy.ndarray, shape=[n_pairs]
            One where the end points coincide.
        """
        moved = self.straight_length > 0.0
        return np.divide(self.length, self.straight_length, np.ones_like(moved, float), where=moved)

    @property
    def sigma_ratio(self) -> Floats:
        """Mean standard deviation along each geodesic as a fraction of the straight line's.

        Returns
        -------
        ratio : numpy.ndarray, shape=[n_pairs]
            The ratios.
        """
        return self.sigma / self.straight_sigma

    def at(self, number: int, t: Floats) -> Floats:
        """Return points on one geodesic.

        Parameters
        ----------
        number : int
            Number of the pair.
        t : numpy.ndarray, shape=[n_times]
            Times from 0, its start, to 1, its end.

        Returns
        -------
        points : numpy.ndarray, shape=[n_times, dim]
            Latent points.
        """
        curve = self.curves[number]
        times = np.linspace(0.0, 1.0, len(curve))
        return np.stack([np.interp(t, times, coordinate) for coordinate in curve.T], axis=-1)


@dataclass(frozen=True)
class ClassMean:
    """Frechet mean of one class.

    Attributes
    ----------
    name : str
        The class.
    n_points : int
        Codes that were averaged.
    point : numpy.ndarray, shape=[dim]
        The mean.
    spread : float
        Root of the mean squared geodesic distance to the mean, in data units.
    residual : float
        How far the mean is from being found: norm of the mean logarithm, relative to the spread.
    """

    name: str
    n_points: int
    point: Floats
    spread: float
    residual: float


def decode(space: LatentSpace, points: Floats) -> tuple[Floats, Floats]:
    """Decode latent points.

    Parameters
    ----------
    space : LatentSpace
        The latent space.
    points : numpy.ndarray, shape=[..., dim]
        Latent points.

    Returns
    -------
    mean, std : numpy.ndarray, shape=[..., n_outputs]
        Mean and standard deviation in data space.
    """
    flat = np.asarray(points).reshape(-1, points.shape[-1])
    chunks = [
        [part.detach().cpu().numpy() for part in space.metric.decoder.mean_std(torch.as_tensor(z))]
        for z in np.array_split(flat, max(1, -(-len(flat) // _CHUNK)))
    ]
    mean, std = (np.concatenate(parts) for parts in zip(*chunks, strict=True))
    return mean.reshape(*points.shape[:-1], -1), std.reshape(*points.shape[:-1], -1)


def random_pairs(n_samples: int, n_pairs: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw pairs of distinct samples.

    Parameters
    ----------
    n_samples : int
        Number of samples, two at least.
    n_pairs : int
        Number of pairs.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    index : numpy.ndarray, shape=[n_pairs, 2]
        Pairs of sample numbers.
    """
    first = rng.integers(n_samples, size=n_pairs)
    second = (first + rng.integers(1, n_samples, size=n_pairs)) % n_samples
    return np.stack([first, second], axis=-1)


def solve_pairs(
    space: LatentSpace,
    codes: Floats,
    index: NDArray[np.int64],
    progress: Progress,
    max_seconds: float | None = None,
) -> Pairs:
    """Solve geodesics between pairs of codes and measure them against straight lines.

    Parameters
    ----------
    space : LatentSpace
        The latent space.
    codes : numpy.ndarray, shape=[n_samples, dim]
        Codes of all samples.
    index : numpy.ndarray, shape=[n_pairs, 2]
        Pairs of sample numbers.
    progress : callable
        Wraps a sequence and a description in a progress bar.
    max_seconds : float, optional
        Limit of time. The first pair is solved in any case.

    Returns
    -------
    pairs : Pairs
        The geodesics and their measures; only of the pairs that a curve was found for.
    """
    deadline = Deadline.after(max_seconds)
    # The first pair is solved whatever it takes.
    parts = [_solve_block(space, codes, index[:1], NO_LIMIT)]
    for begin in progress(range(1, len(index), _BLOCK), "pairs, by eights"):
        if deadline.passed:
            break
        parts.append(_solve_block(space, codes, index[begin : begin + _BLOCK], deadline))
    return Pairs.join(parts)


def _solve_block(
    space: LatentSpace, codes: Floats, index: NDArray[np.int64], deadline: Deadline
) -> Pairs:
    path = limited(space, deadline).paths(codes[index[:, 0]], codes[index[:, 1]])
    curves = np.asarray(path(np.linspace(0.0, 1.0, _N_MEASURE)))
    found = np.isfinite(path.length) & np.isfinite(curves).all(axis=(1, 2))
    index, curves, path = index[found], curves[found], path[found]
    start, end = codes[index[:, 0]], codes[index[:, 1]]
    t = np.linspace(0.0, 1.0, _N_MEASURE)[:, None]
    measured = [
        [_measure(space, curve), _measure(space, a + t * (b - a))]
        for curve, a, b in zip(curves, start, end, strict=True)
    ]
    measures = np.array(measured).reshape(len(index), 2, 2)
    return Pairs(
        index=index,
        start=start,
        end=end,
        curves=curves,
        length=measures[:, 0, 0],
        straight_length=measures[:, 1, 0],
        sigma=measures[:, 0, 1],
        straight_sigma=measures[:, 1, 1],
        converged=np.asarray(path.converged, dtype=bool),
        status=[GeodesicStatus(int(status)) for status in path.status],
    )


def limited(space: LatentSpace, deadline: Deadline) -> DecoderGeometry:
    """Give the geometry of a space a limit of time.

    Parameters
    ----------
    space : LatentSpace
        The latent space.
    deadline : Deadline
        When its geodesics are over.

    Returns
    -------
    geometry : DecoderGeometry
        The same geometry; pairs that there is no time for get a status that says so.
    """
    geometry: DecoderGeometry = space.metric.geometry
    return replace(geometry, solver=within(geometry.solver, deadline.remaining))


def _measure(space: LatentSpace, curve: Floats) -> tuple[float, float]:
    """Return a curve's length in data space and the mean standard deviation over its length."""
    mean, std = decode(space, curve)
    chords = np.linalg.norm(np.diff(np.concatenate([mean, std], axis=-1), axis=0), axis=-1)
    sigma = std.mean(axis=-1)
    length = chords.sum()
    # By length, not by time: a straight line's time is not the geodesic's.
    weighted = (chords * (sigma[1:] + sigma[:-1]) / 2).sum()
    return length, weighted / length if length > 0 else sigma[0]


def distance_matrix(
    space: LatentSpace, points: Floats, progress: Progress, max_seconds: float | None = None
) -> tuple[Floats, int]:
    """Compute all distances between points: by geodesics, as long as there is time.

    Parameters
    ----------
    space : LatentSpace
        The latent space.
    points : numpy.ndarray, shape=[n_points, dim]
        Latent points, the most important ones first.
    progress : callable
        Wraps a sequence and a description in a progress bar.
    max_seconds : float, optional
        Limit of time of the geodesics.

    Returns
    -------
    distances : numpy.ndarray, shape=[n_points, n_points]
        Symmetric matrix.
    n_exact : int
        Points, the first ones, between which distances are lengths of geodesics. All others are
        lengths of paths on the graph of global starts.
    """
    n_points, distances = len(points), np.zeros((len(points), len(points)))
    rows, columns = np.tril_indices(n_points, -1)
    geometry: DecoderGeometry = space.metric.geometry
    lengths = geometry.graph_lengths(points[rows], points[columns])
    distances[rows, columns] = distances[columns, rows] = lengths
    deadline, n_exact = Deadline.after(max_seconds), 1
    for k in progress(range(1, n_points), "rows"):
        if deadline.passed:
            break
        geometry = limited(space, deadline).for_lengths(len(rows))
        ends = geometry.ends(np.broadcast_to(points[k], (k, points.shape[1])), points[:k])
        if (ends.status == GeodesicStatus.OUT_OF_TIME).any():
            break
        distances[k, :k] = distances[:k, k] = ends.length
        n_exact = k + 1
    return distances, n_exact


def stratified(labels: np.ndarray, n_points: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw samples evenly over the classes.

    Parameters
    ----------
    labels : numpy.ndarray, shape=[n_samples]
        Class of each sample.
    n_points : int
        Samples to draw, about; every class gives one at least.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    index : numpy.ndarray, shape=[n_drawn]
        Sample numbers, class by class.
    """
    names = np.unique(labels)
    share = max(1, n_points // len(names))
    return np.concatenate([_draw(np.flatnonzero(labels == name), share, rng) for name in names])


def choose(
    labels: np.ndarray, n_points: int, rng: np.random.Generator
) -> dict[str, NDArray[np.int64]]:
    """Draw samples of each class.

    Parameters
    ----------
    labels : numpy.ndarray, shape=[n_samples]
        Class of each sample.
    n_points : int
        Samples to draw of each class, at most.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    chosen : dict of str to numpy.ndarray, shape=[n_drawn]
        Sample numbers under the name of their class.
    """
    return {
        str(name): _draw(np.flatnonzero(labels == name), n_points, rng)
        for name in np.unique(labels)
    }


def class_means(
    space: LatentSpace,
    codes: Floats,
    chosen: Mapping[str, NDArray[np.int64]],
    max_iter: int,
    progress: Progress,
    max_seconds: float | None = None,
) -> list[ClassMean]:
    """Compute the Frechet mean of some codes of each class.

    Parameters
    ----------
    space : LatentSpace
        The latent space.
    codes : numpy.ndarray, shape=[n_samples, dim]
        Codes of all samples.
    chosen : dict of str to numpy.ndarray, shape=[n_drawn]
        Sample numbers whose codes to average, under the name of their class.
    max_iter : int
        Steps to a mean, at most.
    progress : callable
        Wraps a sequence and a description in a progress bar.
    max_seconds : float, optional
        Limit of time of all together. Each class gets its share of what is left.

    Returns
    -------
    means : list of ClassMean
        One per class that there was time for.
    """
    deadline, means = Deadline.after(max_seconds), []
    for done, (name, index) in enumerate(progress(list(chosen.items()), "classes")):
        if deadline.passed:
            break
        left = deadline.remaining
        share = None if left is None else max(0.1, round(left / (len(chosen) - done), 1))
        means.append(_class_mean(space, name, codes[index], max_iter, share))
    return [mean for mean in means if mean is not None]


def _class_mean(
    space: LatentSpace, name: str, codes: Floats, max_iter: int, max_seconds: float | None
) -> ClassMean | None:
    """Find a mean; None if there was not even time for the geodesics from its start."""
    estimator = FrechetMean(space, tol=_MEAN_TOL, max_iter=max_iter, max_seconds=max_seconds)
    mean = estimator.fit(gs.from_numpy(codes))
    if not np.isfinite(mean.residual_):
        return None
    return ClassMean(
        name=name,
        n_points=len(codes),
        point=gs.to_numpy(mean.estimate_),
        spread=float(np.sqrt(mean.variance_)),
        residual=float(mean.residual_),
    )


def _draw(members: NDArray[np.int64], n_points: int, rng: np.random.Generator) -> NDArray[np.int64]:
    return np.sort(rng.choice(members, min(n_points, len(members)), replace=False))
