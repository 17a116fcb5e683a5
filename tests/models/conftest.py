"""A VAE trained once for all tests of the models."""

import numpy as np
import pytest

from geomstats_vae.datasets import load_digits
from geomstats_vae.models import VAE


@pytest.fixture(scope="session")
def digits():
    return load_digits()


@pytest.fixture(scope="session")
def digits_vae(digits):
    return VAE(random_state=0).fit(digits.data)


@pytest.fixture(scope="session")
def plane():
    """Noisy points of a plane in five dimensions, far from the origin."""
    rng = np.random.default_rng(0)
    codes, directions = rng.uniform(-1, 1, size=(200, 2)), rng.normal(size=(2, 5))
    return 10.0 + codes @ directions + 0.05 * rng.normal(size=(200, 5))


@pytest.fixture
def quick():
    """An estimator that trains in a moment."""
    return VAE(hidden_dims=(8,), n_centers=5, max_epochs=4, random_state=0)


@pytest.fixture(scope="session")
def quick_vae(plane):
    return VAE(hidden_dims=(8,), n_centers=5, max_epochs=4, random_state=0).fit(plane)
