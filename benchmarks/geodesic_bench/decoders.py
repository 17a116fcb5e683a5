"""The seven decoders: how each is built around its arrays, and the files they lie in.

Each file ``decoders/NAME.safetensors`` holds the weights in single precision, codes of data, 100
pairs of codes, and the length of the shortest curve known of each pair. Decoders are used in
double precision. The digits' decoder is the one that comes with the package.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn
from torch.distributions import NegativeBinomial

from geodesic_bench.problem import Problem
from geomstats_vae.datasets import load_digits_vae
from geomstats_vae.geodesics import GeodesicSolver, LatentGraph
from geomstats_vae.immersions import Decoder, GaussianDecoder, RBFPrecision

FOLDER = Path(__file__).parent / "decoders"
N_PAIRS = 100
SIDE, N_GENES = 16, 200
_ARRAYS = ("codes", "start", "end", "reference")
_TINY = 1e-6


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

    def __init__(self, dim: int, library: float = 1_000.0) -> None:
        super().__init__()
        self.hidden = nn.Sequential(nn.Linear(dim, 64), nn.BatchNorm1d(64), nn.ReLU())
        self.scale = nn.Sequential(nn.Linear(64, N_GENES), nn.Softmax(dim=-1))
        self.log_dispersion = nn.Parameter(torch.zeros(N_GENES))
        self.register_buffer("library", torch.tensor(library))

    def forward(self, z: torch.Tensor, library: torch.Tensor | None = None) -> NegativeBinomial:
        """Decode to distributions of counts, batch_shape=[n_points, n_genes]."""
        rate = (self.library if library is None else library) * self.scale(self.hidden(z)) + _TINY
        logits = rate.log() - self.log_dispersion
        return NegativeBinomial(self.log_dispersion.exp(), logits=logits, validate_args=False)

    @staticmethod
    def likelihood(counts: NegativeBinomial) -> torch.Tensor:
        """Embed by 2 sqrt(t) asinh(sqrt(m / t)): Fisher-Rao's metric of mean m, dispersion t."""
        return 2.0 * counts.total_count.sqrt() * torch.asinh(torch.exp(0.5 * counts.logits))


def perceptron(dim: int, activation: type[nn.Module]) -> nn.Sequential:
    """Two hidden layers, and a mean in [0, 1] per pixel.

    Parameters
    ----------
    dim : int
        Dimension of the latent space.
    activation : type of nn.Module
        Activation of the hidden layers.

    Returns
    -------
    decoder : nn.Sequential
        Not trained.
    """
    hidden = [nn.Linear(dim, 64), activation(), nn.Linear(64, 128), activation()]
    return nn.Sequential(*hidden, nn.Linear(128, SIDE**2), nn.Sigmoid())


def convolutions(dim: int) -> nn.Sequential:
    """Transposed convolutions with batch normalization and SiLU.

    Parameters
    ----------
    dim : int
        Dimension of the latent space.

    Returns
    -------
    decoder : nn.Sequential
        Not trained.
    """
    quarter = SIDE // 4
    return nn.Sequential(
        *(nn.Linear(dim, 32 * quarter**2), nn.Unflatten(1, (32, quarter, quarter))),
        *(nn.BatchNorm2d(32), nn.SiLU(), nn.ConvTranspose2d(32, 16, 4, stride=2, padding=1)),
        *(nn.BatchNorm2d(16), nn.SiLU(), nn.ConvTranspose2d(16, 1, 4, stride=2, padding=1)),
        *(nn.Sigmoid(), nn.Flatten(1)),
    )


def _gaussian(tensors: dict[str, torch.Tensor]) -> nn.Module:
    """Mean of two SiLU layers and an RBF network, as `VAE` trains them by default."""
    layers: list[nn.Module] = []
    for name in (name for name in tensors if name.startswith("mean.") and "weight" in name):
        n_out, n_in = tensors[name].shape
        layers += [nn.Linear(n_in, n_out), nn.SiLU()]
    std = RBFPrecision(*(tensors[f"std.{name}"].double() for name in RBFPrecision.buffer_names))
    return GaussianDecoder(nn.Sequential(*layers[:-1]).double(), std)


@dataclass(frozen=True)
class Entry:
    """One decoder.

    Parameters
    ----------
    dim : int
        Dimension of the latent space.
    about : str
        What it is, in a few words.
    build : callable, optional
        Takes nothing; returns the module, not trained. Without it the decoder is one of `VAE`.
    """

    dim: int
    about: str
    build: Callable[[], nn.Module] | None = None


