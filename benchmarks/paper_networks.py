"""VAEs as the study trains them, several at a time: networks for `paper_table.py`.

A step of Adam takes one call for all of them, so five take little longer than one. The loss is the
negative ELBO with one noise variance for all outputs at its optimum; the weight of the KL
divergence grows over the first third of the epochs.
"""

import math
from itertools import pairwise

import numpy as np
import torch
from torch import nn

ACTIVATIONS = {"tanh": nn.Tanh, "silu": nn.SiLU}
BATCH_SIZE, LEARNING_RATE, LATENT_DIM = 128, 3e-3, 2


class Layers(nn.Module):
    """As many networks of linear layers as there are VAEs."""

    def __init__(self, n: int, sizes: list[int], activation: nn.Module, generator) -> None:
        super().__init__()
        self.activation = activation
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for inputs, outputs in pairwise(sizes):
            scale = math.sqrt(2.0 / (inputs + outputs))
            weight = scale * torch.randn(n, inputs, outputs, generator=generator)
            self.weights.append(nn.Parameter(weight))
            self.biases.append(nn.Parameter(torch.zeros(n, 1, outputs)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map x, shape=[n, n_rows, n_inputs]."""
        for k, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            x = torch.baddbmm(bias, self.activation(x) if k else x, weight)
        return x

    def one(self, k: int) -> nn.Sequential:
        """Copy a network, in double precision."""
        layers: list[nn.Module] = []
        for weight, bias in zip(self.weights, self.biases, strict=True):
            layer = nn.Linear(weight.shape[1], weight.shape[2], dtype=torch.float64)
            layer.weight.data = weight[k].detach().T.double().contiguous()
            layer.bias.data = bias[k, 0].detach().double()
            layers += [layer, self.activation]
        return nn.Sequential(*layers[:-1]).requires_grad_(False)


class Encoder(nn.Module):
    """Mean and standard deviation of the code."""

    def __init__(self, body: nn.Sequential) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Encode rows."""
        mean, log_std = self.body(x).chunk(2, dim=-1)
        return mean, log_std.exp()


def train(data, hidden_dims, activation: str, max_epochs: int, seed: int):
    """Train a VAE on each of some data sets of the same size.

    Parameters
    ----------
    data : numpy.ndarray, shape=[n_vaes, n_rows, n_features]
        Data in [0, 1].
    hidden_dims : tuple of int
        Units of the encoder's hidden layers; the decoder mirrors them.
    activation : {'tanh', 'silu'}
        Activation.
    max_epochs : int
        Number of epochs.
    seed : int
        Of all randomness.

    Returns
    -------
    vaes : list of (Encoder, torch.nn.Sequential)
        Encoders, and means of the decoders.
    """
    generator = torch.Generator().manual_seed(seed)
    x = torch.as_tensor(np.asarray(data), dtype=torch.float32)
    n, n_rows, n_features = x.shape
    sizes = [n_features, *hidden_dims, 2 * LATENT_DIM]
    encoder = Layers(n, sizes, ACTIVATIONS[activation](), generator)
    back = [LATENT_DIM, *reversed(hidden_dims), n_features]
    decoder = Layers(n, back, ACTIVATIONS[activation](), generator)
    parameters = [*encoder.parameters(), *decoder.parameters()]
    adam = torch.optim.Adam(parameters, lr=LEARNING_RATE)
    n_batches = n_rows // BATCH_SIZE
    decay = torch.optim.lr_scheduler.CosineAnnealingLR(adam, max_epochs * n_batches)
    for epoch in range(max_epochs):
        beta = min(1.0, 3.0 * epoch / max_epochs)
        order = torch.randperm(n_rows, generator=generator)
        for batch in order[: n_batches * BATCH_SIZE].reshape(n_batches, BATCH_SIZE):
            adam.zero_grad()
            loss(encoder, decoder, x[:, batch], beta, generator).backward()
            adam.step()
            decay.step()
    means = [nn.Sequential(*decoder.one(k), nn.Sigmoid()) for k in range(n)]
    return [(Encoder(encoder.one(k)), mean) for k, mean in enumerate(means)]


def loss(encoder, decoder, x, beta: float, generator) -> torch.Tensor:
    """Negative ELBO per row, summed over the VAEs."""
    mean, log_std = encoder(x).chunk(2, dim=-1)
    noise = torch.randn(mean.shape, generator=generator)
    missed = x - decoder(mean + log_std.exp() * noise).sigmoid()
    variance = missed.square().mean(dim=(1, 2)).clamp(min=1e-6)
    kl = 0.5 * (mean.square() + (2.0 * log_std).exp() - 1.0) - log_std
    return (0.5 * x.shape[-1] * variance.log() + beta * kl.sum(dim=-1).mean(dim=1)).sum()
