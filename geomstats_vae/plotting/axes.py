"""What all pictures share: colours, outlines and the latent coordinates' axes."""

from __future__ import annotations

from matplotlib.patheffects import withStroke

MAP, DIVERGING = "viridis", "RdBu_r"
INK = "black"
PAPER = "white"


def name_axes(ax):
    """Name the latent coordinates and give them equal units.

    Parameters
    ----------
    ax : matplotlib.axes.Axes
        Axes of a picture in latent space.
    """
    ax.set(xlabel="$z_1$", ylabel="$z_2$", aspect="equal")


def halo(width, color):
    """Return the effect that outlines a line or a text.

    Parameters
    ----------
    width : float
        Width of the stroke in points, the line's own included.
    color : str
        Colour of the stroke.

    Returns
    -------
    effects : list of matplotlib.patheffects.AbstractPathEffect
        What `set_path_effects` takes.
    """
    return [withStroke(linewidth=width, foreground=color)]
