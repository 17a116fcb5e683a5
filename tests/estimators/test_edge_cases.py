"""One dimension, and rows that are all the same; those out of reach are in `test_unreachable`."""

import math

import numpy as np
import pytest
import torch

from geomstats_vae import LAND, LatentSpace

ROWS = np.random.default_rng(0).normal(size=(20, 2))


def curve(z):
    """A helix of speed 2 ** 0.5."""
    return torch.cat((torch.cos(z), torch.sin(z), z), dim=1)


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
