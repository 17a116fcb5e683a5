"""A VAE that ships with the package."""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING

import numpy as np

from geomstats_vae.archive import Arrays, Header, read
from geomstats_vae.models import VAE, persistence

if TYPE_CHECKING:
    # New in Python 3.11.
    from importlib.resources.abc import Traversable

KIND = "VAE in single precision"


def load_digits_vae() -> VAE:
    """Load a VAE of scikit-learn's digits that ships with the package.

    It is a `VAE` with the study's activation and warm-up, fitted to `load_digits` and rounded to
    single precision; ``python -m geomstats_vae.datasets.digits_vae`` trains it again.

    Returns
    -------
    vae : VAE
        A fitted estimator of the caller's own, in double precision. Its ``codes_`` are those of
        all images of `load_digits`, in their order. Nothing is unpickled: loading runs no code.

    Examples
    --------
    >>> from geomstats_vae.datasets import load_digits_vae
    >>> vae = load_digits_vae()
    >>> vae.codes_.shape
    (1797, 2)
    """
    with resources.as_file(digits_vae_file()) as path:
        return read(path, KIND, build)


def digits_vae_file() -> Traversable:
    """Find the packaged file.

    Returns
    -------
    file : importlib.resources.abc.Traversable
        The file that `load_digits_vae` reads.
    """
    return resources.files(__package__) / "digits_vae.safetensors"


def build(header: Header, arrays: Arrays) -> VAE:
    """Build a VAE from what its file holds, in double precision.

    Parameters
    ----------
    header : dict
        As of `VAE.save`.
    arrays : dict of str to numpy.ndarray
        As of `VAE.save`, floating-point numbers in single precision.

    Returns
    -------
    vae : VAE
        Fitted estimator.
    """
    wide = {
        name: array.astype(np.float64) if array.dtype == np.float32 else array
        for name, array in arrays.items()
    }
    return persistence.build(VAE, header, wide)
