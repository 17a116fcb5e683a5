"""Pictures of a latent space.

Every function draws on the axes that it is given and returns the artists; none touches pyplot or
matplotlib's settings. Arrays of either geomstats backend may be passed. Where a latent space has
more than two coordinates the first two are drawn, or those of a chosen plane, or three on axes of
three dimensions; maps hold the others at their median.
"""

from geomstats_vae.plotting.balls import geodesic_balls
from geomstats_vae.plotting.codes import class_styles, distance_matrix, latent_scatter
from geomstats_vae.plotting.convergence import convergence
from geomstats_vae.plotting.curves import curve_legend, end_points, geodesics, straight_lines
from geomstats_vae.plotting.images import image_grid, strip
from geomstats_vae.plotting.maps import density, gaussian_curvature, log_sigma, volume_density
from geomstats_vae.plotting.projections import projections
from geomstats_vae.plotting.regions import regions
from geomstats_vae.plotting.walks import random_walks
from geomstats_vae.plotting.window import LatentWindow

__all__ = [
    "LatentWindow",
    "class_styles",
    "convergence",
    "curve_legend",
    "density",
    "distance_matrix",
    "end_points",
    "gaussian_curvature",
    "geodesic_balls",
    "geodesics",
    "image_grid",
    "latent_scatter",
    "log_sigma",
    "projections",
    "random_walks",
    "regions",
    "straight_lines",
    "strip",
    "volume_density",
]
