"""Neighbors in the data that codes tear apart are counted; folded data are not torn."""

import numpy as np
import pytest

from geomstats_vae.geometry.tears import neighbor_ways, torn_share

ANGLES = np.linspace(0.0, 2.0 * np.pi, 400, endpoint=False)
CIRCLE = np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=1)


def test_codes_that_are_the_data_tear_nothing():
    ways = neighbor_ways(CIRCLE, CIRCLE, CIRCLE)
    # Two neighbours at each side, in four hundredths of a circle whose half is the longest way.
    assert np.isclose(ways.max(), 2.0 / 200.0, rtol=0.01)
    assert torn_share(CIRCLE, CIRCLE, CIRCLE) == 0.0


def test_a_circle_that_is_cut_open_is_torn_at_one_place():
    line = ANGLES[:, None] * np.array([[1.0, 0.0]])
    # Of two points on either side of the cut each sees one or two beyond it.
    assert torn_share(CIRCLE, line, CIRCLE) == pytest.approx(6 / 1600)


def test_pieces_that_are_put_elsewhere_are_torn():
    pieces = CIRCLE + 5.0 * np.stack([ANGLES // (np.pi / 2.0), np.zeros(400)], axis=1)
    # The shortest link between two pieces may mend one of the four cuts.
    assert torn_share(CIRCLE, pieces, CIRCLE) >= 3 * 6 / 1600


def test_data_that_a_latent_space_must_fold_are_not_torn():
    sphere = np.random.default_rng(0).normal(size=(800, 4))
    sphere /= np.linalg.norm(sphere, axis=1, keepdims=True)
    codes = sphere[:, :2]
    assert torn_share(sphere, codes, np.pad(codes, ((0, 0), (0, 2)))) == 0.0


@pytest.mark.parametrize("n_samples", [0, 1, 2, 3])
def test_few_samples(n_samples):
    few = CIRCLE[:n_samples]
    assert torn_share(few, few, few) == 0.0


def test_repeated_samples():
    same = np.repeat(CIRCLE[:2], 30, axis=0)
    assert torn_share(same, same, same) == 0.0
    assert torn_share(same, same, np.zeros_like(same)) == 0.0
