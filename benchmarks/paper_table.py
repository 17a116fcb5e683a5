"""Which condition makes the gain of geodesic k-means? Section 5 of "Latent Space Oddity".

The paper reports gains of 17, 12 and 16 points over Euclidean k-means. Each condition here changes
one thing of the paper's: its network (tanh, 64 and 32 units, KL warm-up), a = 1.25, K = 64 and
zeta = 1e-6; "our defaults" are all of `VAE`'s. Networks with the KL warm-up are trained by
`paper_networks.py`, those with the layout as `VAE` does, both for 100 epochs. MNIST has 500 images
of a class here, the paper took 1,000; Fashion-MNIST has as many as it did.

All codes of a VAE are clustered in three. Geodesic k-means is done on a grid graph of latent space,
where all distances are known: no start and no failed geodesic can be at fault. ``--solved`` adds
`GeodesicKMeans` on a subset of the codes, to show whether the graph serves.

F-measures in percent: of classes matched to clusters, and of pairs of rows. The columns: Euclidean
k-means from one random start, and the best of ten of k-means++; geodesic from one random start, the
best of ten, from the Euclidean centers, and from the classes' own medoids; and the F-measure of the
15 nearest codes' vote, which tells how far the classes are apart in latent space. Nothing here was
tuned on the outcome.

Run: ``OMP_NUM_THREADS=1 python benchmarks/paper_table.py [--quick] [--cells FILE]``. Every cell is
kept in a file of JSON lines as soon as it is done, and cells that are there are not done again.
"""

import argparse
import gzip
import json
import time
import warnings
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import paper_networks
import torch
from kmeans_digits import SETS as DIGITS
from kmeans_digits import f_of_matched, f_of_pairs
from scipy.sparse.csgraph import dijkstra
from scipy.spatial import cKDTree
from sklearn.cluster import KMeans
from sklearn.model_selection import cross_val_predict
from sklearn.neighbors import KNeighborsClassifier

from geomstats_vae import GaussianDecoder, GeodesicKMeans, LatentSpace, RBFPrecision
from geomstats_vae.datasets import load_mnist_subset
from geomstats_vae.geodesics import LatentGraph
from geomstats_vae.geodesics.deadline import NO_LIMIT
from geomstats_vae.models.architecture import Architecture
from geomstats_vae.models.choices import choose_precision
from geomstats_vae.models.stages import MeanStage, Rows, fit_mean
from geomstats_vae.models.training import TrainingOptions

FASHION = Path("/usr/share/datasets/fashion-mnist")
CLOTHES = (0, 1, 7)
# The study's networks of these are trained at once, and are others if their number is.
SEEDS = tuple(range(200, 205))
# Nodes per side of the graph, and codes that stand for all when centers move.
GRID_SIZE, N_SOURCES = 96, 200
N_STARTS, N_NEIGHBORS = 10, 15
MEASURES = {"matched": f_of_matched, "pairs": f_of_pairs}
COLUMNS = ("euclidean_one", "euclidean", "geodesic_one", "geodesic", "from_euclidean", "from_truth")


@dataclass(frozen=True)
class Network:
    """How the codes come about."""

    hidden_dims: tuple[int, ...] = (64, 32)
    activation: str = "tanh"
    warmup: str = "kl"
    max_epochs: int = 100
    n_images: int = 500


@dataclass(frozen=True)
class Condition:
    """A network, and the precision on its codes; 'auto' is what `VAE` would choose."""

    network: Network = Network()
    a: float | str = 1.25
    n_centers: int = 64
    zeta: float | str = 1e-6
    at_means: bool = False


PAPER = Condition()
SMOOTH = {"hidden_dims": (128, 64), "activation": "silu"}
CONDITIONS = {
    "paper": PAPER,
    "zeta auto": replace(PAPER, zeta="auto"),
    "a = 0.75": replace(PAPER, a=0.75),
    "a = 2": replace(PAPER, a=2.0),
    "K = 32": replace(PAPER, n_centers=32),
    "K = 128": replace(PAPER, n_centers=128),
    "precision at means": replace(PAPER, at_means=True),
    "half the images": replace(PAPER, network=Network(n_images=250)),
    "twice the images": replace(PAPER, network=Network(n_images=1000)),
    "layout warm-up": replace(PAPER, network=Network(warmup="layout")),
    "128-64, SiLU": replace(PAPER, network=Network(**SMOOTH)),
    "our defaults": Condition(Network(**SMOOTH, warmup="layout"), a="auto", zeta="auto"),
}


# -- data, networks and precisions --------------------------------------------------------------


