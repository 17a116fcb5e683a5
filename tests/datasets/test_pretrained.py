"""The VAE that ships with the package."""

import numpy as np
import pytest
from sklearn.model_selection import cross_val_score
from sklearn.neighbors import KNeighborsClassifier

from geomstats_vae import VAE, archive
from geomstats_vae.datasets import digits_vae, load_digits_vae, pretrained


@pytest.fixture
def vae(packaged_vae):
    return packaged_vae


def test_it_has_the_parameters_of_the_script(vae):
    assert type(vae) is VAE
    assert vae.get_params() == VAE(**digits_vae.PARAMS).get_params()


def test_its_codes_are_those_of_the_digits(vae, digits):
    # Single precision of codes of size up to 4 and of all that they are computed from.
    assert np.allclose(vae.transform(digits.data), vae.codes_, atol=1e-5)
    assert vae.codes_.dtype == np.float64
    assert vae.active_dims_.all()


def test_it_reconstructs_the_digits(vae, digits):
    """Better than the plane of largest variance does, and as well as it says."""
    residuals = digits.data - vae.inverse_transform(vae.transform(digits.data))
    centred = digits.data - digits.data.mean(axis=0)
    spectrum = np.linalg.svd(centred, compute_uv=False) ** 2
    unexplained = spectrum[2:].sum() / centred.size
    assert (residuals**2).mean() < 0.8 * unexplained
    assert np.sqrt((residuals**2).mean()) == pytest.approx(vae.noise_std_, rel=1e-5)


def test_its_codes_tell_the_digits(vae, digits):
    neighbors = KNeighborsClassifier(n_neighbors=10)
    # A tenth would be chance, the two largest principal components reach less than two thirds.
    assert cross_val_score(neighbors, vae.codes_, digits.target, cv=5).mean() > 0.7


@pytest.mark.long
def test_geodesics_between_its_digits_converge(vae):
    rows = np.random.default_rng(0).choice(len(vae.codes_), (2, 20), replace=False)
    start, end = vae.codes_[rows]
    path = vae.latent_space_.metric.solve_geodesic(start, end)
    assert np.asarray(path.converged).mean() >= 0.95
    assert (np.asarray(path.length) > 0.0).all()


def test_every_call_returns_a_new_estimator():
    assert load_digits_vae() is not load_digits_vae()


def test_the_file_is_small_and_written_by_the_script(vae, tmp_path):
    path = tmp_path / "vae.safetensors"
    digits_vae.write_single(vae, path)
    packaged = pretrained.digits_vae_file()
    assert path.read_bytes() == packaged.read_bytes()
    assert path.stat().st_size < 200_000


def test_the_script_trains_and_writes(tmp_path, monkeypatch, capsys, digits):
    monkeypatch.setattr(digits_vae, "PARAMS", digits_vae.PARAMS | {"max_epochs": 1, "n_centers": 8})
    path = tmp_path / "vae.safetensors"
    digits_vae.main(["--output", str(path)])
    assert "kB" in capsys.readouterr().out
    vae = archive.read(path, pretrained.KIND, pretrained.build)
    assert vae.get_params() == VAE(**digits_vae.PARAMS).get_params()
    assert np.allclose(vae.transform(digits.data), vae.codes_, atol=1e-5)
