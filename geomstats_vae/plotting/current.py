"""Axes for who brings none: the only place that asks pyplot, so that ``plt.show()`` shows them."""

from __future__ import annotations

from matplotlib.axes import Axes


def new_axes() -> Axes:
    """Make a figure of pyplot's with one pair of axes.

    Returns
    -------
    ax : matplotlib.axes.Axes
        The axes.
    """
    # pyplot chooses a backend for the process when it is imported: not before it is needed.
    import matplotlib.pyplot as plt

    return plt.figure(layout="constrained").add_subplot()
