"""Real data: the VAE of the digits that ships with the package, and geomstats' tools on it."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from geomstats_vae import LAND, LatentSpace
from tests import estimators_of_geomstats

N_PAIRS = 20


@pytest.fixture(scope="module")
def vae(packaged_vae):
    return packaged_vae


@pytest.fixture(scope="module")
def codes(vae):
    return vae.codes_


def _measure(decoder, points):
    """Length and mean sigma along curves of 2,000 points, shape=[n_curves, 2000, 2].

    The mean is over the length in the decoder's metric. A plain mean over the 2,000 points would
    compare unlike things: equal steps of length on one curve, of latent distance on the other.
    """
    flat = torch.as_tensor(points.reshape(-1, 2))
    with torch.no_grad():
        mean, std = decoder(flat)
    value = torch.cat((mean, std), dim=1).reshape(*points.shape[:2], -1)
    chords = (value[:, 1:] - value[:, :-1]).norm(dim=2)
    sigma = std.mean(dim=1).reshape(points.shape[:2])
    along = (chords * 0.5 * (sigma[:, 1:] + sigma[:, :-1])).sum(dim=1) / chords.sum(dim=1)
    return chords.sum(dim=1).numpy(), along.numpy()


@pytest.mark.long
def test_geodesics_keep_to_the_data(vae, codes):
    generator = np.random.default_rng(0)
    start, end = codes[generator.integers(len(codes), size=(2, N_PAIRS))]
    path = vae.latent_space_.metric.solve_geodesic(start, end)
    t = np.linspace(0.0, 1.0, 2000)
    length, sigma = _measure(vae.decoder_, np.asarray(path(t)))
    lines = start[:, None] + t[:, None] * (end - start)[:, None]
    straight, straight_sigma = _measure(vae.decoder_, lines)
    assert np.asarray(path.converged).all()
    assert (length <= straight * (1.0 + 1e-6)).all()
    np.testing.assert_allclose(np.asarray(path.length), length, rtol=1e-3)
    assert np.median(sigma / straight_sigma) < 1.0


def test_land_sees_its_rows_by_shortest_curves(vae, codes):
    # Curves that are taken along as the means move stay in valleys that become the longer ones.
    X = codes[:600]
    land = LAND(vae.latent_space_, 2, n_normalizer_samples=128, random_state=2)
    labels = land.fit_predict(X)
    np.testing.assert_allclose(land.score(X), land.lower_bound_, atol=3e-4)
    np.testing.assert_array_equal(land.predict(X), labels)


def test_curvature_is_a_finite_difference(vae, codes):
    metric, z, step = vae.latent_space_.metric, codes[:5], 1e-4
    gamma = np.asarray(metric.christoffels(z))
    sides = [
        [np.asarray(metric.christoffels(z + sign * step * e)) for e in np.eye(2)]
        for sign in (1, -1)
    ]
    slope = np.moveaxis(np.subtract(*sides) / (2.0 * step), 0, -1)
    # R(e_j, e_k) e_i = (d_j Gamma^l_ki + Gamma^l_jm Gamma^m_ki - ...) e_l
    half = np.einsum("nlkij->nijkl", slope) + np.einsum("nljm,nmki->nijkl", gamma, gamma)
    expected = half - np.swapaxes(half, 2, 3)
    found = np.asarray(metric.riemann_tensor(z))
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())


@pytest.fixture(scope="module")
def some_codes(codes, digits):
    """Codes of two zeros, then of two ones."""
    chosen = [np.flatnonzero(digits.target == digit)[:2] for digit in (0, 1)]
    return codes[np.concatenate(chosen)]


@pytest.fixture(scope="module")
def on_numpy(vae, some_codes):
    return estimators_of_geomstats.run(vae.latent_space_, some_codes)


@pytest.fixture(scope="module")
def on_pytorch(some_codes, tmp_path_factory):
    """The same in a process of its own, for a process has one backend."""
    folder = tmp_path_factory.mktemp("tools")
    np.save(folder / "codes.npy", some_codes)
    arguments = [estimators_of_geomstats.__file__, folder / "codes.npy", folder / "results.npz"]
    environment = os.environ | {
        "GEOMSTATS_BACKEND": "pytorch",
        "SCIPY_ARRAY_API": "1",
        "PYTHONPATH": str(Path(__file__).parents[1]),
    }
    done = subprocess.run(
        [sys.executable, *map(str, arguments)], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr
    return dict(np.load(folder / "results.npz"))


@pytest.mark.long
@pytest.mark.parametrize(
    "results", ["on_numpy", pytest.param("on_pytorch", marks=pytest.mark.long)]
)
def test_geomstats_tools_run_on_the_digits(results, some_codes, request):
    found = request.getfixturevalue(results)
    # At the mean the logs cancel; geomstats stops at a step of squared length 1e-4 by default.
    spread = np.abs(found["logs"]).max()
    assert np.linalg.norm(found["logs"].mean(axis=0)) < 0.1 * spread
    assert set(found["labels"].astype(int)) == {0, 1}
    # Zeros and ones are far apart: k-means finds them.
    assert len(set(found["labels"][:2])) == len(set(found["labels"][2:])) == 1
    assert found["components"].shape == (2, 2)
    assert np.isfinite(found["components"]).all()
    assert (some_codes.min(axis=0) <= found["mean"]).all()
    assert (found["mean"] <= some_codes.max(axis=0)).all()


@pytest.mark.long
def test_backends_agree_on_the_digits(on_numpy, on_pytorch):
    np.testing.assert_allclose(on_numpy["mean"], on_pytorch["mean"], rtol=1e-9, atol=1e-9)


def test_the_space_can_be_rebuilt_from_the_decoder(vae, codes):
    """Neighbours' geodesics do not hang on codes for global starts, so none are given."""
    nearest = np.argsort(np.linalg.norm(codes - codes[0], axis=1))[1:4]
    space = LatentSpace(vae.decoder_, dim=2)
    np.testing.assert_allclose(
        space.metric.dist(codes[0], codes[nearest]),
        vae.latent_space_.metric.dist(codes[0], codes[nearest]),
        rtol=1e-6,
    )
