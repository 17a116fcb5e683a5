"""Compare the order of cells by distance from a root with the order of their development.

Cells whose order is known, and the rank correlation (Spearman) of their distances from a root with
it. krumsiek11 and toggleswitch are scanpy's simulations of differentiation, each of several
branches from one root; the order is the time step, and the number is the mean over branches of the
correlation within a branch. Their levels are turned into counts: ten genes follow each simulated
one, with scales and cells' efficiencies drawn from log-normal distributions and negative binomial
noise, anew for each seed. Late steps hardly differ, so that no method can reach 1. Of PBMC 68k the
counts are recovered from the bundled logarithms; root is the medoid of the CD34+ cells, and the
order is 0 for CD34+, 1 for naive and 2 for other T cells: three stages, few of them certain.

A VAE with a negative binomial decoder is trained on the counts; its geodesics are those of
Fisher-Rao. Beside it stand a `VAE` of the logarithms at its defaults with fewer epochs, straight
lines in both latent spaces, straight lines in ten principal components, and scanpy's diffusion
pseudotime of the same logarithms, with the Gaussian kernel that it was published with (scanpy's
default kernel compiles for two minutes). PBMC 68k has more genes than cells that count
here; the `VAE` of its logarithms is left out, as it did not end in a minute and a half. +- is the
standard deviation over seeds. Nothing was chosen on the outcome.

Run: ``OMP_NUM_THREADS=1 python benchmarks/cells_in_order.py [--quick] [--out FILE]``. Finished
seeds are lines of FILE; a second run goes on after them. Six to forty seconds of a core for
each data set and seed; ``--print`` only prints the table.
"""

import argparse
import itertools
import json
import time
import warnings
from dataclasses import dataclass
from pathlib import Path

import anndata
import numpy as np
import scanpy
import torch
from scipy.stats import spearmanr
from sklearn.decomposition import PCA
from torch import nn
from torch.distributions import NegativeBinomial

from geomstats_vae import VAE, GeodesicSolver, LatentSpace
from geomstats_vae.datasets import load_pbmc68k
from geomstats_vae.geodesics import LatentGraph
from geomstats_vae.immersions import Decoder

NAMES = ("krumsiek11", "toggleswitch", "PBMC 68k")
N_STEPS = {"krumsiek11": 160, "toggleswitch": 100}
GENES_PER_LEVEL, MEAN_COUNT, DISPERSION, BACKGROUND = 10, 3.0, 2.0, 0.05
HIDDEN, EPOCHS, BATCH, RATE = 64, 150, 64, 3e-3
GRID_SIZE, TOL, N_COMPONENTS = 64, 1e-3, 10
STAGES = {
    **{"CD34+": 0, "CD4+/CD45RA+/CD25- Naive T": 1, "CD8+/CD45RA+ Naive Cytotoxic": 1},
    **{"CD4+/CD45RO+ Memory": 2, "CD4+/CD25 T Reg": 2, "CD8+ Cytotoxic T": 2},
}


@dataclass(frozen=True)
class Cells:
    """Counts, shape=[n_cells, n_genes], cells' order and branch, and the number of the root."""

    counts: np.ndarray
    order: np.ndarray
    branch: np.ndarray
    root: int

    @property
    def many_genes(self) -> bool:
        """Whether there are more genes than cells."""
        return self.counts.shape[1] > len(self.counts)


