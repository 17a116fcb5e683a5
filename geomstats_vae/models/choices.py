"""What `fit` chooses from the data for the radial basis functions: their width, and zeta."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.sparse.csgraph import dijkstra

from geomstats_vae.geometry.neighbors import neighbor_graph
from geomstats_vae.immersions.rbf import RBFPrecision
from geomstats_vae.models.objectives import gaussian_log_density
from geomstats_vae.models.stages import RESIDUAL_FLOOR, MeanStage, Rows, residuals_at_codes

# Widths to choose from, in units of the radii of the clusters of codes.
WIDTHS = (1.0, 1.25, 1.5)
# Tolerance of the weights, and draws of the code of each held-out row: enough to choose a width by.
_TOL, _N_DRAWS = 1e-3, 4
# Codes of the graph of ways, and neighbours of each; ways are those between these numbers of codes.
_MAX_CODES, _N_NEIGHBORS = 1000, 12
_N_SOURCES, _N_ENDS = 24, 24
# A straight line undercuts a way if it is shorter than this share, on so many points.
_UNDERCUT, _N_POINTS = 0.8, 33
# Share of the straight lines that does not count.
_FEW = 0.002


def choose_precision(
    stage: MeanStage,
    rows: Rows,
    generator: torch.Generator,
    *,
    a: float | str,
    zeta: float | str | None,
    n_centers: int,
    random_state: np.random.RandomState,
) -> tuple[float, float | None]:
    """Replace what is 'auto' by what suits the data.

    Parameters
    ----------
    stage : MeanStage
        Result of the first stage.
    rows : Rows
        Training data and held-out data, float64.
    generator : torch.Generator
        Source of the codes.
    a : float or 'auto'
        Width of the radial basis functions.
    zeta : float, 'auto' or None
        Precision far from the data.
    n_centers : int
        Number of radial basis functions.
    random_state : numpy.random.RandomState
        Source of the seeds of k-means.

    Returns
    -------
    a : float
        The width, in units of the clusters' radii.
    zeta : float or None
        The precision, in units of 1 / data variance; None as it came.
    """
    if "auto" in (a, zeta):
        ways = _Ways.along_codes(stage, rows.train)
        zeta = ways.zeta if zeta == "auto" else zeta
        if a == "auto":
            options = {"n_centers": n_centers, "zeta": zeta, "random_state": random_state}
            a = _width(stage, rows, ways, generator, options)
    return float(a), zeta if zeta is None else float(zeta)


@dataclass(frozen=True)
class _Ways:
    """Ways along the data, in the graph of nearest codes with distances of decoded means.

    Attributes
    ----------
    codes : torch.Tensor, shape=[n_codes, dim]
        Some codes of the data.
    sources : numpy.ndarray, shape=[n_sources]
        Numbers of the codes that ways begin at.
    lengths : numpy.ndarray, shape=[n_sources, n_codes]
        Lengths of the ways to all codes, in data units.
    zeta : float
        One over the square of the standard deviation of each output where walls end. The norm of
        sigma is there the length of the longest way. So a curve between two codes that leaves the
        data for far away is longer than one that keeps to them. Neither is sigma ever below the
        largest residual.
    """

    codes: torch.Tensor
    sources: np.ndarray
    lengths: np.ndarray
    zeta: float

    @classmethod
    @torch.no_grad()
    def along_codes(cls, stage: MeanStage, x: torch.Tensor) -> _Ways:
        x = _thin(x, _MAX_CODES)
        codes = stage.encoder(x)[0]
        images = stage.mean(codes)
        graph = neighbor_graph(codes.numpy(), images.numpy(), _N_NEIGHBORS)
        # The code that is farthest from any one is an end of the data.
        end = dijkstra(graph, directed=False, indices=0).argmax()
        sources = np.append(end, np.linspace(0, len(codes) - 1, _N_SOURCES).astype(int))
        lengths = dijkstra(graph, directed=False, indices=sources)
        largest = max((x - images).square().max().item(), stage.variance_floor)
        zeta = 1.0 / max(largest, lengths[0].max() ** 2 / x.shape[1])
        return cls(codes, sources, lengths, zeta)

    def undercut_share(self, stage: MeanStage, precision: RBFPrecision) -> float:
        """Share of the straight lines that are much shorter than the ways along the data."""
        ends = np.linspace(0, len(self.codes) - 1, _N_ENDS).astype(int)
        start, end = self.codes[self.sources][:, None, None], self.codes[ends][:, None]
        points = start + torch.linspace(0.0, 1.0, _N_POINTS).to(start)[:, None] * (end - start)
        with torch.no_grad():
            outputs = torch.cat((stage.means[0](points), precision.std(points)), dim=-1)
        lines = outputs.diff(dim=-2).norm(dim=-1).sum(dim=-1).numpy()
        return float((lines < _UNDERCUT * self.lengths[:, ends]).mean())


def _width(
    stage: MeanStage,
    rows: Rows,
    ways: _Ways,
    generator: torch.Generator,
    options: dict[str, Any],
) -> float:
    """Choose the width under which held-out residuals are most likely, among those with walls.

    Wide functions smooth the walls between parts of the data that are close in latent space. So a
    width is out if more straight lines undercut the ways along the data than with the narrowest
    functions. Of several decoders the first one chooses.
    """
    mean = stage.means[0]
    z, squares = residuals_at_codes(stage, mean, _thin(rows.train, _MAX_CODES), generator)
    held_out = rows.held_out.repeat(_N_DRAWS, 1)
    z_new, squares_new = residuals_at_codes(stage, mean, held_out, generator)
    options = {**options, "residual_floor": RESIDUAL_FLOOR, "tol": _TOL}
    options["n_centers"] = min(options["n_centers"], len(z))
    scores: dict[float, float] = {}
    allowed = 0.0
    for a in WIDTHS:
        precision = RBFPrecision.fit(z, squares, a=a, **options)
        undercut = ways.undercut_share(stage, precision)
        allowed = allowed if scores else undercut + _FEW
        if undercut > allowed:
            break
        scores[a] = gaussian_log_density(squares_new, precision.std(z_new)).mean().item()
    return max(scores, key=scores.__getitem__)


def _thin(x: torch.Tensor, n_rows: int) -> torch.Tensor:
    return x[torch.linspace(0, len(x) - 1, min(len(x), n_rows)).long()]
