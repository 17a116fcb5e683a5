"""Tables of results: error against time, what each solver calls a success, times to an error."""

from __future__ import annotations

import numpy as np

from geodesic_bench.measure import SHARE
from geodesic_bench.problem import Floats, Result

TARGETS = (1e-2, 1e-3, 1e-4)
LONGER = 1e-3  # of a curve, by which it may be longer than those of all others

Best = dict[tuple[str, float], tuple[float | None, float, str]]


def shares(result: Result, reference: Floats) -> tuple[list[float], float]:
    """Share of the pairs tried whose error is within each target, and the median error.

    Parameters
    ----------
    result : Result
        Of one setting.
    reference : array, shape=[n_pairs]
        Length of the shortest curves.

    Returns
    -------
    within : list of float
        One share per target.
    median : float
        Median error.
    """
    error = result.error(reference)
    return [float((error <= target).mean()) for target in TARGETS], float(np.median(error))


def best_times(results: list[Result], reference: Floats) -> Best:
    """Least mean time of each solver at which enough pairs reach each target.

    Parameters
    ----------
    results : list of Result
        Of all settings.
    reference : array, shape=[n_pairs]
        Length of the shortest curves.

    Returns
    -------
    best : dict
        Per name and target: seconds (None where no setting reaches it), the largest share, and
        the setting's label.
    """
    best: Best = {}
    for result in results:
        within, _ = shares(result, reference)
        n_tried, label = len(result.length), result.setting.label
        if n_tried < len(reference):
            label += f" ({n_tried} tried)"
        for target, share in zip(TARGETS, within, strict=True):
            reached = share >= SHARE and n_tried == len(reference)
            entry = (float(result.seconds.mean()) if reached else None, share, label)
            held = best.get((result.name, target))
            if held is None or _rank(entry) < _rank(held):
                best[result.name, target] = entry
    return best


def _rank(entry: tuple[float | None, float, str]) -> tuple[int, float]:
    seconds, share, _ = entry
    return (0, seconds) if seconds is not None else (1, -share)


def told(result: Result, reference: Floats, target: float = LONGER) -> str:
    """Say what a solver says of its answers, and how many of its successes are none.

    Parameters
    ----------
    result : Result
        Of one setting.
    reference : array, shape=[n_pairs]
        Length of the shortest curves.
    target : float
        Error within which an answer is right.

    Returns
    -------
    text : str
        "says nothing", or the share of successes and, of these, the share with a larger error.
    """
    if np.isnan(result.succeeded).all():
        return "says nothing"
    successes = result.succeeded == 1.0
    if not successes.any():
        return "0 %"
    wrong = (result.error(reference)[successes] > target).mean()
    return f"{successes.mean():.0%}, of which {wrong:.0%} off"


def settings_table(results: list[Result], reference: Floats) -> str:
    """Format one row per setting, in Markdown.

    Parameters
    ----------
    results : list of Result
        Of all settings.
    reference : array, shape=[n_pairs]
        Length of the shortest curves.

    Returns
    -------
    table : str
        The table.
    """
    heads = " | ".join(f"within {target:g}" for target in TARGETS)
    lines = [
        f"| solver | setting | s a pair | median error | {heads} | calls a success | tried |",
        "|---" * (len(TARGETS) + 6) + "|",
    ]
    for result in results:
        within, median = shares(result, reference)
        cells = [result.name, result.setting.label, f"{result.seconds.mean():.3f}"]
        cells += [f"{median:.1e}", *(f"{share:.0%}" for share in within)]
        cells += [told(result, reference), str(len(result.length))]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def summary_table(results: list[Result], reference: Floats) -> str:
    """Format the time of each solver to each error, in Markdown.

    Parameters
    ----------
    results : list of Result
        Of all settings.
    reference : array, shape=[n_pairs]
        Length of the shortest curves.

    Returns
    -------
    table : str
        The table.
    """
    best = best_times(results, reference)
    lines = [
        "| solver | " + " | ".join(f"s to {target:g}" for target in TARGETS) + " |",
        "|---" * (len(TARGETS) + 1) + "|",
    ]
    for name in dict.fromkeys(result.name for result in results):
        cells = [_cell(best[name, target]) for target in TARGETS]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(entry: tuple[float | None, float, str]) -> str:
    seconds, share, _ = entry
    return f"never ({share:.0%})" if seconds is None else f"{seconds:.3f}"


def longer_lines(ours: Floats, results: list[Result]) -> str:
    """Say for each peer on how many pairs our answers are longer.

    Parameters
    ----------
    ours : array, shape=[n_pairs]
        Measured lengths of our answers at the default tolerance.
    results : list of Result
        Of all settings. A peer's curve of a pair is the shortest of all its settings.

    Returns
    -------
    text : str
        One line per peer.
    """
    lines = [f"Ours at the default tol against the shortest of each peer, longer by {LONGER:g}:"]
    for name in dict.fromkeys(result.setting.solver for result in results):
        if name.startswith("ours"):
            continue
        theirs = np.full(len(ours), np.inf)
        for result in results:
            if result.setting.solver == name:
                tried = slice(len(result.length))
                theirs[tried] = np.minimum(theirs[tried], result.length)
        tried = np.isfinite(theirs)
        excess = ours[tried] / theirs[tried] - 1.0
        most = f", at most {excess.max():.1e}" if len(excess) else ""
        lines.append(f"- {name}: {(excess > LONGER).sum()} of {tried.sum()} pairs{most}")
    return "\n".join(lines)
