"""What a command works on: data that a model is trained on or encodes, or the codes of a model."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geomstats_vae.commands import codes as codes_file
from geomstats_vae.commands import scaling as scaling_file
from geomstats_vae.commands.codes import Codes, read_codes
from geomstats_vae.commands.errors import UsageError
from geomstats_vae.commands.model import FILE as MODEL
from geomstats_vae.commands.model import Trained, count_centers, load_model, training_rows
from geomstats_vae.commands.options import TRAINING
from geomstats_vae.commands.scaling import Scaling
from geomstats_vae.models.noise import ROWS_PER_CENTER
from geomstats_vae.report import findings
from geomstats_vae.report.errors import ReportError
from geomstats_vae.report.inputs import Inputs, read_inputs
from geomstats_vae.report.reading.files import SUFFIXES


@dataclass(frozen=True)
class Source:
    """What was given to a command.

    Parameters
    ----------
    name : str
        What it is called.
    rows : numpy.ndarray of int, shape=[n_rows]
        Numbers of the rows in the data, from 0.
    labels : numpy.ndarray, shape=[n_rows], optional
        Classes.
    inputs : Inputs, optional
        The data of these rows, standardised if that was asked for; None if only a model was given.
    trained : Trained, optional
        The model; None if it is to be trained.
    scaling : Scaling, optional
        What the data were standardised by.
    codes : Codes, optional
        Codes of the rows, if only a model was given.
    warnings : tuple of str
        What may be wrong with the data.
    """

    name: str
    rows: NDArray[np.int64]
    labels: np.ndarray | None
    inputs: Inputs | None
    trained: Trained | None
    scaling: Scaling | None
    codes: Codes | None
    warnings: tuple[str, ...]

    def encoded(self, trained: Trained) -> Codes:
        """Encode the rows by a model, unless their codes are known."""
        if self.codes is not None:
            return self.codes
        assert self.inputs is not None  # without data there are codes
        return Codes(trained.vae.transform(self.inputs.X), self.rows, self.labels)


def read_source(options: argparse.Namespace) -> Source:
    """Read what the options of a command name.

    Parameters
    ----------
    options : argparse.Namespace
        Options of `add_source`, `add_model` and `add_run`.

    Returns
    -------
    source : Source
        Data, model or both.

    Raises
    ------
    UsageError
        If options do not go together.
    ReportError
        If a file cannot be read, or data and model do not fit together.
    """
    check_options(options)
    if options.file is not None and _is_model(Path(options.file)):
        return _of_model(options, Path(options.file))
    path = getattr(options, "model", None)
    trained = None if path is None else load_model(path)
    inputs = read_inputs(
        options.file,
        options.labels,
        getattr(options, "image_shape", None),
        options.sample,
        options.labels_column,
    )
    _check_size(inputs)
    warnings: list[str] = []
    if trained is None:
        _check_differ(inputs)
        scaling = Scaling.of(inputs.X) if options.standardize else None
        warnings = _doubts(inputs, options)
    else:
        _check_features(trained, inputs)
        scaling = trained.scaling
    if scaling is not None:
        inputs = replace(inputs, X=scaling.apply(inputs.X))
    rows = np.arange(len(inputs.X))
    return Source(inputs.name, rows, inputs.labels, inputs, trained, scaling, None, tuple(warnings))


def check_options(options: argparse.Namespace) -> None:
    """Check that the options which name data and model go together.

    Parameters
    ----------
    options : argparse.Namespace
        As of `read_source`.

    Raises
    ------
    UsageError
        If they do not.
    """
    model, file = getattr(options, "model", None), options.file
    if file is None and options.sample is None:
        raise UsageError("Expected a FILE of data, or --sample digits, got none; pass one.")
    if file is not None and options.sample is not None:
        raise UsageError(
            f"Expected a FILE of data or --sample, got {file!r} and {options.sample!r}; leave one "
            "out."
        )
    is_model = file is not None and _is_model(Path(file))
    if is_model and model is not None:
        raise UsageError(f"Expected one model, got {file!r} and --model {model!r}; leave one out.")
    if not is_model and model is None:
        return
    given = model if model is not None else file
    for name in TRAINING:
        if getattr(options, name, None) is not None:
            raise UsageError(
                f"Expected no --{name.replace('_', '-')} with a trained model, got {given!r}: it "
                "says how to train; leave one out."
            )
    if options.standardize:
        raise UsageError(
            f"Expected no --standardize with a trained model, got {given!r}: it is used as it was "
            f"trained, with the {scaling_file.FILE} beside it; leave --standardize out."
        )


def _is_model(path: Path) -> bool:
    if path.is_dir():
        return (path / MODEL).is_file()
    if path.suffix == Path(MODEL).suffix:
        return True
    if path.suffix.lower() in SUFFIXES or not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            # A safetensors file begins with the length of its header, in JSON.
            return file.read(9)[8:] == b"{"
    except OSError:
        return False


def _of_model(options: argparse.Namespace, path: Path) -> Source:
    for name in ("labels", "labels_column", "image_shape"):
        if getattr(options, name, None) is not None:
            raise UsageError(
                f"Expected data with --{name.replace('_', '-')}, got the model {str(path)!r}; pass "
                "the file of data, and the model by --model."
            )
    trained = load_model(str(path))
    assert trained.path is not None  # it was loaded
    vae, beside = trained.vae, trained.path.parent / codes_file.FILE
    if trained.path.name == MODEL and beside.is_file():
        codes = read_codes(beside, vae.latent_dim)
    else:
        codes = Codes(vae.codes_, np.arange(len(vae.codes_)))
    parts: dict[str, Any] = {"inputs": None, "trained": trained, "scaling": trained.scaling}
    return Source(path.name, codes.rows, codes.labels, codes=codes, warnings=(), **parts)


def _check_size(inputs: Inputs) -> None:
    with np.errstate(over="ignore"):
        squares = np.square(inputs.X).sum()
    if not np.isfinite(squares):
        raise ReportError(
            f"Expected numbers whose squares have a sum in {inputs.name}, got "
            f"{np.abs(inputs.X).max():.3g}; give the data in another unit."
        )


def _check_differ(inputs: Inputs) -> None:
    if not np.ptp(inputs.X, axis=0).any():
        raise ReportError(
            f"Expected rows that differ in {inputs.name}, got {len(inputs.X)} times the same: a "
            "model has nothing to learn of them; check the file."
        )


def _check_features(trained: Trained, inputs: Inputs) -> None:
    n_features = trained.vae.n_features_in_
    if n_features != inputs.X.shape[1]:
        raise ReportError(
            f"Expected data of {n_features} features for the model in {str(trained.path)!r}, got "
            f"{inputs.X.shape[1]}; pass the kind of data that it was trained on."
        )


def _doubts(inputs: Inputs, options: argparse.Namespace) -> list[str]:
    """Say what is likely to spoil a training."""
    doubts = []
    columns, n_features = findings.columns_of(inputs.X, inputs.headers), inputs.X.shape[1]
    checked = not (options.standardize or inputs.layout)
    if checked and findings.is_unscaled(columns, n_features):
        largest = columns["most_varying"]
        name = inputs.names[largest - 1] if inputs.names else f"feature {largest}"
        doubts.append(
            f"Expected features of like units, got {name}, which has "
            f"{findings.percent(columns['share_of_variance'])} of the variance: it decides all "
            "distances. Pass --standardize, unless it is meant so."
        )
    if columns["constant"] and inputs.headers:
        doubts.append(
            f"Expected columns that vary, got {findings.listed(columns)}, the same in every row: "
            "leave out what carries nothing."
        )
    n_rows = len(training_rows(options, len(inputs.X)))
    n_centers = count_centers(options, n_rows)
    if n_centers * ROWS_PER_CENTER > max(n_rows, ROWS_PER_CENTER):
        doubts.append(
            f"Expected {ROWS_PER_CENTER} rows per centre or more, got {n_rows} rows and "
            f"{n_centers} centres: sigma follows single rows. Pass --n-centers "
            f"{max(1, n_rows // ROWS_PER_CENTER)}, or more data."
        )
    return doubts
