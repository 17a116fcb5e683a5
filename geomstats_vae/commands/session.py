"""One run of a command: its source, its model, what it has to say, and the files it writes."""

from __future__ import annotations

import argparse
import json
import logging
import math
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from geomstats_vae.commands import codes as codes_file
from geomstats_vae.commands import model as model_file
from geomstats_vae.commands import scaling as scaling_file
from geomstats_vae.commands.codes import Codes
from geomstats_vae.commands.errors import DONE, INTERRUPTED, told
from geomstats_vae.commands.interrupts import Interrupts
from geomstats_vae.commands.model import Trained, misfit, train, training_rows
from geomstats_vae.commands.source import Source, check_options, read_source
from geomstats_vae.geodesics import GeodesicSolver
from geomstats_vae.manifolds import LatentSpace
from geomstats_vae.report.files import plain
from geomstats_vae.report.journal import Journal
from geomstats_vae.report.output import check_writable, write_files
from geomstats_vae.report.provenance import SCRIPT, command_line, made

SUMMARY = "summary.json"


@dataclass(frozen=True)
class Work:
    """What a command works with when it begins.

    Parameters
    ----------
    trained : Trained
        The model.
    everything : Codes
        Codes of all rows of the source.
    places : numpy.ndarray of int, shape=[n_chosen, ...]
        Places of the chosen rows among them.
    """

    trained: Trained
    everything: Codes
    places: NDArray[np.int64]

    @property
    def codes(self) -> Codes:
        """Codes of the chosen rows.

        Returns
        -------
        codes : Codes
            Those of a list of rows.
        """
        return self.everything.take(self.places)


