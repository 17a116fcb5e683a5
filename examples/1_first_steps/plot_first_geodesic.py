# ruff: noqa: D205, D400 - sphinx-gallery takes the underlined line for the title.
"""
A first geodesic, on a sphere
=============================

Any torch decoder gives its latent space a metric: a curve in latent space is as long as the curve
that it decodes to. Here the decoder is a map of the unit sphere, so all answers are known: shortest
ways are arcs of great circles. You will see one geodesic on the sphere and in latent space, and the
errors of a thousand.
"""

# %%
# The decoder: a few lines of plain torch. It maps a point of the plane to the point of the sphere
# that the line from the south pole through it meets, so the origin is the north pole and the unit
# circle is the equator.
import os
from collections import Counter

import matplotlib.pyplot as plt
import numpy as np
import torch

from geomstats_vae import GeodesicStatus, LatentSpace
from geomstats_vae.datasets import make_sphere
from geomstats_vae.plotting import (
    LatentWindow,
    curve_legend,
    end_points,
    geodesics,
    straight_lines,
    volume_density,
)

# The tests ask for a short run.
n_pairs = 50 if "SHORT_EXAMPLES" in os.environ else 1000


class Sphere(torch.nn.Module):
    """Stereographic map of the unit sphere."""

    def forward(self, z):
        """Map latent points, shape=[n, 2], to the sphere, shape=[n, 3]."""
        square = (z * z).sum(dim=-1, keepdim=True)
        return torch.cat([2.0 * z, 1.0 - square], dim=-1) / (1.0 + square)


decoder = Sphere().eval()
space = LatentSpace(decoder, dim=2)


def decode(z):
    """Decode an array of latent points."""
    return decoder(torch.as_tensor(z)).numpy()


# %%
# One geodesic, between two points near the equator. ``converged`` says that its length, measured
# on a fine mesh, is the one it was found with, and that no small change of the curve shortens it.
start, end = np.array([-0.95, -0.1]), np.array([0.55, 0.75])
path = space.metric.solve_geodesic(start, end)
x, y = decode(np.stack([start, end]))
angle = np.arccos(x @ y)
print(f"Geodesic: length {path.length:.10f}, converged: {path.converged}")
print(f"          {GeodesicStatus(path.status).message}")
print(f"Great circle:    {angle:.10f}, relative error {abs(path.length / angle - 1.0):.1e}")
line = start + np.linspace(0.0, 1.0, 500)[:, None] * (end - start)
straight = np.linalg.norm(np.diff(decode(line), axis=0), axis=1).sum()
print(f"Straight line in latent space: {straight:.4f}, {straight / angle - 1.0:.0%} longer")

# %%
# The curve itself, against the great circle at the same times.
times = np.linspace(0.0, 1.0, 101)
curve = decode(path(times))
weights = np.stack([np.sin((1.0 - times) * angle), np.sin(times * angle)]) / np.sin(angle)
great_circle = weights.T @ np.stack([x, y])
print(
    f"Largest distance of the two curves: {np.linalg.norm(curve - great_circle, axis=1).max():.1e}"
)

# %%
# Many pairs are solved for at once. The points are uniform on the upper hemisphere, and their
# distances along the sphere come with the data.
sphere = make_sphere(2 * n_pairs, random_state=0)
codes = sphere.data[:, :2] / (1.0 + sphere.data[:, 2:])
batch = space.metric.solve_geodesic(codes[:n_pairs], codes[n_pairs:])
exact = sphere.distances(sphere.coordinates[:n_pairs], sphere.coordinates[n_pairs:])
error = np.abs(batch.length / exact - 1.0)
counts = Counter(GeodesicStatus(status).name for status in batch.status)
print(f"{n_pairs} pairs: {dict(counts)}")
print(f"Relative error of the length: median {np.median(error):.1e}, maximum {error.max():.1e}")

# %%
# On the sphere, in latent space, and the errors of all pairs. The map shows the volume density: the
# area on the sphere that a unit of latent area decodes to. The geodesic bends outwards, where less
# of the sphere is to be crossed.
figure = plt.figure(figsize=(13, 4), layout="constrained")
figure.get_layout_engine().set(wspace=0.06)
ball = figure.add_subplot(1, 3, 1, projection="3d")
plane, errors = figure.add_subplot(1, 3, 2), figure.add_subplot(1, 3, 3)

u, v = np.meshgrid(np.linspace(0.0, 2.0 * np.pi, 49), np.linspace(0.0, np.pi / 2.0, 13))
ball.plot_wireframe(
    np.sin(v) * np.cos(u), np.sin(v) * np.sin(u), np.cos(v), color="0.8", lw=0.5, zorder=0
)
ball.plot(*great_circle.T, color="C1", lw=5.0, alpha=0.6, label="great circle")
ball.plot(*curve.T, color="black", lw=1.2, label="geodesic, decoded")
ball.plot(*decode(line).T, color="C0", ls="--", label="straight line, decoded")
ball.set(title="data space", xlabel="$x_1$", ylabel="$x_2$", zlabel="$x_3$")
ball.set(box_aspect=(2, 2, 1), zticks=[0.0, 0.5, 1.0], xticks=[-1, 0, 1], yticks=[-1, 0, 1])
ball.view_init(elev=35, azim=115)
ball.legend(loc="upper left", fontsize="small")

window = LatentWindow.around(np.array([[-1.1, -1.1], [1.1, 1.1]]))
volume_density(plane, space, window)
geodesics(plane, path(times))
straight_lines(plane, start, end)
end_points(plane, start, end)
curve_legend(plane)

errors.scatter(exact, np.maximum(error, 1e-16), s=6, lw=0, alpha=0.6)
errors.set(yscale="log", xlabel="distance along the sphere", ylabel="relative error of the length")
errors.set_title(f"{n_pairs} pairs")
plt.show()

# %%
# We have seen a geodesic that agrees with the great circle in all ten digits that are printed. The
# straight line between the same codes is 10 % longer. All of 1,000 geodesics converge, and no
# length is off by more than 1e-8 of itself.
