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
from typing import Any

import numpy as np
from tqdm import tqdm

from geomstats_vae.geodesics.arrays import Bools, Floats, Ints
from geomstats_vae.geodesics.deadline import Deadline
from geomstats_vae.geodesics.table.leaf import Leaf, lattice, relative_errors
from geomstats_vae.geodesics.table.samples import Metric, Samples
from geomstats_vae.geodesics.table.segments import spline_segments
from geomstats_vae.geodesics.table.splines import (
    BEYOND,
    PADDING,
    SplineTree,
    spline_coefficients,
    spline_jets,
    spline_speeds,
)
from geomstats_vae.geodesics.table.table_options import TableOptions


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
    known : Samples, optional
        What is known of the metric: where the table asks for the same points, it is not evaluated.
    keep : bool
        Whether to keep the values of the metric, for a finer table.

    Attributes
    ----------
    samples : Samples or None
        These values. They are not copied or pickled along.
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
        known: Samples | None = None,
        keep: bool = False,
    ) -> None:
        self.options = TableOptions() if options is None else options
        self.low, self.high = np.asarray(low, dtype=float), np.asarray(high, dtype=float)
        self._deadline = Deadline() if deadline is None else deadline
        self._cut = math.gcd(self.options.cells, self.options.cuts[self.dim])
        with tqdm(desc="Table", unit="point", disable=not verbose) as progress:
            finest = self._n_blocks * self._n_cells * 2 ** (self.options.most_halvings + 1)
            spacing = (self.high - self.low) / finest
            self._samples = Samples(metric, self.low, spacing, progress.update, known)
            leaves = self._build(wanted)
        self.n_points = len(self._samples)
        self.samples = self._samples if keep else None
        del self._samples
        self.error = np.array([leaf.error for leaf in leaves])
        self.tree = self._tree(leaves)

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"samples": None}

    @property
    def dim(self) -> int:
        """Number of coordinates."""
        return len(self.low)

    @property
    def complete(self) -> bool:
        """Whether the metric is known all over the box."""
        return bool((self.tree.leaf[self.tree.child[:, 0] < 0] >= 0).all())

    @property
    def nbytes(self) -> int:
        """Memory of the coefficients, in bytes."""
        return int(self.tree.coefficients.nbytes)

    # -- building ----------------------------------------------------------------------------------

    def _build(self, wanted: Callable[[], Floats] | None) -> list[Leaf]:
        """Halve the worst blocks until all are good, or there are too many points."""
        options = self.options
        few = min(options.few_points, options.most_points)
        leaves = self._halve(self._blocks(), few, every=True)
        late = self._deadline.passed
        if self._cut > 1 and not late and any(self._is_bad(leaf) for leaf in leaves):
            self._cut = 1
            leaves = self._halve(self._blocks(), few, every=True)
        if wanted is not None and any(self._is_bad(leaf) for leaf in leaves):
            leaves = self._halve(leaves, options.most_wanted, wanted())
        return self._halve(leaves, options.most_points)

    def _blocks(self) -> list[Leaf]:
        n_blocks, blocks = self._n_blocks, []
        for place in itertools.product(range(n_blocks), repeat=self.dim):
            size = (self.high - self.low) / n_blocks
            blocks.append(Leaf(self.low + np.array(place) * size, size, 0, np.array(place)))
        self._fit(blocks)
        return blocks

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
        return self._cut * self.options.blocks[self.dim]

    @property
    def _n_cells(self) -> int:
        return self.options.cells // self._cut

    @property
    def _points_each(self) -> int:
        n_cells = self._n_cells
        return (n_cells + 1 + 2 * PADDING) ** self.dim + (-(-n_cells // self.options.stride)) ** (
            self.dim
        )

    def _fit(self, leaves: list[Leaf]) -> None:
        """Interpolate the metric on leaves, and see how far the splines are off."""
        if not leaves:
            return
        n_cells = self._n_cells
        # In halves of cells.
        mesh = lattice(2 * np.arange(-PADDING, n_cells + PADDING + 1), self.dim)
        tests = lattice(2 * np.arange(0, n_cells, self.options.stride) + 1, self.dim)
        places, probes = self._places(leaves, mesh), self._places(leaves, tests)
        self._samples.evaluate(np.concatenate((places, probes), axis=1).reshape(-1, self.dim))
        shape = (n_cells + 1 + 2 * PADDING,) * self.dim
        piece = max(1, self.options.piece // len(mesh))
        for k in range(0, len(leaves), piece):
            some = slice(k, k + piece)
            values = self._samples.values(places[some]).reshape(-1, *shape, self._n_functions)
            # Of the others no more than a part is known: their children may know theirs.
            known = np.asarray(np.isfinite(values.reshape(len(values), -1)).all(axis=1))
            coefficients = spline_coefficients(values[known], self.dim)
            exact = self._samples.values(probes[some])[known]
            errors = self._errors(coefficients, tests / (2 * n_cells), exact)
            fitted = [leaf for leaf, good in zip(leaves[some], known, strict=True) if good]
            for leaf, part, error in zip(fitted, coefficients, errors, strict=True):
                leaf.coefficients, leaf.error = part.copy(), float(error)

    @property
    def _n_functions(self) -> int:
        return self.dim * (self.dim + 1) // 2

    def _places(self, leaves: list[Leaf], halves: Ints) -> Ints:
        """Places of leaves' points among those of the finest leaves, [n_leaves, n_points, dim]."""
        first = 2 * self._n_cells * np.array([leaf.place for leaf in leaves])
        finer = self.options.most_halvings - np.array([leaf.halvings for leaf in leaves])
        places: Ints = (first[:, None] + halves) << finer[:, None, None]
        return places

    def _errors(self, coefficients: Floats, tests: Floats, values: Floats) -> Floats:
        """Largest relative errors of the metric on leaves; infinite where it is no metric.

        Tests are shares of a leaf, [n_tests, dim], and values there are [n_leaves, n_tests,
        n_functions].
        """
        dim, n_leaves = self.dim, len(coefficients)
        # As if the leaves were blocks side by side.
        first = np.zeros((n_leaves, 1, dim))
        first[:, 0, 0] = np.arange(n_leaves)
        tree = self._tree_of(
            coefficients,
            origin=first[:, 0] - PADDING / self._n_cells,
            per_cell=np.full((n_leaves, dim), float(self._n_cells)),
            low=(0.0,) * dim,
            per_block=(1.0,) * dim,
            n_blocks=(n_leaves, *(1,) * (dim - 1)),
            child=np.full((n_leaves, 2**dim), -1),
            leaf=np.arange(n_leaves),
            error=np.zeros(n_leaves),
        )
        exact = values.reshape(-1, self._n_functions)[:, _places(dim)]
        table = _matrices(tree, (first + tests).reshape(-1, dim))
        return relative_errors(exact, table).reshape(values.shape[:2]).max(axis=1, initial=0.0)

    def _tree(self, leaves: list[Leaf]) -> SplineTree:
        """Put leaves into arrays; of those that were halved the children count."""
        dim, n_cells, meshes = self.dim, self._n_cells, list[Leaf]()
        number = {id(leaf): k for k, leaf in enumerate(leaves)}
        child = np.full((len(leaves), 2**dim), -1)
        index = np.full(len(leaves), -1)
        for k, leaf in enumerate(leaves):
            if leaf.children:
                child[k] = [number[id(part)] for part in leaf.children]
            elif leaf.coefficients is not None and leaf.error <= self.options.trusted:
                index[k] = len(meshes)
                meshes.append(leaf)
        origin = [leaf.origin - PADDING * leaf.size / n_cells for leaf in meshes]
        parts = [leaf.coefficients for leaf in meshes if leaf.coefficients is not None]
        return self._tree_of(
            np.concatenate([part.ravel() for part in parts] or [np.zeros(0)]),
            origin=np.array(origin).reshape(-1, dim),
            per_cell=np.array([n_cells / leaf.size for leaf in meshes]).reshape(-1, dim),
            low=tuple(map(float, self.low)),
            per_block=tuple(map(float, self._n_blocks / (self.high - self.low))),
            n_blocks=(self._n_blocks,) * dim,
            child=child,
            leaf=index,
            error=np.array([leaf.error for leaf in meshes]),
        )

    def _tree_of(self, coefficients: Floats, **columns: Any) -> SplineTree:
        """Make a tree of the coefficients of meshes, one after the other, and what else it has."""
        side = self._n_cells + 1 + 2 * PADDING + 2 * BEYOND
        offset = self._n_functions * side**self.dim * np.arange(len(columns["error"]))
        return SplineTree(coefficients=coefficients.ravel(), offset=offset, side=side, **columns)

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
