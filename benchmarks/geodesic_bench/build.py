"""Train the decoders anew, and measure the shortest curves known of their pairs.

Run: ``OMP_NUM_THREADS=1 PYTHONPATH=benchmarks python -m geodesic_bench.build [NAME ...]``. It takes
a quarter of an hour, needs no network, and replaces the files in ``decoders/``. Training depends on
the machine in the last digits, so new files hold other decoders with other lengths.

The reference of a pair is the length of the shorter of two curves, measured by quadrature on the
decoder: ours at a tolerance of 1e-5 (1e-4 where the decoder has kinks) from the graph's paths, and
that from the straight line, if it is found within a few seconds. Lengths at that tolerance are
exact to 1e-6 where the decoder is smooth. No solver knows that no shorter curve exists: a benchmark
that finds one says so.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional
from tqdm import tqdm

from geodesic_bench import decoders
from geodesic_bench.problem import Floats, Problem
from geomstats_vae import VAE, GeodesicSolver
from geomstats_vae.datasets import load_digits_vae, make_rotated_digit

N_CODES = 1_000
_EPOCHS = {"counts_d10": 60}
_TOL, _TOL_OF_KINKED = 1e-5, 1e-4
_KINKED = ("mlp_relu_d16", "counts_d10")
_LATE, _LATE_FROM_LINES = 20.0, 3.0  # seconds for one pair


# -- training ----------------------------------------------------------------------------------


def digit_images() -> torch.Tensor:
    """scikit-learn's digits, enlarged, shape=[1797, 256], in single precision."""
    images = torch.tensor(load_digits().images[:, None] / 16.0, dtype=torch.float32)
    return functional.interpolate(images, size=decoders.SIDE, mode="bilinear").flatten(1)


def counts() -> torch.Tensor:
    """Draw counts of 200 genes of 3,000 cells, of a factor model with six programs of genes."""
    generator = np.random.default_rng(0)
    kinds = generator.standard_normal((8, 6))
    factors = kinds[generator.integers(8, size=3_000)]
    factors = factors + 0.5 * generator.standard_normal(factors.shape)
    shape = (6, decoders.N_GENES)
    loadings = 0.7 * generator.standard_normal(shape) * (generator.random(shape) < 0.3)
    scale = np.exp(factors @ loadings + generator.normal(-1.0, 1.5, shape[1]))
    rate = 1_000.0 * scale / scale.sum(axis=1, keepdims=True)
    return torch.tensor(generator.poisson(rate), dtype=torch.float32)


def train(name: str) -> tuple[nn.Module, Floats]:
    """Train the decoder of a VAE around a module.

    Parameters
    ----------
    name : str
        Key of `decoders.ENTRIES` that has a module.

    Returns
    -------
    decoder : nn.Module
        Trained, in single precision and evaluation mode.
    codes : array, shape=[n_codes, dim]
        Posterior means.
    """
    entry = decoders.ENTRIES[name]
    assert entry.build is not None
    of_counts = name.startswith("counts")
    data = counts() if of_counts else digit_images()
    inputs = data.log1p() if of_counts else data
    with torch.random.fork_rng():
        torch.manual_seed(0)
        decoder = entry.build()
        hidden = (nn.Linear(data.shape[1], 256), nn.SiLU(), nn.Linear(256, 2 * entry.dim))
        encoder = nn.Sequential(*hidden)
        parameters = [*encoder.parameters(), *decoder.parameters()]
        optimizer = torch.optim.Adam(parameters, 1e-3)
        for _ in range(_EPOCHS.get(name, 100)):
            for rows in torch.randperm(len(data)).split(64):
                mean, log_var = encoder(inputs[rows]).chunk(2, dim=1)
                decoded = decoder(mean + torch.randn_like(mean) * torch.exp(0.5 * log_var))
                loss = _misfit(decoded, data[rows])
                loss = loss - 0.5 * (1.0 + log_var - mean**2 - log_var.exp()).sum()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
    decoder.eval()
    with torch.no_grad():
        codes = encoder(inputs)[:, : entry.dim].double().numpy()
    return decoder, codes


