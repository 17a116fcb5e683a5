"""What a geodesic solve returns: curves, with an honest status for each."""

from __future__ import annotations

import copy
import enum
import math
from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from itertools import chain
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike

from geomstats_vae.geodesics.arrays import Bools, Floats, Ints
from geomstats_vae.geodesics.curves.reference import (
    differentiation_matrix,
    lagrange_matrix,
    reference_element,
)


class GeodesicStatus(enum.IntEnum):
    """Why a solve ended; `message` says it in a sentence."""

    CONVERGED = 0
    MAX_ITER = 1
    UNDER_RESOLVED = 2
    STALLED = 3
    NON_FINITE = 4

    @property
    def message(self) -> str:
        """One sentence."""
        return _MESSAGES[self]


_MESSAGES = {
    GeodesicStatus.CONVERGED: (
        "Stationary, and its fine length agrees with the discrete one; of a decoder with kinks, on "
        "the one whose kinks are rounded."
    ),
    GeodesicStatus.MAX_ITER: "Not yet stationary when the steps ran out; raise max_iter.",
    GeodesicStatus.UNDER_RESOLVED: (
        "Finer measures of the curve differ from those that it was found with; raise max_elements."
    ),
    GeodesicStatus.STALLED: (
        "No further step shortens the curve, yet it is not stationary: a kink of the decoder, or "
        "the limit of the floating-point type."
    ),
    GeodesicStatus.NON_FINITE: "The metric is not finite along every curve that was tried.",
}


class GeodesicConvergenceWarning(UserWarning):
    """Some geodesics did not converge; the best curves found were used."""


class GeodesicConvergenceError(RuntimeError):
    """Some geodesics did not converge, and ``on_failure="raise"`` was asked for."""


@dataclass(frozen=True)
class SolvedCurves:
    """What a solver needs to go on from its geodesics to those of nearby end points.

    Parameters
    ----------
    start, end : array, shape=[n_pairs, dim]
        End points.
    nodes : list of array, shape=[n_elements, degree + 1, dim]
        Nodes of the curves' elements, of the degree that each was solved with; None where there
        is no curve to go on from.
    length, length_error : array, shape=[n_pairs]
        As of the path.
    converged : array of bool, shape=[n_pairs]
        As of the path.
    drift : array, shape=[n_pairs]
        By how much the ends have moved since the curve was last compared with the graph, in units
        of length.
    graph_length : array, shape=[n_pairs]
        Lengths of the graph paths then; NaN where the graph was not asked.
    width : array, shape=[n_pairs]
        As of the path. Lengths are those on the decoder whose kinks are rounded so.
    """

    start: Floats
    end: Floats
    nodes: list[Floats | None]
    length: Floats
    length_error: Floats
    converged: Bools
    drift: Floats
    graph_length: Floats
    width: Floats

    def __len__(self) -> int:
        return len(self.nodes)

    def take(self, rows: slice | Ints) -> SolvedCurves:
        """Take some of the pairs."""
        columns = {column.name: getattr(self, column.name) for column in fields(self)}
        which = np.arange(len(self))[rows]
        nodes = [self.nodes[k] for k in which]
        del columns["nodes"]
        return SolvedCurves(nodes=nodes, **{name: part[which] for name, part in columns.items()})

    def put(self, rows: Ints, part: SolvedCurves) -> SolvedCurves:
        """Replace some of the pairs; neither is changed."""
        new = {}
        for column in fields(self):
            new[column.name] = old = copy.copy(getattr(self, column.name))
            for n, k in enumerate(rows):
                old[k] = getattr(part, column.name)[n]
        return SolvedCurves(**new)


def join_curves(blocks: list[SolvedCurves]) -> SolvedCurves:
    """Put the pairs of several blocks together, block after block."""

    def join(name: str) -> Any:
        parts = [getattr(block, name) for block in blocks]
        return list(chain(*parts)) if name == "nodes" else np.concatenate(parts)

    return SolvedCurves(*(join(column.name) for column in fields(SolvedCurves)))


