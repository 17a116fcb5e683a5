"""What a geodesic solve returns: curves, with an honest status for each."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields, replace
from itertools import chain
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike

from geomstats_vae.geodesics.arrays import Bools, Floats, Ints
from geomstats_vae.geodesics.curves import display
from geomstats_vae.geodesics.curves.timed import (
    TimedCurves,
    differentiable_curves,
    equal_steps,
    host,
    times_of_curves,
)
from geomstats_vae.geodesics.status import GeodesicStatus


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

    def single(self, rows: Ints) -> list[SolvedCurves]:
        """Take some of the pairs, each on its own."""
        columns = [getattr(self, column.name) for column in fields(self)]
        return [SolvedCurves(*(column[k : k + 1] for column in columns)) for k in rows]

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


@dataclass(frozen=True, repr=False)
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
        Whether two checks pass: a finer mesh changes the length by at most ``rtol``, and the
        residual is at most ``rtol``. A shorter curve may still exist elsewhere.
    status : array-like of int, shape=[...]
        Member of `GeodesicStatus`.
    residual : array-like, shape=[...]
        Half of it estimates by which share of its length one more Newton step would shorten the
        curve, on a mesh twice as fine. It is the step's Newton decrement over the length: the
        energy norm of the normal part of what is left of the geodesic equation.
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
    decoder : callable, optional
        What `decode` calls: maps points, shape=[..., dim], to data. Copies and pickles are without.

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
    curves: SolvedCurves | None = field(default=None, compare=False)
    decoder: Callable[[Any], Any] | None = field(default=None, compare=False)

    __repr__ = display.one_line
    _repr_html_ = display.table

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"decoder": None}

    def __call__(self, t: ArrayLike) -> Any:
        """Evaluate the curves, at constant speed.

        Parameters
        ----------
        t : array-like, shape=[n_times] or [..., n_times], or float
            Times in [0, 1]: the same for all curves, or for each curve its own, with the batch
            shape before. At times before 0 and after 1 the curve stays at its ends.

        Returns
        -------
        points : array-like, shape=[..., n_times, dim]
            Points of the curves, on the polynomials that the solver found. Tensors are
            differentiable in the times, if these are tensors that require a gradient.

        Raises
        ------
        ValueError
            If times are not finite, or their shape does not suit the batch.
        """
        return self._at(t, order=0)

    def velocity(self, t: ArrayLike) -> Any:
        """Differentiate the curves by time, in latent coordinates.

        Parameters
        ----------
        t : array-like, shape=[n_times] or [..., n_times], or float
            Times in [0, 1], as of a call.

        Returns
        -------
        velocity : array-like, shape=[..., n_times, dim]
            Velocities: exactly the derivatives of ``path(t)``; to the right where two elements
            meet, and zero before 0 and after 1. Their norms in the metric are the length of the
            curve, as exactly as its elements resolve it. Tensors are differentiable in the times.

        Raises
        ------
        ValueError
            If times are not finite, or their shape does not suit the batch.

        Notes
        -----
        ``initial_velocity`` and ``final_velocity`` are better at the ends: they are gradients of
        the length, whose errors are those of one more Newton step.
        """
        return self._at(t, order=1)

    def _at(self, t: ArrayLike, order: int) -> Any:
        values = host(t)
        times, points = host(self.times), host(self.points)
        at = times_of_curves(values, points.shape[:-2])
        width = points.shape[-2]
        curves = TimedCurves(
            times.reshape(-1, width).astype(float),
            points.reshape(-1, *points.shape[-2:]).astype(float),
            self.degree,
        )
        rows = at.reshape(-1, at.shape[-1])
        shape = (*points.shape[:-2], at.shape[-1], points.shape[-1])
        if not isinstance(self.points, torch.Tensor):
            return curves.derivative(rows, order).reshape(shape)
        if not (isinstance(t, torch.Tensor) and t.requires_grad and torch.is_grad_enabled()):
            found = torch.as_tensor(curves.derivative(rows, order))
            return found.reshape(shape).to(self.points)
        asked = t.double().expand(at.shape).reshape(rows.shape)
        return differentiable_curves(curves, asked, order).reshape(shape).to(self.points)

    @property
    def status_names(self) -> Any:
        """Names of the statuses, such as 'CONVERGED': strings, shape=[...]."""
        return display.status_names(self.status)

    def decode(self, n_points: int | None = None) -> Any:
        """Decode the curves: what the data look like along them.

        Parameters
        ----------
        n_points : int, optional
            Number of points, at equal steps of length from end to end; by default the nodes,
            ``points``.

        Returns
        -------
        decoded : array-like, shape=[..., n_points, data_shape]
            Means of the decoder.

        Raises
        ------
        ValueError
            If the path does not know its decoder, as paths of a `GeodesicSolver` and paths that
            were pickled do not, or n_points is below 2.
        """
        if self.decoder is None:
            raise ValueError(
                "Expected a path that knows its decoder, as one of metric.solve_geodesic does, got "
                "one without; use space.decode(path.points)."
            )
        if n_points is None:
            return self.decoder(self.points)
        return self.decoder(self(equal_steps(n_points)))

    def plot(self, ax: Any = None, *, plane: tuple[int, int] = (0, 1)) -> Any:
        """Draw the curves with their ends.

        Parameters
        ----------
        ax : matplotlib.axes.Axes, optional
            Axes to draw on, such as those of ``space.plot()``; by default those of a new figure.
        plane : tuple of int
            The two coordinates that are drawn where there are more.

        Returns
        -------
        ax : matplotlib.axes.Axes
            The axes.
        """
        # matplotlib is loaded by the first picture.
        from geomstats_vae.plotting.glance import curve_glance

        return curve_glance(self, ax, plane=plane)

    def __len__(self) -> int:
        """Count the pairs along the first dimension of the batch."""
        batch = tuple(self.length.shape)
        if not batch:
            raise TypeError(
                "Expected a batch of geodesics, got a single one, which has no len(); solve for "
                "points of shape [n_pairs, dim]."
            )
        return batch[0]

    def __getitem__(self, index: Any) -> GeodesicPath:
        """Take some of the pairs.

        Parameters
        ----------
        index : int, slice, or array of int or bool
            Index into the batch shape, such as ``~path.converged``.

        Returns
        -------
        path : GeodesicPath
            Their geodesics, in fresh arrays.
        """
        batch = tuple(self.length.shape)
        parts = index if isinstance(index, tuple) else (index,)
        which = tuple(host(part) if isinstance(part, torch.Tensor) else part for part in parts)
        try:
            rows = np.arange(math.prod(batch)).reshape(batch)[which]
        except IndexError as error:
            raise IndexError(
                f"Expected an index into pairs of the batch shape {list(batch)}, got {index!r}: "
                f"{error}."
            ) from error

        def take(array: Any) -> Any:
            flat = array.reshape((math.prod(batch), *array.shape[len(batch) :]))
            if isinstance(array, torch.Tensor):
                return flat[torch.as_tensor(rows, device=array.device)]
            return flat[rows]

        curves = None if self.curves is None else self.curves.take(rows.ravel())
        return replace(self.map(take), curves=curves)

    def __iter__(self) -> Iterator[GeodesicPath]:
        """Yield the geodesics along the first dimension of the batch."""
        return (self[k] for k in range(len(self)))

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
        values, counts = np.unique(host(self.status), return_counts=True)
        return {GeodesicStatus(int(v)): int(n) for v, n in zip(values, counts, strict=True)}


# Fields of a path that are no arrays.
_NO_ARRAYS = ("degree", "curves", "decoder")


def join_paths(blocks: list[GeodesicPath]) -> GeodesicPath:
    """Put the pairs of several blocks of numpy arrays together, block after block."""
    n_points = max(block.points.shape[1] for block in blocks)
    blocks = [_padded(block, n_points) for block in blocks]

    def join(name: str) -> Any:
        parts = [getattr(block, name) for block in blocks]
        if name == "curves":
            return join_curves(parts)
        return parts[0] if name in _NO_ARRAYS or parts[0] is None else np.concatenate(parts)

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
