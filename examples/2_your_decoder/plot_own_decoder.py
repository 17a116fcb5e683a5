# ruff: noqa: D205, D400 - sphinx-gallery takes the underlined line for the title.
"""
Your own decoder: plain torch, and pythae
=========================================

The geometry asks for no more than a decoder: any function of latent codes in torch. Here a
variational autoencoder is trained in a few lines of plain torch, and its decoder is read in three
ways: as a mean alone, as the means of Bernoulli variables, and as a mean with a variance that is
learnt afterwards. You will see that only the third keeps geodesics near the codes. In the end a
model of pythae is read, if that is installed.
"""

# %%
# Images of digits with pixels in [0, 1], and the two networks. Smooth activations: geodesics bend
# at the kinks of a ReLU.
import importlib.util
import os

import matplotlib.pyplot as plt
import numpy as np
import torch
from scipy.spatial import cKDTree
from torch.distributions import Bernoulli
from torch.nn import Linear, Module, Sequential, Sigmoid, Tanh
from torch.nn.functional import binary_cross_entropy

from geomstats_vae import GaussianDecoder, LatentSpace, RBFPrecision
from geomstats_vae.datasets import load_digits
from geomstats_vae.plotting import (
    LatentWindow,
    curve_legend,
    end_points,
    geodesics,
    straight_lines,
    volume_density,
)

# The tests ask for a short run.
short = "SHORT_EXAMPLES" in os.environ
n_images, n_epochs, n_pairs, n_cells = (300, 20, 4, 40) if short else (1797, 200, 30, 200)

digits = load_digits()
x = torch.tensor(digits.data[:n_images], dtype=torch.float32)
torch.manual_seed(0)
encoder = Sequential(Linear(64, 64), Tanh(), Linear(64, 32), Tanh(), Linear(32, 4))
decoder = Sequential(Linear(2, 32), Tanh(), Linear(32, 64), Tanh(), Linear(64, 64), Sigmoid())

# %%
# The training: maximize the evidence lower bound, with a code drawn for each image.
parameters = [*encoder.parameters(), *decoder.parameters()]
optimizer = torch.optim.Adam(parameters, lr=3e-3)
for epoch in range(n_epochs):
    for batch in x[torch.randperm(len(x))].split(128):
        mean, log_variance = encoder(batch).chunk(2, dim=1)
        z = mean + (0.5 * log_variance).exp() * torch.randn_like(mean)
        misfit = binary_cross_entropy(decoder(z), batch, reduction="sum")
        divergence = 0.5 * (mean**2 + log_variance.exp() - log_variance - 1.0).sum()
        # The divergence counts little at first, so that no latent dimension is given up.
        loss = misfit + min(1.0, 3.0 * epoch / n_epochs) * divergence
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
print(f"Loss in the last batch: {loss.item() / len(batch):.2f} nats per image")

encoder.eval()
decoder.eval()
with torch.no_grad():
    codes = encoder(x)[:, :2]
    squared_residuals = (x - decoder(codes)) ** 2

# %%
# First reading: what the module returns is a tensor, and so the mean of a decoder without noise.
# Nothing marks where the data end.
points = codes.numpy()
# Geodesics start from ways on a graph over the codes. Without them they start from straight lines,
# which is quicker and enough for the tests.
starts = None if short else points
spaces = {"mean alone": LatentSpace(decoder, dim=2, points=starts)}


# %%
# Second reading: every pixel is a Bernoulli variable. A decoder that returns a distribution of
# torch is measured by Fisher's and Rao's metric of that distribution: in units of what can be told
# apart, not of gray levels.
class BernoulliDecoder(Module):
    """The same network, as a distribution of images."""

    def __init__(self, network):
        super().__init__()
        self.network = network[:-1]  # the last layer, a sigmoid, makes the logits probabilities

    def forward(self, z):
        """Give the distribution of images at latent codes."""
        return Bernoulli(logits=self.network(z), validate_args=False)


spaces["Bernoulli"] = LatentSpace(BernoulliDecoder(decoder).eval(), dim=2, points=starts)

