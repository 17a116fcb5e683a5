"""Measure geodesics of trained decoders against L-BFGS on their chords.

Run: ``OMP_NUM_THREADS=1 python benchmarks/real_decoders.py --data FASHION --models FOLDER
[--only mlp_silu relu_d16] [--kinds L] [--pairs 8] [--max-seconds 120] [--output FILE.jsonl]``.

The decoders are those of `trained_decoders.py`: they are trained in the first run, and read from
the folder in later ones. Per decoder there are 32 random pairs of 300 codes. Times are those of the
processor on one thread; those of a solver exclude its graph, which has a column of its own.

- ours: `GeodesicSolver` at its defaults, all pairs in one batch. If the batch takes too long, the
  pairs are solved one at a time, as many as there is time for.
- L-BFGS: see `chord_lbfgs.py`, one pair at a time, on 64 chords, from the better of the straight
  line and the graph path, with 15 to 600 iterations. "L" has the points of the curve as unknowns,
  as most people have it. "S" has the coefficients of a sine series, which takes far fewer
  iterations.

Every curve is measured by one routine on the torch module itself, chords of F on 2,000 points and
more. Columns: "ours ms" is the time per pair; "graph s" that of the graph, whose edges are measured
when searches need them; "first s" that of the first answer of a fresh space, its immersion, graph
and one pair; "certified" the pairs whose status is CONVERGED, of those done; "off" the largest
relative difference of the length reported for these from the measured one. "L60", "L600", "S60" and
"S600" are L-BFGS with 60 and 600 iterations: time per pair over ours, and median of our length over
its length. "best" is the median of our length over that of the shortest curve of L-BFGS, and
"alike" the share of pairs on which ours is at most a thousandth longer. "L .1%" and its like are
medians over the pairs of its time over ours, at the first of its numbers of iterations whose curve
is at most that much longer than ours, and infinite if there is none. 64 chords cost a thousandth of
the length, so it is often infinite at .1 % where it is not at .3 %.
"""

import argparse
import dataclasses
import functools
import itertools
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from chord_lbfgs import ChordLBFGS, Embedding, Iterate, embedding
from geodesic_bench.measure import fine_length, timed
from trained_decoders import RECIPES, load, train_all

from geomstats_vae.geodesics import GeodesicPath, GeodesicSolver, GeodesicStatus, LatentGraph
from geomstats_vae.geodesics.graph.options import GraphOptions
from geomstats_vae.immersions import Decoder, Immersion

__all__ = ["Record", "load", "measure"]

_SOLVERS = {"L": ChordLBFGS(), "S": ChordLBFGS(sines=True)}
_SHOWN = (60, 600)
_ALIKE = 1e-3
_TOLERANCES = (_ALIKE, 3e-3, 1e-2)
_OURS = ("decoder", "ours ms", "graph s", "first s", "certified", "off")


@dataclass
class Lengths:
    """What was measured of L-BFGS; each list has an entry per pair.

    Parameters
    ----------
    n_iter : list of int
        Numbers of iterations.
    seconds, length : list of list of float
        Time and measured length at each of these.
    """

    n_iter: list[int]
    seconds: list[list[float]] = field(default_factory=list)
    length: list[list[float]] = field(default_factory=list)

    def speed(self, ours: np.ndarray, seconds: np.ndarray, tol: float) -> float:
        """Median time over that of other curves, once the length is as theirs up to `tol`."""
        length, spent = np.array(self.length), np.array(self.seconds)
        alike = length <= (1.0 + tol) * ours[:, None]
        then = spent[np.arange(len(spent)), alike.argmax(axis=1)]
        return float(np.median(np.where(alike.any(axis=1), then, np.inf) / seconds))


