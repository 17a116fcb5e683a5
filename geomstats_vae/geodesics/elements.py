"""Elements in the decoder's metric: how long they are, and the parts that curve models share.

Lengths are integrals of |dF(c')| by Gauss quadrature on the curve itself, so a wall between two
nodes is felt: chords of F between nodes would tunnel through it.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from geomstats_vae.geodesics.arrays import Bools, Floats, Ints
from geomstats_vae.geodesics.curves.chain import Curves
from geomstats_vae.geodesics.curves.reference import reference_element, running_integral
from geomstats_vae.geodesics.model import Proposal, Step
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


@dataclass
class FirstVariation(PerElement):
    """Length, gradient and turning of elements; see `Variation`."""

    length: Floats
    gradient: Floats
    turning: Floats

    @property
    def finite(self) -> Bools:
        """Whether all is finite, shape=[n_elements]."""
        return np.isfinite(self.gradient).all(axis=1) & np.isfinite(self.length)


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
        for part in self.chunks(points):
            rows = slice(begin, begin + len(part))
            norm[rows], gradient[rows] = map(to_numpy, self.immersion.std_norm(part))
            begin += len(part)
        return norm, gradient

    def onto_levels(
        self, points: Floats, level: Floats, move: Callable[[Floats, Floats], Floats]
    ) -> Floats:
        """Move points along the gradient of the norm of sigma to levels, in three steps.

        ``move`` takes points and steps, and returns the points where the steps are to lead.
        """
        for _ in range(3):
            norm, gradient = self.std_norms(points)
            square = (gradient**2).sum(axis=1)
            flat = ~(square > 1e-20 * np.nanmax(square, initial=0.0))
            share = np.where(flat, 0.0, (level - norm) / np.where(flat, 1.0, square))
            points = move(points, gradient * share[:, None])
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
    rows_per_point: int | None = 8

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


class ElementModel(ElementEvaluator, abc.ABC):
    """A model of curves with a default for all but `newton_step`; see `CurveModel`.

    By default a step is searched along Newton's direction, and halved until it is taken.

    Parameters
    ----------
    immersion : Immersion
        The decoder's F.
    degree : int
        Polynomial degree of the elements.
    chunk_size : int, optional
        Points evaluated at once; by default as many as fit a processor's cache.
    """

    line_elements: int = 4

    @property
    def pair_bytes(self) -> int:
        """Memory that a typical curve takes in a batch, in bytes: about 400 times its nodes."""
        return 8 * 400 * 8 * self.element.degree * self.immersion.dim

    def variation(self, nodes: Floats) -> Any:
        """Lengths, gradients and turning of elements, without a Jacobian; see `CurveModel`."""
        length, gradient = np.zeros(len(nodes)), np.zeros((len(nodes), nodes[0].size))
        turning, begin = np.zeros(len(nodes)), 0
        for part in self.chunks(nodes, len(self.element.weights)):
            rows = slice(begin, begin + len(part))
            parts = map(to_numpy, self._first_variation(part))
            length[rows], gradient[rows], turning[rows] = parts
            begin += len(part)
        return FirstVariation(length, gradient, turning)

    def _first_variation(self, nodes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        b, d, w = self.rule("interpolate"), self.rule("differentiate"), self.rule("weights")
        moving = self.immersion.linearize(*curve_points(nodes, b, d))
        shape, tiny = (len(nodes), len(w), -1), torch.finfo(nodes.dtype).tiny
        tangent = torch.nn.functional.normalize(moving.pushed, eps=tiny)
        dz, dv = moving.pull(tangent * w.repeat(len(nodes))[:, None])
        gradient = torch.einsum("qa,eqd->ead", b, dz.reshape(shape))
        gradient = gradient + torch.einsum("qa,eqd->ead", d, dv.reshape(shape))
        turn = torch.einsum("qr,erp->eqp", self.rule("differentiate_points"), tangent.view(shape))
        length = moving.pushed.norm(dim=1).view(shape[:2]) @ w
        return length, gradient.flatten(1), turn.norm(dim=-1) @ w

    @abc.abstractmethod
    def newton_step(self, curves: Curves, variation: Any) -> Step:
        """Find steps that shorten curves.

        Parameters
        ----------
        curves : Curves
            Curves.
        variation : Variation
            That of their elements.

        Returns
        -------
        step : array, shape=[n_elements, degree + 1, dim]
            Displacement of the nodes; zero at the ends.
        decrement : array, shape=[n_curves]
            -gradient . step.
        definite : array of bool, shape=[n_curves]
            False for curves that are known to be on a saddle.
        """

    def memory(self, curves: Curves, length: Floats) -> Any:
        """Nothing; see `CurveModel.memory`."""
        return CurveMemory()

    def propose(
        self,
        curves: Curves,
        variation: Any,
        fine: Floats,
        enough: Floats,
        before: Floats,
        memory: Any,
    ) -> Proposal:
        """Propose Newton's steps and their halves; see `CurveModel.propose`."""
        return HalvedStep(curves, *self.newton_step(curves, variation)[:2], enough)

    def direction(self, halves: Curves, variation: Any, length: Floats, memory: Any) -> Step:
        """Newton's directions on meshes of halves; see `CurveModel.direction`."""
        return self.newton_step(halves, variation)

    def definite(self, curves: Curves) -> Bools:
        """Whether second variations are positive definite; see `CurveModel.definite`."""
        return self.newton_step(curves, self.variation(curves.nodes))[2]

    def modes(self, curves: Curves, variation: Any, length: Floats) -> tuple[Floats, Floats]:
        """No directions; see `CurveModel.modes`."""
        return np.zeros_like(curves.nodes), length


class HalvedStep:
    """Proposals along one direction, halved by each refusal; see `Proposal`.

    Parameters
    ----------
    curves : Curves
        Curves.
    direction : array, shape=[n_elements, degree + 1, dim]
        Displacements of their nodes.
    decrement : array, shape=[n_curves]
        -gradient . direction.
    enough : array, shape=[n_curves]
        Decrements at which curves are done.
    """

    def __init__(
        self, curves: Curves, direction: Floats, decrement: Floats, enough: Floats
    ) -> None:
        self._curves, self._direction = curves, direction
        self._share = np.ones(len(curves))
        self.decrement, self.done = decrement, decrement <= enough
        self.open = np.ones(len(curves), dtype=bool)

    def step(self, which: Ints) -> tuple[Floats, Floats]:
        """Propose steps for some curves; see `Proposal.step`."""
        share, rows = self._share[self._curves.owner, None, None], self._curves.rows(which)
        return (share * self._direction)[rows], self._share[which] * self.decrement[which]

    def refuse(self, which: Ints, displacement: Floats, tried: Floats) -> None:
        """Halve steps; see `Proposal.refuse`."""
        self._share[which] *= 0.5

    def accept(self, taken: Bools, gained: Floats) -> Bools:
        """No curve is sure to be done; see `Proposal.accept`."""
        return np.zeros(len(taken), dtype=bool)


# -- evaluation in torch --------------------------------------------------------------------------


def cache_sized_chunk(immersion: Immersion, rows: int | None = None) -> int:
    """Choose how many points to evaluate at once: as many as fit a processor's cache, 2 MB.

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
        Between 16 and 1024; on other devices than the host there is no such limit, and 65536.
    """
    if immersion.device.type != "cpu":
        return 65536
    origin = torch.zeros(1, immersion.dim, dtype=immersion.dtype, device=immersion.device)
    size = immersion(origin).shape[1] * (rows or 2 * immersion.dim + 1) * 8
    return int(np.clip(_CACHE_BYTES // size, 16, 1024))


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