ENTRIES = {
    "digits": Entry(2, "the package's VAE of the digits: tanh, RBF standard deviations"),
    "walls": Entry(2, "VAE of three classes of digits, zeta = 0.03: walls between the codes"),
    "rotation": Entry(2, "VAE at its defaults of one digit, turned by 0 to 300 degrees"),
    "mlp_relu_d16": Entry(16, "digits, two ReLU layers", partial(perceptron, 16, nn.ReLU)),
    "mlp_silu_d16": Entry(16, "digits, two SiLU layers", partial(perceptron, 16, nn.SiLU)),
    "counts_d10": Entry(10, "simulated counts, negative binomial", partial(CountDecoder, 10)),
    "conv_d32": Entry(32, "digits, transposed convolutions, SiLU", partial(convolutions, 32)),
}


def path_of(name: str) -> Path:
    """File of a decoder.

    Parameters
    ----------
    name : str
        Key of `ENTRIES`.

    Returns
    -------
    path : Path
        The file.
    """
    return FOLDER / f"{name}.safetensors"


def module_of(name: str, tensors: dict[str, torch.Tensor]) -> nn.Module:
    """Build a decoder around its weights.

    Parameters
    ----------
    name : str
        Key of `ENTRIES`.
    tensors : dict of torch.Tensor
        The weights.

    Returns
    -------
    decoder : nn.Module
        In double precision and evaluation mode.
    """
    build = ENTRIES[name].build
    decoder = _gaussian(tensors) if build is None else build()
    decoder = decoder.double()
    decoder.load_state_dict(
        {key: value.to(decoder.state_dict()[key]) for key, value in tensors.items()}
    )
    return decoder.eval()


def problem_of(name: str, module: Any, codes: Any, ends: Sequence[Any]) -> Problem:
    """Put a decoder and its pairs together.

    Parameters
    ----------
    name : str
        Name of the decoder.
    module : nn.Module
        The decoder.
    codes : array, shape=[n_codes, dim]
        Codes of data.
    ends : sequence of array, shape=[n_pairs, dim]
        Starts and ends.

    Returns
    -------
    problem : Problem
        Without a graph.
    """
    likelihood = getattr(module, "likelihood", None)
    immersion = Decoder(module, codes.shape[1], likelihood=likelihood).immersion()
    return Problem(name, module, immersion, codes, *ends)


def load(name: str, n_pairs: int = N_PAIRS) -> Problem:
    """Read a decoder, its pairs and their reference lengths.

    Parameters
    ----------
    name : str
        Key of `ENTRIES`.
    n_pairs : int
        How many pairs. Beyond the 100 of the file more are drawn, whose references are the lengths
        that our solver finds at tol = 1e-8.

    Returns
    -------
    problem : Problem
        With a reference, without a graph.

    Raises
    ------
    KeyError
        If there is no decoder of that name.
    """
    if name not in ENTRIES:
        raise KeyError(f"Expected one of {', '.join(ENTRIES)}, got {name!r}.")
    tensors = load_file(path_of(name))
    codes, start, end, reference = (tensors.pop(key).double().numpy() for key in _ARRAYS)
    module = load_digits_vae().decoder_ if name == "digits" else module_of(name, tensors)
    if n_pairs > len(start):
        more, _ = with_graph(problem_of(name, module, codes, random_pairs(codes, n_pairs)))
        start, end = more.start, more.end
        ends = start[len(reference) :], end[len(reference) :]
        found = GeodesicSolver(tol=1e-8).solve(more.immersion, *ends, more.graph)
        reference = np.concatenate((reference, found.length))
    problem = problem_of(name, module, codes, (start[:n_pairs], end[:n_pairs]))
    return replace(problem, reference=reference[:n_pairs])


def random_pairs(codes: Any, n_pairs: int = N_PAIRS) -> tuple[Any, Any]:
    """Draw random pairs of codes, by a fixed seed.

    Parameters
    ----------
    codes : array, shape=[n_codes, dim]
        The codes.
    n_pairs : int
        How many.

    Returns
    -------
    start, end : array, shape=[n_pairs, dim]
        The pairs; no code is joined to itself.
    """
    generator = np.random.default_rng(1)
    pairs = [generator.choice(len(codes), size=2, replace=False) for _ in range(n_pairs)]
    first, second = np.array(pairs).T
    return codes[first], codes[second]


def with_graph(problem: Problem) -> tuple[Problem, float]:
    """Add our graph, which is built once per decoder.

    Parameters
    ----------
    problem : Problem
        Decoder and pairs.

    Returns
    -------
    problem : Problem
        With the graph.
    seconds : float
        Processor time of it.
    """
    begin = time.process_time()
    graph = LatentGraph(problem.immersion, problem.codes)
    return replace(problem, graph=graph), time.process_time() - begin