# %%
# Third reading: a precision of radial basis functions is fitted to the squared residuals of the
# mean. It falls away from the codes, so the standard deviation, and with it the metric, grows.
precision = RBFPrecision.fit(points, squared_residuals, n_centers=64, a=1.0, random_state=0)
gaussian = GaussianDecoder(decoder, precision).eval()
spaces["mean and RBF variance"] = LatentSpace(gaussian, dim=2, points=starts)

# %%
# Is the third space in good health?
diagnosis = spaces["mean and RBF variance"].diagnose(points, sensitivity=not short)

# %%
# Geodesics of the three between the same codes. How far from the data do they go? By the distance
# in latent space from a curve's point to the code next to it, where it is largest on the curve.
rows = np.random.default_rng(0).choice(len(points), size=(n_pairs, 2), replace=False)
start, end = points[rows[:, 0]], points[rows[:, 1]]
times = np.linspace(0.0, 1.0, 200)
tree = cKDTree(points)
curves = {"straight lines": start[:, None] + times[:, None] * (end - start)[:, None]}
paths = {name: space.metric.solve_geodesic(start, end) for name, space in spaces.items()}
curves |= {name: path(times) for name, path in paths.items()}
for name, curve in curves.items():
    farthest = tree.query(curve)[0].max(axis=1)
    converged = f", {paths[name].converged.sum()} of {n_pairs} converged" if name in paths else ""
    print(f"{name}: {np.median(farthest):.3f} from the codes at the farthest{converged}")

# %%
# The volume of the three metrics, with the geodesics whose lines leave the data the farthest.
chosen = np.argsort(-tree.query(curves["straight lines"])[0].max(axis=1))[:4]
window = LatentWindow.around(
    np.concatenate([points, *(curves[name][chosen].reshape(-1, 2) for name in spaces)])
)
figure, axes = plt.subplots(1, 3, figsize=(13, 4), layout="compressed")
for ax, (name, space) in zip(axes, spaces.items(), strict=True):
    volume_density(ax, space, window, n_points=n_cells)
    ax.plot(*points.T, ".", color="white", markersize=1.5, alpha=0.4)
    straight_lines(ax, start[chosen], end[chosen])
    geodesics(ax, curves[name][chosen], paths[name].converged[chosen])
    end_points(ax, start[chosen], end[chosen])
    ax.set_title(name)
curve_legend(axes[1], loc="upper center", bbox_to_anchor=(0.5, -0.16))

# %%
# A model of pythae: its decoder returns an object with the images in ``.reconstruction``. That is
# read without being told; ``output=`` says how to read anything else. Its own default networks are
# made of ReLUs, at whose kinks geodesics stall; it takes others.
if importlib.util.find_spec("pythae"):
    from pythae.models import VAE, VAEConfig
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder

    class SmoothDecoder(BaseDecoder):
        """A decoder for pythae, with the layers from above."""

        def __init__(self):
            super().__init__()
            self.network = Sequential(Linear(2, 32), Tanh(), Linear(32, 64), Sigmoid())

        def forward(self, z):
            """Decode."""
            return ModelOutput(reconstruction=self.network(z).reshape(-1, 1, 8, 8))

    model = VAE(VAEConfig(input_dim=(1, 8, 8), latent_dim=2), decoder=SmoothDecoder())
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(n_epochs // 10):
        for batch in x.reshape(-1, 1, 8, 8).split(128):
            optimizer.zero_grad()
            model({"data": batch}).loss.backward()
            optimizer.step()
    model.eval()
    with torch.no_grad():
        theirs = model.encoder(x.reshape(-1, 1, 8, 8)).embedding.numpy()
    space = LatentSpace(model.decoder, dim=2, output=lambda output: output.reconstruction)
    path = space.metric.solve_geodesic(theirs[:5], theirs[5:10])
    print(
        f"pythae: {path.converged.sum()} of 5 geodesics converged, lengths {path.length.round(2)}"
    )
else:
    print("pythae is not installed: its part is left out")
plt.show()

# %%
# We have seen three metrics of one network. With the mean alone, and as Bernoulli variables,
# geodesics leave the codes a little farther than straight lines do: 0.21 against 0.19, in the
# median of the farthest points. With a variance that grows away from the codes they stay nearer:
# 0.15. All 90 geodesics converge.
