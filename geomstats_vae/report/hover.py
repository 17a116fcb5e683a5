"""What the page shows beside the pointer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from geomstats_vae.report import tables
from geomstats_vae.report.analysis import Floats, Pairs
from geomstats_vae.report.files import plain, thin

# Points of a curve, cells along a map, and codes that are known to the page, at most.
_CURVE_POINTS, _GRID_CELLS, _MOST_CODES = 80, 60, 4000


def hover_values(
    codes: Floats,
    labels: np.ndarray | None,
    pairs: Pairs,
    drawn: Sequence[int],
    density: Floats,
) -> dict[str, Any]:
    """Collect the values that are shown beside the pointer.

    Parameters
    ----------
    codes : numpy.ndarray, shape=[n_samples, dim]
        Codes of all samples.
    labels : numpy.ndarray, shape=[n_samples], optional
        Class of each sample.
    pairs : Pairs
        The geodesics.
    drawn : sequence of int
        Those that are drawn, under the numbers 1, 2, ...
    density : numpy.ndarray, shape=[n_rows, n_columns]
        Volume density in the cells of the map, the lowest row first.

    Returns
    -------
    values : dict
        Codes, curves and the density on a coarser grid, as JSON has them.
    """
    rows = thin(np.arange(len(codes)), _MOST_CODES)
    curves = []
    for number, k in enumerate(drawn, 1):
        x, y = thin(pairs.curves[k], _CURVE_POINTS)[:, :2].T
        text = (
            f"geodesic {number}: length {pairs.length[k]:.3g}, straight line "
            f"{pairs.straight_length[k]:.3g}, {tables.words(pairs.status[k])}"
        )
        curves.append({"x": x.round(4), "y": y.round(4), "text": text})
    step = max(1, -(-max(density.shape) // _GRID_CELLS))
    middle = density[step // 2 :: step, step // 2 :: step]
    short = [[float(f"{value:.3g}") for value in row] for row in middle.tolist()]
    values = {
        "codes": {
            "x": codes[rows, 0].round(4),
            "y": codes[rows, 1].round(4),
            "row": rows,
            "label": None if labels is None else [str(name) for name in labels[rows]],
        },
        "curves": curves,
        "grid": {"name": "volume density", "values": short},
    }
    found: dict[str, Any] = plain(values)
    return found
