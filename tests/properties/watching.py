"""Calls that are watched: they end in time, fail by name, and change nothing that is not theirs."""

import contextlib
import copy
import faulthandler
import pickle
import random
import re
import signal
import sys
import threading
import warnings

import numpy as np
import pytest
import torch
from sklearn.exceptions import ConvergenceWarning

from geomstats_vae import GeodesicConvergenceError, GeodesicConvergenceWarning, RandomWalkWarning

# Processor time of one call, in seconds, far more than any should take on a slow machine; and the
# time that passes, for calls that wait for ever.
BUDGET = 30.0
PATIENCE = 10.0
NAMED = (GeodesicConvergenceWarning, RandomWalkWarning, ConvergenceWarning)
# Of torch's forward mode on first use, which pyproject.toml lets pass, too; and of far points.
_EXPECTED = re.compile(r"(?s).*torch\.jit\.script.*|Expected (points near|latent codes) .*")
# Of the package, and of scikit-learn's checks of data.
_STYLE = re.compile(r"(?s)Expected .*|.*should be .*|Found array with .*|Sample weights must .*")


def call(function, *args, seconds=BUDGET, **kwargs):
    """The value of a function; None where it refuses its arguments by name."""
    before = [_bytes(argument) for argument in args]
    state = _global_state()
    value = None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        filters = list(warnings.filters)
        try:
            with budget(seconds):
                value = function(*args, **kwargs)
        except (ValueError, TypeError) as error:
            if not _STYLE.fullmatch(str(error)):
                pytest.fail(f"no message of the package: {error!r}")
        except GeodesicConvergenceError:
            pass
        assert warnings.filters == filters, "the warning filters were changed"
    unnamed = [
        warning
        for warning in caught
        if not issubclass(warning.category, NAMED) and not _EXPECTED.fullmatch(str(warning.message))
    ]
    assert not unnamed, str(unnamed[0])
    assert [_bytes(argument) for argument in args] == before, "an argument was changed"
    changed = [name for name, now in _global_state().items() if now != state[name]]
    assert not changed, f"changed for the whole process: {changed}"
    return value


@contextlib.contextmanager
def budget(seconds):
    """Fail, with the stack, when a block takes too long."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(signum, frame):
        faulthandler.dump_traceback(file=sys.__stderr__)
        pytest.fail(f"still at work after {seconds} s of processor time, or {PATIENCE} times that")

    timers = (signal.ITIMER_PROF, signal.SIGPROF, 1.0), (signal.ITIMER_REAL, signal.SIGALRM, 10.0)
    old = {number: signal.signal(number, stop) for _, number, _ in timers}
    for timer, _, factor in timers:
        signal.setitimer(timer, factor * seconds)
    try:
        yield
    finally:
        for timer, number, _ in timers:
            signal.setitimer(timer, 0.0)
            signal.signal(number, old[number])


def _bytes(argument):
    if isinstance(argument, torch.Tensor):
        return argument.detach().numpy().tobytes(), argument.dtype, argument.requires_grad
    if isinstance(argument, np.ndarray):
        return argument.tobytes(), argument.dtype.str, argument.flags.writeable
    return copy.deepcopy(argument) if isinstance(argument, list) else None


def _global_state():
    return {
        "default type": torch.get_default_dtype(),
        "threads": torch.get_num_threads(),
        "gradients": (torch.is_grad_enabled(), torch.is_inference_mode_enabled()),
        "seed of torch": torch.random.get_rng_state().numpy().tobytes(),
        "seed of numpy": pickle.dumps(np.random.get_state()),  # noqa: NPY002
        "seed of Python": random.getstate(),
        "errors of numpy": tuple(sorted(np.geterr().items())),
    }
