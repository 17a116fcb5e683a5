"""What many tests read and none changes: the digits, and the VAE of them that is packaged.

The graph of the packaged VAE's latent space takes seconds, so each process builds it once.
"""

import pytest

from geomstats_vae import datasets


@pytest.fixture(scope="session")
def digits():
    return datasets.load_digits()


@pytest.fixture(scope="session")
def packaged_vae():
    return datasets.load_digits_vae()


@pytest.fixture
def share_packaged_vae(packaged_vae, monkeypatch):
    """Let code under test load the shared VAE in place of a new one."""
    monkeypatch.setattr(datasets, "load_digits_vae", lambda: packaged_vae)