def _misfit(decoded: Any, data: torch.Tensor) -> torch.Tensor:
    if isinstance(decoded, torch.Tensor):
        return functional.binary_cross_entropy(decoded, data, reduction="sum")
    return -decoded.log_prob(data).sum()


def _walls() -> tuple[nn.Module, Floats]:
    digits = load_digits()
    data = digits.data[np.isin(digits.target, (0, 1, 4))] / 16.0
    return _fitted(VAE(zeta=0.03, a=0.75, random_state=0), data)


def _rotation() -> tuple[nn.Module, Floats]:
    data = make_rotated_digit(N_CODES, size=decoders.SIDE, random_state=0).data
    return _fitted(VAE(random_state=0), data)


def _fitted(vae: VAE, data: Floats) -> tuple[nn.Module, Floats]:
    vae.fit(data)
    return vae.decoder_, np.asarray(vae.codes_)


def _digits() -> tuple[nn.Module, Floats]:
    vae = load_digits_vae()
    return vae.decoder_, np.asarray(vae.codes_)


_OWN: dict[str, Callable[[], tuple[nn.Module, Floats]]] = {
    "digits": _digits,
    "walls": _walls,
    "rotation": _rotation,
}


# -- references --------------------------------------------------------------------------------


def reference_lengths(problem: Problem) -> Floats:
    """Length of the shortest curve known of each pair.

    Parameters
    ----------
    problem : Problem
        Decoder and pairs, with a graph.

    Returns
    -------
    reference : array, shape=[n_pairs]
        The lengths.
    """
    pairs = tqdm(range(len(problem.start)), problem.name, unit="pair")
    return np.array([_shortest(problem, k) for k in pairs])


def _shortest(problem: Problem, k: int) -> float:
    start, end = problem.start[k : k + 1], problem.end[k : k + 1]
    tol = _TOL_OF_KINKED if problem.name in _KINKED else _TOL
    found = [
        GeodesicSolver(tol=tol, max_seconds=limit).solve(problem.immersion, start, end, begin)
        for begin, limit in ((problem.graph, _LATE), (None, _LATE_FROM_LINES))
    ]
    return float(np.nanmin([path.length[0] for path in found]))


# -- files -------------------------------------------------------------------------------------


def make(name: str) -> None:
    """Train a decoder, measure its references, and write its file.

    Parameters
    ----------
    name : str
        Key of `decoders.ENTRIES`.
    """
    begin = time.process_time()
    module, codes = _OWN[name]() if name in _OWN else train(name)
    weights = {
        key: value.detach().float().contiguous() for key, value in module.state_dict().items()
    }
    codes = codes[np.random.default_rng(0).permutation(len(codes))[:N_CODES]]
    trained = time.process_time() - begin
    if name != "digits":
        codes = codes.astype(np.float32).astype(np.float64)
        module = decoders.module_of(name, weights)
    ends = decoders.random_pairs(codes)
    problem, _ = decoders.with_graph(decoders.problem_of(name, module, codes, ends))
    reference = reference_lengths(problem)
    arrays = {"codes": codes, "start": ends[0], "end": ends[1], "reference": reference}
    tensors = {} if name == "digits" else weights
    tensors |= {key: torch.tensor(value) for key, value in arrays.items()}
    decoders.FOLDER.mkdir(exist_ok=True)
    unfinished = decoders.FOLDER / f".{name}.unfinished"
    save_file(tensors, unfinished)
    unfinished.replace(decoders.path_of(name))
    seconds = time.process_time() - begin
    print(f"{name}: training {trained:.0f} s, all {seconds:.0f} s", flush=True)


def main() -> None:
    """Make the files that are asked for, or all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", choices=[*decoders.ENTRIES, []], metavar="NAME")
    torch.set_num_threads(1)
    for name in parser.parse_args().names or decoders.ENTRIES:
        make(name)


if __name__ == "__main__":
    main()
