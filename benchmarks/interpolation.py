"""Compare images along geodesics, straight lines and great circles.

`VAE` at its defaults with fewer epochs, in 2, 8 and 16 latent dimensions, trained on one half of
scikit-learn's digits. Random pairs of its codes are joined by geodesics, straight lines and slerp
(great circles around the origin), and 33 images are decoded along each. "line, even steps" is the
straight line with its times chosen so that the images' steps are equal: a remedy without geometry.
"cross-fade" mixes the two end images pixel by pixel: the shortest curve between them if any image
were allowed.

- off the data: distance of an image to the nearest image of the other half, in the mean over times
  and pairs, in pixels' units (0 to 1). The other half's own such distance to the first is printed.
- entropy: that of a logistic regression trained on the other half, in nats; its entropy at real
  images of the first half is printed.
- off the fade: distance of an image to the nearest image of the cross-fade, likewise.
- steps: coefficient of variation of the distances between consecutive images.
- better: share of pairs in which the geodesic is nearer to the data, and of lower entropy, than
  this curve.

+- is the standard deviation over seeds. Nothing was chosen on the outcome. d = 2 has a graph of
the plane, higher d one of codes; pairs whose geodesic did not converge count like all others.

Run: ``OMP_NUM_THREADS=1 python benchmarks/interpolation.py [--quick] [--out FILE]``. Finished
models are lines of FILE; a second run goes on after them. Five to ten seconds of a core for
each dimension and seed; ``--print`` only prints the table.
"""

import argparse
import itertools
import json
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy.spatial import cKDTree
from scipy.stats import entropy
from sklearn.linear_model import LogisticRegression

from geomstats_vae import VAE, GeodesicSolver
from geomstats_vae.datasets import load_digits

DIMENSIONS, N_IMAGES, TOL = (2, 8, 16), 33, 1e-3
NAMES = ("geodesic", "line", "line, even steps", "slerp", "cross-fade")
MEASURES = ("off the data", "entropy", "off the fade", "steps")


def main() -> None:
    """Measure what is missing, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dimensions", nargs="*", type=int, default=DIMENSIONS)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--pairs", type=int, default=30)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--out", type=Path, default=Path("interpolation.jsonl"))
    parser.add_argument("--print", action="store_true", help="print what is there")
    parser.add_argument("--quick", action="store_true", help="d = 2, one seed, 10 epochs, 10 pairs")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.dimensions, arguments.seeds = [2], 1
        arguments.epochs, arguments.pairs = 10, 10
        arguments.out = arguments.out.with_suffix(".quick.jsonl")
    done = [json.loads(line) for line in arguments.out.open()] if arguments.out.exists() else []
    known = {(cell["dim"], cell["seed"]) for cell in done}
    for seed, dim in itertools.product(range(arguments.seeds), arguments.dimensions):
        if (dim, seed) in known or arguments.print:
            continue
        began = time.process_time()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            cell = {"dim": dim, "seed": seed, **measure(dim, seed, arguments)}
        done.append(cell)
        with arguments.out.open("a") as file:
            file.write(json.dumps(cell) + "\n")
        print(f"d = {dim}, seed {seed}: {time.process_time() - began:.0f} CPU seconds", flush=True)
    report(done)


def measure(dim: int, seed: int, arguments: argparse.Namespace) -> dict:
    """Train with a seed, join pairs of codes, and look at the images along the curves."""
    digits = load_digits()
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(digits.data))
    ours, others = np.array_split(order, 2)
    vae = VAE(latent_dim=dim, max_epochs=arguments.epochs, random_state=seed)
    codes = vae.fit(digits.data[ours]).transform(digits.data[ours])
    metric = vae.latent_space_.metric
    metric.solver = GeodesicSolver(tol=TOL)
    start, end = codes[rng.choice(len(codes), size=(2, arguments.pairs), replace=False)]
    path = metric.solve_geodesic(start, end)
    classifier = LogisticRegression(max_iter=1000)
    classifier.fit(digits.data[others], digits.target[others])
    tree = cKDTree(digits.data[others])
    line, decode = straight(start, end), vae.inverse_transform
    curves = {
        "geodesic": path(np.linspace(0.0, 1.0, N_IMAGES)),
        "line": line,
        "line, even steps": even_steps(decode, start, end),
        "slerp": slerp(start, end),
    }
    images = {name: decoded(decode, curve) for name, curve in curves.items()}
    first, last = images["line"][:, :1], images["line"][:, -1:]
    images["cross-fade"] = first + np.linspace(0.0, 1.0, N_IMAGES)[:, None] * (last - first)
    found = {name: along(tree, classifier, strips) for name, strips in images.items()}
    return {
        "converged": float(path.converged.mean()),
        "own": float(tree.query(digits.data[ours])[0].mean()),
        "own entropy": float(entropy(classifier.predict_proba(digits.data[ours]), axis=1).mean()),
        "curves": found,
    }


def straight(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Points on straight lines at equal times, shape=[n_pairs, n_images, dim]."""
    return start[:, None] + np.linspace(0.0, 1.0, N_IMAGES)[:, None] * (end - start)[:, None]


