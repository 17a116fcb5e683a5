"""Elements in the decoder's metric: how long they are.

Lengths are integrals of |dF(c')| by Gauss quadrature on the curve itself, so a wall between two
nodes is felt: chords of F between nodes would tunnel through it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from geomstats_vae.geodesics.arrays import Bools, Floats, Ints
from geomstats_vae.geodesics.curves.chain import Curves
from geomstats_vae.geodesics.curves.reference import reference_element, running_integral
from geomstats_vae.immersions.immersion import Immersion

_CACHE_BYTES = 2**21  # of a processor's cache, that what is evaluated at once should fit
_SPEED_FLOOR = 1e-9  # of |J| |c'|; slower points say nothing of the direction

Self = TypeVar("Self", bound="PerElement")


@dataclass
class PerElement:
    """Arrays with one entry per element, taken, written and repeated together."""

    def __getitem__(self: Self, rows: Any) -> Self:
        return type(self)(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))

    def __setitem__(self, rows: Any, other: Any) -> None:
        for name in self.__dataclass_fields__:
            getattr(self, name)[rows] = getattr(other, name)

    def repeat(self: Self, repeats: Ints) -> Self:
        """Repeat entries; repeats shape=[n_elements]."""
        columns = [getattr(self, name) for name in self.__dataclass_fields__]
        return type(self)(*(np.repeat(column, repeats, axis=0) for column in columns))


class CurveMemory:
    """What a model learns of curves from step to step; see `Memory`.

    Parameters
    ----------
    per_curve : dict of array, shape=[n_curves, ...]
        Numbers or objects, one for each curve.
    per_element : dict of array, shape=[n_elements, ...]
        The same for each element. Halves take those of the element.
    """

    def __init__(
        self,
        per_curve: dict[str, np.ndarray] | None = None,
        per_element: dict[str, np.ndarray] | None = None,
    ) -> None:
        self.per_curve, self.per_element = per_curve or {}, per_element or {}

    def take(self, which: Ints, rows: Ints) -> Any:
        """Copy what is known of some curves, and of their elements."""
        return type(self)(
            {name: column[which] for name, column in self.per_curve.items()},
            {name: column[rows] for name, column in self.per_element.items()},
        )

    def put(self, which: Ints, rows: Ints, part: CurveMemory) -> None:
        """Write what `take` copied."""
        for name, column in self.per_curve.items():
            column[which] = part.per_curve[name]
        for name, column in self.per_element.items():
            column[rows] = part.per_element[name]

    def split(self, curves: Curves, marked: Bools) -> None:
        """Follow a bisection; curves are those before it."""
        repeats = np.where(marked, 2, 1)
        for name, column in self.per_element.items():
            self.per_element[name] = np.repeat(column, repeats, axis=0)

    def moved(self, which: Ints) -> None:
        """Note that curves were put elsewhere."""


class Evaluator:
    """Evaluates a decoder at arrays of numpy, in chunks of bounded memory.

    Parameters
    ----------
    immersion : Immersion
        The decoder's F.
    chunk_size : int
        Points evaluated at once.
    """

    def __init__(self, immersion: Immersion, chunk_size: int) -> None:
        self.immersion, self.chunk_size = immersion, chunk_size
        self.dtype, self.device = immersion.dtype, immersion.device

    @property
    def eps(self) -> float:
        """Rounding unit of the decoder's type."""
        return torch.finfo(self.dtype).eps

    def tensor(self, array: np.ndarray) -> Tensor:
        """Array as a tensor of the immersion's type, on its device."""
        return torch.as_tensor(array, dtype=self.dtype, device=self.device)

    def chunks(self, points: np.ndarray, points_each: int = 1) -> Iterable[Tensor]:
        """Rows as tensors, as many at a time as make up a chunk of points."""
        rows = self.tensor(points)
        return rows.split(max(1, self.chunk_size // points_each)) if len(rows) else ()

    def metrics(self, points: Floats) -> Floats:
        """Metric matrices at latent codes, shape=[n_points, dim, dim]."""
        metrics = np.zeros((len(points), points.shape[1], points.shape[1]))
        begin = 0
        # Written to its place at once: small results kept between large temporaries would leave
        # the memory of all of them in pieces.
        for part in self.chunks(points):
            metrics[begin : begin + len(part)] = to_numpy(self.immersion.metric(part))
            begin += len(part)
        return metrics

    def std_norms(self, points: Floats) -> tuple[Floats, Floats]:
        """Norm of the standard deviation at latent codes, shape=[n_points], and its gradient."""
        norm, gradient, begin = np.zeros(len(points)), np.zeros(points.shape), 0
        # Of each point fewer numbers are held than for its metric.
        for part in self.tensor(points).split(4 * self.chunk_size) if len(points) else ():
            rows = slice(begin, begin + len(part))
            norm[rows], gradient[rows] = map(to_numpy, self.immersion.std_norm(part))
            begin += len(part)
        return norm, gradient

    def metrics_and_std_norms(self, points: Floats) -> tuple[Floats, Floats, Floats]:
        """Both of `metrics` and `std_norms` at latent codes, from one evaluation."""
        metric = np.zeros((len(points), points.shape[1], points.shape[1]))
        norm, gradient, begin = np.zeros(len(points)), np.zeros(points.shape), 0
        for part in self.chunks(points):
            rows = slice(begin, begin + len(part))
            found = map(to_numpy, self.immersion.metric_and_std_norm(part))
            metric[rows], norm[rows], gradient[rows] = found
            begin += len(part)
        return metric, norm, gradient

    def onto_levels(
        self,
        points: Floats,
        level: Floats,
        move: Callable[[Ints, Floats, Floats], Floats],
        known: tuple[Floats, Floats] | None = None,
        near: float = 0.03,
    ) -> Floats:
        """Move points along the gradient of the norm of sigma to levels, in at most three steps.

        Parameters
        ----------
        points : array, shape=[n_points, dim]
            Points.
        level : array, shape=[n_points]
            Norms of sigma that are looked for.
        move : callable
            Takes indices of points, where these are, and steps; returns where the steps are to
            lead.
        known : (array, array), optional
            What `std_norms` gives for the points.
        near : float
            Points that have come this near, as a share of where they began, take no more steps.

        Returns
        -------
        points : array, shape=[n_points, dim]
            Points on the levels, or as near to them as they were let.
        """
        points, left, first = points.copy(), np.arange(len(points)), np.zeros(len(points))
        for k in range(3):
            here = points[left]
            norm, gradient = known if known is not None and k == 0 else self.std_norms(here)
            square = (gradient**2).sum(axis=1)
            flat = ~(square > 1e-20 * np.nanmax(square, initial=0.0))
            off = level[left] - norm
            share = np.where(flat, 0.0, off / np.where(flat, 1.0, square))
            points[left] = move(left, here, gradient * share[:, None])
            # Errors are squared from step to step.
            first = first if k else np.abs(off)
            far = np.abs(off) > near * first if k else np.abs(off) > 0.0
            left, first = left[far], first[far]
        return points

    def chord_lengths(self, points: Floats) -> Floats:
        """Lengths of polylines by chords of F; points shape=[n_lines, n_vertices, dim]."""
        lengths = [np.zeros(0)]
        for part in self.chunks(points, points.shape[1]):
            lengths.append(to_numpy(chord_lengths(self.immersion, part, self.chunk_size)))
        return np.concatenate(lengths)

    def segment_lengths(self, start: Floats, end: Floats, n_chords: int) -> Floats:
        """Lengths of straight segments by equally many chords of F, shape=[n_segments]."""
        share = self.tensor(np.linspace(0.0, 1.0, n_chords + 1)[:, None])
        length, begin = np.zeros(len(start)), 0
        for ends in self.chunks(np.stack((start, end), axis=1), n_chords):
            a, b = ends[:, :1], ends[:, 1:]
            part = chord_lengths(self.immersion, a + (b - a) * share, self.chunk_size)
            length[begin : begin + len(part)] = to_numpy(part)
            begin += len(part)
        return length

    def nested_lengths(self, start: Floats, end: Floats, n_chords: int) -> tuple[Floats, Floats]:
        """Lengths of straight segments by half of an even number of chords, and by all of them."""
        share = self.tensor(np.linspace(0.0, 1.0, n_chords + 1)[:, None])
        length, begin = np.zeros((2, len(start))), 0
        # Pieces begin at every second point, so that each holds whole chords of both kinds.
        piece = 2 * max(1, self.chunk_size // 2)
        for ends in self.chunks(np.stack((start, end), axis=1), n_chords):
            rows = slice(begin, begin + len(ends))
            for first in range(0, n_chords, piece):
                part = share[first : first + piece + 1]
                points = ends[:, :1] + (ends[:, 1:] - ends[:, :1]) * part
                value = self.immersion(points.flatten(0, 1)).unflatten(0, points.shape[:2])
                length[0, rows] += to_numpy(value[:, ::2].diff(dim=1).norm(dim=2).sum(1))
                length[1, rows] += to_numpy(value.diff(dim=1).norm(dim=2).sum(1))
            begin += len(ends)
        return length[0], length[1]

    def steps(self, start: Floats, end: Floats) -> tuple[Floats, Floats]:
        """How far F goes from points to others, |F(end) - F(start)|, and its norms at the first."""
        step, norm = np.zeros((2, len(start)))
        begin = 0
        for ends in self.chunks(np.stack((start, end), axis=1), 2):
            rows, (a, b) = slice(begin, begin + len(ends)), ends.unbind(1)
            first = self.immersion(a)
            step[rows] = to_numpy((self.immersion(b) - first).norm(dim=1))
            norm[rows] = to_numpy(first.norm(dim=1))
            begin += len(ends)
        return step, norm

    def line_speeds(self, start: Floats, end: Floats) -> tuple[Floats, Floats]:
        """Speeds of straight lines at their middles, and how far F goes from their starts to these.

        Where F jumps its derivatives do not show how far.
        """
        middle, speed, begin = 0.5 * (start + end), np.zeros(len(start)), 0
        for part in self.chunks(np.stack((middle, end - start), axis=1)):
            pushed = self.immersion.push(*part.unbind(1))
            speed[begin : begin + len(part)] = to_numpy(pushed.norm(dim=1))
            begin += len(part)
        return speed, self.steps(start, middle)[0]

    def straightness(
        self, start: Floats, end: Floats, n_points: int
    ) -> tuple[Floats, Floats, Floats]:
        """Measure images of straight lines, by the midpoint rule.

        Parameters
        ----------
        start, end : array, shape=[n_lines, dim]
            End points.
        n_points : int
            Points of each line.

        Returns
        -------
        length, chord : array, shape=[n_lines]
            Integrals of |dF(v)|, and norms of the integrals of dF(v): how far the ends are apart,
            without the rounding of F. They are equal if the image is straight.
        far : array, shape=[n_lines]
            How far from the image of the start the others are at most; NaN where one is.
        """
        share = self.tensor((np.arange(n_points)[:, None] + 0.5) / n_points)
        length, chord, far = np.zeros((3, len(start)))
        begin = 0
        for ends in self.chunks(np.stack((start, end), axis=1), n_points):
            rows, (a, b) = slice(begin, begin + len(ends)), ends.split(1, dim=1)
            v, first = b - a, self.immersion(a[:, 0])[:, None]
            total, way = torch.zeros_like(first), first.new_zeros(len(ends))
            most = torch.zeros_like(way)
            for part in share.split(max(1, self.chunk_size)):
                points = a + v * part
                flat, along = points.flatten(0, 1), v.expand_as(points).flatten(0, 1)
                pushed = self.immersion.push(flat, along).unflatten(0, points.shape[:2])
                value = self.immersion(flat).unflatten(0, points.shape[:2])
                total = total + pushed.sum(dim=1, keepdim=True) / n_points
                way = way + pushed.norm(dim=2).sum(dim=1) / n_points
                # The maximum of torch keeps what is no number.
                most = torch.maximum(most, (value - first).norm(dim=2).amax(dim=1))
            columns = way, total.norm(dim=2)[:, 0], most
            length[rows], chord[rows], far[rows] = map(to_numpy, columns)
            begin += len(ends)
        return length, chord, far


class ElementEvaluator(Evaluator):
    """Measures elements of one degree.

    Parameters
    ----------
    immersion : Immersion
        The decoder's F.
    degree : int
        Polynomial degree of the elements.
    chunk_size : int, optional
        Points evaluated at once; by default as many as fit a processor's cache.
    """

    # Rows of as many numbers as F has outputs that are held for a point; None: of a jet.
    rows_per_point: int | None = 4

    def __init__(self, immersion: Immersion, degree: int, chunk_size: int | None = None) -> None:
        chunk_size = chunk_size or cache_sized_chunk(immersion, self.rows_per_point)
        super().__init__(immersion, chunk_size)
        self.element = reference_element(degree)
        self._fine = tuple(
            self.rule(f"fine_{name}") for name in ("interpolate", "differentiate", "weights")
        )

    def rule(self, name: str) -> Tensor:
        """Part of the reference element, as a tensor."""
        return self.tensor(getattr(self.element, name))

    def lengths(self, nodes: Floats, rule: Floats | None = None) -> Floats:
        """Lengths of elements, on twice the quadrature points that `variation` takes.

        Parameters
        ----------
        nodes : array, shape=[n_elements, degree + 1, dim]
            Nodes of the elements.
        rule : array, shape=[2 * (degree + 1), ...], optional
            Weights of the speeds at these points; by default those of the integral.

        Returns
        -------
        length : array, shape=[n_elements, ...]
            Lengths; not finite where the decoder is not.
        """
        rule = self.element.fine_weights if rule is None else rule
        interpolate, differentiate, weights = self._fine
        speeds = [np.zeros((0, len(weights)))]
        for part in self.chunks(nodes, len(weights)):
            pushed = self.immersion.push(*curve_points(part, interpolate, differentiate))
            speeds.append(to_numpy(pushed.norm(dim=1).view(len(part), -1)))
        return np.concatenate(speeds) @ rule

    def arc_lengths(self, nodes: Floats, degree: int) -> Floats:
        """Lengths from each element's start to its nodes of a degree, [n_elements, degree + 1]."""
        return self.lengths(nodes, running_integral(self.element.degree, degree).T)


# -- evaluation in torch --------------------------------------------------------------------------


def cache_sized_chunk(immersion: Immersion, rows: int | None = None) -> int:
    """Choose how many points to evaluate at once: as many as fit a processor's cache, 2 MB.

    Other devices have larger memories and want larger batches: there what fits 512 MB.

    Parameters
    ----------
    immersion : Immersion
        Evaluated at one point, the origin, to learn its number of outputs.
    rows : int, optional
        Rows of that many outputs held per point; by default those of all first and second
        derivatives along one direction.

    Returns
    -------
    chunk_size : int
        Between 16 and 4096; on other devices than the host between 16 and 65536.
    """
    memory = bytes_on(immersion.device, _CACHE_BYTES)
    most = 4096 if immersion.device.type == "cpu" else 65536
    origin = torch.zeros(1, immersion.dim, dtype=immersion.dtype, device=immersion.device)
    size = immersion(origin).shape[1] * (rows or 2 * immersion.dim + 1) * 8
    return int(np.clip(memory // size, 16, most))


def bytes_on(device: torch.device, host: int, times: int = 256) -> int:
    """Find what may be held at once on a device: so many times as much as on the host."""
    return host if device.type == "cpu" else times * host


def chord_lengths(immersion: Immersion, points: Tensor, chunk_size: int) -> Tensor:
    """Lengths of polylines, by chords of F.

    Parameters
    ----------
    immersion : Immersion
        The decoder's F.
    points : torch.Tensor, shape=[n_lines, n_vertices, dim]
        Vertices.
    chunk_size : int
        Longer lines are evaluated in pieces of so many vertices, at least 2.

    Returns
    -------
    length : torch.Tensor, shape=[n_lines]
        Sums of the chords.
    """
    length, chunk_size = points.new_zeros(len(points)), max(2, chunk_size)
    for first in range(0, points.shape[1] - 1, chunk_size - 1):
        piece = points[:, first : first + chunk_size]
        value = immersion(piece.flatten(0, 1)).unflatten(0, piece.shape[:2])
        length = length + value.diff(dim=1).norm(dim=2).sum(1)
    return length


def inverse_speed(speed: Tensor, most: Tensor) -> Tensor:
    """One over the speed, bounded in terms of the most that the speed could have been."""
    floor = _SPEED_FLOOR * most
    return torch.where(floor > 0.0, torch.maximum(speed, floor), 1.0).reciprocal()


def curve_points(
    nodes: Tensor, interpolate: Tensor, differentiate: Tensor
) -> tuple[Tensor, Tensor]:
    """Positions and velocities at the quadrature points, shape=[n_points, dim]."""
    dim = nodes.shape[-1]
    position = torch.einsum("qa,ead->eqd", interpolate, nodes)
    velocity = torch.einsum("qa,ead->eqd", differentiate, nodes)
    return position.reshape(-1, dim), velocity.reshape(-1, dim)


def to_numpy(tensor: Tensor) -> Floats:
    """Copy a tensor to a float64 array on the host."""
    return tensor.detach().double().cpu().numpy()