class Session:
    """A run of a command, as a ``with`` block.

    Parameters
    ----------
    options : argparse.Namespace
        Options of the command.

    Attributes
    ----------
    options : argparse.Namespace
        The same.
    command : str
        What was typed.
    folder : pathlib.Path
        Folder to write to.
    summary : dict
        What summary.json is to hold, as far as it is known.
    verbose : bool
        Whether to show progress.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.verbose = not options.quiet
        self.command = command_line(options.typed)
        self.summary: dict[str, Any] = made(options.seed, self.command)
        self.folder = Path(options.output)
        self._journal = Journal(options.quiet)
        self._interrupts = Interrupts()
        self._stack = ExitStack()
        self._trained: dict[str, bytes] = {}

    def __enter__(self) -> Session:
        check_writable(self.folder)
        self._stack.enter_context(one_thread())
        self._stack.enter_context(self._interrupts)
        if self.options.quiet:
            self._stack.enter_context(no_logging())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()
        # A model takes the most time, and is whole; but no files of another run are mixed with it.
        if isinstance(error, KeyboardInterrupt) and self._trained:
            if (self.folder / SUMMARY).exists():
                return
            write_files(self.folder, self._trained)
            path = self.folder / model_file.FILE
            raise KeyboardInterrupt(f"the trained model is kept in {path}; pass it by --model")

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Say what begins, time it, and say afterwards what it warned of.

        Parameters
        ----------
        name : str
            What is done.

        Yields
        ------
        None
            Nothing; the stage is the body of the ``with`` statement.
        """
        before = Counter(self._journal.warnings)
        with self._journal.stage(name):
            yield
        for _, _, message in self._journal.warnings - before:
            self._say(f"warning: {message}")

    def warn(self, message: str) -> None:
        """Say what may be wrong, now and in the summary.

        Parameters
        ----------
        message : str
            A sentence.
        """
        self._journal.warnings["command", "Warning", message] += 1
        self._say(f"warning: {message}")

    def note(self, message: str) -> None:
        """Say something.

        Parameters
        ----------
        message : str
            A sentence.
        """
        self._journal.write(message)

    def _say(self, message: str) -> None:
        self._journal.write(f"{SCRIPT}: {message}")

    # -- what is worked on -------------------------------------------------------------------------

    def read(self) -> Source:
        """Read the source that the options name, and say what had to be assumed.

        Returns
        -------
        source : Source
            The source.
        """
        check_options(self.options)
        with self.stage("reading"):
            source = read_source(self.options)
        assumptions = source.inputs.assumptions if source.inputs is not None else ()
        for assumption in assumptions:
            self.note(f"assumed: {assumption}")
        for warning in source.warnings:
            self.warn(warning)
        self.summary["data"] = {
            "name": source.name,
            "n_rows": len(source.rows),
            "n_features": None if source.inputs is None else source.inputs.X.shape[1],
            "n_classes": None if source.labels is None else len(np.unique(source.labels)),
            "standardized": source.scaling is not None,
            "assumed": list(assumptions),
        }
        return source

    def model(self, source: Source) -> tuple[Trained, Codes]:
        """Train the model, unless there is one, and encode the rows.

        Parameters
        ----------
        source : Source
            Data or a model.

        Returns
        -------
        trained : Trained
            The model.
        codes : Codes
            Codes of all rows of the source.

        Raises
        ------
        KeyboardInterrupt
            If the training was interrupted, and kept, and the command is to do more.
        """
        trained = source.trained
        if trained is None:
            assert source.inputs is not None  # without data there is a model
            n_rows, n_trained = len(source.rows), len(training_rows(self.options, len(source.rows)))
            if n_trained < n_rows:
                self.note(f"--quick trains on {n_trained} of {n_rows} rows, evenly spaced")
            with self.stage("training"):
                trained = train(source.inputs.X, source.scaling, self.options)
        with self.stage("evaluating the model"), told("encoding"):
            codes = source.encoded(trained)
            self.summary["model"] = self._facts(trained, source)
        if trained.path is None:
            self._trained = self._files(trained, source, codes)
        return trained, codes

    def begin(self, choose: Callable[[Source], NDArray[np.int64]]) -> Work:
        """Read the source, choose rows of it, and train the model unless there is one.

        Parameters
        ----------
        choose : callable
            Maps the source to places of its rows. It is called before the training, so that what
            is wrong with the options is said at once.

        Returns
        -------
        work : Work
            Model and codes.

        Raises
        ------
        KeyboardInterrupt
            If the training was interrupted; the model is kept.
        """
        source = self.read()
        places = choose(source)
        trained, codes = self.model(source)
        self.check_interrupted()
        return Work(trained, codes, places)

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C was pressed.

        Returns
        -------
        interrupted : bool
            True also if an estimator has kept its state and gone on.
        """
        return self._interrupts.seen

    def check_interrupted(self) -> None:
        """End the run if Ctrl-C was pressed, though an estimator has kept its state.

        Raises
        ------
        KeyboardInterrupt
            If it was.
        """
        if self.interrupted:
            raise KeyboardInterrupt

    def space(self, trained: Trained, on_failure: str = "warn") -> LatentSpace:
        """Make the latent space of a model, with the limit of time that was asked for.

        Parameters
        ----------
        trained : Trained
            The model.
        on_failure : str
            What the metric does about geodesics that did not converge.

        Returns
        -------
        space : LatentSpace
            Its latent space.
        """
        vae, seconds = trained.vae, self.options.max_seconds
        return LatentSpace(
            vae.decoder_,
            vae.latent_dim,
            points=vae.codes_,
            solver=GeodesicSolver(max_seconds=seconds),
            on_failure=on_failure,
        )

    def _facts(self, trained: Trained, source: Source) -> dict[str, Any]:
        vae, elbo, error = trained.vae, None, None
        if source.inputs is not None:
            X = source.inputs.X
            elbo = vae.score(X)
            error = math.sqrt(np.square(X - vae.inverse_transform(vae.transform(X))).mean())
            doubt = misfit(trained, X, error)
            if doubt is not None:
                self.warn(doubt)
            self.note(f"  ELBO {elbo:.4g} nats per row, reconstruction error {error:.3g}")
        return {
            "file": model_file.FILE if trained.path is None else str(trained.path),
            "trained": trained.path is None,
            "parameters": {key: plain(value) for key, value in vae.get_params().items()},
            "elbo": elbo,
            "reconstruction_error": error,
            "noise_std": vae.noise_std_,
            "a": vae.a_,
            "zeta": vae.zeta_,
            "torn_share": vae.torn_share_,
            "n_epochs": vae.n_iter_,
            "active_dims": vae.active_dims_.tolist(),
        }

    # -- what is written ---------------------------------------------------------------------------

    def write(self, files: Mapping[str, bytes], results: Mapping[str, Any]) -> int:
        """Write files, with the model if it was trained, and say where they are.

        Parameters
        ----------
        files : dict of str to bytes
            Contents by name.
        results : dict
            What the summary says of them.

        Returns
        -------
        status : int
            Exit code: 0, or 130 if an estimator was interrupted and has kept its state.
        """
        content = {**self._trained, **files, SUMMARY: self._json(results)}
        write_files(self.folder, content)
        if self.verbose:
            print("\n".join(str(self.folder / name) for name in content))
        if not self.interrupted:
            return DONE
        print(f"{SCRIPT}: interrupted: what was found until then is kept", file=sys.stderr)
        return INTERRUPTED

    def _files(self, trained: Trained, source: Source, codes: Codes) -> dict[str, bytes]:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / model_file.FILE
            trained.vae.save(path)
            files = {model_file.FILE: path.read_bytes(), codes_file.FILE: codes.to_csv()}
        if trained.scaling is not None:
            names = source.inputs.names if source.inputs is not None else None
            features = range(1, len(trained.scaling.mean) + 1)
            names = names or tuple(f"feature {k}" for k in features)
            files[scaling_file.FILE] = trained.scaling.to_csv(names)
        return files

    def _json(self, results: Mapping[str, Any]) -> bytes:
        content = {
            **self.summary,
            "results": results,
            "seconds": {name: round(time, 3) for name, time in self._journal.times.items()},
            "warnings": [message for _, _, message in self._journal.warnings],
            "interrupted": self.interrupted,
        }
        return (json.dumps(plain(content), indent=2, allow_nan=False) + "\n").encode()


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch compute in one thread, for as long as the command runs.

    The networks are small: threads wait for each other longer than they work, and training takes
    twice as long with two of them.

    Yields
    ------
    None
        Nothing; the body of the ``with`` statement computes.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def no_logging() -> Iterator[None]:
    """Keep the root logger from printing, for as long as the command runs.

    geomstats gives it a handler that prints, and the level INFO, when it is imported. Stages
    record what is logged by a handler of their own, which is added later and not concerned.

    Yields
    ------
    None
        Nothing; the body of the ``with`` statement may log.
    """
    handlers = list(logging.getLogger().handlers)
    for handler in handlers:
        handler.addFilter(_nothing)
    try:
        yield
    finally:
        for handler in handlers:
            handler.removeFilter(_nothing)


def _nothing(record: logging.LogRecord) -> bool:
    return False