@dataclass
class Record:
    """What was measured on a decoder; lists have an entry per pair.

    Parameters
    ----------
    name : str
        Of the decoder.
    dim : int
        Dimension of its latent space.
    has_std : bool
        Whether it has a head of standard deviations.
    immersion : str
        Type of the immersion that the package made of it.
    threads : int
        Threads of torch.
    graph_seconds, first_seconds : float
        Time of the graph, and of the first answer.
    batched : bool
        Whether the pairs were solved at once.
    seconds, length, fine_length : list of float
        Ours: time per pair, length as reported and as measured.
    status : list of str
        Names of `GeodesicStatus`.
    lbfgs : dict
        `Lengths` of each kind of L-BFGS, "L" and "S".
    """

    name: str
    dim: int
    has_std: bool
    immersion: str = ""
    threads: int = 1
    graph_seconds: float = np.nan
    first_seconds: float = np.nan
    batched: bool = True
    seconds: list[float] = field(default_factory=list)
    length: list[float] = field(default_factory=list)
    fine_length: list[float] = field(default_factory=list)
    status: list[str] = field(default_factory=list)
    lbfgs: dict[str, Lengths] = field(default_factory=dict)

    def row(self) -> list[str]:
        """Give the entries of the table."""
        certified = np.array([name == GeodesicStatus.CONVERGED.name for name in self.status], bool)
        row = [self.name, *["-"] * (len(_OURS) - 1)]
        row[2:5] = _number(self.graph_seconds, 2), _number(self.first_seconds, 2), "0/0"
        if len(certified):
            row[1] = f"{1e3 * np.mean(self.seconds):.1f}" + ("" if self.batched else "*")
            row[4] = f"{certified.sum()}/{len(certified)}"
        if certified.any():
            fine = np.array(self.fine_length)[certified]
            row[5] = f"{np.abs(np.array(self.length)[certified] / fine - 1.0).max():.1e}"
        return row + self._comparison()

    def _comparison(self) -> list[str]:
        """Compare with L-BFGS on the pairs that both have solved."""
        done = [len(kind.length) for kind in self.lbfgs.values()]
        n_pairs = min([*done, len(self.fine_length)]) if done else 0
        if not n_pairs:
            return []
        ours, seconds = np.array(self.fine_length)[:n_pairs], np.array(self.seconds)[:n_pairs]
        kinds = [
            Lengths(kind.n_iter, kind.seconds[:n_pairs], kind.length[:n_pairs])
            for kind in self.lbfgs.values()
        ]
        best = np.min([np.min(kind.length, axis=1) for kind in kinds], axis=0)
        row = [str(n_pairs), f"{np.median(ours / best):.4f}"]
        row.append(f"{(ours <= (1.0 + _ALIKE) * best).mean():.0%}")
        for kind in kinds:
            for k in map(kind.n_iter.index, _SHOWN):
                row.append(f"{np.sum(np.array(kind.seconds)[:, k]) / seconds.sum():.2g}")
                row.append(f"{np.median(ours / np.array(kind.length)[:, k]):.4f}")
            row += [f"{kind.speed(ours, seconds, tol):.2g}" for tol in _TOLERANCES]
        return row


def _columns(kinds: Sequence[str]) -> list[str]:
    """Name the columns of a table with some kinds of L-BFGS."""
    columns = [*_OURS, "pairs", "best", "alike"]
    for kind in kinds:
        for n_iter in _SHOWN:
            columns += [f"{kind}{n_iter}", "ratio"]
        columns += [f"{kind} {100.0 * tol:.1g}%".replace("0.", ".") for tol in _TOLERANCES]
    return columns


def _number(value: float, digits: int) -> str:
    return f"{value:.{digits}f}" if np.isfinite(value) else "-"


def measure(
    folder: Path, name: str, n_pairs: int, limit: float, kinds: Sequence[str] = tuple(_SOLVERS)
) -> Record:
    """Solve the pairs of one decoder by both solvers.

    Parameters
    ----------
    folder : Path
        Where the trained decoders are.
    name : str
        Of the decoder.
    n_pairs : int
        Pairs.
    limit : float
        Seconds of the processor that each solver may take; ours in the batch, and again alone.
    kinds : sequence of str
        Kinds of L-BFGS, "L" and "S".

    Returns
    -------
    record : Record
        The measurements.
    """
    module, codes = load(folder, name)
    dim = codes.shape[1]
    record = Record(name, dim, RECIPES[name].has_std, threads=torch.get_num_threads())
    rows = np.random.default_rng(0).choice(len(codes), 2 * n_pairs, replace=False)
    start, end = codes[rows].reshape(2, n_pairs, dim)
    begin = time.process_time()
    likelihood = module.likelihood if callable(module.likelihood) else None
    decoder = Decoder(module, dim, likelihood=likelihood)
    immersion = decoder.immersion()
    # As the package's own spaces do: graphs on grids are measured in double precision.
    single = None if dim in GraphOptions().grid_sizes else decoder.in_single_precision()
    record.immersion = type(immersion).__name__
    building = time.process_time() - begin
    graph, record.graph_seconds, _ = timed(
        lambda: LatentGraph(immersion, codes, single=single), limit
    )
    if graph is None:
        return record
    first, seconds, _ = timed(_solving(immersion, start[:1], end[:1], graph), limit)
    if first is not None:
        record.first_seconds = building + record.graph_seconds + seconds
    pairs = _Pairs(immersion, embedding(module), graph, start, end)
    _measure_ours(record, pairs, limit)
    _measure_lbfgs(record, pairs, limit, kinds)
    return record


