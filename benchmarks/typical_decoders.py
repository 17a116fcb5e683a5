"""Decoders as people write them: perceptrons, transposed convolutions, counts of genes.

Images have 28 x 28 pixels in [0, 1]; counts are those of 1,000 genes. Each class has a
``likelihood`` for `Decoder`: None, or the embedding of the distributions that it returns.
"""

from types import SimpleNamespace

import torch
from torch import nn
from torch.distributions import NegativeBinomial
from torch.nn import functional

SIDE, N_PIXELS, N_GENES = 28, 784, 1_000
# Least standard deviation of a pixel, and least rate of a count.
_FLOOR = 0.02
_TINY = 1e-6


class _HiddenLayers(nn.Module):
    """Two hidden layers, of 128 and 256 units; `norm` normalizes the second."""

    likelihood = None

    def __init__(self, dim: int, activation: type[nn.Module], norm: bool = False) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(dim, 128), nn.Linear(128, 256)
        self.norm = nn.LayerNorm(256) if norm else None
        self.act = activation()

    def features(self, z: torch.Tensor) -> torch.Tensor:
        """Hidden units of the last layer, shape=[n_points, 256]."""
        h = self.second(self.act(self.first(z)))
        return self.act(h if self.norm is None else self.norm(h))


class MLPDecoder(_HiddenLayers):
    """Two hidden layers, and a mean in [0, 1] per pixel.

    Parameters
    ----------
    dim : int
        Dimension of the latent space.
    activation : type of nn.Module
        Activation of the hidden layers.
    norm : bool
        Whether layer normalization follows the second layer.
    """

    def __init__(self, dim: int, activation: type[nn.Module], norm: bool = False) -> None:
        super().__init__(dim, activation, norm)
        self.mean = nn.Linear(256, N_PIXELS)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        """Decode to means, shape=[n_points, 784]."""
        return torch.sigmoid(self.mean(self.features(z)))


class GaussianMLPDecoder(_HiddenLayers):
    """Two hidden layers, and heads of means and of standard deviations.

    Parameters
    ----------
    dim : int
        Dimension of the latent space.
    activation : type of nn.Module
        Activation of the hidden layers.
    logvar : bool
        Whether the head gives logarithms of variances; else the standard deviation is its softplus
        and a floor.
    """

    def __init__(self, dim: int, activation: type[nn.Module], logvar: bool = False) -> None:
        super().__init__(dim, activation)
        self.mean, self.scale = nn.Linear(256, N_PIXELS), nn.Linear(256, N_PIXELS)
        self.logvar = logvar
        nn.init.constant_(self.scale.bias, -2.0)

    def forward(self, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Decode to means and standard deviations, shape=[n_points, 784] each."""
        h = self.features(z)
        mean, raw = torch.sigmoid(self.mean(h)), self.scale(h)
        return mean, torch.exp(0.5 * raw) if self.logvar else functional.softplus(raw) + _FLOOR


class ConvDecoder(nn.Module):
    """Transposed convolutions with batch normalization.

    Parameters
    ----------
    dim : int
        Dimension of the latent space.
    activation : type of nn.Module
        Activation of the hidden layers.
    """

    likelihood = None

    def __init__(self, dim: int, activation: type[nn.Module]) -> None:
        super().__init__()
        self.project = nn.Linear(dim, 32 * 7 * 7)
        self.norm1, self.norm2 = nn.BatchNorm2d(32), nn.BatchNorm2d(16)
        self.up1 = nn.ConvTranspose2d(32, 16, 4, stride=2, padding=1)
        self.up2 = nn.ConvTranspose2d(16, 1, 4, stride=2, padding=1)
        self.act = activation()

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        """Decode to images, shape=[n_points, 1, 28, 28]."""
        h = self.project(z).view(-1, 32, 7, 7)
        h = self.up1(self.act(self.norm1(h)))
        return torch.sigmoid(self.up2(self.act(self.norm2(h))))


class PythaeDecoder(nn.Module):
    """The default decoder of pythae, written out; it returns an object with ``reconstruction``.

    Parameters
    ----------
    dim : int
        Dimension of the latent space.
    """

    likelihood = None

    def __init__(self, dim: int) -> None:
        super().__init__()
        hidden = nn.Sequential(nn.Linear(dim, 512), nn.ReLU())
        self.layers = nn.ModuleList([hidden, nn.Sequential(nn.Linear(512, N_PIXELS), nn.Sigmoid())])

    def forward(self, z: torch.Tensor) -> SimpleNamespace:
        """Decode to images, shape=[n_points, 1, 28, 28]."""
        out = z
        for layer in self.layers:
            out = layer(out)
        return SimpleNamespace(reconstruction=out.reshape(len(z), 1, SIDE, SIDE))


class CountDecoder(nn.Module):
    """Counts of genes by a negative binomial distribution, as scvi-tools' decoder has it.

    Parameters
    ----------
    dim : int
        Dimension of the latent space.
    library : float
        Counts of a cell.
    """

    library: torch.Tensor

    def __init__(self, dim: int, library: float = 3_000.0) -> None:
        super().__init__()
        self.hidden = nn.Sequential(
            nn.Linear(dim, 128), nn.BatchNorm1d(128, eps=1e-3, momentum=0.01), nn.ReLU()
        )
        self.scale = nn.Sequential(nn.Linear(128, N_GENES), nn.Softmax(dim=-1))
        self.log_dispersion = nn.Parameter(torch.zeros(N_GENES))
        self.register_buffer("library", torch.tensor(library))

    def forward(self, z: torch.Tensor, library: torch.Tensor | None = None) -> NegativeBinomial:
        """Decode to distributions of counts, batch_shape=[n_points, 1000]."""
        rate = (self.library if library is None else library) * self.scale(self.hidden(z)) + _TINY
        logits = rate.log() - self.log_dispersion
        dispersion = self.log_dispersion.exp()
        return NegativeBinomial(dispersion, logits=logits, validate_args=False)

    @staticmethod
    def likelihood(counts: NegativeBinomial) -> torch.Tensor:
        """Embed by 2 sqrt(t) asinh(sqrt(m / t)): Fisher-Rao's metric of mean m, dispersion t."""
        return 2.0 * counts.total_count.sqrt() * torch.asinh(torch.exp(0.5 * counts.logits))
