"""Train the VAE that `load_digits_vae` loads: ``python -m geomstats_vae.datasets.digits_vae``.

Fits `VAE` with the parameters below to all of scikit-learn's digits, in about ten seconds, and
writes it over the packaged file, or to another one: ``--output FILE``. Its numbers are kept in
single precision: half the size, at a relative error of 1e-7.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from geomstats_vae.archive import write
from geomstats_vae.datasets.images import load_digits
from geomstats_vae.datasets.pretrained import KIND, digits_vae_file
from geomstats_vae.models import VAE, persistence

# Those of the study's experiments: the packaged file is from before `VAE` had other defaults.
PARAMS: dict[str, Any] = {
    "latent_dim": 2,
    "hidden_dims": (64, 32),
    "activation": "tanh",
    "n_centers": 64,
    "a": 1.0,
    "zeta": None,
    "warmup": "kl",
    "max_epochs": 300,
    "learning_rate": 1e-2,
    "patience": 100,
    "random_state": 0,
}


def write_single(vae: VAE, path: str | os.PathLike[str]) -> None:
    """Write a fitted VAE in single precision.

    Parameters
    ----------
    vae : VAE
        Fitted estimator.
    path : str or os.PathLike
        File to write; an existing one is replaced.
    """
    header, arrays = persistence.contents(vae)
    single = {
        name: array.astype(np.float32) if array.dtype == np.float64 else array
        for name, array in arrays.items()
    }
    write(path, KIND, header, single)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train the VAE and write it.

    Parameters
    ----------
    arguments : sequence of str, optional
        Arguments after the program's name; those of the process by default.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--output", type=Path, default=Path(str(digits_vae_file())), help="file to write"
    )
    output = parser.parse_args(arguments).output
    data = load_digits().data
    vae = VAE(**PARAMS, verbose=True).fit(data).set_params(verbose=False)
    write_single(vae, output)
    print(f"{output}: {output.stat().st_size / 1000:.0f} kB, {vae.score(data):.1f} nats per image")


if __name__ == "__main__":
    main()
