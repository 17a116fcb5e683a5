"""The activations that fast derivatives know, with options that are not the defaults."""

from torch import nn

ACTIVATIONS = {
    "tanh": nn.Tanh(),
    "sigmoid": nn.Sigmoid(),
    "relu": nn.ReLU(),
    "leaky_relu": nn.LeakyReLU(0.2),
    "elu": nn.ELU(0.7),
    "softplus": nn.Softplus(beta=2.0, threshold=30.0),
    "silu": nn.SiLU(),
}
