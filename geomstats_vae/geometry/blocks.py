"""Many pairs, in blocks of bounded memory: in this process, or through joblib.

Pairs are independent, so blocks change memory and not results. A worker process gets the function
once for all of its blocks. What was lost with a worker that was killed is worked on again.
"""

from __future__ import annotations

import copy
import operator
import time
import warnings
from collections.abc import Generator, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from itertools import repeat
from typing import Any

import numpy as np
from joblib import Parallel, delayed, effective_n_jobs
from joblib.externals.loky.process_executor import TerminatedWorkerError
from numpy.typing import NDArray

from geomstats_vae.geodesics.deadline import NO_LIMIT, Deadline
from geomstats_vae.geometry.bars import progress_bar
from geomstats_vae.geometry.tasks import Columns, PairFunction, Task
from geomstats_vae.geometry.time_limit import check_time

Block = tuple[NDArray[Any], ...]

# Least number of pairs of a block where a bar is shown: fewer take nearly as long.
_LEAST_WATCHED = 12
# Tries in a row that get no block done before blocks count as what kills the workers; after each,
# blocks are divided by this number: they take less memory, and end before the next kill.
_MOST_IN_VAIN, _PARTS = 4, 4


@dataclass(frozen=True)
class Blocks:
    """How pairs are worked on.

    Parameters
    ----------
    n_jobs : int, optional
        Blocks worked on at a time, as joblib understands it; 1 works in this process. None is
        what joblib is configured to, or 1.
    verbose : bool
        Show a progress bar, in pairs.
    progress : tqdm.tqdm, optional
        A bar that is moved by the number of pairs instead.
    deadline : Deadline
        When work that is not done ends with `OutOfTimeError`.
    size : int
        Largest number of pairs of a block.
    first_size, seconds : int, float
        Where a bar is shown in this process, blocks begin with so few pairs, and then have as many
        as take about so long: the bar moves.
    blocks_per_job : int
        Least number of blocks for each job: more of them even out pairs of different cost.
    fewest_for_jobs : int
        Fewer pairs are worked on in this process: to send them would take longer.
    options : mapping
        Further arguments of `joblib.Parallel`. If they, or joblib's configuration, choose dask,
        its scheduler takes the place of joblib's.
    """

    n_jobs: int | None = 1
    verbose: bool = False
    progress: Any = None
    deadline: Deadline = NO_LIMIT
    size: int = 512
    first_size: int = 16
    seconds: float = 1.0
    blocks_per_job: int = 4
    fewest_for_jobs: int = 0
    options: Mapping[str, Any] = field(default_factory=dict)

    def jobs(self, n_pairs: int) -> int:
        """Count the blocks that are worked on at a time, as joblib understands it."""
        if n_pairs < self.fewest_for_jobs:
            return 1
        # A cluster whose workers are just starting again has none; that changes no number here.
        return effective_n_jobs(None) if self.n_jobs is None else self.n_jobs

    @property
    def in_one(self) -> bool:
        """Whether pairs that fit a block are worked on at once, in this process and in silence."""
        here = self.n_jobs == 1 and not self.options and self.deadline.remaining is None
        return here and not self.verbose and self.progress is None

    @property
    def watched(self) -> bool:
        """Whether a bar counts pairs that are worked on in this process."""
        shown = self.verbose or not getattr(self.progress, "disable", True)
        return shown and self.n_jobs in (None, 1) and not self.options

    def run(
        self,
        function: PairFunction,
        start: NDArray[np.float64],
        end: NDArray[np.float64],
        *others: NDArray[Any],
        limited: bool = False,
        tile: int | None = None,
    ) -> list[NDArray[Any]]:
        """Work on pairs, those with a common end point together.

        Parameters
        ----------
        function : callable
            Takes end points, shape=[n_block, dim] each, and the rows of the others, and returns a
            tuple of arrays with one row per pair.
        start, end : numpy.ndarray, shape=[n_pairs, dim]
            End points.
        *others : numpy.ndarray, shape=[n_pairs, ...]
            What else the function takes.
        limited : bool
            The function's time is limited: in this process blocks take ``seconds``, as with a bar,
            for what is begun is finished.
        tile : int, optional
            Pairs between so many starts and as many ends are worked on one after the other, before
            other ends come; by default those of one start are.

        Returns
        -------
        columns : list of numpy.ndarray, shape=[n_pairs, ...]
            The arrays of all pairs, in their order.

        Raises
        ------
        OutOfTimeError
            If the deadline passes before all pairs are done.
        RuntimeError
            If workers are killed again and again before any block is done, or a block comes back
            without all of its rows.
        TypeError
            If other processes work on the blocks, and the function cannot be pickled.

        Warns
        -----
        RuntimeWarning
            If a worker was killed, and its blocks are worked on again.
        """
        n_jobs, size = self.jobs(len(start)), self.size
        serial = n_jobs == 1 and not self.options
        if not serial:
            n_blocks = self.blocks_per_job * max(1, effective_n_jobs(n_jobs))
            size = min(size, max(1, -(-len(start) // n_blocks)))
        # One search of the graph serves all pairs of a block that share their start, or their end.
        check_time(self.deadline)
        order = _by_common_ends(start, end, tile)
        ordered, checked = [column[order] for column in (start, end, *others)], {}
        with self._bar(len(start)) as progress:
            if serial:
                watched = limited or not getattr(progress, "disable", False)
                sizes = self._watched_sizes() if watched else repeat(size)
                done = _one_by_one(function, ordered, sizes)
            else:
                pieces = _divided(slice(0, len(start)), size)
                done = _work(function, pieces, ordered, n_jobs, dict(self.options))
            with closing(done):
                for rows, result in done:
                    n_pairs = rows.stop - rows.start
                    checked[rows.start] = _check_result(result, n_pairs)
                    progress.update(n_pairs)
                    check_time(self.deadline)
        results = [checked[begin] for begin in sorted(checked)]
        columns = [np.concatenate(parts) for parts in zip(*results, strict=True)]
        inverse = np.argsort(order)
        return [column[inverse] for column in columns]

    def slices(self, n_pairs: int) -> Iterator[slice]:
        """Divide pairs into blocks that are worked on in this process, in their order.

        Parameters
        ----------
        n_pairs : int
            Number of pairs.

        Yields
        ------
        rows : slice
            Rows of a block; the bar moves when the next is asked for. At least one, if empty.
        """
        sizes, begin = self._watched_sizes(), 0
        with self._bar(n_pairs) as progress:
            while begin == 0 or begin < n_pairs:
                rows = slice(begin, min(begin + next(sizes), n_pairs))
                yield rows
                progress.update(rows.stop - begin)
                begin = max(rows.stop, 1)

    def _watched_sizes(self) -> Iterator[int]:
        """Numbers of pairs of blocks that take about as long as a bar may stand still."""
        size = min(self.first_size, self.size)
        while True:
            begin = time.perf_counter()
            yield size
            rate = self.seconds / max(time.perf_counter() - begin, 1e-9)
            least = min(_LEAST_WATCHED, self.size)
            size = int(np.clip(size * np.clip(rate, 0.25, 4.0), least, self.size))

    @contextmanager
    def _bar(self, n_pairs: int) -> Iterator[Any]:
        if self.progress is not None:
            yield self.progress
            return
        with progress_bar(
            desc="Geodesics", unit="pair", total=n_pairs, disable=not self.verbose
        ) as progress:
            yield progress


def _one_by_one(
    function: PairFunction, columns: Sequence[NDArray[Any]], sizes: Iterator[int]
) -> Generator[tuple[slice, Columns], None, None]:
    """Yield the rows of each block, and what the function returns of it."""
    begin, n_pairs = 0, len(columns[0])
    while begin == 0 or begin < n_pairs:  # a block without pairs, where there are none
        rows = slice(begin, min(begin + next(sizes), n_pairs))
        yield rows, function(*(column[rows] for column in columns))
        begin = max(rows.stop, 1)


def _divided(rows: slice, size: int) -> list[slice]:
    """Divide rows into blocks of a size; at least one, if empty."""
    begins = range(rows.start, max(rows.stop, rows.start + 1), max(size, 1))
    return [slice(begin, min(begin + size, rows.stop)) for begin in begins]


def _check_result(result: Any, n_pairs: int) -> Columns:
    """Check that a block has a row for each of its pairs, before it is joined to others."""
    complete = isinstance(result, tuple) and all(len(column) == n_pairs for column in result)
    if not complete:
        got = [len(column) for column in result] if isinstance(result, tuple) else result
        raise RuntimeError(
            f"Expected arrays of {n_pairs} rows from a block of as many pairs, got {got!r}; "
            "its worker is broken: restart the workers."
        )
    return result


def _by_common_ends(
    start: NDArray[np.float64], end: NDArray[np.float64], tile: int | None
) -> NDArray[np.int64]:
    """Order of the pairs, by whichever ends have fewer distinct points, in tiles of points."""
    places = [np.unique(points, axis=0, return_inverse=True)[1].ravel() for points in (start, end)]
    fewer, other = sorted(places, key=lambda place: place.max(initial=0))
    if tile is None:
        return np.argsort(fewer, kind="stable")
    return np.lexsort((fewer, other // tile, fewer // tile))


# -- joblib --------------------------------------------------------------------------------------


def _work(
    function: PairFunction,
    pieces: Sequence[slice],
    columns: Sequence[NDArray[Any]],
    n_jobs: int,
    options: dict[str, Any],
) -> Generator[tuple[slice, Columns], None, None]:
    """Yield rows, and what the function returns of them, as they get done.

    A worker that is killed now and then, by whom ever, costs what was under way. Where nothing gets
    done between one kill and the next, blocks become smaller, and are worked on by fewer.
    """
    task, backend = Task(function), _parallel(n_jobs, options)._backend
    if hasattr(backend, "client"):
        blocks = [tuple(column[rows] for column in columns) for rows in pieces]
        yield from zip(pieces, _work_by_dask(task, blocks, backend), strict=True)
        return
    open_ = dict(enumerate(pieces))
    n_pairs, n_in_vain = pieces[-1].stop, 0
    while open_:
        n_before, error = len(open_), None
        calls = (
            delayed(_numbered)(k, task, *(column[rows] for column in columns))
            for k, rows in open_.copy().items()
        )
        try:
            with _quiet(_parallel(n_jobs, options)(calls)) as results:
                for k, result in results:
                    yield open_.pop(k), result
        except TerminatedWorkerError as killed:
            error = killed
        if not open_:
            return
        n_open = sum(rows.stop - rows.start for rows in open_.values())
        n_in_vain = n_in_vain + 1 if len(open_) == n_before else 0
        if n_in_vain == _MOST_IN_VAIN:
            raise _killed(n_pairs - n_open, n_pairs) from error
        if n_in_vain:
            n_jobs = max(2, effective_n_jobs(n_jobs) // 2)  # a single one would run in this process
            smaller = (_divided(r, -(-(r.stop - r.start) // _PARTS)) for r in open_.values())
            open_ = dict(enumerate(rows for parts in smaller for rows in parts))
        warnings.warn(
            f"A worker was killed after {n_pairs - n_open} of {n_pairs} pairs were done; the "
            f"others are worked on once more, with {effective_n_jobs(n_jobs)} jobs.",
            RuntimeWarning,
            stacklevel=5,
        )


def _numbered(number: int, task: Task, *block: NDArray[np.float64]) -> tuple[int, Columns]:
    return number, task(*block)


def _parallel(n_jobs: int, options: dict[str, Any]) -> Any:
    # One by one, as they get done, whatever was asked for: so little is lost with a worker.
    options = {"batch_size": 1} | options
    try:
        return Parallel(n_jobs=n_jobs, **options | {"return_as": "generator_unordered"})
    except ValueError:  # joblib's pool of multiprocessing gives lists only
        return Parallel(n_jobs=n_jobs, **options | {"return_as": "list"})


@contextmanager
def _quiet(results: Any) -> Iterator[Any]:
    """Give results, and stop the work on the others, without a word, if no more are wanted."""
    try:
        yield results
    finally:
        if hasattr(results, "close"):
            with warnings.catch_warnings():
                # That results were left is no news after an error or an interrupt.
                warnings.filterwarnings("ignore", ".*tasks", UserWarning)
                results.close()


def _work_by_dask(task: Task, blocks: Sequence[Block], backend: Any) -> Iterator[Columns]:
    """Work on blocks by the client that joblib is configured with.

    joblib itself would send the task to one worker only, and wait for ever for a block that kills
    its workers. Here the task is the result of a computation, which the cluster can repeat.
    """
    from distributed import KilledWorker

    client, options = backend.client, {"pure": False, **backend.submit_kwargs}
    with warnings.catch_warnings():
        # The task holds a decoder and its graph, and is sent to the scheduler once.
        warnings.filterwarnings("ignore", "Sending large graph", UserWarning)
        sent = client.submit(copy.copy, task.sent(), **options)
    calls = (operator.methodcaller("work_block", *block) for block in blocks)
    futures = [client.submit(call, sent, **options) for call in calls]
    n_done = 0
    try:
        with backend.retrieval_context():
            for future in futures:
                result = future.result()
                n_done += 1
                yield result
    except (KilledWorker, CancelledError) as error:
        n_pairs = [len(block[0]) for block in blocks]
        raise _killed(sum(n_pairs[:n_done]), sum(n_pairs)) from error
    finally:
        if n_done < len(futures):
            client.cancel(futures[n_done:])


def _killed(n_done: int, n_pairs: int) -> RuntimeError:
    return RuntimeError(
        f"Expected workers to do {n_pairs} pairs, got {n_done} before too many workers "
        "were killed. Most are for the memory they take: ask for fewer n_jobs, give the metric a "
        "solver with a smaller memory_limit, or give workers more memory."
    )
