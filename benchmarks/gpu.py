"""Compare geodesics found on a GPU with those found on the CPU, and time both.

Run: ``python benchmarks/gpu.py``, or ``python benchmarks/gpu.py --quick`` on a machine without a
GPU. It needs nothing but the package, and takes less than eight minutes: a row that takes too long
ends by the solver's ``max_seconds``, and tells how many of its geodesics were done; rows for which
no time is left are not begun; and after ten minutes the process ends whatever happens.

Decoders: the packaged digits (d = 2), a perceptron (d = 16) and transposed convolutions (d = 32),
both trained here on scikit-learn's digits at 28 x 28 pixels, always the same. Pairs are random
ones of the codes. The CPU has one thread. Rows:

- "cpu": the solver as it is by default, in smaller blocks;
- "cuda": the same on the GPU.

In many dimensions tol is 1e-3, at which descents are all there is; the smallest batch is repeated
at 1e-4, with Newton's method. Lengths are compared where both are certified. Seconds are those of
a clock, the GPU's work included. Copies are counted on a batch of four: arrays that go to the GPU
and come back from it, and masks and single numbers that the CPU has to wait for.

``--pretend`` puts a device that is not there in the GPU's place: it checks all but times.
"""

import argparse
import faulthandler
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from pretend_device import DEVICE, WITH_INDICES, PretendDevice, moved
from torch import nn
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from geomstats_vae import GeodesicSolver
from geomstats_vae.datasets import load_digits, load_digits_vae
from geomstats_vae.geodesics import GeodesicStatus, LatentGraph
from geomstats_vae.immersions import Decoder

SIDE = 28
N_CODES = 300
PRETEND = DEVICE.type
HARD_LIMIT = 470  # seconds after which the process ends
BATCHES, QUICK = (64, 1024, 16384), (4, 16)


# -- decoders ----------------------------------------------------------------------------------


@dataclass
class Example:
    """A decoder on the CPU, with latent codes of its data, shape=[n_codes, dim]."""

    name: str
    decoder: Any
    codes: np.ndarray

    @property
    def dim(self) -> int:
        """Dimension of the latent space."""
        return self.codes.shape[1]

    def pairs(self, n_pairs: int) -> np.ndarray:
        """Random pairs of codes, shape=[2, n_pairs, dim]; a larger batch begins with a smaller."""
        generator = np.random.default_rng(1)
        return self.codes[generator.integers(len(self.codes), size=(n_pairs, 2)).T]


def perceptron(dim: int) -> nn.Module:
    """Make a chain of linear layers."""
    layers = [nn.Linear(dim, 128), nn.SiLU(), nn.Linear(128, 256), nn.SiLU()]
    return nn.Sequential(*layers, nn.Linear(256, SIDE**2), nn.Sigmoid())


def convolutions(dim: int) -> nn.Module:
    """Make a decoder of transposed convolutions."""
    layers = [nn.Linear(dim, 32 * 49), nn.Unflatten(1, (32, 7, 7)), nn.SiLU()]
    layers += [nn.ConvTranspose2d(32, 16, 4, stride=2, padding=1), nn.SiLU()]
    layers += [nn.ConvTranspose2d(16, 1, 4, stride=2, padding=1), nn.Flatten(1)]
    return nn.Sequential(*layers, nn.Sigmoid())


def trained(name: str, build: Any, dim: int, epochs: int) -> Example:
    """Train a variational autoencoder for a few seconds, always the same.

    Parameters
    ----------
    name : str
        What to call it.
    build : callable
        Makes a decoder of a dimension.
    dim : int
        Dimension of the latent space.
    epochs : int
        Passes over the data.

    Returns
    -------
    example : Example
        The decoder in double precision, and the means of the first images' posteriors.
    """
    images = torch.tensor(load_digits().data.reshape(-1, 1, 8, 8), dtype=torch.float32)
    images = functional.interpolate(images / images.max(), size=SIDE, mode="bilinear").flatten(1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        decoder = build(dim)
        encoder = nn.Sequential(nn.Linear(SIDE**2, 256), nn.SiLU(), nn.Linear(256, 2 * dim))
        optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], 2e-3)
        for _ in range(epochs):
            for rows in torch.randperm(len(images)).split(64):
                mean, log_var = encoder(images[rows]).chunk(2, dim=1)
                decoded = decoder(mean + torch.randn_like(mean) * torch.exp(0.5 * log_var))
                loss = functional.binary_cross_entropy(decoded, images[rows], reduction="sum")
                loss = loss - 0.5 * (1.0 + log_var - mean**2 - log_var.exp()).sum()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        with torch.no_grad():
            codes = encoder(images[:N_CODES])[:, :dim].double().numpy()
    return Example(name, decoder.double().eval(), codes)


