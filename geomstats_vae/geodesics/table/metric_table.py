"""A table of a metric: splines of its components, as fine as each place asks for.

What a decoder's metric costs depends on its network; what the table costs does not. A table is
good for many geodesics in two or three dimensions, and each of them is measured again on the
decoder itself, so that no answer depends on how exact the table is.
"""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from tqdm import tqdm

from geomstats_vae.geodesics.arrays import Bools, Floats, Ints
from geomstats_vae.geodesics.deadline import Deadline
from geomstats_vae.geodesics.table.leaf import Leaf
from geomstats_vae.geodesics.table.samples import Metric, Samples
from geomstats_vae.geodesics.table.segments import spline_segments
from geomstats_vae.geodesics.table.splines import (
    PADDING,
    SplineTree,
    spline_coefficients,
    spline_jets,
    spline_speeds,
)


@dataclass(frozen=True)
class TableOptions:
    """How fine a table is, and when it is built.

    Parameters
    ----------
    cells : int
        Cells of a leaf along each axis.
    blocks : dict
        Blocks along each axis before any is halved, by dimension.
    rtol : float
        Relative error of the metric, as a quadratic form, up to which a leaf is not halved.
    trusted : float
        The same up to which a leaf is used at all.
    most_halvings : int
        Halvings of a block.
    most_points : int
        Points at which the metric is evaluated, about. The worst leaves are halved first.
    most_wanted : int
        The same for leaves that hold places where the table is to be fine: before all others, those
        that hold most of them first.
    tried : float
        If after this share of `most_wanted` no such leaf can be used, no more are halved.
    few_points : int
        As long as no more are needed, every leaf that is not good is halved, and it is not asked
        where those places are.
    stride : int
        A leaf is tested in the middle of every so many cells along each axis.
    margin : float
        Share of the codes' box by which the table's box is larger on each side.
    pairs : int
        Geodesics of one call for which a table is worth its building, if it is not asked for.
    """

    cells: int = 32
    blocks: dict[int, int] = field(default_factory=lambda: {2: 8, 3: 2})
    rtol: float = 1e-4
    trusted: float = 3e-3
    most_halvings: int = 4
    most_points: int = 600_000
    most_wanted: int = 2_000_000
    tried: float = 0.4
    few_points: int = 450_000
    stride: int = 3
    margin: float = 0.08
    pairs: int = 500