def load(classes: tuple[int, ...], clothes: bool, n_images: int, seed: int):
    """Images of some classes and their classes; None if there are not as many."""
    X, y = load_clothes() if clothes else load_all_digits()
    generator = np.random.default_rng(seed)
    rows = []
    for label in classes:
        own = np.flatnonzero(y == label)
        if len(own) < n_images:
            return None
        rows.append(generator.choice(own, n_images, replace=False))
    rows = np.concatenate(rows)
    return X[rows] / 255.0, y[rows]


@cache
def load_all_digits():
    """MNIST's 5,000 images as bytes, and their classes."""
    digits = load_mnist_subset()
    return (255.0 * digits.data).round().astype(np.uint8), digits.target


@cache
def load_clothes():
    """Fashion-MNIST's images for training, as bytes, and their classes."""
    with gzip.open(FASHION / "train-images-idx3-ubyte.gz") as file:
        images = np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 784)
    with gzip.open(FASHION / "train-labels-idx1-ubyte.gz") as file:
        return images, np.frombuffer(file.read(), np.uint8, offset=8).astype(int)


@dataclass(frozen=True)
class Trained:
    """Encoder and mean of a VAE, and what they were trained on."""

    stage: MeanStage
    rows: Rows
    x: torch.Tensor
    truth: np.ndarray
    seed: int

    @torch.no_grad()
    def codes(self) -> np.ndarray:
        """Means of the posteriors."""
        return self.stage.encoder(self.x)[0].numpy()

    def decoder(self, condition: Condition) -> tuple[GaussianDecoder, float, float]:
        """Fit the precision of a condition to the mean; a and zeta, too."""
        generator = torch.Generator().manual_seed(self.seed)
        sizes = {"n_centers": condition.n_centers, "random_state": self.seed}
        a, zeta = choose_precision(
            self.stage, self.rows, generator, a=condition.a, zeta=condition.zeta, **sizes
        )
        with torch.no_grad():
            mean, std = self.stage.encoder(self.x)
            noise = torch.randn(mean.shape, generator=generator, dtype=mean.dtype)
            z = mean if condition.at_means else mean + std * noise
            squares = (self.x - self.stage.mean(z)).square()
        precision = RBFPrecision.fit(z, squares, a=a, zeta=zeta, tol=1e-2, **sizes)
        return GaussianDecoder(self.stage.means[0], precision), a, zeta


def train(data: dict, network: Network) -> dict[int, Trained]:
    """Train a network on the images of each seed."""
    if not data:
        return {}
    tensors = {seed: torch.tensor(X) for seed, (X, _) in data.items()}
    rows = {
        seed: Rows.split(x, 0.1, torch.Generator().manual_seed(seed)) for seed, x in tensors.items()
    }
    if network.warmup == "layout":
        stages = {seed: our_stage(rows[seed], network, seed) for seed in data}
    else:
        x, sizes = np.stack([X for X, _ in data.values()]), network.hidden_dims
        vaes = paper_networks.train(x, sizes, network.activation, network.max_epochs, min(data))
        stages = {
            seed: MeanStage(encoder, (mean,), float(X.std()), None)
            for seed, (encoder, mean), (X, _) in zip(data, vaes, data.values(), strict=True)
        }
    return {
        seed: Trained(stages[seed], rows[seed], tensors[seed], truth, seed)
        for seed, (_, truth) in data.items()
    }


def our_stage(rows: Rows, network: Network, seed: int) -> MeanStage:
    """Train as `VAE.fit` does, without the parts that no condition here needs."""
    options = TrainingOptions(
        max_epochs=network.max_epochs,
        batch_size=128,
        learning_rate=5e-3,
        weight_decay=1.0,
        patience=network.max_epochs,
        warmup_epochs=network.max_epochs // 3,
        warmup=network.warmup,
    )
    n_features = rows.train.shape[1]
    return fit_mean(
        rows,
        Architecture(n_features, 2, network.hidden_dims, network.activation, bounded=True),
        options,
        torch.Generator().manual_seed(seed),
        n_decoders=1,
        device=torch.device("cpu"),
        deadline=NO_LIMIT,
        verbose=False,
    )


# -- k-means ------------------------------------------------------------------------------------


