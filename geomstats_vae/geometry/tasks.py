"""A function of blocks as threads and other processes call it: sent once, on one torch thread."""

from __future__ import annotations

import hashlib
import pickle
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import numpy as np
import torch
from joblib import wrap_non_picklable_objects
from numpy.typing import NDArray

Columns = tuple[NDArray[Any], ...]
PairFunction = Callable[..., Columns]


class Task:
    """A function of blocks, as it is in this process, pickled once for others.

    Parameters
    ----------
    function : callable
        Function of the items of a block.
    """

    def __init__(self, function: PairFunction) -> None:
        self._function, self._caller = function, threading.get_ident()

    def __call__(self, *block: NDArray[np.float64]) -> Columns:
        """Call the function on a block."""
        if threading.get_ident() == self._caller:
            return self._function(*block)
        with one_torch_thread():
            return self._function(*block)

    @cached_property
    def _pickled(self) -> tuple[str, NDArray[np.uint8]]:
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

    def sent(self) -> SentTask:
        """Form in which other processes get it."""
        return SentTask(*self._pickled)

    def __reduce__(self) -> tuple[Any, ...]:
        return SentTask, self._pickled


class SentTask:
    """A function of blocks in the process of a worker.

    Parameters
    ----------
    digest : str
        Identifies the function.
    pickled : numpy.ndarray of uint8
        Pickle of the function.
    """

    def __init__(self, digest: str, pickled: NDArray[np.uint8]) -> None:
        self._digest, self._bytes = digest, pickled

    def __sizeof__(self) -> int:
        return self._bytes.nbytes  # for dask's scheduler

    def work_block(self, *block: NDArray[np.float64]) -> Columns:
        """Call the function on a block."""
        with one_torch_thread():
            return _unpickled(self._digest, self._bytes)(*block)

    __call__ = work_block


class _Unpickled:
    """The function that was unpickled last: it serves all blocks of a call, and further calls."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._digest: str | None = None
        self._function: Any = None

    def __call__(self, digest: str, pickled: NDArray[np.uint8]) -> PairFunction:
        with self._lock:
            if digest != self._digest:
                self._digest = self._function = None  # frees memory before the next takes some
                self._function = pickle.loads(pickled.data)
                self._digest = digest
            return self._function


_unpickled = _Unpickled()


class _OneTorchThread:
    """Counts who needs one thread, for torch's number of threads is one for all new threads."""

    def __init__(self) -> None:
        self._lock, self._n_users, self._before = threading.Lock(), 0, 1

    @contextmanager
    def __call__(self) -> Iterator[None]:
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
