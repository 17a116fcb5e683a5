"""Real data: the VAE of the digits that ships with the package, and geomstats' tools on it."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from geomstats_vae import LatentSpace
from geomstats_vae.datasets import load_digits, load_digits_vae

N_PAIRS = 30


@pytest.fixture(scope="module")
def vae():
    return load_digits_vae()


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


SCRIPT = """
import sys

import numpy as np
import sklearn
import geomstats.backend as gs
from geomstats.learning.frechet_mean import FrechetMean
from geomstats.learning.kmeans import RiemannianKMeans
from geomstats.learning.pca import TangentPCA
from geomstats_vae.datasets import load_digits_vae

codes = np.load(sys.argv[1])
space = load_digits_vae().latent_space_
z = gs.from_numpy(codes)
mean = FrechetMean(space).set(max_iter=8).fit(z).estimate_
logs = gs.to_numpy(space.metric.log(z, mean))
kmeans = RiemannianKMeans(space, n_clusters=2, max_iter=3)
kmeans.init = z[[0, 4]]
kmeans.mean_estimator.set(max_iter=3)  # of each center; geomstats takes up to 100
kmeans.fit(z)
# Without it scikit-learn's svd_flip fails on geomstats' tensors, for every metric.
sklearn.set_config(array_api_dispatch=gs.__name__.endswith("pytorch"))
pca = TangentPCA(space, n_components=2).fit(z, base_point=mean)
np.savez(
    sys.argv[2],
    mean=gs.to_numpy(mean),
    logs=logs,
    labels=gs.to_numpy(kmeans.labels_),
    components=gs.to_numpy(pca.components_),
)
"""


@pytest.fixture(scope="module")
def tools(codes, tmp_path_factory):
    """Results of geomstats' estimators, each backend in a process of its own."""
    folder = tmp_path_factory.mktemp("tools")
    target = load_digits().target
    chosen = np.concatenate([np.flatnonzero(target == digit)[:4] for digit in (0, 1)])
    np.save(folder / "codes.npy", codes[chosen])
    (folder / "script.py").write_text(SCRIPT)
    results = {}
    for backend in ("numpy", "pytorch"):
        arguments = [folder / name for name in ("script.py", "codes.npy", f"{backend}.npz")]
        environment = os.environ | {
            "GEOMSTATS_BACKEND": backend,
            "SCIPY_ARRAY_API": "1",
            "PYTHONPATH": str(Path(__file__).parents[1]),
        }
        done = subprocess.run(
            [sys.executable, *map(str, arguments)], capture_output=True, text=True, env=environment
        )
        assert done.returncode == 0, done.stderr
        results[backend] = dict(np.load(folder / f"{backend}.npz"))
    return results, codes[chosen]


@pytest.mark.parametrize("backend", ["numpy", "pytorch"])
def test_geomstats_tools_run_on_the_digits(tools, backend):
    results, codes = tools
    found = results[backend]
    # At the mean the logs cancel; geomstats stops at a step of squared length 1e-4 by default.
    spread = np.abs(found["logs"]).max()
    assert np.linalg.norm(found["logs"].mean(axis=0)) < 0.1 * spread
    assert set(found["labels"].astype(int)) == {0, 1}
    # Zeros and ones are far apart: k-means finds them.
    assert len(set(found["labels"][:4])) == len(set(found["labels"][4:])) == 1
    assert found["components"].shape == (2, 2)
    assert np.isfinite(found["components"]).all()
    assert (codes.min(axis=0) <= found["mean"]).all()
    assert (found["mean"] <= codes.max(axis=0)).all()


def test_backends_agree_on_the_digits(tools):
    results, _ = tools
    np.testing.assert_allclose(
        results["numpy"]["mean"], results["pytorch"]["mean"], rtol=1e-9, atol=1e-9
    )


def test_the_space_can_be_rebuilt_from_the_decoder(vae, codes):
    space = LatentSpace(vae.decoder_, dim=2, points=codes)
    pair = codes[:2], codes[2:4]
    np.testing.assert_allclose(
        space.metric.dist(*pair), vae.latent_space_.metric.dist(*pair), rtol=1e-6
    )
