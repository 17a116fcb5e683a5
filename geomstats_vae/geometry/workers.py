"""Blocks of work on joblib's workers: what they are sent, and what becomes of lost ones.

A worker process gets geomstats' backend before it imports geomstats, the function once for all of
its blocks, and one torch thread while it works on one. Blocks of a worker that was killed are
worked on once more, or end in an error.
"""

from __future__ import annotations

import copy
import hashlib
import operator
import os
import pickle
import threading
import warnings
from concurrent.futures import CancelledError
from contextlib import contextmanager
from functools import cached_property

import geomstats.backend as gs
import numpy as np
import torch
from joblib import Parallel, delayed, effective_n_jobs, wrap_non_picklable_objects
from joblib.externals.loky.process_executor import TerminatedWorkerError

# What geomstats reads at its import, and scipy at its own, which the pytorch backend may ask for.
_READ_AT_IMPORT = ("GEOMSTATS_BACKEND", "SCIPY_ARRAY_API")


def work_blocks(function, blocks, n_jobs, **options):
    """Work on blocks by joblib, once more on those that were lost with a worker.

    Parameters
    ----------
    function : callable
        Takes the items of a block.
    blocks : list of tuple
        Blocks.
    n_jobs : int
        Blocks worked on at a time, as joblib understands it.
    **options : dict
        Further arguments of `joblib.Parallel`. If they, or joblib's configuration, choose dask,
        its scheduler takes the place of joblib's.

    Yields
    ------
    result : object
        What the function returns of each block, in their order.

    Raises
    ------
    RuntimeError
        If workers were killed again, or run on another backend of geomstats than this process.
    TypeError
        If other processes work on the blocks, and the function cannot be pickled.

    Warns
    -----
    RuntimeWarning
        If a worker was killed, and joblib works on its blocks once more.

    Notes
    -----
    A block has one torch thread. Where threads of this process work on blocks, the number of torch
    threads that threads of the process start with is one as well while blocks run, and afterwards
    what it was. Where joblib has no workers, and the thread of the call works on the blocks, no
    number of threads changes.
    """
    task, backend = _Task(function), _parallel(n_jobs, options)._backend
    if hasattr(backend, "client"):
        yield from _work_by_dask(task, blocks, backend)
        return
    n_done = 0
    fewer = max(2, effective_n_jobs(n_jobs) // 2)  # a single job would run in this process
    for is_last, jobs in enumerate((n_jobs, fewer)):
        try:
            calls = (delayed(task)(*block) for block in blocks[n_done:])
            for result in _parallel(jobs, options)(calls):
                n_done += 1
                yield result
            return
        except TerminatedWorkerError as error:
            if is_last:
                raise _killed(n_done, len(blocks)) from error
        warnings.warn(
            f"A worker was killed after {n_done} of {len(blocks)} blocks of pairs were done; the "
            f"others are worked on once more, with {fewer} jobs.",
            RuntimeWarning,
            stacklevel=6,  # of who called dist_pairwise
        )


def _parallel(n_jobs, options):
    # In the order of the blocks, whatever was asked for: rows are told apart by it.
    try:
        return Parallel(n_jobs=n_jobs, **options | {"return_as": "generator"})
    except ValueError:  # joblib's pool of multiprocessing gives lists only
        return Parallel(n_jobs=n_jobs, **options | {"return_as": "list"})


def _work_by_dask(task, blocks, backend):
    """Work on blocks by the client that joblib is configured with.

    joblib itself would leave the task to one worker, from where it cannot be had again, and waits
    forever for blocks that kill their workers. As a result of the cluster the task is had again.
    """
    from distributed import KilledWorker

    client, options = backend.client, {"pure": False, **backend.submit_kwargs}
    with warnings.catch_warnings():
        # The task holds a decoder and its landscape, and is sent to the scheduler once.
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
        raise _killed(n_done, len(blocks)) from error
    finally:
        if n_done < len(futures):
            client.cancel(futures[n_done:])


def _killed(n_done, n_blocks):
    return RuntimeError(
        f"Expected workers to do {n_blocks} blocks of pairs, got {n_done} before too many workers "
        "were killed. Most are for the memory they take: ask for fewer n_jobs, give the metric a "
        "solver with a smaller memory_limit, or give workers more memory."
    )


# -- what is sent ------------------------------------------------------------------------------


def _environment():
    """Collect what libraries of this process read at their import."""
    names = [name for name in _READ_AT_IMPORT if name in os.environ]
    return {name: os.environ[name] for name in names} | {"GEOMSTATS_BACKEND": _backend()}


class _Setting:
    """Nothing, but it sets the environment of a process without geomstats when it is unpickled.

    To unpickle anything of this package is to import geomstats, so this has to come first.
    """

    def __init__(self, environment):
        self._environment = environment

    def __reduce__(self):
        source = (
            "import os, sys\n"
            f"if 'geomstats' not in sys.modules: os.environ.update({self._environment!r})"
        )
        return exec, (source, {})


class _AfterSetting:
    """A class that unpickles as itself, once the environment is set."""

    def __init__(self, kind, environment):
        self._kind, self._environment = kind, environment

    def __call__(self, *args):
        return self._kind(*args)

    def __reduce__(self):
        return operator.getitem, ([_Setting(self._environment), self._kind], 1)


class _Task:
    """A function of blocks, as it is in this process, pickled once for others.

    Parameters
    ----------
    function : callable
        Function of the items of a block.
    """

    def __init__(self, function):
        self._function, self._caller = function, threading.get_ident()

    def __call__(self, *block):
        if threading.get_ident() == self._caller:
            return self._function(*block)
        with one_torch_thread():
            return self._function(*block)

    @cached_property
    def _pickled(self):
        # Decoders may be functions that only cloudpickle, which this takes, can pickle.
        wrapped = wrap_non_picklable_objects(self._function, keep_wrapper=False)
        try:
            pickled = pickle.dumps(wrapped)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise TypeError(
                f"Expected a metric that can be sent to other processes, got one that cannot be "
                f"pickled: {error}. Pass a decoder that can be, or n_jobs=1."
            ) from error
        # joblib's own processes map large arrays from a file.
        return hashlib.blake2b(pickled).hexdigest(), np.frombuffer(pickled, dtype=np.uint8)

    def sent(self):
        """Form in which other processes get it."""
        return _SentTask(_environment(), *self._pickled)

    def __reduce__(self):
        return self.sent().__reduce__()


class _SentTask:
    """A function of blocks in the process of a worker.

    Each time that it is pickled the environment comes first: dask's scheduler passes pickles on.

    Parameters
    ----------
    environment : dict
        Environment that it needs.
    digest : str
        Identifies the function.
    pickled : numpy.ndarray of uint8
        Pickle of the function.
    """

    def __init__(self, environment, digest, pickled):
        self._environment, self._function = environment, (digest, pickled)

    def __reduce__(self):
        kind = _AfterSetting(type(self), self._environment)
        return kind, (self._environment, *self._function)

    def __sizeof__(self):
        return self._function[1].nbytes  # for the scheduler

    def work_block(self, *block):
        """Call the function on a block."""
        backend = self._environment["GEOMSTATS_BACKEND"]
        if backend != _backend():
            raise RuntimeError(
                f"Expected workers on geomstats' {backend} backend, got one that had imported "
                f"geomstats on {_backend()}; restart the workers, or start them with "
                f"GEOMSTATS_BACKEND={backend} in their environment."
            )
        with one_torch_thread():
            return _unpickled(*self._function)(*block)

    __call__ = work_block


# -- on the worker -----------------------------------------------------------------------------


class _Unpickled:
    """The function that was unpickled last: it serves all blocks of a call, and further calls."""

    def __init__(self):
        self._lock, self._digest, self._function = threading.Lock(), None, None

    def __call__(self, digest, pickled):
        with self._lock:
            if digest != self._digest:
                self._digest = self._function = None  # frees memory before the next takes some
                self._function = pickle.loads(pickled)
                self._digest = digest
            return self._function


_unpickled = _Unpickled()


def _backend():
    return gs.__name__.rpartition(".")[2]


class _OneTorchThread:
    """Counts who needs one thread, for torch's number of threads is one for all new threads."""

    def __init__(self):
        self._lock, self._n_users, self._before = threading.Lock(), 0, 1

    @contextmanager
    def __call__(self):
        with self._lock:
            if not self._n_users:
                self._before = torch.get_num_threads()
            self._n_users += 1
            torch.set_num_threads(1)
        try:
            yield
        finally:
            with self._lock:
                self._n_users -= 1
                # Of this thread, and of new ones; others that are at work keep their one.
                torch.set_num_threads(self._before)


one_torch_thread = _OneTorchThread()
