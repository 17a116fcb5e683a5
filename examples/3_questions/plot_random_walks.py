# ruff: noqa: D205, D400 - sphinx-gallery takes the underlined line for the title.
"""
Random walks and Brownian motion
================================

A walker that takes small random steps of equal Riemannian length makes large latent steps where the
decoder hardly changes and small ones where it changes fast. As the steps become short this is
Brownian motion if the steps have the right drift, and another process if they have not. You will
see that tested on the sphere, where the distribution is known. Then walkers go through the latent
space of the digits. The walls of the metric hold them up, but Brownian motion does not seek the
data. Langevin dynamics does.
"""

# %%
# Is it Brownian motion? On the unit sphere a walker's distance from its start is distributed by the
# heat kernel. Lambert's chart of equal areas is a decoder of the sphere whose coordinates are not
# conformal: in conformal coordinates of a surface there is no drift, and nothing to be wrong.
import os

import matplotlib.pyplot as plt
import numpy as np
import torch
from geomstats.geometry.euclidean import Euclidean
from scipy import special, stats
from sklearn.mixture import GaussianMixture

from geomstats_vae import LAND, LatentSpace
from geomstats_vae.datasets import load_digits, load_digits_vae
from geomstats_vae.plotting import (
    LatentWindow,
    class_styles,
    latent_scatter,
    log_sigma,
    random_walks,
    strip,
)
from geomstats_vae.sampling import BrownianMotion, LangevinDynamics

# The tests ask for a short run.
short = "SHORT_EXAMPLES" in os.environ
n_sphere, n_walkers, n_steps, n_cells = (500, 10, 20, 30) if short else (5000, 100, 500, 150)


def lambert(z):
    """Map the plane to the unit sphere by Lambert's azimuthal equal-area chart."""
    square = (z * z).sum(-1, keepdim=True)
    return torch.cat((z * torch.sqrt(1.0 - 0.25 * square), 1.0 - 0.5 * square), dim=-1)


def heat_kernel_cdf(angle, time):
    """Law of the distance from the start of Brownian motion on the unit sphere."""
    x, degree = np.cos(angle), np.arange(1, 60)[:, None]
    decay = np.exp(-0.5 * degree * (degree + 1) * time)
    primitive = special.eval_legendre(degree - 1, x) - special.eval_legendre(degree + 1, x)
    return 0.5 * (1.0 - x) + 0.5 * (decay * primitive).sum(axis=0)


sphere, start, time = LatentSpace(lambert, dim=2), np.array([0.3, -0.2]), 0.3
kinds = {
    "with drift": ({}, 30),
    "geodesic steps": ({"method": "geodesic"}, 5),
    "without drift": ({"drift": False}, 30),
}
angles = {}
for name, (options, n_sphere_steps) in kinds.items():
    # The chart ends opposite to its origin. Some walkers without drift get there, and stop.
    motion = BrownianMotion(
        sphere, domain=lambda z: (z**2).sum(-1) < 3.9, boundary="absorb", random_state=0, **options
    )
    path = motion.sample_path(time, n_sphere_steps, np.tile(start, (n_sphere, 1)))
    ends = lambert(torch.from_numpy(path[:, -1])) - lambert(torch.from_numpy(start))
    angles[name] = 2.0 * np.arcsin(np.clip(0.5 * ends.norm(dim=-1).numpy(), 0.0, 1.0))
p_values = {
    name: stats.kstest(sample, lambda a: heat_kernel_cdf(a, time)).pvalue
    for name, sample in angles.items()
}
for name, p_value in p_values.items():
    print(f"Sphere, {name}: Kolmogorov-Smirnov p = {p_value:.2g} against the heat kernel")

# %%
# Both schemes of Brownian motion pass, by a step in coordinates and by an exponential map. Without
# the drift walkers get too far: their distribution is not that of any motion of the sphere, for it
# depends on the chart.
figure, axes = plt.subplots(1, 3, figsize=(11, 3.4), sharey=True, layout="constrained")
grid = np.linspace(0.0, 2.6, 200)
for ax, (name, sample) in zip(axes, angles.items(), strict=True):
    ax.hist(sample, bins=grid[::5], density=True, color="0.75", label="walkers")
    ax.plot(grid, np.gradient(heat_kernel_cdf(grid, time), grid), "k", label="heat kernel")
    ax.set(title=f"{name}: p = {p_values[name]:.2g}", xlabel="distance from the start (radians)")
axes[0].set_ylabel("density (1 / radian)")
axes[0].legend(frameon=False)

# %%
# The digits. Four walks start at the same codes, in a box that reflects them: Brownian motion; the
# same steps without drift; a Euclidean walk whose steps are as long, in the median of the starts'
# mean squares; and Langevin dynamics for the density of the codes, a Gaussian mixture. That is a
# density for latent area, so that the one for Riemannian volume has the volume density taken off.
vae = load_digits_vae()
space, codes = vae.latent_space_, vae.codes_
window = LatentWindow.around(codes, margin=0.15)
box = [window.low, window.high]
start = codes[np.random.default_rng(0).choice(len(codes), n_walkers, replace=False)]
end_time = 0.04 * n_steps
squares = np.trace(space.metric.cometric_matrix(start), axis1=1, axis2=2)
euclidean_time = end_time * np.median(squares) / 2
mixture = GaussianMixture(20, random_state=0).fit(codes)


def code_density(z):
    """Log density of the codes for Riemannian volume."""
    return mixture.score_samples(z) - np.log(space.metric.volume_density(z))