@dataclass(frozen=True)
class GeodesicPath:
    """Geodesics between pairs of points, with what is known of their accuracy.

    Parameters
    ----------
    points : array-like, shape=[..., n_points, dim]
        Nodes of the curves in latent space, from end to end.
    times : array-like, shape=[..., n_points]
        Their parameters in [0, 1], proportional to the length in the decoder's metric.
    length : array-like, shape=[...]
        Lengths, measured finely.
    energy : array-like, shape=[...]
        length^2 / 2, the energy of the curve at constant speed.
    initial_velocity, final_velocity : array-like, shape=[..., dim]
        Velocities at the end points for times in [0, 1], from the end-point gradients of the
        length; the first is the Riemannian logarithm. NaN where a metric is singular.
    converged : array-like of bool, shape=[...]
        Whether the certificate holds: fine and discrete length agree to ``rtol``, and the
        residual is at most ``rtol``.
    status : array-like of int, shape=[...]
        Member of `GeodesicStatus`.
    residual : array-like, shape=[...]
        Newton decrement of the length on a mesh twice as fine, relative to the length: the energy
        norm of the normal part of the geodesic equation's residual. Half of it estimates by what
        share the curve is longer than the geodesic it tends to.
    length_error : array-like, shape=[...]
        Relative difference between the length by 20 chords per element and by quadrature.
    n_iter : array-like of int, shape=[...]
        Steps: those of Newton, and of a first descent in many dimensions.
    width : array-like, shape=[...]
        Width at which the decoder's kinks, such as those of ReLUs, were rounded to find the curve,
        in units of the standard deviation of their input over the codes. It is 0 for smooth
        decoders. Where it is positive, certificate, residual and length error are those of
        the curve on the smoothed decoder. Its length is that on the decoder itself, measured
        finely, and its velocities have that length.
    degree : int
        Degree of the polynomials between the nodes, which follow one another in groups of
        ``degree`` after the first.
    velocity_error : array-like, shape=[...], optional
        Where the velocities were polished, their relative change by the last halving of the
        elements, usually far more than their error; NaN where they were not. None unless asked
        for.
    local_minimum : array-like of bool, shape=[...], optional
        Whether the curve converged and no curve near it with the same ends is shorter: it has no
        conjugate points. None unless asked for.
    curves : SolvedCurves, optional
        What `GeodesicSolver.solve` needs to go on from these geodesics, as its ``guess``. No array:
        `map` and `reshape` pass it on, and drop it where the number of pairs changes.

    Notes
    -----
    A certified curve is stationary; that it is the shortest of all is certified for none.
    """

    points: Any
    times: Any
    length: Any
    energy: Any
    initial_velocity: Any
    final_velocity: Any
    converged: Any
    status: Any
    residual: Any
    length_error: Any
    n_iter: Any
    width: Any
    degree: int = 1
    velocity_error: Any = None
    local_minimum: Any = None
    curves: SolvedCurves | None = field(default=None, repr=False, compare=False)

    def __call__(self, t: ArrayLike) -> Any:
        """Evaluate the curves, at constant speed.

        Parameters
        ----------
        t : array-like, shape=[n_times,] or float
            Times in [0, 1].

        Returns
        -------
        points : array-like, shape=[..., n_times, dim]
            Points of the curves, on the polynomials that the solver found.
        """
        t = np.atleast_1d(np.asarray(_host(t), dtype=float))
        points, times = _host(self.points), _host(self.times)
        batch = points.shape[:-2]
        n_points, dim = points.shape[-2:]
        times = times.reshape(-1, n_points).astype(float)
        out = _evaluate(times, points.reshape(-1, n_points, dim).astype(float), t, self.degree)
        out = out.reshape(*batch, len(t), dim)
        if isinstance(self.points, torch.Tensor):
            return torch.as_tensor(out, dtype=self.points.dtype, device=self.points.device)
        return out

    def map(self, function: Callable[[Any], Any]) -> GeodesicPath:
        """Apply a function to every array, such as a conversion.

        Parameters
        ----------
        function : callable
            Takes and returns an array.

        Returns
        -------
        path : GeodesicPath
            The converted path.
        """
        names = [column.name for column in fields(self) if column.name not in _NO_ARRAYS]
        arrays = {name: getattr(self, name) for name in names}
        new = {name: function(array) for name, array in arrays.items() if array is not None}
        curves = self.curves
        if curves is not None and len(curves) != math.prod(np.shape(new["length"])):
            curves = None
        return replace(self, curves=curves, **new)

    def reshape(self, shape: tuple[int, ...]) -> GeodesicPath:
        """Give the batch another shape.

        Parameters
        ----------
        shape : tuple of int
            New batch shape.

        Returns
        -------
        path : GeodesicPath
            The reshaped path.
        """
        rank = len(self.length.shape)
        return self.map(lambda a: a.reshape((*shape, *a.shape[rank:])))

    def summary(self) -> dict[GeodesicStatus, int]:
        """Count the statuses.

        Returns
        -------
        counts : dict
            Number of curves of each `GeodesicStatus` that occurs.
        """
        values, counts = np.unique(_host(self.status), return_counts=True)
        return {GeodesicStatus(int(v)): int(n) for v, n in zip(values, counts, strict=True)}


# Fields of a path that are no arrays.
_NO_ARRAYS = ("degree", "curves")


def _host(array: Any) -> Any:
    return array.detach().cpu().numpy() if isinstance(array, torch.Tensor) else np.asarray(array)


