"""The model of a report: trained for it, or read from a file."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from geomstats_vae.geodesics.deadline import Deadline
from geomstats_vae.geodesics.table import TableOptions
from geomstats_vae.manifolds import LatentSpace
from geomstats_vae.models import VAE
from geomstats_vae.models.noise import NoiseOptions
from geomstats_vae.report.analysis import Floats
from geomstats_vae.report.errors import ReportError, first_line


def fitted(
    X: Floats, model: str | os.PathLike[str] | None, vae: VAE | None, seed: int, verbose: bool
) -> VAE:
    """Train a model, or load one and check that it fits the data and the pictures.

    Parameters
    ----------
    X : numpy.ndarray, shape=[n_samples, n_features]
        Samples.
    model : path-like, optional
        A model written by `VAE.save`.
    vae : VAE, optional
        The model to train, in place of one with default parameters.
    seed : int
        Seed of the training with default parameters.
    verbose : bool
        Whether to show progress.

    Returns
    -------
    vae : VAE
        The model.

    Raises
    ------
    ReportError
        If the file is no model, or the model does not suit the data.
    """
    try:
        if model is None:
            return (vae or VAE(random_state=seed, verbose=verbose)).fit(X)
        vae = VAE.load(model)
    except OSError as error:
        raise ReportError(
            f"Expected a model in {str(model)!r}, got {first_line(error, of_file=True)}; pass a "
            "file written by VAE.save."
        ) from error
    except ValueError as error:
        raise ReportError(first_line(error)) from error
    if vae.n_features_in_ != X.shape[1]:
        raise ReportError(
            f"Expected data of {vae.n_features_in_} features for the model in {str(model)!r}, got "
            f"{X.shape[1]}; pass the kind of data that it was trained on."
        )
    if vae.latent_dim < 2:
        raise ReportError(
            f"Expected a model with at least two latent dimensions in {str(model)!r}, got "
            f"{vae.latent_dim}; there is nothing to draw in one."
        )
    return vae


def describe(vae: VAE, X: Floats, codes: Floats) -> dict[str, Any]:
    """Measure how well a model describes data.

    Parameters
    ----------
    vae : VAE
        The model.
    X : numpy.ndarray, shape=[n_samples, n_features]
        Samples.
    codes : numpy.ndarray, shape=[n_samples, latent_dim]
        Their codes.

    Returns
    -------
    numbers : dict
        Sizes of the model, its ELBO in nats per row, the root mean square of what it misses, and
        the share of the variance that it explains.
    """
    options = NoiseOptions(vae.n_centers, vae.a, vae.zeta, vae.variance_head)
    n_centers = options.n_centers_of(len(vae.codes_))
    missed = np.square(X - vae.inverse_transform(codes)).mean()
    variance = X.var(axis=0).mean()
    return {
        "latent_dim": int(vae.latent_dim),
        "decoders": int(vae.n_decoders),
        "hidden_dims": [int(width) for width in vae.hidden_dims],
        "centers": n_centers,
        "rows_per_center": len(vae.codes_) / n_centers,
        "a": float(vae.a_),
        "zeta": float(vae.zeta_),
        "elbo": vae.score(X),
        "reconstruction_error": float(np.sqrt(missed)),
        "explained_variance": float(1.0 - missed / variance) if variance > 0.0 else 0.0,
    }


def make_space(vae: VAE, n_codes: int, max_seconds: float, verbose: bool) -> LatentSpace:
    """Make the latent space, with a table of its metric if that pays and is soon there.

    Parameters
    ----------
    vae : VAE
        The model.
    n_codes : int
        Codes between which all geodesics are asked for: a table pays if these are many.
    max_seconds : float
        Seconds that building the table may take, about.
    verbose : bool
        Whether to show progress.

    Returns
    -------
    space : LatentSpace
        The space. All stages share its graph and its table.
    """
    parts = vae.decoder_, vae.latent_dim, vae.codes_
    space = LatentSpace(*parts, table=True)
    geometry = space.metric.geometry
    graph = space.metric.build_graph(verbose=verbose)
    many = n_codes * (n_codes - 1) // 2 >= TableOptions().pairs
    # A table is begun if half of the time until the deadline seems enough for it; it takes more.
    deadline = Deadline.after(max_seconds)
    if (
        many
        and geometry.table.serves(geometry.decoder)
        and geometry.table.get(geometry.decoder, lambda: graph, verbose=verbose, deadline=deadline)
    ):
        return space
    return LatentSpace(*parts, graph=graph, table=False)
