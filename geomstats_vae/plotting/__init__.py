"""Pictures of a latent space.

Every function draws on the axes that it is given and returns the artists; none touches pyplot or
matplotlib's settings. Arrays of either geomstats backend may be passed. Where a latent space has
more than two coordinates the first two are drawn, and maps hold the others at their median.
"""

from geomstats_vae.plotting.codes import class_styles, distance_matrix, latent_scatter
from geomstats_vae.plotting.curves import curve_legend, end_points, geodesics, straight_lines
from geomstats_vae.plotting.images import image_grid, strip
from geomstats_vae.plotting.maps import gaussian_curvature, log_sigma, volume_density
from geomstats_vae.plotting.window import LatentWindow

__all__ = [
    "LatentWindow",
    "class_styles",
    "curve_legend",
    "distance_matrix",
    "end_points",
    "gaussian_curvature",
    "geodesics",
    "image_grid",
    "latent_scatter",
    "log_sigma",
    "straight_lines",
    "strip",
    "volume_density",
]
