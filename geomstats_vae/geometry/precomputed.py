"""What is computed once for many geodesics: the graph of a scaled metric, and its table."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from geomstats_vae.geodesics import LatentGraph
from geomstats_vae.geodesics.deadline import Deadline
from geomstats_vae.geodesics.table import MetricTable
from geomstats_vae.geometry.blocks import Blocks
from geomstats_vae.geometry.graphs import GraphOnDemand
from geomstats_vae.geometry.tables import TableOnDemand
from geomstats_vae.geometry.time_limit import earlier
from geomstats_vae.immersions.decoder import Decoder


@dataclass(frozen=True)
class Precomputed:
    """Graph and table of a decoder's metric times a factor, each built when it is first asked for.

    Parameters
    ----------
    decoder : Decoder
        The decoder.
    unscaled_graph : LatentGraph or GraphOnDemand, optional
        The graph of the metric itself.
    unscaled_table : MetricTable or TableOnDemand, optional
        The table of the metric itself.
    scale : float
        Factor of the metric.
    max_seconds : float or None
        The solver's limit of time: a table that takes too long is not built.
    blocks : Blocks
        Whether to show bars, and when all that is being done is to be there.
    """

    decoder: Decoder
    unscaled_graph: LatentGraph | GraphOnDemand | None
    unscaled_table: MetricTable | TableOnDemand | None
    scale: float
    max_seconds: float | None
    blocks: Blocks

    @cached_property
    def graph(self) -> LatentGraph | None:
        """The graph of the scaled metric; None without one."""
        graph = self.own_graph
        return graph if graph is None or self.scale == 1.0 else graph.scaled(self.scale**0.5)

    @property
    def own_graph(self) -> LatentGraph | None:
        """The graph of the metric itself; None without one."""
        graph = self.unscaled_graph
        if isinstance(graph, GraphOnDemand):
            graph = graph.get(self.decoder, verbose=self.blocks.verbose)
        return graph

    @cached_property
    def table(self) -> MetricTable | None:
        """The table of the scaled metric; None without one, or if there can be none."""
        table = self.own_table
        return table if table is None or self.scale == 1.0 else table.scaled(self.scale)

    @cached_property
    def own_table(self) -> MetricTable | None:
        """The table of the metric itself; None without one, or if there can be none."""
        table = self.unscaled_table
        if not isinstance(table, TableOnDemand):
            return table
        if not table.serves(self.decoder):
            return None
        due = earlier(Deadline.after(self.max_seconds), self.blocks.deadline)
        parts = self.decoder, lambda: self.own_graph
        # A graph that is there knows the metric at some of the table's points.
        graph = self.unscaled_graph
        built = not isinstance(graph, GraphOnDemand) or graph.built
        known = self.own_graph.samples if built and self.own_graph is not None else None
        return table.get(*parts, known=known, verbose=self.blocks.verbose, deadline=due)
