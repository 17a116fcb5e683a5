"""Compare solvers for geodesics on trained decoders: error against time.

Run: ``make bench``, or ``python -m geodesic_bench [--full] [--only digits] [--solvers ours]``.

The quick set has 5 pairs per decoder and the first settings of each solver, and ends within 15
minutes: each decoder has its share of the time, and settings for which none is left are not run.
``--full`` runs all settings on all 100 pairs, with no limit but that of a pair.

The error of a curve is by which share it is longer than the shortest curve known of its pair. All
curves are measured by one routine, chords of F on 2,000 points and more; one that misses an end is
led there on a straight line. Time is the processor's, on one thread in double precision. The first
run of a solver, our graph and the measuring are not in it. A setting is given up when more than a
tenth of the pairs exceed the time limit.
"""

import argparse
import functools
import logging
import os
import sys
import time
import warnings
from dataclasses import replace

import numpy as np
import torch
from study_decoders import load_checkpoint
from threadpoolctl import threadpool_limits

from geodesic_bench import decoders, measure, solvers, tables
from geodesic_bench.problem import Problem, Result, Setting
from geomstats_vae import GeodesicSolver

_MINUTES = 14.0  # of the quick set; the first runs of solvers come on top
_PAIRS = 5


def collect(problem: Problem, names: list[str], only: list[str], quick: bool) -> list[Setting]:
    """Gather the settings of the solvers that are installed and take this decoder."""
    found: list[Setting] = []
    for name in names:
        try:
            found += solvers.settings(problem, name, quick=quick)
        except ImportError as error:
            print(f"{name} left out: {error}")
        except solvers.NotSuited as error:
            print(f"{name} left out: {error}")
    lines = [f"{setting.name}, {setting.label}" for setting in found]
    chosen = [not only or any(text in line for text in only) for line in lines]
    kept = [setting for setting, wanted in zip(found, chosen, strict=True) if wanted]
    return solvers.in_turn(kept)


def run_all(
    problem: Problem, settings: list[Setting], limit: float, seconds: float
) -> list[Result]:
    """Run all settings, each solver once before, until the time is over."""
    results, warm, due = [], set(), time.monotonic() + seconds
    for k, setting in enumerate(settings):
        if time.monotonic() > due:
            print(f"no time left for {len(settings) - k} of {len(settings)} settings")
            break
        if setting.prepare is not None:
            setting.prepare()
        elif setting.solver not in warm:
            warm.add(setting.solver)
            first = problem.start[:1], problem.end[:1]
            measure.timed(functools.partial(setting.solve, *first), limit)
        results.append(measure.run(problem, setting, limit))
        spent = results[-1].seconds.sum()
        print(f"{setting.name}, {setting.label}: {spent:.1f} s", file=sys.stderr, flush=True)
    return results


def our_lengths(problem: Problem) -> np.ndarray:
    """Measured lengths of our curves at the default tolerance, shape=[n_pairs]."""
    path = GeodesicSolver().solve(problem.immersion, problem.start, problem.end, problem.graph)
    ends = zip(problem.start, problem.end, strict=True)
    lengths = [
        measure.fine_length(problem.immersion, path.map(lambda a, k=k: a[k]), *pair)
        for k, pair in enumerate(ends)
    ]
    return np.array(lengths)


def with_reference(problem: Problem, results: list[Result]) -> Problem:
    """Replace references by shorter curves that were found now, and say so."""
    if problem.reference is None:
        reference = np.full(len(problem.start), np.inf)
    else:
        reference = problem.reference.copy()
    for result in results:
        tried = slice(len(result.length))
        reference[tried] = np.minimum(reference[tried], result.length)
    if problem.reference is not None:
        better = problem.reference / reference - 1.0
        if better.max() > 1e-6:
            print(
                f"{(better > 1e-6).sum()} references were too long, by {better.max():.1e} at most"
            )
    return replace(problem, reference=reference)


def compare(problem: Problem, options: argparse.Namespace, seconds: float) -> None:
    """Print the tables of one decoder."""
    about = decoders.ENTRIES[problem.name].about if problem.name in decoders.ENTRIES else ""
    print(f"\n## {problem.name}: {about}\n", flush=True)
    due = time.monotonic() + seconds
    problem, spent = decoders.with_graph(problem)
    print(f"d = {problem.codes.shape[1]}, {len(problem.start)} pairs; our graph {spent:.1f} s")
    settings = collect(problem, options.solvers, options.settings, not options.full)
    results = run_all(problem, settings, options.time_limit, due - time.monotonic())
    first_of = {setting.name: k for k, setting in reversed(list(enumerate(settings)))}
    problem = with_reference(problem, results)
    assert problem.reference is not None
    results.sort(key=lambda result: first_of[result.name])
    print(f"\n{tables.settings_table(results, problem.reference)}\n")
    print(f"{tables.summary_table(results, problem.reference)}\n")
    print(tables.longer_lines(our_lengths(problem), results), flush=True)


def checkpoint_problem(path: str, n_pairs: int) -> Problem:
    """Pairs of a checkpoint of the study."""
    decoder, arrays = load_checkpoint(path)
    cover = np.concatenate((arrays["codes"], arrays["z0"], arrays["z1"]))
    ends = arrays["z0"][:n_pairs], arrays["z1"][:n_pairs]
    return decoders.problem_of(os.path.basename(path), decoder.mean_std, cover, ends)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the options, by default those of the command line."""
    parser = argparse.ArgumentParser(prog="geodesic_bench", description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true", help="all settings, 100 pairs")
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=decoders.ENTRIES, default=[])
    parser.add_argument("--solvers", nargs="+", choices=solvers.names(), default=solvers.names())
    parser.add_argument(
        "--settings", nargs="+", metavar="TEXT", default=[], help="those whose line has the text"
    )
    parser.add_argument("--pairs", type=int, help="pairs of each decoder")
    parser.add_argument("--checkpoint", metavar="FILE.npz", help="a decoder of the study instead")
    parser.add_argument("--time-limit", type=float, help="seconds per pair")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(arguments)
    options.time_limit = options.time_limit or (20.0 if options.full else 1.5)
    options.pairs = options.pairs or (decoders.N_PAIRS if options.full else _PAIRS)
    return options


def main(options: argparse.Namespace) -> None:
    """Print the tables of the decoders that are asked for."""
    due = np.inf if options.full else time.monotonic() + 60.0 * _MINUTES
    if options.checkpoint:
        compare(checkpoint_problem(options.checkpoint, options.pairs), options, np.inf)
    names = [] if options.checkpoint else options.only or list(decoders.ENTRIES)
    for k, name in enumerate(names):
        share = (due - time.monotonic()) / (len(names) - k)
        compare(decoders.load(name, options.pairs), options, share)
    print("\nload of the machine: " + " ".join(f"{load:.1f}" for load in os.getloadavg()))


if __name__ == "__main__":
    asked = parse()
    torch.set_num_threads(asked.threads)
    threadpool_limits(asked.threads)
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    main(asked)
