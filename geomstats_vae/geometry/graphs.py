"""A graph of global starts that is built once: when it is first needed, or before."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from geomstats_vae.geodesics import LatentGraph
from geomstats_vae.immersions import Immersion


class GraphOnDemand:
    """The graph over some latent codes, shared by all geometries that hold this.

    Parameters
    ----------
    codes : numpy.ndarray, shape=[n_codes, dim]
        Latent codes that the graph is to cover.

    Notes
    -----
    Copies and pickles carry the codes and not the graph, which is tens of megabytes and takes a
    second or two to build.
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

    def get(self, immersion: Immersion, *, verbose: bool = False) -> LatentGraph:
        """Build the graph, or return the one that was built.

        Parameters
        ----------
        immersion : Immersion
            The decoder's F.
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
                self._graph = LatentGraph(immersion, self.codes, verbose=verbose)
            return self._graph
