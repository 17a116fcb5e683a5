"""Rows that nothing reaches, one dimension, rows that are all the same."""

import math

import numpy as np
import pytest
import torch

from geomstats_vae import LAND, GeodesicConvergenceWarning, GeodesicKMeans, LatentSpace

ROWS = np.random.default_rng(0).normal(size=(20, 2))


def cut_off(z):
    """Not a number for z_1 > 3."""
    return torch.where(z[:, :1] > 3.0, torch.nan, 1.0) * torch.cat((z, z**2), dim=1)


def curve(z):
    """A helix of speed 2 ** 0.5."""
    return torch.cat((torch.cos(z), torch.sin(z), z), dim=1)


@pytest.mark.long
@pytest.mark.filterwarnings("ignore::geomstats_vae.GeodesicConvergenceWarning")
def test_rows_that_no_center_reaches_have_no_label():
    kmeans = GeodesicKMeans(LatentSpace(cut_off, dim=2), n_clusters=1, random_state=0).fit(ROWS)
    rows = [[1.0, 0.0], [5.0, 0.0]]
    np.testing.assert_array_equal(kmeans.predict(rows), [0, -1])
    assert kmeans.score(rows) == -math.inf
    assert kmeans.score(rows, sample_weight=[1.0, 0.0]) > -math.inf
    np.testing.assert_array_equal(np.isfinite(kmeans.transform(rows)[:, 0]), [True, False])
    with pytest.warns(GeodesicConvergenceWarning, match="reaches 1 of 2"):
        kmeans.predict(rows)


@pytest.mark.parametrize("has_codes", [False, True])
def test_land_in_one_dimension_is_a_normal_distribution_of_arc_lengths(has_codes):
    z = 0.3 * np.random.default_rng(0).normal(size=(40, 1))
    space = LatentSpace(curve, dim=1, points=z if has_codes else None)
    land = LAND(space, random_state=0).fit(z)
    arc = 2.0**0.5 * z[:, 0]
    expected = -0.5 * math.log(2.0 * math.pi * arc.var()) - 0.5
    assert land.score(z) == pytest.approx(expected, abs=2e-2)
    assert land.means_[0, 0] == pytest.approx(z.mean(), abs=1e-2)


@pytest.mark.parametrize("has_codes", [False, True])
def test_land_on_equal_rows_ends(has_codes):
    space = LatentSpace(curve, dim=1, points=ROWS[:, :1] if has_codes else None)
    land = LAND(space, random_state=0).fit(np.full((20, 1), 0.2))
    np.testing.assert_allclose(land.means_, 0.2, atol=1e-9)