options = {"domain": box, "random_state": 0}
walks = {
    "Brownian motion": BrownianMotion(space, **options).sample_walk(end_time, n_steps, start),
    "without drift": BrownianMotion(space, drift=False, **options).sample_walk(
        end_time, n_steps, start
    ),
    "Euclidean": BrownianMotion(Euclidean(2), **options).sample_walk(
        euclidean_time, n_steps, start
    ),
    "Langevin": LangevinDynamics(space, code_density, random_state=0).sample_walk(
        end_time, n_steps, start
    ),
}
print(f"Langevin: {np.mean(walks['Langevin'].acceptance):.0%} of the steps accepted")
n_moves = walks["Brownian motion"].n_substeps / n_steps
print(f"Brownian motion: {n_moves.mean():.2f} moves a step, at most {n_moves.max():.2f}")


# %%
# How much of its time does a walk spend where the decoder knows something, that is where sigma is
# below the 99th percentile of its values at the codes? The first tenth of the time and the last.
def decode(points):
    """Evaluate the mean and the standard deviation of the images at latent points."""
    with torch.no_grad():
        mean, std = vae.decoder_(torch.from_numpy(points.reshape(-1, 2)))
    return mean.numpy(), std.numpy()


def pixel_std(points):
    """Evaluate the standard deviation of the images at latent points."""
    return decode(points)[1]


limit = np.percentile(pixel_std(codes).sum(axis=1), 99)
tenth = n_steps // 10
shares, over_time = {}, {}
for name, walk in walks.items():
    inside = pixel_std(walk.points).sum(axis=1).reshape(n_walkers, -1) < limit
    shares[name] = inside[:, :tenth].mean(), inside.mean(), inside[:, -tenth:].mean()
    over_time[name] = inside.mean(axis=0)
    first, whole, last = shares[name]
    print(
        f"{name}: sigma low in {whole:.0%} of the steps; at first {first:.0%}, at last {last:.0%}"
    )

# %%
# In the long run Brownian motion is spread by the Riemannian volume, and a wall has a lot of that:
# within a short latent distance the decoder changes much. So walkers do get on the walls, and stay
# there for long. In the picture of `Latent Space Oddity <https://arxiv.org/abs/1710.11379>`_ they
# seem to keep to the data; but it shows latent space, where walls are thin. Over the whole of this
# run the Euclidean walk has low sigma more often. What keeps a walk with the data is a density to
# follow.
figure, axes = plt.subplots(2, 3, figsize=(12, 7.6), layout="constrained")
for ax, (name, walk) in zip(axes[:, :2].flat, walks.items(), strict=True):
    image = log_sigma(ax, pixel_std, window, n_points=n_cells, colorbar=False)
    image.set_cmap("Greys")  # the walkers have the colours
    random_walks(ax, walk.points[:8], width=1.0)
    ax.set_title(name)
figure.colorbar(image, ax=axes[:, 1], label=r"$\log \sum_j \sigma_j$ (sigma in gray levels)")
for (name, share), (color, _) in zip(over_time.items(), class_styles(4), strict=True):
    axes[1, 2].plot(np.linspace(0.0, 1.0, n_steps + 1), share, color=color, label=name)
axes[1, 2].set(ylim=(0, 1.05), xlabel="share of the time", ylabel="share of walkers")
axes[1, 2].legend(frameon=False, loc="lower left")
bars = axes[0, 2].barh(list(shares), [whole for _, whole, _ in shares.values()], color="0.6")
axes[0, 2].bar_label(bars, fmt="{:.0%}", padding=3)
axes[0, 2].set(
    xlim=(0, 1.2),
    xticks=[0, 0.5, 1],
    xlabel="share of steps",
    title="sigma below its 99th percentile",
)
axes[0, 2].invert_yaxis()

# %%
# Images along the way of the first walker of each walk, at equal times.
figure, axes = plt.subplots(4, 1, figsize=(9, 3.6), layout="constrained")
for ax, (name, walk) in zip(axes, walks.items(), strict=True):
    way = walk.points[0, :: max(1, n_steps // 16)]
    strip(ax, decode(way)[0].reshape(-1, 8, 8))
    ax.set_title(name, loc="left", fontsize="small")

# %%
# A density that is made of geodesic distances is LAND's. Each evaluation costs a geodesic for each
# walker, and differences ask for five in a step. With a ``gradient`` of zero one does: then the
# walk is a random one, and the Metropolis adjustment alone makes it sample the density.
if not short:
    digits = load_digits()
    threes = vae.transform(digits.data)[digits.target == 3][:80]
    land = LAND(space, n_components=1, random_state=0).fit(threes)
    dynamics = LangevinDynamics(space, land.score_samples, gradient=np.zeros_like, random_state=0)
    walk = dynamics.sample_walk(end_time=20.0, n_steps=20, initial_point=threes[:8])
    print(f"LAND: {np.mean(walk.acceptance):.0%} of the steps accepted")
    figure, ax = plt.subplots(figsize=(6, 4), layout="constrained")
    latent_scatter(ax, threes)[0].set(color="0.6")
    random_walks(ax, walk, width=1.0)
    ax.set_title("walkers that sample LAND's density, codes of the digit 3")
plt.show()

# %%
# We have seen that on the sphere both schemes of Brownian motion have the right distribution (p =
# 0.48 and 0.73), and that without the drift it is wrong (p = 1e-16). On the digits sigma is low in
# 72 % of the steps of Brownian motion, in 80 % of a Euclidean walk, and in 98 % by Langevin
# dynamics.
