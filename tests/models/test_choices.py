"""Layouts that codes begin at, and what `fit` chooses from the data."""

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from geomstats_vae.datasets import make_rotated_digit
from geomstats_vae.models import VAE, TornLatentSpaceWarning
from geomstats_vae.models.choices import WIDTHS
from geomstats_vae.models.faults import warn_of_faults
from geomstats_vae.models.layout import isomap_layout


def arc(n_samples=300):
    angles = np.linspace(0.0, 1.7 * np.pi, n_samples)
    return angles, np.stack([np.cos(angles), np.sin(angles), 0.0 * angles], axis=1)


def test_a_layout_keeps_distances_along_the_data():
    angles, points = arc()
    line = isomap_layout(points, 1)[:, 0]
    assert abs(spearmanr(line, angles).statistic) > 0.9999
    np.testing.assert_allclose([line.mean(), line.var()], [0.0, 1.0], atol=1e-9)


def test_a_flat_layout_is_the_data_up_to_a_motion_and_scale():
    grid = np.random.default_rng(0).uniform(size=(900, 2))
    layout = isomap_layout(np.pad(grid, ((0, 0), (0, 3))), 2)
    distances = [np.linalg.norm(z[:450] - z[450:], axis=1) for z in (grid, layout)]
    # Ways along the edges of the graph are a few per cent too long.
    assert np.corrcoef(distances)[0, 1] > 0.995


def test_more_rows_than_are_laid_out_take_the_places_of_their_neighbors():
    angles, points = arc(2300)
    assert abs(spearmanr(isomap_layout(points, 1)[:, 0], angles).statistic) > 0.9999


@pytest.mark.parametrize("n_samples", [1, 2, 30])
def test_layouts_of_few_or_equal_rows(n_samples):
    assert not isomap_layout(np.full((n_samples, 4), 7.3), 3).any()
    few = isomap_layout(np.eye(n_samples, 5), 3)
    assert few.shape == (n_samples, 3)
    assert np.isfinite(few).all()


@pytest.fixture(scope="module")
def turned():
    """A VAE of half a turn in few pixels, which trains in seconds."""
    rotations = make_rotated_digit(400, max_angle=200.0, size=12, random_state=0)
    options = {"hidden_dims": (64, 32), "max_epochs": 60, "n_centers": 32}
    return rotations, VAE(random_state=0, **options).fit(rotations.data)


def test_an_arc_of_images_is_not_torn(turned):
    rotations, vae = turned
    assert vae.torn_share_ == 0.0
    codes = vae.transform(rotations.data)[np.argsort(rotations.target)]
    steps = np.linalg.norm(np.diff(codes, axis=0), axis=1)
    assert steps.max() < 0.2 * steps.sum()


def test_walls_are_as_high_as_the_data_are_long(turned):
    rotations, vae = turned
    assert vae.a_ in WIDTHS
    clean = rotations.embedding(np.linspace(0.0, 200.0, 400)[:, None])
    length = np.linalg.norm(np.diff(clean, axis=0), axis=1).sum()
    far = torch.full((1, 2), 1e3, dtype=torch.float64)
    wall = vae.decoder_.std.std(far).norm().item()
    # What the graph adds to the length is the noise of the codes.
    assert 0.8 * length < wall < 2.0 * length
    assert vae.zeta_ == pytest.approx(rotations.data.shape[1] / wall**2)


def test_what_is_given_is_not_chosen(turned):
    rotations, _ = turned
    vae = VAE(hidden_dims=(4,), max_epochs=1, n_centers=8, a=1.7, zeta=0.3, random_state=0)
    given = vae.fit(rotations.data)
    assert (given.a_, given.zeta_) == (1.7, 0.3)


def test_torn_codes_are_told_of():
    with pytest.warns(TornLatentSpaceWarning, match=r"got 1\.25% of them far apart"):
        warn_of_faults(np.array([True, True]), 0.0125)