def even_steps(decode: Callable, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Points on straight lines whose images are equally far from each other along the line."""
    times = np.linspace(0.0, 1.0, 8 * N_IMAGES)
    points = start[:, None] + times[:, None] * (end - start)[:, None]
    curves = []
    for a, b, images in zip(start, end, decoded(decode, points), strict=True):
        run = np.append(0.0, np.linalg.norm(np.diff(images, axis=0), axis=1).cumsum())
        t = np.interp(np.linspace(0.0, run[-1], N_IMAGES), run, times)
        curves.append(a + t[:, None] * (b - a))
    return np.stack(curves)


def slerp(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Points on great circles around the origin, with the length changing along."""
    a, b = start / norm(start), end / norm(end)
    angle = np.arccos(np.clip((a * b).sum(axis=1), -1.0, 1.0))[:, None, None]
    t = np.linspace(0.0, 1.0, N_IMAGES)[:, None]
    directions = np.sin((1.0 - t) * angle) * start[:, None] + np.sin(t * angle) * end[:, None]
    sine = np.sin(angle)
    return np.where(sine > 1e-6, directions / np.maximum(sine, 1e-6), straight(start, end))


def norm(points: np.ndarray) -> np.ndarray:
    """Norms, shape=[n_points, 1]."""
    return np.linalg.norm(points, axis=1, keepdims=True)


def decoded(decode: Callable, curves: np.ndarray) -> np.ndarray:
    """Images along curves, shape=[n_curves, n_images, n_pixels]."""
    return decode(curves.reshape(-1, curves.shape[-1])).reshape(*curves.shape[:2], -1)


def along(
    tree: cKDTree, classifier: LogisticRegression, images: np.ndarray
) -> dict[str, list[float]]:
    """Measure images along curves, shape=[n_curves, n_images, n_pixels]; a number for each."""
    flat, shape = images.reshape(-1, images.shape[-1]), images.shape[:2]
    unsure = entropy(classifier.predict_proba(flat), axis=1)
    steps = np.linalg.norm(np.diff(images, axis=1), axis=2)
    return {
        "off the data": tree.query(flat)[0].reshape(shape).mean(axis=1).tolist(),
        "entropy": unsure.reshape(shape).mean(axis=1).tolist(),
        "off the fade": off_the_fade(images).mean(axis=1).tolist(),
        "steps": (steps.std(axis=1) / steps.mean(axis=1)).tolist(),
    }


def off_the_fade(images: np.ndarray) -> np.ndarray:
    """Distances to the segment between the first and the last image, shape=[n_curves, n_images]."""
    first = images[:, :1]
    side = images[:, -1:] - first
    share = ((images - first) * side).sum(axis=2, keepdims=True) / (side**2).sum(axis=2)[..., None]
    return np.linalg.norm(images - first - np.clip(share, 0.0, 1.0) * side, axis=2)


def report(done: list[dict]) -> None:
    """Print the table."""
    print(
        "\n| d (models) | curve | off the data | entropy | off the fade | steps | better |"
        "\n|---|---|---|---|---|---|---|"
    )
    for dim in sorted({cell["dim"] for cell in done}):
        cells = [cell for cell in done if cell["dim"] == dim]
        for name in NAMES:
            parts = [cell["curves"][name] for cell in cells]
            words = [spread([np.mean(part[key]) for part in parts]) for key in MEASURES]
            better = "-" if name == "geodesic" else compared(cells, name)
            print(f"| {dim} ({len(cells)}) | {name} | {' | '.join(words)} | {better} |")
    for dim in sorted({cell["dim"] for cell in done}):
        cells = [cell for cell in done if cell["dim"] == dim]
        own, unsure, converged = (
            np.mean([cell[key] for cell in cells]) for key in ("own", "own entropy", "converged")
        )
        real = f"real images of the first half {own:.3f} off the other, entropy {unsure:.3f}"
        print(f"d = {dim}: {real}; geodesics converged {converged:.0%}")


def spread(values: list[float]) -> str:
    """Mean and standard deviation over seeds."""
    return f"{np.mean(values):.3f} +- {np.std(values, ddof=1) if len(values) > 1 else 0.0:.3f}"


def compared(cells: list[dict], name: str) -> str:
    """Share of pairs in which the geodesic is nearer to the data, and of lower entropy."""
    words = []
    for key in MEASURES[:2]:
        ours, theirs = (
            np.concatenate([cell["curves"][curve][key] for cell in cells])
            for curve in ("geodesic", name)
        )
        words.append(f"{(ours < theirs).mean():.0%}")
    return ", ".join(words)


if __name__ == "__main__":
    main()
