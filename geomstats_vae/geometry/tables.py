"""A table of the metric that is built once: when many geodesics are asked for, or before."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from geomstats_vae.geodesics import LatentGraph
from geomstats_vae.geodesics.deadline import NO_LIMIT, Deadline
from geomstats_vae.geodesics.elements import Evaluator, cache_sized_chunk
from geomstats_vae.geodesics.solver import GeodesicSolver
from geomstats_vae.geodesics.table import MetricTable, TableOptions
from geomstats_vae.geodesics.table.samples import Metric, Samples
from geomstats_vae.immersions.decoder import Decoder

# Graph paths between so many pairs of codes show where geodesics run.
_PATHS = 300
# Codes at which the time of an evaluation is taken.
_SAMPLE = 256
# Rows of as many numbers as F has outputs that are held for a point while M is evaluated.
_ROWS_PER_POINT = 4


class TableOnDemand:
    """The table of a decoder's metric around some latent codes, shared by geometries that hold it.

    Parameters
    ----------
    codes : numpy.ndarray, shape=[n_codes, dim]
        Latent codes that the table is to cover.
    always : bool
        Whether the table serves every call. By default it serves calls for so many geodesics that
        it pays, and what asks for it: `DecoderGeometry.for_many`.
    options : TableOptions, optional
        How fine it is.

    Notes
    -----
    Copies and pickles carry the codes and not the table.
    """

    def __init__(
        self,
        codes: NDArray[np.float64],
        *,
        always: bool = False,
        options: TableOptions | None = None,
    ) -> None:
        self.codes, self.always = codes, always
        self.options = TableOptions() if options is None else options
        self._lock = threading.Lock()
        self._table: MetricTable | None = None
        self._wider: dict[float, TableOnDemand] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {"codes": self.codes, "always": self.always, "options": self.options}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    @property
    def built(self) -> bool:
        """Whether the table is there."""
        return self._table is not None

    def serves(self, decoder: Decoder) -> bool:
        """Tell whether the metric of a decoder can be tabulated: in 2 or 3 dimensions, if smooth.

        Parameters
        ----------
        decoder : Decoder
            The decoder.

        Returns
        -------
        serves : bool
            False for decoders with kinks, too.
        """
        return decoder.dim in (2, 3) and decoder.immersion().smooth is not False

    def wider(self, margin: float) -> TableOnDemand:
        """Take a table of a wider box, as fine where this one is.

        Parameters
        ----------
        margin : float
            Share of the codes' box by which it is to be larger on each side.

        Returns
        -------
        table : TableOnDemand
            Always the same for a margin; this one if it is as wide.
        """
        options = self.options
        if margin <= options.margin:
            return self
        with self._lock:
            if margin not in self._wider:
                ratio = (1.0 + 2.0 * margin) / (1.0 + 2.0 * options.margin)
                halvings = options.most_halvings + math.ceil(math.log2(ratio))
                options = replace(options, margin=margin, most_halvings=halvings)
                self._wider[margin] = TableOnDemand(self.codes, always=self.always, options=options)
            return self._wider[margin]

    def get(
        self,
        decoder: Decoder,
        graph: Callable[[], LatentGraph | None] = lambda: None,
        *,
        known: Samples | None = None,
        verbose: bool = False,
        deadline: Deadline = NO_LIMIT,
    ) -> MetricTable | None:
        """Build the table, or return the one that was built.

        Parameters
        ----------
        decoder : Decoder
            The decoder.
        graph : callable, optional
            Returns a graph, which shows where geodesics run: if the table cannot be fine
            everywhere, it is so there.
        known : Samples, optional
            Values of the metric, as of the graph if it is there.
        verbose : bool
            Show a progress bar.
        deadline : Deadline, optional
            When the geodesics are to be there.

        Returns
        -------
        table : MetricTable or None
            The table; None if building it is expected to take more than half of the time left.
        """
        if self._table is not None:
            return self._table
        with self._lock, torch.no_grad():
            if self._table is None:
                immersion = decoder.immersion().condensed()
                chunk = cache_sized_chunk(immersion, _ROWS_PER_POINT)
                metric = Evaluator(immersion, chunk).metrics
                if self._takes_too_long(metric, deadline):
                    return None
                low, high = self.codes.min(axis=0), self.codes.max(axis=0)
                width = np.where(high > low, high - low, (high - low).max(initial=0.0) or 1.0)
                margin = self.options.margin * width
                self._table = MetricTable(
                    metric,
                    low - margin,
                    high + margin,
                    wanted=lambda: _places(self.codes, graph()),
                    options=self.options,
                    verbose=verbose,
                    known=known,
                )
            return self._table

    def _takes_too_long(self, metric: Metric, deadline: Deadline) -> bool:
        """Tell whether half of the time left is too short to evaluate as many points as allowed."""
        if deadline.remaining is None:
            return False
        sample = self.codes[:_SAMPLE]
        metric(sample)
        begun = time.perf_counter()
        metric(sample)
        each = (time.perf_counter() - begun) / len(sample)
        return 0.5 * deadline.remaining < each * self.options.most_points


def _places(codes: NDArray[np.float64], graph: LatentGraph | None) -> NDArray[np.float64]:
    """Codes, and vertices of graph paths between some pairs of them."""
    if graph is None:
        return codes
    start, end = codes[np.random.default_rng(0).integers(len(codes), size=(2, _PATHS))]
    return np.concatenate([codes, *graph.paths(start, end)[0]])


def with_table(solver: Any, table: MetricTable | None) -> Any:
    """Give a solver a table, if it can make use of one.

    Parameters
    ----------
    solver : Solver
        The solver.
    table : MetricTable or None
        Table of the metric that it works in.

    Returns
    -------
    solver : Solver
        The same, or one that differs in its table only.
    """
    if table is None or not isinstance(solver, GeodesicSolver):
        return solver
    return replace(solver, table=table)