def _evaluate(times: Floats, points: Floats, t: Floats, degree: int) -> Floats:
    """Invert the time on each element, then evaluate its polynomial."""
    n_curves = len(points)
    rows = np.arange(n_curves)[:, None]
    ends = times[:, ::degree]
    # One search for all curves: each curve's times are shifted into an interval of its own.
    shift = 4.0 * np.arange(n_curves)[:, None]
    inside = np.clip(t, 0.0, 1.0)[None]
    element = np.searchsorted((ends + shift).ravel(), (inside + shift).ravel(), side="right")
    element = element.reshape(n_curves, len(t)) - 1 - ends.shape[1] * rows
    element = np.clip(element, 0, ends.shape[1] - 2)
    nodes = element[..., None] * degree + np.arange(degree + 1)
    node_times = times[rows[..., None], nodes]
    reference = reference_element(degree).nodes
    x = _invert(node_times, np.broadcast_to(inside, element.shape), reference)
    basis = lagrange_matrix(reference, x.ravel()).reshape(*x.shape, degree + 1)
    return np.einsum("nta,ntad->ntd", basis, points[rows[..., None], nodes])


def _invert(node_times: Floats, t: Floats, reference: Floats) -> Floats:
    """Parameters in [-1, 1] at which the times of elements are t, shape=[n_curves, n_times].

    Newton's method on the interpolant of the times, kept between the two nodes around t. Where the
    interpolant goes back in time, as where the speed changes by orders of magnitude within an
    element, times are linear between nodes: speed is not constant there, but points stay in order.
    """
    degree = len(reference) - 1
    derivative = node_times @ differentiation_matrix(reference).T
    between = lagrange_matrix(reference, np.linspace(-1.0, 1.0, 4 * degree + 1))
    forward = (derivative @ between.T > 0.0).all(axis=-1)
    last = (node_times[..., 1:-1] <= t[..., None]).sum(axis=-1)
    low, high = reference[last], reference[last + 1]
    before = np.take_along_axis(node_times, last[..., None], axis=-1)[..., 0]
    after = np.take_along_axis(node_times, last[..., None] + 1, axis=-1)[..., 0]
    share = (t - before) / np.maximum(after - before, np.finfo(float).tiny)
    linear = low + np.clip(share, 0.0, 1.0) * (high - low)
    x = linear
    for _ in range(12):
        basis = lagrange_matrix(reference, x.ravel()).reshape(*x.shape, degree + 1)
        excess = (basis * node_times).sum(axis=-1) - t
        rate = (basis * derivative).sum(axis=-1)
        low, high = np.where(excess < 0.0, x, low), np.where(excess > 0.0, x, high)
        step = x - excess / np.where(rate > 0.0, rate, np.inf)
        x = np.where((step >= low) & (step <= high), step, 0.5 * (low + high))
    return np.where(forward, x, linear)


def join_paths(blocks: list[GeodesicPath]) -> GeodesicPath:
    """Put the pairs of several blocks of numpy arrays together, block after block."""
    n_points = max(block.points.shape[1] for block in blocks)
    blocks = [_padded(block, n_points) for block in blocks]

    def join(name: str) -> Any:
        parts = [getattr(block, name) for block in blocks]
        if name == "curves":
            return join_curves(parts)
        return parts[0] if name == "degree" or parts[0] is None else np.concatenate(parts)

    return GeodesicPath(**{column.name: join(column.name) for column in fields(GeodesicPath)})


def put_paths(path: GeodesicPath, rows: Ints, part: GeodesicPath) -> GeodesicPath:
    """Replace some pairs of a path of numpy arrays by those of another; neither is changed."""
    n_points = max(path.points.shape[1], part.points.shape[1])
    path, part = _padded(path, n_points), _padded(part, n_points)
    new = {}
    for column in fields(GeodesicPath):
        old, put = getattr(path, column.name), getattr(part, column.name)
        if column.name not in _NO_ARRAYS and old is not None:
            new[column.name] = old.copy()
            new[column.name][rows] = put
    assert path.curves is not None
    assert part.curves is not None
    return replace(path, curves=path.curves.put(rows, part.curves), **new)


def take_paths(path: GeodesicPath, rows: Ints) -> GeodesicPath:
    """Take some pairs of a path of numpy arrays."""
    taken = path.map(lambda array: array[rows])
    return replace(taken, curves=None if path.curves is None else path.curves.take(rows))


def _padded(path: GeodesicPath, n_points: int) -> GeodesicPath:
    """Give paths more nodes: they stay at their end points, at time 1."""
    missing = n_points - path.points.shape[1]
    if not missing:
        return path
    points, times = (
        np.concatenate((part, np.repeat(part[:, -1:], missing, axis=1)), axis=1)
        for part in (path.points, path.times)
    )
    return replace(path, points=points, times=times)
