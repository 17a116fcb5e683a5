"""Networks of the variational autoencoder, initialised from a generator of their own."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TypeVar

import torch
from torch import nn

ACTIVATIONS: dict[str, type[nn.Module]] = {
    "elu": nn.ELU,
    "relu": nn.ReLU,
    "silu": nn.SiLU,
    "softplus": nn.Softplus,
    "tanh": nn.Tanh,
}


_Module = TypeVar("_Module", bound=nn.Module)


class Encoder(nn.Module):
    """Gaussian encoder q(z | x) = N(mean(x), diag(std(x)^2)).

    Parameters
    ----------
    body : torch.nn.Sequential
        Maps data, shape=[..., n_features], to means and log variances side by side,
        shape=[..., 2 * dim].
    """

    def __init__(self, body: nn.Sequential) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the mean and the standard deviation of the codes of data.

        Parameters
        ----------
        x : torch.Tensor, shape=[..., n_features]
            Data.

        Returns
        -------
        mean : torch.Tensor, shape=[..., dim]
            Means in latent space.
        std : torch.Tensor, shape=[..., dim]
            Standard deviations in latent space.
        """
        mean, log_variance = self.body(x).chunk(2, dim=-1)
        return mean, torch.exp(0.5 * log_variance)


class StdNetwork(nn.Module):
    """Standard deviation as a network on the log variance: the decoder's own variance head.

    Parameters
    ----------
    log_variance : torch.nn.Sequential
        Maps latent codes, shape=[..., dim], to log variances, shape=[..., n_outputs].
    floor : float
        Smallest variance, in data units squared.
    """

    floor: torch.Tensor

    def __init__(self, log_variance: nn.Sequential, floor: float = 0.0) -> None:
        super().__init__()
        self.log_variance = log_variance
        self.register_buffer("floor", torch.as_tensor(floor, dtype=torch.float64))

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        """Evaluate the standard deviation.

        Parameters
        ----------
        z : torch.Tensor, shape=[..., dim]
            Latent codes.

        Returns
        -------
        std : torch.Tensor, shape=[..., n_outputs]
            Standard deviations in data units.
        """
        return torch.sqrt(torch.exp(self.log_variance(z)) + self.floor)


def multilayer_perceptron(
    sizes: Sequence[int],
    activation: str,
    *,
    dtype: torch.dtype,
    generator: torch.Generator | None = None,
) -> nn.Sequential:
    """Chain linear layers, with an activation between any two.

    Parameters
    ----------
    sizes : sequence of int
        Number of inputs, of units of every hidden layer, and of outputs.
    activation : str
        A key of `ACTIVATIONS`.
    dtype : torch.dtype
        Type of the parameters.
    generator : torch.Generator, optional
        Source of the initial weights (uniform, after Glorot and Bengio; biases are zero). Without
        one the parameters are left on the meta device, to be filled in by a state dict.

    Returns
    -------
    network : torch.nn.Sequential
        The network.
    """
    layers: list[nn.Module] = []
    for n_in, n_out in itertools.pairwise(sizes):
        # On the meta device the constructor draws nothing from torch's global generator.
        layer = nn.Linear(n_in, n_out, dtype=dtype, device="meta")
        if generator is not None:
            layer.to_empty(device="cpu")
            nn.init.xavier_uniform_(layer.weight, generator=generator)
            nn.init.zeros_(layer.bias)
        layers += [layer, ACTIVATIONS[activation]()]
    return nn.Sequential(*layers[:-1])


def build_encoder(
    n_features: int,
    dim: int,
    hidden_dims: Sequence[int],
    activation: str,
    *,
    dtype: torch.dtype,
    generator: torch.Generator | None = None,
) -> Encoder:
    """Build a Gaussian encoder.

    Parameters
    ----------
    n_features, dim : int
        Dimensions of data and latent space.
    hidden_dims : sequence of int
        Units of the hidden layers, from data to codes.
    activation : str
        A key of `ACTIVATIONS`.
    dtype : torch.dtype
        Type of the parameters.
    generator : torch.Generator, optional
        Source of the initial weights; see `multilayer_perceptron`.

    Returns
    -------
    encoder : Encoder
        The encoder.
    """
    sizes = (n_features, *hidden_dims, 2 * dim)
    return Encoder(multilayer_perceptron(sizes, activation, dtype=dtype, generator=generator))


def build_decoder(
    n_features: int,
    dim: int,
    hidden_dims: Sequence[int],
    activation: str,
    *,
    bounded: bool = False,
    dtype: torch.dtype,
    generator: torch.Generator | None = None,
) -> nn.Sequential:
    """Build a network from codes to data, the mirror image of the encoder.

    Parameters
    ----------
    n_features, dim : int
        Dimensions of data and latent space.
    hidden_dims : sequence of int
        Units of the encoder's hidden layers, from data to codes.
    activation : str
        A key of `ACTIVATIONS`.
    bounded : bool
        Whether a sigmoid keeps the outputs between 0 and 1.
    dtype : torch.dtype
        Type of the parameters.
    generator : torch.Generator, optional
        Source of the initial weights; see `multilayer_perceptron`.

    Returns
    -------
    decoder : torch.nn.Sequential
        The network.
    """
    sizes = (dim, *reversed(hidden_dims), n_features)
    network = multilayer_perceptron(sizes, activation, dtype=dtype, generator=generator)
    if bounded:
        network.append(nn.Sigmoid())
    return network


@torch.no_grad()
def absorb_input_scaling(layer: nn.Linear, shift: torch.Tensor, scale: float) -> None:
    """Change a linear layer so that it does to x what it did to (x - shift) / scale.

    Parameters
    ----------
    layer : torch.nn.Linear
        First layer of a network; changed in place.
    shift : torch.Tensor, shape=[n_features]
        Shift of the inputs.
    scale : float
        Scale of the inputs.
    """
    layer.weight.div_(scale)
    layer.bias.sub_(layer.weight @ shift)


@torch.no_grad()
def absorb_output_scaling(layer: nn.Linear, shift: torch.Tensor, scale: float) -> None:
    """Change a linear layer that returned y so that it returns shift + scale * y.

    Parameters
    ----------
    layer : torch.nn.Linear
        Last layer of a network; changed in place.
    shift : torch.Tensor, shape=[n_features]
        Shift of the outputs.
    scale : float
        Scale of the outputs.
    """
    layer.weight.mul_(scale)
    layer.bias.mul_(scale).add_(shift)


def freeze(module: _Module) -> _Module:
    """Put a trained module into evaluation mode, without gradients, on the CPU.

    Parameters
    ----------
    module : torch.nn.Module
        The module; changed in place.

    Returns
    -------
    module : torch.nn.Module
        The same module.
    """
    return module.to("cpu").requires_grad_(False).eval()
