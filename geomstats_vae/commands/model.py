"""Models: trained as the options say, or loaded with the scaling that stands beside them."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from geomstats_vae.commands import scaling as scaling_file
from geomstats_vae.commands.errors import told
from geomstats_vae.commands.options import EPOCHS, QUICK_EPOCHS
from geomstats_vae.commands.scaling import Scaling
from geomstats_vae.models import VAE
from geomstats_vae.models.noise import NoiseOptions
from geomstats_vae.report.errors import ReportError, first_line

FILE = "model.safetensors"
# Rows that --quick trains on at most.
_QUICK_ROWS = 1000
# The data are not those of a model if their residuals are so many times as large as of its own.
_OTHER_DATA = 5.0


@dataclass(frozen=True)
class Trained:
    """A trained model and what stands beside it.

    Parameters
    ----------
    vae : VAE
        The fitted model.
    path : pathlib.Path, optional
        Its file; None of one that was trained just now.
    scaling : Scaling, optional
        What its data were standardised by.
    """

    vae: VAE
    path: Path | None = None
    scaling: Scaling | None = None

    def decode(self, z: NDArray[np.float64]) -> NDArray[np.float64]:
        """Decode codes, shape=[..., dim], to means in the units of the data."""
        flat = self.vae.inverse_transform(z.reshape(-1, z.shape[-1]))
        mean = flat.reshape(*z.shape[:-1], flat.shape[-1])
        return mean if self.scaling is None else self.scaling.invert(mean)


def load_model(path: str) -> Trained:
    """Load a model, and the scaling beside it.

    Parameters
    ----------
    path : str
        Its file, or the folder of `train`.

    Returns
    -------
    trained : Trained
        The model.

    Raises
    ------
    ReportError
        If there is none.
    """
    file = Path(path) / FILE if Path(path).is_dir() else Path(path)
    try:
        vae = VAE.load(file)
    except OSError as error:
        raise ReportError(
            f"Expected a model in {str(file)!r}, got {first_line(error, of_file=True)}; pass a "
            "file written by train or VAE.save."
        ) from error
    except ValueError as error:
        raise ReportError(first_line(error)) from error
    beside = file.parent / scaling_file.FILE
    # Other models may lie beside the one that was standardised.
    is_ours = file.name == FILE and beside.is_file()
    scaling = Scaling.read(beside, vae.n_features_in_) if is_ours else None
    return Trained(vae, file, scaling)


def training_rows(options: argparse.Namespace, n_rows: int) -> NDArray[np.int64]:
    """Say which rows to train on.

    Parameters
    ----------
    options : argparse.Namespace
        Options of `add_run`.
    n_rows : int
        Number of rows of the data.

    Returns
    -------
    rows : numpy.ndarray of int
        All of them, or for a first look at most 1000, evenly spaced.
    """
    wanted = min(_QUICK_ROWS, n_rows) if options.quick else n_rows
    return np.linspace(0, n_rows - 1, wanted).round().astype(np.int64)


def count_centers(options: argparse.Namespace, n_rows: int) -> int:
    """Say how many kernels the precision is to have.

    Parameters
    ----------
    options : argparse.Namespace
        Options of `add_model`.
    n_rows : int
        Number of rows of the data.

    Returns
    -------
    n_centers : int
        What was asked for, or what so many rows call for.
    """
    wanted = options.n_centers or "auto"
    return NoiseOptions(wanted, a="auto", zeta="auto", variance_head=False).n_centers_of(n_rows)


def new_model(options: argparse.Namespace, n_rows: int) -> VAE:
    """Make the model that the options ask for, not yet trained.

    Parameters
    ----------
    options : argparse.Namespace
        Options of `add_model` and `add_run`.
    n_rows : int
        Number of rows it is to be trained on.

    Returns
    -------
    vae : VAE
        The model.

    Raises
    ------
    ReportError
        If there are fewer rows than centres.
    """
    n_centers = count_centers(options, n_rows)
    if n_centers > n_rows:
        raise ReportError(
            f"Expected at least as many rows as centres, got {n_rows} rows and --n-centers "
            f"{n_centers}; pass --n-centers {max(1, n_rows // 10)}."
        )
    given = {"latent_dim": options.latent_dim, "a": options.a, "zeta": options.zeta}
    parameters: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    if options.zeta == "none":
        parameters["zeta"] = None
    return VAE(
        **parameters,
        max_epochs=options.epochs or (QUICK_EPOCHS if options.quick else EPOCHS),
        n_centers=n_centers,
        max_seconds=options.max_seconds,
        random_state=options.seed,
        verbose=not options.quiet,
    )


def train(X: NDArray[np.float64], scaling: Scaling | None, options: argparse.Namespace) -> Trained:
    """Train a model.

    Parameters
    ----------
    X : numpy.ndarray, shape=[n_samples, n_features]
        Data, standardised if that was asked for; for a first look some of the rows are taken.
    scaling : Scaling or None
        What they were standardised by.
    options : argparse.Namespace
        As of `new_model`.

    Returns
    -------
    trained : Trained
        The model.

    Raises
    ------
    ReportError
        If it cannot be trained.
    """
    X = X[training_rows(options, len(X))]
    with told("training"):
        vae = new_model(options, len(X)).fit(X)
    return Trained(vae, None, scaling)


def misfit(trained: Trained, X: NDArray[np.float64], error: float) -> str | None:
    """Say that data are not those of a loaded model, if their residuals say so.

    Parameters
    ----------
    trained : Trained
        The model.
    X : numpy.ndarray, shape=[n_samples, n_features]
        Data as the model takes them.
    error : float
        Root mean square of their residuals.

    Returns
    -------
    doubt : str or None
        A sentence, or None if they fit.
    """
    own = trained.vae.noise_std_
    if trained.path is None or error <= _OTHER_DATA * max(own, np.finfo(float).eps):
        return None
    missing = (
        f" If it was trained with --standardize, its {scaling_file.FILE} has to lie beside it."
        if trained.scaling is None
        else ""
    )
    return (
        f"Expected data like those of the model, got residuals of {error:.3g} where its own are "
        f"{own:.3g}: what follows says little.{missing}"
    )
