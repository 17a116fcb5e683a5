"""Rotated digits: the images move evenly with the angle, so distances are angles."""

import numpy as np
import pytest
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import dijkstra
from scipy.stats import kstest
from sklearn.neighbors import kneighbors_graph

from geomstats_vae.datasets import make_rotated_digit, make_rotated_pair, make_strip_with_gap

TURN = np.arange(0.0, 360.5)[:, None]


@pytest.mark.parametrize("digit", range(10))
def test_images_move_at_the_same_speed_at_all_angles(digit):
    images = make_rotated_digit(1, digit=digit).embedding(TURN)
    speed = np.linalg.norm(np.diff(images, axis=0), axis=1)
    np.testing.assert_allclose(speed, speed.mean(), rtol=0.02)
    # The curve is closed, and no rotation loses ink.
    np.testing.assert_allclose(images[-1], images[0], atol=1e-12)
    np.testing.assert_allclose(images.sum(axis=1), images[0].sum(), rtol=0.01)


def test_a_quarter_turn_is_that_of_the_pixels():
    rotations = make_rotated_digit(1, digit=7)
    first, second = rotations.embedding([[20.0], [110.0]]).reshape(-1, *rotations.image_shape)
    np.testing.assert_allclose(second, np.rot90(first), atol=1e-12)


@pytest.mark.parametrize("make", [make_rotated_digit, make_rotated_pair])
def test_data_are_the_embedded_angles_with_noise(make):
    rotations = make(200, max_angle=120.0, noise=0.1, size=20, random_state=0)
    assert rotations.data.shape == (200, np.prod(rotations.image_shape))
    for angles in rotations.angles.T:
        assert kstest(angles / 120.0, "uniform").pvalue > 0.01
    noise = rotations.data - rotations.embedding(rotations.angles)
    assert kstest(noise.ravel() / 0.1, "norm").pvalue > 0.01
    assert np.array_equal(rotations.target, rotations.angles[:, 0])
    again = make(200, max_angle=120.0, noise=0.1, size=20, random_state=0)
    assert np.array_equal(again.data, rotations.data)


def test_distances_of_an_arc_and_of_a_circle():
    ends = [[10.0]], [[250.0]]
    assert make_rotated_digit(1, max_angle=300.0).distances(*ends) == pytest.approx(240.0)
    assert make_rotated_digit(1, max_angle=360.0).distances(*ends) == pytest.approx(120.0)


def test_distances_of_a_pair_are_lengths_of_curves_of_images():
    rotations = make_rotated_pair(2, random_state=0)
    start, end = np.array([300.0, 20.0]), np.array([30.0, 70.0])
    # Over zero on the left.
    curve = start + np.linspace(0.0, 1.0, 101)[:, None] * ([90.0, 50.0])
    lengths = [
        np.linalg.norm(np.diff(rotations.embedding(angles), axis=0), axis=1).sum()
        for angles in (curve, np.linspace([0.0, 0.0], [90.0, 0.0], 91))
    ]
    expected = 90.0 * lengths[0] / lengths[1]
    np.testing.assert_allclose(rotations.distances(start, end), expected, rtol=0.01)


@pytest.mark.parametrize("make", [make_rotated_digit, make_rotated_pair])
def test_arguments_out_of_range(make):
    with pytest.raises(ValueError, match="max_angle <= 360, got 400"):
        make(max_angle=400.0)
    with pytest.raises(ValueError, match="n_samples >= 1, got 0"):
        make(0)
    wrong = {"digit": 10} if make is make_rotated_digit else {"digits": (4, 10)}
    with pytest.raises(ValueError, match="digit from 0 to 9, got 10"):
        make(**wrong)


def test_shortest_paths_of_the_strip_are_those_of_a_graph_in_it():
    strip = make_strip_with_gap(3000, random_state=0)
    z = strip.coordinates
    assert not ((np.abs(z[:, 0]) < 1.0) & (z[:, 1] > -0.6)).any()
    assert np.array_equal(strip.data, z)
    graph = csr_matrix(kneighbors_graph(z, 20, mode="distance"))
    rows, columns = graph.nonzero()
    # No edge is cut by the gap.
    inside = np.isfinite(strip.distances(z[rows], z[columns]))
    middle = (z[rows] + z[columns]) / 2.0
    inside &= ~((np.abs(middle[:, 0]) < 1.0) & (middle[:, 1] > -0.6))
    graph = csr_matrix((graph.data[inside], (rows[inside], columns[inside])), graph.shape)
    found = dijkstra(graph, directed=False, indices=range(60))
    expected = strip.distances(z[:60, None], z[None])
    far = expected > 0.5
    # A path along edges is longer, by the angles between them.
    ratio = found[far] / expected[far]
    assert ratio.min() > 0.99
    assert ratio.max() < 1.2
    assert ratio.mean() < 1.05
    assert np.allclose(expected[:, :60], expected[:, :60].T)