def main() -> None:
    """Measure what is missing, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", nargs="*", default=NAMES, choices=NAMES)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("cells_in_order.jsonl"))
    parser.add_argument("--print", action="store_true", help="print what is there")
    parser.add_argument("--quick", action="store_true", help="toggleswitch, one seed, 30 epochs")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.data, arguments.seeds = ["toggleswitch"], 1
        arguments.out = arguments.out.with_suffix(".quick.jsonl")
    done = [json.loads(line) for line in arguments.out.open()] if arguments.out.exists() else []
    known = {(cell["data"], cell["seed"]) for cell in done}
    for seed, name in itertools.product(range(arguments.seeds), arguments.data):
        if (name, seed) in known or arguments.print:
            continue
        began = time.process_time()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = measure(load(name, seed), seed, 30 if arguments.quick else EPOCHS)
        cell = {"data": name, "seed": seed, "correlation": found}
        done.append(cell)
        with arguments.out.open("a") as file:
            file.write(json.dumps(cell) + "\n")
        print(f"{name}, seed {seed}: {time.process_time() - began:.0f} CPU seconds", flush=True)
    report(done)


def load(name: str, seed: int) -> Cells:
    """Load cells whose order is known."""
    if name == "PBMC 68k":
        return blood()
    cells = getattr(scanpy.datasets, name)()
    row = np.arange(cells.n_obs)
    counts = counted(np.maximum(np.asarray(cells.X, dtype=float), 0.0), seed)
    return Cells(counts, row % N_STEPS[name], row // N_STEPS[name], root=0)


def counted(levels: np.ndarray, seed: int) -> np.ndarray:
    """Turn levels into counts of genes, with negative binomial noise."""
    rng = np.random.default_rng(seed)
    scale = rng.lognormal(sigma=1.0, size=levels.shape[1] * GENES_PER_LEVEL)
    efficiency = rng.lognormal(sigma=0.3, size=(len(levels), 1))
    mean = np.repeat(levels + BACKGROUND, GENES_PER_LEVEL, axis=1) * scale
    mean = MEAN_COUNT * efficiency * mean
    return rng.poisson(rng.gamma(DISPERSION, mean / DISPERSION)).astype(float)


def blood() -> Cells:
    """Recover counts of T cells and CD34+ cells: the smallest value of a cell is one count."""
    cells = load_pbmc68k()
    kind = np.array(cells.target_names)[cells.target]
    kept = np.isin(kind, list(STAGES))
    values = np.expm1(cells.data[kept])
    one = np.where(values > 0.0, values, np.inf).min(axis=1, keepdims=True)
    counts = np.round(values / one)
    order = np.array([STAGES[name] for name in kind[kept]])
    first = np.flatnonzero(order == 0)
    images = PCA(N_COMPONENTS, random_state=0).fit_transform(logarithms(counts))[first]
    sums = np.linalg.norm(images[:, None] - images, axis=2).sum(axis=1)
    return Cells(counts, order, np.zeros(len(order), dtype=int), int(first[sums.argmin()]))


def logarithms(counts: np.ndarray) -> np.ndarray:
    """Take logarithms of one plus counts per median cell."""
    total = counts.sum(axis=1, keepdims=True)
    return np.log1p(counts / np.maximum(total, 1.0) * np.median(total))


def measure(cells: Cells, seed: int, epochs: int) -> dict[str, float]:
    """Rank correlation of each distance from the root with the order."""
    X = logarithms(cells.counts)
    distances = {"diffusion pseudotime": diffusion_pseudotime(X, cells.root)}
    components = PCA(N_COMPONENTS, random_state=0).fit_transform(X)
    distances["straight, 10 components"] = straight(components, cells.root)
    decoder, codes = train_counts(cells.counts, X, seed, epochs)
    distances["negative binomial: geodesic"] = geodesic(decoder, codes, cells.root)
    distances["negative binomial: straight"] = straight(codes, cells.root)
    if not cells.many_genes:
        vae = VAE(max_epochs=epochs // 2, random_state=seed).fit(X)
        codes = vae.transform(X)
        distances["VAE of logarithms: geodesic"] = geodesic(vae.decoder_, codes, cells.root)
        distances["VAE of logarithms: straight"] = straight(codes, cells.root)
    return {key: correlation(cells, values) for key, values in distances.items()}


def correlation(cells: Cells, distance: np.ndarray) -> float:
    """Spearman's correlation within branches, in the mean over them."""
    rows = [np.flatnonzero(cells.branch == k) for k in np.unique(cells.branch)]
    return float(np.mean([spearmanr(distance[k], cells.order[k]).statistic for k in rows]))


def diffusion_pseudotime(X: np.ndarray, root: int) -> np.ndarray:
    """Run scanpy's diffusion pseudotime; cells that it does not reach come last."""
    cells = anndata.AnnData(X.copy())
    cells.uns["iroot"] = root
    scanpy.pp.neighbors(cells, method="gauss", random_state=0)
    scanpy.tl.diffmap(cells, random_state=0)
    scanpy.tl.dpt(cells)
    return np.nan_to_num(cells.obs["dpt_pseudotime"].to_numpy(), posinf=2.0)


