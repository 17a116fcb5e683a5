"""Pictures of how an iteration converges."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from geomstats_vae.plotting.axes import Arrays, as_array
from geomstats_vae.plotting.codes import class_styles

_MOST_MARKERS = 50


def convergence(
    ax: Axes,
    histories: Arrays | Mapping[str, Arrays],
    steps: Arrays | Mapping[str, Arrays] | None = None,
    *,
    limit: float | Literal["last"] | Mapping[str, float | Literal["last"]] | None = None,
    quantity: str = "relative residual",
    step: str = "iteration",
) -> list[Line2D]:
    """Draw what an iteration reports against its steps, on a logarithmic scale.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Axes to draw on.
    histories : array-like, shape=[n_steps], or dict of str to such
        Values after each step, such as residuals of a `GeodesicPath`, the `lower_bounds_` of a
        `LAND` or losses in the `history_` of a `VAE`; several get a legend.
    steps : array-like, shape=[n_steps], or dict of str to such, optional
        Where the values were taken; by default they are counted from zero.
    limit : float, 'last' or dict of str to such, optional
        What the values tend to: their distance from it is drawn. 'last' is each history's last
        value.
    quantity : str
        What the values are, with their unit.
    step : str
        What a step is.

    Returns
    -------
    artists : list of matplotlib.lines.Line2D
        One per history. Values that a logarithmic scale cannot show are left out.

    Raises
    ------
    ValueError
        If a history is not one-dimensional, or has not as many values as steps.

    Examples
    --------
    >>> convergence(ax, land.lower_bounds_, limit="last", quantity="log likelihood (nats)")
    """
    named = histories if isinstance(histories, Mapping) else {"": histories}
    artists: list[Line2D] = []
    for (name, history), (color, marker) in zip(
        named.items(), class_styles(len(named)), strict=True
    ):
        values = _row(as_array(history).astype(float), name)
        at = steps.get(name) if isinstance(steps, Mapping) else steps
        at = np.arange(len(values)) if at is None else _row(as_array(at), name)
        if len(at) != len(values):
            raise ValueError(
                f"Expected as many steps as values, got {len(at)} and {len(values)}"
                f"{f' of {name!r}' if name else ''}; pass one step for each value."
            )
        tends_to = limit.get(name) if isinstance(limit, Mapping) else limit
        if tends_to is not None:
            values = np.abs(values - (values[-1] if tends_to == "last" else tends_to))
        shown = np.isfinite(values) & (values > 0.0)
        # Markers of long histories would cover their lines.
        marker = marker if len(values) <= _MOST_MARKERS else ""
        style: dict[str, Any] = {"color": color, "marker": marker, "markersize": 4.0, "lw": 1.4}
        artists += ax.plot(at[shown], values[shown], label=name or "_history", **style)
    ax.set(yscale="log", xlabel=step)
    ax.set_ylabel(quantity if limit is None else f"distance of {quantity} from its limit")
    locator = ax.xaxis.get_major_locator()
    if isinstance(locator, MaxNLocator):
        locator.set_params(integer=True)
    ax.grid(visible=True, color="0.9", zorder=0)
    if isinstance(histories, Mapping):
        ax.legend()
    return artists


def _row(values: np.ndarray, name: str) -> np.ndarray:
    if values.ndim != 1 or not len(values):
        raise ValueError(
            f"Expected a history of shape [n_steps], got {list(values.shape)}"
            f"{f' for {name!r}' if name else ''}; pass a dict to name several."
        )
    return values