def examples() -> Iterator[Example]:
    """Make the decoders, one after the other."""
    vae = load_digits_vae()
    yield Example("digits, d = 2", vae.decoder_, vae.codes_)
    yield trained("perceptron, d = 16", perceptron, 16, 10)
    yield trained("convolutions, d = 32", convolutions, 32, 5)


# -- copies ------------------------------------------------------------------------------------


class CopyCounter(TorchDispatchMode):
    """Counts what goes between the CPU and a device, and what the CPU waits for.

    Attributes
    ----------
    counts : collections.Counter
        Numbers of arrays, their bytes, and of waits.
    """

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Run an operation of torch, and count it."""
        result = function(*args, **(kwargs or {}))
        name = str(function.overloadpacket)
        tensors = [x for x in (*args, result) if isinstance(x, torch.Tensor)]
        if name in ("aten._to_copy", "aten.copy_"):
            source, target = tensors[1 if name == "aten.copy_" else 0].device, tensors[-1].device
            if source.type != target.type:
                way = "there" if source.type == "cpu" else "back"
                self.counts[way] += 1
                self.counts[f"{way}, bytes"] += tensors[-1].nbytes
        elif name in ("aten._local_scalar_dense", "aten.nonzero", "aten.is_nonzero"):
            self.counts["waits"] += any(x.device.type != "cpu" for x in tensors)
        elif name in WITH_INDICES:
            masks = [x for x in args[1] if x is not None and x.dtype == torch.bool]
            self.counts["waits"] += any(x.device.type != "cpu" for x in masks)
        return result


# -- rows --------------------------------------------------------------------------------------


@dataclass
class Row:
    """Lengths and statuses of a batch, shape=[n_pairs], and the seconds it took."""

    length: np.ndarray
    status: np.ndarray
    seconds: float

    @property
    def done(self) -> np.ndarray:
        """Which geodesics were done before the time was over."""
        return self.status != GeodesicStatus.OUT_OF_TIME

    @property
    def certified(self) -> np.ndarray:
        """Which geodesics are certified."""
        return self.status == GeodesicStatus.CONVERGED


class Place:
    """A decoder and its graph on a device.

    Parameters
    ----------
    example : Example
        The decoder.
    device : str
        The device.
    """

    def __init__(self, example: Example, device: str) -> None:
        begin = time.perf_counter()
        self.device, pretend = device, device == PRETEND
        self._entered = PretendDevice if pretend else nullcontext
        decoder = Decoder(example.decoder, example.dim)
        self.immersion = decoder.immersion(device=None if pretend else device)
        if pretend:
            self.immersion = moved(self.immersion)
        with self._entered():
            self.graph = LatentGraph(self.immersion, example.codes)
        self.wait()
        self.seconds = time.perf_counter() - begin

    def wait(self) -> None:
        """Wait for the device."""
        if self.device == "cuda":
            torch.cuda.synchronize()

    def solve(self, solver: GeodesicSolver, pairs: np.ndarray) -> Row:
        """Find geodesics."""
        self.wait()
        begin = time.perf_counter()
        with self._entered():
            path = solver.solve(self.immersion, *pairs, self.graph)
        self.wait()
        return Row(path.length, path.status, time.perf_counter() - begin)

    def count_copies(self, solver: GeodesicSolver, pairs: np.ndarray) -> str:
        """Say what was copied to find geodesics, and in how many evaluations."""
        with self._entered(), CopyCounter() as counter:
            path = solver.solve(self.immersion, *pairs, self.graph)
        counts, steps = counter.counts, int(path.n_iter.max())
        return (
            f"{counts['there']} arrays there ({counts['there, bytes'] / 1e6:.2f} MB), "
            f"{counts['back']} back ({counts['back, bytes'] / 1e6:.2f} MB), {counts['waits']} "
            f"other waits for {len(pairs[0])} geodesics of at most {steps} steps"
        )


def statuses(row: Row) -> str:
    """Name the statuses of a batch, with their numbers."""
    numbers = Counter(row.status.tolist())
    return ", ".join(f"{GeodesicStatus(k).name} {n}" for k, n in sorted(numbers.items()))


def print_row(name: str, n_pairs: int, row: Row, first: Row | None) -> None:
    """Print one row, and compare its lengths with those of the CPU."""
    n_done = int(row.done.sum())
    each = f"{1e3 * row.seconds / n_done:10.2f}" if n_done else f"{'-':>10}"
    compared = ""
    if first is not None:
        both = row.certified & first.certified & (first.length > 0.0)
        difference = np.abs(row.length[both] / first.length[both] - 1.0)
        largest = f"{difference.max():.1e}" if both.any() else "none"
        compared = f"; largest difference of {both.sum()} lengths {largest}"
    print(
        f"  {name:8}{n_pairs:7,}{row.seconds:8.1f} s{each} ms; {statuses(row)}{compared}",
        flush=True,
    )


class Watch:
    """Tells whether there is time for another row, and runs what must not stop the others.

    Parameters
    ----------
    seconds, row_seconds : float
        Time for all rows, and for one.
    """

    def __init__(self, seconds: float, row_seconds: float) -> None:
        self._end, self.row_seconds = time.monotonic() + seconds, row_seconds

    def left(self) -> float:
        """Seconds that are left."""
        return self._end - time.monotonic()

    @contextmanager
    def guard(self, name: str) -> Iterator[None]:
        """Print an error of the device, such as memory that is full, and go on."""
        try:
            yield
        except (RuntimeError, NotImplementedError, TypeError, ValueError) as error:
            print(f"  {name}: {type(error).__name__}: {str(error).splitlines()[0]}", flush=True)


def compare(
    example: Example, devices: Sequence[str], batches: Sequence[int], tol: float, watch: Watch
) -> None:
    """Print the rows of one decoder."""
    print(f"{example.name}, tol = {tol:g}", flush=True)
    plain = GeodesicSolver(tol=tol, max_seconds=watch.row_seconds, late_block=256)
    places = {}
    for device in devices:
        with watch.guard(device):
            place = Place(example, device)
            place.solve(plain, example.pairs(2))  # what is loaded once
            print(f"  {device}: graph {place.seconds:.1f} s", flush=True)
            if device != "cpu":
                print(f"  {device}: {place.count_copies(plain, example.pairs(4))}", flush=True)
            places[device] = place
    for n_pairs in batches:
        first = None
        for device, place in places.items():
            if watch.left() < 0.0:
                print(f"  {device}, {n_pairs:,}: no time left", flush=True)
                continue
            # Few at once on the CPU, so that some are done where there is no time for all.
            late = 8 if device == "cpu" and example.dim > 2 else plain.late_block
            seconds = min(watch.row_seconds, watch.left())
            solver = replace(plain, late_block=late, max_seconds=seconds)
            with watch.guard(device):
                row = place.solve(solver, example.pairs(n_pairs))
                print_row(device, n_pairs, row, first)
                first = row if device == "cpu" else first


def main() -> None:
    """Print a table for each decoder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="batches of 4 and 16")
    parser.add_argument("--pretend", action="store_true", help="a device that is not there")
    parser.add_argument("--batches", type=int, nargs="+")
    parser.add_argument("--tol", type=float, help="for all decoders")
    parser.add_argument("--seconds", type=float, default=380.0, help="for all rows")
    parser.add_argument("--row-seconds", type=float, default=12.0)
    options = parser.parse_args()
    faulthandler.dump_traceback_later(HARD_LIMIT, exit=True)
    torch.set_num_threads(1)
    devices = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
    if options.pretend:
        devices = ["cpu", PRETEND]
        print(f"the GPU's place is taken by {PRETEND!r}, a device that is not there")
    elif devices == ["cpu"]:
        print("torch sees no GPU here: rows of the CPU only")
    else:
        print(f"GPU: {torch.cuda.get_device_name()}; torch {torch.__version__}")
    batches = options.batches or (QUICK if options.quick else BATCHES)
    watch = Watch(options.seconds, options.row_seconds)
    for example in examples():
        tol = options.tol or (1e-4 if example.dim == 2 else 1e-3)
        compare(example, devices, batches, tol, watch)
        if not options.tol and example.dim > 2:
            compare(example, devices, batches[:1], 1e-4, watch)
    faulthandler.cancel_dump_traceback_later()


if __name__ == "__main__":
    main()
