"""Estimators and data that many tests of the models share."""

import numpy as np
import pytest

from geomstats_vae.models import VAE

SHORT = {"max_epochs": 30, "batch_size": 180, "learning_rate": 3e-2, "n_centers": 32}
QUICK = {"hidden_dims": (8,), "n_centers": 5, "max_epochs": 4, "random_state": 0}


@pytest.fixture(
    scope="session",
    params=[
        pytest.param(SHORT, id="short"),
        pytest.param({}, id="default", marks=pytest.mark.long),
    ],
)
def digits_vae(digits, request):
    """VAEs of all digits: one trained in few large steps, and one as by default."""
    return VAE(random_state=0, variance_head=True, **request.param).fit(digits.data)


@pytest.fixture(scope="session")
def plane():
    """Noisy points of a plane in five dimensions, far from the origin."""
    rng = np.random.default_rng(0)
    codes, directions = rng.uniform(-1, 1, size=(200, 2)), rng.normal(size=(2, 5))
    return 10.0 + codes @ directions + 0.05 * rng.normal(size=(200, 5))


@pytest.fixture
def quick():
    """An estimator that trains in a moment."""
    return VAE(**QUICK, variance_head=True)


@pytest.fixture(scope="session")
def quick_vae(plane):
    return VAE(**QUICK, variance_head=True).fit(plane)