@dataclass(frozen=True)
class _Pairs:
    """Pairs of codes, and what solvers see of their decoder."""

    immersion: Immersion
    embed: Embedding
    graph: LatentGraph
    start: np.ndarray
    end: np.ndarray

    def fine_length(self, curve: Callable[[np.ndarray], np.ndarray], k: int) -> float:
        """Length of a curve between the ends of pair k, by the module itself."""
        return fine_length(self.embed, curve, self.start[k], self.end[k])


def _solving(
    immersion: Immersion, start: np.ndarray, end: np.ndarray, graph: LatentGraph
) -> Callable[[], GeodesicPath]:
    return lambda: GeodesicSolver().solve(immersion, start, end, graph)


def _measure_ours(record: Record, pairs: _Pairs, limit: float) -> None:
    """Solve all pairs at once, or one by one if that takes too long."""
    n_pairs = len(pairs.start)
    size, left = n_pairs, limit
    k = 0
    while k < n_pairs and left > 0.0:
        rows = slice(k, k + size)
        solve = _solving(pairs.immersion, pairs.start[rows], pairs.end[rows], pairs.graph)
        path, seconds, late = timed(solve, left)
        if path is None:
            if size == 1 or not late:
                return
            size, left, record.batched = 1, limit, False
            continue
        for j in range(len(path.length)):
            curve = path.map(lambda a, j=j: a[j])
            record.seconds.append(seconds / size)
            record.length.append(float(path.length[j]))
            record.fine_length.append(pairs.fine_length(curve, k + j))
            record.status.append(GeodesicStatus(int(path.status[j])).name)
        k += size
        left -= seconds


def _measure_lbfgs(record: Record, pairs: _Pairs, limit: float, kinds: Sequence[str]) -> None:
    """Solve as many pairs as there is time for, by some kinds of L-BFGS."""
    record.lbfgs = {kind: Lengths(list(_SOLVERS[kind].n_iter)) for kind in kinds}
    paths, _ = pairs.graph.paths(pairs.start, pairs.end)
    left = limit
    for k, path in enumerate(paths):
        for kind, lengths in record.lbfgs.items():
            solve = functools.partial(_SOLVERS[kind].solve, pairs.embed, [path[[0, -1]], path])
            iterates, seconds, _ = timed(solve, left)
            left -= seconds
            if iterates is None or left <= 0.0:
                return
            lengths.seconds.append([iterate.seconds for iterate in iterates])
            lengths.length.append(_fine_lengths(pairs, iterates, k))


def _fine_lengths(pairs: _Pairs, iterates: list[Iterate], k: int) -> list[float]:
    """Measure curves; one that repeats the last is not measured again."""
    lengths = [pairs.fine_length(iterates[0], k)]
    for before, curve in itertools.pairwise(iterates):
        same = np.array_equal(before.points, curve.points)
        lengths.append(lengths[-1] if same else pairs.fine_length(curve, k))
    return lengths


def _line(entries: Sequence[str]) -> str:
    return f"{entries[0]:<22}" + "".join(f"{entry:>10}" for entry in entries[1:])


def main() -> None:
    """Print one row per decoder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder with Fashion-MNIST's gzipped IDX files")
    parser.add_argument("--models", type=Path, required=True, help="folder of trained decoders")
    parser.add_argument("--only", nargs="+", default=[""], help="parts of names of decoders")
    parser.add_argument("--skip", nargs="+", default=[], help="parts of names of decoders")
    parser.add_argument("--kinds", nargs="*", choices=tuple(_SOLVERS), default=tuple(_SOLVERS))
    parser.add_argument("--train-only", action="store_true")
    parser.add_argument("--pairs", type=int, default=32)
    parser.add_argument("--max-seconds", type=float, default=120.0, help="per decoder and solver")
    parser.add_argument("--output", type=Path, help="file that a line of JSON per decoder goes to")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    names = [
        name
        for name in RECIPES
        if any(part in name for part in options.only)
        and not any(part in name for part in options.skip)
    ]
    train_all(names, options.models, options.data)
    if options.train_only:
        return
    print(_line(_columns(options.kinds)), flush=True)
    for name in names:
        record = measure(options.models, name, options.pairs, options.max_seconds, options.kinds)
        print(_line(record.row()), flush=True)
        if options.output:
            with options.output.open("a") as file:
                file.write(json.dumps(dataclasses.asdict(record)) + "\n")
    print("* one pair at a time, those that there was time for")


if __name__ == "__main__":
    main()