class MetricTable:
    """Splines of a metric over a box of two or three dimensions.

    Parameters
    ----------
    metric : callable
        Takes points, shape=[n_points, dim]; returns matrices, shape=[n_points, dim, dim]. Where
        they are not finite and positive definite the table knows nothing.
    low, high : array, shape=[dim]
        Corners of the box.
    wanted : callable, optional
        Returns places where the table is to be fine, shape=[n_places, dim]. Blocks without any are
        halved after the others, if there are not too many points then.
    options : TableOptions, optional
        How fine it is.
    verbose : bool
        Show a progress bar, in points.
    deadline : Deadline, optional
        When to halve no more blocks.

    Attributes
    ----------
    tree : SplineTree
        The splines of the components on and above the diagonal.
    n_points : int
        Points at which the metric was evaluated.
    error : array, shape=[n_leaves]
        Largest relative error of the metric that was seen on each leaf.
    """

    def __init__(
        self,
        metric: Metric,
        low: Floats,
        high: Floats,
        *,
        wanted: Callable[[], Floats] | None = None,
        options: TableOptions | None = None,
        verbose: bool = False,
        deadline: Deadline | None = None,
    ) -> None:
        self.options = TableOptions() if options is None else options
        self.low, self.high = np.asarray(low, dtype=float), np.asarray(high, dtype=float)
        self._deadline = Deadline() if deadline is None else deadline
        with tqdm(desc="Table", unit="point", disable=not verbose) as progress:
            finest = self._n_blocks * self.options.cells * 2 ** (self.options.most_halvings + 1)
            spacing = (self.high - self.low) / finest
            self._samples = Samples(metric, self.low, spacing, progress.update)
            leaves = self._build(wanted)
        self.n_points = len(self._samples)
        del self._samples
        self.error = np.array([leaf.error for leaf in leaves])
        self.tree = self._tree(leaves)

    @property
    def dim(self) -> int:
        """Number of coordinates."""
        return len(self.low)

    @property
    def nbytes(self) -> int:
        """Memory of the coefficients, in bytes."""
        return int(self.tree.coefficients.nbytes)

    # -- building ----------------------------------------------------------------------------------

    def _build(self, wanted: Callable[[], Floats] | None) -> list[Leaf]:
        """Halve the worst blocks until all are good, or there are too many points."""
        options = self.options
        n_blocks, blocks = self._n_blocks, []
        for place in itertools.product(range(n_blocks), repeat=self.dim):
            size = (self.high - self.low) / n_blocks
            blocks.append(Leaf(self.low + np.array(place) * size, size, 0, np.array(place)))
        self._fit(blocks)
        blocks = self._halve(blocks, min(options.few_points, options.most_points), every=True)
        if wanted is not None and any(self._is_bad(leaf) for leaf in blocks):
            blocks = self._halve(blocks, options.most_wanted, wanted())
        return self._halve(blocks, options.most_points)

    def _is_bad(self, leaf: Leaf) -> bool:
        """Whether a leaf is to be halved, if there may be more points."""
        open_ = not leaf.children and leaf.halvings < self.options.most_halvings
        return open_ and not leaf.error <= self.options.rtol

    def _serves(self, leaf: Leaf) -> bool:
        """Whether a leaf is used."""
        return not leaf.children and leaf.error <= self.options.trusted

    def _halve(
        self,
        leaves: list[Leaf],
        most_points: int,
        wanted: Floats | None = None,
        *,
        every: bool = False,
    ) -> list[Leaf]:
        """Halve leaves, the worst or the most wanted first; the same leaves with their children.

        If `every`, either all that are bad are halved or none.
        """
        open_ = [leaf for leaf in leaves if not leaf.children]
        while open_ and not self._deadline.passed:
            bad = [leaf for leaf in open_ if self._is_bad(leaf)]
            if wanted is None:
                bad.sort(key=lambda leaf: -leaf.error if leaf.error < math.inf else -1e300)
            else:
                hits = {id(leaf): leaf.n_held(wanted) for leaf in bad}
                bad = [leaf for leaf in bad if hits[id(leaf)]]
                tried = len(self._samples) > self.options.tried * most_points
                if tried and not any(leaf.n_held(wanted) for leaf in leaves if self._serves(leaf)):
                    break  # the metric is too steep for this many points
                bad.sort(key=lambda leaf: -hits[id(leaf)])
            room = (most_points - len(self._samples)) // (2**self.dim * self._points_each)
            if every and len(bad) > room:
                break
            bad = bad[: max(0, room)]
            open_ = [child for leaf in bad for child in leaf.halve()]
            self._fit(open_)
            leaves = leaves + open_
        return leaves

    @property
    def _n_blocks(self) -> int:
        return self.options.blocks[self.dim]

    @property
    def _points_each(self) -> int:
        n_cells = self.options.cells
        return (n_cells + 1 + 2 * PADDING) ** self.dim + (-(-n_cells // self.options.stride)) ** (
            self.dim
        )

    def _fit(self, leaves: list[Leaf]) -> None:
        """Interpolate the metric on leaves, and see how far the splines are off."""
        dim, n_cells = self.dim, self.options.cells
        # In halves of cells.
        inner = 2 * np.arange(-PADDING, n_cells + PADDING + 1)
        middle = 2 * np.arange(0, n_cells, self.options.stride) + 1
        mesh = np.stack(np.meshgrid(*[inner] * dim, indexing="ij"), axis=-1)
        tests = np.stack(np.meshgrid(*[middle] * dim, indexing="ij"), axis=-1).reshape(-1, dim)
        places = [self._places(leaf, mesh.reshape(-1, dim)) for leaf in leaves]
        probes = [self._places(leaf, tests) for leaf in leaves]
        if leaves:
            self._samples.evaluate(np.concatenate(places + probes))
        fitted, probed = list[Leaf](), [np.zeros((0, dim * (dim + 1) // 2))]
        for leaf, place, probe in zip(leaves, places, probes, strict=True):
            values = self._samples.values(place).reshape(*mesh.shape[:-1], -1)
            if not np.isfinite(values).all():
                continue  # no more than a part of the leaf is known: its children may know theirs
            leaf.coefficients = spline_coefficients(values, dim)
            fitted.append(leaf)
            probed.append(self._samples.values(probe))
        size = np.array([leaf.size for leaf in fitted]).reshape(-1, 1, dim)
        points = np.array([leaf.origin for leaf in fitted]).reshape(-1, 1, dim)
        points = points + size * (tests / (2 * n_cells))
        errors = self._errors(fitted, points, np.concatenate(probed))
        for leaf, error in zip(fitted, errors, strict=True):
            leaf.error = float(error)

    def _places(self, leaf: Leaf, halves: Ints) -> Ints:
        """Places of a leaf's points among those of the finest leaves."""
        finer = self.options.most_halvings - leaf.halvings
        return (2 * self.options.cells * leaf.place + halves) << finer

    def _errors(self, leaves: list[Leaf], points: Floats, values: Floats) -> Floats:
        """Largest relative errors of the metric on leaves; infinite where it is no metric.

        Points are [n_leaves, n_tests, dim], and values at them [n_leaves * n_tests, n_functions].
        """
        exact = values[:, _places(self.dim)]
        tables = [
            _matrices(self._tree([leaf], alone=True), some)
            for leaf, some in zip(leaves, points, strict=True)
        ]
        table = np.concatenate([np.zeros((0, self.dim, self.dim)), *tables])
        # Coordinates may have very different scales.
        scale = np.sqrt(np.maximum(np.diagonal(exact, axis1=1, axis2=2), np.finfo(float).tiny))
        scale = scale[:, :, None] * scale[:, None, :]
        known = np.isfinite(exact).all(axis=(1, 2)) & np.isfinite(table).all(axis=(1, 2))
        # Cholesky's method fails within rounding of a singular matrix.
        known[known] = np.linalg.eigvalsh((exact / scale)[known])[:, 0] > 1e-15 * self.dim
        off = np.full(len(values), np.inf)
        factor = np.linalg.cholesky((exact / scale)[known])
        half = np.linalg.solve(factor, ((table - exact) / scale)[known])
        both = np.linalg.solve(factor, half.transpose(0, 2, 1))
        off[known] = np.linalg.norm(both, axis=(1, 2))
        return off.reshape(points.shape[:2]).max(axis=1, initial=0.0)

    def _tree(self, leaves: list[Leaf], *, alone: bool = False) -> SplineTree:
        """Put leaves into arrays; of those that were halved the children count."""
        dim, options = self.dim, self.options
        nodes, meshes = list(leaves), list[Leaf]()
        number = {id(leaf): k for k, leaf in enumerate(nodes)}
        child = np.full((len(nodes), 2**dim), -1)
        index = np.full(len(nodes), -1)
        for k, leaf in enumerate(nodes):
            if leaf.children:
                child[k] = [number[id(part)] for part in leaf.children]
            elif leaf.coefficients is not None and (alone or leaf.error <= options.trusted):
                index[k] = len(meshes)
                meshes.append(leaf)
        side = options.cells + 1 + 2 * PADDING + 4
        size = dim * (dim + 1) // 2 * side**dim
        corner = leaves[0].origin if alone else self.low
        width = leaves[0].size if alone else (self.high - self.low) / self._n_blocks
        origin = [leaf.origin - PADDING * leaf.size / options.cells for leaf in meshes]
        parts = [leaf.coefficients for leaf in meshes if leaf.coefficients is not None]
        return SplineTree(
            low=tuple(map(float, corner)),
            per_block=tuple(map(float, 1.0 / width)),
            n_blocks=(1 if alone else self._n_blocks,) * dim,
            child=child,
            leaf=index,
            origin=np.array(origin).reshape(-1, dim),
            per_cell=np.array([options.cells / leaf.size for leaf in meshes]).reshape(-1, dim),
            offset=size * np.arange(len(meshes)),
            side=side,
            error=np.array([leaf.error for leaf in meshes]),
            coefficients=np.concatenate([part.ravel() for part in parts] or [np.zeros(0)]),
        )

    def scaled(self, factor: float) -> MetricTable:
        """Multiply the metric.

        Parameters
        ----------
        factor : float
            Positive.

        Returns
        -------
        table : MetricTable
            The table of factor * M.
        """
        other = copy.copy(self)
        other.tree = self.tree._replace(coefficients=factor * self.tree.coefficients)
        return other

    # -- values ------------------------------------------------------------------------------------

    def metrics(self, points: Floats) -> Floats:
        """Metric matrices at latent codes, NaN where the table knows none.

        Parameters
        ----------
        points : array, shape=[n_points, dim]
            Codes.

        Returns
        -------
        metric : array, shape=[n_points, dim, dim]
            Matrices.
        """
        return _matrices(self.tree, points)

    def jets(self, points: Floats) -> tuple[Floats, Floats, Floats]:
        """Metric matrices with their first and second derivatives, NaN where none is known.

        Parameters
        ----------
        points : array, shape=[n_points, dim]
            Codes.

        Returns
        -------
        metric : array, shape=[n_points, dim, dim]
            Matrices.
        first : array, shape=[n_points, dim, dim, dim]
            Entry [n, i, j, k] is the derivative of entry [i, j] by coordinate k.
        second : array, shape=[n_points, dim, dim, dim, dim]
            The same by coordinates k and l.
        """
        dim, jets = self.dim, _jets(self.tree, points)
        first = jets[:, 1 : dim + 1].transpose(0, 2, 1)
        second = jets[:, dim + 1 :].transpose(0, 2, 1)
        place = _places(dim)
        return jets[:, 0][:, place], first[:, place], second[:, place][..., place]

    def speeds(self, points: Floats, velocities: Floats) -> Floats:
        """Norms of velocities at latent codes, NaN where the table knows no metric.

        Parameters
        ----------
        points, velocities : array, shape=[..., dim]
            Codes, and velocities there.

        Returns
        -------
        speed : array, shape=[...]
            Norms.
        """
        return self.speeds_and_errors(points, velocities)[0]

    def speeds_and_errors(self, points: Floats, velocities: Floats) -> tuple[Floats, Floats]:
        """Norms of velocities, and how far the metric is off there.

        Parameters
        ----------
        points, velocities : array, shape=[..., dim]
            Codes, and velocities there.

        Returns
        -------
        speed : array, shape=[...]
            Norms.
        error : array, shape=[...]
            Largest relative error of the metric that was seen on the leaf of each point.
        """
        shape = np.shape(points)
        points, velocities = (
            np.ascontiguousarray(part, dtype=float).reshape(-1, shape[-1])
            for part in (points, velocities)
        )
        speed, error = np.empty((2, len(points)))
        spline_speeds(self.tree, points, velocities, speed, error)
        return speed.reshape(shape[:-1]), error.reshape(shape[:-1])

    def segment_lengths(self, start: Floats, end: Floats) -> Floats:
        """Lengths of short straight lines, by two points of each.

        Parameters
        ----------
        start, end : array, shape=[n_lines, dim]
            Their ends.

        Returns
        -------
        length : array, shape=[n_lines]
            Lengths; NaN where the table knows no metric.
        """
        length = np.empty(len(start))
        spline_segments(self.tree, start, end, length)
        return length

    def knows(self, points: Floats) -> Bools:
        """Whether the table knows the metric at latent codes, shape=[n_points]."""
        return np.isfinite(_jets(self.tree, points)[:, 0, 0])


def _jets(tree: SplineTree, points: Floats) -> Floats:
    points = np.ascontiguousarray(points, dtype=float)
    dim = points.shape[1]
    n_functions = dim * (dim + 1) // 2
    jets = np.empty((len(points), 1 + dim + n_functions, n_functions))
    spline_jets(tree, points, jets)
    return jets


def _matrices(tree: SplineTree, points: Floats) -> Floats:
    return _jets(tree, points)[:, 0][:, _places(points.shape[1])]


def _places(dim: int) -> Ints:
    """Places of the entries of a symmetric matrix among those on and above its diagonal."""
    place = np.zeros((dim, dim), dtype=int)
    rows, columns = np.triu_indices(dim)
    place[rows, columns] = place[columns, rows] = np.arange(len(rows))
    return place