def straight(points: np.ndarray, root: int) -> np.ndarray:
    """Straight distances from the root."""
    return np.linalg.norm(points - points[root], axis=1)


def geodesic(decoder: object, codes: np.ndarray, root: int) -> np.ndarray:
    """Geodesic distances from the root."""
    graph = LatentGraph(Decoder(decoder, 2).immersion(), codes, grid_size=GRID_SIZE)
    options = {"graph": graph, "solver": GeodesicSolver(tol=TOL), "on_failure": "ignore"}
    space = LatentSpace(decoder, 2, points=codes, table=False, **options)
    return space.metric.dist(codes[root], codes)


class CountDecoder(nn.Module):
    """Negative binomial counts of a cell of one size.

    Parameters
    ----------
    n_genes : int
        Number of genes.
    size : float
        Counts of the cell.
    """

    def __init__(self, n_genes: int, size: float) -> None:
        super().__init__()
        self.size = size
        self.body = nn.Sequential(nn.Linear(2, HIDDEN), nn.SiLU(), nn.Linear(HIDDEN, n_genes))
        self.log_dispersion = nn.Parameter(torch.zeros(n_genes))

    def forward(self, z: torch.Tensor, size: torch.Tensor | None = None) -> NegativeBinomial:
        """Decode codes, shape=[n_cells, 2], for cells of a size, shape=[n_cells, 1]."""
        log_size = np.log(self.size) if size is None else size.log()
        log_mean = self.body(z).log_softmax(dim=-1) + log_size
        return NegativeBinomial(self.log_dispersion.exp(), logits=log_mean - self.log_dispersion)


def train_counts(
    counts: np.ndarray, X: np.ndarray, seed: int, epochs: int
) -> tuple[CountDecoder, np.ndarray]:
    """Train a VAE of counts; its decoder in double precision, and the codes."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        total = counts.sum(axis=1, keepdims=True)
        decoder = CountDecoder(counts.shape[1], float(np.median(total)))
        encoder = nn.Sequential(nn.Linear(X.shape[1], HIDDEN), nn.SiLU(), nn.Linear(HIDDEN, 4))
        rows = [torch.as_tensor(part, dtype=torch.float32) for part in (counts, X, total)]
        run_epochs(encoder, decoder, rows, epochs)
        with torch.no_grad():
            codes = encoder(rows[1])[:, :2].double().numpy()
    return decoder.double().eval(), codes


def run_epochs(
    encoder: nn.Module, decoder: CountDecoder, rows: list[torch.Tensor], epochs: int
) -> None:
    """Minimise the negative ELBO; the KL divergence's weight grows over the first third."""
    optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=RATE)
    for epoch in range(epochs):
        weight = min(1.0, 3.0 * (epoch + 1) / epochs)
        for chosen in torch.randperm(len(rows[0])).split(BATCH):
            count, x, size = (part[chosen] for part in rows)
            mean, log_variance = encoder(x).chunk(2, dim=1)
            z = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
            fit = decoder(z, size).log_prob(count).sum(dim=1)
            kl = 0.5 * (mean**2 + log_variance.exp() - log_variance - 1.0).sum(dim=1)
            loss = (weight * kl - fit).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()


def report(done: list[dict]) -> None:
    """Print the table."""
    names = [name for name in NAMES if any(cell["data"] == name for cell in done)]
    if not names:
        return
    heads = [f"{name} ({sum(cell['data'] == name for cell in done)} seeds)" for name in names]
    print(f"\n| distance from the root | {' | '.join(heads)} |\n|---{'|---' * len(names)}|")
    keys = dict.fromkeys(key for cell in done for key in cell["correlation"])
    for key in keys:
        row = [[cell["correlation"].get(key) for cell in done if cell["data"] == n] for n in names]
        print(f"| {key} | {' | '.join(map(spread, row))} |")


def spread(values: list[float | None]) -> str:
    """Mean and standard deviation over seeds."""
    known = [value for value in values if value is not None]
    if not known:
        return "-"
    error = np.std(known, ddof=1) if len(known) > 1 else np.nan
    return f"{np.mean(known):.3f} +- {error:.3f}"


if __name__ == "__main__":
    main()
