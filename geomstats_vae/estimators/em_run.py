"""Starts of EM: each is run until moves of the means no longer pay, and the best is kept.

A start that ends with a component on stray rows is followed by one with the component elsewhere.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from geomstats_vae.estimators.base import Ending
from geomstats_vae.estimators.em import TangentEM
from geomstats_vae.estimators.land_splits import moved_component
from geomstats_vae.estimators.land_start import first_responsibilities
from geomstats_vae.estimators.mixture import DegenerateError, Mixture
from geomstats_vae.geometry.time_limit import OutOfTimeError
from geomstats_vae.manifolds.failures import caller_level

# Times that a start is begun anew after it ended badly.
_MAX_RESTARTS = 3


class Run:
    """One start of EM: its best state so far, whatever happens to it.

    Parameters
    ----------
    em : TangentEM
        Steps of EM.
    max_iter : int
        Largest number of moves of the means.
    tol : float
        Rise of the bound below which the run has converged.
    progress : tqdm.tqdm
        Bar that shows the bound.

    Attributes
    ----------
    mixture : Mixture or None
        The state; None before the first.
    bounds : list of float
        Mean log likelihoods, from the first state to this one.
    first : Mixture or None
        The state from which the first is fitted.
    converged : bool
        Whether moves of the means no longer pay.
    """

    def __init__(self, em: TangentEM, max_iter: int, tol: float, progress: Any) -> None:
        self.em, self.max_iter, self.tol, self.progress = em, max_iter, tol, progress
        self.mixture: Mixture | None = None
        self.first: Mixture | None = None
        self.bounds: list[float] = []
        self.converged = False

    @property
    def state(self) -> Mixture:
        """The mixture, of a run that has begun."""
        assert self.mixture is not None
        return self.mixture

    @property
    def bound(self) -> float:
        """Mean log likelihood of the state."""
        return self.bounds[-1]

    def begin(self, mixture: Mixture) -> None:
        """Fit a first mixture, its means fixed."""
        self.first = mixture
        self._take(self.em.fit_fixed_means(mixture, self.tol), [])

    def stop(self) -> bool:
        """Keep the best state; return whether there is one."""
        if self.mixture is None and self.first is not None:
            self._take(self.first, [])
        return self.mixture is not None

    def iterate(self) -> None:
        """Move the means until that no longer pays."""
        for _ in range(self.max_iter):
            moved = self.em.move(self.state, self.tol)
            if moved is None:
                self.converged = True
                return
            before = self.bound
            self._take(moved, self.bounds)
            if self.bound - before < self.tol:
                self.converged = True
                return

    def follow_strays(self) -> None:
        """Go on with a component on stray rows put elsewhere, as long as the bound rises.

        What goes wrong on the way, or ends lower, leaves the state as it is.
        """
        while (state := self.mixture or self.first) is not None:
            trial = Run(self.em, self.max_iter, self.tol, self.progress)
            try:
                responsibilities = moved_component(state, self.em.mass)
                if responsibilities is None:
                    return
                trial.begin(self.em.start(responsibilities))
                trial.iterate()
            except DegenerateError:
                return
            if self.mixture is not None and trial.bound - self.bound < self.tol:
                return
            self.mixture, self.bounds = trial.mixture, trial.bounds
            self.converged = trial.converged

    def _take(self, mixture: Mixture, bounds: list[float]) -> None:
        self.mixture = mixture
        self.bounds = [*bounds, self.em.expectation(mixture)[0]]
        self.progress.set_postfix(move=len(bounds), bound=self.bound)


def run_em(
    em: TangentEM,
    n_components: int,
    init_params: str,
    random_state: np.random.RandomState,
    *,
    n_init: int,
    max_iter: int,
    tol: float,
    progress: Any,
    previous: Mixture | None = None,
) -> tuple[Run, Ending]:
    """Run EM from several starts.

    Parameters
    ----------
    em : TangentEM
        Steps of EM.
    n_components : int
        Number of components.
    init_params : str
        How responsibilities start; see `first_responsibilities`.
    random_state : numpy.random.RandomState
        Source of the starts.
    n_init : int
        Number of starts.
    max_iter, tol, progress : int, float, tqdm.tqdm
        As of `Run`.
    previous : Mixture, optional
        Mixture to go on from, instead of several starts.

    Returns
    -------
    best : Run
        The run of the highest bound; it has a state.
    ending : Ending
        Whether the starts were run to the end.

    Raises
    ------
    KeyboardInterrupt
        If the user interrupts before the first state.
    OutOfTimeError
        If the time was over before that.
    """
    best: Run | None = None
    ending = Ending.DONE
    for _ in range(1 if previous is not None else n_init):
        run = Run(em, max_iter, tol, progress)
        try:
            _run_start(run, n_components, init_params, random_state, previous)
        except (KeyboardInterrupt, OutOfTimeError) as stop:
            if not run.stop() and best is None:
                if isinstance(stop, KeyboardInterrupt):
                    raise
                raise OutOfTimeError(
                    "Expected enough time for a first state of EM, got to the end of max_seconds "
                    "before: it takes a logarithm of each row at each component, and normalisers. "
                    "Allow more, pass fewer rows, or ask for fewer n_normalizer_samples."
                ) from stop
            ending = Ending.of(stop)
        if run.mixture is not None and (best is None or run.bound > best.bound):
            best = run
        if ending is not Ending.DONE:
            break
    assert best is not None  # a start without a state raises
    return best, ending


def _run_start(
    run: Run,
    n_components: int,
    init_params: str,
    random_state: np.random.RandomState,
    previous: Mixture | None,
) -> None:
    """Run EM from a start, and from others where that ends badly."""
    for attempt in range(_MAX_RESTARTS + 1):
        try:
            if previous is not None:
                run.begin(run.em.resume(previous))
            else:
                responsibilities = first_responsibilities(
                    run.em.X, run.em.mass, n_components, init_params, random_state
                )
                run.begin(run.em.start(responsibilities))
            run.iterate()
            if previous is None and run.converged:
                run.follow_strays()
            return
        except DegenerateError as error:
            last = attempt == _MAX_RESTARTS
            if last:
                run.follow_strays()
                if run.converged:
                    return
            action = "The best state before that was kept" if last else "EM starts again"
            warnings.warn(
                f"{str(error).capitalize()}. {action}; fewer components, a larger reg_covar "
                "or another init_params may help.",
                ConvergenceWarning,
                stacklevel=caller_level(),
            )
            previous = None
            if last and run.mixture is None:
                raise ValueError(
                    f"Expected data that EM can start from, got {_MAX_RESTARTS + 1} starts "
                    f"that failed, at last as {error}; ask for fewer components or a larger "
                    "reg_covar."
                ) from error