class KMeansOnGraph:
    """k-means whose centers are nodes of a grid over latent space, by lengths of graph paths."""

    def __init__(self, space: LatentSpace, codes, seed: int) -> None:
        graph = LatentGraph(space.metric.geometry.immersion(), codes, grid_size=GRID_SIZE)
        self.matrix = graph.matrix
        self.place = cKDTree(graph.nodes).query(codes)[1]
        self.tree = cKDTree(graph.nodes)
        generator = np.random.default_rng(seed)
        size = min(N_SOURCES, len(codes))
        self.rows = generator.choice(len(codes), size, replace=False)
        lengths = dijkstra(self.matrix, indices=self.place[self.rows])
        self.squares = lengths**2

    def nodes(self, points):
        """Find the nodes next to points."""
        return self.tree.query(points)[1]

    def medoids(self, labels):
        """Best nodes of given classes of the codes."""
        own = labels[self.rows]
        return np.array([self.squares[own == k].sum(axis=0).argmin() for k in np.unique(labels)])

    def descend(self, nodes, max_iter: int = 100):
        """Lloyd's iterations; labels of all codes, and the inertia."""
        for _ in range(max_iter):
            labels = self.squares[:, nodes].argmin(axis=1)
            moved = nodes.copy()
            for k in np.unique(labels):
                moved[k] = self.squares[labels == k].sum(axis=0).argmin()
            if (moved == nodes).all():
                break
            nodes = moved
        lengths = dijkstra(self.matrix, indices=nodes)[:, self.place]
        return lengths.argmin(axis=0), float((lengths.min(axis=0) ** 2).mean())

    def draw(self, generator, n_clusters: int, *, spread: bool):
        """Draw nodes of codes, at random or far from each other by k-means++."""
        chosen = [generator.integers(len(self.rows))]
        while len(chosen) < n_clusters:
            closest = self.squares[:, self.place[self.rows[chosen]]].min(axis=1)
            weights = closest if spread else (closest > 0.0).astype(float)
            chosen.append(generator.choice(len(self.rows), p=weights / weights.sum()))
        return self.place[self.rows[chosen]]


def clusterings(space: LatentSpace, codes, truth, seed: int):
    """Labels of each column, and inertias of geodesic k-means."""
    n_clusters, generator = len(np.unique(truth)), np.random.default_rng(seed)
    one = KMeans(n_clusters, init="random", n_init=1, random_state=seed).fit(codes)
    best = KMeans(n_clusters, n_init=N_STARTS, random_state=seed).fit(codes)
    graph = KMeansOnGraph(space, codes, seed)
    draws = [graph.draw(generator, n_clusters, spread=True) for _ in range(N_STARTS)]
    found = {
        "geodesic_one": graph.descend(graph.draw(generator, n_clusters, spread=False)),
        "geodesic": min((graph.descend(nodes) for nodes in draws), key=lambda each: each[1]),
        "from_euclidean": graph.descend(graph.nodes(best.cluster_centers_)),
        "from_truth": graph.descend(graph.medoids(truth)),
    }
    labels = {"euclidean_one": one.labels_, "euclidean": best.labels_}
    labels |= {name: each[0] for name, each in found.items()}
    return labels, {name: each[1] for name, each in found.items()}


def f_measures(truth, labels):
    """F-measures in percent."""
    return {name: 100.0 * float(f(truth, labels)) for name, f in MEASURES.items()}


def solved(space: LatentSpace, codes, truth, on_graph, size: int, seed: int):
    """`GeodesicKMeans` on a subset, beside the graph's labels of the same rows."""
    rows = np.random.default_rng(seed).choice(len(codes), size, replace=False)
    begin = time.process_time()
    fit = GeodesicKMeans(space, len(np.unique(truth)), random_state=seed).fit(codes[rows])
    return {
        "solved": f_measures(truth[rows], fit.labels_),
        "graph_there": f_measures(truth[rows], on_graph[rows]),
        "alike": float(f_of_matched(on_graph[rows], fit.labels_)),
        "n_failed": int(fit.n_failed_),
        "seconds_solved": time.process_time() - begin,
    }


def cell(name: str, trained: Trained, options) -> dict:
    """One condition on one VAE."""
    begin = time.process_time()
    codes, truth, seed = trained.codes(), trained.truth, trained.seed
    decoder, a, zeta = trained.decoder(CONDITIONS[name])
    space = LatentSpace(decoder, codes.shape[1], points=codes)
    labels, inertias = clusterings(space, codes, truth, seed)
    vote = cross_val_predict(KNeighborsClassifier(N_NEIGHBORS), codes, truth, cv=5)
    found = {
        "condition": name,
        "seed": seed,
        "f": {column: f_measures(truth, labels[column]) for column in COLUMNS},
        "vote": f_measures(truth, np.searchsorted(np.unique(truth), vote)),
        "inertia": inertias,
        "a": a,
        "zeta": zeta,
        "seconds": time.process_time() - begin,
    }
    if options.solved:
        found |= solved(space, codes, truth, labels["geodesic"], options.solved, seed)
    return found


