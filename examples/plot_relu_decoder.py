# ruff: noqa: D205, D400 - sphinx-gallery takes the underlined line for the title.
"""
A decoder with kinks: ReLU
==========================

A ReLU network is linear on each of many polygons. Its mean has no curvature inside them and a kink
at every edge, where the metric jumps, so there is no geodesic equation to solve there: shortest
curves exist, but they bend at the edges, and cannot be certified by an equation. What does that do
to geodesics, and what does a smooth activation cost?
"""

# %%
# The same VAE with both activations.
import os
from collections import Counter

import matplotlib.pyplot as plt
import numpy as np
import torch

from geomstats_vae import VAE, GeodesicSolver, GeodesicStatus, LatentSpace
from geomstats_vae.datasets import load_digits
from geomstats_vae.plotting import LatentWindow, end_points, geodesics, volume_density

# The tests ask for a short run.
short = "SHORT_EXAMPLES" in os.environ
n_images, n_pairs, n_cells = (300, 1, 20) if short else (1797, 10, 200)
options = {"max_epochs": 2, "n_centers": 8} if short else {}

X = load_digits().data[:n_images]
models = {
    activation: VAE(latent_dim=2, activation=activation, random_state=0, **options)
    for activation in ("relu", "softplus")
}
for activation, vae in models.items():
    vae.fit(X)
    print(f"{activation:>8}: residuals {vae.noise_std_:.4f}, {vae.score(X):.1f} nats")

# %%
# Geodesics between the same pairs of images. Each answer says whether it is certified: that the
# length on a finer mesh agrees to a tenth of a percent, and that Newton's method would shorten the
# curve no further than that. What cannot be certified is returned with its reason, and with the
# length of that very curve. At a kink Newton's method promises more than it keeps, on every mesh;
# so the solver gets few steps and elements here, and a loose tolerance.
generator = np.random.default_rng(0)
pairs = generator.integers(len(X), size=(2, n_pairs))
solver = GeodesicSolver(tol=1e-3, max_iter=15, max_elements=100)
spaces, paths = {}, {}
for activation, vae in models.items():
    space = LatentSpace(vae.decoder_, dim=2, points=vae.codes_, solver=solver)
    path = space.metric.solve_geodesic(*vae.codes_[pairs])
    spaces[activation] = space
    paths[activation] = path
    counts = Counter(GeodesicStatus(status).name.lower() for status in np.asarray(path.status))
    print(f"{activation:>8}: {dict(counts)}")

# %%
# Is the length reported that of the curve? Measured independently, by 20,000 chords in the space of
# the decoder's means and standard deviations. And is the curve better than the straight line?
times = np.linspace(0.0, 1.0, 20_001)


def chord_length(vae, points):
    """Length of the image of a curve, shape=[n_points, 2]."""
    with torch.no_grad():
        mean, std = vae.decoder_(torch.as_tensor(points))
    return torch.cat((mean, std), dim=1).diff(dim=0).norm(dim=1).sum().item()


for activation, vae in models.items():
    path, ends = paths[activation], vae.codes_[pairs]
    measured = np.array([chord_length(vae, points) for points in path(times)])
    lines = [a + times[:, None] * (b - a) for a, b in zip(*ends, strict=True)]
    straight = np.array([chord_length(vae, points) for points in lines])
    error = np.abs(np.asarray(path.length) / measured - 1.0)
    print(
        f"{activation:>8}: lengths within {error.max():.1e}, "
        f"geodesic to line {np.median(measured / straight):.3f} in the median"
    )

# %%
# The maps show why. Below, a tenth of each latent space: the ReLU's edges are straight and sharp
# (what is smooth there is the standard deviation), and geodesics bend where they cross them.
figure, axes = plt.subplots(2, 2, figsize=(12, 10.5), layout="constrained")
for (whole, part), (activation, vae) in zip(axes.T, models.items(), strict=True):
    path, (start, end) = paths[activation], vae.codes_[pairs]
    middle = np.asarray(path(0.5))[0].ravel()
    half = 0.05 * np.ptp(vae.codes_, axis=0).max()
    for ax, window in (
        (whole, LatentWindow.around(vae.codes_)),
        (part, LatentWindow(middle - half, middle + half, np.zeros(0))),
    ):
        volume_density(ax, spaces[activation], window, n_points=n_cells)
        drawn = slice(0, 4)
        geodesics(ax, path(np.linspace(0.0, 1.0, 2001))[drawn], path.converged[drawn])
        ax.set(xlim=window.extent[:2], ylim=window.extent[2:])
    end_points(whole, start[drawn], end[drawn])
    whole.set_title(f"{activation}: four geodesics (dash-dotted: not certified)")
    part.set_title("around the middle of the first")
plt.show()
