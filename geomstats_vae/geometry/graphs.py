"""A graph of global starts that is built once: when it is first needed, or before."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from geomstats_vae.geodesics import LatentGraph
from geomstats_vae.geodesics.graph.options import GraphOptions
from geomstats_vae.immersions.decoder import Decoder


class GraphOnDemand:
    """The graph over some latent codes, shared by all geometries that hold this.

    Parameters
    ----------
    codes : numpy.ndarray, shape=[n_codes, dim]
        Latent codes that the graph is to cover.

    Notes
    -----
    Copies and pickles carry the codes and not the graph, which is tens of megabytes in two and
    three dimensions and takes a second or two to build. Over codes it measures in single
    precision where the decoder allows it: the graph chooses starts, and no answer is measured by
    it.
    """

    def __init__(self, codes: NDArray[np.float64]) -> None:
        self.codes = codes
        self._lock = threading.Lock()
        self._graph: LatentGraph | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {"codes": self.codes}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["codes"])  # type: ignore[misc]

    @property
    def built(self) -> bool:
        """Whether the graph is there."""
        return self._graph is not None

    def get(self, decoder: Decoder, *, verbose: bool = False) -> LatentGraph:
        """Build the graph, or return the one that was built.

        Parameters
        ----------
        decoder : Decoder
            The decoder.
        verbose : bool
            Show a progress bar.

        Returns
        -------
        graph : LatentGraph
            The graph.
        """
        if self._graph is not None:
            return self._graph
        with self._lock, torch.no_grad():
            if self._graph is None:
                options = GraphOptions()
                on_grid = decoder.dim in options.grid_sizes
                self._graph = LatentGraph(
                    decoder.immersion(),
                    self.codes,
                    verbose=verbose,
                    options=options,
                    single=None if on_grid else decoder.in_single_precision(),
                )
            return self._graph