def images(network: Network, which, seeds) -> dict:
    """Images for each seed; none if there are too few."""
    found = {seed: load(*which, network.n_images, seed) for seed in seeds}
    return {seed: data for seed, data in found.items() if data is not None}


# -- the table ----------------------------------------------------------------------------------


def set_name(classes, clothes: bool) -> str:
    """Name of a set."""
    return ("Fashion " if clothes else "") + ", ".join(map(str, classes))


def spread(values, digits: int = 1) -> str:
    """Mean and deviation."""
    deviation = np.std(values, ddof=1) if len(values) > 1 else np.nan
    return f"{np.mean(values):.{digits}f} ± {deviation:.{digits}f}"


def report(cells: list[dict], measure: str) -> None:
    """Print the tables of the cells that are there."""
    print(f"\nF-measure ({measure}), percent\n")
    print(
        "| set | condition | VAEs | Euclidean | geodesic | gain | vote | Euclidean, one random ",
        end="",
    )
    print("start | geodesic, one random start | from Euclidean centers | from the classes |")
    print("|---" * 11 + "|")
    for name in dict.fromkeys(each["set"] for each in cells):
        for condition in CONDITIONS:
            own = [e for e in cells if e["set"] == name and e["condition"] == condition]
            if not own:
                continue
            f = {c: np.array([e["f"][c][measure] for e in own]) for c in COLUMNS}
            vote = [e["vote"][measure] for e in own]
            words = [spread(f["euclidean"]), spread(f["geodesic"])]
            words += [spread(f["geodesic"] - f["euclidean"]), spread(vote)]
            words += [spread(f[c]) for c in COLUMNS if c not in ("euclidean", "geodesic")]
            print(f"| {name} | {condition} | {len(own)} | {' | '.join(words)} |")


def main() -> None:
    """Do what is not done yet, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cells", type=Path, default=Path("build/paper_table.jsonl"))
    parser.add_argument("--conditions", nargs="*", choices=CONDITIONS, default=list(CONDITIONS))
    parser.add_argument(
        "--sets", nargs="*", type=int, choices=range(4), default=[0, 1, 2, 3], help="3 is Fashion's"
    )
    parser.add_argument("--seeds", nargs="*", type=int, default=SEEDS, help="of the VAEs")
    parser.add_argument("--solved", type=int, default=0, help="codes for GeodesicKMeans")
    parser.add_argument("--report", action="store_true", help="print only what is there")
    parser.add_argument("--quick", action="store_true", help="one set, one VAE, two conditions")
    options = parser.parse_args()
    if options.quick:
        options.conditions, options.sets, options.seeds = ["paper", "zeta auto"], [0], [200]
    # What does not converge is counted; torn codes are part of the table.
    warnings.simplefilter("ignore")
    sets = [(classes, False) for classes in DIGITS] + [(CLOTHES, True)]
    lines = options.cells.read_text().splitlines() if options.cells.exists() else []
    cells = [json.loads(line) for line in lines]
    done = {(each["condition"], each["set"], each["seed"]) for each in cells}
    if not options.report:
        options.cells.parent.mkdir(parents=True, exist_ok=True)
    if not FASHION.exists() and 3 in options.sets:
        print(f"Fashion-MNIST is left out: no folder {FASHION}; install dataset-fashion-mnist.")
        options.sets = [k for k in options.sets if k != 3]
    todo = [] if options.report else [sets[k] for k in options.sets]
    trained = {}
    for seed in options.seeds:
        for which in todo:
            for name in options.conditions:
                network = CONDITIONS[name].network
                if (name, set_name(*which), seed) in done:
                    continue
                if (network, which, seed) not in trained:
                    # Ours are trained one at a time, the study's all at once.
                    ours = network.warmup == "layout" or seed not in SEEDS
                    seeds = [seed] if ours else SEEDS
                    fitted = train(images(network, which, seeds), network)
                    trained |= {(network, which, each): fitted.get(each) for each in seeds}
                if trained[network, which, seed] is None:
                    continue
                found = cell(name, trained[network, which, seed], options)
                cells.append({"set": set_name(*which)} | found)
                with options.cells.open("a") as file:
                    file.write(json.dumps(cells[-1]) + "\n")
                print(json.dumps(cells[-1]), flush=True)
    for measure in MEASURES:
        report(cells, measure)


if __name__ == "__main__":
    main()
